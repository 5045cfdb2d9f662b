//! What a round came to, written down: the versions it made become active, and every sensor gets its line.

use sqlx::PgConnection;
use tocsin_domain::{BaselineId, SensorId, Timestamp};

use super::Group;
use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::baseline::bytes;
use crate::changes::Channel;
use crate::row::time;
use crate::{Result, Store};

/// What a round came to for one sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRound {
    /// The sensor.
    pub sensor: SensorId,
    /// Its epoch.
    pub epoch: i32,
    /// The version the round began with.
    pub active: BaselineId,
    /// Readings captured up to here have been looked at.
    pub until: Timestamp,
    /// Healthy readings of the period.
    pub readings: u32,
    /// `steady`, `drift` or `suspicion`.
    pub finding: &'static str,
    /// How far it stood above its peers, in robust standard deviations.
    pub standing: f64,
    /// The same in sum.
    pub cusum: f64,
    /// Whether it may not move up.
    pub held: bool,
    /// The period's median of ln(1 + s/s0); none when it could not be told.
    pub recent: Option<Vec<f32>>,
    /// How far the period's median stood above what was commissioned, dB.
    pub recent_db: f32,
    /// How far the next version stands above what was commissioned, dB.
    pub active_db: f32,
    /// The next version, where it moves.
    pub next: Option<NextVersion>,
    /// Who and why, for the version's record.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Whether the next version counts as commissioned: a person accepted it.
    pub accepted: bool,
}

/// What a version has of its own; scale and spread are as commissioned.
#[derive(Debug, Clone, PartialEq)]
pub struct NextVersion {
    /// Median of ln(1 + s/s0).
    pub median: Vec<f32>,
    /// Mean of the log energy.
    pub log_energy_mean: f64,
}

impl Store {
    /// Records a round of a group, activates the versions it made, and ends the lease; answers what became active. Where
    /// nothing did, nothing is put on record.
    pub async fn following_record(
        &self,
        group: Group,
        rounds: &[NewRound],
        now: Timestamp,
        audit: impl FnOnce(&Vec<(SensorId, BaselineId)>) -> NewAuditEntry,
    ) -> Result<Vec<(SensorId, BaselineId)>> {
        let mut transaction = self.begin().await?;
        let activated = record(&mut transaction, rounds, now).await?;
        sqlx::query!(
            "update following_group set followed_at = $3, leased_until = null where class_id = $1 and spec_id = $2",
            group.class.0,
            group.spec.0,
            time(now),
        )
        .execute(&mut *transaction)
        .await?;
        if activated.is_empty() {
            transaction.commit().await?;
            return Ok(activated);
        }
        commit(transaction, activated, audit, now).await
    }

    /// Records that a person accepted where a sensor stands; whether it became its active baseline. Where another
    /// version, or another epoch, came in between it did not, and nothing is recorded.
    pub async fn following_accept(
        &self,
        round: &NewRound,
        now: Timestamp,
        audit: impl FnOnce(&(SensorId, BaselineId)) -> NewAuditEntry,
    ) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let activated = record(&mut transaction, std::slice::from_ref(round), now).await?;
        let Some(accepted) = activated.into_iter().next() else {
            return Ok(false);
        };
        commit(transaction, accepted, audit, now).await?;
        Ok(true)
    }
}

async fn record(conn: &mut PgConnection, rounds: &[NewRound], now: Timestamp) -> Result<Vec<(SensorId, BaselineId)>> {
    let mut activated = Vec::new();
    for round in rounds {
        let next = match &round.next {
            Some(next) => activate(conn, round, next, now).await?,
            None => None,
        };
        activated.extend(next.map(|next| (round.sensor, next)));
        insert_round(conn, round, next.unwrap_or(round.active), now).await?;
    }
    if !activated.is_empty() {
        Channel::Baseline.notify(conn).await?;
    }
    Ok(activated)
}

/// Stores the next version and makes it active; nothing when the version it was made from no longer is.
async fn activate(
    conn: &mut PgConnection,
    round: &NewRound,
    next: &NextVersion,
    now: Timestamp,
) -> Result<Option<BaselineId>> {
    let id = sqlx::query_scalar!(
        r#"with held as (
               select sensor_id, commissioned_baseline_id from commissioning
               where sensor_id = $1 and epoch = $2 and baseline_id = $3 and ($9 or following_held_at is null) for update)
           insert into baseline (sensor_id, epoch, condition_cell, version, made_from, follows, median, spread, scale, trend,
               log_energy_mean, log_energy_sd, pooled_machines, readings, first_at, last_at, created_at, created_by,
               reason)
           select c.sensor_id, c.epoch, c.condition_cell,
                  (select max(n.version) + 1 from baseline n where n.sensor_id = c.sensor_id and n.epoch = c.epoch
                   and n.condition_cell = c.condition_cell), a.baseline_id,
                  case when $9 then null else c.baseline_id end, $4, c.spread, c.scale, c.trend, $11, c.log_energy_sd,
                   c.pooled_machines, $5, a.last_at, $6, $7, $8, $10
           from held join baseline c on c.baseline_id = held.commissioned_baseline_id
           join baseline a on a.baseline_id = $3
           on conflict do nothing returning baseline_id"#,
        round.sensor.0,
        round.epoch,
        round.active.0,
        bytes(&next.median),
        i32::try_from(round.readings).unwrap_or(i32::MAX),
        time(round.until),
        time(now),
        round.by,
        round.accepted,
        round.reason,
        next.log_energy_mean,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(id) = id else { return Ok(None) };
    sqlx::query!(
        "update commissioning set baseline_id = $2,
             commissioned_baseline_id = case when $3 then $2 else commissioned_baseline_id end,
             following_held_at = case when $3 then null else following_held_at end,
             following_held_by = case when $3 then null else following_held_by end,
             following_held_reason = case when $3 then null else following_held_reason end
         where sensor_id = $1",
        round.sensor.0,
        id,
        round.accepted,
    )
    .execute(conn)
    .await?;
    Ok(Some(BaselineId(id)))
}

async fn insert_round(conn: &mut PgConnection, round: &NewRound, active: BaselineId, now: Timestamp) -> Result<()> {
    sqlx::query!(
        "insert into following_round (sensor_id, at, epoch, until, readings, finding, standing, cusum, held, recent_db,
             active_db, baseline_id, recent)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) on conflict do nothing",
        round.sensor.0,
        time(now),
        round.epoch,
        time(round.until),
        i32::try_from(round.readings).unwrap_or(i32::MAX),
        round.finding,
        round.standing,
        round.cusum,
        round.held,
        round.recent_db,
        round.active_db,
        active.0,
        round.recent.as_deref().map(bytes),
    )
    .execute(conn)
    .await?;
    Ok(())
}
