//! Faults planted among rows taken for healthy: what a maintenance log that forgot a failure does to a training set.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use serde::Serialize;
use tocsin_corpus::Row;
use tocsin_domain::Timestamp;
use tocsin_trainer::{Suspect, Suspects};

/// Splits that faults are planted in.
const HEALTHY: [&str; 2] = ["train", "cal"];

/// Splits whose rows are faulty.
const FAULTY: [&str; 2] = ["end", "test_fault"];

/// A corpus parted into what it was without some faulty rows, and these, passed off as healthy.
#[derive(Debug)]
pub(super) struct Planted {
    pub(super) clean: Vec<Row>,
    /// Faulty rows of the splits `train` and `cal`, each right after one that truly is of it, as if its sensor had read it.
    pub(super) faults: Vec<Row>,
}

/// What a training told of the faults planted among its rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Told {
    network: String,
    seed: u64,
    /// Faults among the rows to train on.
    planted: usize,
    /// Rows told as suspicious.
    suspects: usize,
    /// Those that were planted, of these as far as they are listed.
    planted_suspects: usize,
}

impl Planted {
    /// Takes faulty rows, evenly over all there are and from another start by `seed`, so that they are `share` of the rows
    /// to train on and of those to set limits by: a log that forgot a failure tells neither.
    pub(super) fn among(rows: &[Row], share: f64, seed: u64) -> Result<Self> {
        if !(share > 0.0 && share < 0.5) {
            bail!("--contaminate: {share} is not above 0 and below 0.5");
        }
        let of = |wanted: &[&str]| -> Vec<usize> {
            let fits = |row: &Row| row.split.as_deref().is_some_and(|split| wanted.contains(&split));
            (0..rows.len()).filter(|at| fits(&rows[*at])).collect()
        };
        let (healthy, faulty) = (of(&HEALTHY), of(&FAULTY));
        let count = (healthy.len() as f64 * share / (1.0 - share)).round() as usize;
        if count == 0 || 2 * count > faulty.len() {
            bail!(
                "--contaminate: {share} of {} rows takes {count} faulty rows, and half of the {} there are must be left to test",
                healthy.len(),
                faulty.len()
            );
        }
        let taken: Vec<usize> = (0..count)
            .map(|at| faulty[(at * faulty.len() / count + seed as usize) % faulty.len()])
            .collect();
        let faults = taken.iter().enumerate().map(|(at, place)| {
            let host = &rows[healthy[at * healthy.len() / count]];
            Row {
                sensor: host.sensor.clone(),
                captured_at: Timestamp::from_micros(host.captured_at.as_micros() + 1),
                split: host.split.clone(),
                ..rows[*place].clone()
            }
        });
        let faults = faults.collect();
        let taken: BTreeSet<usize> = taken.into_iter().collect();
        let rest = rows.iter().enumerate().filter(|(at, _)| !taken.contains(at));
        Ok(Self {
            clean: rest.map(|(_, row)| row.clone()).collect(),
            faults,
        })
    }

    /// What a training told of them.
    pub(super) fn told(&self, network: String, seed: u64, suspects: &Suspects) -> Told {
        let taught = self.faults.iter().filter(|row| row.split.as_deref() == Some("train"));
        let keys: BTreeSet<(String, Timestamp)> = taught.map(|row| (row.sensor.to_string(), row.captured_at)).collect();
        let known = |suspect: &Suspect| keys.contains(&(suspect.sensor.clone(), suspect.captured_at));
        let told = suspects.listed.iter().filter(|suspect| suspect.stands_out());
        let planted = told.filter(|suspect| known(suspect));
        Told {
            network,
            seed,
            planted: keys.len(),
            suspects: suspects.in_all,
            planted_suspects: planted.count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tocsin_corpus::SensorName;

    use super::*;

    fn rows() -> Vec<Row> {
        let row = |at: i64| Row {
            sensor: SensorName::parse(if at < 95 { "a/b/c" } else { "a/z/c" }).unwrap(),
            captured_at: Timestamp::from_micros(at * 1_000_000),
            bins: vec![at as f32; 32],
            rpm: None,
            load: None,
            label: None,
            split: Some(["train", "cal", "end"][usize::from(at >= 76) + usize::from(at >= 95)].to_owned()),
        };
        (0..115).map(row).collect()
    }

    #[test]
    fn faults_stand_among_healthy_rows_and_test_nothing() {
        let planted = Planted::among(&rows(), 0.05, 3).unwrap();
        assert_eq!((planted.faults.len(), planted.clean.len()), (5, 110));
        for fault in &planted.faults {
            assert!(fault.bins[0] >= 95.0 && fault.sensor.to_string() == "a/b/c");
            assert!(planted.clean.iter().all(|row| row.bins != fault.bins));
        }
        let of_limits = planted.faults.iter().filter(|row| row.split.as_deref() == Some("cal"));
        assert_eq!(of_limits.count(), 1);
        let suspect = |row: &Row| Suspect {
            sensor: row.sensor.to_string(),
            captured_at: row.captured_at,
            error: 1.0,
            spreads: 5.0,
            left_out: false,
        };
        let suspects = Suspects {
            in_all: 2,
            listed: vec![suspect(&planted.faults[0]), suspect(&planted.clean[0])],
        };
        let told = planted.told("n".to_owned(), 3, &suspects);
        assert_eq!((told.planted, told.suspects, told.planted_suspects), (4, 2, 1));
    }

    #[test]
    fn more_faults_than_can_be_spared_are_refused() {
        let error = Planted::among(&rows(), 0.2, 0).unwrap_err().to_string();
        assert!(
            error.starts_with("--contaminate: 0.2 of 95 rows takes 24 faulty rows"),
            "{error}"
        );
        assert!(Planted::among(&rows(), 0.7, 0).is_err());
    }
}
