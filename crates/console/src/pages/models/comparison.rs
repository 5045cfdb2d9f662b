//! Champion and challenger over readings that both have scored.

use maud::{Markup, html};
use tocsin_contracts::training::v1::{CompareModelsResponse, DetectorComparison, Percentile, ScoreSummary};

use super::tables::bundle_link;
use crate::view::{self, detector, moment};

/// The whole comparison.
pub(super) fn show(told: &CompareModelsResponse) -> Markup {
    html! {
        dl.facts {
            dt { "Champion" } dd { (bundle_link(told.champion_bundle_id)) }
            dt { "Challenger" } dd { (bundle_link(told.challenger_bundle_id)) }
            dt { "Readings" } dd {
                (view::count(told.healthy.into())) " healthy, " (view::count(told.around_incidents.into())) " around incidents"
                @if told.first_at.is_some() { span.sub { (moment(view::at(told.first_at))) " to " (moment(view::at(told.last_at))) } }
            }
        }
        @if !told.insufficient.is_empty() { p.warn { (view::icon("alert")) " No conclusion yet: " (told.insufficient) } }
        @if !told.detectors.is_empty() { (table(&told.detectors)) }
    }
}

fn table(detectors: &[DetectorComparison]) -> Markup {
    html! {
        div.table-frame {
            table {
                caption.visually-hidden { "Scores of champion and challenger, each under lines of its own" }
                thead {
                    tr {
                        th scope="col" { "Detector" } th scope="col" { "Model" } th.num scope="col" { "Median" }
                        th.num scope="col" title="Of healthy readings, with 95 % bounds from order statistics" { "99.5 %" }
                        th.num scope="col" title="The 99.5th percentile of the healthy scores its trainer held out" { "Own line" }
                        th.num scope="col" title="Healthy readings above its own alert and page line" { "Healthy above" }
                        th.num scope="col" title="Readings during an incident or in the day before it, above its own alert and page line" { "Around incidents" }
                        th.num scope="col" title="Spearman's rank correlation of the two over all compared readings" { "Agreement" }
                    }
                }
                tbody {
                    @for one in detectors {
                        @for (nth, (side, summary)) in [("champion", &one.champion), ("challenger", &one.challenger)].into_iter().enumerate() {
                            @if let Some(summary) = summary { (row(one, nth == 0, side, summary)) }
                        }
                    }
                }
            }
        }
        p.hint { "Each is held against lines of its own, the percentiles of what its trainer held out: fewer healthy readings and more around incidents above them is better." }
    }
}

fn row(of: &DetectorComparison, is_first: bool, side: &str, summary: &ScoreSummary) -> Markup {
    let line = |line: Option<f64>| line.map_or_else(|| "–".to_owned(), view::number);
    html! {
        tr {
            th scope="row" { @if is_first { (detector(&of.detector)) } @else { span.visually-hidden { (detector(&of.detector)) } } }
            td data-label="model" { (side) }
            td.num data-label="median" { (percentile(summary.median.as_ref())) }
            td.num data-label="99.5 %" { (percentile(summary.p99_5.as_ref())) }
            td.num data-label="own line" { (line(summary.alert_line)) }
            td.num data-label="healthy above" { (above(summary.healthy_above_alert, summary.healthy_above_page)) }
            td.num data-label="around incidents" { (above(summary.incident_above_alert, summary.incident_above_page)) }
            td.num data-label="agreement" { @if is_first { (of.rank_correlation.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))) } }
        }
    }
}

fn percentile(of: Option<&Percentile>) -> Markup {
    let bound = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), view::number);
    html! {
        @match of {
            Some(of) => { (view::number(of.value)) @if of.lower.is_some() || of.upper.is_some() { span.sub { (bound(of.lower)) " to " (bound(of.upper)) } } }
            None => span.none { "–" }
        }
    }
}

fn above(alert: u32, page: u32) -> Markup {
    html! { (view::count(alert.into())) span.sub { (view::count(page.into())) " at page" } }
}
