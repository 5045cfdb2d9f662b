//! The careful way in, when some of a batch may be there already: a batch of readings becomes rows in one statement.
//!
//! Rows go in by `INSERT … SELECT FROM unnest(…) ON CONFLICT DO NOTHING`, in the order of their keys, so that two
//! replicas with the same sensors wait for each other instead of deadlocking. Only when fewer rows went in than were
//! sent does a second statement look at what is there already, and in the keys of what is archived.

use std::borrow::Borrow;
use std::collections::HashMap;

use sqlx::postgres::{PgHasArrayType, PgTypeInfo};
use sqlx::{PgConnection, Postgres, Type};
use tocsin_domain::{Detector, ReadingKey, SensorId};

use super::copy::Field;
use super::{NewReading, mask_column};
use crate::row::{Time, time};
use crate::{Error, Result};

/// What became of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InsertOutcome {
    /// It is a new row of this transaction.
    Stored,
    /// The same reading is there already: nothing to do.
    Duplicate,
    /// Another reading of the same sensor and capture time is there: this one is refused.
    Conflict,
}

/// One row of a batch, in the columns of the composite type `new_reading_3`. An array of these is one parameter and one
/// `unnest`; an array per column would be kept apart and read side by side 29 times over.
#[derive(sqlx::Encode)]
pub(super) struct Row<'a> {
    captured_at: Time,
    received_at: Time,
    content_hash: i64,
    commit_seq: i64,
    predecessors_from: Option<Time>,
    sensor_id: i32,
    threshold_set_id: i32,
    bundle_id: i32,
    baseline_id: i32,
    scorer_build_id: i32,
    residual: Option<f32>,
    overall_level: Option<f32>,
    isolation: Option<f32>,
    growth: Option<f32>,
    shift: Option<f32>,
    narrowband: Option<f32>,
    pca: Option<f32>,
    mahalanobis: Option<f32>,
    severity: Option<f32>,
    rpm: Option<f32>,
    load: Option<f32>,
    flags: i16,
    verdict: i16,
    condition_cell: i16,
    detector_mask: i16,
    predecessor_count: i16,
    overall: Option<&'a [Option<f32>]>,
    latent: Option<&'a [u8]>,
    spectrum: &'a [u8],
}

impl Type<Postgres> for Row<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("new_reading_3")
    }
}

impl PgHasArrayType for Row<'_> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::array_of("new_reading_3")
    }
}

impl<'a> Row<'a> {
    /// The columns in their order, for [`super::copy`].
    pub(super) fn fields(&self) -> [&dyn Field; 29] {
        [
            &self.captured_at,
            &self.received_at,
            &self.content_hash,
            &self.commit_seq,
            &self.predecessors_from,
            &self.sensor_id,
            &self.threshold_set_id,
            &self.bundle_id,
            &self.baseline_id,
            &self.scorer_build_id,
            &self.residual,
            &self.overall_level,
            &self.isolation,
            &self.growth,
            &self.shift,
            &self.narrowband,
            &self.pca,
            &self.mahalanobis,
            &self.severity,
            &self.rpm,
            &self.load,
            &self.flags,
            &self.verdict,
            &self.condition_cell,
            &self.detector_mask,
            &self.predecessor_count,
            &self.overall,
            &self.latent,
            &self.spectrum,
        ]
    }

    pub(super) fn new(reading: &'a NewReading, commit_seq: i64) -> Self {
        let score = |detector| reading.scores.get(detector);
        Self {
            captured_at: time(reading.key.captured_at),
            received_at: time(reading.received_at),
            content_hash: reading.content_hash.0,
            commit_seq,
            predecessors_from: reading.predecessors.map(|predecessors| time(predecessors.oldest)),
            sensor_id: reading.key.sensor.0,
            threshold_set_id: reading.threshold_set.map_or(0, |set| set.0),
            bundle_id: reading.bundle.map_or(0, |bundle| bundle.0),
            baseline_id: reading.baseline.map_or(0, |baseline| baseline.0),
            scorer_build_id: reading.scorer_build.map_or(0, |build| build.0),
            residual: score(Detector::Residual),
            overall_level: score(Detector::OverallLevel),
            isolation: score(Detector::Isolation),
            growth: score(Detector::Growth),
            shift: score(Detector::Shift),
            narrowband: score(Detector::Narrowband),
            pca: score(Detector::Pca),
            mahalanobis: score(Detector::Mahalanobis),
            severity: score(Detector::Severity),
            rpm: reading.condition.rpm,
            load: reading.condition.load,
            flags: reading.flags.0,
            verdict: reading.verdict.to_code(),
            condition_cell: reading.state.to_cell(),
            detector_mask: mask_column(reading.scores.mask()),
            predecessor_count: reading.predecessors.map_or(0, |predecessors| predecessors.count),
            overall: (!reading.overall.is_empty()).then_some(reading.overall.as_slice()),
            latent: (!reading.latent.is_empty()).then_some(reading.latent.as_slice()),
            spectrum: &reading.spectrum,
        }
    }
}

/// The places of a batch's readings in the order of their keys, each key once: of several the first wins.
pub(super) fn in_key_order<R: Borrow<NewReading>>(readings: &[R]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..readings.len()).collect();
    // Stable: of equal keys the first stays first, and wins.
    order.sort_by_key(|place| readings[*place].borrow().key);
    order.dedup_by_key(|place| readings[*place].borrow().key);
    order
}

/// The number that all rows of a batch bear.
pub(super) async fn next_commit_seq(conn: &mut PgConnection) -> Result<i64> {
    let next = sqlx::query_scalar!(r#"select nextval('reading_commit_seq') as "seq!""#)
        .fetch_one(conn)
        .await?;
    Ok(next)
}

/// Stores a batch in the transaction of `conn`; the outcomes are in the order of `readings`. Of several with one key
/// in a batch the first wins. The partitions must exist ([`crate::Store::partitions_ensure`]).
pub async fn readings_insert<R>(conn: &mut PgConnection, readings: &[R]) -> Result<Vec<InsertOutcome>>
where
    R: Borrow<NewReading> + Sync,
{
    let order = in_key_order(readings);
    if order.is_empty() {
        return Ok(Vec::new());
    }
    let commit_seq = next_commit_seq(conn).await?;
    let rows: Vec<Row<'_>> = order
        .iter()
        .map(|place| Row::new(readings[*place].borrow(), commit_seq))
        .collect();
    let inserted = insert(conn, &rows).await?;
    if inserted == readings.len() as u64 {
        return Ok(vec![InsertOutcome::Stored; readings.len()]);
    }
    let there = present(conn, &rows).await?;
    let mut outcomes = vec![InsertOutcome::Conflict; readings.len()];
    for (place, reading) in readings.iter().map(Borrow::borrow).enumerate() {
        if there.get(&reading.key).is_some_and(|there| there.is_same(reading)) {
            outcomes[place] = InsertOutcome::Duplicate;
        }
    }
    for place in order {
        if there
            .get(&readings[place].borrow().key)
            .is_some_and(|there| there.is_of(commit_seq))
        {
            outcomes[place] = InsertOutcome::Stored;
        }
    }
    Ok(outcomes)
}

async fn insert(conn: &mut PgConnection, rows: &[Row<'_>]) -> Result<u64> {
    let done = sqlx::query!(
        "insert into reading (captured_at, received_at, content_hash, commit_seq, predecessors_from, sensor_id,
             threshold_set_id, bundle_id, baseline_id, scorer_build_id, residual, overall_level, isolation, growth, shift,
             narrowband, pca, mahalanobis, severity, rpm, load, flags, verdict, condition_cell, detector_mask, predecessor_count, overall,
             latent, spectrum)
         select captured_at, received_at, content_hash, commit_seq, predecessors_from, sensor_id, threshold_set_id,
                bundle_id, baseline_id, scorer_build_id, residual, overall_level, isolation, growth, shift, narrowband, pca,
                mahalanobis, severity, rpm, load, flags, verdict, condition_cell, detector_mask, predecessor_count, overall,
                latent, spectrum
         from unnest($1::new_reading_3[]) n
         where not exists (select 1 from archived_key k where k.sensor_id = n.sensor_id
                           and k.day = archive_day(n.captured_at)
                           and archive_key_find(k.keys, n.captured_at) is not null)
         on conflict do nothing",
        rows as _,
    )
    .execute(conn)
    .await
    .map_err(archived_meanwhile)?;
    Ok(done.rows_affected())
}

/// Of keys that are there nothing is said (`on conflict do nothing`): one that is refused was archived between the look and
/// the writing, and the next try finds it.
fn archived_meanwhile(error: sqlx::Error) -> Error {
    match error.as_database_error() {
        Some(database) if database.is_unique_violation() => Error::Unavailable {
            reason: error.to_string(),
        },
        _ => error.into(),
    }
}

/// What is there under a key.
enum Present {
    Row {
        content_hash: i64,
        commit_seq: i64,
    },
    /// Of an archived row the low half of its content hash is kept.
    Archived {
        half_hash: Vec<u8>,
    },
}

impl Present {
    fn is_same(&self, reading: &NewReading) -> bool {
        match self {
            Self::Row { content_hash, .. } => *content_hash == reading.content_hash.0,
            Self::Archived { half_hash } => half_hash[..] == (reading.content_hash.0 as u32).to_be_bytes(),
        }
    }

    fn is_of(&self, commit: i64) -> bool {
        matches!(self, Self::Row { commit_seq, .. } if *commit_seq == commit)
    }
}

/// The rows that are there under the keys of a batch.
async fn present(conn: &mut PgConnection, rows: &[Row<'_>]) -> Result<HashMap<ReadingKey, Present>> {
    let (sensors, captured): (Vec<i32>, Vec<Time>) = rows.iter().map(|row| (row.sensor_id, row.captured_at)).unzip();
    let found = sqlx::query!(
        "select r.sensor_id, r.captured_at, r.content_hash, r.commit_seq
         from unnest($1::int4[], $2::timestamptz[]) k(sensor_id, captured_at)
         cross join lateral (
             select r.sensor_id, r.captured_at, r.content_hash, r.commit_seq from reading r
             where r.sensor_id = k.sensor_id and r.captured_at = k.captured_at limit 1) r",
        &sensors,
        &captured,
    )
    .fetch_all(&mut *conn)
    .await?;
    let found = found.into_iter().map(|row| {
        let present = Present::Row {
            content_hash: row.content_hash,
            commit_seq: row.commit_seq,
        };
        (key(row.sensor_id, row.captured_at), present)
    });
    let mut found: HashMap<ReadingKey, Present> = found.collect();
    if found.len() < rows.len() {
        found.extend(archived(conn, rows).await?);
    }
    Ok(found)
}

/// What the archive holds under the keys of a batch.
async fn archived(conn: &mut PgConnection, rows: &[Row<'_>]) -> Result<Vec<(ReadingKey, Present)>> {
    let (sensors, captured): (Vec<i32>, Vec<Time>) = rows.iter().map(|row| (row.sensor_id, row.captured_at)).unzip();
    let found = sqlx::query!(
        r#"select n.sensor_id as "sensor_id!", n.captured_at as "captured_at!",
                  substr(archive_key_find(k.keys, n.captured_at), 6) as "half_hash!"
           from unnest($1::int4[], $2::timestamptz[]) n(sensor_id, captured_at)
           join archived_key k on k.sensor_id = n.sensor_id and k.day = archive_day(n.captured_at)
           where archive_key_find(k.keys, n.captured_at) is not null"#,
        &sensors,
        &captured,
    )
    .fetch_all(conn)
    .await?;
    let found = found.into_iter().map(|row| {
        let present = Present::Archived {
            half_hash: row.half_hash,
        };
        (key(row.sensor_id, row.captured_at), present)
    });
    Ok(found.collect())
}

fn key(sensor: i32, captured_at: Time) -> ReadingKey {
    ReadingKey {
        sensor: SensorId(sensor),
        captured_at: captured_at.into(),
    }
}
