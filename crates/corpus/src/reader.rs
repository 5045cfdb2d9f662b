//! Rows of one file, batch by batch.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::columns::{Columns, NAMES, Text};
use crate::error::Fault;
use crate::{Error, Filter, Row, SensorName};

/// Rows in memory at a time.
const BATCH_ROWS: usize = 1024;

/// Names looked at at a time, where nothing else of a row is read.
const NAME_ROWS: usize = 65_536;

/// Streams the rows of one file in file order. Memory is bounded by one row group's column pages and 1,024 rows. The
/// iterator ends after its first error.
pub struct Reader {
    path: PathBuf,
    batches: ParquetRecordBatchReader,
    filter: Filter,
    rows: std::vec::IntoIter<Row>,
    /// The error that follows the rows of the current batch.
    failed: Option<Error>,
    ended: bool,
    rows_total: u64,
    rows_read: u64,
    bins: HashMap<SensorName, usize>,
}

impl Reader {
    /// Opens a file and checks that it has the columns, of the right types.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::with_filter(path, Filter::default())
    }

    /// Opens a file for the rows that pass `filter`. Rows that don't are skipped before their amplitudes are looked at.
    pub fn with_filter(path: impl AsRef<Path>, filter: Filter) -> Result<Self, Error> {
        let path = path.as_ref().to_path_buf();
        let file = File::open(&path).map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })?;
        let parquet = |source| Error::Parquet {
            path: path.clone(),
            source,
        };
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(parquet)?;
        // An empty batch of the file's schema has every column: a wrong one is reported before any row.
        Columns::of(&RecordBatch::new_empty(builder.schema().clone())).map_err(|fault| fault.in_file(path.clone()))?;
        let rows_total = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        let wanted = builder.schema().fields().iter().enumerate();
        let roots: Vec<usize> = wanted
            .filter(|(_, field)| NAMES.contains(&field.name().as_str()))
            .map(|(at, _)| at)
            .collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let batches = builder
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(parquet)?;
        Ok(Self {
            path,
            batches,
            filter,
            rows: Vec::new().into_iter(),
            failed: None,
            ended: false,
            rows_total,
            rows_read: 0,
            bins: HashMap::new(),
        })
    }

    /// Rows of the whole file, those the filter skips included.
    pub fn rows_total(&self) -> u64 {
        self.rows_total
    }

    /// Rows decoded so far, those the filter skipped included.
    pub fn rows_read(&self) -> u64 {
        self.rows_read
    }

    fn decode(&mut self, batch: &RecordBatch) {
        let columns = match Columns::of(batch) {
            Ok(columns) => columns,
            Err(fault) => {
                self.failed = Some(fault.in_file(self.path.clone()));
                return;
            }
        };
        let mut rows = Vec::with_capacity(batch.num_rows());
        for at in 0..batch.num_rows() {
            match self.decode_row(&columns, at) {
                Ok(row) => rows.extend(row),
                Err(fault) => {
                    self.failed = Some(fault.in_row(self.path.clone(), self.rows_read + at as u64));
                    break;
                }
            }
        }
        self.rows_read += batch.num_rows() as u64;
        self.rows = rows.into_iter();
    }

    fn decode_row(&mut self, columns: &Columns<'_>, at: usize) -> Result<Option<Row>, Fault> {
        let split = columns.split.get(at);
        if !self.filter.wants_split(split) {
            return Ok(None);
        }
        let name = columns.sensor.get(at).ok_or_else(|| Fault::new("sensor", "is null"))?;
        let sensor = SensorName::parse(name).map_err(|invalid| Fault::new("sensor", invalid.reason))?;
        if !self.filter.wants_sensor(&sensor) {
            return Ok(None);
        }
        let row = Row {
            captured_at: columns.captured_at.get(at)?,
            bins: columns.bins.get(at)?,
            rpm: columns.rpm.get(at),
            load: columns.load.get(at),
            label: columns.label.get(at).map(str::to_owned),
            split: split.map(str::to_owned),
            sensor,
        };
        row.check()?;
        self.check_bins(&row)?;
        Ok(Some(row))
    }

    fn check_bins(&mut self, row: &Row) -> Result<(), Fault> {
        match self.bins.get(&row.sensor) {
            Some(bins) if *bins != row.bins.len() => {
                let reason = format!(
                    "{} amplitudes, earlier rows of {} have {bins}",
                    row.bins.len(),
                    row.sensor
                );
                Err(Fault::new("bins", reason))
            }
            Some(_) => Ok(()),
            None => {
                self.bins.insert(row.sensor.clone(), row.bins.len());
                Ok(())
            }
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(Ok(row));
            }
            if self.ended {
                return None;
            }
            if let Some(error) = self.failed.take() {
                self.ended = true;
                return Some(Err(error));
            }
            match self.batches.next() {
                Some(Ok(batch)) => self.decode(&batch),
                Some(Err(source)) => {
                    self.failed = Some(Error::Parquet {
                        path: self.path.clone(),
                        source: source.into(),
                    });
                }
                None => self.ended = true,
            }
        }
    }
}

/// How far [`read_all`] or [`crate::Timeline::load`] has come, over all files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Rows decoded, skipped ones included.
    pub rows_read: u64,
    /// Rows of all files.
    pub rows_total: u64,
    /// Rows that passed the filter.
    pub rows_kept: u64,
}

/// Reads every row that passes `filter`, file by file in the order given. `progress` is called about once per 1,024
/// rows. All kept rows are held in memory: about 0.4 kB and 4 bytes a bin each.
pub fn read_all<P: AsRef<Path>>(
    files: &[P],
    filter: &Filter,
    progress: impl FnMut(Progress),
) -> Result<Vec<Row>, Error> {
    let mut kept = Vec::new();
    read_each(files, filter, progress, |row| {
        kept.push(row);
        Ok::<_, Error>(())
    })?;
    Ok(kept)
}

/// The same one by one, for rows that are not to be held in memory; `take` may refuse to go on.
pub fn read_each<P: AsRef<Path>, E: From<Error>>(
    files: &[P],
    filter: &Filter,
    mut progress: impl FnMut(Progress),
    mut take: impl FnMut(Row) -> Result<(), E>,
) -> Result<(), E> {
    let readers = files
        .iter()
        .map(|path| Reader::with_filter(path, filter.clone()))
        .collect::<Result<Vec<_>, _>>()?;
    let mut at = Progress {
        rows_total: readers.iter().map(Reader::rows_total).sum(),
        ..Progress::default()
    };
    let mut kept = 0;
    for mut reader in readers {
        let before = at.rows_read;
        while let Some(row) = reader.next() {
            take(row?)?;
            kept += 1;
            if before + reader.rows_read() != at.rows_read {
                at.rows_read = before + reader.rows_read();
                at.rows_kept = kept;
                progress(at);
            }
        }
        at.rows_read = before + reader.rows_read();
        at.rows_kept = kept;
        progress(at);
    }
    Ok(())
}

/// The sensors that have rows in any of the files; no other column is read.
pub fn sensors<P: AsRef<Path>>(files: &[P]) -> Result<BTreeSet<SensorName>, Error> {
    let mut found = BTreeSet::new();
    for path in files {
        let path = path.as_ref();
        let parquet = |source| Error::Parquet {
            path: path.to_path_buf(),
            source,
        };
        let file = File::open(path).map_err(|source| Error::Io {
            path: path.to_path_buf(),
            source,
        })?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(parquet)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), ["sensor"]);
        let batches = builder.with_projection(mask).with_batch_size(NAME_ROWS).build();
        let mut last = String::new();
        let mut read: u64 = 0;
        for batch in batches.map_err(parquet)? {
            let batch = batch.map_err(|source| parquet(source.into()))?;
            let column = batch.column_by_name("sensor");
            let column = column.ok_or_else(|| Fault::new("sensor", "is missing").in_file(path.to_path_buf()))?;
            let names = Text::of("sensor", column).map_err(|fault| fault.in_file(path.to_path_buf()))?;
            for (row, name) in (0..batch.num_rows()).filter_map(|row| names.get(row).map(|name| (row, name))) {
                // Rows of one sensor mostly follow each other.
                if name != last {
                    let sensor = SensorName::parse(name).map_err(|invalid| {
                        Fault::new("sensor", invalid.reason).in_row(path.to_path_buf(), read + row as u64)
                    })?;
                    found.insert(sensor);
                    name.clone_into(&mut last);
                }
            }
            read += batch.num_rows() as u64;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
