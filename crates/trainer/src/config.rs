//! What the role is told.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_domain::Invalid;
use tocsin_models::Variant;

use crate::FitOptions;

/// Settings of the trainer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How often the queue is looked at, in milliseconds.
    pub poll_interval_ms: u64,
    /// How long a job is this trainer's without a sign of life, in seconds.
    pub lease_s: u64,
    /// Times a job is taken before it is given up.
    pub most_attempts: u32,
    /// How long a job waits after an attempt that failed for now, in seconds.
    pub retry_s: u64,
    /// The most readings of one sensor, evenly thinned.
    pub sensor_readings: u32,
    /// The most values (readings times bins) of one job; they are held in memory, about 20 bytes each.
    pub most_values: u64,
    /// Share of each sensor's readings, the last in time, that alarm limits are computed from and nothing is fitted on.
    pub held_out_share: f64,
    /// The fewest readings to fit on.
    pub fewest_readings: u32,
    /// The most epochs; what the kind of network usually gets when not given.
    pub epochs: Option<u32>,
    /// The largest share of the readings that is looked for faults and left out; 0: none is. It costs a clean set some recall.
    pub trim: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            poll_interval_ms: 10_000,
            lease_s: 300,
            most_attempts: 3,
            retry_s: 60,
            sensor_readings: 2_000,
            most_values: 16_000_000,
            held_out_share: 0.25,
            fewest_readings: 500,
            epochs: None,
            trim: 0.0,
        }
    }
}

impl Config {
    /// Checks the settings; the error names the field.
    pub fn parse(self) -> Result<Self, Invalid> {
        let counts = [
            ("poll_interval_ms", self.poll_interval_ms),
            ("lease_s", self.lease_s),
            ("most_attempts", self.most_attempts.into()),
            ("sensor_readings", self.sensor_readings.into()),
            ("most_values", self.most_values),
            ("fewest_readings", self.fewest_readings.into()),
            ("epochs", self.epochs.unwrap_or(1).into()),
        ];
        if let Some((field, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(Invalid::new(format!("trainer.{field}"), "must be at least 1"));
        }
        if !(0.05..=0.5).contains(&self.held_out_share) {
            let wrong = format!("{} must be 0.05 to 0.5", self.held_out_share);
            return Err(Invalid::new("trainer.held_out_share", wrong));
        }
        if !(0.0..0.5).contains(&self.trim) {
            let wrong = format!("{} must be 0, or more and below 0.5", self.trim);
            return Err(Invalid::new("trainer.trim", wrong));
        }
        Ok(self)
    }

    pub(crate) fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_s)
    }

    pub(crate) fn poll_interval(&self) -> Duration {
        Duration::from_millis(self.poll_interval_ms)
    }

    /// How a network is fitted.
    pub(crate) fn options(&self, variant: Variant) -> FitOptions {
        let usual = FitOptions::of(variant);
        FitOptions {
            epochs: self.epochs.unwrap_or(usual.epochs),
            trim: self.trim,
            ..usual
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_settings_are_refused_by_their_field() {
        let config = Config::default();
        assert_eq!(config.clone().parse().unwrap(), config);
        let idle = Config {
            epochs: Some(0),
            ..config.clone()
        };
        assert_eq!(idle.parse().unwrap_err().field, "trainer.epochs");
        let emptied = Config {
            trim: 0.5,
            ..config.clone()
        };
        assert_eq!(emptied.parse().unwrap_err().field, "trainer.trim");
        let blind = Config {
            held_out_share: 0.0,
            ..config
        };
        assert_eq!(blind.parse().unwrap_err().field, "trainer.held_out_share");
    }
}
