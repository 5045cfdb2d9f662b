//! The archive's files: what was judged, with the spectra that are kept of it, as Parquet that any tool reads.
//!
//! A file holds one site's readings of one day, by sensor and capture time. Its columns say site, machine, sensor and class
//! by name; scores are a column each, verdicts are words beside their codes. What each sensor's bins mean (axis, unit, full
//! scale) stands in the file's metadata under `tocsin.specs`, by `spec_id`, and how codes become amplitudes under
//! `tocsin.codec`; a column's own unit or layout stands in the field's metadata.
//!
//! Rows go in and come out as [`ArchiveRow`]s, in batches: neither side holds more than a row group.
//!
//! **Invariant:** a row that was read has the very bits of the row that was written; [`Digest`] holds both to it.

mod decode;
mod encode;
mod object;
mod read;
mod schema;
mod write;

use sha2::{Digest as _, Sha256};
use tocsin_domain::{Condition, ContentHash, ReadingFlags, ReadingKey, Scores, Slug, Timestamp, Verdict};

pub use read::{ArchiveReader, Columns, Wanted};
pub use write::{ArchiveWriter, Written};

/// One archived reading.
#[derive(Debug, Clone, PartialEq)]
pub struct ArchiveRow {
    /// The sensor and the capture time.
    pub key: ReadingKey,
    /// When ingest received it.
    pub received_at: Timestamp,
    /// What tells a resend from a conflict.
    pub content_hash: ContentHash,
    /// Place in the order of commits' beginnings.
    pub commit_seq: i64,
    /// Number of the limits it was judged by, 0 for none.
    pub threshold_set: i32,
    /// Number of the bundle it was judged by, 0 for none.
    pub bundle: i32,
    /// Number of the baseline it was judged against, 0 for none.
    pub baseline: i32,
    /// Number of the scorer's build that gave the network's score, 0 for none.
    pub scorer_build: i32,
    /// Capture time of the oldest earlier spectrum it was judged with, and how many there were.
    pub predecessors: Option<(Timestamp, i16)>,
    /// Raw score per detector.
    pub scores: Scores,
    /// The operating condition, as far as known.
    pub condition: Condition,
    /// Clipped, degraded, historical, replay.
    pub flags: ReadingFlags,
    /// The decision.
    pub verdict: Verdict,
    /// What the machine was doing, as a code.
    pub condition_cell: i16,
    /// Canonical overall levels in the spec's order; empty when the reading has none at all.
    pub overall: Vec<Option<f32>>,
    /// Little-endian half floats; empty when the network did not judge.
    pub latent: Vec<u8>,
    /// One code per bin; none where it was thinned away.
    pub spectrum: Option<Vec<u8>>,
}

/// What a replay takes of an archived reading.
#[derive(Debug, Clone, PartialEq)]
pub struct ArchivedScores {
    /// The sensor and the capture time.
    pub key: ReadingKey,
    /// Number of the bundle it was judged by, 0 for none.
    pub bundle: i32,
    /// Number of the baseline it was judged against, 0 for none.
    pub baseline: i32,
    /// Raw score per detector.
    pub scores: Scores,
    /// Clipped, degraded, historical, replay.
    pub flags: ReadingFlags,
    /// The decision.
    pub verdict: Verdict,
    /// What the machine was doing, as a code.
    pub condition_cell: i16,
}

/// What a file says of a sensor by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SensorNames {
    /// The site.
    pub site: Slug,
    /// The machine.
    pub machine: Slug,
    /// The sensor.
    pub sensor: Slug,
    /// The machine's class.
    pub class: Slug,
    /// The number of its spec, under which the file's metadata has it.
    pub spec_id: i32,
}

/// SHA-256 over rows, in their order: the same for what was written and for what is read.
#[derive(Debug, Clone, Default)]
pub struct Digest(Sha256);

impl Digest {
    /// Takes a row, every bit of it.
    pub fn take(&mut self, row: &ArchiveRow) {
        let hash = &mut self.0;
        hash.update(row.key.sensor.0.to_le_bytes());
        for time in [row.key.captured_at, row.received_at] {
            hash.update(time.as_micros().to_le_bytes());
        }
        for number in [row.content_hash.0, row.commit_seq] {
            hash.update(number.to_le_bytes());
        }
        for number in [row.threshold_set, row.bundle, row.baseline, row.scorer_build] {
            hash.update(number.to_le_bytes());
        }
        let (oldest, count) = row
            .predecessors
            .map_or((i64::MIN, 0), |(at, count)| (at.as_micros(), count));
        hash.update(oldest.to_le_bytes());
        for number in [count, row.flags.0, row.verdict.to_code(), row.condition_cell] {
            hash.update(number.to_le_bytes());
        }
        hash.update(row.scores.mask().0.to_le_bytes());
        for (_, score) in row.scores.iter() {
            hash.update(score.to_le_bytes());
        }
        for value in [row.condition.rpm, row.condition.load].iter().chain(&row.overall) {
            hash.update([u8::from(value.is_some())]);
            hash.update(value.unwrap_or_default().to_le_bytes());
        }
        for bytes in [Some(&row.latent), row.spectrum.as_ref()] {
            hash.update(bytes.map_or(-1, |bytes| bytes.len() as i64).to_le_bytes());
            hash.update(bytes.map_or(&[][..], Vec::as_slice));
        }
    }

    /// The digest.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests;
