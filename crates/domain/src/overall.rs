//! Overall levels: single values over a band that can't be recovered from bins, such as velocity rms from 10 to 1000 Hz,
//! by which ISO 20816 judges a machine's severity, or a bearing's temperature.
//!
//! A sensor's [`SpectrumSpec`](crate::SpectrumSpec) declares an ordered list of them. A reading sends them by name, in
//! the declared unit or another of the same kind; from [`in_order`] on they are canonical (g, mm/s, um, °C) and stand in
//! the order of the declaration.

use serde::{Deserialize, Serialize};

use crate::spec::Quantity;
use crate::{Invalid, Slug, Unit};

/// Absolute zero in degrees Celsius.
const ABSOLUTE_ZERO_C: f64 = -273.15;

/// What an overall level states, with how its amplitude is stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverallQuantity {
    /// Root mean square of the acceleration.
    AccelerationRms,
    /// Largest acceleration met, zero to peak (not rms times a factor).
    AccelerationTruePeak,
    /// Root mean square of the velocity: the broad-band severity of ISO 20816.
    VelocityRms,
    /// Largest velocity met, zero to peak.
    VelocityTruePeak,
    /// Root mean square of the displacement.
    DisplacementRms,
    /// Largest displacement met, peak to peak: relative shaft vibration.
    DisplacementPeakToPeak,
    /// Temperature.
    Temperature,
}

impl OverallQuantity {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AccelerationRms,
        Self::AccelerationTruePeak,
        Self::VelocityRms,
        Self::VelocityTruePeak,
        Self::DisplacementRms,
        Self::DisplacementPeakToPeak,
        Self::Temperature,
    ];

    /// Reads its name; the error names `field`.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|quantity| quantity.as_str() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Invalid::new(field, format!("{text:?} is none of {names}"))
        })
    }

    /// Its name, as in a spec.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccelerationRms => "acceleration_rms",
            Self::AccelerationTruePeak => "acceleration_true_peak",
            Self::VelocityRms => "velocity_rms",
            Self::VelocityTruePeak => "velocity_true_peak",
            Self::DisplacementRms => "displacement_rms",
            Self::DisplacementPeakToPeak => "displacement_peak_to_peak",
            Self::Temperature => "temperature",
        }
    }

    /// The vibration it is a level of; none for a temperature.
    pub fn vibration(self) -> Option<Quantity> {
        match self {
            Self::AccelerationRms | Self::AccelerationTruePeak => Some(Quantity::Acceleration),
            Self::VelocityRms | Self::VelocityTruePeak => Some(Quantity::Velocity),
            Self::DisplacementRms | Self::DisplacementPeakToPeak => Some(Quantity::Displacement),
            Self::Temperature => None,
        }
    }

    /// Short name of the unit its values are kept in.
    pub fn canonical_unit(self) -> &'static str {
        match self {
            Self::AccelerationRms | Self::AccelerationTruePeak => "g",
            Self::VelocityRms | Self::VelocityTruePeak => "mm/s",
            Self::DisplacementRms | Self::DisplacementPeakToPeak => "µm",
            Self::Temperature => "°C",
        }
    }

    /// The least value there can be, in the canonical unit.
    fn least(self) -> f64 {
        match self.vibration() {
            Some(_) => 0.0,
            None => ABSOLUTE_ZERO_C,
        }
    }

    fn is_in(self, unit: Unit) -> bool {
        match self.vibration() {
            Some(vibration) => unit.measures(vibration),
            None => unit.is_temperature(),
        }
    }
}

/// The band a level is taken over, in hertz.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// Lower corner.
    pub low_hz: f64,
    /// Upper corner.
    pub high_hz: f64,
}

/// What a sensor states once about one of its overall levels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverallSpec {
    /// The name used on the wire and on screen, such as `velocity_rms`.
    pub name: Slug,
    /// What is stated.
    pub quantity: OverallQuantity,
    /// The unit of the values sent.
    pub unit: Unit,
    /// The band, where the level has one; a temperature has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub band: Option<Band>,
}

impl OverallSpec {
    /// The most levels a spec may declare.
    pub const MOST: usize = 16;

    /// Checks a spec's list; the error names `spec.overall` and the place in it.
    pub(crate) fn check(declared: &[Self]) -> Result<(), Invalid> {
        if declared.len() > Self::MOST {
            let reason = format!("{} levels are more than {}", declared.len(), Self::MOST);
            return Err(Invalid::new("spec.overall", reason));
        }
        for (place, level) in declared.iter().enumerate() {
            let fail =
                |field: &str, reason: String| Err(Invalid::new(format!("spec.overall[{place}].{field}"), reason));
            if declared[..place].iter().any(|earlier| earlier.name == level.name) {
                return fail("name", format!("{} is declared twice", level.name));
            }
            if !level.quantity.is_in(level.unit) {
                let (unit, quantity) = (level.unit.as_str(), level.quantity.as_str());
                return fail("unit", format!("{unit} does not measure {quantity}"));
            }
            if let Some(Band { low_hz, high_hz }) = level.band {
                if !(low_hz >= 0.0 && high_hz.is_finite() && high_hz > low_hz) {
                    return fail("band", format!("{low_hz} to {high_hz} Hz is empty"));
                }
                if level.quantity == OverallQuantity::Temperature {
                    return fail("band", "a temperature has no band".to_owned());
                }
            }
        }
        Ok(())
    }

    /// A sent value in the canonical unit. The error is the reason.
    fn canonical(&self, value: f32, unit: Option<Unit>) -> Result<f32, String> {
        if !value.is_finite() {
            return Err(format!("{value} is not finite"));
        }
        let unit = unit.unwrap_or(self.unit);
        if !self.quantity.is_in(unit) {
            return Err(format!("{} does not measure {}", unit.as_str(), self.quantity.as_str()));
        }
        let canonical = unit.to_canonical(f64::from(value));
        if canonical < self.quantity.least() {
            return Err(match self.quantity.vibration() {
                Some(_) => format!("{value} is negative"),
                None => format!("{value} {} is below absolute zero", unit.as_str()),
            });
        }
        // Adding zero turns -0 into 0: one value, one content hash.
        let kept = canonical as f32 + 0.0;
        if kept.is_finite() {
            Ok(kept)
        } else {
            Err(format!("{value} {} is too large", unit.as_str()))
        }
    }
}

/// An overall level as a reading sends it.
#[derive(Debug, Clone, PartialEq)]
pub struct OverallLevel {
    /// Name of the declared level.
    pub name: String,
    /// Its value.
    pub value: f32,
    /// The unit of the value; the declared one when not given.
    pub unit: Option<Unit>,
}

/// The levels of a reading, canonical and in the declared order; none stands for one the reading does not have. Empty
/// when it has none at all. Errors name `overall.NAME`.
pub fn in_order(sent: &[OverallLevel], declared: &[OverallSpec]) -> Result<Vec<Option<f32>>, Invalid> {
    if sent.is_empty() {
        return Ok(Vec::new());
    }
    let mut levels = vec![None; declared.len()];
    for OverallLevel { name, value, unit } in sent {
        let fail = |reason: String| Invalid::new(format!("overall.{name}"), reason);
        let place = declared.iter().position(|level| level.name.as_str() == name);
        let place = place.ok_or_else(|| fail(undeclared(declared)))?;
        if levels[place].is_some() {
            return Err(fail("is given twice".to_owned()));
        }
        levels[place] = Some(declared[place].canonical(*value, *unit).map_err(fail)?);
    }
    Ok(levels)
}

fn undeclared(declared: &[OverallSpec]) -> String {
    if declared.is_empty() {
        return "is not declared: the sensor's spec declares no overall levels".to_owned();
    }
    let names: Vec<&str> = declared.iter().map(|level| level.name.as_str()).collect();
    format!("is not declared: the sensor's spec declares {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SpectrumSpec;

    fn declare(name: &str, quantity: OverallQuantity, unit: Unit, band: Option<(f64, f64)>) -> OverallSpec {
        OverallSpec {
            name: Slug::parse("name", name).unwrap(),
            quantity,
            unit,
            band: band.map(|(low_hz, high_hz)| Band { low_hz, high_hz }),
        }
    }

    fn declared() -> Vec<OverallSpec> {
        vec![
            declare(
                "velocity_rms",
                OverallQuantity::VelocityRms,
                Unit::InchPerSecond,
                Some((10.0, 1_000.0)),
            ),
            declare("peak", OverallQuantity::AccelerationTruePeak, Unit::G, None),
            declare(
                "bearing_temperature",
                OverallQuantity::Temperature,
                Unit::DegreeFahrenheit,
                None,
            ),
        ]
    }

    fn sent(name: &str, value: f32) -> OverallLevel {
        OverallLevel {
            name: name.to_owned(),
            value,
            unit: None,
        }
    }

    fn sent_in(name: &str, value: f32, unit: Unit) -> OverallLevel {
        OverallLevel {
            unit: Some(unit),
            ..sent(name, value)
        }
    }

    #[test]
    fn levels_stand_in_the_declared_order_in_canonical_units() {
        let levels = in_order(
            &[sent("bearing_temperature", 212.0), sent("velocity_rms", 0.1)],
            &declared(),
        );
        assert_eq!(levels.unwrap(), [Some(2.54), None, Some(100.0)]);
        assert_eq!(in_order(&[], &declared()).unwrap(), []);
    }

    #[test]
    fn the_same_level_in_another_unit_is_the_same_canonical_level() {
        let one = |level| in_order(&[level], &declared()).unwrap();
        assert_eq!(
            one(sent("velocity_rms", 1.0)),
            one(sent_in("velocity_rms", 25.4, Unit::MillimetrePerSecond))
        );
        assert_eq!(
            one(sent_in("bearing_temperature", 0.1, Unit::DegreeCelsius)),
            one(sent_in("bearing_temperature", 273.25, Unit::Kelvin))
        );
        let below_freezing = one(sent_in("bearing_temperature", -40.0, Unit::DegreeFahrenheit));
        assert_eq!(
            below_freezing,
            one(sent_in("bearing_temperature", -40.0, Unit::DegreeCelsius))
        );
    }

    #[test]
    fn a_zero_has_one_form() {
        let levels = in_order(&[sent("peak", -0.0)], &declared()).unwrap();
        assert_eq!(levels[1].unwrap().to_bits(), 0.0f32.to_bits());
    }

    #[test]
    fn what_is_no_such_level_is_refused_by_its_name() {
        let cases = [
            (vec![sent("rms", 1.0)], "overall.rms", "declares velocity_rms, peak"),
            (vec![sent("peak", f32::NAN)], "overall.peak", "not finite"),
            (vec![sent("peak", f32::NEG_INFINITY)], "overall.peak", "not finite"),
            (vec![sent("peak", -0.1)], "overall.peak", "negative"),
            (vec![sent("peak", 1.0), sent("peak", 1.0)], "overall.peak", "twice"),
            (
                vec![sent_in("peak", 1.0, Unit::MillimetrePerSecond)],
                "overall.peak",
                "millimetre_per_second does not measure acceleration_true_peak",
            ),
            (
                vec![sent_in("velocity_rms", 3e38, Unit::MetrePerSecond)],
                "overall.velocity_rms",
                "too large",
            ),
            (
                vec![sent_in("bearing_temperature", -1.0, Unit::Kelvin)],
                "overall.bearing_temperature",
                "absolute zero",
            ),
        ];
        for (levels, field, says) in cases {
            let error = in_order(&levels, &declared()).unwrap_err();
            assert_eq!(error.field, field);
            assert!(error.reason.contains(says), "{error}");
        }
        let error = in_order(&[sent("peak", 1.0)], &[]).unwrap_err();
        assert!(error.reason.contains("declares no overall levels"), "{error}");
    }

    #[test]
    fn a_declaration_that_contradicts_itself_is_refused_by_its_field() {
        let with = |overall| SpectrumSpec {
            overall,
            ..SpectrumSpec::corpus_default(64)
        };
        let velocity = OverallQuantity::VelocityRms;
        let good = declare("v", velocity, Unit::MetrePerSecond, None);
        let cases = [
            (vec![good.clone(), good.clone()], "spec.overall[1].name"),
            (vec![declare("v", velocity, Unit::G, None)], "spec.overall[0].unit"),
            (vec![declare("v", velocity, Unit::Kelvin, None)], "spec.overall[0].unit"),
            (
                vec![declare("t", OverallQuantity::Temperature, Unit::G, None)],
                "spec.overall[0].unit",
            ),
            (
                vec![declare("v", velocity, Unit::MetrePerSecond, Some((10.0, 10.0)))],
                "spec.overall[0].band",
            ),
            (
                vec![declare("v", velocity, Unit::MetrePerSecond, Some((f64::NAN, 10.0)))],
                "spec.overall[0].band",
            ),
            (
                vec![declare(
                    "t",
                    OverallQuantity::Temperature,
                    Unit::Kelvin,
                    Some((0.0, 1.0)),
                )],
                "spec.overall[0].band",
            ),
        ];
        for (overall, field) in cases {
            assert_eq!(with(overall).parse().unwrap_err().field, field);
        }
        let many = (0..17).map(|i| declare(&format!("v{i}"), velocity, Unit::MetrePerSecond, None));
        assert_eq!(with(many.collect()).parse().unwrap_err().field, "spec.overall");
        assert!(with(declared()).parse().is_ok());
    }
}
