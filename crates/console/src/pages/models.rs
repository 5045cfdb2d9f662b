//! Models: the bundles of each class, which judges, and what was bound when.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::Value;
use tocsin_contracts::registry::v1::{Binding, Bundle, ListBindingsRequest, ListBundlesRequest};

use crate::failure::{Failure, Part};
use crate::layout::{Nav, page};
use crate::session::Session;
use crate::view::{self, moment, tag};

#[derive(Default)]
struct Class {
    bundles: Vec<Bundle>,
    bindings: Vec<Binding>,
}

/// `GET /models`.
pub(crate) async fn show(session: Session) -> Result<Markup, Failure> {
    let (mut bundles, mut bindings) = (session.registry(), session.registry());
    let failed = Part::Registry.failed();
    let (who, bundles, bindings) = tokio::try_join!(
        session.who(),
        async {
            bundles
                .list_bundles(ListBundlesRequest::default())
                .await
                .map_err(&failed)
        },
        async {
            bindings
                .list_bindings(ListBindingsRequest::default())
                .await
                .map_err(&failed)
        },
    )?;
    let mut classes: BTreeMap<String, Class> = BTreeMap::new();
    for bundle in bundles.into_inner().bundles {
        classes.entry(bundle.class.clone()).or_default().bundles.push(bundle);
    }
    for binding in bindings.into_inner().bindings {
        classes.entry(binding.class.clone()).or_default().bindings.push(binding);
    }
    let body = html! {
        div.heading { h1 { "Models" } p.sub { "Immutable versions by class of machines: one champion judges, a challenger may stand beside it." } }
        @if classes.is_empty() {
            section.card { p { "No model was pushed yet." } p.hint { "Train and register one: " code { "tocsin train --corpus … --class … --register" } "." } }
        }
        @for (name, class) in &classes {
            section.card {
                div.card-head { h2 { (name) } @if class.bindings.iter().all(|binding| binding.champion_bundle_id == 0) { p.sub { "has no champion yet: readings are stored and unjudged" } } }
                (bundle_table(&class.bundles))
                h3 { "What judged when" }
                (history(&class.bindings))
            }
        }
        p.hint { "Promote, roll back or name a challenger: " code { "tocsin models promote|rollback" } " (role engineer)." }
    };
    Ok(page("Models", Nav::Models, &who, &body))
}

fn bundle_table(bundles: &[Bundle]) -> Markup {
    html! {
        div.table-frame {
            table {
                thead {
                    tr {
                        th scope="col" { "Model" } th scope="col" { "State" } th scope="col" { "Kind" }
                        th.num scope="col" title="Mean squared error on healthy rows held out, in the model's space" { "Validation error" }
                        th.num scope="col" title="The same of principal components with as many numbers, if the manifest has it" { "PCA" }
                        th.num scope="col" { "Training rows" } th scope="col" { "Pushed" }
                    }
                }
                tbody { @for bundle in bundles { (bundle_row(bundle)) } }
            }
        }
    }
}

fn bundle_row(bundle: &Bundle) -> Markup {
    let manifest: Value = serde_json::from_str(&bundle.manifest_json).unwrap_or_default();
    let loss = |name: &str| manifest["metrics"][name].as_f64();
    let rows = |split: &str| manifest["lineage"]["rows_by_split"][split].as_u64();
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), view::number);
    html! {
        tr id=(format!("bundle-{}", bundle.bundle_id)) {
            th scope="row" {
                "#" (bundle.bundle_id) " " code title=(bundle.digest) { (bundle.digest.get(..12).unwrap_or(&bundle.digest)) }
                @if !bundle.alias.is_empty() { " " (tag(&bundle.alias)) }
            }
            td { (tag(&bundle.state)) @if !bundle.reason.is_empty() { span.sub { (bundle.reason) } } }
            td {
                (manifest["variant"].as_str().unwrap_or("–"))
                @if let (Some(bins), Some(latent)) = (manifest["bins"].as_u64(), manifest["latent"].as_u64()) {
                    span.sub { (bins) " bins, latent " (latent) }
                }
            }
            td.num data-label="validation error" { (shown(loss("validation_loss"))) }
            td.num data-label="PCA" { (shown(loss("pca_validation_loss"))) }
            td.num data-label="training rows" { @match rows("train") { Some(rows) => (view::count(rows)), None => "–" } }
            td { (moment(view::at(bundle.pushed_at))) span.sub { "by " (bundle.pushed_by) } }
        }
    }
}

fn history(bindings: &[Binding]) -> Markup {
    html! {
        @if bindings.is_empty() { p.none { "Nothing was bound yet." } }
        @else {
            div.table-frame {
                table {
                    thead { tr { th.num scope="col" { "Version" } th scope="col" { "Champion" } th scope="col" { "Alarm limits" } th scope="col" { "Challenger" } th scope="col" { "Since" } th scope="col" { "Why" } } }
                    tbody {
                        @for (place, binding) in bindings.iter().enumerate() {
                            tr aria-current=[(place == 0).then_some("true")] {
                                td.num data-label="version" { (binding.version) }
                                td { (bundle_link(binding.champion_bundle_id)) }
                                td { @if binding.threshold_set_id == 0 { span.none { "none" } } @else { a href=(format!("/limits#set-{}", binding.threshold_set_id)) { "#" (binding.threshold_set_id) } } }
                                td { (bundle_link(binding.challenger_bundle_id)) }
                                td { (moment(view::at(binding.changed_at))) span.sub { "by " (binding.changed_by) } }
                                td { @if binding.reason.is_empty() { span.none { "–" } } @else { (binding.reason) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn bundle_link(bundle: i32) -> Markup {
    html! { @if bundle == 0 { span.none { "none" } } @else { a href=(format!("#bundle-{bundle}")) { "#" (bundle) } } }
}
