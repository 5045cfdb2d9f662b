//! Scores the network gave later to readings that were judged without it.

use tocsin_domain::{BundleId, ReadingKey, Scope, ScorerBuildId, SensorId, Timestamp};

use crate::row::{Time, time};
use crate::{Result, Store};

/// A reading that was judged without the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DegradedReading {
    /// The sensor and the capture time.
    pub key: ReadingKey,
    /// The bundle that should have scored it.
    pub bundle: BundleId,
    /// The canonical spectrum's codes.
    pub spectrum: Vec<u8>,
}

/// What the network says about it later.
#[derive(Debug, Clone, PartialEq)]
pub struct Rescored {
    /// The sensor and the capture time.
    pub key: ReadingKey,
    /// The bundle that scored it.
    pub bundle: BundleId,
    /// The build of the scorer; none where it could not be named.
    pub scorer_build: Option<ScorerBuildId>,
    /// Its reconstruction error.
    pub residual: f32,
    /// Little-endian half floats.
    pub latent: Vec<u8>,
}

impl Store {
    /// Readings judged without the network that no bundle has rescored yet, oldest first, those after `after` alone; at
    /// most `limit`.
    pub async fn readings_degraded(
        &self,
        scope: &Scope,
        after: Option<ReadingKey>,
        limit: u32,
    ) -> Result<Vec<DegradedReading>> {
        let rows = sqlx::query!(
            r#"select r.sensor_id, r.captured_at, r.bundle_id, r.spectrum as "spectrum!"
               from reading r join sensor s using (sensor_id) join machine m using (machine_id)
               where r.flags & 2 <> 0 and r.bundle_id <> 0 and r.spectrum is not null
                 and ($1::int4[] is null or m.site_id = any($1))
                 and not exists (select 1 from reading_rescored d
                                 where d.sensor_id = r.sensor_id and d.captured_at = r.captured_at)
                 and ($3::timestamptz is null or (r.captured_at, r.sensor_id) > ($3, $4))
               order by r.captured_at, r.sensor_id limit $2"#,
            scope.to_filter() as _,
            i64::from(limit),
            after.map(|after| time(after.captured_at)),
            after.map(|after| after.sensor.0),
        )
        .fetch_all(&self.pool)
        .await?;
        let readings = rows.into_iter().map(|row| DegradedReading {
            key: ReadingKey {
                sensor: SensorId(row.sensor_id),
                captured_at: row.captured_at.into(),
            },
            bundle: BundleId(row.bundle_id),
            spectrum: row.spectrum,
        });
        Ok(readings.collect())
    }

    /// Keeps later scores beside the rows, which stay as they were judged. Said twice it changes nothing; answers how
    /// many are new.
    pub async fn rescored_insert(&self, rescored: &[Rescored], now: Timestamp) -> Result<u64> {
        let sensors: Vec<i32> = rescored.iter().map(|row| row.key.sensor.0).collect();
        let captured: Vec<Time> = rescored.iter().map(|row| time(row.key.captured_at)).collect();
        let bundles: Vec<i32> = rescored.iter().map(|row| row.bundle.0).collect();
        let residuals: Vec<f32> = rescored.iter().map(|row| row.residual).collect();
        let builds: Vec<i32> = rescored
            .iter()
            .map(|row| row.scorer_build.map_or(0, |build| build.0))
            .collect();
        let latents: Vec<&[u8]> = rescored.iter().map(|row| row.latent.as_slice()).collect();
        let done = sqlx::query!(
            "insert into reading_rescored (sensor_id, captured_at, bundle_id, residual, latent, rescored_at, scorer_build_id)
             select u.sensor_id, u.captured_at, u.bundle_id, u.residual, u.latent, $6, u.scorer_build_id
             from unnest($1::int4[], $2::timestamptz[], $3::int4[], $4::real[], $5::bytea[], $7::int4[])
                  u(sensor_id, captured_at, bundle_id, residual, latent, scorer_build_id)
             order by 1, 2, 3 on conflict do nothing",
            &sensors,
            &captured,
            &bundles,
            &residuals,
            &latents as _,
            time(now),
            &builds,
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }
}
