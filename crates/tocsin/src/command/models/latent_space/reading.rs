//! A reading of a corpus as an argument: by its row, or by its sensor and time.

use anyhow::{Context, Result, anyhow, bail};
use tocsin_corpus::{Row, SensorName};
use tocsin_domain::Timestamp;

/// Finds the reading that `text` names; `flag` is what it was given as.
pub(super) fn find<'a>(rows: &'a [Row], flag: &str, text: &str) -> Result<&'a Row> {
    let Some((sensor, time)) = text.split_once('@') else {
        let number: usize = text
            .parse()
            .with_context(|| format!("{flag}: {text:?} is neither the number of a row nor sensor@time"))?;
        let found = number.checked_sub(1).and_then(|at| rows.get(at));
        return found.ok_or_else(|| anyhow!("{flag}: row {number}: there are rows 1 to {}", rows.len()));
    };
    let sensor = SensorName::parse(sensor).with_context(|| flag.to_owned())?;
    let at = Timestamp::parse(flag, time)?;
    let of_sensor = || rows.iter().filter(|row| row.sensor == sensor);
    if let Some(found) = of_sensor().find(|row| row.captured_at == at) {
        return Ok(found);
    }
    let apart = |row: &&Row| row.captured_at.as_micros().abs_diff(at.as_micros());
    match of_sensor().min_by_key(apart) {
        Some(nearest) => bail!(
            "{flag}: {sensor} has no reading at {at}; the nearest is at {}",
            nearest.captured_at
        ),
        None => bail!("{flag}: the corpora hold no reading of {sensor}"),
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

    #[test]
    fn a_reading_is_found_by_row_and_by_sensor_and_time() {
        let rows = rows();
        assert_eq!(find(&rows, "--from", "2").unwrap(), &rows[1]);
        assert_eq!(find(&rows, "--from", "a/b/c@1970-01-01T00:00:10Z").unwrap(), &rows[0]);
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
