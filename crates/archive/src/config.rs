//! What the archive is told.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_domain::Invalid;

/// Settings of the archive. The role `review` does the work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether days are archived by themselves. `tocsin archive run` does it by hand.
    pub enabled: bool,
    /// For how many days a reading stays hot, by when it was received and by the end of its day of capture. No fewer than
    /// the longest commissioning of any class needs.
    pub hot_days: u32,
    /// For how many days an archived day is kept; 0 for ever.
    pub keep_days: u32,
    /// How long before and after an incident its machine's spectra are all kept, in milliseconds.
    pub incident_margin_ms: u64,
    /// How often it is looked for a day that is due, in milliseconds.
    pub round_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: false,
            hot_days: 7,
            keep_days: 0,
            incident_margin_ms: 3_600_000,
            round_ms: 600_000,
        }
    }
}

impl Config {
    /// Checks the settings; the error names the field.
    pub fn parse(self) -> Result<Self, Invalid> {
        if self.hot_days < 2 {
            return Err(Invalid::new("archive.hot_days", "must be at least 2"));
        }
        if self.round_ms == 0 {
            return Err(Invalid::new("archive.round_ms", "must be at least 1"));
        }
        if self.keep_days != 0 && self.keep_days <= self.hot_days {
            return Err(Invalid::new(
                "archive.keep_days",
                "must be more than archive.hot_days, or 0",
            ));
        }
        Ok(self)
    }

    pub(crate) fn hot(&self) -> Duration {
        days(self.hot_days)
    }

    pub(crate) fn keep(&self) -> Option<Duration> {
        (self.keep_days > 0).then(|| days(self.keep_days))
    }

    pub(crate) fn incident_margin(&self) -> Duration {
        Duration::from_millis(self.incident_margin_ms)
    }

    pub(crate) fn round(&self) -> Duration {
        Duration::from_millis(self.round_ms)
    }
}

fn days(count: u32) -> Duration {
    Duration::from_hours(24) * count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_would_lose_hot_days_is_refused_by_its_field() {
        assert_eq!(Config::default().parse(), Ok(Config::default()));
        let short = Config {
            hot_days: 1,
            ..Config::default()
        };
        assert_eq!(short.parse().unwrap_err().field, "archive.hot_days");
        let forgetful = Config {
            keep_days: 7,
            ..Config::default()
        };
        assert_eq!(forgetful.parse().unwrap_err().field, "archive.keep_days");
    }
}
