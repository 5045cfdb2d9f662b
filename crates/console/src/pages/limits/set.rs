//! One set of alarm limits: how it differs from what is in force, what it would have opened, and the steps to put it there.

use axum::extract::{Path, Query, State};
use maud::{Markup, html};
use serde_json::Value;
use tocsin_contracts::access::v1::WhoAmIResponse;
use tocsin_contracts::recalibrator::v1::{GetThresholdSetRequest, ListThresholdSetsRequest, ThresholdSet};
use tocsin_domain::{PersonRole, Timestamp};

use super::what_if::{self, Asked};
use super::{REASON_CHARS, contents, difference, origin, second, set_href};
use crate::console::App;
use crate::failure::{Failure, Part};
use crate::layout::{Nav, page};
use crate::session::{Session, may};
use crate::view::{self, class_href, moment, tag};

/// `GET /limits/{id}`.
pub(crate) async fn show(
    State(app): State<App>,
    session: Session,
    Path(threshold_set_id): Path<i32>,
    Query(asked): Query<Asked>,
) -> Result<Markup, Failure> {
    let (who, set) = tokio::try_join!(session.who(), get(&session, threshold_set_id))?;
    let active = in_force(&session, &set).await?;
    let answer = asked.answer(&session, (&set, app.clock.now())).await?;
    let body = html! {
        div.heading {
            p.crumbs { a href="/limits" { "Alarm limits" } " / " a href=(class_href(&set.class)) { (set.class) } }
            h1 { "Alarm limits #" (set.threshold_set_id) " " (tag(&set.state)) }
            p.sub { (origin(&set)) }
            @if !set.policy.is_empty() { p.sub { "Policy: " (set.policy) } }
        }
        (steps(&set, &who))
        section.card #difference {
            div.card-head { h2 { "Beside the limits in force" } }
            @match &active {
                Some(active) if active.threshold_set_id == set.threshold_set_id => p { "This set is in force." },
                Some(active) => {
                    p.sub { "In force is " a href=(set_href(active.threshold_set_id)) { "#" (active.threshold_set_id) } " (" (origin(active)) ")." }
                    (difference::show(&set, active))
                },
                None => p.none { "The class has no limits in force." },
            }
        }
        section.card #what-if {
            div.card-head { h2 { "What if" } p.sub { "What this set would have opened, and what would be different from the limits in force. Changes nothing." } }
            @if may(&who, PersonRole::Engineer) { (what_if::form(threshold_set_id, &asked)) }
            @else { p.hint { "Trying limits needs the role engineer; yours is " (who.role) "." } }
            @if let Some(answer) = &answer { (what_if::show(answer)) }
        }
        section.card {
            div.card-head { h2 { "Lines and provenance" } }
            (contents(&set))
        }
    };
    Ok(page(
        &format!("Alarm limits #{threshold_set_id}"),
        Nav::Limits,
        &who,
        &body,
    ))
}

/// A set by its number.
pub(super) async fn get(session: &Session, threshold_set_id: i32) -> Result<ThresholdSet, Failure> {
    let answer = session
        .recalibrator()
        .get_threshold_set(GetThresholdSetRequest { threshold_set_id })
        .await;
    let set = answer.map_err(Part::Recalibrator.failed())?.into_inner().threshold_set;
    set.ok_or_else(|| Failure::NotFound(format!("there are no alarm limits #{threshold_set_id}")))
}

/// The active set of the same class.
async fn in_force(session: &Session, set: &ThresholdSet) -> Result<Option<ThresholdSet>, Failure> {
    let asked = ListThresholdSetsRequest {
        class: set.class.clone(),
    };
    let answer = session.recalibrator().list_threshold_sets(asked).await;
    let sets = answer.map_err(Part::Recalibrator.failed())?.into_inner().threshold_sets;
    Ok(sets
        .into_iter()
        .find(|other| other.state == "active" && other.class == set.class))
}

/// Where it stands on its way, and the next step for whoever may take it.
fn steps(set: &ThresholdSet, who: &WhoAmIResponse) -> Markup {
    let provenance: Value = serde_json::from_str(&set.provenance_json).unwrap_or_default();
    html! {
        section.card #steps {
            div.card-head { h2 { "On its way" } p.sub { "proposed, tested, approved, active: a set is put in force by hand only after it was tried and agreed to." } }
            (tried(&provenance))
            (agreed(&provenance))
            (second::persons(set))
            @if who.all_sites && may(who, PersonRole::Engineer) { (next(set, who)) }
            @else if second::may_approve(set, who) { (approve(set)) }
            @else { p.hint { "Testing, approving, activating and rolling back need the role engineer over all sites; yours is " (who.role) "." } }
        }
    }
}

fn tried(provenance: &Value) -> Markup {
    let trial = &provenance["trial"];
    let number = |name: &str| view::count(trial[name].as_u64().unwrap_or_default());
    html! {
        @if trial.is_object() {
            p { "Tested by " (said(&trial["by"])) " " (when(&trial["at"])) ": over " (number("readings")) " healthy readings it would have opened "
                (number("incidents")) " incidents, " (number("pages")) " of them pages."
                @if trial["in_sample"] == Value::Bool(true) { span.sub { " The lines come from these very readings, which flatters them." } } }
        } @else { p.none { "Not tested yet." } }
    }
}

fn agreed(provenance: &Value) -> Markup {
    let approval = &provenance["approval"];
    html! {
        @if approval.is_object() { p { "Approved by " (said(&approval["by"])) " " (when(&approval["at"])) ": " (said(&approval["reason"])) } }
    }
}

fn said(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn when(value: &Value) -> Markup {
    moment(value.as_str().and_then(|text| Timestamp::parse("at", text).ok()))
}

fn next(set: &ThresholdSet, who: &WhoAmIResponse) -> Markup {
    let href = set_href(set.threshold_set_id);
    html! {
        @match set.state.as_str() {
            "proposed" => form.take method="post" action=(format!("{href}/test")) {
                p.sub { "Testing replays it over the healthy scores it may see, and puts on record what it would have opened." }
                button type="submit" { "Test" }
            },
            // It waits for a second person: whoever asked sees whom for.
            "tested" | "approved" if second::is_needed(set) => { @if second::may_approve(set, who) { (approve(set)) } },
            "tested" => (approve(set)),
            "approved" => (with_reason(&format!("{href}/activate"), "Put it in force: every reading is judged by it from now on. Reason", "Activate")),
            "active" => (with_reason(&format!("{href}/rollback"), "Back to the model and alarm limits before the last change. Reason", "Roll back")),
            "rejected" => p.none { "Rejected: it could not be tested, and nothing follows." },
            _ => p.none { "Retired: it judges nothing any more, and what it judged names it." },
        }
    }
}

fn approve(set: &ThresholdSet) -> Markup {
    let action = format!("{}/approve", set_href(set.threshold_set_id));
    let what = if second::is_needed(set) && set.asked_by.is_empty() {
        "Ask for it: it judges nothing yet, and another person has to approve it. Reason"
    } else {
        "Agree to it; it judges nothing yet. Reason"
    };
    with_reason(&action, what, "Approve")
}

fn with_reason(action: &str, what: &str, button: &str) -> Markup {
    html! {
        form.take method="post" action=(action) {
            label for="reason" { (what) }
            input #reason type="text" name="reason" required maxlength=(REASON_CHARS);
            button type="submit" { (button) }
        }
    }
}
