//! How long a condition must hold before it counts, and how long it must be gone.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_domain::{Invalid, Severity};

/// k-of-n and clearing, in judged machine steps. Part of a threshold set, so that every decision names its rules.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Persistence {
    /// Steps at or above a line that open an incident…
    pub k: u32,
    /// …among this many judged steps.
    pub n: u32,
    /// Judged steps in a row below the clearing level that clear it.
    pub clear_steps: u32,
    /// Clearing level of a page-level incident.
    pub page_clear_level: f32,
    /// Clearing level of an alert-level incident.
    pub alert_clear_level: f32,
    /// Seconds in which an acknowledged incident is paged again at most once for each reason.
    #[serde(default = "default_re_alarm_s")]
    pub re_alarm_s: u32,
    /// Seconds for which that share of the judged steps, k of n, must have stood at or above a line before an incident
    /// opens there; 0: as long as the steps take.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub open_min_s: u32,
    /// Seconds for which every judged step must have been below the clearing level before an incident clears; 0: as long
    /// as the steps take.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clear_min_s: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(seconds: &u32) -> bool {
    *seconds == 0
}

/// A day: what must hold for longer is no alarm.
const MOST_MIN_S: u32 = 86_400;

/// Four hours.
fn default_re_alarm_s() -> u32 {
    14_400
}

impl Default for Persistence {
    fn default() -> Self {
        Self {
            k: 5,
            n: 8,
            clear_steps: 20,
            page_clear_level: 1.5,
            alert_clear_level: 0.5,
            re_alarm_s: default_re_alarm_s(),
            open_min_s: 0,
            clear_min_s: 0,
        }
    }
}

impl Persistence {
    /// Checks the numbers against each other.
    pub fn parse(self) -> Result<Self, Invalid> {
        if self.k == 0 || self.k > self.n {
            return Err(Invalid::new(
                "persistence.k",
                format!("{} is not between 1 and n = {}", self.k, self.n),
            ));
        }
        if self.clear_steps == 0 {
            return Err(Invalid::new("persistence.clear_steps", "must be at least 1"));
        }
        let ordered = 0.0 < self.alert_clear_level
            && self.alert_clear_level < 1.0
            && self.alert_clear_level <= self.page_clear_level
            && self.page_clear_level < 2.0;
        if !ordered {
            let reason = "clearing levels must lie below their lines: alert in (0, 1), page from alert's up to 2";
            return Err(Invalid::new("persistence.page_clear_level", reason));
        }
        for (field, seconds) in [("open_min_s", self.open_min_s), ("clear_min_s", self.clear_min_s)] {
            if seconds > MOST_MIN_S {
                let reason = format!("{seconds} is more than a day, {MOST_MIN_S}");
                return Err(Invalid::new(format!("persistence.{field}"), reason));
            }
        }
        Ok(self)
    }

    /// The least time that a condition must have held.
    pub fn open_min(&self) -> Duration {
        Duration::from_secs(self.open_min_s.into())
    }

    /// The least time that it must have been gone.
    pub fn clear_min(&self) -> Duration {
        Duration::from_secs(self.clear_min_s.into())
    }

    /// The least time between two pages of an acknowledged incident for the same reason.
    pub fn re_alarm(&self) -> Duration {
        Duration::from_secs(self.re_alarm_s.into())
    }

    /// The level below which an incident of this severity clears.
    pub fn clear_level(&self, severity: Severity) -> f32 {
        match severity {
            Severity::Alert => self.alert_clear_level,
            Severity::Page => self.page_clear_level,
        }
    }

    /// How far back a window of `steps` judged steps may reach: twice its length, so that old trouble can't be added
    /// to new across a gap.
    pub fn reach(steps: u32, step: Duration) -> Duration {
        step * (2 * steps)
    }

    /// How far back a reading can matter to a decision. With nothing open that is the window that can open: a quiet run
    /// never reaches behind the steps that opened what it clears.
    pub fn reach_back(&self, open: Option<Severity>, step: Duration) -> Duration {
        let (steps, least) = match open {
            Some(_) => (self.n.max(self.clear_steps), self.open_min().max(self.clear_min())),
            None => (self.n, self.open_min()),
        };
        Self::reach(steps, step).max(least + step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_rules_are_refused_by_their_field() {
        let rules = Persistence::default();
        assert_eq!(rules.parse().unwrap(), rules);
        assert_eq!(
            Persistence { k: 9, ..rules }.parse().unwrap_err().field,
            "persistence.k"
        );
        assert_eq!(
            Persistence {
                clear_steps: 0,
                ..rules
            }
            .parse()
            .unwrap_err()
            .field,
            "persistence.clear_steps"
        );
        let endless = Persistence {
            clear_min_s: 86_401,
            ..rules
        };
        assert_eq!(endless.parse().unwrap_err().field, "persistence.clear_min_s");
        let inverted = Persistence {
            page_clear_level: 2.5,
            ..rules
        };
        assert_eq!(inverted.parse().unwrap_err().field, "persistence.page_clear_level");
    }
}
