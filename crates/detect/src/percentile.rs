//! Empirical percentiles that know how far they can be trusted.
//!
//! The interval is distribution-free: whatever the scores' distribution, the number of readings below
//! its true p-quantile is binomial, so two order statistics enclose the quantile with a known
//! confidence (Conover, "Practical Nonparametric Statistics", 1999). Near the end of the sample there
//! may be no such order statistic: the quantile could lie beyond the greatest reading, and the
//! estimate says so by having no bound there.

use serde::{Deserialize, Serialize};

/// Why a percentile cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PercentileError {
    /// There are no readings.
    #[error("scores: there are none")]
    Empty,
    /// A score is NaN or infinite.
    #[error("scores: score {at} is not finite")]
    NotFinite {
        /// Place of the score, from 0.
        at: usize,
    },
    /// A parameter is outside of its range.
    #[error("{field}: must be above 0 and below 1")]
    Parameter {
        /// `share` or `confidence`.
        field: &'static str,
    },
}

/// Whether there are readings enough for a percentile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// At least 1 / alpha readings, alpha the share beyond the percentile.
    Sufficient,
    /// Fewer: the value is little more than the greatest reading.
    Insufficient {
        /// Readings needed.
        needed: usize,
    },
}

/// An empirical percentile with its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PercentileEstimate {
    /// The percentile, in the unit of the scores (linear interpolation between order statistics,
    /// Hyndman & Fan's type 7).
    pub value: f64,
    /// Lower end of the interval; none when no reading can serve as one.
    pub lower: Option<f64>,
    /// Upper end of the interval; none when no reading can serve as one.
    pub upper: Option<f64>,
    /// Readings it rests on.
    pub readings: usize,
    /// Whether they are enough.
    pub support: Support,
}

/// The value a `share` of the scores does not exceed (0.995 is the 99.5th percentile), with a
/// two-sided interval of at least the given `confidence` (0.95 is usual).
pub fn percentile(scores: &[f64], share: f64, confidence: f64) -> Result<PercentileEstimate, PercentileError> {
    for (field, value) in [("share", share), ("confidence", confidence)] {
        if !(value > 0.0 && value < 1.0) {
            return Err(PercentileError::Parameter { field });
        }
    }
    if let Some(at) = scores.iter().position(|score| !score.is_finite()) {
        return Err(PercentileError::NotFinite { at });
    }
    if scores.is_empty() {
        return Err(PercentileError::Empty);
    }
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (lower, upper) = bounds(sorted.len(), share, (1.0 - confidence) / 2.0);
    let needed = needed(share);
    Ok(PercentileEstimate {
        value: interpolated(&sorted, share),
        lower: lower.map(|rank| sorted[rank - 1]),
        upper: upper.map(|rank| sorted[rank - 1]),
        readings: sorted.len(),
        support: if sorted.len() >= needed {
            Support::Sufficient
        } else {
            Support::Insufficient { needed }
        },
    })
}

/// Readings a percentile needs: one over the share beyond it.
fn needed(share: f64) -> usize {
    // The slack forgives 1 / (1 - 0.995) not being 200 in binary.
    (1.0 / (1.0 - share) - 1e-6).ceil() as usize
}

fn interpolated(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let part = place - below as f64;
    sorted[below] * (1.0 - part) + sorted[above] * part
}

/// Ranks (from 1) of the order statistics that leave at most `outside` on either side: the greatest l
/// with P(B < l) <= outside and the least u with P(B >= u) <= outside, B binomial.
fn bounds(count: usize, share: f64, outside: f64) -> (Option<usize>, Option<usize>) {
    let n = count as f64;
    let odds = share.ln() - (-share).ln_1p();
    // Logarithms, because (1 - share)^n is far below the least double for a long sample.
    let mut log_mass = n * (-share).ln_1p();
    let mut below = 0.0;
    let (mut lower, mut upper) = (None, None);
    for rank in 1..=count {
        below += log_mass.exp();
        if below <= outside {
            lower = Some(rank);
        }
        if upper.is_none() && 1.0 - below <= outside {
            upper = Some(rank);
        }
        let k = (rank - 1) as f64;
        log_mass += ((n - k) / (k + 1.0)).ln() + odds;
    }
    (lower, upper)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    fn whole_numbers(count: u32) -> Vec<f64> {
        (1..=count).map(f64::from).collect()
    }

    #[test]
    fn the_median_of_ten_has_the_textbook_interval() {
        // Conover's table: ranks 2 and 9 enclose the median of 10 with 97.9 %.
        let estimate = percentile(&whole_numbers(10), 0.5, 0.95).expect("estimate");
        assert!((estimate.value - 5.5).abs() < 1e-12);
        assert_eq!((estimate.lower, estimate.upper), (Some(2.0), Some(9.0)));
        assert_eq!(estimate.support, Support::Sufficient);
    }

    #[test]
    fn a_high_percentile_of_few_readings_is_insufficient_and_has_no_upper_bound() {
        let estimate = percentile(&whole_numbers(1_462), 0.9995, 0.95).expect("estimate");
        assert_eq!(estimate.support, Support::Insufficient { needed: 2_000 });
        assert_eq!(estimate.upper, None);
        assert!(estimate.lower.is_some_and(|lower| lower < estimate.value));
        let enough = percentile(&whole_numbers(200), 0.995, 0.95).expect("estimate");
        assert_eq!(enough.support, Support::Sufficient);
    }

    #[test]
    fn the_interval_holds_the_true_quantile_about_as_often_as_it_says() {
        let mut rng = StdRng::seed_from_u64(11);
        let trials = 400;
        let mut held = 0;
        for _ in 0..trials {
            let scores: Vec<f64> = (0..500).map(|_| rng.random::<f64>()).collect();
            let estimate = percentile(&scores, 0.95, 0.9).expect("estimate");
            let low = estimate.lower.expect("lower");
            let high = estimate.upper.expect("upper");
            held += u32::from(low <= 0.95 && 0.95 <= high);
        }
        assert!((350..=390).contains(&held), "{held} of {trials} at a confidence of 0.9");
    }

    #[test]
    fn a_long_sample_keeps_its_bounds_close() {
        let estimate = percentile(&whole_numbers(200_000), 0.995, 0.95).expect("estimate");
        let (lower, upper) = (estimate.lower.expect("lower"), estimate.upper.expect("upper"));
        // Normal approximation: 1.96 sqrt(n p (1 - p)) = 61.8 ranks on either side of 199,000.
        assert!((lower - (199_000.0 - 61.8)).abs() < 4.0, "{lower}");
        assert!((upper - (199_000.0 + 61.8)).abs() < 4.0, "{upper}");
    }

    #[test]
    fn bad_input_is_refused_by_name() {
        assert_eq!(percentile(&[], 0.5, 0.95), Err(PercentileError::Empty));
        assert_eq!(
            percentile(&[1.0, f64::NAN], 0.5, 0.95),
            Err(PercentileError::NotFinite { at: 1 })
        );
        assert_eq!(
            percentile(&[1.0], 1.0, 0.95),
            Err(PercentileError::Parameter { field: "share" })
        );
    }
}
