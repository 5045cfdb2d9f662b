//! One spectrum from one sensor at one capture time.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{CanonicalSpectrum, Codec, DeclaredState, Invalid, SensorId, Timestamp};

/// What makes a reading the same reading: resent with the same content it changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadingKey {
    /// The sensor.
    pub sensor: SensorId,
    /// When the sensor took it.
    pub captured_at: Timestamp,
}

/// The operating condition a gateway knew when the spectrum was taken.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Condition {
    /// Shaft speed in revolutions per minute.
    pub rpm: Option<f32>,
    /// Load in the unit the class uses.
    pub load: Option<f32>,
    /// What the machine was doing, where that was said.
    pub state: Option<DeclaredState>,
}

impl Condition {
    /// Checks that what is given is a finite number, and a speed not negative.
    pub fn parse(rpm: Option<f32>, load: Option<f32>) -> Result<Self, Invalid> {
        if let Some(rpm) = rpm.filter(|v| !(v.is_finite() && *v >= 0.0)) {
            return Err(Invalid::new(
                "condition.rpm",
                format!("{rpm} is not a finite speed of zero or more"),
            ));
        }
        if let Some(load) = load.filter(|v| !v.is_finite()) {
            return Err(Invalid::new("condition.load", format!("{load} is not finite")));
        }
        Ok(Self { rpm, load, state: None })
    }

    /// The same, and what the machine is said to have been doing.
    #[must_use]
    pub fn in_state(self, state: Option<DeclaredState>) -> Self {
        Self { state, ..self }
    }

    /// Nothing is told.
    pub fn is_untold(self) -> bool {
        self == Self::default()
    }

    /// A shaft known to stand still: by its speed or by the word of whoever sends.
    pub fn is_stopped(self) -> bool {
        self.rpm == Some(0.0) || self.state == Some(DeclaredState::Stopped)
    }
}

/// Properties of a stored reading; the bits never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct ReadingFlags(pub i16);

impl ReadingFlags {
    /// A bin was above full scale.
    pub const CLIPPED: Self = Self(1);
    /// Judged by the lines for "without the network".
    pub const DEGRADED: Self = Self(1 << 1);
    /// Came on a historical stream: judged and stored, never paged.
    pub const HISTORICAL: Self = Self(1 << 2);
    /// Came on a stream whose clock is the capture time.
    pub const REPLAY: Self = Self(1 << 3);

    /// Both sets of flags.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// First 64 bits of a SHA-256 over everything a reading says. Same key and another hash is a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash(pub i64);

/// A parsed reading: what the ensemble judges and the store keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The sensor and the capture time.
    pub key: ReadingKey,
    /// The canonical spectrum.
    pub spectrum: CanonicalSpectrum,
    /// A bin was above full scale.
    pub clipped: bool,
    /// The operating condition, as far as known.
    pub condition: Condition,
    /// Canonical overall levels in the order the sensor's spec declares them, none where the reading has none; empty when
    /// it has none at all ([`crate::overall::in_order`]).
    pub overall: Vec<Option<f32>>,
}

impl Reading {
    /// The hash of the content: the codec version, the codes, the condition and the overall levels that are there, each
    /// with its place.
    pub fn content_hash(&self) -> ContentHash {
        let mut hash = Sha256::new();
        hash.update([Codec::VERSION, u8::from(self.clipped)]);
        hash.update((self.spectrum.codes().len() as u32).to_le_bytes());
        hash.update(self.spectrum.codes());
        for value in [self.condition.rpm, self.condition.load] {
            hash.update([u8::from(value.is_some())]);
            hash.update(value.unwrap_or_default().to_le_bytes());
        }
        // After the numbers, and nothing where nothing is said: the hashes of before there were states hold.
        if let Some(state) = self.condition.state {
            hash.update([0xff, state as u8]);
        }
        for (place, level) in self.overall.iter().enumerate() {
            if let Some(level) = level {
                hash.update((place as u16).to_le_bytes());
                hash.update(level.to_le_bytes());
            }
        }
        let digest = hash.finalize();
        let first = digest[..8].try_into().expect("a SHA-256 has 32 bytes");
        ContentHash(i64::from_le_bytes(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading() -> Reading {
        Reading {
            key: ReadingKey {
                sensor: SensorId(1),
                captured_at: Timestamp::from_micros(1_000_000),
            },
            spectrum: CanonicalSpectrum::from_codes((0..64).collect()),
            clipped: false,
            condition: Condition {
                rpm: Some(1800.0),
                ..Condition::default()
            },
            overall: vec![Some(1.5), None],
        }
    }

    #[test]
    fn the_content_hash_is_fixed_and_tells_contents_apart() {
        let base = reading();
        assert_eq!(base.content_hash(), base.clone().content_hash());
        let others = [
            Reading {
                clipped: true,
                ..base.clone()
            },
            Reading {
                spectrum: CanonicalSpectrum::from_codes((1..65).collect()),
                ..base.clone()
            },
            Reading {
                condition: Condition {
                    load: Some(1800.0),
                    ..Condition::default()
                },
                ..base.clone()
            },
            Reading {
                condition: base.condition.in_state(Some(DeclaredState::Running)),
                ..base.clone()
            },
            Reading {
                condition: base.condition.in_state(Some(DeclaredState::Transient)),
                ..base.clone()
            },
            Reading {
                overall: vec![Some(1.6), None],
                ..base.clone()
            },
            Reading {
                overall: vec![None, Some(1.5)],
                ..base.clone()
            },
            Reading {
                overall: vec![None, None],
                ..base.clone()
            },
        ];
        for other in others {
            assert_ne!(base.content_hash(), other.content_hash(), "{other:?}");
        }
    }

    #[test]
    fn a_reading_without_overall_levels_has_the_hash_it_always_had() {
        let without = |overall| Reading { overall, ..reading() }.content_hash();
        assert_eq!(without(Vec::new()), ContentHash(-5_964_743_263_676_589_165));
        assert_eq!(without(vec![None; 3]), without(Vec::new()));
    }

    #[test]
    fn a_condition_that_is_no_number_is_refused_by_its_field() {
        assert_eq!(Condition::parse(Some(-1.0), None).unwrap_err().field, "condition.rpm");
        assert_eq!(
            Condition::parse(None, Some(f32::NAN)).unwrap_err().field,
            "condition.load"
        );
        assert!(Condition::parse(Some(0.0), None).unwrap().is_stopped());
    }
}
