//! Canonical readings between ingest and ensemble, and what became of them.

use tocsin_domain::codec::CanonicalSpectrum;
use tocsin_domain::{ClassId, MachineId, Reading, ReadingKey, SensorId, SpecId, Timestamp, TokenId, Verdict};

pub use crate::generated::ensemble::v1;
use crate::ingest::{condition_from_wire, state_to_wire};
use crate::{Malformed, time};

/// A parsed reading and where its sensor stands.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedReading {
    /// The reading.
    pub reading: Reading,
    /// The machine the sensor watches.
    pub machine: MachineId,
    /// The machine's class.
    pub class: ClassId,
    /// The sensor's spec; none when the sender does not say.
    pub spec: Option<SpecId>,
    /// What code 255 stands for, in canonical units; finite and positive.
    pub full_scale: f32,
}

impl TryFrom<v1::AssessReading> for PlacedReading {
    type Error = Malformed;

    fn try_from(wire: v1::AssessReading) -> Result<Self, Malformed> {
        if wire.codes.is_empty() {
            return Err(Malformed::new("codes", "is empty"));
        }
        if !(wire.full_scale.is_finite() && wire.full_scale > 0.0) {
            return Err(Malformed::new(
                "full_scale",
                format!("{} must be finite and positive", wire.full_scale),
            ));
        }
        // NaN stands for a declared level that this reading doesn't have.
        if let Some(index) = wire.overall.iter().position(|level| level.is_infinite()) {
            return Err(Malformed::new(format!("overall[{index}]"), "is infinite"));
        }
        let key = ReadingKey {
            sensor: SensorId(wire.sensor_id),
            captured_at: time::from_micros("captured_at_us", wire.captured_at_us)?,
        };
        let reading = Reading {
            key,
            spectrum: CanonicalSpectrum::from_codes(wire.codes),
            clipped: wire.clipped,
            condition: condition_from_wire(wire.rpm, wire.load, wire.state)?,
            overall: wire
                .overall
                .into_iter()
                .map(|level| Some(level).filter(|level| !level.is_nan()))
                .collect(),
        };
        Ok(Self {
            reading,
            machine: MachineId(wire.machine_id),
            class: ClassId(wire.class_id),
            spec: (wire.spec_id != 0).then_some(SpecId(wire.spec_id)),
            full_scale: wire.full_scale,
        })
    }
}

impl From<PlacedReading> for v1::AssessReading {
    fn from(placed: PlacedReading) -> Self {
        let PlacedReading {
            reading,
            machine,
            class,
            spec,
            full_scale,
        } = placed;
        Self {
            sensor_id: reading.key.sensor.0,
            machine_id: machine.0,
            class_id: class.0,
            spec_id: spec.map_or(0, |spec| spec.0),
            captured_at_us: reading.key.captured_at.as_micros(),
            codes: reading.spectrum.into_codes(),
            clipped: reading.clipped,
            full_scale,
            rpm: reading.condition.rpm,
            load: reading.condition.load,
            state: state_to_wire(reading.condition.state),
            overall: reading
                .overall
                .into_iter()
                .map(|level| level.unwrap_or(f32::NAN))
                .collect(),
        }
    }
}

/// Readings to judge and store together.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// The readings, a machine's in capture order.
    pub readings: Vec<PlacedReading>,
    /// When ingest received them.
    pub received_at: Timestamp,
    /// "Now" is the machine's newest capture time.
    pub clock_is_capture: bool,
    /// Judged and stored, never paged.
    pub historical: bool,
    /// The token by which they came; none when the sender does not say.
    pub gateway: Option<TokenId>,
}

impl TryFrom<v1::AssessRequest> for Assessment {
    type Error = Malformed;

    fn try_from(wire: v1::AssessRequest) -> Result<Self, Malformed> {
        let readings = wire
            .readings
            .into_iter()
            .enumerate()
            .map(|(index, reading)| {
                PlacedReading::try_from(reading).map_err(|error| error.within(format!("readings[{index}]")))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            readings,
            received_at: time::from_micros("received_at_us", wire.received_at_us)?,
            clock_is_capture: wire.clock_is_capture,
            historical: wire.historical,
            gateway: (wire.token_id != 0).then_some(TokenId(wire.token_id)),
        })
    }
}

impl From<Assessment> for v1::AssessRequest {
    fn from(assessment: Assessment) -> Self {
        Self {
            readings: assessment.readings.into_iter().map(Into::into).collect(),
            received_at_us: assessment.received_at.as_micros(),
            clock_is_capture: assessment.clock_is_capture,
            historical: assessment.historical,
            token_id: assessment.gateway.map_or(0, |token| token.0),
        }
    }
}

/// What became of one reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadingOutcome {
    /// Judged and stored.
    Stored {
        /// How it was judged.
        verdict: Verdict,
    },
    /// Stored before with the same content; nothing changed.
    Duplicate,
    /// Another content is stored under its sensor and capture time.
    Conflict,
    /// Not stored; the sender may send it again.
    NotStored {
        /// Why.
        reason: String,
    },
}

impl TryFrom<v1::Outcome> for ReadingOutcome {
    type Error = Malformed;

    fn try_from(wire: v1::Outcome) -> Result<Self, Malformed> {
        match wire.kind() {
            v1::OutcomeKind::Stored => {
                let code = i16::try_from(wire.verdict)
                    .map_err(|_| Malformed::new("verdict", format!("{} is not a verdict code", wire.verdict)))?;
                Ok(Self::Stored {
                    verdict: Verdict::from_code(code)?,
                })
            }
            v1::OutcomeKind::Duplicate => Ok(Self::Duplicate),
            v1::OutcomeKind::Conflict => Ok(Self::Conflict),
            v1::OutcomeKind::NotStored => Ok(Self::NotStored { reason: wire.reason }),
            v1::OutcomeKind::Unspecified => Err(Malformed::new(
                "kind",
                format!("{} is not a kind of outcome", wire.kind),
            )),
        }
    }
}

impl From<ReadingOutcome> for v1::Outcome {
    fn from(outcome: ReadingOutcome) -> Self {
        let of = |kind: v1::OutcomeKind| Self {
            kind: kind.into(),
            ..Self::default()
        };
        match outcome {
            ReadingOutcome::Stored { verdict } => Self {
                verdict: verdict.to_code().into(),
                ..of(v1::OutcomeKind::Stored)
            },
            ReadingOutcome::Duplicate => of(v1::OutcomeKind::Duplicate),
            ReadingOutcome::Conflict => of(v1::OutcomeKind::Conflict),
            ReadingOutcome::NotStored { reason } => Self {
                reason,
                ..of(v1::OutcomeKind::NotStored)
            },
        }
    }
}

#[cfg(test)]
mod tests;
