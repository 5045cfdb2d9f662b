//! Writes one file into object storage, in pieces: nothing is there under its name before it is whole.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::AsyncArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use tocsin_domain::{Detector, SpectrumSpec};

use super::{ArchiveRow, Digest, SensorNames, encode, schema};
use crate::Error;

/// Rows of a row group: what a reader skips by the statistics of sensor and time, and what is buffered.
const ROW_GROUP_ROWS: usize = 16_384;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Rows in the file.
    pub rows: u64,
    /// Rows with a spectrum.
    pub spectra: u64,
    /// Size of the file.
    pub bytes: u64,
    /// SHA-256 over its rows.
    pub digest: [u8; 32],
}

/// Writes rows, which come by sensor and capture time, to one zstd Parquet file.
pub struct ArchiveWriter {
    store: Arc<dyn ObjectStore>,
    path: Path,
    encoder: AsyncArrowWriter<BufWriter>,
    digest: Digest,
    rows: u64,
    spectra: u64,
}

impl ArchiveWriter {
    /// Starts a file; one of that name is replaced on [`ArchiveWriter::finish`]. `specs` are those of its sensors, by number.
    ///
    /// # Errors
    /// If the specs can't be written as JSON.
    pub fn create(store: Arc<dyn ObjectStore>, path: Path, specs: &BTreeMap<i32, SpectrumSpec>) -> Result<Self, Error> {
        let failed = |source| Error::Parquet {
            path: PathBuf::from(path.as_ref()),
            source,
        };
        let specs = specs_json(specs).map_err(|error| failed(ParquetError::External(Box::new(error))))?;
        let writer = BufWriter::new(store.clone(), path.clone());
        let encoder = AsyncArrowWriter::try_new(writer, schema::schema(), Some(properties(specs))).map_err(failed)?;
        Ok(Self {
            store,
            path,
            encoder,
            digest: Digest::default(),
            rows: 0,
            spectra: 0,
        })
    }

    /// Adds rows of one sensor.
    ///
    /// # Errors
    /// If they can't be encoded, or the object storage fails.
    pub async fn write(&mut self, names: &SensorNames, rows: &[ArchiveRow]) -> Result<(), Error> {
        for row in rows {
            self.digest.take(row);
            self.spectra += u64::from(row.spectrum.is_some());
        }
        self.rows += rows.len() as u64;
        let batch = encode::batch(names, rows).map_err(|error| self.failed(error.into()))?;
        let written = self.encoder.write(&batch).await;
        written.map_err(|error| self.failed(error))
    }

    /// Writes what is buffered and gives the file its name.
    ///
    /// # Errors
    /// If the object storage fails.
    pub async fn finish(mut self) -> Result<Written, Error> {
        let finished = self.encoder.finish().await;
        finished.map_err(|error| self.failed(error))?;
        let stored = self.store.head(&self.path).await;
        let meta = stored.map_err(|error| self.failed(ParquetError::External(Box::new(error))))?;
        Ok(Written {
            rows: self.rows,
            spectra: self.spectra,
            bytes: meta.size,
            digest: self.digest.finish(),
        })
    }

    fn failed(&self, source: ParquetError) -> Error {
        Error::Parquet {
            path: PathBuf::from(self.path.as_ref()),
            source,
        }
    }
}

/// Each spec with the canonical unit and full scale of its codes beside it.
fn specs_json(specs: &BTreeMap<i32, SpectrumSpec>) -> Result<String, serde_json::Error> {
    let mut by_id = serde_json::Map::new();
    for (id, spec) in specs {
        let told = serde_json::json!({
            "spec": spec,
            "canonical_unit": spec.canonical_unit(),
            "canonical_full_scale": spec.canonical_full_scale(),
            "axis_unit": spec.axis.unit(),
        });
        by_id.insert(id.to_string(), told);
    }
    serde_json::to_string(&by_id)
}

fn properties(specs: String) -> WriterProperties {
    let metadata = vec![
        KeyValue::new("tocsin.specs".to_owned(), specs),
        KeyValue::new("tocsin.codec".to_owned(), schema::CODEC.to_owned()),
    ];
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_key_value_metadata(Some(metadata));
    // Nearly all values differ, and a dictionary of them would only cost.
    for column in ["captured_at", "received_at", "commit_seq", "predecessors_from"] {
        let column = ColumnPath::from(column);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    let scores = Detector::ALL.into_iter().map(Detector::as_str);
    for column in ["content_hash", "latent", "spectrum"].into_iter().chain(scores) {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), false);
    }
    properties.build()
}
