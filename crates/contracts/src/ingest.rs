//! Readings as gateways send them.
//!
//! A [`SentReading`] has everything in it that can be checked without knowing the sensor. Its bins become a spectrum
//! once the sensor's spec is looked up.

use tocsin_domain::fleet::SensorPath;
use tocsin_domain::spectrum::AmplitudeScale;
use tocsin_domain::{
    Condition, DeclaredState, Invalid, OverallLevel, Spectrum, SpectrumSpec, Timestamp, Unit, overall,
};

pub use crate::generated::ingest::v1;
use crate::{Malformed, time};

/// A reading whose sensor has not been looked up yet.
#[derive(Debug, Clone, PartialEq)]
pub struct SentReading {
    /// The sensor, as its gateway names it.
    pub sensor: SensorPath,
    /// When the sensor took it.
    pub captured_at: Timestamp,
    /// One amplitude per bin, in the spec's unit or in dB; not checked yet.
    pub bins: Vec<f32>,
    /// How the amplitudes are written.
    pub scale: AmplitudeScale,
    /// The operating condition, as far as known.
    pub condition: Condition,
    /// Overall levels by name; not checked yet.
    pub overall: Vec<OverallLevel>,
}

impl SentReading {
    /// The spectrum, by the sensor's spec. Errors name `bins`, `bins[i]` or `db_reference`.
    pub fn spectrum(&self, spec: &SpectrumSpec) -> Result<Spectrum, Invalid> {
        Spectrum::parse(&self.bins, self.scale, spec)
    }

    /// The overall levels, canonical and in the spec's order. Errors name `overall.NAME`.
    pub fn overall_levels(&self, spec: &SpectrumSpec) -> Result<Vec<Option<f32>>, Invalid> {
        overall::in_order(&self.overall, &spec.overall)
    }
}

impl TryFrom<v1::Reading> for SentReading {
    type Error = Malformed;

    fn try_from(wire: v1::Reading) -> Result<Self, Malformed> {
        let condition = wire.condition.unwrap_or_default();
        Ok(Self {
            sensor: SensorPath::parse(&wire.sensor)?,
            captured_at: time::required("captured_at", wire.captured_at)?,
            bins: wire.bins,
            scale: wire
                .db_reference
                .map_or(AmplitudeScale::Linear, |reference| AmplitudeScale::Decibel {
                    reference,
                }),
            condition: condition_from_wire(condition.rpm, condition.load, condition.state)?,
            overall: wire
                .overall
                .into_iter()
                .enumerate()
                .map(overall_level)
                .collect::<Result<_, _>>()?,
        })
    }
}

fn overall_level((index, wire): (usize, v1::OverallLevel)) -> Result<OverallLevel, Malformed> {
    if wire.name.is_empty() {
        return Err(Malformed::new(format!("overall[{index}].name"), "is missing"));
    }
    let unit = match wire.unit.as_str() {
        "" => None,
        unit => Some(Unit::parse(&format!("overall[{index}].unit"), unit)?),
    };
    Ok(OverallLevel {
        name: wire.name,
        value: wire.value,
        unit,
    })
}

impl From<SentReading> for v1::Reading {
    fn from(reading: SentReading) -> Self {
        let condition = reading.condition;
        Self {
            sensor: reading.sensor.to_string(),
            captured_at: Some(time::to_wire(reading.captured_at)),
            bins: reading.bins,
            db_reference: match reading.scale {
                AmplitudeScale::Linear => None,
                AmplitudeScale::Decibel { reference } => Some(reference),
            },
            condition: (!condition.is_untold()).then(|| condition.into()),
            overall: reading
                .overall
                .into_iter()
                .map(|level| v1::OverallLevel {
                    name: level.name,
                    value: level.value,
                    unit: level.unit.map(Unit::as_str).unwrap_or_default().to_owned(),
                })
                .collect(),
        }
    }
}

/// The operating condition of its numbers. Errors name `condition.rpm`, `condition.load` or `condition.state`.
pub(crate) fn condition_from_wire(rpm: Option<f32>, load: Option<f32>, state: i32) -> Result<Condition, Malformed> {
    let state = match v1::OperatingState::try_from(state) {
        Ok(v1::OperatingState::Unspecified) => None,
        Ok(v1::OperatingState::Running) => Some(DeclaredState::Running),
        Ok(v1::OperatingState::Stopped) => Some(DeclaredState::Stopped),
        Ok(v1::OperatingState::Transient) => Some(DeclaredState::Transient),
        Err(_) => {
            return Err(Malformed::new(
                "condition.state",
                format!("{state} is no operating state"),
            ));
        }
    };
    Ok(Condition::parse(rpm, load)?.in_state(state))
}

/// The number of what was declared.
pub(crate) fn state_to_wire(state: Option<DeclaredState>) -> i32 {
    let state = match state {
        None => v1::OperatingState::Unspecified,
        Some(DeclaredState::Running) => v1::OperatingState::Running,
        Some(DeclaredState::Stopped) => v1::OperatingState::Stopped,
        Some(DeclaredState::Transient) => v1::OperatingState::Transient,
    };
    state.into()
}

impl From<Condition> for v1::Condition {
    fn from(condition: Condition) -> Self {
        Self {
            rpm: condition.rpm,
            load: condition.load,
            state: state_to_wire(condition.state),
        }
    }
}

/// What a stream declares about all of its readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamProperties {
    /// "Now" is the machine's newest capture time.
    pub clock_is_capture: bool,
    /// Judged and stored, never paged.
    pub historical: bool,
}

impl TryFrom<v1::StreamHeader> for StreamProperties {
    type Error = Malformed;

    fn try_from(wire: v1::StreamHeader) -> Result<Self, Malformed> {
        let clock = v1::StreamClock::try_from(wire.clock)
            .map_err(|_| Malformed::new("header.clock", format!("{} is not a stream clock", wire.clock)))?;
        let clock_is_capture = match clock {
            v1::StreamClock::Unspecified | v1::StreamClock::Wall => false,
            v1::StreamClock::Capture => true,
        };
        Ok(Self {
            clock_is_capture,
            historical: wire.historical,
        })
    }
}

impl From<StreamProperties> for v1::StreamHeader {
    fn from(properties: StreamProperties) -> Self {
        let clock = if properties.clock_is_capture {
            v1::StreamClock::Capture
        } else {
            v1::StreamClock::Wall
        };
        Self {
            clock: clock.into(),
            historical: properties.historical,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wire() -> v1::Reading {
        v1::Reading {
            sensor: "cnc-1/spindle".into(),
            captured_at: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            bins: vec![0.0; 32],
            ..v1::Reading::default()
        }
    }

    fn overall(name: &str, unit: &str) -> Vec<v1::OverallLevel> {
        let level = |name: &str, unit: &str| v1::OverallLevel {
            name: name.into(),
            value: 1.0,
            unit: unit.into(),
        };
        vec![level("ok", "g"), level(name, unit)]
    }

    #[test]
    fn what_is_wrong_with_a_reading_is_named_by_its_field() {
        let condition = |rpm, load| {
            Some(v1::Condition {
                rpm,
                load,
                ..v1::Condition::default()
            })
        };
        let cases = [
            (
                v1::Reading {
                    sensor: "spindle".into(),
                    ..wire()
                },
                "sensor",
            ),
            (
                v1::Reading {
                    captured_at: None,
                    ..wire()
                },
                "captured_at",
            ),
            (
                v1::Reading {
                    condition: condition(Some(-1.0), None),
                    ..wire()
                },
                "condition.rpm",
            ),
            (
                v1::Reading {
                    condition: condition(None, Some(f32::NAN)),
                    ..wire()
                },
                "condition.load",
            ),
            (
                v1::Reading {
                    overall: overall("", ""),
                    ..wire()
                },
                "overall[1].name",
            ),
            (
                v1::Reading {
                    overall: overall("v", "furlong"),
                    ..wire()
                },
                "overall[1].unit",
            ),
        ];
        for (reading, field) in cases {
            assert_eq!(SentReading::try_from(reading).unwrap_err().field, field);
        }
        assert!(SentReading::try_from(wire()).is_ok());
    }

    #[test]
    fn a_stream_header_survives_the_wire_and_an_unknown_clock_does_not() {
        for clock_is_capture in [false, true] {
            for historical in [false, true] {
                let properties = StreamProperties {
                    clock_is_capture,
                    historical,
                };
                assert_eq!(
                    StreamProperties::try_from(v1::StreamHeader::from(properties)),
                    Ok(properties)
                );
            }
        }
        let unknown = v1::StreamHeader {
            clock: 9,
            historical: false,
        };
        assert_eq!(StreamProperties::try_from(unknown).unwrap_err().field, "header.clock");
    }

    proptest! {
        #[test]
        fn a_reading_survives_the_wire(
            sensor in "[a-z0-9][a-z0-9_.-]{0,20}/[a-z0-9][a-z0-9_.-]{0,20}",
            micros in Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros(),
            bins in prop::collection::vec(-1e3f32..1e3, 0..64),
            reference in prop::option::of(1e-9f64..1.0),
            rpm in prop::option::of(0f32..1e5),
            load in prop::option::of(-1e3f32..1e3),
            state in prop::option::of(prop::sample::select(vec![
                DeclaredState::Running, DeclaredState::Stopped, DeclaredState::Transient,
            ])),
            levels in prop::collection::vec(("[a-z_]{1,20}", -1e3f32..1e3, prop::option::of(0..Unit::ALL.len())), 0..4),
        ) {
            let level = |(name, value, unit): (String, f32, Option<usize>)| OverallLevel {
                name,
                value,
                unit: unit.map(|unit| Unit::ALL[unit]),
            };
            let sent = SentReading {
                sensor: SensorPath::parse(&sensor).unwrap(),
                captured_at: Timestamp::from_micros(micros),
                bins,
                scale: reference.map_or(AmplitudeScale::Linear, |reference| AmplitudeScale::Decibel { reference }),
                condition: Condition { rpm, load, state },
                overall: levels.into_iter().map(level).collect(),
            };
            prop_assert_eq!(SentReading::try_from(v1::Reading::from(sent.clone())).unwrap(), sent);
        }
    }
}
