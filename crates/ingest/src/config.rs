//! Ingest's settings.

use std::num::{NonZeroU64, NonZeroUsize};

use serde::{Deserialize, Serialize};
use tocsin_transport::retry;

/// Readings in a batch at most: a promise of the contract, not a setting.
pub const MAX_BATCH_READINGS: usize = 5_000;

/// How much to bear, and how long to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Readings in flight in this process at most; a batch that finds more is refused.
    pub in_flight_readings: NonZeroUsize,
    /// Batches of one stream at work at most; as many again may wait for machines that are busy with another.
    pub in_flight_batches: NonZeroUsize,
    /// When a refused sender may come back, in milliseconds.
    pub retry_after_ms: u32,
    /// How long a batch tries to be assessed, in milliseconds, all repetitions included. One of several
    /// ensembles gets half of it.
    pub assess_deadline_ms: NonZeroU64,
    /// How a call that no ensemble could take is repeated.
    pub assess_retry: retry::Policy,
    /// What is known of a site's sensors is read again after this many milliseconds.
    pub known_sensor_ms: u64,
    /// A sensor that is not known is not looked up again for this many milliseconds.
    pub unknown_sensor_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        let count = |count| NonZeroUsize::new(count).expect("the defaults are not 0");
        Self {
            in_flight_readings: count(100_000),
            in_flight_batches: count(32),
            retry_after_ms: 250,
            assess_deadline_ms: NonZeroU64::new(10_000).expect("10000 is not 0"),
            assess_retry: retry::Policy {
                // The deadline ends it, not the count.
                attempts: std::num::NonZeroU32::MAX,
                longest_backoff_ms: 1_000,
                ..retry::Policy::default()
            },
            known_sensor_ms: 300_000,
            unknown_sensor_ms: 5_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_document_is_the_default_and_an_unknown_or_zero_field_is_refused() {
        let read = |json: &str| serde_json::from_str::<Config>(json);
        assert_eq!(read("{}").expect("every field has a default"), Config::default());
        assert!(read(r#"{"in_flight": 2}"#).is_err());
        assert!(read(r#"{"in_flight_batches": 0}"#).is_err());
    }
}
