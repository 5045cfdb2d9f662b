//! How one verdict came about: the reading, what it was held against, scores to levels, the machine's step, and what
//! comes out when it is made again.

use axum::extract::{Path, Query};
use maud::{Markup, html};
use serde::Deserialize;
use tocsin_contracts::review::v1::{
    CanonicalReading, Decision, DerivedDetector, DerivedStep, ExplainVerdictRequest, ExplainVerdictResponse,
    LaterScore, StepSensor,
};
use tocsin_contracts::time::to_wire;
use tocsin_domain::Timestamp;

use crate::failure::{Failure, Part};
use crate::layout::{Nav, page};
use crate::session::Session;
use crate::view::{self, badge, level, machine_href, moment, number};

/// What the address says: the newest reading at or before `at` (microseconds since the epoch), or the newest of all.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    sensor: String,
    at: Option<i64>,
}

/// `GET /sites/{site}/machines/{machine}/verdict`.
pub(crate) async fn show(
    session: Session,
    Path((site, machine)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Markup, Failure> {
    let request = ExplainVerdictRequest {
        site: site.clone(),
        machine: machine.clone(),
        sensor: asked.sensor.clone(),
        at: asked.at.map(|at| to_wire(Timestamp::from_micros(at))),
    };
    let mut client = session.review();
    let (who, answer) = tokio::try_join!(session.who(), async {
        client.explain_verdict(request).await.map_err(Part::Review.failed())
    })?;
    let answer = answer.into_inner();
    let body = html! {
        div.heading {
            p.crumbs { a href="/" { "Fleet" } " / " (site) " / " a href=(machine_href(&site, &machine)) { (machine) } }
            h1 { "How this verdict came about" }
            div.state-line {
                (badge(answer.stored.as_ref().map_or("", |stored| &stored.verdict)))
                span { "sensor " strong { (asked.sensor) } }
                span { "captured " (moment(view::at(answer.captured_at))) }
                @for flag in flags(&answer) { (view::tag(flag)) }
            }
        }
        (made_again(&answer))
        (reading(&answer))
        (held_against(&answer))
        (levels(&answer))
        @if let Some(step) = &answer.step { (of_the_machine(step)) }
        @if !answer.later.is_empty() { (later(&answer.later)) }
    };
    let title = format!("Verdict of {site}/{machine}/{}", asked.sensor);
    Ok(page(&title, Nav::Fleet, &who, &body))
}

fn flags(answer: &ExplainVerdictResponse) -> Vec<&'static str> {
    let flags = [
        (answer.degraded, "without the network"),
        (answer.borrowed, "borrowed limits"),
        (answer.historical, "historical"),
        (answer.replay, "replay"),
    ];
    flags.into_iter().filter(|(on, _)| *on).map(|(_, word)| word).collect()
}

/// The two derivations, and what differs.
fn made_again(answer: &ExplainVerdictResponse) -> Markup {
    let (stored, derived) = (decision(answer.stored.as_ref()), decision(answer.derived.as_ref()));
    html! {
        section.card #made-again {
            div.card-head { h2 { "Verdict" } p.sub { "Made again just now from what was stored then." } }
            dl.facts {
                dt { "Stored" } dd { strong { (stored) } }
                dt { "From the stored scores" }
                dd {
                    (derived)
                    @if let Some(at) = answer.derived.as_ref().and_then(|derived| derived.level) { ", level " (level(at)) }
                    span.sub { @if answer.decision_matches { "The same verdict." } @else { span.warn { "Another verdict than was stored." } } }
                }
                dt { "From the stored spectrum" }
                dd {
                    @match answer.scores_match {
                        Some(true) => { "The same scores" span.sub { "Within 1e-5." } }
                        Some(false) => { span.warn { "Something differs" } }
                        None => { "Not kept" span.sub { "The archive thinned the spectrum away: its scores can't be made again." } }
                    }
                }
            }
            @if !answer.differences.is_empty() {
                div.caution role="alert" {
                    strong { "The record does not give itself again." }
                    ul { @for difference in &answer.differences { li { (difference) } } }
                }
            }
        }
    }
}

fn decision(decision: Option<&Decision>) -> String {
    decision.map_or_else(String::new, |decision| {
        let joint = if decision.verdict == "unjudged" { "for" } else { "by" };
        format!("{} {joint} {}", decision.verdict, view::detector(&decision.decided_by))
    })
}

fn reading(answer: &ExplainVerdictResponse) -> Markup {
    let none = CanonicalReading::default();
    let reading = answer.reading.as_ref().unwrap_or(&none);
    html! {
        section.card {
            div.card-head { h2 { "1. What was read" } p.sub { "The canonical form: the only one that is stored, and the one that is scored." } }
            dl.facts {
                dt { "Received" } dd { (moment(view::at(answer.received_at))) }
                dt { "Spectrum" }
                dd {
                    (reading.bins) " bins, full scale " (number(reading.full_scale.into())) " " (reading.unit)
                    @if reading.clipped { ", clipped" }
                }
                dt { "Content hash" }
                dd {
                    code { (reading.content_hash) }
                    @if reading.content_hash_found == reading.content_hash { span.sub { "What is stored has the same." } }
                    @else if !reading.content_hash_found.is_empty() { span.sub.warn { "What is stored has " code { (reading.content_hash_found) } "." } }
                }
                dt { "Condition" }
                dd {
                    (answer.condition_cell)
                    @if let Some(rpm) = reading.rpm { ", " (number(rpm.into())) " rpm" }
                    @if let Some(load) = reading.load { ", load " (number(load.into())) }
                }
                @for one in reading.overall.iter().filter(|one| one.value.is_some()) {
                    @let declared = one.level.clone().unwrap_or_default();
                    dt { (view::overall_level(&declared)) }
                    dd { (number(one.value.unwrap_or_default().into())) " " (declared.unit) }
                }
            }
        }
    }
}

fn held_against(answer: &ExplainVerdictResponse) -> Markup {
    html! {
        section.card {
            div.card-head { h2 { "2. What it was held against" } p.sub { "As the row names it, whatever is in force now." } }
            dl.facts {
                dt { "Model" }
                dd {
                    @if let Some(bundle) = &answer.bundle { "#" (bundle.id) span.sub { code { (bundle.digest) } } }
                    @else { "none" }
                }
                dt { "Scored by" }
                dd { @if answer.scorer_build.is_empty() { "not named" } @else { code { (answer.scorer_build) } }
                     span.sub { "Made again by " code { (answer.deriving_build) } } }
                dt { "Baseline" }
                dd {
                    @if let Some(baseline) = &answer.baseline {
                        "#" (baseline.id) ", epoch " (baseline.epoch) ", version " (baseline.version)
                        span.sub { "Of " (view::count(baseline.readings.into())) " readings, made " (moment(view::at(baseline.created_at))) }
                    } @else { "none" }
                }
                dt { "Alarm limits" }
                dd {
                    @if let Some(set) = &answer.threshold_set {
                        a href=(format!("/limits#set-{}", set.version)) { "#" (set.version) }
                        span.sub { "Made by " (set.created_by) ", " (moment(view::at(set.created_at))) }
                    } @else { "none: by severity alone" }
                }
                dt { "Earlier spectra" }
                dd {
                    @if answer.predecessors == 0 { (no_predecessors(answer)) }
                    @else { (answer.predecessors) ", from " (moment(view::at(answer.predecessors_from))) " on" }
                }
            }
        }
    }
}

/// Why no earlier spectra are named.
fn no_predecessors(answer: &ExplainVerdictResponse) -> &'static str {
    let looks_back = answer.bundle.as_ref().is_some_and(|bundle| bundle.window > 0);
    match (looks_back, answer.degraded) {
        (false, _) => "none",
        (true, true) => "none: no network judged",
        (true, false) => "none: insufficient history, judged by this spectrum alone",
    }
}

fn levels(answer: &ExplainVerdictResponse) -> Markup {
    html! {
        section.card {
            div.card-head { h2 { "3. From scores to levels" } p.sub { "Each detector by its own lines of the time: 1 is the alert line, 2 the page line. Detector mask " code { (format!("{:#05x}", answer.detector_mask)) } "." } }
            div.table-frame {
                table #detectors {
                    thead { tr {
                        th scope="col" { "Detector" }
                        @for name in ["Score", "Made again", "Alert line", "Page line", "Level"] { th.num scope="col" { (name) } }
                        th scope="col" { "Role" }
                    } }
                    tbody { @for one in answer.detectors.iter().filter(|one| one.score.is_some() || one.derived_score.is_some()) { (detector(one)) } }
                }
            }
        }
    }
}

fn detector(one: &DerivedDetector) -> Markup {
    let shown = |value: Option<f32>| value.map_or_else(|| "–".to_owned(), |value| number(value.into()));
    html! {
        tr aria-current=[one.decides.then_some("true")] {
            th scope="row" { (view::detector(&one.detector)) @if one.decides { span.sub { "decides" } } }
            td.num { (shown(one.score)) }
            td.num { (shown(one.derived_score)) }
            td.num { (shown(one.alert_line)) }
            td.num { (shown(one.page_line)) }
            td.num { (one.level.map_or_else(|| "–".to_owned(), level)) }
            td { (if one.role.is_empty() { "–" } else { &one.role }) }
        }
    }
}

fn of_the_machine(step: &DerivedStep) -> Markup {
    html! {
        section.card {
            div.card-head { h2 { "4. The machine's step" } p.sub { "The highest of its sensors' median levels within " (number(step.interval_s)) " s, from " (moment(view::at(step.start))) "." } }
            div.table-frame {
                table {
                    thead { tr { th scope="col" { "Sensor" } th.num scope="col" { "Readings" } th.num scope="col" { "Median level" } } }
                    tbody { @for sensor in &step.sensors { (step_sensor(sensor, sensor.sensor == step.sensor)) } }
                }
            }
            p.hint {
                @if let Some(at) = step.level { "The step's level is " strong { (level(at)) } ", by " (view::detector(&step.detector)) " of " (step.sensor) "." }
                @else { "Nothing in it was judged: it neither opens nor clears." }
            }
        }
    }
}

fn step_sensor(sensor: &StepSensor, decides: bool) -> Markup {
    html! {
        tr aria-current=[decides.then_some("true")] {
            th scope="row" { (sensor.sensor) }
            td.num { (sensor.readings) }
            td.num { (sensor.level.map_or_else(|| "–".to_owned(), level)) }
        }
    }
}

fn later(later: &[LaterScore]) -> Markup {
    html! {
        section.card {
            div.card-head { h2 { "Scored later by the network" } p.sub { "It was out of reach when this was judged. What it said then decides nothing." } }
            div.table-frame {
                table {
                    thead { tr { th scope="col" { "Model" } th.num scope="col" { "Residual" } th.num scope="col" { "Made again" } th scope="col" { "Scored by" } } }
                    tbody {
                        @for one in later {
                            tr {
                                th scope="row" { "#" (one.bundle_id) }
                                td.num { (number(one.residual.into())) }
                                td.num { (one.derived_residual.map_or_else(|| "–".to_owned(), |value| number(value.into()))) }
                                td { code { (one.scorer_build) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
