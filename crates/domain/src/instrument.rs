//! The instruments themselves: what was heard of a sensor, and the alarms about instruments that say nothing, or nothing
//! new.
//!
//! **Invariant:** an alarm about an instrument is for whoever maintains it. It says nothing of the machine, and no data
//! never resolves anything.

use std::fmt;

use crate::{Invalid, SensorId, Timestamp, TokenId};

/// Gaps between readings that are remembered: enough for a median that two outages don't move.
pub const MOST_GAPS: usize = 9;

/// What was heard of a sensor on the wall clock. Replays and history are not among it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SensorSignal {
    /// The sensor.
    pub sensor: SensorId,
    /// The token by which its newest reading came; none where ingest did not say.
    pub gateway: Option<TokenId>,
    /// When something was last received.
    pub received_at: Timestamp,
    /// The newest capture time.
    pub captured_at: Timestamp,
    /// Time between receipts, in milliseconds, newest last; at most [`MOST_GAPS`].
    pub arrival_gaps_ms: Vec<i64>,
    /// Time between captures, in milliseconds, newest last; at most [`MOST_GAPS`].
    pub capture_gaps_ms: Vec<i64>,
    /// A hash of the newest reading's canonical spectrum.
    pub spectrum_hash: i64,
    /// Capture time of the first of the newest readings that have that spectrum.
    pub same_since: Timestamp,
    /// How many of them there are.
    pub same_count: i32,
    /// Whether the machine stood still in the newest reading; none when it does not tell.
    pub stopped: Option<bool>,
}

/// What an alarm about an instrument says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SensorAlarmKind {
    /// Nothing was received of a sensor for too long.
    SilentSensor,
    /// A sensor sends the same spectrum again and again.
    StuckSensor,
    /// Nothing was received of any sensor of a gateway for too long.
    SilentGateway,
}

impl SensorAlarmKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::SilentSensor, Self::StuckSensor, Self::SilentGateway];

    /// The name in rows and on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SilentSensor => "silent_sensor",
            Self::StuckSensor => "stuck_sensor",
            Self::SilentGateway => "silent_gateway",
        }
    }

    /// Reads the name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "silent_sensor" => Ok(Self::SilentSensor),
            "stuck_sensor" => Ok(Self::StuckSensor),
            "silent_gateway" => Ok(Self::SilentGateway),
            _ => Err(Invalid::new(
                "kind",
                format!("{text:?} is no kind of alarm about a sensor"),
            )),
        }
    }
}

impl fmt::Display for SensorAlarmKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SensorAlarmSubject {
    /// A silent sensor.
    Silent(SensorId),
    /// A stuck sensor.
    Stuck(SensorId),
    /// A silent gateway, by its token.
    Gateway(TokenId),
}

impl SensorAlarmSubject {
    /// What is said of it.
    pub fn kind(self) -> SensorAlarmKind {
        match self {
            Self::Silent(_) => SensorAlarmKind::SilentSensor,
            Self::Stuck(_) => SensorAlarmKind::StuckSensor,
            Self::Gateway(_) => SensorAlarmKind::SilentGateway,
        }
    }

    /// The sensor it is about, if it is about one.
    pub fn sensor(self) -> Option<SensorId> {
        match self {
            Self::Silent(sensor) | Self::Stuck(sensor) => Some(sensor),
            Self::Gateway(_) => None,
        }
    }

    /// From its kind and the one number that goes with it.
    pub fn from_parts(
        kind: SensorAlarmKind,
        sensor: Option<SensorId>,
        gateway: Option<TokenId>,
    ) -> Result<Self, Invalid> {
        match (kind, sensor, gateway) {
            (SensorAlarmKind::SilentSensor, Some(sensor), _) => Ok(Self::Silent(sensor)),
            (SensorAlarmKind::StuckSensor, Some(sensor), _) => Ok(Self::Stuck(sensor)),
            (SensorAlarmKind::SilentGateway, None, Some(gateway)) => Ok(Self::Gateway(gateway)),
            _ => Err(Invalid::new("kind", format!("{kind} does not go with its subject"))),
        }
    }
}

/// An alarm that is active, or that nobody has acknowledged yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenSensorAlarm {
    /// Its number.
    pub id: i64,
    /// What it is about.
    pub subject: SensorAlarmSubject,
    /// When it was raised, the last time.
    pub raised_at: Timestamp,
    /// Since when it has been so.
    pub since: Timestamp,
    /// When it returned; none while it is active.
    pub returned_at: Option<Timestamp>,
}

/// What a round of watching does to the alarms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SensorAlarmChange {
    /// A new alarm: it has been so since `since`.
    Raise {
        /// What it is about.
        subject: SensorAlarmSubject,
        /// The last reading, or the first of those that are the same.
        since: Timestamp,
    },
    /// One that had returned and nobody has acknowledged holds again.
    RaiseAgain {
        /// Its number.
        id: i64,
        /// The last reading, or the first of those that are the same.
        since: Timestamp,
    },
    /// It holds no longer.
    Return {
        /// Its number.
        id: i64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_survives_its_name_and_goes_with_its_subject_alone() {
        let (sensor, token) = (SensorId(7), TokenId(3));
        for subject in [
            SensorAlarmSubject::Silent(sensor),
            SensorAlarmSubject::Stuck(sensor),
            SensorAlarmSubject::Gateway(token),
        ] {
            let kind = SensorAlarmKind::parse(subject.kind().as_str()).unwrap();
            let again = SensorAlarmSubject::from_parts(kind, subject.sensor(), Some(token)).unwrap();
            assert_eq!(again, subject);
        }
        assert_eq!(SensorAlarmKind::parse("deaf").unwrap_err().field, "kind");
        assert!(SensorAlarmSubject::from_parts(SensorAlarmKind::SilentGateway, Some(sensor), Some(token)).is_err());
        assert!(SensorAlarmSubject::from_parts(SensorAlarmKind::StuckSensor, None, Some(token)).is_err());
    }
}
