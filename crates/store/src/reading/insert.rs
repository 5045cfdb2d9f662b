//! The hot path: a batch of readings becomes rows in one statement.
//!
//! Rows go in by `INSERT … SELECT FROM unnest(…) ON CONFLICT DO NOTHING`, in the order of their keys, so that two
//! replicas with the same sensors wait for each other instead of deadlocking. Only when fewer rows went in than were
//! sent does a second statement look at what is there already.

use std::borrow::Borrow;
use std::collections::HashMap;

use sqlx::PgConnection;
use tocsin_domain::{Detector, ReadingKey};

use super::{NewReading, mask_column};
use crate::Result;
use crate::row::{Time, time};

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

/// The columns of a batch.
#[derive(Default)]
struct Columns<'a> {
    sensor: Vec<i32>,
    captured_at: Vec<Time>,
    received_at: Vec<Time>,
    content_hash: Vec<i64>,
    predecessors_from: Vec<Option<Time>>,
    threshold_set: Vec<i32>,
    bundle: Vec<i32>,
    baseline: Vec<i32>,
    scores: [Vec<Option<f32>>; Detector::COUNT],
    rpm: Vec<Option<f32>>,
    load: Vec<Option<f32>>,
    flags: Vec<i16>,
    verdict: Vec<i16>,
    condition_cell: Vec<i16>,
    detector_mask: Vec<i16>,
    predecessor_count: Vec<i16>,
    overall: Vec<Option<String>>,
    latent: Vec<Option<&'a [u8]>>,
    spectrum: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, reading: &'a NewReading) {
        self.sensor.push(reading.key.sensor.0);
        self.captured_at.push(time(reading.key.captured_at));
        self.received_at.push(time(reading.received_at));
        self.content_hash.push(reading.content_hash.0);
        self.predecessors_from
            .push(reading.predecessors.map(|predecessors| time(predecessors.oldest)));
        self.threshold_set.push(reading.threshold_set.map_or(0, |set| set.0));
        self.bundle.push(reading.bundle.map_or(0, |bundle| bundle.0));
        self.baseline.push(reading.baseline.unwrap_or(0));
        for (column, detector) in self.scores.iter_mut().zip(Detector::ALL) {
            column.push(reading.scores.get(detector));
        }
        self.rpm.push(reading.condition.rpm);
        self.load.push(reading.condition.load);
        self.flags.push(reading.flags.0);
        self.verdict.push(reading.verdict.to_code());
        self.condition_cell.push(reading.condition_cell);
        self.detector_mask.push(mask_column(reading.scores.mask()));
        self.predecessor_count
            .push(reading.predecessors.map_or(0, |predecessors| predecessors.count));
        self.overall
            .push((!reading.overall.is_empty()).then(|| array_literal(&reading.overall)));
        self.latent
            .push((!reading.latent.is_empty()).then_some(reading.latent.as_slice()));
        self.spectrum.push(&reading.spectrum);
    }
}

/// A `real[]` as text, because arrays of arrays don't unnest by row. Rust writes a float so that it reads back the
/// same, and `NaN` as Postgres does.
fn array_literal(values: &[f32]) -> String {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    format!("{{{}}}", values.join(","))
}

/// Stores a batch in the transaction of `conn`; the outcomes are in the order of `readings`. Of several with one key
/// in a batch the first wins. The partitions must exist ([`crate::Store::partitions_ensure`]).
pub async fn readings_insert<R>(conn: &mut PgConnection, readings: &[R]) -> Result<Vec<InsertOutcome>>
where
    R: Borrow<NewReading> + Sync,
{
    let mut order: Vec<usize> = (0..readings.len()).collect();
    // Stable: of equal keys the first stays first, and wins.
    order.sort_by_key(|place| readings[*place].borrow().key);
    order.dedup_by_key(|place| readings[*place].borrow().key);
    if order.is_empty() {
        return Ok(Vec::new());
    }
    let mut columns = Columns::default();
    for place in &order {
        columns.push(readings[*place].borrow());
    }
    let commit_seq = sqlx::query_scalar!(r#"select nextval('reading_commit_seq') as "seq!""#)
        .fetch_one(&mut *conn)
        .await?;
    let inserted = insert(conn, &columns, commit_seq).await?;
    if inserted == readings.len() as u64 {
        return Ok(vec![InsertOutcome::Stored; readings.len()]);
    }
    let there = present(conn, &columns).await?;
    let mut outcomes = vec![InsertOutcome::Conflict; readings.len()];
    for (place, reading) in readings.iter().map(Borrow::borrow).enumerate() {
        if there
            .get(&reading.key)
            .is_some_and(|row| row.content_hash == reading.content_hash.0)
        {
            outcomes[place] = InsertOutcome::Duplicate;
        }
    }
    for place in order {
        if there
            .get(&readings[place].borrow().key)
            .is_some_and(|row| row.commit_seq == commit_seq)
        {
            outcomes[place] = InsertOutcome::Stored;
        }
    }
    Ok(outcomes)
}

async fn insert(conn: &mut PgConnection, columns: &Columns<'_>, commit_seq: i64) -> Result<u64> {
    let [
        residual,
        overall_level,
        isolation,
        growth,
        shift,
        narrowband,
        pca,
        mahalanobis,
    ] = &columns.scores;
    let done = sqlx::query!(
        "insert into reading (commit_seq, sensor_id, captured_at, received_at, content_hash, predecessors_from,
             threshold_set_id, bundle_id, baseline_id, residual, overall_level, isolation, growth, shift, narrowband,
             pca, mahalanobis, rpm, load, flags, verdict, condition_cell, detector_mask, predecessor_count, overall,
             latent, spectrum)
         select $1, u.c2, u.c3, u.c4, u.c5, u.c6, u.c7, u.c8, u.c9, u.c10, u.c11, u.c12, u.c13, u.c14, u.c15, u.c16,
                u.c17, u.c18, u.c19, u.c20, u.c21, u.c22, u.c23, u.c24, u.c25::real[], u.c26, u.c27
         from unnest($2::int4[], $3::timestamptz[], $4::timestamptz[], $5::int8[], $6::timestamptz[], $7::int4[],
                     $8::int4[], $9::int4[], $10::real[], $11::real[], $12::real[], $13::real[], $14::real[],
                     $15::real[], $16::real[], $17::real[], $18::real[], $19::real[], $20::int2[], $21::int2[],
                     $22::int2[], $23::int2[], $24::int2[], $25::text[], $26::bytea[], $27::bytea[])
              u(c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17, c18, c19, c20, c21, c22, c23,
                c24, c25, c26, c27)
         on conflict do nothing",
        commit_seq,
        &columns.sensor,
        &columns.captured_at,
        &columns.received_at,
        &columns.content_hash,
        &columns.predecessors_from as _,
        &columns.threshold_set,
        &columns.bundle,
        &columns.baseline,
        residual as _,
        overall_level as _,
        isolation as _,
        growth as _,
        shift as _,
        narrowband as _,
        pca as _,
        mahalanobis as _,
        &columns.rpm as _,
        &columns.load as _,
        &columns.flags,
        &columns.verdict,
        &columns.condition_cell,
        &columns.detector_mask,
        &columns.predecessor_count,
        &columns.overall as _,
        &columns.latent as _,
        &columns.spectrum as _,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// What decides between a duplicate and a conflict.
struct Present {
    content_hash: i64,
    commit_seq: i64,
}

/// The rows that are there under the keys of a batch.
async fn present(conn: &mut PgConnection, columns: &Columns<'_>) -> Result<HashMap<ReadingKey, Present>> {
    let rows = sqlx::query!(
        "select r.sensor_id, r.captured_at, r.content_hash, r.commit_seq
         from unnest($1::int4[], $2::timestamptz[]) k(sensor_id, captured_at)
         cross join lateral (
             select r.sensor_id, r.captured_at, r.content_hash, r.commit_seq from reading r
             where r.sensor_id = k.sensor_id and r.captured_at = k.captured_at limit 1) r",
        &columns.sensor,
        &columns.captured_at,
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| {
        let key = ReadingKey {
            sensor: tocsin_domain::SensorId(row.sensor_id),
            captured_at: row.captured_at.into(),
        };
        (
            key,
            Present {
                content_hash: row.content_hash,
                commit_seq: row.commit_seq,
            },
        )
    });
    Ok(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overall_levels_are_written_as_postgres_reads_them() {
        assert_eq!(array_literal(&[1.5, f32::NAN, 1e-7, -0.1]), "{1.5,NaN,0.0000001,-0.1}");
    }
}
