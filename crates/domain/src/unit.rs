//! The units readings come in, and the canonical one of each kind: g, mm/s, um, °C.

use serde::{Deserialize, Serialize};

use crate::Invalid;
use crate::spec::Quantity;

/// Standard gravity in m/s² (ISO 80000-3).
pub(crate) const STANDARD_GRAVITY: f64 = 9.806_65;

/// The unit of the amplitudes or levels sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Standard gravity.
    G,
    /// Metres per second squared.
    MetrePerSecondSquared,
    /// Millimetres per second squared.
    MillimetrePerSecondSquared,
    /// Millimetres per second.
    MillimetrePerSecond,
    /// Metres per second.
    MetrePerSecond,
    /// Inches per second.
    InchPerSecond,
    /// Micrometres.
    Micrometre,
    /// Thousandths of an inch.
    Mil,
    /// Degrees Celsius; of overall levels only, as all temperatures.
    DegreeCelsius,
    /// Degrees Fahrenheit.
    DegreeFahrenheit,
    /// Kelvin.
    Kelvin,
}

impl Unit {
    /// Every unit.
    pub const ALL: [Self; 11] = [
        Self::G,
        Self::MetrePerSecondSquared,
        Self::MillimetrePerSecondSquared,
        Self::MillimetrePerSecond,
        Self::MetrePerSecond,
        Self::InchPerSecond,
        Self::Micrometre,
        Self::Mil,
        Self::DegreeCelsius,
        Self::DegreeFahrenheit,
        Self::Kelvin,
    ];

    /// Parses a name as in a spec; `field` is what the error calls it.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        let unit = Self::ALL.into_iter().find(|unit| unit.as_str() == text);
        unit.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Invalid::new(field, format!("{text:?} is not a unit ({names})"))
        })
    }

    /// Its name, as in a spec.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::G => "g",
            Self::MetrePerSecondSquared => "metre_per_second_squared",
            Self::MillimetrePerSecondSquared => "millimetre_per_second_squared",
            Self::MillimetrePerSecond => "millimetre_per_second",
            Self::MetrePerSecond => "metre_per_second",
            Self::InchPerSecond => "inch_per_second",
            Self::Micrometre => "micrometre",
            Self::Mil => "mil",
            Self::DegreeCelsius => "degree_celsius",
            Self::DegreeFahrenheit => "degree_fahrenheit",
            Self::Kelvin => "kelvin",
        }
    }

    /// Canonical units (g, mm/s, um, °C) in one of this unit.
    pub(crate) fn canonical_per_unit(self) -> f64 {
        match self {
            Self::G | Self::MillimetrePerSecond | Self::Micrometre | Self::DegreeCelsius | Self::Kelvin => 1.0,
            Self::MetrePerSecondSquared => 1.0 / STANDARD_GRAVITY,
            Self::MillimetrePerSecondSquared => 0.001 / STANDARD_GRAVITY,
            Self::MetrePerSecond => 1000.0,
            Self::InchPerSecond | Self::Mil => 25.4,
            Self::DegreeFahrenheit => 5.0 / 9.0,
        }
    }

    /// What the zero of the canonical unit reads in this one.
    fn canonical_zero(self) -> f64 {
        match self {
            Self::DegreeFahrenheit => 32.0,
            Self::Kelvin => 273.15,
            _ => 0.0,
        }
    }

    /// A value of this unit in the canonical one.
    pub(crate) fn to_canonical(self, value: f64) -> f64 {
        (value - self.canonical_zero()) * self.canonical_per_unit()
    }

    pub(crate) fn is_temperature(self) -> bool {
        matches!(self, Self::DegreeCelsius | Self::DegreeFahrenheit | Self::Kelvin)
    }

    pub(crate) fn measures(self, quantity: Quantity) -> bool {
        match quantity {
            Quantity::Acceleration | Quantity::AccelerationEnvelope { .. } => {
                matches!(
                    self,
                    Self::G | Self::MetrePerSecondSquared | Self::MillimetrePerSecondSquared
                )
            }
            Quantity::Velocity => matches!(
                self,
                Self::MillimetrePerSecond | Self::MetrePerSecond | Self::InchPerSecond
            ),
            Quantity::Displacement => matches!(self, Self::Micrometre | Self::Mil),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_parsed_by_the_name_it_is_written_with() {
        for unit in Unit::ALL {
            assert_eq!(serde_json::to_value(unit).unwrap(), unit.as_str());
            assert_eq!(Unit::parse("unit", unit.as_str()), Ok(unit));
        }
        assert_eq!(Unit::parse("unit", "furlong").unwrap_err().field, "unit");
    }
}
