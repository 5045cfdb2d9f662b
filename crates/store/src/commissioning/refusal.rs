//! Sensors that may not be commissioned where they stand: in zone C or D of their class.
//!
//! **Invariant:** a refused sensor is not looked at again before a person accepts the zone it stands in, its class gets
//! other zones, or a new epoch begins. An acceptance holds for its epoch, and what was refused stays beside it.

use tocsin_domain::{Scope, SensorId, Timestamp};

use super::ReadySensor;
use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::row::{Time, time};
use crate::{Error, Result, Store};

/// Why a sensor is not commissioned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// When it was refused.
    pub at: Timestamp,
    /// Where it stands.
    pub reason: String,
    /// Who accepted that, if anybody has.
    pub accepted: Option<Acceptance>,
}

/// A person's word that a sensor may be commissioned in the zone it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Refusal {
    /// From its columns.
    pub(super) fn from_columns(
        refused: (Option<Time>, Option<String>),
        accepted: (Option<Time>, Option<String>, Option<String>),
    ) -> Option<Self> {
        let (Some(at), Some(reason)) = refused else { return None };
        let accepted = match accepted {
            (Some(at), Some(by), Some(reason)) => Some(Acceptance {
                at: at.into(),
                by,
                reason,
            }),
            _ => None,
        };
        Some(Self {
            at: at.into(),
            reason,
            accepted,
        })
    }
}

impl Store {
    /// The canonical overall levels of the readings that a ready sensor would be commissioned on, in order of capture.
    /// Of more than `most` every so-manieth is taken.
    pub async fn commissioning_levels(
        &self,
        scope: &Scope,
        ready: &ReadySensor,
        most: u32,
    ) -> Result<Vec<Vec<Option<f32>>>> {
        let rows = sqlx::query_scalar!(
            r#"with healthy as (
                   select r.captured_at, r.overall, row_number() over (order by r.captured_at) - 1 as place,
                          count(*) over () as total
                   from commissioning_reading r join sensor s using (sensor_id) join machine m using (machine_id)
                   where r.sensor_id = $1 and r.captured_at >= $2 and r.captured_at <= $3 and r.overall is not null
                     and ($5::int4[] is null or m.site_id = any($5)))
               select overall as "overall!: Vec<Option<f32>>" from healthy
               where place % ((total + $4 - 1) / $4) = 0 order by captured_at"#,
            ready.sensor.0,
            time(ready.window.0),
            time(ready.window.1),
            i64::from(most.max(1)),
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// Refuses a ready sensor in its present epoch by one version of its class's zones; answers whether that is news. By
    /// another version than that in force nothing is refused.
    pub async fn commissioning_refuse(
        &self,
        ready: &ReadySensor,
        (zones_version, reason): (i32, &str),
        now: Timestamp,
        audit: impl FnOnce(&()) -> NewAuditEntry,
    ) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let refused = sqlx::query!(
            "update commissioning set refused_at = $3, refused_reason = $4
             where sensor_id = $1 and epoch = $2 and state = 'commissioning' and refused_at is null
               and $5 = (select max(version) from class_severity_zones where class_id = $6)",
            ready.sensor.0,
            ready.epoch,
            time(now),
            reason,
            zones_version,
            ready.class.0,
        )
        .execute(&mut *transaction)
        .await?;
        if refused.rows_affected() == 0 {
            return Ok(false);
        }
        commit(transaction, (), audit, now).await?;
        Ok(true)
    }

    /// Lets a refused sensor in `scope` be commissioned where it stands. `audit` is told why it was refused.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it doesn't stand refused, or somebody has accepted that already.
    pub async fn commissioning_accept_zone(
        &self,
        scope: &Scope,
        sensor: SensorId,
        (by, reason): (&str, &str),
        now: Timestamp,
        audit: impl FnOnce(&String) -> NewAuditEntry,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        let accepted = sqlx::query_scalar!(
            r#"update commissioning k
             set zone_accepted_at = $3, zone_accepted_by = $4, zone_accepted_reason = $5, leased_until = null
             from sensor s join machine m using (machine_id)
             where k.sensor_id = $1 and s.sensor_id = k.sensor_id and ($2::int4[] is null or m.site_id = any($2))
               and k.state = 'commissioning' and k.refused_at is not null and k.zone_accepted_at is null
             returning coalesce(k.refused_reason, '') as "refused_reason!""#,
            sensor.0,
            scope.to_filter() as _,
            time(now),
            by,
            reason,
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let refused = accepted.ok_or_else(|| {
            Error::conflict(format!(
                "sensor {sensor} is not refused because of its zone: there is nothing to accept"
            ))
        })?;
        commit(transaction, refused, audit, now).await?;
        Ok(())
    }
}
