//! Baselines that follow their sensors: groups that are due, what a round looks at, and what it came to.
//!
//! **Invariant:** a round's baselines become active in one transaction, and only where the version they were made from
//! is still the active one: a new epoch, or a person who accepted a plateau, goes before.

mod record;
mod rollback;

use std::time::Duration;

use tocsin_domain::{BaselineId, ClassId, Invalid, MachineId, Scope, SensorId, SpecId, Timestamp};

use crate::baseline::{Profile, floats};
use crate::reading::SpectrumColumn;
use crate::reading::spectra::ColumnRow;
use crate::row::{Time, time};
use crate::{Error, Result, Store};

pub use record::{NewRound, NextVersion};
pub use rollback::RolledBack;

/// Sensors of one class and spec, which follow together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// The class.
    pub class: ClassId,
    /// The spec.
    pub spec: SpecId,
}

/// Where a commissioned sensor stands before a round.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowingSensor {
    /// The sensor.
    pub sensor: SensorId,
    /// Its machine.
    pub machine: MachineId,
    /// Its epoch.
    pub epoch: i32,
    /// What was commissioned.
    pub commissioned: (BaselineId, Profile),
    /// Mean and standard deviation of the log energy then.
    pub log_energy: (f64, f64),
    /// The active version.
    pub active: (BaselineId, Profile),
    /// Mean of the medians of its epoch's first seven rounds that had one; none before there are as many.
    pub usual: Option<Vec<f32>>,
    /// Sum of its standings above its peers.
    pub cusum: f64,
    /// Readings captured up to here have been looked at.
    pub looked_until: Timestamp,
    /// The last round looked at readings captured after this: nothing before what was commissioned or accepted.
    pub looked_from: Timestamp,
    /// A person took its baseline back: it does not move.
    pub held_by_person: bool,
}

/// Rounds whose mean says where a sensor usually stands.
const USUAL_ROUNDS: i64 = 7;

/// What a sensor read since the last round.
#[derive(Debug, Clone, PartialEq)]
pub struct RecentSpectra {
    /// In order of capture.
    pub spectra: Vec<SpectrumColumn>,
    /// Whether an incident was open: then they show where the sensor stands, and are not taken for health.
    pub disturbed: bool,
    /// Capture time of the newest reading there is.
    pub until: Timestamp,
}

/// A sensor's newest round.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// The sensor.
    pub sensor: SensorId,
    /// When it was.
    pub at: Timestamp,
    /// Healthy readings of the period.
    pub readings: u32,
    /// `steady`, `drift` or `suspicion`.
    pub finding: String,
    /// How far it stood above its peers, in robust standard deviations.
    pub standing: f64,
    /// The same in sum.
    pub cusum: f64,
    /// Whether it may not move up.
    pub held: bool,
    /// How far the period's median stood above what was commissioned, dB.
    pub recent_db: f32,
    /// How far the active version stands above what was commissioned, dB.
    pub active_db: f32,
    /// Who took the baseline back, and why, while it is held.
    pub held_by_person: Option<(String, String)>,
    /// The active version, within its epoch.
    pub version: i32,
}

struct SensorRow {
    sensor_id: i32,
    machine_id: i32,
    class_id: i32,
    spec_id: i32,
    epoch: i32,
    commissioned_id: i32,
    commissioned_median: Vec<u8>,
    log_energy_mean: f64,
    log_energy_sd: f64,
    active_id: i32,
    active_median: Vec<u8>,
    spread: Vec<u8>,
    scale: Vec<u8>,
    trend: Option<Vec<u8>>,
    first_medians: Vec<Vec<u8>>,
    cusum: f64,
    looked_until: Time,
    looked_from: Time,
    held_by_person: bool,
}

impl TryFrom<SensorRow> for FollowingSensor {
    type Error = Error;

    fn try_from(row: SensorRow) -> Result<Self> {
        if !(row.cusum.is_finite() && row.cusum >= 0.0) {
            let wrong = Invalid::new("cusum", format!("{} is no sum", row.cusum));
            return Err(Error::impossible("following_round", "cusum", row.sensor_id)(wrong));
        }
        let profile = |id, median: &[u8]| -> Result<(BaselineId, Profile)> {
            Ok((
                BaselineId(id),
                Profile::read(id, [median, &row.spread, &row.scale], row.trend.clone())?,
            ))
        };
        Ok(Self {
            sensor: SensorId(row.sensor_id),
            machine: MachineId(row.machine_id),
            epoch: row.epoch,
            commissioned: profile(row.commissioned_id, &row.commissioned_median)?,
            log_energy: (row.log_energy_mean, row.log_energy_sd),
            active: profile(row.active_id, &row.active_median)?,
            usual: usual(&row.first_medians).map_err(Error::impossible("following_round", "recent", row.sensor_id))?,
            cusum: row.cusum,
            looked_until: row.looked_until.into(),
            looked_from: row.looked_from.into(),
            held_by_person: row.held_by_person,
        })
    }
}

/// The mean of as many medians as it takes; nothing of fewer.
fn usual(medians: &[Vec<u8>]) -> Result<Option<Vec<f32>>, Invalid> {
    if (medians.len() as i64) < USUAL_ROUNDS {
        return Ok(None);
    }
    let medians = medians.iter().map(|median| floats("recent", median, f32::is_finite));
    let medians = medians.collect::<Result<Vec<_>, _>>()?;
    let bins = medians[0].len();
    if let Some(other) = medians.iter().find(|median| median.len() != bins) {
        return Err(Invalid::new("recent", format!("{} bins beside {bins}", other.len())));
    }
    let mean = |bin: usize| medians.iter().map(|median| median[bin]).sum::<f32>() / medians.len() as f32;
    Ok(Some((0..bins).map(mean).collect()))
}

impl Store {
    /// Takes one group whose last round is at least a period ago, until `now + lease`, but none of those that the caller is
    /// done with. A group's first round is a period after its first sensor was commissioned. Without a period all groups
    /// are due.
    pub async fn following_lease(
        &self,
        now: Timestamp,
        period: Option<Duration>,
        lease: Duration,
        done: &[Group],
    ) -> Result<Option<Group>> {
        sqlx::query!(
            "insert into following_group (class_id, spec_id, followed_at)
             select m.class_id, s.spec_id, min(k.commissioned_at) from commissioning k join sensor s using (sensor_id)
             join machine m using (machine_id) where k.state = 'commissioned' group by 1, 2 on conflict do nothing",
        )
        .execute(&self.pool)
        .await?;
        let due = period.map_or(Timestamp::MAX, |period| now - period);
        let (classes, specs): (Vec<i32>, Vec<i32>) = done.iter().map(|group| (group.class.0, group.spec.0)).unzip();
        let row = sqlx::query!(
            "with due as (
                 select class_id, spec_id from following_group
                 where followed_at <= $2 and (leased_until is null or leased_until <= $1)
                   and (class_id, spec_id) not in (select * from unnest($4::int4[], $5::int4[]))
                 order by followed_at limit 1 for update skip locked)
             update following_group g set leased_until = $3 from due
             where g.class_id = due.class_id and g.spec_id = due.spec_id returning g.class_id, g.spec_id",
            time(now),
            time(due),
            time(now + lease),
            &classes,
            &specs,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| Group {
            class: ClassId(row.class_id),
            spec: SpecId(row.spec_id),
        }))
    }

    /// The commissioned sensors of a group, in order. One whose row is impossible is passed over with a word in the log.
    pub async fn following_sensors(&self, scope: &Scope, group: Group) -> Result<Vec<FollowingSensor>> {
        let mut sensors = Vec::new();
        for row in self.following_rows(scope, Some(group), None).await? {
            match FollowingSensor::try_from(row) {
                Ok(sensor) => sensors.push(sensor),
                Err(error) => tracing::error!(%error, "a baseline can't be read, its sensor does not follow"),
            }
        }
        Ok(sensors)
    }

    /// One commissioned sensor and its group.
    pub async fn following_sensor(&self, scope: &Scope, sensor: SensorId) -> Result<(Group, FollowingSensor)> {
        let rows = self.following_rows(scope, None, Some(sensor)).await?;
        let row = rows.into_iter().next();
        let row = row.ok_or_else(|| Error::not_found(format!("a commissioned sensor {sensor}")))?;
        let group = Group {
            class: ClassId(row.class_id),
            spec: SpecId(row.spec_id),
        };
        Ok((group, row.try_into()?))
    }

    async fn following_rows(
        &self,
        scope: &Scope,
        group: Option<Group>,
        sensor: Option<SensorId>,
    ) -> Result<Vec<SensorRow>> {
        let rows = sqlx::query_as!(
            SensorRow,
            r#"select k.sensor_id, s.machine_id, m.class_id, s.spec_id, k.epoch, c.baseline_id as commissioned_id,
                      c.median as commissioned_median, c.log_energy_mean, c.log_energy_sd, a.baseline_id as active_id, a.median as active_median,
                      c.spread, c.scale, c.trend, coalesce(f.cusum, 0) as "cusum!",
                      array(select r.recent from following_round r
                            where r.sensor_id = k.sensor_id and r.epoch = k.epoch and r.recent is not null
                              and r.at > c.created_at order by r.at limit $5) as "first_medians!",
                      coalesce(f.until, c.last_at) as "looked_until!",
                      greatest(g.until, c.last_at) as "looked_from!",
                      k.following_held_at is not null as "held_by_person!"
               from commissioning k join sensor s using (sensor_id) join machine m using (machine_id)
               join baseline c on c.baseline_id = k.commissioned_baseline_id
               join baseline a on a.baseline_id = k.baseline_id
               left join lateral (
                   select r.cusum, r.until from following_round r where r.sensor_id = k.sensor_id and r.epoch = k.epoch
                   order by r.at desc limit 1) f on true
               left join lateral (
                   select r.until from following_round r where r.sensor_id = k.sensor_id and r.epoch = k.epoch
                   order by r.at desc offset 1 limit 1) g on true
               where ($1::int4 is null or m.class_id = $1) and ($2::int4 is null or s.spec_id = $2)
                 and ($3::int4[] is null or m.site_id = any($3)) and ($4::int4 is null or k.sensor_id = $4)
               order by k.sensor_id"#,
            group.map(|group| group.class.0),
            group.map(|group| group.spec.0),
            scope.to_filter() as _,
            sensor.map(|sensor| sensor.0),
            USUAL_ROUNDS,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// What a sensor read after `after`. Of more than `most` every so-manieth is taken. A reading of a machine that stood
    /// still is none, nor one that was judged page, however it came. A period in which the machine was not healthy (an
    /// incident open, or a failure labelled) is a disturbed one; what was labelled a false alarm is healthy.
    pub async fn following_spectra(
        &self,
        scope: &Scope,
        (sensor, machine): (SensorId, MachineId),
        after: Timestamp,
        most: u32,
    ) -> Result<Option<RecentSpectra>> {
        let newest = sqlx::query!(
            r#"select w.until as "until!", exists (
                   select 1 from machine_unhealthy u where u.machine_id = $2 and u.from_at <= w.until
                     and u.to_at > $3) as "disturbed!"
               from (select max(r.captured_at) as until from reading r
                     join sensor s using (sensor_id) join machine m using (machine_id)
                     where r.sensor_id = $1 and r.captured_at > $3 and ($4::int4[] is null or m.site_id = any($4))) w
               where w.until is not null"#,
            sensor.0,
            machine.0,
            time(after),
            scope.to_filter() as _,
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(newest) = newest else { return Ok(None) };
        let period = (after, newest.until.into());
        Ok(Some(RecentSpectra {
            spectra: self
                .spectra_between(scope, sensor, period, (most, newest.disturbed))
                .await?,
            disturbed: newest.disturbed,
            until: newest.until.into(),
        }))
    }

    /// What a sensor read after the first time and up to the second, whether or not it paged; of more than
    /// `most` every so-manieth.
    pub async fn plateau_spectra(
        &self,
        scope: &Scope,
        sensor: SensorId,
        period: (Timestamp, Timestamp),
        most: u32,
    ) -> Result<Vec<SpectrumColumn>> {
        self.spectra_between(scope, sensor, period, (most, true)).await
    }

    async fn spectra_between(
        &self,
        scope: &Scope,
        sensor: SensorId,
        (after, until): (Timestamp, Timestamp),
        (most, paged): (u32, bool),
    ) -> Result<Vec<SpectrumColumn>> {
        let rows = sqlx::query_as!(
            ColumnRow,
            r#"with healthy as (
                   select r.captured_at, row_number() over (order by r.captured_at) - 1 as place,
                          count(*) over () as total
                   from learnable_reading r join machine m using (machine_id)
                   where r.sensor_id = $1 and r.captured_at > $2 and r.captured_at <= $3
                     and ($6 or not r.judged_page) and ($5::int4[] is null or m.site_id = any($5)))
               select r.captured_at, r.spectrum as "spectrum!", r.rpm, r.load
               from healthy h join reading r on r.sensor_id = $1 and r.captured_at = h.captured_at
               where h.place % ((h.total + $4 - 1) / $4) = 0 order by r.captured_at"#,
            sensor.0,
            time(after),
            time(until),
            i64::from(most.max(1)),
            scope.to_filter() as _,
            paged,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(SpectrumColumn::from).collect())
    }

    /// The newest round of each sensor of a site in `scope`, in this epoch.
    pub async fn following_rounds(&self, scope: &Scope, sensors: &[SensorId]) -> Result<Vec<Round>> {
        let ids: Vec<i32> = sensors.iter().map(|sensor| sensor.0).collect();
        let rows = sqlx::query!(
            "select f.sensor_id, f.at, f.readings, f.finding, f.standing, f.cusum, f.held, f.recent_db, f.active_db,
                    k.following_held_by, k.following_held_reason, b.version
             from commissioning k join sensor s using (sensor_id) join machine m using (machine_id)
             join baseline b on b.baseline_id = k.baseline_id
             cross join lateral (
                 select * from following_round r where r.sensor_id = k.sensor_id and r.epoch = k.epoch
                 order by r.at desc limit 1) f
             where k.sensor_id = any($1) and ($2::int4[] is null or m.site_id = any($2)) order by f.sensor_id",
            &ids,
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        let rounds = rows.into_iter().map(|row| Round {
            sensor: SensorId(row.sensor_id),
            at: row.at.into(),
            readings: u32::try_from(row.readings).unwrap_or_default(),
            finding: row.finding,
            standing: row.standing,
            cusum: row.cusum,
            held: row.held,
            recent_db: row.recent_db,
            active_db: row.active_db,
            held_by_person: row.following_held_by.zip(row.following_held_reason),
            version: row.version,
        });
        Ok(rounds.collect())
    }
}
