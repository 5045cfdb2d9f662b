//! Reading back what was decided: a machine's window for the fold, its series for people.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use tocsin_domain::{MachineId, Scope, SiteId, Timestamp};

use super::{StoredReading, StoredRow};
use crate::row::{Time, time};
use crate::{Result, Store};

fn readings(rows: Vec<StoredRow>) -> Result<Vec<StoredReading>> {
    rows.into_iter().map(StoredReading::try_from).collect()
}

/// The readings of some machines, each from a time of its own on, by machine. Called under the machines' locks, so that
/// what it sees can't change before the caller commits.
pub async fn readings_windows(
    conn: &mut PgConnection,
    windows: &[(MachineId, Timestamp)],
) -> Result<BTreeMap<MachineId, Vec<StoredReading>>> {
    let from: BTreeMap<i32, Time> = windows.iter().map(|(machine, from)| (machine.0, time(*from))).collect();
    let machines: Vec<i32> = from.keys().copied().collect();
    let sensors = sqlx::query!(
        "select sensor_id, machine_id from sensor where machine_id = any($1)",
        &machines
    )
    .fetch_all(&mut *conn)
    .await?;
    let machine_of: BTreeMap<i32, i32> = sensors.iter().map(|row| (row.sensor_id, row.machine_id)).collect();
    let numbers: Vec<i32> = machine_of.keys().copied().collect();
    let since: Vec<Time> = machine_of.values().map(|machine| from[machine]).collect();
    // `offset 0` keeps the planner to one look into the index per sensor, however it reckons a partition of today.
    let rows = sqlx::query_as!(
        StoredRow,
        "select r.sensor_id, r.captured_at, r.received_at, r.commit_seq, r.threshold_set_id, r.bundle_id,
                r.baseline_id, r.residual, r.overall_level, r.isolation, r.growth, r.shift, r.narrowband, r.pca,
                r.mahalanobis, r.severity, r.flags, r.verdict, r.condition_cell, r.detector_mask
         from unnest($1::int4[], $2::timestamptz[]) w(sensor_id, since)
         cross join lateral (
             select * from reading r where r.sensor_id = w.sensor_id and r.captured_at >= w.since offset 0) r",
        &numbers,
        &since,
    )
    .fetch_all(conn)
    .await?;
    let mut readings: BTreeMap<MachineId, Vec<StoredReading>> = BTreeMap::new();
    for row in rows {
        let machine = MachineId(machine_of[&row.sensor_id]);
        readings.entry(machine).or_default().push(row.try_into()?);
    }
    Ok(readings)
}

/// Capture time of each machine's newest reading that is not history, for machines that have one at or after a time of
/// their own. Called under the machines' locks.
pub async fn readings_newest_since(
    conn: &mut PgConnection,
    machines: &[(MachineId, Timestamp)],
) -> Result<BTreeMap<MachineId, Timestamp>> {
    let (numbers, since): (Vec<i32>, Vec<Time>) = machines.iter().map(|(id, since)| (id.0, time(*since))).unzip();
    // The lower bound spares the look into every day that the machine has ever had.
    let rows = sqlx::query!(
        r#"select s.machine_id, max(newest.captured_at) as "captured_at!"
           from unnest($1::int4[], $2::timestamptz[]) m(machine_id, since)
           join sensor s using (machine_id)
           cross join lateral (select r.captured_at from reading r
                               where r.sensor_id = s.sensor_id and r.captured_at >= m.since and r.flags & 4 = 0
                               order by r.captured_at desc limit 1) newest
           group by s.machine_id"#,
        &numbers,
        &since,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (MachineId(row.machine_id), row.captured_at.into()))
        .collect())
}

impl Store {
    /// A machine's readings from `from` up to but without `to`, by sensor and capture time; at most `limit`.
    pub async fn readings_series(
        &self,
        scope: &Scope,
        machine: MachineId,
        (from, to): (Timestamp, Timestamp),
        limit: u32,
    ) -> Result<Vec<StoredReading>> {
        let rows = sqlx::query_as!(
            StoredRow,
            "select r.sensor_id, r.captured_at, r.received_at, r.commit_seq, r.threshold_set_id, r.bundle_id,
                    r.baseline_id, r.residual, r.overall_level, r.isolation, r.growth, r.shift, r.narrowband, r.pca,
                    r.mahalanobis, r.severity, r.flags, r.verdict, r.condition_cell, r.detector_mask
             from machine m join sensor s using (machine_id) join reading r on r.sensor_id = s.sensor_id
             where m.machine_id = $1 and ($2::int4[] is null or m.site_id = any($2))
               and r.captured_at >= $3 and r.captured_at < $4
             order by r.sensor_id, r.captured_at limit $5",
            machine.0,
            scope.to_filter() as _,
            time(from),
            time(to),
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        readings(rows)
    }

    /// Capture time of a machine's newest reading.
    pub async fn reading_newest_at(&self, scope: &Scope, machine: MachineId) -> Result<Option<Timestamp>> {
        let newest: Option<Time> = sqlx::query_scalar!(
            "select max(newest.captured_at) from machine m join sensor s using (machine_id)
             cross join lateral (select r.captured_at from reading_with_kept r where r.sensor_id = s.sensor_id
                                 order by r.captured_at desc limit 1) newest
             where m.machine_id = $1 and ($2::int4[] is null or m.site_id = any($2))",
            machine.0,
            scope.to_filter() as _,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(newest.map(Timestamp::from))
    }

    /// A number that counts up with every batch of readings that begins to be stored: cheap enough to ask each second.
    pub async fn readings_change(&self) -> Result<i64> {
        let change = sqlx::query_scalar!("select last_value from reading_commit_seq")
            .fetch_one(&self.pool)
            .await?;
        Ok(change)
    }

    /// A number per site that is another once a sensor has a newer reading: the sum of its sensors' newest batches, since
    /// of two batches the later may be there first. What comes late, behind a newer reading, does not count.
    pub async fn readings_newest(&self) -> Result<BTreeMap<SiteId, i64>> {
        let rows = sqlx::query!(
            r#"select m.site_id, sum(newest.commit_seq)::int8 as "batches!" from machine m join sensor s using (machine_id)
               cross join lateral (select r.commit_seq from reading r where r.sensor_id = s.sensor_id
                                   order by r.captured_at desc limit 1) newest
               group by m.site_id"#,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (SiteId(row.site_id), row.batches)).collect())
    }
}
