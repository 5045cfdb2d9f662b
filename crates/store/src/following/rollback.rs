//! A followed baseline taken back by a person, and let go again.
//!
//! **Invariant:** a baseline that was taken back stands where the person put it: until it is released, its plateau is
//! accepted, or a new epoch begins, no round moves it. Versions are never reused: the next one counts on from the highest.

use tocsin_domain::{BaselineId, Scope, SensorId, Timestamp};

use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::changes::Channel;
use crate::row::time;
use crate::{Error, Result, Store};

/// What a rollback did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RolledBack {
    /// The baseline and version that were active.
    pub from: (BaselineId, i32),
    /// Those that are now.
    pub to: (BaselineId, i32),
}

impl Store {
    /// Makes an earlier version of a sensor's present epoch its active baseline again, and holds it: the version that the
    /// active one was made from, or the one named. What following is bounded by goes back with it. The sensor's record of
    /// rounds goes on with a line that says so.
    ///
    /// # Errors
    /// [`Error::NotFound`] if no such sensor in `scope` is commissioned, or its epoch has no such version;
    /// [`Error::Conflict`] if the active version is the epoch's first, or the very one named.
    pub async fn following_rollback(
        &self,
        scope: &Scope,
        (sensor, version): (SensorId, Option<i32>),
        (by, reason): (&str, &str),
        now: Timestamp,
        audit: impl FnOnce(&RolledBack) -> NewAuditEntry,
    ) -> Result<RolledBack> {
        let mut transaction = self.begin().await?;
        let active = sqlx::query!(
            "select k.epoch, a.baseline_id, a.version, a.condition_cell, a.made_from
             from commissioning k join sensor s using (sensor_id) join machine m using (machine_id)
             join baseline a on a.baseline_id = k.baseline_id
             where k.sensor_id = $1 and ($2::int4[] is null or m.site_id = any($2)) for update of k",
            sensor.0,
            scope.to_filter() as _,
        )
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or_else(|| Error::not_found(format!("a commissioned sensor {sensor}")))?;
        if version == Some(active.version) {
            return Err(Error::conflict(format!(
                "version {} of sensor {sensor}'s baseline is active already",
                active.version
            )));
        }
        if version.is_none() && active.made_from.is_none() {
            return Err(Error::conflict(format!(
                "version {} of sensor {sensor}'s baseline is the first of its epoch: commission the sensor anew",
                active.version
            )));
        }
        let target = sqlx::query!(
            "select baseline_id, version, follows from baseline
             where sensor_id = $1 and epoch = $2 and condition_cell = $3
               and case when $4::int4 is null then baseline_id = $5 else version = $4 end",
            sensor.0,
            active.epoch,
            active.condition_cell,
            version,
            active.made_from,
        )
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or_else(|| {
            let version = version.unwrap_or_default();
            Error::not_found(format!(
                "version {version} of sensor {sensor}'s baseline in its present epoch"
            ))
        })?;
        sqlx::query!(
            "update commissioning set baseline_id = $2, commissioned_baseline_id = $3, following_held_at = $4,
                 following_held_by = $5, following_held_reason = $6 where sensor_id = $1",
            sensor.0,
            target.baseline_id,
            target.follows.unwrap_or(target.baseline_id),
            time(now),
            by,
            reason,
        )
        .execute(&mut *transaction)
        .await?;
        // What was looked at stays looked at, and so does the sum of standings: taking a move back is no word about them.
        // How far the version stands above what was commissioned is what the round said that it was active after.
        sqlx::query!(
            "insert into following_round (sensor_id, at, epoch, until, readings, finding, standing, cusum, held, recent_db,
                 active_db, baseline_id)
             select f.sensor_id, greatest($2, f.at + interval '1 microsecond'), f.epoch, f.until, 0, f.finding, f.standing,
                    f.cusum, true, f.recent_db, coalesce((
                        select r.active_db from following_round r where r.sensor_id = $1 and r.epoch = f.epoch
                        and r.baseline_id = $3 order by r.at desc limit 1), 0), $3
             from following_round f where f.sensor_id = $1 and f.epoch = $4 order by f.at desc limit 1",
            sensor.0,
            time(now),
            target.baseline_id,
            active.epoch,
        )
        .execute(&mut *transaction)
        .await?;
        Channel::Baseline.notify(&mut transaction).await?;
        let rolled_back = RolledBack {
            from: (BaselineId(active.baseline_id), active.version),
            to: (BaselineId(target.baseline_id), target.version),
        };
        commit(transaction, rolled_back, audit, now).await
    }

    /// Lets a baseline that was taken back follow its sensor again.
    ///
    /// # Errors
    /// [`Error::Conflict`] if nobody holds it.
    pub async fn following_release(
        &self,
        scope: &Scope,
        sensor: SensorId,
        now: Timestamp,
        audit: impl FnOnce(&()) -> NewAuditEntry,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        let released = sqlx::query!(
            "update commissioning k
             set following_held_at = null, following_held_by = null, following_held_reason = null
             from sensor s join machine m using (machine_id)
             where k.sensor_id = $1 and s.sensor_id = k.sensor_id and ($2::int4[] is null or m.site_id = any($2))
               and k.following_held_at is not null",
            sensor.0,
            scope.to_filter() as _,
        )
        .execute(&mut *transaction)
        .await?;
        if released.rows_affected() == 0 {
            return Err(Error::conflict(format!(
                "sensor {sensor}'s baseline is not held: it follows"
            )));
        }
        commit(transaction, (), audit, now).await
    }
}
