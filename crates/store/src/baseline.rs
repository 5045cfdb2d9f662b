//! Baselines: what each sensor looked like when it was commissioned.
//!
//! **Invariant:** a baseline never changes, an epoch has one per condition cell, and it becomes the active one in the
//! transaction that writes it.

use sqlx::PgConnection;
use tocsin_domain::{BaselineId, ClassId, Invalid, MachineId, Scope, SensorId, SpecId, Timestamp};

use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::changes::Channel;
use crate::row::{Time, time};
use crate::{Error, Result, Store};

/// Most baselines read at once, and most whose spreads a fleet's is taken from.
const MOST: i64 = 256;

/// What was learned of a sensor, ready to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewBaseline {
    /// The sensor.
    pub sensor: SensorId,
    /// The epoch it was learned in.
    pub epoch: i32,
    /// The numbers.
    pub profile: Profile,
    /// Mean and standard deviation of the log energy.
    pub log_energy: (f64, f64),
    /// Machines behind the fleet's spread; 0 when the sensor's own stood alone.
    pub pooled_machines: u32,
    /// Readings it was learned on.
    pub readings: u32,
    /// Capture time of the first and the last of them.
    pub window: (Timestamp, Timestamp),
    /// Who made it.
    pub created_by: String,
    /// Why, and on what.
    pub reason: String,
}

/// What a sensor is held against: one number of each kind per bin, and its trend.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Median of ln(1 + s/s0).
    pub median: Vec<f32>,
    /// The sensor's own spread.
    pub spread: Vec<f32>,
    /// The spread pooled with the fleet's, above zero.
    pub scale: Vec<f32>,
    /// How the median goes with speed and load, as the detectors write it; none where readings told neither.
    pub trend: Option<Vec<u8>>,
}

/// A stored baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    /// Its number.
    pub id: BaselineId,
    /// The sensor's spec.
    pub spec: SpecId,
    /// Counts up within its epoch from 1, the one that was commissioned or accepted.
    pub version: i32,
    /// When it was made.
    pub created_at: Timestamp,
    /// What was learned.
    pub learned: NewBaseline,
}

/// How one commissioned sensor's spectra scatter.
#[derive(Debug, Clone, PartialEq)]
pub struct SensorSpread {
    /// Its machine.
    pub machine: MachineId,
    /// The numbers it has.
    pub profile: Profile,
    /// Readings behind them.
    pub readings: u32,
}

struct BaselineRow {
    baseline_id: i32,
    sensor_id: i32,
    spec_id: i32,
    epoch: i32,
    version: i32,
    median: Vec<u8>,
    spread: Vec<u8>,
    scale: Vec<u8>,
    trend: Option<Vec<u8>>,
    log_energy_mean: f64,
    log_energy_sd: f64,
    pooled_machines: i32,
    readings: i32,
    first_at: Time,
    last_at: Time,
    created_at: Time,
    created_by: String,
    reason: String,
}

impl TryFrom<BaselineRow> for Baseline {
    type Error = Error;

    fn try_from(row: BaselineRow) -> Result<Self> {
        let id = row.baseline_id;
        let (mean, sd) = (row.log_energy_mean, row.log_energy_sd);
        if !(mean.is_finite() && sd.is_finite() && sd > 0.0) {
            let wrong = Invalid::new("log_energy_sd", format!("{mean} and {sd} are no distribution"));
            return Err(Error::impossible("baseline", "log_energy_sd", id)(wrong));
        }
        Ok(Self {
            id: BaselineId(id),
            spec: SpecId(row.spec_id),
            version: row.version,
            created_at: row.created_at.into(),
            learned: NewBaseline {
                sensor: SensorId(row.sensor_id),
                epoch: row.epoch,
                profile: Profile::read(id, [&row.median, &row.spread, &row.scale], row.trend)?,
                log_energy: (mean, sd),
                pooled_machines: counted("pooled_machines", id, row.pooled_machines)?,
                readings: counted("readings", id, row.readings)?,
                window: (row.first_at.into(), row.last_at.into()),
                created_by: row.created_by,
                reason: row.reason,
            },
        })
    }
}

struct SpreadRow {
    baseline_id: i32,
    machine_id: i32,
    median: Vec<u8>,
    spread: Vec<u8>,
    scale: Vec<u8>,
    trend: Option<Vec<u8>>,
    readings: i32,
}

impl TryFrom<SpreadRow> for SensorSpread {
    type Error = Error;

    fn try_from(row: SpreadRow) -> Result<Self> {
        Ok(Self {
            machine: MachineId(row.machine_id),
            profile: Profile::read(row.baseline_id, [&row.median, &row.spread, &row.scale], row.trend)?,
            readings: counted("readings", row.baseline_id, row.readings)?,
        })
    }
}

impl Profile {
    pub(crate) fn read(id: i32, [median, spread, scale]: [&[u8]; 3], trend: Option<Vec<u8>>) -> Result<Self> {
        let impossible = |column| Error::impossible("baseline", column, id);
        let column = |name, bytes, usable: fn(f32) -> bool| floats(name, bytes, usable).map_err(impossible(name));
        let profile = Self {
            median: column("median", median, f32::is_finite)?,
            spread: column("spread", spread, |v| v.is_finite() && v >= 0.0)?,
            scale: column("scale", scale, |v| v.is_finite() && v > 0.0)?,
            trend,
        };
        for (name, found) in [("spread", profile.spread.len()), ("scale", profile.scale.len())] {
            let bins = profile.median.len();
            if found != bins {
                let wrong = Invalid::new(name, format!("holds {found} bins, the median {bins}"));
                return Err(impossible(name)(wrong));
            }
        }
        Ok(profile)
    }
}

fn counted(column: &'static str, id: i32, number: i32) -> Result<u32> {
    u32::try_from(number)
        .map_err(|_| Invalid::new(column, format!("{number} is negative")))
        .map_err(Error::impossible("baseline", column, id))
}

pub(crate) fn floats(field: &str, bytes: &[u8], usable: fn(f32) -> bool) -> Result<Vec<f32>, Invalid> {
    let (values, rest) = bytes.as_chunks::<4>();
    if values.is_empty() || !rest.is_empty() {
        return Err(Invalid::new(field, format!("{} bytes are no floats", bytes.len())));
    }
    let values: Vec<f32> = values.iter().copied().map(f32::from_le_bytes).collect();
    match values.iter().position(|value| !usable(*value)) {
        Some(bin) => Err(Invalid::new(field, format!("bin {bin} is {}", values[bin]))),
        None => Ok(values),
    }
}

pub(crate) fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

impl Store {
    /// Stores a baseline and makes it its sensor's active one, in one transaction; its number. Nothing when the sensor
    /// is not being commissioned in that epoch any more (somebody else was first, or a new epoch has begun), or lies outside
    /// `scope`.
    pub async fn baseline_activate(
        &self,
        scope: &Scope,
        new: &NewBaseline,
        now: Timestamp,
        audit: impl FnOnce(&BaselineId) -> NewAuditEntry,
    ) -> Result<Option<BaselineId>> {
        let mut transaction = self.begin().await?;
        let Some(id) = insert(&mut transaction, scope, new, now).await? else {
            return Ok(None);
        };
        let activated = sqlx::query!(
            "update commissioning set state = 'commissioned', baseline_id = $3, commissioned_baseline_id = $3,
                 commissioned_at = $4,
                 leased_until = null
             where sensor_id = $1 and epoch = $2 and state = 'commissioning'",
            new.sensor.0,
            new.epoch,
            id,
            time(now),
        )
        .execute(&mut *transaction)
        .await?;
        if activated.rows_affected() == 0 {
            return Ok(None);
        }
        Channel::Baseline.notify(&mut transaction).await?;
        commit(transaction, BaselineId(id), audit, now).await.map(Some)
    }

    /// The active baseline of every sensor in `scope` that has one: numbers alone, cheap enough to read at every change.
    pub async fn baselines_active(&self, scope: &Scope) -> Result<Vec<(SensorId, BaselineId)>> {
        let rows = sqlx::query!(
            r#"select k.sensor_id, k.baseline_id as "baseline_id!" from commissioning k
               where k.baseline_id is not null and ($1::int4[] is null or exists (
                   select 1 from sensor s join machine m using (machine_id)
                   where s.sensor_id = k.sensor_id and m.site_id = any($1)))"#,
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| (SensorId(row.sensor_id), BaselineId(row.baseline_id)))
            .collect())
    }

    /// Baselines by number, in no order; those that don't exist or lie outside `scope` are missing.
    pub async fn baselines_by_id(&self, scope: &Scope, baselines: &[BaselineId]) -> Result<Vec<Baseline>> {
        let mut found = Vec::with_capacity(baselines.len());
        for some in baselines.chunks(MOST as usize) {
            let ids: Vec<i32> = some.iter().map(|baseline| baseline.0).collect();
            let rows = sqlx::query_as!(
                BaselineRow,
                "select b.baseline_id, b.sensor_id, s.spec_id, b.epoch, b.version, b.median, b.spread, b.scale,
                        b.trend, b.log_energy_mean, b.log_energy_sd, b.pooled_machines, b.readings, b.first_at, b.last_at,
                        b.created_at, b.created_by, b.reason
                 from baseline b join sensor s using (sensor_id) join machine m using (machine_id)
                 where b.baseline_id = any($1) and ($2::int4[] is null or m.site_id = any($2))",
                &ids,
                scope.to_filter() as _,
            )
            .fetch_all(&self.pool)
            .await?;
            for row in rows {
                found.push(row.try_into()?);
            }
        }
        Ok(found)
    }

    /// How the commissioned sensors of one class and spec in `scope` scatter, the newest baselines first; at most 256. A
    /// row that is impossible is passed over with a word in the log: it costs the fleet one sensor.
    pub async fn baseline_spreads(&self, scope: &Scope, class: ClassId, spec: SpecId) -> Result<Vec<SensorSpread>> {
        let rows = sqlx::query_as!(
            SpreadRow,
            "select b.baseline_id, s.machine_id, b.median, b.spread, b.scale, b.trend, b.readings
             from commissioning k join baseline b on b.baseline_id = k.commissioned_baseline_id
             join sensor s on s.sensor_id = k.sensor_id
             join machine m using (machine_id)
             where m.class_id = $1 and s.spec_id = $2 and ($4::int4[] is null or m.site_id = any($4))
             order by b.baseline_id desc limit $3",
            class.0,
            spec.0,
            MOST,
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(readable(rows))
    }

    /// The same of all other classes that have the spec.
    pub async fn baseline_spreads_elsewhere(
        &self,
        scope: &Scope,
        class: ClassId,
        spec: SpecId,
    ) -> Result<Vec<SensorSpread>> {
        let rows = sqlx::query_as!(
            SpreadRow,
            "select b.baseline_id, s.machine_id, b.median, b.spread, b.scale, b.trend, b.readings
             from commissioning k join baseline b on b.baseline_id = k.commissioned_baseline_id
             join sensor s on s.sensor_id = k.sensor_id
             join machine m using (machine_id)
             where m.class_id <> $1 and s.spec_id = $2 and ($4::int4[] is null or m.site_id = any($4))
             order by b.baseline_id desc limit $3",
            class.0,
            spec.0,
            MOST,
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(readable(rows))
    }
}

/// The spreads that make sense.
fn readable(rows: Vec<SpreadRow>) -> Vec<SensorSpread> {
    let spread = |row| {
        let error = |error: &Error| tracing::error!(%error, "a baseline can't be read, its spread counts for nothing");
        SensorSpread::try_from(row).inspect_err(error).ok()
    };
    rows.into_iter().filter_map(spread).collect()
}

/// The row, unless the epoch has one or has passed.
async fn insert(conn: &mut PgConnection, scope: &Scope, new: &NewBaseline, now: Timestamp) -> Result<Option<i32>> {
    let id = sqlx::query_scalar!(
        "insert into baseline (sensor_id, epoch, condition_cell, median, spread, scale, trend, log_energy_mean, log_energy_sd,
             pooled_machines, readings, first_at, last_at, created_at, created_by, reason)
         select k.sensor_id, k.epoch, 0, $3, $4, $5, $16, $6, $7, $8, $9, $10, $11, $12, $13, $14
         from commissioning k where k.sensor_id = $1 and k.epoch = $2 and k.state = 'commissioning'
             and ($15::int4[] is null or exists (select 1 from sensor s join machine m using (machine_id)
                                                 where s.sensor_id = k.sensor_id and m.site_id = any($15)))
         for update
         on conflict (sensor_id, epoch, condition_cell, version) do nothing returning baseline_id",
        new.sensor.0,
        new.epoch,
        bytes(&new.profile.median),
        bytes(&new.profile.spread),
        bytes(&new.profile.scale),
        new.log_energy.0,
        new.log_energy.1,
        i32::try_from(new.pooled_machines).unwrap_or(i32::MAX),
        i32::try_from(new.readings).unwrap_or(i32::MAX),
        time(new.window.0),
        time(new.window.1),
        time(now),
        new.created_by,
        new.reason,
        scope.to_filter() as _,
        new.profile.trend,
    )
    .fetch_optional(conn)
    .await?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_that_is_none_is_impossible_and_named() {
        let two = bytes(&[1.0, 2.0]);
        let profile = Profile::read(7, [&two, &two, &two], None).unwrap();
        assert_eq!(profile.scale, [1.0, 2.0]);
        let zero = bytes(&[1.0, 0.0]);
        let error = Profile::read(7, [&two, &zero, &zero], None).unwrap_err().to_string();
        assert_eq!(error, "impossible row: baseline.scale of 7: bin 1 is 0");
        for (wrong, column) in [(&two[..4], "spread"), (&two[..5], "spread"), (&[], "spread")] {
            let error = Profile::read(7, [&two, wrong, &two], None).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("impossible row: baseline.{column} of 7")),
                "{error}"
            );
        }
    }
}
