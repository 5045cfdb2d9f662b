//! Models: the bundles of each class, which judges, and what was bound when. A class has a page of its own, with its
//! champion and challenger side by side, its training jobs, and what can be done.

pub(crate) mod class;
mod comparison;
pub(crate) mod orders;
pub(crate) mod report;
mod tables;
mod training;

use std::collections::BTreeMap;

use maud::{Markup, html};
use tocsin_contracts::registry::v1::{Binding, Bundle, ListBindingsRequest, ListBundlesRequest};

use self::tables::{bundle_table, history};
use crate::failure::{Failure, Part};
use crate::layout::{Nav, page};
use crate::session::Session;
use crate::view::class_href;

/// What a class judges with.
#[derive(Default)]
struct Class {
    /// Newest first.
    bundles: Vec<Bundle>,
    /// Newest first.
    bindings: Vec<Binding>,
}

/// The classes that have a bundle or a binding, by name.
async fn classes(session: &Session) -> Result<BTreeMap<String, Class>, Failure> {
    let (mut bundles, mut bindings) = (session.registry(), session.registry());
    let (bundles, bindings) = tokio::try_join!(
        bundles.list_bundles(ListBundlesRequest::default()),
        bindings.list_bindings(ListBindingsRequest::default()),
    )
    .map_err(Part::Registry.failed())?;
    let mut classes: BTreeMap<String, Class> = BTreeMap::new();
    for bundle in bundles.into_inner().bundles {
        classes.entry(bundle.class.clone()).or_default().bundles.push(bundle);
    }
    for binding in bindings.into_inner().bindings {
        classes.entry(binding.class.clone()).or_default().bindings.push(binding);
    }
    Ok(classes)
}

/// `GET /models`.
pub(crate) async fn show(session: Session) -> Result<Markup, Failure> {
    let (who, classes) = tokio::try_join!(session.who(), classes(&session))?;
    let body = html! {
        div.heading { h1 { "Models" } p.sub { "Immutable versions by class of machines: one champion judges, a challenger may stand beside it." } }
        @if classes.is_empty() {
            section.card { p { "No model was pushed yet." } p.hint { "Train and register one: " code { "tocsin train --corpus … --class … --register" } "." } }
        }
        @for (name, class) in &classes {
            section.card {
                div.card-head {
                    h2 { a href=(class_href(name)) { (name) } }
                    @if class.bindings.iter().all(|binding| binding.champion_bundle_id == 0) { p.sub { "has no champion yet: readings are stored and unjudged" } }
                }
                (bundle_table(&class.bundles))
                h3 { "What judged when" }
                (history(&class.bindings))
                p { a.button href=(class_href(name)) { "Compare, promote, roll back, retrain" } }
            }
        }
    };
    Ok(page("Models", Nav::Models, &who, &body))
}
