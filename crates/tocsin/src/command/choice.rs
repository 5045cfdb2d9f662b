//! Which rows of corpora may teach: those that nobody knows a fault of, each in one part only.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use tocsin_corpus::{By, Division, Leak, MaintenanceLog, Row, State, leak, sensors};
use tocsin_models::{CorpusFile, Selection};

use super::corpora::Corpora;

/// What healthy rows are labelled.
const HEALTHY: &str = "healthy";
/// The split that tests on healthy rows.
const TEST: &str = "test_healthy";

/// What rows are parted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SplitBy {
    /// Whole machines
    Machine,
    /// Each machine's time
    Time,
}

impl From<SplitBy> for By {
    fn from(by: SplitBy) -> Self {
        match by {
            SplitBy::Machine => Self::Machine,
            SplitBy::Time => Self::Time,
        }
    }
}

/// How rows are chosen.
#[derive(Debug, Clone, Args)]
pub(super) struct Choice {
    /// Maintenance log, CSV or Parquet: site, machine, from, to, state (healthy, faulty or unknown), and if wanted sensor and note;
    /// rows of faulty and unknown times are never taken for healthy
    #[arg(long, value_name = "FILE")]
    maintenance_log: Option<PathBuf>,
    /// Take only rows for healthy of which the maintenance log says that they are
    #[arg(long, requires = "maintenance_log")]
    only_logged_healthy: bool,
    /// Part rows of the splits train, cal and `test_healthy`, and those of no split, by this: three fifths to learn from, a fifth for
    /// limits and a fifth to test
    #[arg(long, value_enum, value_name = "WHAT")]
    split_by: Option<SplitBy>,
}

impl Choice {
    /// The splits to read of those that are used: all of them, where rows are parted anew.
    pub(super) fn splits<'a>(&self, used: &'a [&'a str]) -> Option<&'a [&'a str]> {
        self.split_by.is_none().then_some(used)
    }

    /// The rows that remain, each in its split, and a record of what was done. `learned` is the split to learn from.
    pub(super) fn apply(&self, corpora: &Corpora, rows: Vec<Row>, learned: &str) -> Result<(Vec<Row>, Selection)> {
        let log = self.log(corpora)?;
        let (rows, mut selection) = self.choose(rows, learned, log.as_ref())?;
        selection.sensors = corpora.sensors.clone();
        tell(&selection);
        Ok((rows, selection))
    }

    /// The maintenance log, if one was given; it speaks of sensors of the corpora alone.
    pub(super) fn log(&self, corpora: &Corpora) -> Result<Option<MaintenanceLog>> {
        let log = self.maintenance_log.as_ref().map(MaintenanceLog::read).transpose();
        let log = log.context("--maintenance-log")?;
        if let Some(log) = &log {
            log.check_names(&sensors(&corpora.corpus)?)
                .context("--maintenance-log")?;
        }
        Ok(log)
    }

    /// What rows are parted by, where not by the splits of the corpora.
    pub(super) fn by(&self) -> Option<By> {
        self.split_by.map(By::from)
    }

    /// Whether a row is taken for healthy, unless something speaks [`against`](Self::against) it.
    pub(super) fn healthy(&self, row: &Row, learned: &str) -> bool {
        match row.split.as_deref() {
            Some(split) => split == learned || split == "cal" || split == TEST,
            None => self.split_by.is_some(),
        }
    }

    /// A record of the choice, of which no row has been left out yet.
    pub(super) fn selection(&self, log: Option<&MaintenanceLog>) -> Selection {
        Selection {
            maintenance_log: log.map(|log| CorpusFile {
                name: log.name(),
                sha256: log.sha256().to_owned(),
                rows: log.len() as u64,
            }),
            only_logged_healthy: self.only_logged_healthy,
            split_by: self.by().map(|by| by.as_str().to_owned()),
            ..Selection::default()
        }
    }

    fn choose(&self, mut rows: Vec<Row>, learned: &str, log: Option<&MaintenanceLog>) -> Result<(Vec<Row>, Selection)> {
        if self.split_by.is_none()
            && let Some(leak) = leak(&rows)
        {
            return Err(refused(&leak));
        }
        let mut selection = self.selection(log);
        let healthy = |row: &Row| self.healthy(row, learned);
        rows.retain(|row| {
            let reason = healthy(row).then(|| self.against(row, log)).flatten();
            if let Some(reason) = reason {
                *selection.left_out.entry(reason.to_owned()).or_default() += 1;
            }
            reason.is_none()
        });
        if let Some(by) = self.by() {
            let division = Division::new(rows.iter().filter(|row| healthy(row)), by).context("--split-by")?;
            for row in &mut rows {
                let part = division.part(&row.sensor, row.captured_at);
                if healthy(row) {
                    row.split = part.map(str::to_owned);
                } else if part.is_some_and(|part| part != TEST) {
                    // What a machine did when it taught, or set limits, tests nothing.
                    row.split = None;
                }
            }
        }
        Ok((rows, selection))
    }

    /// Why a row is not to be taken for healthy.
    pub(super) fn against(&self, row: &Row, log: Option<&MaintenanceLog>) -> Option<&'static str> {
        let logged = log.map(|log| log.state(&row.sensor, row.captured_at));
        match logged {
            Some(Some(State::Faulty)) => Some("faulty"),
            Some(Some(State::Unknown)) => Some("unknown"),
            Some(None) if self.only_logged_healthy => Some("unlogged"),
            _ => row.label.as_ref().filter(|label| *label != HEALTHY).map(|_| "labelled"),
        }
    }
}

/// Why a reading that stands in two splits is refused.
pub(super) fn refused(leak: &Leak) -> anyhow::Error {
    anyhow!("--corpus: {leak}: what teaches must not set limits or test")
}

/// Says what was left out, if anything was.
pub(super) fn tell(selection: &Selection) {
    if !selection.left_out.is_empty() {
        eprintln!("left out of the rows taken for healthy: {}", told(selection));
    }
}

/// What was left out, in words.
fn told(selection: &Selection) -> String {
    let counts = selection
        .left_out
        .iter()
        .map(|(reason, rows)| format!("{rows} {reason}"));
    match counts.collect::<Vec<_>>() {
        counts if counts.is_empty() => "nothing".to_owned(),
        counts => counts.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use tocsin_corpus::SensorName;
    use tocsin_domain::Timestamp;

    use super::*;

    fn row(machine: usize, second: i64, label: Option<&str>, split: Option<&str>) -> Row {
        Row {
            sensor: SensorName::parse(&format!("a/m{machine}/x")).unwrap(),
            captured_at: Timestamp::from_micros(second * 1_000_000),
            bins: vec![1.0],
            rpm: None,
            load: None,
            label: label.map(str::to_owned),
            split: split.map(str::to_owned),
        }
    }

    fn log() -> MaintenanceLog {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.csv");
        let lines = "site,machine,from,to,state\n\
                     a,m1,1970-01-01T00:00:00Z,1970-01-01T00:00:10Z,healthy\n\
                     a,m1,1970-01-01T00:00:10Z,1970-01-01T00:00:13Z,faulty\n\
                     a,m1,1970-01-01T00:00:13Z,1970-01-01T00:00:15Z,unknown\n";
        std::fs::write(&path, lines).unwrap();
        MaintenanceLog::read(&path).unwrap()
    }

    fn choice(only_logged_healthy: bool, split_by: Option<SplitBy>) -> Choice {
        Choice {
            maintenance_log: None,
            only_logged_healthy,
            split_by,
        }
    }

    #[test]
    fn only_rows_that_nobody_knows_a_fault_of_are_taken_for_healthy() {
        let mut rows: Vec<Row> = (0..20).map(|second| row(1, second, None, Some("train"))).collect();
        rows[2].label = Some("imbalance".to_owned());
        rows[3].label = Some("healthy".to_owned());
        rows[11].split = Some("end".to_owned());
        let (kept, selection) = choice(false, None).choose(rows.clone(), "train", Some(&log())).unwrap();
        assert_eq!(told(&selection), "2 faulty, 1 labelled, 2 unknown");
        assert_eq!(kept.len(), 15);
        assert!(kept.contains(&rows[11]), "faulty rows still test");
        let (kept, selection) = choice(true, None).choose(rows.clone(), "train", Some(&log())).unwrap();
        assert_eq!(told(&selection), "2 faulty, 1 labelled, 2 unknown, 5 unlogged");
        assert_eq!((kept.len(), selection.maintenance_log.unwrap().rows), (10, 3));
    }

    #[test]
    fn a_reading_that_teaches_and_sets_limits_is_refused() {
        let rows = vec![row(1, 1, None, Some("train")), row(1, 1, None, Some("cal"))];
        let error = choice(false, None).choose(rows, "train", None).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("--corpus: a/m1/x at 1970-01-01T00:00:01Z stands in split train and")
        );
    }

    #[test]
    fn faulty_rows_test_only_where_their_machine_or_time_does() {
        let mut rows: Vec<Row> = (0..200).map(|at| row(at % 5, at as i64, None, None)).collect();
        rows.extend((0..5).flat_map(|machine| [1, 300].map(|at| row(machine, at, Some("imbalance"), Some("end")))));
        for by in [SplitBy::Machine, SplitBy::Time] {
            let (kept, selection) = choice(false, Some(by)).choose(rows.clone(), "train", None).unwrap();
            let of = |split: &str| kept.iter().filter(|row| row.split.as_deref() == Some(split)).count();
            let end = if by == SplitBy::Machine { 2 } else { 5 };
            assert_eq!([of("train"), of("cal"), of(TEST), of("end")], [120, 40, 40, end]);
            assert_eq!(selection.split_by.as_deref(), Some(By::from(by).as_str()));
        }
    }
}
