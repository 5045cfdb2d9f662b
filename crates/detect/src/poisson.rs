//! Rates of rare events with honest bounds.
//!
//! One false page in twenty machine-hours is not "0.05 an hour": it is something between 0.001 and
//! 0.28. The interval is the exact one of Garwood (1936): bounds at which the events seen would be
//! just too many, or just too few.

use serde::{Deserialize, Serialize};

/// Halvings of a bracket: enough to exhaust the digits of a double.
const HALVINGS: usize = 200;

/// An event rate with its confidence interval, in events per unit of exposure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RateEstimate {
    /// Events seen.
    pub events: u64,
    /// Exposure they were seen in, in the caller's unit (machine-hours, thousands of readings).
    pub exposure: f64,
    /// Events per unit of exposure.
    pub rate: f64,
    /// Lower end of the interval; 0 without events.
    pub lower: f64,
    /// Upper end of the interval.
    pub upper: f64,
}

/// Rate of `events` in `exposure` with a two-sided interval of the given `confidence` (0.95 is
/// usual). None unless the exposure is above zero and the confidence between 0 and 1.
pub fn event_rate(events: u64, exposure: f64, confidence: f64) -> Option<RateEstimate> {
    if !(exposure > 0.0 && exposure.is_finite() && confidence > 0.0 && confidence < 1.0) {
        return None;
    }
    let outside = (1.0 - confidence) / 2.0;
    let upper = mean_at(events, outside);
    // P(at least k events) = outside is P(at most k - 1 events) = 1 - outside.
    let lower = events.checked_sub(1).map_or(0.0, |fewer| mean_at(fewer, 1.0 - outside));
    Some(RateEstimate {
        events,
        exposure,
        rate: events as f64 / exposure,
        lower: lower / exposure,
        upper: upper / exposure,
    })
}

/// The Poisson mean at which at most `events` events have probability `probability`.
fn mean_at(events: u64, probability: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while cumulative(events, high) > probability {
        low = high;
        high *= 2.0;
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if cumulative(events, middle) > probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// P(at most `events` events) under a Poisson mean above zero.
fn cumulative(events: u64, mean: f64) -> f64 {
    let mut log_mass = -mean;
    let mut sum = log_mass.exp();
    for k in 1..=events {
        log_mass += (mean / k as f64).ln();
        sum += log_mass.exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_those_of_the_tables() {
        // Exact 95 % limits of a Poisson count: 0 -> 0..3.689, 1 -> 0.0253..5.572, 10 -> 4.795..18.390.
        for (events, lower, upper) in [(0, 0.0, 3.689), (1, 0.0253, 5.572), (10, 4.795, 18.390)] {
            let estimate = event_rate(events, 1.0, 0.95).expect("estimate");
            assert!((estimate.lower - lower).abs() < 1e-3, "{events}: {}", estimate.lower);
            assert!((estimate.upper - upper).abs() < 1e-3, "{events}: {}", estimate.upper);
        }
    }

    #[test]
    fn one_page_in_7321_readings_is_anything_up_to_five_times_that() {
        let estimate = event_rate(1, 7.321, 0.95).expect("estimate");
        assert!((estimate.rate - 0.1366).abs() < 1e-3);
        assert!((estimate.lower - 0.0035).abs() < 1e-4 && (estimate.upper - 0.761).abs() < 1e-3);
    }

    #[test]
    fn many_events_stay_finite_and_close() {
        let estimate = event_rate(5_000, 1.0, 0.95).expect("estimate");
        assert!(estimate.lower > 4_850.0 && estimate.upper < 5_150.0 && estimate.lower < estimate.upper);
    }

    #[test]
    fn no_exposure_has_no_rate() {
        assert_eq!(event_rate(1, 0.0, 0.95), None);
        assert_eq!(event_rate(1, f64::NAN, 0.95), None);
        assert_eq!(event_rate(1, 1.0, 1.0), None);
    }
}
