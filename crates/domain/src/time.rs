//! Points in time: microseconds since the Unix epoch, always UTC, as precise as Postgres keeps them.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::Invalid;

/// A point in time in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest time kept: 0001-01-01.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// The latest time kept: 9999-12-31.
    pub const MAX: Self = Self(253_402_214_400_000_000);

    /// From microseconds since the epoch, clamped to [`Self::MIN`] and [`Self::MAX`].
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Microseconds since the epoch.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Parses RFC 3339, such as `2026-03-01T12:00:00Z`.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        DateTime::parse_from_rfc3339(text)
            .map(|t| Self::from_micros(t.timestamp_micros()))
            .map_err(|e| Invalid::new(field, format!("{text:?} is not an RFC 3339 time: {e}")))
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// The start of the interval of `length` that holds this time; intervals are counted from the epoch.
    #[must_use]
    pub fn floor_to(self, length: Duration) -> Self {
        let length = micros(length).max(1);
        Self(self.0.div_euclid(length) * length)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self::from_micros(self.0.saturating_add(micros(duration)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self::from_micros(self.0.saturating_sub(micros(duration)))
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(time: DateTime<Utc>) -> Self {
        Self::from_micros(time.timestamp_micros())
    }
}

impl From<Timestamp> for DateTime<Utc> {
    fn from(time: Timestamp) -> Self {
        DateTime::from_timestamp_micros(time.0).expect("a timestamp is clamped to the years chrono keeps")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&DateTime::<Utc>::from(*self).to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse("time", &text)
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_and_back_is_the_same_time(micros in Timestamp::MIN.0..Timestamp::MAX.0) {
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(Timestamp::parse("t", &time.to_string()).unwrap(), time);
        }

        #[test]
        fn a_time_lies_in_its_own_interval(micros in Timestamp::MIN.0..Timestamp::MAX.0, seconds in 1u64..100_000) {
            let (time, length) = (Timestamp::from_micros(micros), Duration::from_secs(seconds));
            let start = time.floor_to(length);
            prop_assert!(start <= time && time < start + length || start == Timestamp::MIN);
        }
    }
}
