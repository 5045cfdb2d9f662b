//! What the policy of alarm limits is told.

use serde::{Deserialize, Serialize};
use tocsin_domain::Invalid;
use tocsin_judge::PageBudget;

/// Alarm limits that are proposed on a schedule, and what may become of them without a person.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Whether limits are proposed and tested on a schedule, for every class that has some in force.
    pub propose: bool,
    /// How long after the last proposal, or after limits came into force, in seconds.
    pub period_s: u64,
    /// The length of the window the scores are from, in seconds: it ends with the proposal.
    pub window_s: u64,
    /// Whether proposed limits come into force by themselves where they keep to the rule. Otherwise all wait for a person.
    pub activate: bool,
    /// How far lines may move from where a person last put them, and sensors from what was commissioned, dB.
    pub most_db: f64,
    /// The most pages of healthy machines that may be expected of limits, per site and day.
    pub pages_per_site_day: f64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            propose: true,
            period_s: 7 * 86_400,
            window_s: 7 * 86_400,
            activate: false,
            most_db: 3.0,
            pages_per_site_day: 0.1,
        }
    }
}

impl Policy {
    /// Checks the settings; the error names the field.
    pub fn parse(self) -> Result<Self, Invalid> {
        let wrong = |field: &str, reason: String| Err(Invalid::new(format!("recalibrator.policy.{field}"), reason));
        if self.period_s == 0 {
            return wrong("period_s", "must be at least 1".to_owned());
        }
        if self.window_s == 0 {
            return wrong("window_s", "must be at least 1".to_owned());
        }
        if !(0.0..=3.0).contains(&self.most_db) {
            return wrong("most_db", format!("{} must be 0 to 3", self.most_db));
        }
        if !(self.pages_per_site_day >= 0.0 && self.pages_per_site_day.is_finite()) {
            return wrong(
                "pages_per_site_day",
                format!("{} must be a number from 0 on", self.pages_per_site_day),
            );
        }
        Ok(self)
    }

    pub(crate) fn budget(&self) -> PageBudget {
        PageBudget::PagesPerSiteDay(self.pages_per_site_day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_into_force_by_itself_unless_it_was_asked_for_and_never_beyond_3_db() {
        let own = Policy::default();
        assert!(own.propose && !own.activate);
        assert_eq!(own.parse(), Ok(own));
        let wide = Policy { most_db: 3.5, ..own };
        assert_eq!(wide.parse().unwrap_err().field, "recalibrator.policy.most_db");
        let restless = Policy { period_s: 0, ..own };
        assert_eq!(restless.parse().unwrap_err().field, "recalibrator.policy.period_s");
        let endless = Policy {
            pages_per_site_day: f64::NAN,
            ..own
        };
        let field = endless.parse().unwrap_err().field;
        assert_eq!(field, "recalibrator.policy.pages_per_site_day");
    }
}
