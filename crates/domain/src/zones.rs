//! Severity zones: what an overall level says of a machine by itself, whatever the machine looked like before.
//!
//! ISO 20816-3:2022 sorts machines by their broad-band vibration into four zones: A, as newly commissioned machines are;
//! B, fit for unrestricted long-term operation; C, unfit for long-term continuous operation; D, severe enough to do
//! damage. A machine class carries the boundaries between them: those of the standard, or its own for any overall level
//! its sensors declare.
//!
//! **Invariant:** a zone and a [`Level`] are pure functions of a canonical value and its boundaries, and agree with each
//! other: zone C begins at level 1, the alert line, and zone D at level 2, the page line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::overall::OverallQuantity;
use crate::{Invalid, Level, OverallSpec, Slug};

/// A zone of ISO 20816.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Zone {
    /// As newly commissioned machines are.
    A,
    /// Fit for unrestricted long-term operation.
    B,
    /// Unfit for long-term continuous operation.
    C,
    /// Severe enough to do damage.
    D,
}

impl Zone {
    /// Its letter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where zones meet, in the canonical unit of their quantity. A value at a boundary is in the upper zone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boundaries {
    /// Between A and B.
    pub ab: f32,
    /// Between B and C: the alert line.
    pub bc: f32,
    /// Between C and D: the page line.
    pub cd: f32,
}

/// The boundaries of one overall quantity, or of one declared level alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeverityZone {
    /// What they bound.
    pub quantity: OverallQuantity,
    /// Name of the only declared level they hold for; every level of the quantity that has none of its own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Slug>,
    /// Where the zones meet.
    pub boundaries: Boundaries,
    /// Below this, in the canonical unit, the machine stands still: its readings are not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<f32>,
}

impl SeverityZone {
    /// The zone of a canonical value.
    pub fn zone(&self, value: f32) -> Zone {
        let Boundaries { ab, bc, cd } = self.boundaries;
        match value {
            value if value >= cd => Zone::D,
            value if value >= bc => Zone::C,
            value if value >= ab => Zone::B,
            _ => Zone::A,
        }
    }

    /// The level of a canonical value x: 1 + ln(x / BC) / ln(CD / BC), so that zone C begins at 1 and zone D at 2. A
    /// temperature has no zero to take ratios from: its level is linear, 1 + (x - BC) / (CD - BC).
    pub fn level(&self, value: f32) -> Level {
        let (x, bc, cd) = (
            f64::from(value),
            f64::from(self.boundaries.bc),
            f64::from(self.boundaries.cd),
        );
        let level = if self.quantity.vibration().is_some() {
            // Vibration of exactly zero has the lowest level there is, and a finite one.
            1.0 + (x.max(f64::MIN_POSITIVE) / bc).ln() / (cd / bc).ln()
        } else {
            1.0 + (x - bc) / (cd - bc)
        };
        // Rounding never moves a level over a line.
        let (alert, page) = (Level::ALERT.0, Level::PAGE.0);
        let (least, most) = match self.zone(value) {
            Zone::A | Zone::B => (f32::MIN, alert.next_down()),
            Zone::C => (alert, page.next_down()),
            Zone::D => (page, f32::MAX),
        };
        Level((level as f32).clamp(least, most))
    }

    fn check(&self, field: &str) -> Result<(), Invalid> {
        let Boundaries { ab, bc, cd } = self.boundaries;
        let fail = |reason: String| Err(Invalid::new(format!("{field}.boundaries"), reason));
        if !(ab.is_finite() && cd.is_finite() && ab < bc && bc < cd) {
            return fail(format!("{ab}, {bc}, {cd} must be finite and ascend"));
        }
        if self.quantity.vibration().is_some() && ab <= 0.0 {
            return fail(format!("{ab} must be above zero"));
        }
        match self.stop {
            Some(stop) if !(stop.is_finite() && stop < ab) => Err(Invalid::new(
                format!("{field}.stop"),
                format!("{stop} must be finite and below {ab}, where zone B begins"),
            )),
            _ => Ok(()),
        }
    }
}

/// The machine groups and supports of ISO 20816-3:2022. Group 1: large machines, rated above 300 kW and not above 50 MW,
/// and electrical machines with a shaft height of 315 mm and more. Group 2: medium-sized machines, rated above 15 kW up
/// to 300 kW, and electrical machines with a shaft height from 160 to 315 mm. A support is rigid in a direction when the
/// lowest natural frequency of machine and support is at least a quarter above the main excitation, else flexible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MachineGroup {
    /// Large machines on a rigid support.
    Group1Rigid,
    /// Large machines on a flexible support.
    Group1Flexible,
    /// Medium-sized machines on a rigid support.
    Group2Rigid,
    /// Medium-sized machines on a flexible support.
    Group2Flexible,
}

impl MachineGroup {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Group1Rigid,
        Self::Group1Flexible,
        Self::Group2Rigid,
        Self::Group2Flexible,
    ];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Group1Rigid => "group-1-rigid",
            Self::Group1Flexible => "group-1-flexible",
            Self::Group2Rigid => "group-2-rigid",
            Self::Group2Flexible => "group-2-flexible",
        }
    }

    /// Boundaries of velocity rms from 10 to 1000 Hz on non-rotating parts, mm/s (ISO 20816-3:2022, tables A.1 and A.2).
    pub fn boundaries(self) -> Boundaries {
        let (ab, bc, cd) = match self {
            Self::Group1Rigid | Self::Group2Flexible => (2.3, 4.5, 7.1),
            Self::Group1Flexible => (3.5, 7.1, 11.0),
            Self::Group2Rigid => (1.4, 2.8, 4.5),
        };
        Boundaries { ab, bc, cd }
    }

    /// The zones of every velocity rms that is declared.
    pub fn zone(self) -> SeverityZone {
        SeverityZone {
            quantity: OverallQuantity::VelocityRms,
            name: None,
            boundaries: self.boundaries(),
            stop: None,
        }
    }
}

impl FromStr for MachineGroup {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|group| group.as_str() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Invalid::new("iso_20816_3", format!("{text:?} is none of {names}"))
        })
    }
}

/// What a machine class says of its overall levels; empty where it says nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeverityZones(pub Vec<SeverityZone>);

impl SeverityZones {
    /// The most a class may carry.
    pub const MOST: usize = 16;

    /// Checks the list; the error names `zones` and the place in it.
    pub fn parse(self) -> Result<Self, Invalid> {
        let zones = &self.0;
        if zones.len() > Self::MOST {
            let reason = format!("{} are more than {}", zones.len(), Self::MOST);
            return Err(Invalid::new("zones", reason));
        }
        for (place, zone) in zones.iter().enumerate() {
            let field = format!("zones[{place}]");
            let same = |earlier: &SeverityZone| (earlier.quantity, &earlier.name) == (zone.quantity, &zone.name);
            if zones[..place].iter().any(same) {
                let reason = format!("{} is bounded twice", zone.quantity.as_str());
                return Err(Invalid::new(field, reason));
            }
            zone.check(&field)?;
        }
        Ok(self)
    }

    /// The zones of each level a spec declares, in its order: those for the level's own name, else those for every level
    /// of its quantity.
    pub fn place(&self, declared: &[OverallSpec]) -> PlacedZones {
        let of = |level: &OverallSpec| {
            let all = || self.0.iter().filter(|zone| zone.quantity == level.quantity);
            let own = all().find(|zone| zone.name.as_ref() == Some(&level.name));
            own.or_else(|| all().find(|zone| zone.name.is_none())).cloned()
        };
        PlacedZones(declared.iter().map(of).collect())
    }
}

/// A class's zones in the order in which a spec declares its levels; none for a level that has no zones.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PlacedZones(Vec<Option<SeverityZone>>);

impl PlacedZones {
    /// The zones of the level at `place`.
    pub fn at(&self, place: usize) -> Option<&SeverityZone> {
        self.0.get(place)?.as_ref()
    }

    /// Whether a reading's canonical levels, in the declared order, say that the machine stands still: every one of those
    /// present that has a stop level is below it, and there is one.
    pub fn is_stopped(&self, levels: &[Option<f32>]) -> bool {
        let levels = self.0.iter().zip(levels);
        let mut below = levels
            .filter_map(|(zone, value)| Some((*value)? < zone.as_ref()?.stop?))
            .peekable();
        below.peek().is_some() && below.all(|is_below| is_below)
    }

    /// A reading's severity: the maximum over its canonical levels, in the declared order. None when it has no level
    /// that has zones.
    pub fn severity(&self, levels: &[Option<f32>]) -> Option<Level> {
        let levels = self.0.iter().zip(levels);
        levels
            .filter_map(|(zone, value)| Some(zone.as_ref()?.level((*value)?)))
            .reduce(Level::max)
    }
}

#[cfg(test)]
mod tests;
