//! What speaks for an incident: the reading that decided, its outstanding bins, and the list of flagged readings.

use maud::{Markup, html};
use tocsin_contracts::incidents::v1::{Evidence, Incident};
use tocsin_contracts::review::v1::GetVerdictResponse;
use tocsin_domain::Detector;

use crate::view::{self, badge, bar, detector, level, machine_href, moment, verdict_href};

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
            @if chosen.baseline_id != 0 { ", held against baseline #" (chosen.baseline_id) }
            @if let Some(at) = at {
                " " a href=(verdict_href(&incident.site, &incident.machine, &chosen.sensor, at)) { "Explain" }
            }
        }
        @let against = Against::of(&chosen.detector);
        @if chosen.bin_error.is_empty() {
            p.hint { (against.without_bins()) }
        } @else {
            h3 { (against.title()) }
            (top_bins(&chosen.bin_error, against, verdict))
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

/// What a reading's bins are measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Against {
    /// What the network makes of the reading.
    Model,
    /// What the sensor looked like when it was commissioned.
    Baseline,
}

impl Against {
    /// That of the detector that decided.
    fn of(detector: &str) -> Self {
        match detector.parse::<Detector>() {
            Ok(by) if by.needs_baseline() => Self::Baseline,
            _ => Self::Model,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Model => "Where the reconstruction misses most",
            Self::Baseline => "Where it stands out from its baseline",
        }
    }

    fn share_of(self) -> &'static str {
        match self {
            Self::Model => "squared error",
            Self::Baseline => "squared deviation",
        }
    }

    fn explained(self) -> &'static str {
        match self {
            Self::Model => "Share of the reading's squared error, in the model's space, of ",
            Self::Baseline => "Share of the reading's squared deviation from its baseline, in scales of each bin, of ",
        }
    }

    fn without_bins(self) -> &'static str {
        match self {
            Self::Model => "The network did not judge this reading, so there is no error by bin.",
            Self::Baseline => "No deviation by bin is kept of this reading.",
        }
    }
}

/// The bins with the largest share of the whole: index and share, largest first.
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

fn top_bins(bin_error: &[f32], against: Against, verdict: Option<&GetVerdictResponse>) -> Markup {
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
            thead.visually-hidden { tr { th { "Frequency" } th { "Bar" } th { "Share of " (against.share_of()) } } }
            tbody {
                @for (bin, share) in shares {
                    tr { th.num scope="row" { (place(bin)) } td { (bar(share / largest)) } td.num { (format!("{:.1} %", share * 100.0)) } }
                }
            }
        }
        p.hint { (against.explained()) (bin_error.len()) " bins." }
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
    fn bins_are_named_by_what_the_deciding_detector_measures_against() {
        for (detector, against) in [
            ("growth", Against::Baseline),
            ("shift", Against::Baseline),
            ("narrowband", Against::Baseline),
            ("residual", Against::Model),
            ("overall_level", Against::Model),
            ("commissioning", Against::Model),
        ] {
            assert_eq!(Against::of(detector), against, "{detector}");
        }
    }

    #[test]
    fn errors_without_a_sum_have_no_shares() {
        assert!(shares(&[]).is_empty());
        assert!(shares(&[0.0, 0.0]).is_empty());
        assert!(shares(&[f32::NAN, 1.0]).is_empty());
    }
}
