//! The steps of one part, each of which can be the last that a process does.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use object_store::ObjectStoreExt;
use object_store::path::Path;
use sha2::{Digest as _, Sha256};
use tocsin_corpus::archive::{ArchiveReader, ArchiveWriter, Digest, SensorNames, Wanted};
use tocsin_domain::{Clock, SpecId, SpectrumSpec};
use tocsin_models::Objects;
use tocsin_store::Store;
use tocsin_store::archive::{ArchivedSensor, Due, File, Part, PartState};
use tocsin_store::partition::Day;
use tocsin_store::reading::FullReading;
use tokio_stream::StreamExt;

use crate::row::to_row;
use crate::{Config, Error, Thinning};

/// How long a part is held without a word.
const LEASE: Duration = Duration::from_mins(5);

/// Rows asked of the database at once; a row with 4096 bins is about 5 kB.
const PAGE_ROWS: u32 = 4_000;

/// Archives days.
#[derive(Debug, Clone)]
pub struct Archiver {
    pub(crate) store: Store,
    pub(crate) objects: Objects,
    pub(crate) clock: Clock,
    pub(crate) config: Config,
    pub(crate) actor: String,
}

impl Archiver {
    /// Over these; `actor` is who the audit record says archived and deleted.
    pub fn new(config: Config, store: Store, objects: Objects, clock: Clock, actor: &str) -> Self {
        Self {
            store,
            objects,
            clock,
            config,
            actor: actor.to_owned(),
        }
    }

    /// Takes a part that is due; none when there is nothing to do, or another replica is at it.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn take(&self) -> Result<Option<Part>, Error> {
        let commissioning = self.store.archive_commissioning_span().await?;
        let due = Due {
            now: self.clock.now(),
            // A day more, for what began in the middle of one.
            hot: self.config.hot().max(commissioning + Duration::from_hours(24)),
            lease: LEASE,
        };
        Ok(self.store.archive_take(due).await?)
    }

    /// Does the next step of a part; none when it is archived.
    ///
    /// # Errors
    /// If the database or the object storage fails, or another has taken the part over. It can be taken again.
    pub async fn advance(&self, part: &Part) -> Result<Option<Part>, Error> {
        self.hold(part).await?;
        let now = || self.clock.now();
        let next = match part.state {
            PartState::Writing => self.write(part).await?,
            PartState::Written => match self.differs(part).await? {
                None => self.store.archive_verified(part, now()).await?,
                Some(reason) => self.again(part, &reason).await?,
            },
            PartState::Verified => self.store.archive_keyed(part, now()).await?,
            PartState::Keyed => match self.store.archive_seal(part, &self.actor, now()).await? {
                Some(sealed) => {
                    let (day, number, rows, bytes) = (sealed.day, sealed.part, sealed.rows, sealed.bytes);
                    tracing::info!(%day, part = number, rows, bytes, "a day is archived");
                    sealed
                }
                None => self.again(part, "a reading came late").await?,
            },
            PartState::Archived | PartState::Expired => return Ok(None),
        };
        Ok(Some(next))
    }

    async fn hold(&self, part: &Part) -> Result<(), Error> {
        Ok(self.store.archive_hold(part, self.clock.now() + LEASE).await?)
    }

    async fn again(&self, part: &Part, reason: &str) -> Result<Part, Error> {
        tracing::warn!(day = %part.day, part = part.part, reason, "a day is archived anew");
        Ok(self.store.archive_again(part, reason, self.clock.now()).await?)
    }

    /// Writes a file per site, after what earlier attempts left behind is gone.
    async fn write(&self, part: &Part) -> Result<Part, Error> {
        self.sweep(part).await?;
        let sensors = self.store.archive_sensors(part.day).await?;
        let windows = self.store.archive_windows(part.day, self.config.incident_margin());
        let mut thinning = Thinning::new(windows.await?);
        let mut files = Vec::new();
        for of_site in sensors.chunk_by(|one, other| one.site == other.site) {
            files.push(self.write_site(part, of_site, &mut thinning).await?);
        }
        let digest = digest_of(&files);
        let now = self.clock.now();
        Ok(self.store.archive_written(part, &files, &digest, now).await?)
    }

    async fn write_site(
        &self,
        part: &Part,
        sensors: &[ArchivedSensor],
        thinning: &mut Thinning,
    ) -> Result<File, Error> {
        let first = &sensors[0];
        let below = format!(
            "readings/date={}/site={}/part-{:04}-{:04}.parquet",
            part.day, first.site_name, part.part, part.attempt
        );
        let mut file = DayFile::create(&self.store, (&self.objects, &below), sensors).await?;
        for sensor in sensors {
            self.hold(part).await?;
            file.write(sensor, part.day, |reading| thinning.keeps(reading)).await?;
        }
        let written = file.writer.finish().await?;
        Ok(File {
            path: below,
            site: first.site,
            rows: written.rows,
            spectra: written.spectra,
            bytes: written.bytes,
            digest: written.digest.to_vec(),
        })
    }

    /// Reads a part's files back; why they are not what was written, if they are not.
    async fn differs(&self, part: &Part) -> Result<Option<String>, Error> {
        let files = self.store.archive_files(part).await?;
        if part.digest.as_deref() != Some(&digest_of(&files)[..]) {
            return Ok(Some("the files are not those that were written".to_owned()));
        }
        for file in files {
            self.hold(part).await?;
            match self.read_back(&file).await {
                Ok(None) => {}
                Ok(Some(reason)) => return Ok(Some(format!("{}: {reason}", file.path))),
                // What is damaged or gone is written anew; a storage that does not answer is no reason to.
                Err(error) if is_damage(&error) => return Ok(Some(error.to_string())),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn read_back(&self, file: &File) -> Result<Option<String>, Error> {
        let path = self.objects.path(&file.path);
        let stored = self.objects.store().head(&path).await?;
        if stored.size != file.bytes {
            return Ok(Some(format!("has {} bytes, {} were written", stored.size, file.bytes)));
        }
        let mut reader = ArchiveReader::open(self.objects.store().clone(), path, file.bytes, Wanted::all()).await?;
        let (mut digest, mut rows) = (Digest::default(), 0);
        while let Some(batch) = reader.next().await? {
            rows += batch.len() as u64;
            for row in &batch {
                digest.take(row);
            }
        }
        let same = rows == file.rows && digest.finish()[..] == file.digest[..];
        Ok((!same).then(|| format!("reads back as {rows} other rows, {} were written", file.rows)))
    }

    /// Deletes the files of a day that belong to no archived part of it: what attempts left behind.
    async fn sweep(&self, part: &Part) -> Result<(), Error> {
        let known = self.store.archive_parts().await?;
        let known = known
            .iter()
            .filter(|other| other.day == part.day && other.part != part.part);
        let mut keep = Vec::new();
        for other in known {
            keep.extend(
                self.store
                    .archive_files(other)
                    .await?
                    .into_iter()
                    .map(|file| self.objects.path(&file.path)),
            );
        }
        for path in self.listed(part.day).await? {
            if !keep.contains(&path) {
                self.delete(&path).await?;
            }
        }
        Ok(())
    }

    async fn listed(&self, day: Day) -> Result<Vec<Path>, Error> {
        let folder = self.objects.path(&format!("readings/date={day}"));
        let listing = self.objects.store().list(Some(&folder));
        let found: Vec<_> = listing.collect().await;
        found.into_iter().map(|meta| Ok(meta?.location)).collect()
    }

    /// Deletes what may be gone already.
    pub(crate) async fn delete(&self, path: &Path) -> Result<(), Error> {
        match self.objects.store().delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A file of hot readings under way: one site's, of one day.
pub(crate) struct DayFile<'a> {
    store: &'a Store,
    pub(crate) writer: ArchiveWriter,
}

impl<'a> DayFile<'a> {
    /// Starts one, with what its sensors say of their spectra.
    pub(crate) async fn create(
        store: &'a Store,
        (objects, below): (&Objects, &str),
        sensors: &[ArchivedSensor],
    ) -> Result<Self, Error> {
        let mut specs: BTreeMap<i32, SpectrumSpec> = BTreeMap::new();
        for SpecId(id) in sensors.iter().map(|sensor| sensor.spec) {
            if let Entry::Vacant(unread) = specs.entry(id) {
                unread.insert(store.spec_by_id(SpecId(id)).await?.spec);
            }
        }
        let writer = ArchiveWriter::create(objects.store().clone(), objects.path(below), &specs)?;
        Ok(Self { store, writer })
    }

    /// Writes a sensor's hot readings of a day, page by page.
    pub(crate) async fn write(
        &mut self,
        sensor: &ArchivedSensor,
        day: Day,
        mut keeps: impl FnMut(&FullReading) -> bool,
    ) -> Result<(), Error> {
        let names = SensorNames {
            site: sensor.site_name.clone(),
            machine: sensor.machine.clone(),
            sensor: sensor.name.clone(),
            class: sensor.class.clone(),
            spec_id: sensor.spec.0,
        };
        let mut after = None;
        loop {
            let page = self.store.archive_readings(sensor.id, day, after, PAGE_ROWS).await?;
            let full = page.len() == PAGE_ROWS as usize;
            after = page.last().map(|reading| reading.stored.key.captured_at);
            let rows = page.into_iter().map(|reading| {
                let keep = keeps(&reading);
                to_row(reading, keep)
            });
            self.writer.write(&names, &rows.collect::<Vec<_>>()).await?;
            if !full {
                return Ok(());
            }
        }
    }
}

/// SHA-256 over the digests of files in the order of their paths, each after its path.
fn digest_of(files: &[File]) -> [u8; 32] {
    let mut files: Vec<&File> = files.iter().collect();
    files.sort_by_key(|file| &file.path);
    let mut digest = Sha256::new();
    for file in files {
        digest.update((file.path.len() as u64).to_le_bytes());
        digest.update(&file.path);
        digest.update(file.rows.to_le_bytes());
        digest.update(&file.digest);
    }
    digest.finalize().into()
}

/// Whether a file is bad or gone, as against a storage that does not answer.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::Objects(object_store::Error::NotFound { .. }) | Error::Row { .. } => true,
        Error::File(error) => !error.is_of_storage(),
        Error::Objects(_) | Error::Store(_) => false,
    }
}
