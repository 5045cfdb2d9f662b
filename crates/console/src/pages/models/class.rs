//! One class: its champion and challenger on live readings, its training jobs, and the forms that change what judges.

use axum::extract::Path;
use maud::{Markup, html};
use tocsin_contracts::access::v1::WhoAmIResponse;
use tocsin_contracts::registry::v1::{Binding, Bundle};
use tocsin_contracts::training::v1::{CompareModelsRequest, CompareModelsResponse, ListTrainingJobsRequest};
use tocsin_domain::PersonRole;

use super::tables::{bundle_link, bundle_table, history};
use super::{Class, comparison, training};
use crate::failure::{Failure, Part};
use crate::layout::{Nav, page};
use crate::session::{Session, may};
use crate::view::class_href;

/// A reason longer than this is cut by the browser already.
pub(super) const REASON_CHARS: usize = 500;

/// `GET /models/{class}`.
pub(crate) async fn show(session: Session, Path(name): Path<String>) -> Result<Markup, Failure> {
    let asked = ListTrainingJobsRequest { class: name.clone() };
    let mut client = session.training();
    let (who, mut classes, jobs) = tokio::try_join!(session.who(), super::classes(&session), async {
        client
            .list_training_jobs(asked)
            .await
            .map_err(Part::Recalibrator.failed())
    })?;
    let jobs = jobs.into_inner().jobs;
    let class = classes.remove(&name).unwrap_or_default();
    if class.bundles.is_empty() && jobs.is_empty() {
        return Err(Failure::NotFound(format!("class {name:?} has no models")));
    }
    let bound = class.bindings.first();
    let compared = compared(&session, &name, bound).await?;
    let acts = who.all_sites && may(&who, PersonRole::Engineer);
    let body = html! {
        div.heading {
            p.crumbs { a href="/models" { "Models" } }
            h1 { (name) }
            (judging(bound))
        }
        section.card #comparison {
            div.card-head { h2 { "Champion and challenger" } p.sub { "Over the newest readings of your sites that both have scored. Only the champion judges." } }
            @match &compared {
                Some(compared) => (comparison::show(compared)),
                None => p.none { "No challenger stands beside the champion." }
            }
            @if acts { (challenger_form(&name, &class, bound)) }
        }
        section.card {
            div.card-head { h2 { "Versions" } }
            (bundle_table(&class.bundles))
            @if acts { (promote_form(&name, &class)) }
        }
        section.card #training {
            div.card-head { h2 { "Training" } p.sub { "Asked for by people, or by the recalibrator when the class has drifted from its model." } }
            (training::jobs(&jobs))
            @if acts { (training::form(&name)) }
        }
        section.card {
            div.card-head { h2 { "What judged when" } }
            (history(&class.bindings))
            @if acts && class.bindings.len() > 1 { (rollback_form(&name)) }
        }
        (who_may(&who, acts))
    };
    Ok(page(&format!("Models of {name}"), Nav::Models, &who, &body))
}

/// The comparison, where there is a challenger.
async fn compared(
    session: &Session,
    class: &str,
    bound: Option<&Binding>,
) -> Result<Option<CompareModelsResponse>, Failure> {
    if !bound.is_some_and(|bound| bound.champion_bundle_id != 0 && bound.challenger_bundle_id != 0) {
        return Ok(None);
    }
    let asked = CompareModelsRequest {
        class: class.to_owned(),
        since: None,
    };
    let answer = session.training().compare_models(asked).await;
    Ok(Some(answer.map_err(Part::Recalibrator.failed())?.into_inner()))
}

fn judging(bound: Option<&Binding>) -> Markup {
    html! {
        p.sub {
            @match bound.filter(|bound| bound.champion_bundle_id != 0) {
                Some(bound) => {
                    "Judged by " (bundle_link(bound.champion_bundle_id))
                    @if bound.threshold_set_id != 0 { " under alarm limits " a href=(format!("/limits#set-{}", bound.threshold_set_id)) { "#" (bound.threshold_set_id) } }
                    @if bound.challenger_bundle_id != 0 { ", shadowed by " (bundle_link(bound.challenger_bundle_id)) }
                    "."
                }
                None => "No champion yet: readings are stored and unjudged."
            }
        }
    }
}

/// The bundles that passed verification.
fn sound(class: &Class) -> impl Iterator<Item = &Bundle> {
    class.bundles.iter().filter(|bundle| bundle.state == "verified")
}

fn promote_form(name: &str, class: &Class) -> Markup {
    html! {
        form.take method="post" action=(format!("{}/promote", class_href(name))) {
            label for="promote" { "Make champion: it judges from now on, under the newest approved alarm limits made for it" }
            select #promote name="bundle" {
                @for bundle in sound(class) { option value=(bundle.bundle_id) selected[bundle.alias == "challenger"] { "#" (bundle.bundle_id) @if !bundle.alias.is_empty() { " (" (bundle.alias) ")" } } }
            }
            label for="promote-reason" { "Reason" }
            input #promote-reason type="text" name="reason" required maxlength=(REASON_CHARS) placeholder="What the comparison shows";
            button type="submit" { "Promote" }
        }
    }
}

fn challenger_form(name: &str, class: &Class, bound: Option<&Binding>) -> Markup {
    let (champion, challenger) = bound.map_or((0, 0), |bound| (bound.champion_bundle_id, bound.challenger_bundle_id));
    html! {
        form.take method="post" action=(format!("{}/challenger", class_href(name))) {
            label for="challenger" { "Challenger: scores in the champion's shadow, and judges nothing" }
            select #challenger name="bundle" {
                option value="" selected[challenger == 0] { "None" }
                @for bundle in sound(class).filter(|bundle| bundle.bundle_id != champion) {
                    option value=(bundle.bundle_id) selected[bundle.bundle_id == challenger] { "#" (bundle.bundle_id) }
                }
            }
            button type="submit" { "Set challenger" }
        }
    }
}

fn rollback_form(name: &str) -> Markup {
    html! {
        form.take method="post" action=(format!("{}/rollback", class_href(name))) {
            label for="rollback-reason" { "Back to the model and alarm limits before the last change. Reason" }
            input #rollback-reason type="text" name="reason" required maxlength=(REASON_CHARS) placeholder="What went wrong";
            button type="submit" { "Roll back" }
        }
    }
}

fn who_may(who: &WhoAmIResponse, acts: bool) -> Markup {
    html! {
        @if !acts { p.hint { "Promoting, rolling back, naming a challenger and training need the role engineer over all sites; yours is " (who.role) "." } }
    }
}
