//! A reading of a corpus as an argument: by its row, or by its sensor and time.

use anyhow::{Context, Result, bail};
use tocsin_corpus::{Row, SensorName};
use tocsin_domain::Timestamp;

/// The search for the reading that an argument names, among rows that come by one after the other.
#[derive(Debug)]
pub(super) struct Search<'a> {
    /// What the reading was given as.
    flag: &'a str,
    wanted: Wanted,
    /// Rows that came by.
    rows: usize,
    found: Option<Row>,
    /// Of the sensor's readings the time that is nearest to the one wanted.
    nearest: Option<Timestamp>,
}

/// What names a reading.
#[derive(Debug)]
enum Wanted {
    /// Its row, from 1.
    Row(usize),
    /// Its sensor and time.
    At(SensorName, Timestamp),
}

impl<'a> Search<'a> {
    /// Begins one for what `text` names; `flag` is what it was given as.
    pub(super) fn of(flag: &'a str, text: &str) -> Result<Self> {
        let wanted = match text.split_once('@') {
            Some((sensor, time)) => Wanted::At(
                SensorName::parse(sensor).with_context(|| flag.to_owned())?,
                Timestamp::parse(flag, time)?,
            ),
            None => Wanted::Row(
                text.parse()
                    .with_context(|| format!("{flag}: {text:?} is neither the number of a row nor sensor@time"))?,
            ),
        };
        Ok(Self {
            flag,
            wanted,
            rows: 0,
            found: None,
            nearest: None,
        })
    }

    /// Looks at the next row.
    pub(super) fn look(&mut self, row: &Row) {
        self.rows += 1;
        let is_wanted = match &self.wanted {
            Wanted::Row(number) => *number == self.rows,
            Wanted::At(sensor, at) if row.sensor == *sensor => {
                let apart = |time: Timestamp| time.as_micros().abs_diff(at.as_micros());
                if self
                    .nearest
                    .is_none_or(|nearest| apart(row.captured_at) < apart(nearest))
                {
                    self.nearest = Some(row.captured_at);
                }
                row.captured_at == *at
            }
            Wanted::At(..) => false,
        };
        if is_wanted && self.found.is_none() {
            self.found = Some(row.clone());
        }
    }

    /// The reading, once all rows came by.
    ///
    /// # Errors
    /// If it was not among them: the error says what was.
    pub(super) fn finish(self) -> Result<Row> {
        let flag = self.flag;
        if let Some(found) = self.found {
            return Ok(found);
        }
        match (self.wanted, self.nearest) {
            (Wanted::Row(number), _) => bail!("{flag}: row {number}: there are rows 1 to {}", self.rows),
            (Wanted::At(sensor, at), Some(nearest)) => {
                bail!("{flag}: {sensor} has no reading at {at}; the nearest is at {nearest}")
            }
            (Wanted::At(sensor, _), None) => bail!("{flag}: the corpora hold no reading of {sensor}"),
        }
    }
}

/// Whether nobody says of a row that it is faulty.
pub(super) fn may_be_healthy(row: &Row) -> bool {
    row.label.as_deref().is_none_or(|label| label == "healthy")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |second: i64| Row {
            sensor: SensorName::parse("a/b/c").unwrap(),
            captured_at: Timestamp::from_micros(second * 1_000_000),
            bins: vec![0.1; 32],
            rpm: None,
            load: None,
            label: (second == 20).then(|| "imbalance".to_owned()),
            split: None,
        };
        vec![row(10), row(20)]
    }

    fn find(rows: &[Row], flag: &str, text: &str) -> Result<Row> {
        let mut search = Search::of(flag, text)?;
        for row in rows {
            search.look(row);
        }
        search.finish()
    }

    #[test]
    fn a_reading_is_found_by_row_and_by_sensor_and_time() {
        let rows = rows();
        assert_eq!(find(&rows, "--from", "2").unwrap(), rows[1]);
        assert_eq!(find(&rows, "--from", "a/b/c@1970-01-01T00:00:10Z").unwrap(), rows[0]);
        assert!(may_be_healthy(&rows[0]) && !may_be_healthy(&rows[1]));
    }

    #[test]
    fn one_that_is_not_there_is_told_with_what_is() {
        let rows = rows();
        for (text, words) in [
            ("0", "--from: row 0: there are rows 1 to 2"),
            ("3", "--from: row 3: there are rows 1 to 2"),
            ("first", "neither the number of a row nor sensor@time"),
            ("a/b/c@1970-01-01T00:00:12Z", "the nearest is at 1970-01-01T00:00:10Z"),
            ("a/b/x@1970-01-01T00:00:10Z", "no reading of a/b/x"),
            ("a/b@1970-01-01T00:00:10Z", "site/machine/sensor"),
            ("a/b/c@noon", "--from"),
        ] {
            let error = format!("{:#}", find(&rows, "--from", text).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
    }
}
