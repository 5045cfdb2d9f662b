//! Every reading, hot and archived, into a place of somebody's own.

use object_store::ObjectStoreExt;
use object_store::buffered::BufWriter;
use tocsin_domain::{Scope, Timestamp};
use tocsin_models::Objects;
use tocsin_store::Store;
use tocsin_store::archive::File;
use tocsin_store::partition::Day;
use tokio::io::AsyncWriteExt;
use tokio_stream::StreamExt;

use crate::Error;
use crate::archiver::DayFile;

/// Copies readings from one object storage, and the database, to another.
#[derive(Debug, Clone)]
pub struct Export {
    /// The database.
    pub store: Store,
    /// Where archived days are.
    pub from: Objects,
    /// Where all of them go.
    pub to: Objects,
}

impl Export {
    /// The hot days: to be exported before the archived ones, so that a day that is archived meanwhile is not missed.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn hot_days(&self) -> Result<Vec<Day>, Error> {
        Ok(self.store.partitions_list().await?)
    }

    /// Writes a hot day, a file per site, with all its spectra; how many readings.
    ///
    /// # Errors
    /// If the database fails, or what it is written to.
    pub async fn hot_day(&self, day: Day) -> Result<u64, Error> {
        let sensors = self.store.archive_sensors(day).await?;
        let mut rows = 0;
        for of_site in sensors.chunk_by(|one, other| one.site == other.site) {
            let below = format!("readings/date={day}/site={}/hot.parquet", of_site[0].site_name);
            let mut file = DayFile::create(&self.store, (&self.to, &below), of_site).await?;
            for sensor in of_site {
                file.write(sensor, day, |_| true).await?;
            }
            rows += file.writer.finish().await?.rows;
        }
        Ok(rows)
    }

    /// The files of archived days.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn archived(&self) -> Result<Vec<(Day, File)>, Error> {
        let ever = (Timestamp::MIN, Timestamp::MAX);
        Ok(self.store.archive_files_between(&Scope::All, None, ever).await?)
    }

    /// Copies an archived file. A day that was hot when its own file was written, and was archived since, goes by this one.
    ///
    /// # Errors
    /// If either storage fails.
    pub async fn copy(&self, day: Day, file: &File, hot_before: bool) -> Result<(), Error> {
        let found = self.from.store().get(&self.from.path(&file.path)).await?;
        let mut bytes = found.into_stream();
        let mut copy = BufWriter::new(self.to.store().clone(), self.to.path(&file.path));
        while let Some(piece) = bytes.next().await {
            copy.put(piece?).await?;
        }
        copy.shutdown().await.map_err(|error| object_store::Error::Generic {
            store: "export",
            source: Box::new(error),
        })?;
        if hot_before && !self.store.partitions_list().await?.contains(&day) {
            let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let hot = self.to.path(&format!("{folder}/hot.parquet"));
            match self.to.store().delete(&hot).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
