//! Healthy scores of readings the bundle was not trained on: what alarm limits are set from before a class has a
//! history of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tocsin_domain::{Detector, Scores, Timestamp};

use crate::archive::HELD_OUT_FILE;
use crate::error::BundleError;

/// Scores of one held-out reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeldOutRow {
    /// Place of its sensor in [`HeldOut::sensors`].
    pub sensor: u32,
    /// When it was taken.
    pub captured_at: Timestamp,
    /// What each detector said.
    pub scores: Scores,
}

/// Scores of healthy held-out readings, in time order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeldOut {
    /// `site/machine/sensor` of each sensor.
    pub sensors: Vec<String>,
    /// The readings, oldest first.
    pub rows: Vec<HeldOutRow>,
}

/// Columns are named, so that a detector that comes or goes leaves old files readable.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    detectors: Vec<String>,
    sensors: Vec<String>,
    /// Sensor, microseconds since the epoch, and a score or null per detector.
    rows: Vec<(u32, i64, Vec<Option<f32>>)>,
}

impl HeldOut {
    /// The most rows kept.
    pub const MAX_ROWS: usize = 50_000;
    /// The form this program writes.
    const FORMAT: u32 = 1;

    /// Puts rows into time order (then by sensor). Of more than [`Self::MAX_ROWS`] it keeps that many, evenly spread
    /// over the whole.
    pub fn new(sensors: Vec<String>, mut rows: Vec<HeldOutRow>) -> Self {
        rows.sort_by_key(|row| (row.captured_at, row.sensor));
        if rows.len() > Self::MAX_ROWS {
            let all = rows.len();
            rows = (0..Self::MAX_ROWS).map(|i| rows[i * all / Self::MAX_ROWS]).collect();
        }
        Self { sensors, rows }
    }

    /// Reads stored scores; detectors this version doesn't know are left out.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BundleError> {
        let bad = |reason: String| BundleError::file(HELD_OUT_FILE, reason);
        let stored: Stored = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        if stored.format != Self::FORMAT {
            return Err(bad(format!(
                "format: {} is not a form this version reads ({})",
                stored.format,
                Self::FORMAT
            )));
        }
        if stored.rows.len() > Self::MAX_ROWS {
            return Err(bad(format!(
                "rows: {}, the most is {}",
                stored.rows.len(),
                Self::MAX_ROWS
            )));
        }
        let columns: Vec<Option<Detector>> = stored.detectors.iter().map(|name| name.parse().ok()).collect();
        let mut rows = Vec::with_capacity(stored.rows.len());
        for (index, (sensor, micros, values)) in stored.rows.into_iter().enumerate() {
            if sensor as usize >= stored.sensors.len() {
                return Err(bad(format!(
                    "rows[{index}]: sensor {sensor} of {}",
                    stored.sensors.len()
                )));
            }
            if values.len() != columns.len() {
                return Err(bad(format!(
                    "rows[{index}]: {} scores of {} detectors",
                    values.len(),
                    columns.len()
                )));
            }
            let mut scores = Scores::default();
            for (detector, value) in columns.iter().zip(values) {
                if let (Some(detector), Some(value)) = (detector, value) {
                    scores.set(*detector, value);
                }
            }
            rows.push(HeldOutRow {
                sensor,
                captured_at: Timestamp::from_micros(micros),
                scores,
            });
        }
        Ok(Self::new(stored.sensors, rows))
    }

    /// The scores as compact JSON, about 70 bytes a row.
    pub fn to_json(&self) -> Vec<u8> {
        let stored = Stored {
            format: Self::FORMAT,
            detectors: of_bundle().map(|detector| detector.to_string()).collect(),
            sensors: self.sensors.clone(),
            rows: self
                .rows
                .iter()
                .map(|row| {
                    let scores = of_bundle().map(|detector| row.scores.get(detector)).collect();
                    (row.sensor, row.captured_at.as_micros(), scores)
                })
                .collect(),
        };
        serde_json::to_vec(&stored).expect("scores are finite, and the rest is strings and integers")
    }

    /// Scores of one detector, in time order.
    pub fn of(&self, detector: Detector) -> Vec<f32> {
        self.rows.iter().filter_map(|row| row.scores.get(detector)).collect()
    }

    /// Rows of each sensor, in time order.
    pub fn by_sensor(&self) -> BTreeMap<&str, Vec<&HeldOutRow>> {
        let mut by_sensor: BTreeMap<&str, Vec<&HeldOutRow>> = BTreeMap::new();
        for row in &self.rows {
            by_sensor
                .entry(&self.sensors[row.sensor as usize])
                .or_default()
                .push(row);
        }
        by_sensor
    }
}

/// The detectors that a held-out row can have scores of: severity comes from a class's zones, never from a spectrum.
fn of_bundle() -> impl Iterator<Item = Detector> {
    Detector::ALL
        .into_iter()
        .filter(|detector| *detector != Detector::Severity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sensor: u32, second: i64, score: f32) -> HeldOutRow {
        let mut scores = Scores::default();
        scores.set(Detector::Isolation, score);
        HeldOutRow {
            sensor,
            captured_at: Timestamp::from_micros(second * 1_000_000),
            scores,
        }
    }

    #[test]
    fn scores_survive_storage_bit_for_bit_and_absent_ones_stay_absent() {
        let rows = (0..200)
            .map(|at| row(at % 2, i64::from(at), 1.0 / (at as f32 + 3.0)))
            .collect();
        let held_out = HeldOut::new(vec!["a/b/c".to_owned(), "a/b/d".to_owned()], rows);
        let json = held_out.to_json();
        assert_eq!(HeldOut::from_json(&json).unwrap(), held_out);
        assert!(json.len() < 200 * 80, "{} bytes", json.len());
        assert_eq!(held_out.rows[0].scores.get(Detector::Residual), None);
    }

    #[test]
    fn rows_come_in_time_order_and_too_many_are_thinned_evenly() {
        let rows = (0..3 * HeldOut::MAX_ROWS as i64)
            .rev()
            .map(|second| row(0, second, 0.5))
            .collect();
        let held_out = HeldOut::new(vec!["a/b/c".to_owned()], rows);
        assert_eq!(held_out.rows.len(), HeldOut::MAX_ROWS);
        let seconds: Vec<i64> = held_out
            .rows
            .iter()
            .take(3)
            .map(|row| row.captured_at.as_micros() / 1_000_000)
            .collect();
        assert_eq!(seconds, [0, 3, 6]);
    }

    #[test]
    fn a_detector_of_another_time_is_left_out_and_a_wrong_row_named() {
        let json = r#"{"format":1,"detectors":["isolation","oracle"],"sensors":["a/b/c"],"rows":[[0,5,[0.5,9.0]]]}"#;
        let held_out = HeldOut::from_json(json.as_bytes()).unwrap();
        assert_eq!(held_out.of(Detector::Isolation), [0.5]);
        assert_eq!(held_out.by_sensor()["a/b/c"].len(), 1);
        for (from, to, words) in [
            ("[[0,5", "[[1,5", "rows[0]: sensor 1 of 1"),
            ("[0.5,9.0]", "[0.5]", "rows[0]: 1 scores of 2"),
            ("\"format\":1", "\"format\":9", "format: 9"),
        ] {
            let error = HeldOut::from_json(json.replace(from, to).as_bytes())
                .unwrap_err()
                .to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
