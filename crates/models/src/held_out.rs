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
            detectors: Detector::ALL.iter().map(ToString::to_string).collect(),
            sensors: self.sensors.clone(),
            rows: self
                .rows
                .iter()
                .map(|row| {
                    let scores = Detector::ALL.iter().map(|detector| row.scores.get(*detector)).collect();
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
