//! Columns to rows.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, RecordBatch};
use tocsin_domain::{Condition, ContentHash, Detector, ReadingFlags, ReadingKey, Scores, SensorId, Timestamp, Verdict};

use super::{ArchiveRow, ArchivedScores};
use crate::error::Fault;

/// The rows of a batch that `keep` wants, by sensor and capture time. Columns that were not asked for are as if empty.
pub(super) fn rows(batch: &RecordBatch, keep: impl Fn(ReadingKey) -> bool) -> Result<Vec<ArchiveRow>, Fault> {
    let columns = Columns::of(batch)?;
    let (places, scores) = columns.decided.kept(keep);
    let rows = places.into_iter().zip(scores);
    rows.map(|(place, scores)| columns.row(place, scores)).collect()
}

/// The scores of the rows of a batch that `keep` wants, by sensor and capture time.
pub(super) fn scores(batch: &RecordBatch, keep: impl Fn(ReadingKey) -> bool) -> Result<Vec<ArchivedScores>, Fault> {
    let columns = ScoreColumns::of(batch)?;
    let (places, scores) = columns.kept(keep);
    let rows = places.into_iter().zip(scores);
    rows.map(|(place, scores)| columns.row(place, scores)).collect()
}

/// What says what was decided, and from which scores.
struct ScoreColumns<'a> {
    sensor: &'a PrimitiveArray<Int32Type>,
    captured_at: &'a PrimitiveArray<TimestampMicrosecondType>,
    verdict: &'a PrimitiveArray<Int16Type>,
    scores: Vec<(Detector, &'a PrimitiveArray<Float32Type>)>,
    flags: &'a PrimitiveArray<Int16Type>,
    cell: &'a PrimitiveArray<Int16Type>,
    mask: &'a PrimitiveArray<Int16Type>,
    bundle: &'a PrimitiveArray<Int32Type>,
    baseline: &'a PrimitiveArray<Int32Type>,
}

impl<'a> ScoreColumns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, Fault> {
        let scores = Detector::ALL
            .into_iter()
            .map(|detector| Ok((detector, numbers(batch, detector.as_str())?)));
        Ok(Self {
            sensor: numbers(batch, "sensor_id")?,
            captured_at: numbers(batch, "captured_at")?,
            verdict: numbers(batch, "verdict_code")?,
            scores: scores.collect::<Result<_, Fault>>()?,
            flags: numbers(batch, "flags")?,
            cell: numbers(batch, "condition_cell")?,
            mask: numbers(batch, "detector_mask")?,
            bundle: numbers(batch, "bundle_id")?,
            baseline: numbers(batch, "baseline_id")?,
        })
    }

    fn key(&self, place: usize) -> ReadingKey {
        ReadingKey {
            sensor: SensorId(self.sensor.value(place)),
            captured_at: Timestamp::from_micros(self.captured_at.value(place)),
        }
    }

    /// The places of the rows that `keep` wants, and the scores there, column by column: a replay reads millions.
    fn kept(&self, keep: impl Fn(ReadingKey) -> bool) -> (Vec<usize>, Vec<Scores>) {
        let rows = 0..self.sensor.len();
        let places: Vec<usize> = rows.filter(|place| keep(self.key(*place))).collect();
        let mut all = vec![Scores::default(); places.len()];
        for (detector, column) in &self.scores {
            if column.null_count() == column.len() {
                continue;
            }
            for (scores, place) in all.iter_mut().zip(&places) {
                if let Some(score) = value(column, *place) {
                    scores.set(*detector, score);
                }
            }
        }
        (places, all)
    }

    fn row(&self, place: usize, scores: Scores) -> Result<ArchivedScores, Fault> {
        if scores.mask().0 as i16 != self.mask.value(place) {
            return Err(Fault::new("detector_mask", "does not name the scores that are there"));
        }
        let verdict = Verdict::from_code(self.verdict.value(place));
        Ok(ArchivedScores {
            key: self.key(place),
            bundle: self.bundle.value(place),
            baseline: self.baseline.value(place),
            scores,
            flags: ReadingFlags(self.flags.value(place)),
            verdict: verdict.map_err(|invalid| Fault::new("verdict_code", invalid.reason))?,
            condition_cell: self.cell.value(place),
        })
    }
}

/// All that a row has.
struct Columns<'a> {
    decided: ScoreColumns<'a>,
    received_at: &'a PrimitiveArray<TimestampMicrosecondType>,
    rpm: &'a PrimitiveArray<Float32Type>,
    load: &'a PrimitiveArray<Float32Type>,
    threshold_set: &'a PrimitiveArray<Int32Type>,
    scorer_build: &'a PrimitiveArray<Int32Type>,
    predecessors_from: &'a PrimitiveArray<TimestampMicrosecondType>,
    predecessor_count: &'a PrimitiveArray<Int16Type>,
    commit_seq: &'a PrimitiveArray<Int64Type>,
    content_hash: &'a PrimitiveArray<Int64Type>,
    overall: Option<&'a ArrayRef>,
    latent: Option<&'a ArrayRef>,
    spectrum: Option<&'a ArrayRef>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, Fault> {
        Ok(Self {
            decided: ScoreColumns::of(batch)?,
            received_at: numbers(batch, "received_at")?,
            rpm: numbers(batch, "rpm")?,
            load: numbers(batch, "load")?,
            threshold_set: numbers(batch, "threshold_set_id")?,
            scorer_build: numbers(batch, "scorer_build_id")?,
            predecessors_from: numbers(batch, "predecessors_from")?,
            predecessor_count: numbers(batch, "predecessor_count")?,
            commit_seq: numbers(batch, "commit_seq")?,
            content_hash: numbers(batch, "content_hash")?,
            overall: batch.column_by_name("overall"),
            latent: batch.column_by_name("latent"),
            spectrum: batch.column_by_name("spectrum"),
        })
    }

    fn row(&self, place: usize, scores: Scores) -> Result<ArchiveRow, Fault> {
        let decided = self.decided.row(place, scores)?;
        let predecessors = value(self.predecessors_from, place)
            .map(|oldest| (Timestamp::from_micros(oldest), self.predecessor_count.value(place)));
        let condition = Condition::parse(value(self.rpm, place), value(self.load, place));
        Ok(ArchiveRow {
            key: decided.key,
            received_at: Timestamp::from_micros(self.received_at.value(place)),
            content_hash: ContentHash(self.content_hash.value(place)),
            commit_seq: self.commit_seq.value(place),
            threshold_set: self.threshold_set.value(place),
            bundle: decided.bundle,
            baseline: decided.baseline,
            scorer_build: self.scorer_build.value(place),
            predecessors,
            scores: decided.scores,
            condition: condition.map_err(|invalid| Fault::new("rpm", invalid.reason))?,
            flags: decided.flags,
            verdict: decided.verdict,
            condition_cell: decided.condition_cell,
            overall: self.overall.map_or_else(Vec::new, |column| levels(column, place)),
            latent: self.latent.and_then(|column| bytes(column, place)).unwrap_or_default(),
            spectrum: self.spectrum.and_then(|column| bytes(column, place)),
        })
    }
}

fn numbers<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &'static str,
) -> Result<&'a PrimitiveArray<T>, Fault> {
    let column = batch
        .column_by_name(name)
        .ok_or_else(|| Fault::new(name, "is missing"))?;
    let typed = column.as_primitive_opt::<T>();
    typed.ok_or_else(|| Fault::new(name, format!("must be {}, is {}", T::DATA_TYPE, column.data_type())))
}

fn value<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>, place: usize) -> Option<T::Native> {
    column.is_valid(place).then(|| column.value(place))
}

fn levels(column: &ArrayRef, place: usize) -> Vec<Option<f32>> {
    let Some(lists) = column.as_list_opt::<i32>().filter(|lists| lists.is_valid(place)) else {
        return Vec::new();
    };
    let values = lists.value(place);
    let values = values.as_primitive_opt::<Float32Type>();
    values.map_or_else(Vec::new, |values| values.iter().collect())
}

fn bytes(column: &ArrayRef, place: usize) -> Option<Vec<u8>> {
    let column = column.as_binary_opt::<i32>()?;
    column.is_valid(place).then(|| column.value(place).to_vec())
}
