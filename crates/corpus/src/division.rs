//! Which rows are learned from, which set the limits and which test, where a corpus does not say: by machine or by time.
//!
//! **Invariant:** within one division a row's part follows from its machine alone, or from its machine and time alone, and
//! later never comes before earlier. So no machine (by machine), or no moment of a machine (by time), stands on two sides,
//! whichever of its sensors sent it.
//!
//! Another division is another matter: which part a machine is in depends on which others there are, and where its time is
//! cut on which moments it has. Only the same rows are divided alike, so what a model learned from under one division is
//! not tested under another.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Display};

use sha2::{Digest, Sha256};
use tocsin_domain::{Slug, Timestamp};

use crate::{Row, SensorName};

/// Share of the machines, or of each machine's moments, that set the limits; as many test.
const SHARE: f64 = 0.2;
/// Fewest machines, one for each part.
const FEWEST_MACHINES: usize = 3;
/// What the parts are called in the column `split`.
const PARTS: [&str; 3] = ["train", "cal", "test_healthy"];

/// What rows are parted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Whole machines: what is tested was never seen.
    Machine,
    /// Each machine's time: the past teaches, what follows sets the limits, and the newest tests.
    Time,
}

impl By {
    /// The name in a lineage.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Time => "time",
        }
    }
}

/// Why rows can't be parted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DivisionError {
    /// There are fewer machines than parts.
    #[error(
        "{machines} machines, at least {FEWEST_MACHINES} are needed: one to learn from, one for limits and one to test"
    )]
    TooFewMachines {
        /// Those there are.
        machines: usize,
    },
}

/// By machine, when its limits part begins, and when its test part does.
type Cuts = BTreeMap<(Slug, Slug), (Timestamp, Timestamp)>;

/// A division of a corpus's rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Division {
    by: By,
    cuts: Cuts,
}

impl Division {
    /// Divides by these rows: three fifths to learn from, a fifth for limits and a fifth to test. Which machines go where
    /// follows from the names of all of them, so that every command parts the same rows alike.
    pub fn new<'a>(rows: impl IntoIterator<Item = &'a Row>, by: By) -> Result<Self, DivisionError> {
        let mut times: BTreeMap<(Slug, Slug), Vec<Timestamp>> = BTreeMap::new();
        for row in rows {
            let (site, machine) = row.sensor.machine_key();
            times
                .entry((site.clone(), machine.clone()))
                .or_default()
                .push(row.captured_at);
        }
        if by == By::Machine {
            return Self::by_machine(times.into_keys());
        }
        let mut division = Self::by_time();
        for ((site, machine), times) in times {
            division.add(site, machine, times);
        }
        Ok(division)
    }

    /// Divides whole machines, each given once.
    pub fn by_machine(machines: impl IntoIterator<Item = (Slug, Slug)>) -> Result<Self, DivisionError> {
        Ok(Self {
            by: By::Machine,
            cuts: by_machine(machines.into_iter().collect())?,
        })
    }

    /// Divides each machine's time, for rows that are not at hand together: machines are added one by one.
    pub fn by_time() -> Self {
        Self {
            by: By::Time,
            cuts: Cuts::new(),
        }
    }

    /// Adds a machine of a division by time, with the times of all its rows.
    pub fn add(&mut self, site: Slug, machine: Slug, times: Vec<Timestamp>) {
        self.cuts.insert((site, machine), cuts(times));
    }

    /// What rows are parted by.
    pub fn by(&self) -> By {
        self.by
    }

    /// The part of a row, as the column `split` names it; nothing for a machine that was not there when it was divided.
    pub fn part(&self, sensor: &SensorName, at: Timestamp) -> Option<&'static str> {
        let (limits, test) = self.cuts.get(&(sensor.site.clone(), sensor.machine.clone()))?;
        Some(PARTS[usize::from(at >= *limits) + usize::from(at >= *test)])
    }
}

/// When a machine's later parts begin. One with few moments teaches only.
fn cuts(mut times: Vec<Timestamp>) -> (Timestamp, Timestamp) {
    times.sort_unstable();
    times.dedup();
    let last = (times.len() as f64 * SHARE) as usize;
    if last == 0 {
        return (Timestamp::MAX, Timestamp::MAX);
    }
    (times[times.len() - 2 * last], times[times.len() - last])
}

/// Whole machines, as parts that begin with time or never.
fn by_machine(mut machines: Vec<(Slug, Slug)>) -> Result<Cuts, DivisionError> {
    if machines.len() < FEWEST_MACHINES {
        let machines = machines.len();
        return Err(DivisionError::TooFewMachines { machines });
    }
    machines.sort_by_cached_key(|(site, machine)| Sha256::digest(format!("{site}/{machine}")));
    let each = ((machines.len() as f64 * SHARE).round() as usize).max(1);
    let part = |at: usize| match at {
        at if at < each => (Timestamp::MIN, Timestamp::MIN),
        at if at < 2 * each => (Timestamp::MIN, Timestamp::MAX),
        _ => (Timestamp::MAX, Timestamp::MAX),
    };
    Ok(machines
        .into_iter()
        .enumerate()
        .map(|(at, machine)| (machine, part(at)))
        .collect())
}

/// One reading that stands in two splits of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    sensor: SensorName,
    captured_at: Timestamp,
    splits: [String; 2],
}

impl Leak {
    /// A reading, and the splits that it stands in.
    pub fn new(sensor: SensorName, captured_at: Timestamp, splits: [String; 2]) -> Self {
        Self {
            sensor,
            captured_at,
            splits,
        }
    }
}

impl Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = &self.splits;
        let (sensor, at) = (&self.sensor, self.captured_at);
        write!(f, "{sensor} at {at} stands in split {first} and in split {second}")
    }
}

/// The first reading that stands in two splits, where a corpus says itself which row is of which.
pub fn leak(rows: &[Row]) -> Option<Leak> {
    let mut seen: HashMap<(&SensorName, Timestamp), &str> = HashMap::with_capacity(rows.len());
    for row in rows {
        let Some(split) = row.split.as_deref() else { continue };
        let first = *seen.entry((&row.sensor, row.captured_at)).or_insert(split);
        if first != split {
            let splits = [first.to_owned(), split.to_owned()];
            return Some(Leak::new(row.sensor.clone(), row.captured_at, splits));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn row(sensor: &str, micros: i64, split: Option<&str>) -> Row {
        Row {
            sensor: SensorName::parse(sensor).unwrap(),
            captured_at: Timestamp::from_micros(micros),
            bins: vec![1.0],
            rpm: None,
            load: None,
            label: None,
            split: split.map(str::to_owned),
        }
    }

    #[test]
    fn a_reading_in_two_splits_is_found() {
        let mut rows = vec![
            row("a/m/x", 1, Some("train")),
            row("a/m/y", 1, Some("cal")),
            row("a/m/x", 1, None),
        ];
        assert_eq!(leak(&rows), None);
        rows.push(row("a/m/x", 1, Some("cal")));
        let words = "a/m/x at 1970-01-01T00:00:00.000001Z stands in split train and in split cal";
        assert_eq!(leak(&rows).unwrap().to_string(), words);
    }

    #[test]
    fn three_machines_give_each_part_one_and_two_are_refused() {
        let rows: Vec<Row> = ["a/m1/x", "a/m2/x", "b/m1/x"].map(|name| row(name, 0, None)).into();
        let division = Division::new(&rows, By::Machine).unwrap();
        let parts: BTreeSet<_> = rows
            .iter()
            .filter_map(|row| division.part(&row.sensor, row.captured_at))
            .collect();
        assert_eq!(parts, PARTS.into());
        let refused = Division::new(&rows[..2], By::Machine).unwrap_err();
        assert_eq!(refused, DivisionError::TooFewMachines { machines: 2 });
    }

    proptest! {
        #[test]
        fn nothing_leaks_from_one_part_into_another(
            drawn in prop::collection::vec((0_usize..6, 0_usize..3, 0_i64..200), 30..200),
            by_time in any::<bool>(),
        ) {
            let rows: Vec<Row> = drawn
                .iter()
                .map(|(machine, sensor, at)| row(&format!("a/m{machine}/s{sensor}"), *at, None))
                .collect();
            let by = if by_time { By::Time } else { By::Machine };
            let Ok(division) = Division::new(&rows, by) else { return Ok(()) };
            let mut spans: BTreeMap<(Slug, usize), (Timestamp, Timestamp)> = BTreeMap::new();
            for row in &rows {
                let part = division.part(&row.sensor, row.captured_at).unwrap();
                let part = PARTS.iter().position(|name| *name == part).unwrap();
                let at = row.captured_at;
                let span = spans.entry((row.sensor.machine.clone(), part)).or_insert((at, at));
                *span = (span.0.min(at), span.1.max(at));
            }
            for (((machine, part), span), ((later_machine, later_part), later)) in spans.iter().zip(spans.iter().skip(1)) {
                if machine == later_machine {
                    prop_assert!(by == By::Time, "a machine stands on two sides");
                    prop_assert!(part < later_part && span.1 < later.0, "the parts of a machine overlap in time");
                }
            }
        }
    }
}
