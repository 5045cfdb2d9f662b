//! The fleet's assets as services hold them: site > machine > sensor, each sensor with its class and spec.

use std::time::Duration;

use crate::{ClassId, Invalid, MachineId, SensorId, SiteId, Slug, SpecId};

/// A plant, and the bounds it sets on capture times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its number.
    pub id: SiteId,
    /// Its name.
    pub name: Slug,
    /// The name on screen.
    pub title: String,
    /// IANA time zone, such as `Europe/Lisbon`.
    pub time_zone: String,
    /// Oldest capture time taken, before now.
    pub oldest: Duration,
    /// Furthest capture time taken, after now (a gateway's clock may run ahead).
    pub furthest: Duration,
    /// The most sensors that gateways may register by themselves.
    pub auto_register_cap: i32,
    /// The longest that a machine may be shelved at once.
    pub longest_shelf: Duration,
    /// Alarm limits that one person asked for need another's approval before they judge machines here.
    pub second_approval: bool,
}

impl Site {
    /// How long a machine may be shelved where the site does not say.
    pub const DEFAULT_LONGEST_SHELF: Duration = Duration::from_hours(24);
}

/// Machines of one construction with one measuring set-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineClass {
    /// Its number.
    pub id: ClassId,
    /// Its name.
    pub name: Slug,
    /// One decision interval.
    pub step: Duration,
    /// When a sensor of it has been seen enough.
    pub commissioning: CommissioningRules,
}

/// When a sensor has been seen enough to know what it looks like in health: count and span must both be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommissioningRules {
    /// Healthy readings it takes, the run-in not among them.
    pub readings: u32,
    /// The time that must lie between the first and the last of them.
    pub span: Duration,
    /// Readings skipped at the start: a machine that was just repaired runs in.
    pub run_in: u32,
}

impl CommissioningRules {
    /// Fewest readings that carry a baseline.
    pub const MIN_READINGS: u32 = 20;
    /// Most readings that may be asked for, run-in included: they are counted again and again until they are there.
    pub const MAX_READINGS: u32 = 10_000;

    /// Checks the numbers.
    pub fn parse(self) -> Result<Self, Invalid> {
        if self.readings < Self::MIN_READINGS {
            let reason = format!("{} are too few: at least {}", self.readings, Self::MIN_READINGS);
            return Err(Invalid::new("commissioning.readings", reason));
        }
        if u64::from(self.readings) + u64::from(self.run_in) > u64::from(Self::MAX_READINGS) {
            let reason = format!("more than {} with the run-in", Self::MAX_READINGS);
            return Err(Invalid::new("commissioning.readings", reason));
        }
        if self.span > Duration::from_hours(24 * 366) {
            return Err(Invalid::new("commissioning.span", "is longer than a year"));
        }
        Ok(self)
    }
}

impl Default for CommissioningRules {
    fn default() -> Self {
        Self {
            readings: 100,
            span: Duration::from_hours(24),
            run_in: 10,
        }
    }
}

/// One channel, with what is needed to judge it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sensor {
    /// Its number.
    pub id: SensorId,
    /// The site it stands in.
    pub site: SiteId,
    /// The machine it watches.
    pub machine: MachineId,
    /// The machine's class.
    pub class: ClassId,
    /// Its spec.
    pub spec: SpecId,
}

/// How a gateway names one of its own sensors: `machine/sensor`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SensorPath {
    /// The machine.
    pub machine: Slug,
    /// The sensor on it.
    pub sensor: Slug,
}

impl SensorPath {
    /// Parses `machine/sensor`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let Some((machine, sensor)) = text.split_once('/') else {
            return Err(Invalid::new(
                "sensor",
                format!("{text:?} is not of the form machine/sensor"),
            ));
        };
        Ok(Self {
            machine: Slug::parse("sensor", machine)?,
            sensor: Slug::parse("sensor", sensor)?,
        })
    }
}

impl std::fmt::Display for SensorPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.machine, self.sensor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commissioning_takes_a_fair_number_of_readings_and_no_more_than_can_be_counted() {
        let rules = CommissioningRules::default();
        assert_eq!(rules.parse().unwrap(), rules);
        for readings in [19, 9_991] {
            let wrong = CommissioningRules { readings, ..rules };
            assert_eq!(wrong.parse().unwrap_err().field, "commissioning.readings");
        }
        let span = Duration::from_hours(24 * 400);
        let endless = CommissioningRules { span, ..rules };
        assert_eq!(endless.parse().unwrap_err().field, "commissioning.span");
    }

    #[test]
    fn a_sensor_path_is_a_machine_and_a_sensor() {
        assert_eq!(SensorPath::parse("cnc-1/spindle").unwrap().to_string(), "cnc-1/spindle");
        for bad in ["spindle", "a/b/c", "/x", "x/"] {
            assert_eq!(SensorPath::parse(bad).unwrap_err().field, "sensor", "{bad}");
        }
    }
}
