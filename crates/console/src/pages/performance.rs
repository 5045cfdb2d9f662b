//! How alarms and pages treated people, figure by figure, each beside its target.

use std::time::Duration;

use axum::extract::{Query, State};
use maud::{Markup, html};
use serde::Deserialize;
use tocsin_contracts::review::v1::{
    DestinationPages, EventRate, FalsePages, GetAlarmPerformanceRequest, GetAlarmPerformanceResponse, MachineAlarms,
    PerformanceMark,
};
use tocsin_contracts::time;

use crate::console::App;
use crate::failure::{Failure, Part};
use crate::layout::{Nav, page};
use crate::session::Session;
use crate::view::{self, count, machine_href};

mod days;

/// The periods to choose from, in days.
const PERIODS: [u64; 3] = [7, 30, 90];
const DEFAULT_DAYS: u64 = 30;

/// What the address says.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    site: String,
    #[serde(default)]
    days: u64,
}

/// `GET /incidents/performance`.
pub(crate) async fn show(
    State(app): State<App>,
    session: Session,
    Query(asked): Query<Asked>,
) -> Result<Markup, Failure> {
    let days = PERIODS
        .into_iter()
        .find(|days| *days == asked.days)
        .unwrap_or(DEFAULT_DAYS);
    let to = app.clock.now();
    let request = GetAlarmPerformanceRequest {
        site: asked.site.clone(),
        from: Some(time::to_wire(to - Duration::from_hours(24 * days))),
        to: Some(time::to_wire(to)),
    };
    let mut client = session.review();
    let (who, answer) = tokio::try_join!(session.who(), async {
        client
            .get_alarm_performance(request)
            .await
            .map_err(Part::Review.failed())
    })?;
    let answer = answer.into_inner();
    let body = html! {
        div.heading {
            p.crumbs { a href="/incidents" { "Incidents" } }
            h1 { "Alarm performance" @if !asked.site.is_empty() { " of " (asked.site) } }
            p.sub { "How much alarms and pages ask of people, beside the targets of ISA-18.2 and the budget of pages." }
        }
        div.toolbar {
            nav.segments aria-label="Period" {
                @for choice in PERIODS {
                    a href=(address(&asked.site, choice)) aria-current=[(choice == days).then_some("true")] { (choice) " days" }
                }
            }
            @if !asked.site.is_empty() { a.push href=(address("", days)) { "All sites" } }
        }
        div #performance { (report(&answer, days)) }
    };
    Ok(page("Alarm performance", Nav::Incidents, &who, &body))
}

fn address(site: &str, days: u64) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if !site.is_empty() {
        query.append_pair("site", site);
    }
    format!(
        "/incidents/performance?{}",
        query.append_pair("days", &days.to_string()).finish()
    )
}

fn report(answer: &GetAlarmPerformanceResponse, days: u64) -> Markup {
    html! {
        section.card {
            div.card-head { h2 { "Alarms per day" } p.sub { (count(answer.alarms)) " incidents opened in " (days) " days." } }
            (days::picture(&answer.days))
        }
        section.card {
            div.card-head { h2 { "Figures" } p.sub { "An alarm is an opened incident; an operator position is a site." } }
            (figures(&answer.marks))
            (details(answer))
        }
        section.card {
            div.card-head {
                h2 { "Pages to people" }
                p.sub { "Budget: at most " (answer.budget_per_week) " in any seven days and " (answer.budget_per_night) " in a night (22:00 to 06:00 at the site)." }
            }
            (destinations(&answer.destinations))
            (behind(answer))
        }
        @if answer.positions.len() > 1 { (positions(answer, days)) }
        @if !answer.most_frequent.is_empty() {
            section.card {
                div.card-head { h2 { "Machines with most alarms" } }
                (machines(&answer.most_frequent))
            }
        }
        @if !answer.chattering.is_empty() {
            section.card {
                div.card-head { h2 { "Chattering machines" } p.sub { "Three openings or more within 150 of their steps, or an hour where that is longer." } }
                (machines(&answer.chattering))
            }
        }
    }
}

fn figures(marks: &[PerformanceMark]) -> Markup {
    html! {
        div.table-frame {
            table {
                thead { tr { th scope="col" { "Figure" } th.num scope="col" { "Value" } th scope="col" { "Target" } th scope="col" { "Standing" } } }
                tbody {
                    @for mark in marks {
                        tr {
                            th scope="row" { (title(&mark.name)) }
                            td.num data-label="value" { (value(mark)) }
                            td data-label="target" { @if mark.target.is_empty() { span.none { "none" } } @else { (mark.target) span.sub { (mark.source) } } }
                            td data-label="standing" { @if mark.target.is_empty() { span.none { "–" } } @else { (standing(&mark.standing)) } }
                        }
                    }
                }
            }
        }
    }
}

/// A word and its icon: the colour says nothing that they don't.
fn standing(word: &str) -> Markup {
    let class = match word {
        "within" => "normal",
        "manageable" => "alert",
        "above" => "page",
        _ => "nodata",
    };
    html! { span.badge.(class) { (view::icon(class)) (word) } }
}

fn title(name: &str) -> &str {
    match name {
        "alarms_per_10_min" => "Alarms in 10 minutes, on average",
        "peak_per_10_min" => "Most alarms in any 10 minutes",
        "intervals_above_10" => "10-minute intervals with more than 10 alarms",
        "time_in_flood" => "Time in flood",
        "floods" => "Floods",
        "stale_on_any_day" => "Stale alarms (over 24 h) on the worst day",
        "chattering_machines" => "Chattering machines",
        "ten_most_frequent" => "Share of the ten most frequent machines",
        "page_priority" => "Share of alarms that page",
        "acknowledged_median" => "Time to acknowledge, median",
        "acknowledged_90th_percentile" => "Time to acknowledge, 90th percentile",
        "most_pages_in_a_week" => "Most pages to a person in seven days",
        "most_pages_in_a_night" => "Most pages to a person in a night",
        "false_pages_per_machine_year" => "False pages per machine-year",
        "false_pages_per_person_week" => "False pages per person-week",
        other => other,
    }
}

fn value(mark: &PerformanceMark) -> String {
    match (mark.value, mark.unit.as_str()) {
        (None, _) => "–".to_owned(),
        (Some(value), "share") => format!("{} %", short(value * 100.0)),
        (Some(value), "s") => lasting(value),
        (Some(value), _) => short(value),
    }
}

/// A number with as many digits as people read.
fn short(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        0.1.. => format!("{value:.2}"),
        ..0.0001 => "below 0.0001".to_owned(),
        _ => format!("{value:.4}").trim_end_matches('0').to_owned(),
    }
}

/// A time in the unit it is longest whole in.
fn lasting(seconds: f64) -> String {
    match seconds {
        ..60.0 => format!("{seconds:.0} s"),
        ..7_200.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

fn details(answer: &GetAlarmPerformanceResponse) -> Markup {
    html! {
        dl.facts {
            dt { "Stale alarms" }
            dd { (count(answer.stale_alarms)) @if answer.stale_alarms > 0 { ", the longest for " (lasting(answer.longest_stale_s)) } }
            dt { "Acknowledged alarms" } dd { (count(answer.acknowledged)) " whose time is known" }
        }
    }
}

fn destinations(all: &[DestinationPages]) -> Markup {
    html! {
        @if all.is_empty() { p.none { "Nobody was told anything." } }
        @else {
            div.table-frame {
                table {
                    thead {
                        tr {
                            th scope="col" { "Destination" } th.num scope="col" { "Pages" } th.num scope="col" { "In a week" }
                            th.num scope="col" { "Most in 7 days" } th.num scope="col" { "Most in a night" } th.num scope="col" { "Nights over" } th scope="col" { "Budget" }
                        }
                    }
                    tbody {
                        @for one in all {
                            tr {
                                th scope="row" { (one.destination) }
                                td.num data-label="pages" { (count(one.pages)) }
                                td.num data-label="in a week" { (rate(one.per_week.as_ref())) }
                                td.num data-label="most in 7 days" { (count(one.most_in_a_week)) }
                                td.num data-label="most in a night" { (count(one.most_in_a_night)) }
                                td.num data-label="nights over" { (count(one.nights_over)) " of " (count(one.nights)) }
                                td data-label="budget" { (standing(if one.within_budget { "within" } else { "above" })) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn rate(rate: Option<&EventRate>) -> Markup {
    html! {
        @if let Some(rate) = rate { (short(rate.rate)) span.sub { (short(rate.lower)) " to " (short(rate.upper)) } }
        @else { span.none { "–" } }
    }
}

/// What stood behind the pages, and what nobody was told.
fn behind(answer: &GetAlarmPerformanceResponse) -> Markup {
    let false_pages = |name: &'static str, pages: Option<&FalsePages>| {
        html! {
            @if let Some(pages) = pages {
                dt { (name) }
                dd {
                    (count(pages.incidents)) " incidents, told " (count(pages.told)) " times"
                    span.sub { "per machine-year " (bounded(pages.per_machine_year.as_ref())) "; per person-week " (bounded(pages.per_person_week.as_ref())) }
                }
            }
        }
    };
    html! {
        dl.facts {
            dt { "Incidents told of" }
            dd {
                (count(answer.incidents_true)) " true, " (count(answer.incidents_false)) " false, " (count(answer.incidents_other)) " other, "
                (count(answer.incidents_unlabelled)) " that nobody has labelled"
            }
            (false_pages("False pages", answer.false_pages.as_ref()))
            (false_pages("False or unlabelled", answer.false_or_unlabelled.as_ref()))
            dt { "Machine-hours" } dd { (count(answer.machine_hours as u64)) span.sub { "of the machines there were, whether they ran or not" } }
            dt { "Kept from people" }
            dd { (count(answer.pages_suppressed)) " pages while shelved or out of service, and " (count(answer.pages_released)) " sent afterwards" }
            dt { "Taken by nobody" } dd { (count(answer.pages_untold)) " pages" }
        }
    }
}

fn bounded(rate: Option<&EventRate>) -> String {
    rate.map_or_else(
        || "unknown".to_owned(),
        |rate| {
            format!(
                "{} (95 %: {} to {})",
                short(rate.rate),
                short(rate.lower),
                short(rate.upper)
            )
        },
    )
}

fn positions(answer: &GetAlarmPerformanceResponse, days: u64) -> Markup {
    html! {
        section.card {
            div.card-head { h2 { "Operator positions" } }
            div.table-frame {
                table {
                    thead {
                        tr {
                            th scope="col" { "Site" } th.num scope="col" { "Alarms" } th.num scope="col" { "In 10 minutes" }
                            th.num scope="col" { "Peak" } th.num scope="col" { "Floods" } th.num scope="col" { "Intervals in flood" }
                        }
                    }
                    tbody {
                        @for one in &answer.positions {
                            tr {
                                th scope="row" { a href=(address(&one.site, days)) { (one.site) } }
                                td.num data-label="alarms" { (count(one.alarms)) }
                                td.num data-label="in 10 minutes" { (short(one.average_per_10_min)) }
                                td.num data-label="peak" { (count(one.peak_per_10_min)) }
                                td.num data-label="floods" { (count(one.floods)) }
                                td.num data-label="in flood" { (count(one.intervals_in_flood)) " of " (count(one.intervals)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn machines(all: &[MachineAlarms]) -> Markup {
    let most = all.iter().map(|one| one.alarms).max().unwrap_or(1).max(1);
    html! {
        table.bars {
            tbody {
                @for one in all {
                    tr {
                        th scope="row" { a href=(machine_href(&one.site, &one.machine)) { (one.machine) } " " span.sub { (one.site) } }
                        td { (view::bar(one.alarms as f64 / most as f64)) }
                        td.num { (count(one.alarms)) }
                    }
                }
            }
        }
    }
}
