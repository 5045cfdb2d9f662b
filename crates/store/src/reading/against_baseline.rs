//! Logged scores of one machine after the other, as limits against baselines are learned from them.

use tocsin_domain::{BundleId, ClassId, MachineId, ReadingKey, Scope, Timestamp};

use super::{LoggedScores, StoredRow};
use crate::row::time;
use crate::{Result, Store};

/// Which scores of a machine are asked for.
#[derive(Debug, Clone, Copy)]
pub struct MachineScoresQuery {
    /// The machine.
    pub machine: MachineId,
    /// Scores of this bundle.
    pub bundle: BundleId,
    /// Captured at or after this.
    pub from: Timestamp,
    /// Captured before this.
    pub to: Timestamp,
    /// Continue after this key, for the next page.
    pub after: Option<ReadingKey>,
    /// At most this many.
    pub limit: u32,
}

impl Store {
    /// The machines of a class in `scope` that were healthy all the time from `from` up to but without `to`: no incident
    /// but those labelled false alarms, and nothing labelled a failure.
    pub async fn machines_healthy(
        &self,
        scope: &Scope,
        class: ClassId,
        (from, to): (Timestamp, Timestamp),
    ) -> Result<Vec<MachineId>> {
        let machines = sqlx::query_scalar!(
            "select m.machine_id from machine m
             where m.class_id = $1 and ($2::int4[] is null or m.site_id = any($2))
               and not exists (select 1 from machine_unhealthy u where u.machine_id = m.machine_id and u.from_at < $4
                               and u.to_at >= $3)
             order by m.machine_id",
            class.0,
            scope.to_filter() as _,
            time(from),
            time(to),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(machines.into_iter().map(MachineId).collect())
    }

    /// A machine's logged scores under one bundle, judged with the network and against the baselines of each sensor's
    /// present epoch, in whatever version: what an earlier epoch reached says nothing about this one. In pages, by key.
    pub async fn scores_against_baseline(&self, scope: &Scope, query: &MachineScoresQuery) -> Result<LoggedScores> {
        let after = query.after;
        let rows = sqlx::query_as!(
            StoredRow,
            "select r.sensor_id, r.captured_at, r.received_at, r.commit_seq, r.threshold_set_id, r.bundle_id,
                    r.baseline_id, r.residual, r.overall_level, r.isolation, r.growth, r.shift, r.narrowband, r.pca,
                    r.mahalanobis, r.severity, r.flags, r.verdict, r.condition_cell, r.detector_mask
             from machine m join sensor s using (machine_id) join commissioning k using (sensor_id)
             join baseline b on b.sensor_id = k.sensor_id and b.epoch = k.epoch
             join reading r on r.sensor_id = s.sensor_id and r.baseline_id = b.baseline_id
             where m.machine_id = $1 and ($2::int4[] is null or m.site_id = any($2)) and r.bundle_id = $3
               and r.captured_at >= $4 and r.captured_at < $5 and r.flags & 2 = 0
               and ($6::int4 is null or (r.sensor_id, r.captured_at) > ($6, $7::timestamptz))
             order by r.sensor_id, r.captured_at limit $8",
            query.machine.0,
            scope.to_filter() as _,
            query.bundle.0,
            time(query.from),
            time(query.to),
            after.map(|key| key.sensor.0),
            after.map(|key| time(key.captured_at)),
            i64::from(query.limit),
        )
        .fetch_all(&self.pool)
        .await?;
        LoggedScores::page(rows, query.limit)
    }
}
