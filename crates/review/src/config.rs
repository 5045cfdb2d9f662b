//! What the review is told.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_domain::Invalid;
use tocsin_judge::performance::Budget;

/// Settings of the review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The period answered for when only its end is known, in milliseconds.
    pub default_period_ms: u64,
    /// How often new readings are looked for while somebody watches, in milliseconds.
    pub watch_interval_ms: u64,
    /// How long a scorer may take to reconstruct a spectrum, in milliseconds.
    pub scorer_timeout_ms: u64,
    /// Rows asked of the database at once.
    pub rows_at_once: u32,
    /// The most pages that a destination, the person behind it, is to be told in any seven days.
    pub pages_per_person_week: u32,
    /// The most in a night, from 22:00 to 06:00 at the page's site.
    pub pages_per_person_night: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            default_period_ms: 86_400_000,
            watch_interval_ms: 1_000,
            scorer_timeout_ms: 2_000,
            rows_at_once: 20_000,
            pages_per_person_week: 2,
            pages_per_person_night: 1,
        }
    }
}

impl Config {
    /// Checks the settings; the error names the field.
    pub fn parse(self) -> Result<Self, Invalid> {
        let positive = [
            ("default_period_ms", self.default_period_ms),
            ("watch_interval_ms", self.watch_interval_ms),
            ("scorer_timeout_ms", self.scorer_timeout_ms),
            ("rows_at_once", self.rows_at_once.into()),
        ];
        match positive.into_iter().find(|(_, value)| *value == 0) {
            Some((field, _)) => Err(Invalid::new(format!("review.{field}"), "must be at least 1")),
            None => Ok(self),
        }
    }

    pub(crate) fn budget(&self) -> Budget {
        Budget {
            per_week: self.pages_per_person_week,
            per_night: self.pages_per_person_night,
        }
    }

    pub(crate) fn default_period(&self) -> Duration {
        Duration::from_millis(self.default_period_ms)
    }

    pub(crate) fn watch_interval(&self) -> Duration {
        Duration::from_millis(self.watch_interval_ms)
    }

    pub(crate) fn scorer_timeout(&self) -> Duration {
        Duration::from_millis(self.scorer_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_of_zero_is_refused_by_its_field() {
        assert_eq!(Config::default().parse(), Ok(Config::default()));
        let idle = Config {
            rows_at_once: 0,
            ..Config::default()
        };
        assert_eq!(idle.parse().unwrap_err().field, "review.rows_at_once");
    }
}
