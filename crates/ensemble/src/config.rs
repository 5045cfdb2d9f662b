//! What can be set.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of the ensemble role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most readings that are assessed and committed together.
    pub group_readings: usize,
    /// Groups in flight: one may be scored while another commits.
    pub groups_in_flight: usize,
    /// Readings that may wait; more are refused with a hint when to come back.
    pub waiting_readings: usize,
    /// How long one scorer may take before the next is asked.
    pub score_deadline_ms: u64,
    /// Machines locked by somebody else that are waited for at the same time, each with a connection of its own.
    pub blocked_machines: usize,
    /// How often readings judged without the network are looked for and scored again.
    pub rescore_interval_ms: u64,
    /// Share of the readings, 0 to 1, that a class's challenger scores too, after they are committed.
    pub shadow_share: f64,
    /// How often it is written down what was heard of each sensor, in milliseconds: when, by which gateway, and whether its
    /// spectrum changes.
    pub signal_interval_ms: u64,
    /// What a challenger said is kept for so many seconds.
    pub shadow_keep_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            group_readings: 4096,
            groups_in_flight: 3,
            waiting_readings: 40_000,
            score_deadline_ms: 3_000,
            blocked_machines: 4,
            rescore_interval_ms: 10_000,
            shadow_share: 0.1,
            signal_interval_ms: 5_000,
            shadow_keep_s: 30 * 86_400,
        }
    }
}

impl Config {
    pub(crate) fn score_deadline(&self) -> Duration {
        Duration::from_millis(self.score_deadline_ms)
    }

    pub(crate) fn shadow_keep(&self) -> Duration {
        Duration::from_secs(self.shadow_keep_s)
    }

    pub(crate) fn signal_interval(&self) -> Duration {
        Duration::from_millis(self.signal_interval_ms)
    }

    pub(crate) fn rescore_interval(&self) -> Duration {
        Duration::from_millis(self.rescore_interval_ms)
    }
}
