//! Reads one file from object storage: only the row groups and columns that are asked for.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::RecordBatch;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use tocsin_domain::{Detector, ReadingKey, SensorId, Timestamp};
use tokio_stream::StreamExt;

use super::object::Object;
use super::{ArchiveRow, ArchivedScores, decode};
use crate::Error;

/// Columns that are only read when asked for.
const NAMES: [&str; 5] = ["site", "machine", "sensor", "class", "spec_id"];
const WORDS: [&str; 2] = ["verdict", "decided_by"];
const BODIES: [&str; 2] = ["latent", "spectrum"];
const OVERALL: &str = "overall";
/// What a replay needs beside the scores.
const OF_SCORES: [&str; 8] = [
    "sensor_id",
    "captured_at",
    "verdict_code",
    "flags",
    "condition_cell",
    "detector_mask",
    "bundle_id",
    "baseline_id",
];

/// Rows decoded at a time.
const BATCH_ROWS: usize = 4_096;

/// How much of each row is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// The scores, and what says how they are judged: for [`ArchiveReader::next_scores`] alone.
    Scores,
    /// What was decided and from what: no overall levels, latent and spectrum.
    Decisions,
    /// The overall levels too.
    Levels,
    /// All.
    All,
}

/// Which rows are wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of these sensors, in the order of their numbers; none for all.
    pub sensors: Option<Vec<SensorId>>,
    /// Captured at or after this.
    pub from: Timestamp,
    /// Captured before this.
    pub to: Timestamp,
    /// With these columns.
    pub columns: Columns,
}

impl Wanted {
    /// Everything.
    pub fn all() -> Self {
        Self {
            sensors: None,
            from: Timestamp::MIN,
            to: Timestamp::MAX,
            columns: Columns::All,
        }
    }

    fn takes(&self, key: ReadingKey) -> bool {
        let sensor = |sensors: &Vec<SensorId>| sensors.binary_search(&key.sensor).is_ok();
        key.captured_at >= self.from && key.captured_at < self.to && self.sensors.as_ref().is_none_or(sensor)
    }

    /// Whether a row group can hold any of it, by its statistics; one without them can.
    fn may_take(&self, group: &RowGroupMetaData) -> bool {
        let of = |name: &str| {
            let column = group
                .columns()
                .iter()
                .find(|column| column.column_descr().name() == name);
            column.and_then(|column| column.statistics())
        };
        let times = match of("captured_at") {
            Some(Statistics::Int64(times)) => times.min_opt().zip(times.max_opt()),
            _ => None,
        };
        let numbers = match of("sensor_id") {
            Some(Statistics::Int32(numbers)) => numbers.min_opt().zip(numbers.max_opt()),
            _ => None,
        };
        let in_time = times.is_none_or(|(min, max)| *max >= self.from.as_micros() && *min < self.to.as_micros());
        let of_sensors = match (numbers, &self.sensors) {
            (Some((min, max)), Some(sensors)) => sensors.iter().any(|sensor| (*min..=*max).contains(&sensor.0)),
            _ => true,
        };
        in_time && of_sensors
    }

    fn reads(&self, column: &str) -> bool {
        let body = BODIES.contains(&column);
        match self.columns {
            Columns::Scores => {
                OF_SCORES.contains(&column) || Detector::ALL.iter().any(|detector| detector.as_str() == column)
            }
            _ if NAMES.contains(&column) || WORDS.contains(&column) => false,
            Columns::All => true,
            Columns::Levels => !body,
            Columns::Decisions => !body && column != OVERALL,
        }
    }
}

/// Streams a file's rows, by sensor and capture time.
pub struct ArchiveReader {
    path: PathBuf,
    wanted: Wanted,
    batches: ParquetRecordBatchStream<Object>,
    groups: usize,
}

impl ArchiveReader {
    /// Opens a file of `bytes` bytes, and reads its end.
    ///
    /// # Errors
    /// If it isn't there, or is damaged.
    pub async fn open(store: Arc<dyn ObjectStore>, path: Path, bytes: u64, wanted: Wanted) -> Result<Self, Error> {
        let at = PathBuf::from(path.as_ref());
        let failed = |source| Error::Parquet {
            path: at.clone(),
            source,
        };
        let reader = Object { store, path, bytes };
        let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(failed)?;
        let groups = builder.metadata().row_groups().iter().enumerate();
        let groups: Vec<usize> = groups
            .filter(|(_, group)| wanted.may_take(group))
            .map(|(place, _)| place)
            .collect();
        let count = groups.len();
        let roots = builder.parquet_schema().root_schema().get_fields().iter().enumerate();
        let roots: Vec<usize> = roots
            .filter(|(_, field)| wanted.reads(field.name()))
            .map(|(place, _)| place)
            .collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let batches = builder
            .with_row_groups(groups)
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(failed)?;
        Ok(Self {
            path: at,
            wanted,
            batches,
            groups: count,
        })
    }

    /// How many row groups are read: the others can't hold what is wanted.
    pub fn row_groups(&self) -> usize {
        self.groups
    }

    /// The next rows; none at the end. May be empty before it.
    ///
    /// # Errors
    /// If the file is damaged or the object storage fails.
    pub async fn next(&mut self) -> Result<Option<Vec<ArchiveRow>>, Error> {
        let Some(batch) = self.batch().await? else {
            return Ok(None);
        };
        let rows = decode::rows(&batch, |key| self.wanted.takes(key));
        rows.map(Some).map_err(|fault| fault.in_file(self.path.clone()))
    }

    /// The next rows' scores, whatever columns were asked for; none at the end. May be empty before it.
    ///
    /// # Errors
    /// If the file is damaged or the object storage fails.
    pub async fn next_scores(&mut self) -> Result<Option<Vec<ArchivedScores>>, Error> {
        let Some(batch) = self.batch().await? else {
            return Ok(None);
        };
        let rows = decode::scores(&batch, |key| self.wanted.takes(key));
        rows.map(Some).map_err(|fault| fault.in_file(self.path.clone()))
    }

    async fn batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        let batch = self.batches.next().await.transpose();
        batch.map_err(|source: ParquetError| Error::Parquet {
            path: self.path.clone(),
            source,
        })
    }
}
