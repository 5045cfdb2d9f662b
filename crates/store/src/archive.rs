//! The archive's own record: which day is how far on its way into object storage, and in which files it lies.
//!
//! ```text
//! take ──> writing ──written──> written ──verified──> verified ──keyed──> keyed ──seal──> archived ──expire──> expired
//!             ^                     │                      │                  │
//!             └─────────────────────┴──── again: the files or the rows were others than thought
//! ```
//!
//! **Invariant:** a change names the state and the attempt it follows. Whoever was overtaken changes nothing.
//!
//! **Invariant:** a partition is dropped in the transaction that calls its part archived, and only when it holds just as
//! many rows as were read back from the files. Rows never change and are never deleted otherwise, so these are the same.

use std::time::Duration;

use chrono::NaiveDate;
use serde_json::json;
use sqlx::AssertSqlSafe;
use tocsin_domain::{SiteId, Timestamp};

use crate::access::NewAuditEntry;
use crate::partition::Day;
use crate::row::{Time, time};
use crate::{Error, Result, Store};

mod advance;
mod expire;
mod read;
mod seal;
mod size;

pub use read::{ArchivedSensor, Window};
pub use size::ArchivedSite;

/// The advisory lock under which days are taken: the letters "archive".
const TAKING_DAYS: i64 = 0x61_7263_6869_7665;

/// How far a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartState {
    /// Its files are being written.
    Writing,
    /// They are written.
    Written,
    /// They were read back and hold what was written.
    Verified,
    /// What resends are recognised by is kept.
    Keyed,
    /// The partition is gone; the files are the record.
    Archived,
    /// The files are gone too, by policy.
    Expired,
}

impl PartState {
    const ALL: [Self; 6] = [
        Self::Writing,
        Self::Written,
        Self::Verified,
        Self::Keyed,
        Self::Archived,
        Self::Expired,
    ];

    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Writing => "writing",
            Self::Written => "written",
            Self::Verified => "verified",
            Self::Keyed => "keyed",
            Self::Archived => "archived",
            Self::Expired => "expired",
        }
    }

    fn parse(text: &str, day: NaiveDate) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| Error::ImpossibleRow {
            table: "archive_part",
            column: "state",
            key: day.to_string(),
            reason: format!("{text:?} is no state"),
        })
    }
}

/// A part of a day on its way into the archive, or there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The day of capture.
    pub day: Day,
    /// From 1; what came late makes a further one.
    pub part: i16,
    /// How far it is.
    pub state: PartState,
    /// Which attempt, from 1.
    pub attempt: i32,
    /// Readings in its files.
    pub rows: u64,
    /// Readings that kept their spectrum.
    pub spectra: u64,
    /// Size of its files in bytes.
    pub bytes: u64,
    /// Size of its partition with its index in bytes, when that was dropped.
    pub hot_bytes: u64,
    /// SHA-256 over the files' digests.
    pub digest: Option<Vec<u8>>,
    /// Why the last attempt ended; empty when it went well.
    pub error: String,
    /// When its state last changed.
    pub updated_at: Timestamp,
}

/// One file of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its place in object storage, below the store's prefix.
    pub path: String,
    /// The site whose readings it holds.
    pub site: SiteId,
    /// Readings in it.
    pub rows: u64,
    /// Readings that kept their spectrum.
    pub spectra: u64,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 over its rows.
    pub digest: Vec<u8>,
}

/// What may be archived now.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// "Now".
    pub now: Timestamp,
    /// For how long a reading stays hot, by when it was received and by the end of its day of capture.
    pub hot: Duration,
    /// How long a part is taken for.
    pub lease: Duration,
}

struct PartRow {
    day: NaiveDate,
    part: i16,
    state: String,
    attempt: i32,
    rows: i64,
    spectra: i64,
    bytes: i64,
    hot_bytes: i64,
    digest: Option<Vec<u8>>,
    error: String,
    updated_at: Time,
}

impl TryFrom<PartRow> for Part {
    type Error = Error;

    fn try_from(row: PartRow) -> Result<Self> {
        Ok(Self {
            state: PartState::parse(&row.state, row.day)?,
            day: Day::from_date(row.day),
            part: row.part,
            attempt: row.attempt,
            rows: row.rows as u64,
            spectra: row.spectra as u64,
            bytes: row.bytes as u64,
            hot_bytes: row.hot_bytes as u64,
            digest: row.digest,
            error: row.error,
            updated_at: row.updated_at.into(),
        })
    }
}

pub(crate) struct FileRow {
    day: NaiveDate,
    path: String,
    site_id: i32,
    rows: i64,
    spectra: i64,
    bytes: i64,
    digest: Vec<u8>,
}

impl From<FileRow> for (Day, File) {
    fn from(row: FileRow) -> Self {
        let file = File {
            path: row.path,
            site: SiteId(row.site_id),
            rows: row.rows as u64,
            spectra: row.spectra as u64,
            bytes: row.bytes as u64,
            digest: row.digest,
        };
        (Day::from_date(row.day), file)
    }
}

impl Store {
    /// Takes a part to work on: one that was begun and that nobody holds, or the oldest day that is due. None when there is
    /// nothing to do, or another replica is at it.
    pub async fn archive_take(&self, due: Due) -> Result<Option<Part>> {
        let mut transaction = self.begin().await?;
        sqlx::query!("select pg_advisory_xact_lock($1)", TAKING_DAYS)
            .execute(&mut *transaction)
            .await?;
        let begun = sqlx::query!(
            r#"select day, part, coalesce(leased_until > $1, false) as "held!" from archive_part
               where state not in ('archived', 'expired') order by day, part limit 1"#,
            time(due.now),
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let (day, part) = match begun {
            Some(begun) if begun.held => return Ok(None),
            Some(begun) => (begun.day, i32::from(begun.part)),
            None => match self.day_due(due).await? {
                Some(day) => (day.date(), 0),
                None => return Ok(None),
            },
        };
        let row = sqlx::query_as!(
            PartRow,
            "insert into archive_part as p (day, part, state, attempt, leased_until, updated_at)
             values ($1, case when $2::int4 > 0 then $2::int4 else
                     (select coalesce(max(part), 0) + 1 from archive_part where day = $1) end, 'writing', 1, $3, $4)
             on conflict (day, part) do update set attempt = p.attempt + 1, leased_until = $3, updated_at = $4
             returning day, part, state, attempt, rows, spectra, bytes, hot_bytes, digest, error, updated_at",
            day,
            part,
            time(due.now + due.lease),
            time(due.now),
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Some(row.try_into()?))
    }

    /// The oldest day that ended, and whose newest reading came in, longer ago than readings stay hot. Days without a
    /// reading lose their partition on the way.
    async fn day_due(&self, due: Due) -> Result<Option<Day>> {
        let received_before = due.now - due.hot;
        for day in self.partitions_list().await? {
            if day.next().start() > received_before {
                return Ok(None);
            }
            let name = day.partition();
            let newer =
                format!("select exists (select 1 from {name}), exists (select 1 from {name} where received_at > $1)");
            let (any, newer): (bool, bool) = sqlx::query_as(AssertSqlSafe(newer))
                .bind(time(received_before))
                .fetch_one(&self.pool)
                .await?;
            match (any, newer) {
                (false, _) => self.partition_drop_empty(day).await?,
                (true, true) => {}
                (true, false) => return Ok(Some(day)),
            }
        }
        Ok(None)
    }

    /// Holds a part for longer.
    ///
    /// # Errors
    /// [`Error::Conflict`] when another has taken it over.
    pub async fn archive_hold(&self, part: &Part, until: Timestamp) -> Result<()> {
        let done = sqlx::query!(
            "update archive_part set leased_until = $4 where day = $1 and part = $2 and attempt = $3",
            part.day.date(),
            part.part,
            part.attempt,
            time(until),
        )
        .execute(&self.pool)
        .await?;
        taken_over(part, done.rows_affected())
    }

    /// One part.
    pub async fn archive_part(&self, day: Day, part: i16) -> Result<Part> {
        let row = sqlx::query_as!(
            PartRow,
            "select day, part, state, attempt, rows, spectra, bytes, hot_bytes, digest, error, updated_at
             from archive_part where day = $1 and part = $2",
            day.date(),
            part,
        )
        .fetch_optional(&self.pool)
        .await?;
        row.ok_or_else(|| Error::not_found(format!("part {part} of {day}")))?
            .try_into()
    }

    /// Every part, by day.
    pub async fn archive_parts(&self) -> Result<Vec<Part>> {
        let rows = sqlx::query_as!(
            PartRow,
            "select day, part, state, attempt, rows, spectra, bytes, hot_bytes, digest, error, updated_at
             from archive_part order by day, part",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Part::try_from).collect()
    }

    /// A part's files, by path.
    pub async fn archive_files(&self, part: &Part) -> Result<Vec<File>> {
        let rows = sqlx::query_as!(
            FileRow,
            "select day, path, site_id, rows, spectra, bytes, digest from archive_file where day = $1 and part = $2
             order by path",
            part.day.date(),
            part.part,
        )
        .fetch_all(&self.pool)
        .await?;
        let files = rows.into_iter().map(|row| <(Day, File)>::from(row).1);
        Ok(files.collect())
    }
}

fn taken_over(part: &Part, rows: u64) -> Result<()> {
    if rows == 0 {
        return Err(Error::conflict(format!(
            "part {} of {} was taken over from attempt {}",
            part.part, part.day, part.attempt
        )));
    }
    Ok(())
}

/// What the audit record says of a part.
fn entry(part: &Part, action: &str, actor: &str) -> NewAuditEntry {
    let digest = part.digest.iter().flatten();
    let digest: String = digest.map(|byte| format!("{byte:02x}")).collect();
    let detail = json!({
        "part": part.part,
        "readings": part.rows,
        "spectra": part.spectra,
        "bytes": part.bytes,
        "digest": digest,
    });
    NewAuditEntry::new(actor, action, format!("day:{}", part.day), &detail)
}
