//! The record: the journal, every page and every attempt to deliver it, and what happened beside them, in one list.

use maud::{Markup, html};
use tocsin_contracts::incident_review::{Document, Event, Page};
use tocsin_contracts::incidents::v1::{DeliveryAttempt, GetIncidentResponse, Incident, JournalEvent, Page as WirePage};
use tocsin_contracts::time::to_wire;
use tocsin_domain::{PersonRole, Timestamp};

use super::View;
use crate::pages::incident::NOTE_CHARS;
use crate::pages::incident::timeline;
use crate::session::may;
use crate::view::moment;

pub(super) fn section(view: View<'_>) -> Markup {
    let document = view.document;
    let answer = GetIncidentResponse {
        events: document.journal.iter().map(event).collect(),
        pages: document.pages.iter().map(page).collect(),
        earlier_steps: document.earlier_steps,
        ..GetIncidentResponse::default()
    };
    let incident = Incident {
        deciding_sensor: document.incident.deciding_sensor.clone(),
        deciding_detector: document.incident.deciding_detector.clone(),
        ..Incident::default()
    };
    html! {
        section.card #record-section {
            div.card-head { h2 { "Record" } p.sub { "The journal, every page and attempt, labels, shelvings, changes of limits and models, and gaps in the data" } }
            (timeline::list_with(&incident, &answer, beside(document)))
            @if view.who.is_some_and(|who| may(who, PersonRole::Operator)) {
                form.take method="post" action=(format!("{}/comment", view.href())) {
                    label for="comment" { "Comment, for the incident's record" }
                    textarea #comment name="text" rows="2" required maxlength=(NOTE_CHARS) {}
                    button type="submit" { "Add" }
                }
            }
        }
    }
}

/// What is in no journal of the incident's own.
fn beside(document: &Document) -> Vec<(Timestamp, Markup)> {
    let labels = document.labels.iter().map(|label| {
        let what = html! {
            strong { "Labelled " (label.label.replace('_', " ")) @if !label.mode.is_empty() { ", " (label.mode) } " by " (label.by) }
            @if !label.in_force { span.sub { "a later label stands for it" } }
            @if !label.note.is_empty() { blockquote { (label.note) } }
        };
        (label.at, what)
    });
    // Those of the incident's own time are in its journal.
    let opened = document.incident.opened_at;
    let shelved = document.suppressions.iter().filter(|one| one.from < opened).map(|one| {
        let what = html! {
            strong { "Machine " (one.kind.replace('_', " ")) " by " (one.by) }
            span.sub { "until " (moment(Some(one.ended_at.unwrap_or(one.until)))) ": " (one.reason) }
        };
        (one.from, what)
    });
    let changes = document.changes.iter().map(|change| {
        let name = if change.kind == "bundle" {
            "Model"
        } else {
            "Alarm limits"
        };
        let number = |number: Option<i32>| number.map_or("none".to_owned(), |number| format!("#{number}"));
        let what = html! {
            strong { (name) " " (number(change.to)) " in force instead of " (number(change.from)) }
            span.sub { "by " (change.by) @if !change.reason.is_empty() { ": " (change.reason) } }
        };
        (change.at, what)
    });
    let gaps = document.gaps.iter().map(|gap| {
        let what = html! { strong { "No readings of " (gap.sensor) } span.sub { "until " (moment(Some(gap.to))) } };
        (gap.from, what)
    });
    labels.chain(shelved).chain(changes).chain(gaps).collect()
}

fn event(event: &Event) -> JournalEvent {
    JournalEvent {
        seq: event.seq,
        at: Some(to_wire(event.at)),
        kind: event.kind.clone(),
        payload_json: event.payload.to_string(),
    }
}

fn page(page: &Page) -> WirePage {
    let attempt = |attempt: &tocsin_contracts::incident_review::Attempt| DeliveryAttempt {
        at: Some(to_wire(attempt.at)),
        outcome: attempt.outcome.clone(),
        answer: attempt.answer.clone(),
    };
    WirePage {
        page_key: page.page_key.clone(),
        created_at: Some(to_wire(page.created_at)),
        action: page.action.clone(),
        attempts: page.attempts.iter().map(attempt).collect(),
        state: page.state.clone(),
        destination: page.destination.clone().unwrap_or_default(),
    }
}
