//! Writes the corpus schema.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, ListBuilder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::{Error, Row};

/// Rows encoded at a time.
const BATCH_ROWS: usize = 1024;

/// Rows of a row group: what a reader can skip, and what is buffered (encoded) before it is written.
const ROW_GROUP_ROWS: usize = 65_536;

/// Writes rows to one zstd Parquet file. The file has its name only after [`Writer::finish`]; until then, and after a
/// crash, it is `<name>.partial`.
pub struct Writer {
    path: PathBuf,
    partial: PathBuf,
    encoder: ArrowWriter<File>,
    schema: Arc<Schema>,
    batch: Batch,
    rows: u64,
}

impl Writer {
    /// Starts a file; one of that name is replaced on [`Writer::finish`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_path_buf();
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).map_err(|source| Error::Io {
            path: partial.clone(),
            source,
        })?;
        let schema = schema();
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let encoder =
            ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(|source| Error::Parquet {
                path: path.clone(),
                source,
            })?;
        Ok(Self {
            path,
            partial,
            encoder,
            schema,
            batch: Batch::default(),
            rows: 0,
        })
    }

    /// Adds a row. One that a reader would refuse is refused here.
    pub fn write(&mut self, row: &Row) -> Result<(), Error> {
        row.check()
            .map_err(|fault| fault.in_row(self.path.clone(), self.rows))?;
        self.batch.push(row);
        self.rows += 1;
        if self.batch.rows == BATCH_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is buffered and gives the file its name. Returns the number of rows.
    pub fn finish(mut self) -> Result<u64, Error> {
        self.flush()?;
        let file = self.encoder.into_inner().map_err(|source| Error::Parquet {
            path: self.path.clone(),
            source,
        })?;
        let io = |source| Error::Io {
            path: self.path.clone(),
            source,
        };
        file.sync_all().map_err(io)?;
        std::fs::rename(&self.partial, &self.path).map_err(io)?;
        Ok(self.rows)
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.batch.rows == 0 {
            return Ok(());
        }
        let parquet = |source| Error::Parquet {
            path: self.path.clone(),
            source,
        };
        let batch = RecordBatch::try_new(self.schema.clone(), self.batch.take()).map_err(|e| parquet(e.into()))?;
        self.encoder.write(&batch).map_err(parquet)
    }
}

fn schema() -> Arc<Schema> {
    let item = Field::new("item", DataType::Float32, true);
    Arc::new(Schema::new(vec![
        Field::new("sensor", DataType::Utf8, false),
        Field::new(
            "captured_at",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            false,
        ),
        Field::new("bins", DataType::List(Arc::new(item)), false),
        Field::new("rpm", DataType::Float32, true),
        Field::new("load", DataType::Float32, true),
        Field::new("label", DataType::Utf8, true),
        Field::new("split", DataType::Utf8, true),
    ]))
}

/// Columns under construction.
#[derive(Default)]
struct Batch {
    rows: usize,
    sensor: StringBuilder,
    captured_at: TimestampMicrosecondBuilder,
    bins: ListBuilder<Float32Builder>,
    rpm: Float32Builder,
    load: Float32Builder,
    label: StringBuilder,
    split: StringBuilder,
}

impl Batch {
    fn push(&mut self, row: &Row) {
        self.rows += 1;
        self.sensor.append_value(row.sensor.to_string());
        self.captured_at.append_value(row.captured_at.as_micros());
        self.bins.values().append_slice(&row.bins);
        self.bins.append(true);
        self.rpm.append_option(row.rpm);
        self.load.append_option(row.load);
        self.label.append_option(row.label.as_deref());
        self.split.append_option(row.split.as_deref());
    }

    fn take(&mut self) -> Vec<ArrayRef> {
        self.rows = 0;
        vec![
            Arc::new(self.sensor.finish()),
            Arc::new(self.captured_at.finish().with_timezone("UTC")),
            Arc::new(self.bins.finish()),
            Arc::new(self.rpm.finish()),
            Arc::new(self.load.finish()),
            Arc::new(self.label.finish()),
            Arc::new(self.split.finish()),
        ]
    }
}
