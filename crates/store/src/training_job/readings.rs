//! What a class's models are fitted on, and what says that they no longer fit: healthy readings, as the view
//! `healthy_reading` draws the line.

use tocsin_domain::{BundleId, ClassId, MachineId, SensorId, SpecId, Timestamp};

use crate::baseline::floats;
use crate::reading::SpectrumColumn;
use crate::reading::spectra::ColumnRow;
use crate::row::time;
use crate::{Error, Result, Store};

/// A sensor that can be learned from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingSensor {
    /// The sensor.
    pub id: SensorId,
    /// `site/machine/sensor`.
    pub path: String,
    /// What it declared.
    pub spec: SpecId,
}

/// How the model in force rebuilds what a sensor reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SensorResidual {
    /// Its machine.
    pub machine: MachineId,
    /// Healthy readings of the period.
    pub readings: i64,
    /// The median of their residuals.
    pub median: f64,
}

/// Where a sensor stood in its newest round, and what that is held against.
#[derive(Debug, Clone, PartialEq)]
pub struct Departure {
    /// Its machine.
    pub machine: MachineId,
    /// What it declared.
    pub spec: SpecId,
    /// Recent median of ln(1 + s/s0) per bin, less that of the reference.
    pub move_ln: Vec<f32>,
}

impl Store {
    /// The sensors of a class at every site, in order.
    pub async fn training_sensors(&self, class: ClassId) -> Result<Vec<TrainingSensor>> {
        let rows = sqlx::query!(
            r#"select s.sensor_id, s.spec_id, i.name || '/' || m.name || '/' || s.name as "path!"
               from sensor s join machine m using (machine_id) join site i using (site_id)
               where m.class_id = $1 order by s.sensor_id"#,
            class.0,
        )
        .fetch_all(&self.pool)
        .await?;
        let sensors = rows.into_iter().map(|row| TrainingSensor {
            id: SensorId(row.sensor_id),
            path: row.path,
            spec: SpecId(row.spec_id),
        });
        Ok(sensors.collect())
    }

    /// Healthy spectra a sensor sent in a period, in order of capture: at most so many `runs` of so many (`of`) that follow
    /// one another, evenly spread. Runs are counted from the newest, so that the oldest alone may be shorter.
    pub async fn training_spectra(
        &self,
        sensor: SensorId,
        (from, to): (Timestamp, Timestamp),
        (runs, of): (u32, u32),
    ) -> Result<Vec<SpectrumColumn>> {
        let rows = sqlx::query_as!(
            ColumnRow,
            r#"with healthy as (
                   select h.captured_at, (row_number() over (order by h.captured_at desc) - 1) / $5 as run,
                          (count(*) over () + $5 - 1) / $5 as runs
                   from healthy_reading h
                   where h.sensor_id = $1 and h.captured_at >= $2 and h.captured_at < $3 and h.spectrum is not null)
               select r.captured_at, r.spectrum as "spectrum!", r.rpm, r.load
               from healthy h join reading r on r.sensor_id = $1 and r.captured_at = h.captured_at
               where h.run % ((h.runs + $4 - 1) / $4) = 0 order by r.captured_at"#,
            sensor.0,
            time(from),
            time(to),
            i64::from(runs.max(1)),
            i64::from(of.max(1)),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(SpectrumColumn::from).collect())
    }

    /// Median residual of the healthy readings of each sensor of a class since a time, under one bundle; of sensors that
    /// have at least `fewest`.
    pub async fn training_residuals(
        &self,
        class: ClassId,
        bundle: BundleId,
        since: Timestamp,
        fewest: u32,
    ) -> Result<Vec<SensorResidual>> {
        let rows = sqlx::query!(
            r#"select s.machine_id, count(*) as "readings!",
                      percentile_cont(0.5) within group (order by h.residual) as "median!"
               from sensor s join machine m using (machine_id) join healthy_reading h using (sensor_id)
               where m.class_id = $1 and h.bundle_id = $2 and h.captured_at >= $3 and h.residual is not null
               group by s.sensor_id having count(*) >= $4 order by s.sensor_id"#,
            class.0,
            bundle.0,
            time(since),
            i64::from(fewest),
        )
        .fetch_all(&self.pool)
        .await?;
        let residuals = rows.into_iter().map(|row| SensorResidual {
            machine: MachineId(row.machine_id),
            readings: row.readings,
            median: row.median,
        });
        Ok(residuals.collect())
    }

    /// How far the sensors of a class have moved: the median of each one's newest round, where that was since `since` and
    /// found no suspicion, less what was commissioned; less the median of its last round before the champion's training
    /// ended, where the champion came from a training job: that is what it was fitted on.
    pub async fn training_departures(&self, class: ClassId, since: Timestamp) -> Result<Vec<Departure>> {
        let rows = sqlx::query!(
            r#"with trained as (
                   select j.finished_at from training_job j
                   where j.bundle_id = (select b.champion_bundle_id from class_binding b where b.class_id = $1
                                        order by b.version desc limit 1)
                   order by j.finished_at desc limit 1)
               select s.sensor_id, s.machine_id, s.spec_id, f.recent as "recent!",
                      coalesce(t.recent, c.median) as "reference!"
               from commissioning k join sensor s using (sensor_id) join machine m using (machine_id)
               join baseline c on c.baseline_id = k.commissioned_baseline_id
               cross join lateral (
                   select r.recent, r.finding, r.at from following_round r
                   where r.sensor_id = k.sensor_id and r.epoch = k.epoch order by r.at desc limit 1) f
               left join lateral (
                   select r.recent from following_round r
                   where r.sensor_id = k.sensor_id and r.epoch = k.epoch and r.recent is not null
                     and r.at <= (select finished_at from trained) order by r.at desc limit 1) t on true
               where m.class_id = $1 and f.recent is not null and f.finding <> 'suspicion' and f.at >= $2
               order by s.sensor_id"#,
            class.0,
            time(since),
        )
        .fetch_all(&self.pool)
        .await?;
        let departures = rows.into_iter().map(|row| {
            let impossible = || Error::impossible("following_round", "recent", row.sensor_id);
            let recent = floats("recent", &row.recent, f32::is_finite).map_err(impossible())?;
            let reference = floats("median", &row.reference, f32::is_finite).map_err(impossible())?;
            Ok(Departure {
                machine: MachineId(row.machine_id),
                spec: SpecId(row.spec_id),
                move_ln: recent
                    .iter()
                    .zip(&reference)
                    .map(|(recent, from)| recent - from)
                    .collect(),
            })
        });
        departures.collect()
    }
}
