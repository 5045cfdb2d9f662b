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
    fn a_sensor_path_is_a_machine_and_a_sensor() {
        assert_eq!(SensorPath::parse("cnc-1/spindle").unwrap().to_string(), "cnc-1/spindle");
        for bad in ["spindle", "a/b/c", "/x", "x/"] {
            assert_eq!(SensorPath::parse(bad).unwrap_err().field, "sensor", "{bad}");
        }
    }
}
