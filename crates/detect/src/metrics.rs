//! How well scores tell faulty readings from healthy ones.
//!
//! All take the scores of both groups; a higher score means more faulty. Scores are ordered by
//! `f64::total_cmp`, so a NaN counts as the highest (or, negative, the lowest) score.

use serde::{Deserialize, Serialize};

/// Recall and false-positive rate of a line.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Share of the faulty readings above the line; none without faulty readings.
    pub recall: Option<f64>,
    /// Share of the healthy readings above the line; none without healthy readings.
    pub false_positive_rate: Option<f64>,
}

/// Readings of both groups that share one score.
struct Tie {
    healthy: usize,
    faulty: usize,
}

/// Area under the ROC curve: the probability that a faulty reading scores above a healthy one, a tie
/// counting half (the Mann-Whitney statistic). None when a group is empty.
pub fn auroc(healthy: &[f64], faulty: &[f64]) -> Option<f64> {
    if healthy.is_empty() || faulty.is_empty() {
        return None;
    }
    let mut won = 0.0;
    let mut faulty_above = 0;
    for tie in ties_from_highest(healthy, faulty) {
        won += tie.healthy as f64 * (faulty_above as f64 + tie.faulty as f64 / 2.0);
        faulty_above += tie.faulty;
    }
    Some(won / (healthy.len() as f64 * faulty.len() as f64))
}

/// Average precision: precision at each distinct score, weighted by the recall it adds. None when a
/// group is empty. Unlike AUROC it depends on the share of faulty readings.
pub fn average_precision(healthy: &[f64], faulty: &[f64]) -> Option<f64> {
    if healthy.is_empty() || faulty.is_empty() {
        return None;
    }
    let (mut flagged, mut found, mut sum) = (0, 0, 0.0);
    for tie in ties_from_highest(healthy, faulty) {
        flagged += tie.healthy + tie.faulty;
        found += tie.faulty;
        sum += tie.faulty as f64 * found as f64 / flagged as f64;
    }
    Some(sum / faulty.len() as f64)
}

/// Recall and false-positive rate of a line; a score on the line is not above it.
pub fn rates_at(healthy: &[f64], faulty: &[f64], line: f64) -> Rates {
    let share_above = |scores: &[f64]| {
        let above = scores.iter().filter(|score| **score > line).count();
        (!scores.is_empty()).then(|| above as f64 / scores.len() as f64)
    };
    Rates {
        recall: share_above(faulty),
        false_positive_rate: share_above(healthy),
    }
}

/// Distinct scores from the highest down, with the readings of each group at them.
fn ties_from_highest(healthy: &[f64], faulty: &[f64]) -> Vec<Tie> {
    let labelled = |scores: &[f64], is_faulty: bool| scores.iter().map(|&score| (score, is_faulty)).collect::<Vec<_>>();
    let mut all = labelled(healthy, false);
    all.extend(labelled(faulty, true));
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq())
        .map(|group| {
            let faulty = group.iter().filter(|(_, is_faulty)| *is_faulty).count();
            Tie {
                healthy: group.len() - faulty,
                faulty,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found - expected).abs() < 1e-12)
    }

    #[test]
    fn the_textbook_example_gives_the_textbook_figures() {
        // scikit-learn's example: labels 0 0 1 1, scores 0.1 0.4 0.35 0.8.
        assert!(close(auroc(&[0.1, 0.4], &[0.35, 0.8]), 0.75));
        assert!(close(average_precision(&[0.1, 0.4], &[0.35, 0.8]), 5.0 / 6.0));
    }

    #[test]
    fn ties_count_half_and_do_not_depend_on_the_order_of_the_readings() {
        assert!(close(auroc(&[1.0, 1.0], &[1.0]), 0.5));
        assert!(close(average_precision(&[1.0, 1.0], &[1.0]), 1.0 / 3.0));
        assert!(close(auroc(&[0.0, 1.0], &[1.0, 2.0]), 0.875));
    }

    #[test]
    fn an_empty_group_has_no_figure() {
        assert_eq!(auroc(&[], &[1.0]), None);
        assert_eq!(average_precision(&[1.0], &[]), None);
        assert_eq!(
            rates_at(&[], &[1.0], 0.0),
            Rates {
                recall: Some(1.0),
                false_positive_rate: None
            }
        );
    }

    #[test]
    fn a_score_on_the_line_is_not_above_it() {
        let rates = rates_at(&[0.0, 1.0, 2.0, 3.0], &[1.0, 5.0], 1.0);
        assert_eq!(
            rates,
            Rates {
                recall: Some(0.5),
                false_positive_rate: Some(0.5)
            }
        );
    }

    proptest! {
        #[test]
        fn auroc_is_the_share_of_pairs_in_order(
            healthy in prop::collection::vec(0_u8..20, 1..40),
            faulty in prop::collection::vec(0_u8..20, 1..40),
        ) {
            let healthy: Vec<f64> = healthy.into_iter().map(f64::from).collect();
            let faulty: Vec<f64> = faulty.into_iter().map(f64::from).collect();
            let mut won = 0.0;
            for h in &healthy {
                for f in &faulty {
                    won += if f > h { 1.0 } else if f < h { 0.0 } else { 0.5 };
                }
            }
            let expected = won / (healthy.len() * faulty.len()) as f64;
            prop_assert!(close(auroc(&healthy, &faulty), expected));
            prop_assert!(close(auroc(&faulty, &healthy), 1.0 - expected));
        }
    }
}
