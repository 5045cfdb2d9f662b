//! What a set would have opened over what was logged, beside the set in force; or over the spectra that are kept, under
//! its bundle and other baselines.

use std::time::Duration;

use maud::{Markup, html};
use serde::Deserialize;
use tocsin_contracts::recalibrator::v1::run_with_progress_request::Work;
use tocsin_contracts::recalibrator::v1::run_with_progress_response::Said;
use tocsin_contracts::recalibrator::v1::what_if_request::Limits;
use tocsin_contracts::recalibrator::v1::{
    EventRate, ExpectedEvents, IncidentChange, IncidentTimes, LoggedScores, RunWithProgressRequest, ThresholdSet,
    WhatIfRequest, WhatIfResponse,
};
use tocsin_contracts::time;
use tocsin_domain::Timestamp;

use super::set_href;
use crate::failure::{Failure, Part};
use crate::session::Session;
use crate::view::{self, detector, machine_href, moment, tag};

/// Periods that are offered, in days back from now.
const DAYS: [u64; 4] = [1, 7, 30, 90];
const DAY: Duration = Duration::from_hours(24);
/// Changes that are shown; the rest is counted.
const SHOWN: usize = 200;

/// What is asked.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Asked {
    /// Over so many days back from now; nothing is asked without it.
    days: Option<u64>,
    /// Or from the beginning of this day, UTC.
    #[serde(default)]
    from: String,
    /// Up to the end of this day, UTC.
    #[serde(default)]
    to: String,
    /// Who share the class's pages; one when empty.
    #[serde(default)]
    persons: String,
    /// Whose scores.
    #[serde(default)]
    scores: Scores,
    /// What readings are held against.
    #[serde(default)]
    baselines: Baselines,
}

/// Whose scores are replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Scores {
    /// Those that the set's bundle gave when it judged.
    #[default]
    Logged,
    /// What it gives of every spectrum that is kept.
    Anew,
}

/// What readings are held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Baselines {
    #[default]
    Judged,
    Active,
    Commissioned,
}

impl Baselines {
    /// Each with its name on the wire, and what it is called here.
    const ALL: [(Self, &'static str, &'static str); 3] = [
        (Self::Judged, "judged", "those they were judged against"),
        (Self::Active, "active", "those in force now"),
        (Self::Commissioned, "commissioned", "those of commissioning"),
    ];

    fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(one, ..)| *one == self)
            .map_or("", |(_, name, _)| name)
    }
}

impl Asked {
    /// The period, if one is asked for.
    fn period(&self, now: Timestamp) -> Result<Option<(Timestamp, Timestamp)>, Failure> {
        let midnight = |field, day: &str| Timestamp::parse(field, &format!("{day}T00:00:00Z"));
        let refused = |reason: String| Err(Failure::Refused(reason));
        let Some(days) = self.days else { return Ok(None) };
        if days == 0 || days > 3_660 {
            return refused(format!("days: {days} is not between 1 and 3660"));
        }
        if self.from.is_empty() && self.to.is_empty() {
            return Ok(Some((now - DAY * days as u32, now)));
        }
        let (Ok(from), Ok(to)) = (midnight("from", &self.from), midnight("to", &self.to)) else {
            return refused("from, to: a period has a first and a last day".to_owned());
        };
        if to < from {
            return refused(format!("to: {} is before {}", self.to, self.from));
        }
        Ok(Some((from, to + DAY)))
    }

    fn persons(&self) -> Result<u32, Failure> {
        let asked = match self.persons.trim() {
            "" => Some(1),
            number => number.parse().ok().filter(|persons| *persons > 0),
        };
        asked.ok_or_else(|| Failure::Refused(format!("persons: {} is no number of people", self.persons)))
    }

    /// Asks for it, if it is asked for. That nothing can be replayed is an answer too, which the page tells beside its form.
    pub(super) async fn answer(
        &self,
        session: &Session,
        (set, now): (&ThresholdSet, Timestamp),
    ) -> Result<Option<Result<WhatIfResponse, String>>, Failure> {
        let Some(period) = self.period(now)? else {
            return Ok(None);
        };
        let persons = self.persons()?;
        match self.replayed(session, set, (period, persons)).await {
            Ok(answer) => Ok(Some(Ok(answer))),
            Err(Failure::Refused(reason)) => Ok(Some(Err(reason))),
            Err(failure) => Err(failure),
        }
    }

    async fn replayed(
        &self,
        session: &Session,
        set: &ThresholdSet,
        ((from, to), persons): ((Timestamp, Timestamp), u32),
    ) -> Result<WhatIfResponse, Failure> {
        let work = Work::WhatIf(WhatIfRequest {
            limits: Some(Limits::ThresholdSetId(set.threshold_set_id)),
            period: Some(LoggedScores {
                from: Some(time::to_wire(from)),
                to: Some(time::to_wire(to)),
            }),
            persons,
            bundle: match self.scores {
                Scores::Logged => String::new(),
                Scores::Anew => set.bundle_id.to_string(),
            },
            baselines: self.baselines.name().to_owned(),
            ..WhatIfRequest::default()
        });
        let mut client = session.recalibrator();
        // A stream, whose answer may take longer than a call's.
        let request = RunWithProgressRequest { work: Some(work) };
        let failed = Part::Recalibrator.failed();
        let mut answers = client.run_with_progress(request).await.map_err(&failed)?.into_inner();
        while let Some(message) = answers.message().await.map_err(&failed)? {
            if let Some(Said::WhatIf(answer)) = message.said {
                return Ok(*answer);
            }
        }
        Err(Failure::Refused("the replay ended without an answer".to_owned()))
    }
}

/// The question as a form.
pub(super) fn form(threshold_set_id: i32, asked: &Asked) -> Markup {
    html! {
        form.take method="get" action=(set_href(threshold_set_id)) {
            label for="days" { "Replay what was logged, hot and archived, in the last" }
            select #days name="days" {
                @for days in DAYS { option value=(days) selected[asked.days.unwrap_or(7) == days] { (days) @if days == 1 { " day" } @else { " days" } } }
            }
            label for="from" { "Or from this day (UTC)" }
            input #from type="date" name="from" value=(asked.from);
            label for="to" { "to this day, it too" }
            input #to type="date" name="to" value=(asked.to);
            label for="persons" { "People who share the class's pages" }
            input #persons type="number" name="persons" min="1" max="1000" value=(if asked.persons.is_empty() { "1" } else { &asked.persons });
            label for="scores" { "Scores" }
            select #scores name="scores" {
                option value="logged" selected[asked.scores == Scores::Logged] { "as logged by this set's model" }
                option value="anew" selected[asked.scores == Scores::Anew] { "by this set's model, of every spectrum kept" }
            }
            label for="baselines" { "Held against the baselines" }
            select #baselines name="baselines" {
                @for (baselines, name, words) in Baselines::ALL { option value=(name) selected[asked.baselines == baselines] { (words) } }
            }
            button type="submit" { "What if?" }
        }
    }
}

/// The answer, or why there is none.
pub(super) fn show(answer: &Result<WhatIfResponse, String>) -> Markup {
    let answer = match answer {
        Ok(answer) => answer,
        Err(reason) => return html! { p.warn { (view::icon("alert")) " " (reason) "." } },
    };
    let Some(expected) = &answer.expected else {
        return html! { p.none { "Nothing was replayed." } };
    };
    html! {
        @if let Some(coverage) = &answer.coverage { p { strong { (coverage.note) "." } } }
        p { (view::count(expected.readings)) " readings of " (view::count(expected.machines)) " machines were judged again, "
            (view::count(expected.machine_hours.round() as u64)) " machine hours." }
        (rates(expected, answer))
        @if !answer.not_compared_reason.is_empty() { p.warn { (view::icon("alert")) " " (answer.not_compared_reason) } }
        @else { (changes(answer)) }
        (sites(answer))
        (labelled(answer))
        p.hint { "Rates take every machine as judged around the clock; bounds hold with 95 % confidence (Poisson). A replay knows no acknowledgements, floods or suppressions, and takes every reading as if it had come in time." }
    }
}

fn rates(expected: &ExpectedEvents, answer: &WhatIfResponse) -> Markup {
    let in_force = answer
        .active_expected
        .as_ref()
        .filter(|_| answer.active_threshold_set_id != 0);
    html! {
        div.table-frame {
            table {
                caption.visually-hidden { "What this set would have opened, and what the set in force would have" }
                thead { tr {
                    th scope="col" { "Limits" } th.num scope="col" { "Pages" } th.num scope="col" { "a person and week" }
                    th.num scope="col" { "a site and day" } th.num scope="col" { "a machine and year" } th.num scope="col" { "Alerts" }
                } }
                tbody {
                    (rate_row("This set", expected))
                    @if let Some(in_force) = in_force { (rate_row(&format!("In force, #{}", answer.active_threshold_set_id), in_force)) }
                }
            }
        }
    }
}

fn rate_row(name: &str, events: &ExpectedEvents) -> Markup {
    let pages = events.pages.unwrap_or_default();
    html! {
        tr {
            th scope="row" { (name) }
            td.num data-label="pages" { (view::count(pages.events)) }
            td.num data-label="a person and week" { (rate(pages.per_person_week)) }
            td.num data-label="a site and day" { (rate(pages.per_site_day)) }
            td.num data-label="a machine and year" { (rate(pages.per_machine_year)) }
            td.num data-label="alerts" { (view::count(events.alerts.map_or(0, |alerts| alerts.events))) }
        }
    }
}

fn rate(rate: Option<EventRate>) -> Markup {
    html! {
        @match rate {
            Some(rate) => { (view::number(rate.rate)) " " span.sub { (view::number(rate.lower)) " to " (view::number(rate.upper)) } },
            None => "–",
        }
    }
}

fn changes(answer: &WhatIfResponse) -> Markup {
    let count = |kind: &str| answer.changes.iter().filter(|change| change.change == kind).count();
    let kinds = ["gained", "lost", "raised", "lowered", "earlier", "later"];
    html! {
        p {
            (view::count(answer.unchanged_incidents)) " incidents would be the same"
            @for kind in kinds.into_iter().filter(|kind| count(kind) > 0) { ", " (count(kind)) " " (kind) }
            "."
        }
        @if !answer.changes.is_empty() {
            div.table-frame {
                table {
                    caption.visually-hidden { "Incidents that would not be as they are under the set in force" }
                    thead { tr { th scope="col" { "Machine" } th scope="col" { "Change" } th scope="col" { "In force" } th scope="col" { "This set" } th.num scope="col" { "Shift" } } }
                    tbody { @for change in answer.changes.iter().take(SHOWN) { (change_row(change)) } }
                }
            }
            @if answer.changes.len() > SHOWN { p.hint { "and " (answer.changes.len() - SHOWN) " more: " code { "tocsin thresholds whatif" } " tells all." } }
        }
    }
}

fn change_row(change: &IncidentChange) -> Markup {
    html! {
        tr {
            th scope="row" { a href=(machine_href(&change.site, &change.machine)) { (change.site) "/" (change.machine) } }
            td data-label="change" { (tag(&change.change)) }
            td data-label="in force" { (times(change.active.as_ref())) }
            td data-label="this set" { (times(change.proposed.as_ref())) }
            td.num data-label="shift" { @if change.shift_s == 0.0 { "–" } @else { (shift(change.shift_s)) } }
        }
    }
}

/// Site by site, where there are several.
fn sites(answer: &WhatIfResponse) -> Markup {
    let pages = |events: Option<&ExpectedEvents>| events.and_then(|events| events.pages).unwrap_or_default();
    html! {
        @if answer.sites.len() > 1 {
            div.table-frame {
                table {
                    caption.visually-hidden { "Pages of each site, and what becomes of those under the set in force" }
                    thead { tr {
                        th scope="col" { "Site" } th.num scope="col" { "Pages" } th.num scope="col" { "Added" } th.num scope="col" { "Removed" }
                        th.num scope="col" { "Earlier" } th.num scope="col" { "Later" } th.num scope="col" { "a person and week" }
                    } }
                    tbody { @for site in &answer.sites { tr {
                        @let pages = pages(site.expected.as_ref());
                        th scope="row" { (site.site) }
                        td.num data-label="pages" { (view::count(pages.events)) }
                        td.num data-label="added" { (view::count(site.pages_added)) }
                        td.num data-label="removed" { (view::count(site.pages_removed)) }
                        td.num data-label="earlier" { (view::count(site.pages_earlier)) }
                        td.num data-label="later" { (view::count(site.pages_later)) }
                        td.num data-label="a person and week" { (rate(pages.per_person_week)) }
                    } } }
                }
            }
        }
    }
}

/// What people labelled in the period.
fn labelled(answer: &WhatIfResponse) -> Markup {
    html! {
        @if !answer.labelled.is_empty() {
            div.table-frame {
                table {
                    caption.visually-hidden { "What people labelled in that time" }
                    thead { tr { th scope="col" { "Labelled" } th scope="col" { "Machine" } th scope="col" { "Since" } th scope="col" { "In force" } th scope="col" { "This set" } th scope="col" { "Change" } } }
                    tbody { @for outcome in answer.labelled.iter().take(SHOWN) { tr {
                        th scope="row" { (tag(&outcome.label)) @if !outcome.mode.is_empty() { " " span.sub { (outcome.mode) } } }
                        td data-label="machine" { a href=(machine_href(&outcome.site, &outcome.machine)) { (outcome.site) "/" (outcome.machine) } }
                        td data-label="since" { (moment(view::at(outcome.from))) }
                        td data-label="in force" { (times(outcome.active.as_ref())) }
                        td data-label="this set" { (times(outcome.proposed.as_ref())) }
                        td data-label="change" { @if outcome.change.is_empty() { "–" } @else { (tag(&outcome.change)) @if outcome.shift_s != 0.0 { " " (shift(outcome.shift_s)) } } }
                    } } }
                }
            }
        }
    }
}

fn times(times: Option<&IncidentTimes>) -> Markup {
    html! {
        @match times {
            Some(times) => {
                @if times.paged_at.is_some() { "page " (moment(view::at(times.paged_at))) } @else { "alert " (moment(view::at(times.opened_at))) }
                " " span.sub { (detector(&times.detector)) }
            },
            None => span.none { "no incident" },
        }
    }
}

/// How much later, in the largest unit that says it.
fn shift(seconds: f64) -> String {
    let (size, unit) = match seconds.abs() {
        ..120.0 => (1.0, "s"),
        ..7_200.0 => (60.0, "min"),
        ..172_800.0 => (3_600.0, "h"),
        _ => (86_400.0, "days"),
    };
    format!("{:+.0} {unit}", seconds / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_is_told_in_the_largest_unit_that_says_it() {
        assert_eq!(
            [-90.0, 600.0, -10_800.0, 432_000.0].map(shift),
            ["-90 s", "+10 min", "-3 h", "+5 days"]
        );
    }
}
