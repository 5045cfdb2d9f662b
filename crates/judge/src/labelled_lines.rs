//! Lines chosen by known anomalies: on the precision-recall curve of what people labelled against what is healthy.
//!
//! Labels are rare and say what failed, not what will; so this method moves the lines of a set at percentiles, keeps those of
//! every detector that the labels don't reach, and tells the precision and recall that each line has on them. The alert line
//! weighs recall over precision (F2), the page line precision over recall (F0.5), as van Rijsbergen (Information
//! Retrieval, 1979) defines F-beta; between scores the line lies in the middle of the gap.

use serde::{Deserialize, Serialize};
use tocsin_domain::{Detector, Scores};

use crate::threshold_set::LinesError;
use crate::{Member, Persistence, ThresholdSet};

/// Labelled readings that a detector needs for its lines to be moved.
pub const LEAST_ANOMALIES: usize = 20;

/// The alert line weighs recall so many times as precision.
const ALERT_BETA: f64 = 2.0;
/// The same of the page line.
const PAGE_BETA: f64 = 0.5;

/// A page line must be right about this share of the readings at or above it, or labels say nothing of the detector…
const LEAST_PRECISION: f64 = 0.5;

/// …and so few healthy readings may stand at or above the page line and the alert line.
const MOST_HEALTHY: (f64, f64) = (0.005, 0.05);

/// What a line does on labelled readings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// The raw score from which on a reading counts as anomalous.
    pub line: f64,
    /// Share of the readings at or above it that were labelled.
    pub precision: f64,
    /// Share of the labelled readings at or above it.
    pub recall: f64,
}

impl OperatingPoint {
    /// The weighted harmonic mean of precision and recall, with recall weighed `beta` times.
    fn f(&self, beta: f64) -> f64 {
        let (precision, recall, square) = (self.precision, self.recall, beta * beta);
        let whole = square * precision + recall;
        if whole > 0.0 {
            (1.0 + square) * precision * recall / whole
        } else {
            0.0
        }
    }
}

/// Both lines of a detector, as labels choose them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LabelledLines {
    /// Labelled readings that the detector scored.
    pub anomalies: u64,
    /// The alert line.
    pub alert: OperatingPoint,
    /// The page line, above it.
    pub page: OperatingPoint,
}

impl LabelledLines {
    /// The lines of a detector; none with fewer than [`LEAST_ANOMALIES`] anomalous scores, with no healthy ones, where no
    /// two lines lie apart, or where the detector does not see what was labelled: a page line that is wrong more often
    /// than right, or lines that more than 0.5 % (page) and 5 % (alert) of the healthy scores reach.
    pub fn choose(healthy: &[f64], anomalous: &[f64]) -> Option<Self> {
        if healthy.is_empty() || anomalous.len() < LEAST_ANOMALIES {
            return None;
        }
        let curve = curve(healthy, anomalous);
        let page = best(&curve, PAGE_BETA)?;
        let below = curve.iter().filter(|point| point.line < page.line);
        let reached = |line: f64| healthy.iter().filter(|score| **score >= line).count() as f64 / healthy.len() as f64;
        let below: Vec<OperatingPoint> = below
            .filter(|point| reached(point.line) <= MOST_HEALTHY.1)
            .copied()
            .collect();
        let alert = best(&below, ALERT_BETA)?;
        if page.precision < LEAST_PRECISION || reached(page.line) > MOST_HEALTHY.0 {
            return None;
        }
        Some(Self {
            anomalies: anomalous.len() as u64,
            alert,
            page,
        })
    }
}

/// The precision-recall curve, from its highest line to its lowest: a line in each gap between scores, with the counts of
/// what is at or above it.
fn curve(healthy: &[f64], anomalous: &[f64]) -> Vec<OperatingPoint> {
    let label = |scores: &[f64], is_anomaly: bool| scores.iter().map(|score| (*score, is_anomaly)).collect::<Vec<_>>();
    let mut scores = [label(healthy, false), label(anomalous, true)].concat();
    scores.retain(|(score, _)| score.is_finite());
    scores.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut above, mut anomalies) = (0.0, 0.0);
    let mut curve = Vec::new();
    for pair in scores.windows(2) {
        above += 1.0;
        anomalies += f64::from(u8::from(pair[0].1));
        let line = f64::midpoint(pair[0].0, pair[1].0);
        // Only a line that lies between the two tells them apart.
        if line > pair[1].0 && line <= pair[0].0 {
            curve.push(OperatingPoint {
                line,
                precision: anomalies / above,
                recall: anomalies / anomalous.len() as f64,
            });
        }
    }
    curve
}

/// The point with the greatest F-beta; of equals the highest line.
fn best(curve: &[OperatingPoint], beta: f64) -> Option<OperatingPoint> {
    let better = |best: OperatingPoint, point: &OperatingPoint| {
        if point.f(beta) > best.f(beta) { *point } else { best }
    };
    let (first, rest) = curve.split_first()?;
    Some(rest.iter().fold(*first, better))
}

impl ThresholdSet {
    /// The set at percentiles of healthy scores ([`ThresholdSet::from_order_statistics`]), with the lines of every detector
    /// that enough labelled readings reach where the labels choose them; and those lines with what they do.
    ///
    /// Fails as [`ThresholdSet::from_healthy_percentiles`] does.
    pub fn from_labels(
        healthy: &[Scores],
        anomalous: &[Scores],
        persistence: Persistence,
    ) -> Result<(Self, Vec<(Detector, LabelledLines)>), LinesError> {
        let mut set = Self::from_order_statistics(healthy, persistence)?;
        let scores = |all: &[Scores], detector| -> Vec<f64> {
            all.iter().filter_map(|one| one.get(detector)).map(f64::from).collect()
        };
        let mut chosen = Vec::new();
        for at in 0..set.members.len() {
            let detector = set.members[at].detector;
            let Some(lines) = LabelledLines::choose(&scores(healthy, detector), &scores(anomalous, detector)) else {
                continue;
            };
            if !set.members[at].tells_apart(&lines) {
                continue;
            }
            let same = |member: &&mut Member| member.detector == detector;
            for member in set.members.iter_mut().chain(&mut set.without_network).filter(same) {
                (member.alert_line, member.page_line) = (lines.alert.line, lines.page.line);
                member.page_line_supported = true;
            }
            chosen.push((detector, lines));
        }
        Ok((Self::new(set.members, set.without_network, set.persistence)?, chosen))
    }
}

impl Member {
    /// Whether levels can be taken from such lines.
    fn tells_apart(&self, lines: &LabelledLines) -> bool {
        let (alert, page) = (lines.alert.line, lines.page.line);
        self.tail
            .as_ref()
            .is_none_or(|tail| tail.score(alert) < tail.score(page))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threshold_set::tests::healthy;
    use proptest::prelude::*;
    use tocsin_domain::Level;

    #[test]
    fn separate_scores_have_their_page_line_between_them_and_their_alert_line_below() {
        let healthy: Vec<f64> = (0..1_000).map(|n| f64::from(n) / 1_000.0).collect();
        let anomalous: Vec<f64> = (0..50).map(|n| 3.0 + f64::from(n) / 50.0).collect();
        let lines = LabelledLines::choose(&healthy, &anomalous).unwrap();
        assert!((lines.page.line - 1.9995).abs() < 1e-9, "{lines:?}");
        assert_eq!((lines.page.precision, lines.page.recall), (1.0, 1.0));
        assert!(lines.alert.line < 1.0 && lines.alert.recall >= 1.0, "{lines:?}");
        assert_eq!(LabelledLines::choose(&healthy, &anomalous[..19]), None, "too few");
        assert_eq!(
            LabelledLines::choose(&healthy, &[0.5; 40]),
            None,
            "it does not see them"
        );
        assert_eq!(
            LabelledLines::choose(&[1.0; 9], &[1.0; 40]),
            None,
            "nothing tells them apart"
        );
    }

    #[test]
    fn a_set_moves_the_lines_of_the_detectors_that_labels_reach_and_keeps_the_others() {
        let healthy = healthy(5_000);
        let plain = ThresholdSet::from_order_statistics(&healthy, Persistence::default()).unwrap();
        let residual = plain.members[0].detector;
        let far = plain.members[0].page_line as f32;
        let anomalous: Vec<Scores> = (0..100)
            .map(|n| {
                let mut scores = Scores::default();
                scores.set(residual, far * (2.0 + n as f32 / 50.0));
                scores
            })
            .collect();
        let (set, chosen) = ThresholdSet::from_labels(&healthy, &anomalous, Persistence::default()).unwrap();
        assert_eq!(
            chosen.iter().map(|(detector, _)| *detector).collect::<Vec<_>>(),
            [residual]
        );
        let lines = chosen[0].1;
        assert!(lines.page.precision > 0.9 && lines.page.recall > 0.9, "{lines:?}");
        let moved = &set.members[0];
        assert_eq!(moved.page_line, lines.page.line);
        assert!((moved.level(lines.alert.line as f32).0 - Level::ALERT.0).abs() < 1e-3);
        assert!((moved.level(lines.page.line as f32).0 - Level::PAGE.0).abs() < 1e-3);
        assert_eq!(set.members[1..], plain.members[1..]);
    }

    proptest! {
        #[test]
        fn lines_that_are_chosen_ascend_and_say_what_they_do(
            healthy in prop::collection::vec(0_f64..4.0, 1..80),
            anomalous in prop::collection::vec(1_f64..8.0, 20..60),
        ) {
            if let Some(lines) = LabelledLines::choose(&healthy, &anomalous) {
                prop_assert!(lines.alert.line < lines.page.line);
                for point in [lines.alert, lines.page] {
                    let caught = anomalous.iter().filter(|score| **score >= point.line).count();
                    let false_alarms = healthy.iter().filter(|score| **score >= point.line).count();
                    prop_assert!((point.recall - caught as f64 / anomalous.len() as f64).abs() < 1e-12);
                    let precision = caught as f64 / (caught + false_alarms) as f64;
                    prop_assert!((point.precision - precision).abs() < 1e-12);
                }
            }
        }
    }
}
