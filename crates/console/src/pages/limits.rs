//! Alarm limits: the threshold sets of each class, their lines, and where the numbers came from.

mod difference;
pub(crate) mod orders;
pub(crate) mod second;
pub(crate) mod set;
mod what_if;

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::Value;
use tocsin_contracts::fleet::v1::ListSitesRequest;
use tocsin_contracts::recalibrator::v1::{ListThresholdSetsRequest, ThresholdSet};

use crate::failure::{Failure, Part};
use crate::layout::{Nav, page};
use crate::session::Session;
use crate::view::{self, detector, moment, tag};

/// A reason longer than this is cut by the browser already.
const REASON_CHARS: usize = 500;

/// `GET /limits`.
pub(crate) async fn show(session: Session) -> Result<Markup, Failure> {
    let (mut client, mut fleet) = (session.recalibrator(), session.fleet());
    let (who, sets, sites) = tokio::try_join!(
        session.who(),
        async {
            client
                .list_threshold_sets(ListThresholdSetsRequest::default())
                .await
                .map_err(Part::Recalibrator.failed())
        },
        async {
            fleet
                .list_sites(ListSitesRequest {})
                .await
                .map_err(Part::Fleet.failed())
        },
    )?;
    let mut classes: BTreeMap<String, Vec<ThresholdSet>> = BTreeMap::new();
    for set in sets.into_inner().threshold_sets {
        classes.entry(set.class.clone()).or_default().push(set);
    }
    let body = html! {
        div.heading { h1 { "Alarm limits" } p.sub { "Immutable sets of lines by class and model; one is active, and every verdict names the set that judged it." } }
        @if classes.is_empty() {
            section.card { p { "There are no alarm limits yet." } p.hint { "They are proposed from healthy scores once a class has a model, then tested, approved and activated: " code { "tocsin thresholds" } "." } }
        }
        @for (name, sets) in &classes {
            section.card {
                div.card-head { h2 { (name) } }
                @for set in sets { (threshold_set(set)) }
            }
        }
        (second::sites(&sites.into_inner().sites, &who))
    };
    Ok(page("Alarm limits", Nav::Limits, &who, &body))
}

/// The page of a set.
pub(crate) fn set_href(threshold_set_id: i32) -> String {
    format!("/limits/{threshold_set_id}")
}

fn threshold_set(set: &ThresholdSet) -> Markup {
    html! {
        details.set id=(format!("set-{}", set.threshold_set_id)) open[matches!(set.state.as_str(), "active" | "proposed" | "tested" | "approved")] {
            summary {
                strong { a href=(set_href(set.threshold_set_id)) { "#" (set.threshold_set_id) } } " " (tag(&set.state))
                span.sub { (origin(set)) @if second::is_needed(set) { "; waits for a second person" } }
            }
            (contents(set))
        }
    }
}

/// For which model it is, and who made it when and why.
fn origin(set: &ThresholdSet) -> Markup {
    html! {
        "for model " a href=(format!("/models#bundle-{}", set.bundle_id)) { "#" (set.bundle_id) } ", "
        (moment(view::at(set.created_at))) " by " (set.created_by) @if !set.reason.is_empty() { ": " (set.reason) }
    }
}

/// Its lines, rules and provenance.
fn contents(set: &ThresholdSet) -> Markup {
    let definition: Value = serde_json::from_str(&set.definition_json).unwrap_or_default();
    let provenance: Value = serde_json::from_str(&set.provenance_json).unwrap_or_default();
    html! {
        (members("Lines", &definition["members"], &provenance))
        (borrowed(&provenance["borrowed"]))
        @if definition["without_network"].as_array().is_some_and(|members| !members.is_empty()) {
            details { summary { "Without the network (when no scorer answers)" } (members("Lines without the network", &definition["without_network"], &provenance)) }
        }
        (persistence(&definition["persistence"]))
        details { summary { "Provenance" } (tree(&provenance)) }
    }
}

fn members(caption: &str, members: &Value, provenance: &Value) -> Markup {
    let none = Vec::new();
    let members = members.as_array().unwrap_or(&none);
    let line = |member: &Value, name: &str| member[name].as_f64().map_or_else(|| "–".to_owned(), view::number);
    html! {
        div.table-frame {
            table {
                caption.visually-hidden { (caption) }
                thead { tr { th scope="col" { "Detector" } th scope="col" { "Role" } th.num scope="col" { "Alert line" } th.num scope="col" { "Page line" } th.num scope="col" { "Healthy readings" } } }
                tbody {
                    @for member in members {
                        @let name = member["detector"].as_str().unwrap_or("?");
                        tr {
                            th scope="row" { (detector(name)) }
                            td { (tag(member["role"].as_str().unwrap_or("?"))) }
                            td.num data-label="alert line" { (line(member, "alert_line")) }
                            td.num data-label="page line" {
                                (line(member, "page_line"))
                                @if member["page_line_supported"] == Value::Bool(false) {
                                    span.sub.warn { (view::icon("alert")) " extrapolated: too few readings" }
                                }
                            }
                            td.num data-label="healthy readings" { @match scores(provenance, name) { Some(scores) => (view::count(scores)), None => "–" } }
                        }
                    }
                }
            }
        }
    }
}

/// What the lines of a class with few machines rest on beside these.
fn borrowed(told: &Value) -> Markup {
    let lenders = told["classes"].as_array().map_or(&[][..], Vec::as_slice);
    let lender = |of: &Value| format!("{} {}", plain(&of["class"]), plain(&of["machines"]));
    html! {
        @if told.is_object() {
            p.hint {
                "The class has few machines: lines against baselines rest on " (plain(&told["of_class"])) " of its own and on those of all classes of the same specification ("
                (lenders.iter().map(lender).collect::<Vec<_>>().join(", ")) "), and stand at least " (plain(&told["widened"])) " times as high."
            }
        }
    }
}

/// Healthy scores behind a detector's lines.
fn scores(provenance: &Value, detector: &str) -> Option<u64> {
    let sources = provenance["detectors"].as_array()?;
    sources.iter().find(|source| source["detector"] == detector)?["scores"].as_u64()
}

fn persistence(rules: &Value) -> Markup {
    let count = |name: &str| rules[name].as_u64();
    html! {
        @if let (Some(k), Some(n), Some(clear)) = (count("k"), count("n"), count("clear_steps")) {
            p.hint {
                "An incident opens when " (k) " of " (n) " judged steps stand at or above a line, and clears after " (clear)
                " in a row below level " (rules["page_clear_level"].as_f64().map_or_else(|| "?".to_owned(), |level| format!("{level}")))
                " (page) or " (rules["alert_clear_level"].as_f64().map_or_else(|| "?".to_owned(), |level| format!("{level}"))) " (alert)."
            }
        }
    }
}

/// Any JSON as nested facts: a provenance says what it says, in the words of whoever wrote it.
fn tree(value: &Value) -> Markup {
    html! {
        @match value {
            Value::Object(fields) => {
                dl.facts.tree { @for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) { dt { (name.replace('_', " ")) } dd { (tree(value)) } } }
            },
            Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
                ul { @for item in items { li { (tree(item)) } } }
            },
            Value::Array(items) => { (items.iter().map(plain).collect::<Vec<_>>().join(", ")) },
            other => (plain(other)),
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_u64() => view::count(number.as_u64().unwrap_or_default()),
        other => other.to_string(),
    }
}
