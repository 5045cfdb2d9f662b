//! A class on a site at one time: which sensors there are, and one reading of each in each of some intervals.

use tocsin_domain::{MachineId, Scope, SensorId, Slug, Timestamp};

use super::{StoredReading, StoredRow};
use crate::row::{slug, time};
use crate::{Result, Store};

/// A sensor of a machine or of one of its peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSensor {
    /// The sensor.
    pub sensor: SensorId,
    /// Its machine.
    pub machine: MachineId,
    /// The machine's name.
    pub name: Slug,
}

impl Store {
    /// The sensors of a machine, and of at most `most` machines of its class on its site, in the order of their numbers.
    pub async fn peer_sensors(&self, scope: &Scope, machine: MachineId, most: u32) -> Result<Vec<PeerSensor>> {
        let rows = sqlx::query!(
            r#"select s.sensor_id, p.machine_id, p.name
               from (select m.* from machine m join machine own on own.machine_id = $1
                     where m.class_id = own.class_id and m.site_id = own.site_id
                       and ($2::int4[] is null or m.site_id = any($2))
                     order by m.machine_id <> $1, m.machine_id limit $3) p
               join sensor s on s.machine_id = p.machine_id order by s.sensor_id"#,
            machine.0,
            scope.to_filter() as _,
            i64::from(most) + 1,
        )
        .fetch_all(&self.pool)
        .await?;
        let sensors = rows.into_iter().map(|row| {
            Ok(PeerSensor {
                sensor: SensorId(row.sensor_id),
                machine: MachineId(row.machine_id),
                name: slug("machine", "name", row.machine_id, &row.name)?,
            })
        });
        sensors.collect()
    }

    /// Of each sensor the first reading of each of `intervals` equal intervals that has one, from `from` up to but without
    /// `to`: one look into the index each, however much was read.
    pub async fn readings_sampled(
        &self,
        scope: &Scope,
        sensors: &[SensorId],
        (from, to): (Timestamp, Timestamp),
        intervals: u32,
    ) -> Result<Vec<StoredReading>> {
        let span_us = to.as_micros().saturating_sub(from.as_micros());
        if span_us <= 0 || intervals == 0 {
            return Ok(Vec::new());
        }
        let width_us = (span_us as u64).div_ceil(u64::from(intervals)) as i64;
        let start = |nth: i64| Timestamp::from_micros(from.as_micros() + width_us * nth);
        let (lows, highs): (Vec<_>, Vec<_>) = (0..i64::from(intervals))
            .filter(|nth| start(*nth) < to)
            .map(|nth| (time(start(nth)), time(start(nth + 1).min(to))))
            .unzip();
        let numbers: Vec<i32> = sensors.iter().map(|sensor| sensor.0).collect();
        let rows = sqlx::query_as!(
            StoredRow,
            "select r.sensor_id, r.captured_at, r.received_at, r.commit_seq, r.threshold_set_id, r.bundle_id,
                    r.baseline_id, r.residual, r.overall_level, r.isolation, r.growth, r.shift, r.narrowband, r.pca,
                    r.mahalanobis, r.severity, r.flags, r.verdict, r.condition_cell, r.detector_mask
             from sensor s join machine m using (machine_id)
             cross join unnest($3::timestamptz[], $4::timestamptz[]) i(low, high)
             cross join lateral (select * from reading r where r.sensor_id = s.sensor_id and r.captured_at >= i.low
                                 and r.captured_at < i.high order by r.captured_at limit 1) r
             where s.sensor_id = any($1) and ($2::int4[] is null or m.site_id = any($2))
             order by r.sensor_id, r.captured_at",
            &numbers,
            scope.to_filter() as _,
            &lows,
            &highs,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(StoredReading::try_from).collect()
    }
}
