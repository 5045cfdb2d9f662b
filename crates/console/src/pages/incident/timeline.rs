//! The journal and the pages of an incident, as one list in order of time; runs of steps are drawn together.

use maud::{Markup, html};
use serde::Deserialize;
use tocsin_contracts::incidents::v1::{DeliveryAttempt, GetIncidentResponse, Incident, JournalEvent, Page};
use tocsin_domain::Timestamp;

use crate::view::{self, detector, level, moment};

/// Of a journal entry's payload, what is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Payload {
    severity: Option<String>,
    by: Option<String>,
    note: Option<String>,
    level: Option<f32>,
    detector: Option<String>,
    reason: Option<String>,
    suppression: Option<String>,
    until: Option<Timestamp>,
    released: Option<String>,
    text: Option<String>,
    to: Option<String>,
    reference: Option<String>,
}

enum Entry<'a> {
    /// Steps that are too many to be read back.
    Earlier(u64),
    /// Judged steps in a row: when the last was, how many, and their levels.
    Steps {
        until: Timestamp,
        count: usize,
        lowest: f32,
        highest: f32,
        detector: String,
    },
    Event(&'a JournalEvent, Box<Payload>),
    Page(&'a Page),
    Attempt(&'a Page, &'a DeliveryAttempt),
    Beside(Markup),
}

pub(super) fn list(incident: &Incident, answer: &GetIncidentResponse) -> Markup {
    list_with(incident, answer, Vec::new())
}

/// The same with what happened beside it.
pub(crate) fn list_with(incident: &Incident, answer: &GetIncidentResponse, beside: Vec<(Timestamp, Markup)>) -> Markup {
    let mut entries = entries(answer);
    entries.extend(beside.into_iter().map(|(at, what)| (Some(at), Entry::Beside(what))));
    // Stable: the journal's own order holds where times are equal.
    entries.sort_by_key(|(at, _)| *at);
    html! {
        ol.timeline {
            @for (at, entry) in &entries { li.(class(entry)) { (moment(*at)) (line(incident, entry)) } }
        }
        @if answer.pages.is_empty() { p.hint { "No page was sent: pages go out for incidents at page level, to the destinations that are configured." } }
    }
}

fn entries(answer: &GetIncidentResponse) -> Vec<(Option<Timestamp>, Entry<'_>)> {
    let mut entries = journal(&answer.events, answer.earlier_steps);
    for page in &answer.pages {
        entries.push((view::at(page.created_at), Entry::Page(page)));
        entries.extend(
            page.attempts
                .iter()
                .map(|attempt| (view::at(attempt.at), Entry::Attempt(page, attempt))),
        );
    }
    entries
}

fn journal(events: &[JournalEvent], mut earlier_steps: u64) -> Vec<(Option<Timestamp>, Entry<'_>)> {
    let mut entries: Vec<(Option<Timestamp>, Entry<'_>)> = Vec::new();
    for event in events {
        let payload: Payload = serde_json::from_str(&event.payload_json).unwrap_or_default();
        let at = view::at(event.at);
        if event.kind != "step" {
            entries.push((at, Entry::Event(event, Box::new(payload))));
            continue;
        }
        if earlier_steps > 0 {
            entries.push((at, Entry::Earlier(std::mem::take(&mut earlier_steps))));
        }
        let (Some(now), Some(this)) = (at, payload.level) else {
            continue;
        };
        if let Some((
            _,
            Entry::Steps {
                until,
                count,
                lowest,
                highest,
                detector,
            },
        )) = entries.last_mut()
        {
            *until = now;
            *count += 1;
            *lowest = lowest.min(this);
            if this > *highest {
                *highest = this;
                *detector = payload.detector.unwrap_or_default();
            }
        } else {
            let detector = payload.detector.unwrap_or_default();
            entries.push((
                at,
                Entry::Steps {
                    until: now,
                    count: 1,
                    lowest: this,
                    highest: this,
                    detector,
                },
            ));
        }
    }
    entries
}

fn class(entry: &Entry<'_>) -> &'static str {
    match entry {
        Entry::Earlier(_) | Entry::Steps { .. } => "steps",
        Entry::Event(event, _) => match event.kind.as_str() {
            "opened" | "escalated" | "re_alarmed" => "raised",
            "acknowledged" | "handed_over" => "taken",
            "cleared" => "cleared",
            _ => "other",
        },
        Entry::Beside(_) => "other",
        Entry::Page(_) => "paged",
        Entry::Attempt(_, attempt) if attempt.outcome == "delivered" => "delivered",
        Entry::Attempt(..) => "failed",
    }
}

fn line(incident: &Incident, entry: &Entry<'_>) -> Markup {
    html! {
        div {
            @match entry {
                Entry::Earlier(1) => "One step before this one is not listed",
                Entry::Earlier(count) => { (view::count(*count)) " steps before this one are not listed" }
                Entry::Steps { until, count, lowest, highest, detector: by } => {
                    (count) @if *count == 1 { " step judged, level " (level(*highest)) }
                    @else { " steps judged, levels " (level(*lowest)) " to " (level(*highest)) }
                    span.sub { "highest by " (detector(by)) @if *count > 1 { "; until " (moment(Some(*until))) } }
                },
                Entry::Beside(what) => (what),
                Entry::Event(event, payload) => (journal_line(incident, event, payload)),
                Entry::Page(page) => {
                    strong { "Page written: " (page.action) } @if !page.destination.is_empty() { " for " (page.destination) } " " (view::tag(&page.state))
                    span.sub { "key " code { (page.page_key) } }
                },
                Entry::Attempt(page, attempt) => {
                    @match attempt.outcome.as_str() {
                        "delivered" => strong { "Delivered" },
                        "refused" => strong { "Refused by the receiver" },
                        _ => strong { "Outcome unknown: the repeat may double it" },
                    }
                    " " (page.action) " to " (page.destination)
                    @if !attempt.answer.is_empty() { span.sub { (attempt.answer) } }
                },
            }
        }
    }
}

fn journal_line(incident: &Incident, event: &JournalEvent, payload: &Payload) -> Markup {
    let by = payload.by.as_deref().unwrap_or("someone");
    html! {
        @match event.kind.as_str() {
            "opened" => {
                strong { "Opened at " (payload.severity.as_deref().unwrap_or("alert")) " level" }
                span.sub { "decided by " (incident.deciding_sensor) ", " (detector(&incident.deciding_detector)) }
            },
            "escalated" => strong { "Escalated to page level" },
            "re_alarmed" => {
                strong { "Paged again" }
                span.sub { (news(payload.reason.as_deref())) }
            },
            "acknowledged" => {
                strong { "Acknowledged by " (by) }
                @if let Some(note) = payload.note.as_deref().filter(|note| !note.is_empty()) { blockquote { (note) } }
            },
            "handed_over" => {
                strong { "Handed over by " (by) " to " (payload.to.as_deref().unwrap_or("someone")) }
                @if let Some(note) = payload.note.as_deref().filter(|note| !note.is_empty()) { blockquote { (note) } }
            },
            "work_ordered" => {
                strong { "Work ordered by " (by) ": " (payload.reference.as_deref().unwrap_or_default()) }
                @if let Some(note) = payload.note.as_deref().filter(|note| !note.is_empty()) { blockquote { (note) } }
            },
            "commented" => {
                strong { (by) " said" }
                blockquote { (payload.text.as_deref().unwrap_or_default()) }
            },
            "suppressed" => {
                strong { "Machine " (suppression(payload)) " by " (by) }
                span.sub { "until " (moment(payload.until)) ": " (payload.reason.as_deref().unwrap_or_default()) }
            },
            "page_suppressed" => {
                strong { "Page kept from people" }
                span.sub { "the machine was shelved or out of service" }
            },
            "restored" => {
                strong { "Machine back in service" }
                span.sub {
                    @match by { "time" => "its time was over", "incident" => "its incident cleared", "renewed" => "another took its place", person => { "by " (person) } }
                    @if payload.released.is_some() { "; the page that was kept is sent" }
                }
            },
            "cleared" => strong { "Cleared" },
            other => strong { (other) },
        }
    }
}

fn suppression(payload: &Payload) -> &'static str {
    match payload.suppression.as_deref() {
        Some("out_of_service") => "taken out of service",
        _ => "shelved",
    }
}

/// What an acknowledged incident was paged again for.
fn news(reason: Option<&str>) -> &'static str {
    match reason {
        Some("level_rose") => "the level is one higher than when it was acknowledged",
        Some("another_sensor") => "another sensor is at the page line",
        Some("other_bins") => "other bins stand out than when it was acknowledged",
        _ => "it goes further than when it was acknowledged",
    }
}

#[cfg(test)]
mod tests {
    use tocsin_contracts::time::to_wire;

    use super::*;

    fn event(seconds: i64, kind: &str, payload: &str) -> JournalEvent {
        JournalEvent {
            seq: seconds,
            at: Some(to_wire(Timestamp::from_micros(seconds * 1_000_000))),
            kind: kind.to_owned(),
            payload_json: payload.to_owned(),
        }
    }

    #[test]
    fn steps_in_a_row_are_one_entry_and_an_unreadable_payload_breaks_nothing() {
        let events = [
            event(1, "step", r#"{"level":1.2,"detector":"residual"}"#),
            event(2, "step", r#"{"level":3.4,"detector":"pca"}"#),
            event(3, "opened", r#"{"severity":"page"}"#),
            event(4, "step", r#"{"level":null}"#),
            event(5, "step", "not json"),
            event(6, "cleared", "not json"),
        ];
        let entries = journal(&events, 0);
        assert_eq!(entries.len(), 3);
        let Entry::Steps {
            count,
            lowest,
            highest,
            detector,
            ..
        } = &entries[0].1
        else {
            panic!("the first entry is a run of steps");
        };
        assert_eq!((*count, detector.as_str()), (2, "pca"));
        assert!((*lowest - 1.2).abs() < 1e-6 && (*highest - 3.4).abs() < 1e-6);
    }

    #[test]
    fn steps_that_are_too_many_to_be_listed_are_counted_after_what_came_before_them() {
        let step = |second| event(second, "step", r#"{"level":1.2,"detector":"residual"}"#);
        let events = [
            event(1, "opened", r#"{"severity":"page"}"#),
            step(7),
            step(8),
            event(9, "cleared", "{}"),
        ];
        let entries = journal(&events, 5);
        let shown: Vec<_> = entries
            .iter()
            .map(|(_, entry)| match entry {
                Entry::Event(event, _) => event.kind.clone(),
                Entry::Earlier(count) => format!("{count} earlier"),
                Entry::Steps { count, .. } => format!("{count} steps"),
                Entry::Page(_) | Entry::Attempt(..) | Entry::Beside(_) => "beside".to_owned(),
            })
            .collect();
        assert_eq!(shown, ["opened", "5 earlier", "2 steps", "cleared"]);
    }
}
