//! One reading of a corpus.

use std::fmt;

use tocsin_domain::{Condition, Invalid, Slug, Timestamp};

use crate::error::Fault;

/// A sensor's full name, `site/machine/sensor`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SensorName {
    /// The site.
    pub site: Slug,
    /// The machine in the site.
    pub machine: Slug,
    /// The sensor on the machine.
    pub sensor: Slug,
}

impl SensorName {
    /// Parses `site/machine/sensor`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(site), Some(machine), Some(sensor), None) => Ok(Self {
                site: Slug::parse("sensor", site)?,
                machine: Slug::parse("sensor", machine)?,
                sensor: Slug::parse("sensor", sensor)?,
            }),
            _ => Err(Invalid::new(
                "sensor",
                format!("{text:?} is not of the form site/machine/sensor"),
            )),
        }
    }

    /// The site and the machine: what rows of one machine share.
    pub(crate) fn machine_key(&self) -> (&Slug, &Slug) {
        (&self.site, &self.machine)
    }
}

impl fmt::Display for SensorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.site, self.machine, self.sensor)
    }
}

/// One reading as a corpus holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The sensor that took it.
    pub sensor: SensorName,
    /// When.
    pub captured_at: Timestamp,
    /// Linear amplitudes in the unit of the corpus's spec; finite, zero or more.
    pub bins: Vec<f32>,
    /// Shaft speed in revolutions per minute; 0 is a machine known to stand still.
    pub rpm: Option<f32>,
    /// Load in the unit the class uses.
    pub load: Option<f32>,
    /// `healthy`, a fault's name, or `None` where nobody knows.
    pub label: Option<String>,
    /// The part of the corpus it belongs to, such as `train` or `cal`.
    pub split: Option<String>,
}

impl Row {
    /// Checks the numbers, so that what is written can be read back.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.bins.is_empty() {
            return Err(Fault::new("bins", "no amplitudes"));
        }
        if let Some(at) = self.bins.iter().position(|s| !(s.is_finite() && *s >= 0.0)) {
            let reason = format!("[{at}]: {} is not a finite amplitude of zero or more", self.bins[at]);
            return Err(Fault::new("bins", reason));
        }
        Condition::parse(self.rpm, self.load).map(drop).map_err(|invalid| {
            let column = if invalid.field.ends_with("rpm") { "rpm" } else { "load" };
            Fault::new(column, invalid.reason)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensor_name_has_three_parts() {
        assert_eq!(
            SensorName::parse("femto/bearing1_1/horizontal").unwrap().to_string(),
            "femto/bearing1_1/horizontal"
        );
        for bad in ["", "a/b", "a/b/c/d", "a//c", "A/b/c"] {
            assert_eq!(SensorName::parse(bad).unwrap_err().field, "sensor", "{bad:?}");
        }
    }
}
