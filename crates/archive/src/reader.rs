//! Archived readings, as the store would have given them.

use std::collections::VecDeque;

use tocsin_corpus::archive::{ArchiveReader, ArchivedScores, Columns, Wanted};
use tocsin_domain::{BundleId, Invalid, Scope, SensorId, Timestamp};
use tocsin_models::Objects;
use tocsin_store::Store;
use tocsin_store::archive::File;
use tocsin_store::reading::{FullReading, LoggedScore};

use crate::Error;
use crate::row::{from_row, logged};

mod full;
mod replay;

pub use full::{FullReadings, Portion};
pub use replay::{Replay, Replayed};

/// Reads the archive.
#[derive(Debug, Clone)]
pub struct Reader {
    store: Store,
    objects: Objects,
}

/// Archived readings, day after day; within a file by sensor and capture time.
pub struct Cold {
    objects: Objects,
    wanted: Wanted,
    files: VecDeque<File>,
    open: Option<(String, ArchiveReader)>,
}

impl Reader {
    /// Over these.
    pub fn new(store: Store, objects: Objects) -> Self {
        Self { store, objects }
    }

    /// What is archived of some sensors of one site or several, captured from `from` up to but without `to`. Whoever reads
    /// hot rows too reads those first: a day that is archived meanwhile is then seen twice, and not never.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn readings(
        &self,
        scope: &Scope,
        mut sensors: Vec<SensorId>,
        (from, to): (Timestamp, Timestamp),
        columns: Columns,
    ) -> Result<Cold, Error> {
        sensors.sort_unstable();
        let files = self
            .store
            .archive_files_between(scope, Some(&sensors), (from, to))
            .await?;
        Ok(Cold {
            objects: self.objects.clone(),
            wanted: Wanted {
                sensors: Some(sensors),
                from,
                to,
                columns,
            },
            files: files.into_iter().map(|(_, file)| file).collect(),
            open: None,
        })
    }

    /// A sensor's newest reading at or before `at`, hot or archived; its newest of all when that is not given.
    ///
    /// # Errors
    /// If the database or the object storage fails.
    pub async fn reading(
        &self,
        scope: &Scope,
        sensor: SensorId,
        at: Option<Timestamp>,
    ) -> Result<Option<FullReading>, Error> {
        let hot = self.store.reading_get(scope, sensor, at).await?;
        let archived = self
            .store
            .archive_newest(scope, sensor, at.unwrap_or(Timestamp::MAX))
            .await?;
        let Some(archived) = archived else { return Ok(hot) };
        if hot.as_ref().is_some_and(|hot| hot.stored.key.captured_at >= archived) {
            return Ok(hot);
        }
        let just = (archived, Timestamp::from_micros(archived.as_micros() + 1));
        let mut cold = self.readings(scope, vec![sensor], just, Columns::All).await?;
        while let Some(readings) = cold.next().await? {
            if let Some(reading) = readings.into_iter().next() {
                return Ok(Some(reading));
            }
        }
        Ok(hot)
    }
}

impl Cold {
    /// The next readings; none at the end. May be empty before it.
    ///
    /// # Errors
    /// If a file is damaged or the object storage fails.
    pub async fn next(&mut self) -> Result<Option<Vec<FullReading>>, Error> {
        while let Some((path, reader)) = self.file().await? {
            if let Some(rows) = reader.next().await? {
                return rows_of(path, rows.into_iter().map(from_row)).map(Some);
            }
            self.open = None;
        }
        Ok(None)
    }

    /// Has the next readings, of a bundle when one is named, taken as a replay takes them; whether there were any before
    /// the end.
    ///
    /// # Errors
    /// If a file is damaged or the object storage fails.
    pub(crate) async fn next_scores(
        &mut self,
        bundle: Option<BundleId>,
        mut take: impl FnMut(LoggedScore),
    ) -> Result<bool, Error> {
        while let Some((path, reader)) = self.file().await? {
            if let Some(rows) = reader.next_scores().await? {
                let is_wanted = |row: &ArchivedScores| bundle.is_none_or(|bundle| row.bundle == bundle.0);
                for row in rows.into_iter().filter(is_wanted) {
                    take(logged(row).map_err(|invalid| in_file(path, invalid))?);
                }
                return Ok(true);
            }
            self.open = None;
        }
        Ok(false)
    }

    /// The file that is being read, with its path; none when all have been.
    async fn file(&mut self) -> Result<Option<&mut (String, ArchiveReader)>, Error> {
        if self.open.is_none()
            && let Some(file) = self.files.pop_front()
        {
            let at = self.objects.path(&file.path);
            let store = self.objects.store().clone();
            let reader = ArchiveReader::open(store, at, file.bytes, self.wanted.clone()).await?;
            self.open = Some((file.path, reader));
        }
        Ok(self.open.as_mut())
    }
}

fn rows_of<T>(path: &str, rows: impl Iterator<Item = Result<T, Invalid>>) -> Result<Vec<T>, Error> {
    rows.collect::<Result<_, _>>().map_err(|invalid| in_file(path, invalid))
}

fn in_file(path: &str, invalid: Invalid) -> Error {
    Error::Row {
        path: path.to_owned(),
        invalid,
    }
}
