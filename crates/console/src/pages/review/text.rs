//! What people wrote, and the forms in which they do; what the incident was, and when it happened.

use std::time::Duration;

use maud::{Markup, html};
use tocsin_contracts::incident_review::State;
use tocsin_domain::{Label, PersonRole, Timestamp};

use super::View;
use crate::session::may;
use crate::view::{detector, incident_state, level, machine_href, moment};

/// The longest findings and conclusions taken.
const TEXT_CHARS: usize = 20_000;
const NOTE_CHARS: usize = 2_000;

/// Findings and conclusion: as a form while they are a draft, for those who may.
pub(super) fn section(view: View<'_>) -> Markup {
    let review = &view.document.review;
    let newest = view.versions.first().map_or(0, |newest| newest.version);
    let may_write = view.who.is_some_and(|who| may(who, PersonRole::Operator));
    let writes = may_write && review.state != State::Final && review.version == newest;
    html! {
        section.card #text-section {
            div.card-head { h2 { "Findings and conclusion" } (written_by(view)) }
            @if !review.correction.is_empty() { p.hint { "Corrects version " (review.version.saturating_sub(1)) ": " (review.correction) } }
            @if writes { (form(view)) } @else {
                h3 { "Findings" } (prose(&review.findings, "Nothing was written.")) h3 { "Conclusion" } (prose(&review.conclusion, "Nothing was concluded."))
            }
            @if may_write && review.state == State::Final && review.version == newest {
                form.take method="post" action=(format!("{}/reopen", view.href())) {
                    label for="reason" { "What has to be corrected? The next version begins with this one's text; this one stays." }
                    input #reason type="text" name="reason" required maxlength=(NOTE_CHARS);
                    button type="submit" { "Begin a correction" }
                }
            }
        }
    }
}

fn written_by(view: View<'_>) -> Markup {
    let review = &view.document.review;
    html! {
        @if let Some(by) = &review.finalised_by {
            p.sub {
                "final since " (moment(review.finalised_at)) " by " strong { (by) } "; all on this page is as it was known then"
                @if !review.open_because.is_empty() { ". The incident was open: " (review.open_because) }
            }
        } @else if let Some(by) = &review.saved_by {
            p.sub { "saved " (moment(review.saved_at)) " by " (by) }
        } @else { p.sub { "nobody has begun it" } }
    }
}

fn prose(text: &str, nothing: &str) -> Markup {
    html! { @if text.is_empty() { p.none { (nothing) } } @else { p.prose { (text) } } }
}

fn form(view: View<'_>) -> Markup {
    let (review, incident) = (&view.document.review, &view.document.incident);
    html! {
        form.take.write method="post" action=(view.href()) {
            input type="hidden" name="revision" value=(view.review.revision);
            label for="findings" { "Findings: what was seen and found" }
            textarea #findings name="findings" rows="12" maxlength=(TEXT_CHARS) { (review.findings) }
            label for="conclusion" { "Conclusion: what follows from it" }
            textarea #conclusion name="conclusion" rows="6" maxlength=(TEXT_CHARS) { (review.conclusion) }
            button.primary type="submit" name="then" value="save" { "Save draft" }
            button type="submit" name="then" value="finalise" { "Save and make final" }
            span.sub { "A final review never changes: a correction is its next version." }
            @if incident.closed_at.is_none() {
                label for="open-because" { "The incident is open: to make its review final all the same, say why it is not waited for" }
                input #open-because type="text" name="open_because" maxlength=(NOTE_CHARS) placeholder="Such as: the machine was replaced";
            }
        }
    }
}

/// The incident in figures, its label and its work order.
pub(super) fn facts(view: View<'_>) -> Markup {
    let document = view.document;
    let incident = &document.incident;
    html! {
        section.card #facts-section {
            div.card-head { h2 { "The incident" } }
            dl.facts {
                dt { "Machine" }
                dd { (view.linked(&machine_href(&incident.site, &incident.machine), &html! { (incident.machine) })) span.sub { (incident.site) ", class " (incident.class) } }
                dt { "Opened" } dd { (moment(Some(incident.opened_at))) }
                @if let Some(paged) = incident.paged_at { dt { "Page level" } dd { (moment(Some(paged))) } }
                dt { "Closed" }
                dd {
                    @match incident.closed_at {
                        Some(closed) => { (moment(Some(closed))) span.sub { "after " (lasted(incident.opened_at, closed)) } },
                        None => span.none { "still open" },
                    }
                }
                dt { "State" } dd { (incident_state(&incident.state)) }
                dt { "Taken by" }
                dd {
                    @match &incident.acknowledged_by {
                        Some(by) => { strong { (by) } " " (moment(incident.acknowledged_at)) },
                        None => span.none { "nobody" },
                    }
                }
                dt { "Decided by" } dd { (incident.deciding_sensor) span.sub { (detector(&incident.deciding_detector)) } }
                dt { "Highest level" } dd { strong { (level(incident.peak_level)) } }
                dt { "Opened under" }
                dd {
                    @match incident.threshold_set_id {
                        None => "severity zones alone",
                        Some(set) => (view.linked(&format!("/limits#set-{set}"), &html! { "alarm limits #" (set) })),
                    }
                    @if let Some(bundle) = incident.bundle_id { ", " (view.linked(&format!("/models#bundle-{bundle}"), &html! { "model #" (bundle) })) }
                }
                @if let Some(previous) = incident.previous_incident_id {
                    dt { "Before it" } dd { (view.linked(&format!("/incidents/{previous}"), &html! { "incident " (previous) })) " of this machine" }
                }
                dt { "Label" }
                dd {
                    @match document.label() {
                        Some(label) => {
                            strong { (label.label.replace('_', " ")) } @if !label.mode.is_empty() { ", " (label.mode) }
                            span.sub { "by " (label.by) " " (moment(Some(label.at))) }
                            @if !label.note.is_empty() { span.sub { (label.note) } }
                        },
                        None => span.none { "not labelled" },
                    }
                }
                dt { "Work order" }
                dd {
                    @match &document.work_order {
                        Some(order) => {
                            @match order.url.as_deref() {
                                Some(url) if is_web(url) => a href=(url) rel="noreferrer" { (order.reference) },
                                _ => strong { (order.reference) },
                            }
                            span.sub { "by " (order.by) " " (moment(Some(order.at))) }
                        },
                        None => span.none { "none" },
                    }
                }
            }
            (label_form(view))
        }
    }
}

/// Nothing else of what a maintenance system says is followed.
fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

fn label_form(view: View<'_>) -> Markup {
    let writes = view.who.is_some_and(|who| may(who, PersonRole::Operator));
    html! {
        @if writes && view.document.review.state != State::Final {
            form.take method="post" action=(format!("{}/label", view.href())) {
                label for="label" { "What was it? What is learned later heeds it" }
                select #label name="label" required {
                    option value="" { "Choose" }
                    @for label in Label::ALL { option value=(label.as_str()) { (label.as_str().replace('_', " ")) } }
                }
                label for="mode" { "How it failed, if it did (such as outer_race)" }
                input #mode type="text" name="mode" maxlength="100" autocomplete="off";
                label for="label-note" { "Note (optional)" }
                input #label-note type="text" name="note" maxlength=(NOTE_CHARS);
                button type="submit" { "Label" }
            }
        }
    }
}

/// How long something took, to two parts.
fn lasted(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.since(from).max(Duration::ZERO).as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min {} s", seconds % 60),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_two_parts_and_no_script_is_a_link() {
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        assert_eq!(lasted(at(0), at(125)), "2 min 5 s");
        assert_eq!(lasted(at(0), at(3_660)), "1 h 1 min");
        assert_eq!(lasted(at(0), at(2 * 86_400 + 7_300)), "2 d 2 h");
        assert_eq!(lasted(at(9), at(0)), "0 min 0 s");
        assert!(is_web("https://cmms.example/7") && !is_web("javascript:alert(1)"));
    }
}
