//! Readings: one row each, the table that grows. Writing is in [`copy`] and [`insert`], reading back in [`full`],
//! [`series`], [`overall`], [`spectra`] and [`replay`], what the network adds later in [`rescore`].

use tocsin_domain::{
    BaselineId, BundleId, Condition, ContentHash, Detector, DetectorMask, Invalid, OperatingState, ReadingFlags,
    ReadingKey, ScorerBuildId, Scores, SensorId, ThresholdSetId, Timestamp, Verdict,
};

use crate::row::{Time, none_if_zero};
use crate::{Error, Result};

pub mod before;
pub mod copy;
pub mod full;
pub mod insert;
pub mod overall;
pub mod peers;
pub mod replay;
pub mod rescore;
pub mod series;
pub mod spectra;

pub use before::{Past, PastSpectrum};
pub use copy::readings_copy;
pub use full::{FullReading, FullReadingsQuery};
pub use insert::{InsertOutcome, readings_insert};
pub use overall::OverallPoint;
pub use peers::PeerSensor;
pub use replay::{LoggedScore, PresentBaselines, ReplayQuery};
pub use rescore::{DegradedReading, Rescored};
pub use series::{readings_newest_since, readings_windows};
pub use spectra::SpectrumColumn;

/// The earlier spectra a smoothing or temporal detector used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Predecessors {
    /// Capture time of the oldest.
    pub oldest: Timestamp,
    /// How many.
    pub count: i16,
}

/// A judged reading, ready to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewReading {
    /// The sensor and the capture time.
    pub key: ReadingKey,
    /// When ingest received it.
    pub received_at: Timestamp,
    /// What tells a resend from a conflict.
    pub content_hash: ContentHash,
    /// The limits it was judged by.
    pub threshold_set: Option<ThresholdSetId>,
    /// The bundle it was judged by.
    pub bundle: Option<BundleId>,
    /// The number of the baseline it was judged against.
    pub baseline: Option<BaselineId>,
    /// The build of the scorer that gave the network's score; none when the network did not judge.
    pub scorer_build: Option<ScorerBuildId>,
    /// The earlier spectra it was judged with.
    pub predecessors: Option<Predecessors>,
    /// Raw score per detector.
    pub scores: Scores,
    /// The operating condition, as far as known.
    pub condition: Condition,
    /// Clipped, degraded, historical, replay, late.
    pub flags: ReadingFlags,
    /// The decision.
    pub verdict: Verdict,
    /// What the machine was doing, as its sensor's baseline knows it.
    pub state: OperatingState,
    /// Canonical overall levels in the spec's order, none where absent; empty when the reading has none at all.
    pub overall: Vec<Option<f32>>,
    /// Little-endian half floats; empty when the network did not judge.
    pub latent: Vec<u8>,
    /// One code per bin.
    pub spectrum: Vec<u8>,
}

/// What was decided about a stored reading, and from what: everything but the spectrum and the latent.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredReading {
    /// The sensor and the capture time.
    pub key: ReadingKey,
    /// When ingest received it.
    pub received_at: Timestamp,
    /// Place in the order of commits' beginnings: rows of one batch share it.
    pub commit_seq: i64,
    /// The limits it was judged by.
    pub threshold_set: Option<ThresholdSetId>,
    /// The bundle it was judged by.
    pub bundle: Option<BundleId>,
    /// The number of the baseline it was judged against.
    pub baseline: Option<BaselineId>,
    /// Raw score per detector.
    pub scores: Scores,
    /// Clipped, degraded, historical, replay, late.
    pub flags: ReadingFlags,
    /// The decision.
    pub verdict: Verdict,
    /// What the machine was doing, as its sensor's baseline knows it.
    pub state: OperatingState,
}

/// A reading's scores, one column each.
pub(crate) type ScoreColumns = [Option<f32>; Detector::COUNT];

/// The columns of a [`StoredReading`]; the queries name them one by one.
pub(crate) struct StoredRow {
    pub(crate) sensor_id: i32,
    pub(crate) captured_at: Time,
    pub(crate) received_at: Time,
    pub(crate) commit_seq: i64,
    pub(crate) threshold_set_id: i32,
    pub(crate) bundle_id: i32,
    pub(crate) baseline_id: i32,
    pub(crate) residual: Option<f32>,
    pub(crate) overall_level: Option<f32>,
    pub(crate) isolation: Option<f32>,
    pub(crate) growth: Option<f32>,
    pub(crate) shift: Option<f32>,
    pub(crate) narrowband: Option<f32>,
    pub(crate) pca: Option<f32>,
    pub(crate) mahalanobis: Option<f32>,
    pub(crate) severity: Option<f32>,
    pub(crate) flags: i16,
    pub(crate) verdict: i16,
    pub(crate) condition_cell: i16,
    pub(crate) detector_mask: i16,
}

impl TryFrom<StoredRow> for StoredReading {
    type Error = Error;

    fn try_from(row: StoredRow) -> Result<Self> {
        let key = ReadingKey {
            sensor: SensorId(row.sensor_id),
            captured_at: row.captured_at.into(),
        };
        let columns = [
            row.residual,
            row.overall_level,
            row.isolation,
            row.growth,
            row.shift,
            row.narrowband,
            row.pca,
            row.mahalanobis,
            row.severity,
        ];
        let verdict = Verdict::from_code(row.verdict).map_err(Error::impossible("reading", "verdict", label(key)))?;
        // The condition itself is not among these columns: what a row of before says by its speed, it says by its verdict too.
        let state = OperatingState::from_row(row.condition_cell, Condition::default()).map_err(Error::impossible(
            "reading",
            "condition_cell",
            label(key),
        ))?;
        let scores =
            scores(columns, row.detector_mask).map_err(Error::impossible("reading", "detector_mask", label(key)))?;
        Ok(Self {
            key,
            received_at: row.received_at.into(),
            commit_seq: row.commit_seq,
            threshold_set: none_if_zero(row.threshold_set_id).map(ThresholdSetId),
            bundle: none_if_zero(row.bundle_id).map(BundleId),
            baseline: none_if_zero(row.baseline_id).map(BaselineId),
            scores,
            flags: ReadingFlags(row.flags),
            verdict,
            state,
        })
    }
}

/// A reading's key in an error.
pub(crate) fn label(key: ReadingKey) -> String {
    format!("({}, {})", key.sensor, key.captured_at)
}

/// Scores from their columns; the mask must name just those that are there.
pub(crate) fn scores(columns: ScoreColumns, mask: i16) -> Result<Scores, Invalid> {
    let mut scores = Scores::default();
    for (detector, score) in Detector::ALL.into_iter().zip(columns) {
        if let Some(score) = score {
            scores.set(detector, score);
        }
    }
    let found = scores.mask();
    if mask_column(found) != mask {
        return Err(Invalid::new(
            "detector_mask",
            format!("{mask:#x}, the scores present are {:#x}", found.0),
        ));
    }
    Ok(scores)
}

/// The mask as a column: fifteen detectors fit.
pub(crate) fn mask_column(mask: DetectorMask) -> i16 {
    mask.0 as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_that_contradicts_the_scores_is_impossible() {
        let columns = [Some(1.0), None, Some(0.5), None, None, None, None, None, None];
        assert_eq!(scores(columns, 0b101).unwrap().get(Detector::Isolation), Some(0.5));
        assert_eq!(scores(columns, 0b111).unwrap_err().field, "detector_mask");
    }
}
