//! Readings in CSV: a header that names the columns, then a reading a line.

use std::fmt;
use std::io::Read;

use anyhow::{Context, Result, bail};
use csv::StringRecord;
use serde::Serialize;
use tocsin_contracts::ingest::v1::{OverallLevel, Reading};
use tocsin_contracts::time;
use tocsin_domain::{Condition, DeclaredState, Timestamp};

/// A reading and where it stands.
#[derive(Debug)]
pub(super) struct Row {
    /// Line of the file, from 1.
    pub(super) line: u64,
    pub(super) captured_at: Timestamp,
    pub(super) reading: Reading,
}

/// A line that isn't taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    /// Line of the file, from 1.
    pub(super) line: u64,
    /// The column at fault.
    pub(super) field: String,
    /// What is wrong with it.
    pub(super) reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, {}: {}", self.line, self.field, self.reason)
    }
}

/// Where the columns are.
#[derive(Debug)]
struct Columns {
    sensor: usize,
    captured_at: usize,
    /// In the order of their numbers.
    bins: Vec<usize>,
    rpm: Option<usize>,
    state: Option<usize>,
    load: Option<usize>,
    overall: Vec<(String, usize)>,
}

/// Reads the whole file: the readings, and the lines that hold none.
///
/// # Errors
/// If the file can't be read, or its header is no good.
pub(super) fn read(file: impl Read, db_reference: Option<f64>) -> Result<(Vec<Row>, Vec<Problem>)> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .flexible(true)
        .from_reader(file);
    let columns = Columns::find(reader.headers().context("line 1")?)?;
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.context("reading the file")?;
        match columns.row(&record, db_reference) {
            Ok(row) => rows.push(row),
            Err(problem) => problems.push(problem),
        }
    }
    Ok((rows, problems))
}

impl Columns {
    fn find(header: &StringRecord) -> Result<Self> {
        let place = |name: &str| header.iter().position(|column| column == name);
        let needed = |name: &str| place(name).with_context(|| format!("line 1: there is no column {name:?}"));
        let mut bins = Vec::new();
        while let Some(column) = place(&format!("bin_{}", bins.len())) {
            bins.push(column);
        }
        let columns = Self {
            sensor: needed("sensor")?,
            captured_at: needed("captured_at")?,
            rpm: place("rpm"),
            load: place("load"),
            state: place("state"),
            overall: header
                .iter()
                .enumerate()
                .filter_map(|(column, name)| Some((name.strip_prefix("overall.")?.to_owned(), column)))
                .collect(),
            bins,
        };
        if columns.bins.is_empty() {
            bail!("line 1: there is no column \"bin_0\"; the bins are bin_0, bin_1 and so on");
        }
        let known = |name: &str| {
            matches!(name, "sensor" | "captured_at" | "rpm" | "load" | "state")
                || name.starts_with("overall.")
                || name
                    .strip_prefix("bin_")
                    .and_then(|n| n.parse().ok())
                    .is_some_and(|n: usize| n < columns.bins.len())
        };
        match header.iter().find(|name| !known(name)) {
            Some(name) => bail!(
                "line 1: {name:?} is not a column of readings (sensor, captured_at, bin_0, bin_1 ... without a gap, rpm, load, state, overall.NAME)"
            ),
            None => Ok(columns),
        }
    }

    fn row(&self, record: &StringRecord, db_reference: Option<f64>) -> Result<Row, Problem> {
        let line = record.position().map_or(0, csv::Position::line);
        let problem = |field: &str, reason: String| Problem {
            line,
            field: field.to_owned(),
            reason,
        };
        let text = |field: &str, column: usize| {
            let text = record.get(column).filter(|text| !text.is_empty());
            text.ok_or_else(|| problem(field, "is missing".to_owned()))
        };
        let number = |field: &str, column: usize| {
            let text = text(field, column)?;
            text.parse::<f32>()
                .map_err(|_| problem(field, format!("{text:?} is not a number")))
        };
        let optional = |field: &str, column: Option<usize>| match column {
            Some(column) if record.get(column).is_some_and(|text| !text.is_empty()) => number(field, column).map(Some),
            _ => Ok(None),
        };
        let captured_at = Timestamp::parse("captured_at", text("captured_at", self.captured_at)?)
            .map_err(|invalid| problem("captured_at", invalid.reason))?;
        let bins = self
            .bins
            .iter()
            .enumerate()
            .map(|(bin, column)| number(&format!("bin_{bin}"), *column));
        let (rpm, load) = (optional("rpm", self.rpm)?, optional("load", self.load)?);
        let state = self
            .state
            .and_then(|column| record.get(column))
            .filter(|text| !text.is_empty());
        let state = state.map(|text| DeclaredState::parse("state", text)).transpose();
        let state = state.map_err(|invalid| problem("state", invalid.reason))?;
        let condition = Condition { rpm, load, state };
        let mut overall = Vec::new();
        for (name, column) in &self.overall {
            if let Some(value) = optional(&format!("overall.{name}"), Some(*column))? {
                overall.push(OverallLevel {
                    name: name.clone(),
                    value,
                    unit: String::new(),
                });
            }
        }
        let reading = Reading {
            sensor: text("sensor", self.sensor)?.to_owned(),
            captured_at: Some(time::to_wire(captured_at)),
            bins: bins.collect::<Result<_, _>>()?,
            db_reference,
            condition: (!condition.is_untold()).then(|| condition.into()),
            overall,
        };
        Ok(Row {
            line,
            captured_at,
            reading,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_read_by_the_names_of_their_columns() {
        let text = "captured_at,sensor,rpm,state,bin_1,bin_0,overall.v_rms\n\
                    2026-03-01T12:00:00Z, cnc-1/spindle ,1500,transient,0.2,0.1,3.5\n\
                    2026-03-01T12:00:10Z,cnc-1/spindle,,,0.4,0.3,\n";
        let (rows, problems) = read(text.as_bytes(), None).expect("a good file");
        assert_eq!(problems, []);
        let [first, second] = &rows[..] else { panic!("two rows") };
        assert_eq!(first.reading.sensor, "cnc-1/spindle");
        assert_eq!(first.reading.bins, [0.1, 0.2]);
        assert_eq!(
            first.reading.condition,
            Some(
                Condition {
                    rpm: Some(1500.0),
                    state: Some(DeclaredState::Transient),
                    ..Condition::default()
                }
                .into()
            )
        );
        assert_eq!(first.reading.overall[0].name, "v_rms");
        assert_eq!(
            (second.reading.condition, second.reading.overall.len(), second.line),
            (None, 0, 3)
        );
    }

    #[test]
    fn the_example_is_read_with_its_overall_levels() {
        let text = include_str!("../../../../../docs/examples/pump-9-overall.csv");
        let (rows, problems) = read(text.as_bytes(), None).expect("a good file");
        assert_eq!(problems, []);
        let sensor = &rows[0].reading.sensor;
        assert!(
            sensor.starts_with("pump-9/"),
            "{sensor}: none of those the README makes"
        );
        let levels: Vec<usize> = rows.iter().map(|row| row.reading.overall.len()).collect();
        assert_eq!(levels, [2, 1, 2], "an empty cell is a level the reading lacks");
        assert_eq!(rows[0].reading.overall[1].name, "bearing_temperature");
    }

    #[test]
    fn a_bad_line_is_named_by_line_and_field_and_the_others_go_on() {
        let text = "sensor,captured_at,bin_0,bin_1\n\
                    a/b,2026-03-01T12:00:00Z,0.1,x\n\
                    a/b,yesterday,0.1,0.2\n\
                    a/b,2026-03-01T12:00:20Z,0.1\n\
                    a/b,2026-03-01T12:00:30Z,0.1,0.2\n";
        let (rows, problems) = read(text.as_bytes(), None).expect("a good header");
        assert_eq!(rows.len(), 1);
        let places: Vec<(u64, &str)> = problems.iter().map(|p| (p.line, p.field.as_str())).collect();
        assert_eq!(places, [(2, "bin_1"), (3, "captured_at"), (4, "bin_1")]);
        assert_eq!(problems[0].to_string(), "line 2, bin_1: \"x\" is not a number");
    }

    #[test]
    fn a_header_that_would_lose_data_is_refused() {
        for (header, named) in [
            ("sensor,captured_at", "bin_0"),
            ("captured_at,bin_0", "sensor"),
            ("sensor,captured_at,bin_0,bin_2", "bin_2"),
            ("sensor,captured_at,bin_0,speed", "speed"),
        ] {
            let error = read(format!("{header}\n").as_bytes(), None)
                .expect_err(header)
                .to_string();
            assert!(error.contains(named), "{header}: {error}");
        }
    }
}
