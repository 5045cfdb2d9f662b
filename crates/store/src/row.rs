//! Small steps between columns and domain values, shared by the row structs.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tocsin_domain::{Slug, Timestamp};

use crate::{Error, Result};

pub(crate) type Time = DateTime<Utc>;

/// A time as a parameter.
pub(crate) fn time(at: Timestamp) -> Time {
    at.into()
}

/// A time that may be absent, as a parameter.
pub(crate) fn time_opt(at: Option<Timestamp>) -> Option<Time> {
    at.map(time)
}

/// A name column.
pub(crate) fn slug(table: &'static str, column: &'static str, key: impl ToString, text: &str) -> Result<Slug> {
    Slug::parse(column, text).map_err(Error::impossible(table, column, key))
}

/// A duration column in seconds or milliseconds: never negative.
pub(crate) fn duration(
    table: &'static str,
    column: &'static str,
    key: i32,
    count: i64,
    unit: fn(u64) -> Duration,
) -> Result<Duration> {
    let count = u64::try_from(count).map_err(|_| Error::ImpossibleRow {
        table,
        column,
        key: key.to_string(),
        reason: format!("{count} is negative"),
    })?;
    Ok(unit(count))
}

/// `0` in a number column of a reading stands for "none".
pub(crate) fn none_if_zero(number: i32) -> Option<i32> {
    (number != 0).then_some(number)
}
