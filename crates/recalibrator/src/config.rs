//! What the recalibrator is told.

use serde::{Deserialize, Serialize};
use tocsin_detect::drift::FollowRule;
use tocsin_domain::Invalid;
use tocsin_judge::Persistence;

use crate::{Policy, RetrainRule};

/// Settings of the recalibrator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The persistence rules that new sets get.
    pub persistence: Persistence,
    /// The most logged readings that limits at percentiles, of a tail or by labels are computed from; a longer period is
    /// refused. They are held in memory, about 150 bytes each. Fleet replay, tests and what-ifs hold a day of some machines.
    pub logged_readings_limit: u32,
    /// How often sensors that have been seen enough are looked for and commissioned, in seconds.
    pub commission_interval_s: u64,
    /// How often baselines follow their sensors, in seconds.
    pub follow_period_s: u64,
    /// How far a baseline may move from what was commissioned without a person.
    pub follow: FollowRule,
    /// Limits that are proposed on a schedule.
    pub policy: Policy,
    /// When a class's models are fitted anew.
    pub retrain: RetrainRule,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            persistence: Persistence::default(),
            logged_readings_limit: 500_000,
            commission_interval_s: 60,
            follow_period_s: 86_400,
            follow: FollowRule::default(),
            policy: Policy::default(),
            retrain: RetrainRule::default(),
        }
    }
}

impl Config {
    /// Checks the settings; the error names the field.
    pub fn parse(self) -> Result<Self, Invalid> {
        if self.logged_readings_limit == 0 {
            return Err(Invalid::new("recalibrator.logged_readings_limit", "must be at least 1"));
        }
        if self.commission_interval_s == 0 {
            return Err(Invalid::new("recalibrator.commission_interval_s", "must be at least 1"));
        }
        if self.follow_period_s == 0 {
            return Err(Invalid::new("recalibrator.follow_period_s", "must be at least 1"));
        }
        for (field, db) in [
            ("common_up_db", self.follow.common_up_db),
            ("down_db", self.follow.down_db),
        ] {
            if !(0.0..=20.0).contains(&db) {
                return Err(Invalid::new(
                    format!("recalibrator.follow.{field}"),
                    format!("{db} must be 0 to 20"),
                ));
            }
        }
        let persistence = self
            .persistence
            .parse()
            .map_err(|invalid| Invalid::new(format!("recalibrator.{}", invalid.field), invalid.reason))?;
        let policy = self.policy.parse()?;
        let retrain = self.retrain.parse()?;
        Ok(Self {
            persistence,
            policy,
            retrain,
            ..self
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_settings_are_refused_by_their_field() {
        let config = Config::default();
        assert_eq!(config.clone().parse().unwrap(), config);
        let none = Config {
            logged_readings_limit: 0,
            ..config.clone()
        };
        assert_eq!(none.parse().unwrap_err().field, "recalibrator.logged_readings_limit");
        let restless = Config {
            commission_interval_s: 0,
            ..config.clone()
        };
        assert_eq!(
            restless.parse().unwrap_err().field,
            "recalibrator.commission_interval_s"
        );
        let wide = Config {
            follow: FollowRule {
                common_up_db: 21.0,
                ..FollowRule::default()
            },
            ..config.clone()
        };
        assert_eq!(wide.parse().unwrap_err().field, "recalibrator.follow.common_up_db");
        let rules = Persistence {
            k: 0,
            ..Persistence::default()
        };
        let idle = Config {
            persistence: rules,
            ..config
        };
        assert_eq!(idle.parse().unwrap_err().field, "recalibrator.persistence.k");
    }
}
