//! The guide's lines, read off the healthy scores themselves.
//!
//! The fitted tail of [`ThresholdSet::from_healthy_percentiles`] smooths the few greatest scores by a model. Where there
//! are scores enough the percentiles can be read off without one, with bounds that hold for any distribution
//! ([`tocsin_detect::percentile`]); the tail then only says how improbable a score is.

use tocsin_detect::percentile::{PercentileError, PercentileEstimate, Support, percentile};
use tocsin_detect::tail::TailError;
use tocsin_domain::{Detector, Scores};

use crate::threshold_set::{ALERT_ALPHA, LinesError, PAGE_ALPHA};
use crate::{Member, Persistence, Role, ThresholdSet};

/// Confidence of the bounds.
const CONFIDENCE: f64 = 0.95;

/// What healthy scores say of a detector's lines, whatever their distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinePercentiles {
    /// The 99.5th percentile with its 95 % bounds.
    pub alert: PercentileEstimate,
    /// The 99.95th.
    pub page: PercentileEstimate,
}

impl LinePercentiles {
    /// Of a detector's healthy scores, in any order.
    pub fn of(scores: &[f64]) -> Result<Self, PercentileError> {
        Ok(Self {
            alert: percentile(scores, 1.0 - ALERT_ALPHA, CONFIDENCE)?,
            page: percentile(scores, 1.0 - PAGE_ALPHA, CONFIDENCE)?,
        })
    }

    /// Of one detector among all.
    pub fn of_detector(detector: Detector, healthy: &[Scores]) -> Result<Self, PercentileError> {
        let scores: Vec<f64> = healthy.iter().filter_map(|s| s.get(detector)).map(f64::from).collect();
        Self::of(&scores)
    }
}

impl ThresholdSet {
    /// The guide's method by order statistics: under the default roles, lines at the 99.5th and 99.95th percentile of a
    /// detector's own healthy scores where it has at least 2,000 of them. With fewer, and where so many are equal that the
    /// two lines would coincide, its lines are those of the fitted tail.
    ///
    /// Fails as [`ThresholdSet::from_healthy_percentiles`] does.
    pub fn from_order_statistics(healthy: &[Scores], persistence: Persistence) -> Result<Self, LinesError> {
        let mut set = Self::from_healthy_percentiles(healthy, persistence)?;
        for at in 0..set.members.len() {
            let detector = set.members[at].detector;
            let Ok(percentiles) = LinePercentiles::of_detector(detector, healthy) else {
                continue;
            };
            let same = |member: &&mut Member| member.detector == detector;
            for member in set.members.iter_mut().chain(&mut set.without_network).filter(same) {
                member.read_off(&percentiles);
            }
        }
        Ok(Self::new(set.members, set.without_network, set.persistence)?)
    }
}

impl Member {
    /// A member whose lines are the 99.5th and 99.95th percentile of the healthy scores themselves, where there are 2,000 of
    /// them that differ; those of the fitted tail otherwise, and with fewer.
    ///
    /// Fails as [`Member::fit`] does.
    pub fn at_percentiles(detector: Detector, role: Role, healthy: &[f64]) -> Result<Self, TailError> {
        let mut member = Self::fit(detector, role, healthy)?;
        if let Ok(percentiles) = LinePercentiles::of(healthy) {
            member.read_off(&percentiles);
        }
        Ok(member)
    }

    fn read_off(&mut self, percentiles: &LinePercentiles) {
        let (alert, page) = (percentiles.alert.value, percentiles.page.value);
        let apart = self
            .tail
            .as_ref()
            .is_some_and(|tail| tail.score(alert) < tail.score(page));
        if apart && percentiles.page.support == Support::Sufficient {
            (self.alert_line, self.page_line) = (alert, page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threshold_set::tests::healthy;
    use proptest::prelude::*;

    fn scores(values: &[f32]) -> Vec<Scores> {
        let one = |value: &f32| {
            let mut scores = Scores::default();
            scores.set(Detector::Residual, *value);
            scores.set(Detector::OverallLevel, *value);
            scores
        };
        values.iter().map(one).collect()
    }

    #[test]
    fn lines_lie_within_their_own_bounds_and_are_levels_one_and_two() {
        let healthy = healthy(40_000);
        let set = ThresholdSet::from_order_statistics(&healthy, Persistence::default()).unwrap();
        for member in &set.members {
            let told = LinePercentiles::of_detector(member.detector, &healthy).unwrap();
            assert_eq!(
                (member.alert_line, member.page_line),
                (told.alert.value, told.page.value)
            );
            assert!(told.page.lower.unwrap() < member.page_line && member.page_line < told.page.upper.unwrap());
            let scores: Vec<f64> = healthy
                .iter()
                .filter_map(|of| of.get(member.detector))
                .map(f64::from)
                .collect();
            assert_eq!(
                Member::at_percentiles(member.detector, member.role, &scores).as_ref(),
                Ok(member)
            );
            assert!((member.level(member.alert_line as f32).0 - 1.0).abs() < 1e-3);
            assert!((member.level(member.page_line as f32).0 - 2.0).abs() < 1e-3);
            let without = set
                .without_network
                .iter()
                .find(|other| other.detector == member.detector);
            assert!(without.is_none_or(|other| other.page_line.to_bits() == member.page_line.to_bits()));
        }
    }

    #[test]
    fn one_wild_score_moves_a_fitted_line_and_not_one_that_is_read_off() {
        let mut values: Vec<f32> = (0..4_000_u16).map(|i| 1.0 + f32::from(i) / 4_000.0).collect();
        values[3_999] = 500.0;
        let healthy = scores(&values);
        let read_off = ThresholdSet::from_order_statistics(&healthy, Persistence::default()).unwrap();
        let fitted = ThresholdSet::from_healthy_percentiles(&healthy, Persistence::default()).unwrap();
        assert!(read_off.members[0].page_line < 2.0, "{}", read_off.members[0].page_line);
        assert!(fitted.members[0].page_line > 2.0, "{}", fitted.members[0].page_line);
    }

    #[test]
    fn few_scores_leave_the_fitted_lines_and_are_told_to_be_too_few() {
        let healthy = healthy(1_400);
        let rules = Persistence::default();
        let set = ThresholdSet::from_order_statistics(&healthy, rules).unwrap();
        assert_eq!(set, ThresholdSet::from_healthy_percentiles(&healthy, rules).unwrap());
        let told = LinePercentiles::of_detector(Detector::Residual, &healthy).unwrap();
        assert_eq!(told.page.support, Support::Insufficient { needed: 2_000 });
        assert_eq!((told.alert.support, told.page.upper), (Support::Sufficient, None));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn a_higher_score_never_has_a_lower_level_whatever_the_healthy_ones(
            values in prop::collection::vec(0.01_f32..50.0, 2_000..2_400),
            one in 0.0_f32..100.0,
            other in 0.0_f32..100.0,
        ) {
            let set = ThresholdSet::from_order_statistics(&scores(&values), Persistence::default()).unwrap();
            let member = &set.members[0];
            prop_assert!(member.level(one.min(other)) <= member.level(one.max(other)));
            prop_assert!((member.level(member.page_line as f32).0 - 2.0).abs() < 1e-2);
        }
    }
}
