//! The maintenance log: when machines were known to be healthy, known to be faulty, or under suspicion.
//!
//! A log is a table of intervals, CSV with a header or Parquet: `site`, `machine`, `from`, `to`, `state` (`healthy`, `faulty` or
//! `unknown`), and if wanted `sensor` (every sensor of the machine where it is empty) and `note`, which is not looked at. An
//! interval holds `from` and ends before `to`; an empty `to` has no end. Times are RFC 3339, or timestamps in Parquet.
//!
//! **Invariant:** at no time has a sensor two states: intervals that say different things of it are refused.

mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tocsin_domain::{Invalid, Slug, Timestamp};

use crate::SensorName;

/// What is known of a machine for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Somebody vouches for it.
    Healthy,
    /// It had a fault.
    Faulty,
    /// Nobody knows: what it sent then teaches nothing.
    Unknown,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Healthy, Self::Faulty, Self::Unknown];

    /// The name in a log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Faulty => "faulty",
            Self::Unknown => "unknown",
        }
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| Invalid::new("state", format!("{text:?} is none of healthy, faulty, unknown")))
    }
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// Where it stands: the line of a CSV, counted from 1 with the header, or the row of a Parquet file, from 0.
    pub line: u64,
    /// The site.
    pub site: Slug,
    /// The machine.
    pub machine: Slug,
    /// The sensor it is about; every one of the machine where there is none.
    pub sensor: Option<Slug>,
    /// When it begins.
    pub from: Timestamp,
    /// When it is over: the first moment that no longer belongs to it.
    pub to: Timestamp,
    /// What was known then.
    pub state: State,
}

impl Interval {
    fn is_about(&self, sensor: &SensorName) -> bool {
        (&self.site, &self.machine) == sensor.machine_key()
            && self.sensor.as_ref().is_none_or(|name| *name == sensor.sensor)
    }

    /// Whether both say something of one sensor at one time.
    fn meets(&self, other: &Self) -> bool {
        let sensors = match (&self.sensor, &other.sensor) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        sensors && self.from < other.to && other.from < self.to
    }
}

/// Why a log can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It can't be opened or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no table, or lacks a column.
    #[error("{}: {reason}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A value is not what its field should hold, or contradicts another line.
    #[error("{}: line {line}: {field}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line of a CSV, from 1 with the header, or the row of a Parquet file, from 0.
        line: u64,
        /// The field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A log, read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaintenanceLog {
    path: PathBuf,
    sha256: String,
    /// By site and machine, in order of time.
    intervals: BTreeMap<(Slug, Slug), Vec<Interval>>,
}

impl MaintenanceLog {
    /// Reads a log, CSV or Parquet, by its content.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, LogError> {
        let path = path.as_ref();
        let (bytes, sha256) = read::file(path)?;
        Self::new(path.to_path_buf(), sha256, read::intervals(path, bytes)?)
    }

    fn new(path: PathBuf, sha256: String, read: Vec<Interval>) -> Result<Self, LogError> {
        let mut intervals: BTreeMap<_, Vec<Interval>> = BTreeMap::new();
        for interval in read {
            let machine = (interval.site.clone(), interval.machine.clone());
            intervals.entry(machine).or_default().push(interval);
        }
        for of_machine in intervals.values_mut() {
            of_machine.sort_by_key(|interval| (interval.from, interval.line));
            check_contradictions(of_machine).map_err(|(line, reason)| LogError::Line {
                path: path.clone(),
                line,
                field: "state".to_owned(),
                reason,
            })?;
        }
        Ok(Self {
            path,
            sha256,
            intervals,
        })
    }

    /// SHA-256 of the file, hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The file's name, without the folder.
    pub fn name(&self) -> String {
        let name = self.path.file_name();
        name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// How many intervals it has.
    pub fn len(&self) -> usize {
        self.intervals.values().map(Vec::len).sum()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// What was known of a sensor then; nothing where the log does not say.
    pub fn state(&self, sensor: &SensorName, at: Timestamp) -> Option<State> {
        let of_machine = self.intervals.get(&(sensor.site.clone(), sensor.machine.clone()))?;
        let begun = of_machine.partition_point(|interval| interval.from <= at);
        let holds = |interval: &&Interval| at < interval.to && interval.is_about(sensor);
        of_machine[..begun].iter().find(holds).map(|interval| interval.state)
    }

    /// Refuses a log that speaks of a machine or sensor that is not among `known`: a misspelt name would let its faults
    /// be learned.
    pub fn check_names(&self, known: &BTreeSet<SensorName>) -> Result<(), LogError> {
        let unknown = |interval: &&Interval| !known.iter().any(|sensor| interval.is_about(sensor));
        let found = self.intervals.values().flatten().filter(unknown);
        let Some(interval) = found.min_by_key(|interval| interval.line) else {
            return Ok(());
        };
        let (site, machine) = (&interval.site, &interval.machine);
        let machine_known = known.iter().any(|sensor| sensor.machine_key() == (site, machine));
        let (field, named) = match &interval.sensor {
            Some(sensor) if machine_known => ("sensor", format!("{site}/{machine}/{sensor}")),
            _ => ("machine", format!("{site}/{machine}")),
        };
        Err(LogError::Line {
            path: self.path.clone(),
            line: interval.line,
            field: field.to_owned(),
            reason: format!("{named} has no row in the corpora"),
        })
    }
}

/// The first line that contradicts an earlier one, and what it says; intervals of one machine, in order of time.
fn check_contradictions(intervals: &[Interval]) -> Result<(), (u64, String)> {
    for (at, later) in intervals.iter().enumerate() {
        let contradicts = |earlier: &&Interval| earlier.state != later.state && earlier.meets(later);
        if let Some(earlier) = intervals[..at].iter().find(contradicts) {
            let (first, second) = if earlier.line < later.line {
                (earlier, later)
            } else {
                (later, earlier)
            };
            let reason = format!(
                "{} contradicts line {}, which says {} of {}/{} at {}",
                second.state.as_str(),
                first.line,
                first.state.as_str(),
                first.site,
                first.machine,
                later.from
            );
            return Err((second.line, reason));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
