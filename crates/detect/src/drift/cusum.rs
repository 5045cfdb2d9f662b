//! Small moves in sum: the one-sided cumulative sum of Page (1954).

use serde::{Deserialize, Serialize};

/// Slack per period, in standard deviations: what is no more than this above its peers never adds up.
const SLACK: f64 = 1.0;
/// Most that one period adds: one wild period is no trend.
const MOST: f64 = 4.0;
/// Siegmund's correction of the decision interval (1985), in standard deviations.
const OVERSHOOT: f64 = 1.166;

/// A cumulative sum of how far a sensor stood above its peers, period after period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cusum {
    sum: f64,
}

impl Cusum {
    /// Continues a sum that was kept.
    pub fn resume(sum: f64) -> Self {
        Self { sum: sum.max(0.0) }
    }

    /// The sum.
    pub fn sum(self) -> f64 {
        self.sum
    }

    /// The sum after one more period's standing above the peers, in robust standard deviations.
    #[must_use]
    pub fn after(self, standing: f64) -> Self {
        Self {
            sum: (self.sum + standing.min(MOST) - SLACK).max(0.0),
        }
    }

    /// Whether the sum has passed the decision interval at which a healthy sensor among `sensors` would be suspected
    /// once in a hundred times `periods`: Siegmund's approximation of the run length, exp(2 k (h + 1.166)) / (2 k^2).
    pub fn is_out_of_control(self, sensors: usize, periods: f64) -> bool {
        let run_length = 100.0 * periods.max(1.0) * sensors.max(1) as f64;
        let decision_interval = (2.0 * SLACK * SLACK * run_length).ln() / (2.0 * SLACK) - OVERSHOOT;
        self.sum > decision_interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(standings: impl IntoIterator<Item = f64>) -> Cusum {
        standings.into_iter().fold(Cusum::default(), Cusum::after)
    }

    #[test]
    fn a_sensor_like_its_peers_never_adds_up_and_a_slow_rise_does() {
        assert!(!after((0..3_650).map(|day| f64::from(day % 5) - 2.0)).is_out_of_control(600, 365.0));
        assert!(after((0..30).map(|day| 0.1 * f64::from(day))).is_out_of_control(600, 365.0));
    }

    #[test]
    fn one_wild_day_is_no_trend_and_more_sensors_take_more() {
        assert!(!after([1e9]).is_out_of_control(60, 365.0));
        let sum = after([3.0, 3.0, 3.0, 2.0]);
        assert!(sum.is_out_of_control(2, 365.0) && !sum.is_out_of_control(10_000, 365.0));
    }
}
