//! Logged scores of a machine in order of capture, all its sensors together, as a replay takes them.

use tocsin_domain::{BundleId, MachineId, ReadingKey, Scope, Timestamp};

use super::{LoggedScores, StoredRow};
use crate::row::time;
use crate::{Result, Store};

/// Which scores of a machine are replayed.
#[derive(Debug, Clone, Copy)]
pub struct ReplayQuery {
    /// The machine.
    pub machine: MachineId,
    /// Scores of this bundle.
    pub bundle: BundleId,
    /// Captured at or after this.
    pub from: Timestamp,
    /// Captured before this.
    pub to: Timestamp,
    /// Only those against the baselines active now, judged with the network.
    pub active_baselines_only: bool,
    /// History too.
    pub historical: bool,
    /// Continue after this key, for the next page.
    pub after: Option<ReadingKey>,
    /// At most this many.
    pub limit: u32,
}

impl Store {
    /// A machine's logged scores in order of capture, those of the same instant by sensor. In pages, by that order.
    pub async fn scores_in_order(&self, scope: &Scope, query: &ReplayQuery) -> Result<LoggedScores> {
        let after = query.after;
        let from = after.map_or(query.from, |key| key.captured_at.max(query.from));
        // Each sensor is read along its key and no further than a page, however long the period is.
        let rows = sqlx::query_as!(
            StoredRow,
            "select r.sensor_id, r.captured_at, r.received_at, r.commit_seq, r.threshold_set_id, r.bundle_id,
                    r.baseline_id, r.residual, r.overall_level, r.isolation, r.growth, r.shift, r.narrowband, r.pca,
                    r.mahalanobis, r.severity, r.flags, r.verdict, r.condition_cell, r.detector_mask
             from machine m join sensor s using (machine_id) left join commissioning k using (sensor_id)
             cross join lateral (
                 select * from reading r
                 where r.sensor_id = s.sensor_id and r.bundle_id = $3 and r.captured_at >= $4 and r.captured_at < $5
                   and ($6::int4 is null or (r.captured_at, r.sensor_id) > ($7::timestamptz, $6))
                   and (not $8 or (r.flags & 2 = 0 and r.baseline_id in (
                       select b.baseline_id from baseline b where b.sensor_id = s.sensor_id and b.epoch = k.epoch))) and ($9 or r.flags & 4 = 0)
                 order by r.captured_at limit $10) r
             where m.machine_id = $1 and ($2::int4[] is null or m.site_id = any($2))
             order by r.captured_at, r.sensor_id limit $10",
            query.machine.0,
            scope.to_filter() as _,
            query.bundle.0,
            time(from),
            time(query.to),
            after.map(|key| key.sensor.0),
            after.map(|key| time(key.captured_at)),
            query.active_baselines_only,
            query.historical,
            i64::from(query.limit),
        )
        .fetch_all(&self.pool)
        .await?;
        LoggedScores::page(rows, query.limit)
    }
}
