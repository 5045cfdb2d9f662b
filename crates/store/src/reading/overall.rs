//! Overall levels over time, thinned by the database: only maxima leave it.

use tocsin_domain::{MachineId, Scope, SensorId, Timestamp};

use crate::row::time;
use crate::{Result, Store};

/// The highest value of one overall level in one interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverallPoint {
    /// The sensor.
    pub sensor: SensorId,
    /// The level's place in the sensor's spec, from 0.
    pub place: usize,
    /// The first reading of the interval that has the level.
    pub captured_at: Timestamp,
    /// The highest value in the interval, in the canonical unit.
    pub value: f32,
}

impl Store {
    /// A machine's overall levels from `from` up to but without `to`, the highest of each of `points` equal intervals
    /// that has one: by sensor, place and time.
    pub async fn overall_series(
        &self,
        scope: &Scope,
        machine: MachineId,
        (from, to): (Timestamp, Timestamp),
        points: u32,
    ) -> Result<Vec<OverallPoint>> {
        let span_us = to.as_micros().saturating_sub(from.as_micros());
        if span_us <= 0 || points == 0 {
            return Ok(Vec::new());
        }
        // Rounded up, so that the last interval reaches `to`.
        let width_us = (span_us as u64).div_ceil(u64::from(points)) as i64;
        let rows = sqlx::query!(
            r#"select r.sensor_id, l.place as "place!", min(r.captured_at) as "captured_at!", max(l.value) as "value!"
               from machine m join sensor s using (machine_id) join reading r on r.sensor_id = s.sensor_id
               cross join lateral unnest(r.overall) with ordinality l(value, place)
               where m.machine_id = $1 and ($2::int4[] is null or m.site_id = any($2))
                 and r.captured_at >= $3 and r.captured_at < $4 and r.overall is not null and l.value is not null
               group by r.sensor_id, l.place, (extract(epoch from r.captured_at - $3) * 1000000)::int8 / $5::int8
               order by r.sensor_id, l.place, min(r.captured_at)"#,
            machine.0,
            scope.to_filter() as _,
            time(from),
            time(to),
            width_us,
        )
        .fetch_all(&self.pool)
        .await?;
        let points = rows.into_iter().map(|row| OverallPoint {
            sensor: SensorId(row.sensor_id),
            // Places count from 1 in the database.
            place: row.place as usize - 1,
            captured_at: row.captured_at.into(),
            value: row.value,
        });
        Ok(points.collect())
    }
}
