//! The intervals of a file, whichever of the two kinds it is.

use std::path::Path;

use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};
use tocsin_domain::{Invalid, Slug, Timestamp};

use super::{Interval, LogError, State};
use crate::columns::{Text, Times};
use crate::error::Fault;

/// What every Parquet file begins with.
const PARQUET: &[u8] = b"PAR1";
/// The columns that are looked at; the first five must be there.
const FIELDS: [&str; 6] = ["site", "machine", "from", "to", "state", "sensor"];
const NEEDED: usize = 5;

/// The content of a file and its SHA-256, hexadecimal.
pub(super) fn file(path: &Path) -> Result<(Vec<u8>, String), LogError> {
    let bytes = std::fs::read(path).map_err(|source| LogError::Io {
        path: path.to_path_buf(),
        source,
    })?;
    let sha256 = hex::encode(Sha256::digest(&bytes));
    Ok((bytes, sha256))
}

pub(super) fn intervals(path: &Path, bytes: Vec<u8>) -> Result<Vec<Interval>, LogError> {
    if bytes.starts_with(PARQUET) {
        from_parquet(path, bytes.into())
    } else {
        from_csv(path, &bytes)
    }
}

/// A line as it stands: its texts by [`FIELDS`], `from` and `to` as times.
struct Line<'a> {
    number: u64,
    site: &'a str,
    machine: &'a str,
    sensor: &'a str,
    from: Timestamp,
    to: Timestamp,
    state: &'a str,
}

impl Line<'_> {
    fn parse(self) -> Result<Interval, Invalid> {
        if self.from >= self.to {
            let reason = format!("{} is not after from, {}", self.to, self.from);
            return Err(Invalid::new("to", reason));
        }
        let sensor = match self.sensor {
            "" => None,
            name => Some(Slug::parse("sensor", name)?),
        };
        Ok(Interval {
            line: self.number,
            site: Slug::parse("site", self.site)?,
            machine: Slug::parse("machine", self.machine)?,
            sensor,
            from: self.from,
            to: self.to,
            state: State::parse(self.state)?,
        })
    }
}

fn wrong(path: &Path, line: u64, invalid: Invalid) -> LogError {
    LogError::Line {
        path: path.to_path_buf(),
        line,
        field: invalid.field,
        reason: invalid.reason,
    }
}

fn table(path: &Path, reason: impl ToString) -> LogError {
    LogError::Table {
        path: path.to_path_buf(),
        reason: reason.to_string(),
    }
}

fn from_csv(path: &Path, bytes: &[u8]) -> Result<Vec<Interval>, LogError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let headers = reader.headers().map_err(|error| table(path, error))?.clone();
    let places = FIELDS.map(|field| headers.iter().position(|header| header == field));
    if let Some(at) = places[..NEEDED].iter().position(Option::is_none) {
        return Err(table(path, format!("column {} is missing", FIELDS[at])));
    }
    let mut intervals = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| table(path, error))?;
        let number = record.position().map_or(0, csv::Position::line);
        let [site, machine, from, to, state, sensor] =
            places.map(|place| place.and_then(|at| record.get(at)).unwrap_or_default());
        let interval = Timestamp::parse("from", from).and_then(|from| {
            let to = match to {
                "" => Timestamp::MAX,
                to => Timestamp::parse("to", to)?,
            };
            let line = Line {
                number,
                site,
                machine,
                sensor,
                from,
                to,
                state,
            };
            line.parse()
        });
        intervals.push(interval.map_err(|invalid| wrong(path, number, invalid))?);
    }
    Ok(intervals)
}

fn from_parquet(path: &Path, bytes: Bytes) -> Result<Vec<Interval>, LogError> {
    let batches = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| table(path, error))?;
    let (mut intervals, mut read) = (Vec::new(), 0);
    for batch in batches {
        let batch = batch.map_err(|error| table(path, error))?;
        let columns =
            Columns::of(&batch).map_err(|fault| table(path, format!("column {}: {}", fault.column, fault.reason)))?;
        for row in 0..batch.num_rows() {
            let number = read + row as u64;
            let interval = columns.interval(row, number);
            intervals.push(interval.map_err(|invalid| wrong(path, number, invalid))?);
        }
        read += batch.num_rows() as u64;
    }
    Ok(intervals)
}

/// A batch's columns, typed.
struct Columns<'a> {
    site: Text<'a>,
    machine: Text<'a>,
    sensor: Text<'a>,
    from: Times<'a>,
    to: Times<'a>,
    state: Text<'a>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, Fault> {
        let needed = |name| batch.column_by_name(name).ok_or_else(|| Fault::new(name, "is missing"));
        Ok(Self {
            site: Text::of("site", needed("site")?)?,
            machine: Text::of("machine", needed("machine")?)?,
            sensor: match batch.column_by_name("sensor") {
                Some(array) => Text::of("sensor", array)?,
                None => Text::Absent,
            },
            from: Times::of("from", needed("from")?)?,
            to: Times::of("to", needed("to")?)?,
            state: Text::of("state", needed("state")?)?,
        })
    }

    fn interval(&self, row: usize, number: u64) -> Result<Interval, Invalid> {
        let time = |times: &Times<'_>| times.get(row).map_err(|fault| Invalid::new(fault.column, fault.reason));
        let line = Line {
            number,
            site: self.site.get(row).unwrap_or_default(),
            machine: self.machine.get(row).unwrap_or_default(),
            sensor: self.sensor.get(row).unwrap_or_default(),
            from: time(&self.from)?,
            to: if self.to.is_null(row) {
                Timestamp::MAX
            } else {
                time(&self.to)?
            },
            state: self.state.get(row).unwrap_or_default(),
        };
        line.parse()
    }
}
