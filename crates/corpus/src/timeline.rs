//! Rows of several files in the order a plant would have sent them.
//!
//! Corpora are kept sensor by sensor; a platform must get them in time order, with a machine's rows of one decision
//! step together. A [`Timeline`] sorts them by step, then machine, then capture time, and names every place in that
//! order by a [`Cursor`], so that an interrupted replay can go on where it stopped, also when files were added since.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use tocsin_domain::{Invalid, Slug, Timestamp};

use crate::{Error, Filter, Progress, Row, read_all};

/// All wanted rows in sending order. **Bound:** they are held in memory, about 0.4 kB and 4 bytes a bin each: 20 MB for
/// 30,000 rows of 64 bins, 0.7 GB for a million.
#[derive(Debug)]
pub struct Timeline {
    rows: Vec<Row>,
    steps: Vec<Range<usize>>,
    step: Duration,
}

impl Timeline {
    /// Reads and sorts the files. `step` is the decision interval that rows of one machine are gathered by.
    pub fn load<P: AsRef<Path>>(
        files: &[P],
        filter: &Filter,
        step: Duration,
        progress: impl FnMut(Progress),
    ) -> Result<Self, Error> {
        Ok(Self::of(read_all(files, filter, progress)?, step))
    }

    /// Sorts rows already read. Rows equal in sensor and capture time keep their order.
    pub fn of(mut rows: Vec<Row>, step: Duration) -> Self {
        let start = |row: &Row| row.captured_at.floor_to(step);
        rows.sort_by(|a, b| {
            let by_step = start(a)
                .cmp(&start(b))
                .then_with(|| a.sensor.machine_key().cmp(&b.sensor.machine_key()));
            by_step
                .then_with(|| a.captured_at.cmp(&b.captured_at))
                .then_with(|| a.sensor.sensor.cmp(&b.sensor.sensor))
        });
        let mut steps: Vec<Range<usize>> = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            match steps.last_mut() {
                Some(last) if Cursor::at(&rows[last.start], step) == Cursor::at(row, step) => last.end = at + 1,
                _ => steps.push(at..at + 1),
            }
        }
        Self { rows, steps, step }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Number of machine steps.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Capture times of the earliest and the latest row.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let times = || self.rows.iter().map(|row| row.captured_at);
        times().min().zip(times().max())
    }

    /// The machine steps after `cursor`, or all of them.
    pub fn after(&self, cursor: Option<&Cursor>) -> impl ExactSizeIterator<Item = MachineStep<'_>> {
        let first = match cursor {
            None => 0,
            Some(cursor) => self.steps.partition_point(|step| self.cursor(step) <= *cursor),
        };
        self.steps[first..].iter().map(|step| MachineStep {
            cursor: self.cursor(step),
            rows: &self.rows[step.clone()],
        })
    }

    fn cursor(&self, step: &Range<usize>) -> Cursor {
        Cursor::at(&self.rows[step.start], self.step)
    }
}

/// A machine's rows of one step, in capture order; never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineStep<'a> {
    /// Its place: what to keep once the rows are acknowledged.
    pub cursor: Cursor,
    /// The rows.
    pub rows: &'a [Row],
}

/// A place in a timeline: the step and machine that were sent last. As text `2026-03-01T12:00:00Z site/machine`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    step: Timestamp,
    site: Slug,
    machine: Slug,
}

impl Cursor {
    fn at(row: &Row, step: Duration) -> Self {
        Self {
            step: row.captured_at.floor_to(step),
            site: row.sensor.site.clone(),
            machine: row.sensor.machine.clone(),
        }
    }

    /// Start of the step.
    pub fn step(&self) -> Timestamp {
        self.step
    }

    /// The machine's site.
    pub fn site(&self) -> &Slug {
        &self.site
    }

    /// The machine.
    pub fn machine(&self) -> &Slug {
        &self.machine
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.step, self.site, self.machine)
    }
}

impl FromStr for Cursor {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parts = text
            .trim()
            .split_once(' ')
            .and_then(|(step, name)| Some((step, name.split_once('/')?)));
        let Some((step, (site, machine))) = parts else {
            return Err(Invalid::new(
                "cursor",
                format!("{text:?} is not of the form <time> <site>/<machine>"),
            ));
        };
        Ok(Self {
            step: Timestamp::parse("cursor", step)?,
            site: Slug::parse("cursor", site)?,
            machine: Slug::parse("cursor", machine)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SensorName;
    use proptest::prelude::*;

    const STEP: Duration = Duration::from_secs(10);

    fn row(machine: u8, sensor: u8, at_ms: i64) -> Row {
        Row {
            sensor: SensorName::parse(&format!("s/m{machine}/c{sensor}")).unwrap(),
            captured_at: Timestamp::from_micros(at_ms * 1000),
            bins: vec![1.0],
            rpm: None,
            load: None,
            label: None,
            split: None,
        }
    }

    #[test]
    fn both_axes_of_a_machine_travel_together_in_one_step() {
        let timeline = Timeline::of(
            vec![
                row(2, 1, 12_000),
                row(1, 1, 13_000),
                row(2, 0, 14_000),
                row(1, 0, 3_000),
            ],
            STEP,
        );
        let sent: Vec<Vec<String>> = timeline
            .after(None)
            .map(|step| step.rows.iter().map(|row| row.sensor.to_string()).collect())
            .collect();
        assert_eq!(sent, [vec!["s/m1/c0"], vec!["s/m1/c1"], vec!["s/m2/c1", "s/m2/c0"]]);
    }

    #[test]
    fn a_cursor_of_another_form_is_refused() {
        for bad in [
            "",
            "2026-03-01T12:00:00Z",
            "2026-03-01T12:00:00Z m",
            "yesterday s/m",
            "2026-03-01T12:00:00Z s/M",
        ] {
            assert_eq!(bad.parse::<Cursor>().unwrap_err().field, "cursor", "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_replay_cut_anywhere_and_resumed_sends_every_row_once_and_in_order(
            keys in proptest::collection::vec((0u8..3, 0u8..2, 0i64..100_000), 1..60),
            cut in 0usize..60,
        ) {
            let timeline = Timeline::of(keys.iter().map(|(m, s, t)| row(*m, *s, *t)).collect(), STEP);
            let cut = cut.min(timeline.steps());
            let mut sent = Vec::new();
            let mut cursor = None;
            for step in timeline.after(None).take(cut) {
                sent.extend(step.rows);
                cursor = Some(step.cursor.to_string().parse::<Cursor>().unwrap());
            }
            let rest = timeline.after(cursor.as_ref());
            prop_assert_eq!(rest.len(), timeline.steps() - cut);
            rest.for_each(|step| sent.extend(step.rows));

            prop_assert_eq!(sent.len(), keys.len());
            let places: Vec<_> = timeline.after(None).map(|step| step.cursor).collect();
            prop_assert!(places.is_sorted_by(|a, b| a < b), "each machine step comes once");
            for step in timeline.after(None) {
                prop_assert!(step.rows.is_sorted_by_key(|row| row.captured_at));
            }
        }
    }
}
