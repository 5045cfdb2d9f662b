//! The bearing a sensor listens to, as the JSON of the geometry.

use tocsin_domain::{Scope, SensorId, Timestamp};

use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::{Error, Result, Store};

impl Store {
    /// The bearing of a sensor in `scope`, JSON; none where nobody declared one.
    pub async fn sensor_bearing(&self, scope: &Scope, sensor: SensorId) -> Result<Option<String>> {
        let row = sqlx::query!(
            "select s.bearing::text as bearing from sensor s join machine m using (machine_id)
             where s.sensor_id = $1 and ($2::int4[] is null or m.site_id = any($2))",
            sensor.0,
            scope.to_filter() as _,
        )
        .fetch_optional(&self.pool)
        .await?;
        let row = row.ok_or_else(|| Error::not_found(format!("sensor number {sensor}")))?;
        Ok(row.bearing)
    }

    /// Declares the bearing of a sensor in `scope`, JSON, or takes it away.
    pub async fn sensor_set_bearing(
        &self,
        scope: &Scope,
        (sensor, bearing_json): (SensorId, Option<&str>),
        now: Timestamp,
        audit: impl FnOnce(&()) -> NewAuditEntry,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        let done = sqlx::query!(
            "update sensor s set bearing = $3::text::jsonb from machine m
             where m.machine_id = s.machine_id and s.sensor_id = $1 and ($2::int4[] is null or m.site_id = any($2))",
            sensor.0,
            scope.to_filter() as _,
            bearing_json,
        )
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Err(Error::not_found(format!("sensor number {sensor}")));
        }
        commit(transaction, (), audit, now).await
    }
}
