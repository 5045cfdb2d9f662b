//! When a class's models are fitted anew without anybody asking.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_domain::Invalid;

/// Settings of the watch that asks for training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetrainRule {
    /// Whether training is asked for when a class has drifted; people can ask at any time.
    pub on_drift: bool,
    /// How often classes are looked at, in seconds.
    pub interval_s: u64,
    /// A class that a job was asked for, by whomever, is left alone for that long, in seconds.
    pub cool_down_s: u64,
    /// Readings of the last so many seconds say where a class stands.
    pub look_back_s: u64,
    /// Readings of the last so many seconds are learned from.
    pub learn_period_s: u64,
}

const DAY_S: u64 = 86_400;

impl Default for RetrainRule {
    fn default() -> Self {
        Self {
            on_drift: true,
            interval_s: 3_600,
            cool_down_s: 30 * DAY_S,
            look_back_s: 7 * DAY_S,
            learn_period_s: 30 * DAY_S,
        }
    }
}

impl RetrainRule {
    /// Checks the settings; the error names the field.
    pub(crate) fn parse(self) -> Result<Self, Invalid> {
        let lengths = [
            ("interval_s", self.interval_s),
            ("look_back_s", self.look_back_s),
            ("learn_period_s", self.learn_period_s),
        ];
        match lengths.into_iter().find(|(_, length)| *length == 0) {
            Some((field, _)) => Err(Invalid::new(
                format!("recalibrator.retrain.{field}"),
                "must be at least 1",
            )),
            None => Ok(self),
        }
    }

    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_s)
    }

    pub(crate) fn cool_down(&self) -> Duration {
        Duration::from_secs(self.cool_down_s)
    }

    pub(crate) fn look_back(&self) -> Duration {
        Duration::from_secs(self.look_back_s)
    }

    pub(crate) fn learn_period(&self) -> Duration {
        Duration::from_secs(self.learn_period_s)
    }
}
