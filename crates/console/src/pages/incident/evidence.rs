//! What speaks for an incident: the reading that decided, its outstanding bins, and the list of flagged readings.

use maud::{Markup, html};
use tocsin_contracts::incidents::v1::{Evidence, Incident};
use tocsin_contracts::review::v1::GetVerdictResponse;

use crate::view::{self, badge, bar, detector, level, machine_href, moment};

/// Bins in the bar chart.
const TOP_BINS: usize = 8;
/// Readings shown before "all of them".
const SHOWN: usize = 12;

pub(super) fn section(
    incident: &Incident,
    evidence: &[Evidence],
    chosen: Option<&Evidence>,
    verdict: Option<&GetVerdictResponse>,
) -> Markup {
    html! {
        div.card-head { h2 { "Evidence" } }
        @match chosen {
            None => p.none { "No flagged reading is kept." },
            Some(chosen) => (reading(incident, chosen, verdict)),
        }
        @if !evidence.is_empty() {
            h3 { "Flagged readings " span.sub { "(" (evidence.len()) " kept)" } }
            (table(incident, &evidence[..evidence.len().min(SHOWN)], chosen))
            @if evidence.len() > SHOWN {
                details {
                    summary { "All " (evidence.len()) }
                    (table(incident, &evidence[SHOWN..], chosen))
                }
            }
        }
    }
}

fn reading(incident: &Incident, chosen: &Evidence, verdict: Option<&GetVerdictResponse>) -> Markup {
    let at = view::at(chosen.captured_at);
    html! {
        p {
            (badge(&chosen.verdict)) " " strong { (chosen.sensor) } ", " (moment(at)) ": "
            (detector(&chosen.detector)) " at level " strong { (level(chosen.level)) }
        }
        @if chosen.bin_error.is_empty() {
            p.hint { "The network did not judge this reading, so there is no error by bin." }
        } @else {
            h3 { "Where the reconstruction misses most" }
            (top_bins(&chosen.bin_error, verdict))
        }
        @if let (Some(verdict), Some(at)) = (verdict, at) {
            @if !verdict.reconstructed.is_empty() {
                h3 { "Observed against reconstructed" }
                div.chart #spectrum data-height="200"
                    data-src=(format!("{}/spectrum?sensor={}&at={}", machine_href(&incident.site, &incident.machine), chosen.sensor, at.as_micros()))
                    role="img" aria-label="Spectrum of the reading and its reconstruction" {}
                div.chart-foot #spectrum-legend {}
            }
        }
    }
}

/// The bins with the largest share of the squared error: index and share, largest first.
pub(super) fn shares(bin_error: &[f32]) -> Vec<(usize, f64)> {
    let total: f64 = bin_error.iter().map(|&error| f64::from(error)).sum();
    if !(total.is_finite() && total > 0.0) {
        return Vec::new();
    }
    let mut shares: Vec<(usize, f64)> = bin_error
        .iter()
        .map(|&error| f64::from(error) / total)
        .enumerate()
        .collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    shares.truncate(TOP_BINS);
    shares
}

fn top_bins(bin_error: &[f32], verdict: Option<&GetVerdictResponse>) -> Markup {
    let shares = shares(bin_error);
    let largest = shares.first().map_or(1.0, |(_, share)| *share);
    let place = |bin: usize| {
        verdict
            .and_then(|verdict| Some((verdict.bin_centre.get(bin)?, verdict.axis_unit.as_str())))
            .map_or_else(
                || format!("bin {bin}"),
                |(centre, unit)| format!("{} {unit}", view::number(*centre)),
            )
    };
    html! {
        table.bars {
            thead.visually-hidden { tr { th { "Frequency" } th { "Bar" } th { "Share of squared error" } } }
            tbody {
                @for (bin, share) in shares {
                    tr { th.num scope="row" { (place(bin)) } td { (bar(share / largest)) } td.num { (format!("{:.1} %", share * 100.0)) } }
                }
            }
        }
        p.hint { "Share of the reading's squared error, in the model's space, of " (bin_error.len()) " bins." }
    }
}

fn table(incident: &Incident, evidence: &[Evidence], chosen: Option<&Evidence>) -> Markup {
    html! {
        div.table-frame {
            table {
                thead { tr { th scope="col" { "Captured" } th scope="col" { "Sensor" } th scope="col" { "Verdict" } th scope="col" { "Detector" } th.num scope="col" { "Level" } } }
                tbody {
                    @for reading in evidence {
                        @let at = view::at(reading.captured_at);
                        tr aria-current=[chosen.is_some_and(|chosen| std::ptr::eq(chosen, reading)).then_some("true")] {
                            td {
                                @match at {
                                    Some(at) => a href=(format!("/incidents/{}?sensor={}&at={}#evidence", incident.incident_id, reading.sensor, at.as_micros())) { (moment(Some(at))) },
                                    None => "–",
                                }
                            }
                            td { (reading.sensor) }
                            td { (badge(&reading.verdict)) }
                            td { (detector(&reading.detector)) }
                            td.num { (level(reading.level)) }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_errors_come_first_and_shares_are_of_the_whole() {
        let shares = shares(&[1.0, 6.0, 0.0, 3.0]);
        let bins: Vec<usize> = shares.iter().map(|(bin, _)| *bin).collect();
        assert_eq!(bins, [1, 3, 0, 2]);
        assert!((shares[0].1 - 0.6).abs() < 1e-9);
    }

    #[test]
    fn errors_without_a_sum_have_no_shares() {
        assert!(shares(&[]).is_empty());
        assert!(shares(&[0.0, 0.0]).is_empty());
        assert!(shares(&[f32::NAN, 1.0]).is_empty());
    }
}
