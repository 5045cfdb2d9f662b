//! Where each sensor stands: the epoch in which its baseline is learned, and whether it has been.
//!
//! **Invariant:** a sensor is in exactly one epoch from its first moment. It is commissioned while, and only while, it
//! has an active baseline; a new epoch takes that away and gives none back.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use sqlx::PgConnection;
use tocsin_domain::lifecycle::CommissioningState;
use tocsin_domain::{BaselineId, ClassId, Invalid, MachineId, Scope, SensorId, SpecId, Timestamp};

use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::changes::Channel;
use crate::reading::SpectrumColumn;
use crate::reading::spectra::ColumnRow;
use crate::row::{Time, time};
use crate::{Error, Result, Store};

pub mod refusal;

pub use refusal::{Acceptance, Refusal};

/// Where a sensor stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commissioning {
    /// Counts up from 1 with every time the sensor is commissioned anew.
    pub epoch: i32,
    /// When the epoch began.
    pub started_at: Timestamp,
    /// Who began it.
    pub started_by: String,
    /// Why.
    pub reason: String,
    /// How far it is.
    pub progress: Progress,
    /// That it may not be commissioned where it stands, or that somebody let it be.
    pub refusal: Option<Refusal>,
}

/// How far a sensor's commissioning is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Still learning.
    Commissioning {
        /// Healthy readings so far, the run-in not among them; at most `needed`.
        readings: u32,
        /// How many it takes, beside the class's span.
        needed: u32,
    },
    /// Has its baseline.
    Commissioned {
        /// The active one.
        baseline: BaselineId,
        /// Since when.
        at: Timestamp,
        /// Readings it was learned on.
        readings: u32,
    },
}

impl Progress {
    /// The state by name.
    pub fn state(self) -> CommissioningState {
        match self {
            Self::Commissioning { .. } => CommissioningState::Commissioning,
            Self::Commissioned { .. } => CommissioningState::Commissioned,
        }
    }
}

/// A sensor that has been seen enough, and that this process may commission until its lease ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadySensor {
    /// The sensor.
    pub sensor: SensorId,
    /// Its machine.
    pub machine: MachineId,
    /// The machine's class.
    pub class: ClassId,
    /// The sensor's spec.
    pub spec: SpecId,
    /// The epoch.
    pub epoch: i32,
    /// A person has accepted the zone it stands in.
    pub zone_accepted: bool,
    /// The capture times between which the class's count and span are reached, both included.
    pub window: (Timestamp, Timestamp),
}

/// Begins the first epoch of new sensors, in the transaction that makes them. All that they ever sent belongs to it.
pub(crate) async fn begin_first(conn: &mut PgConnection, sensors: &[i32], now: Timestamp) -> Result<()> {
    sqlx::query!(
        "insert into commissioning (sensor_id, epoch, state, since, started_at, started_by, reason)
         select s, 1, 'commissioning', $2, $3, 'registration', 'first epoch' from unnest($1::int4[]) s
         on conflict do nothing",
        sensors,
        time(Timestamp::MIN),
        time(now),
    )
    .execute(conn)
    .await?;
    Ok(())
}

struct StateRow {
    sensor_id: i32,
    epoch: i32,
    state: String,
    started_at: Time,
    started_by: String,
    reason: String,
    baseline_id: Option<i32>,
    commissioned_at: Option<Time>,
    learned: Option<i32>,
    seen: i64,
    needed: i32,
    refused_at: Option<Time>,
    refused_reason: Option<String>,
    zone_accepted_at: Option<Time>,
    zone_accepted_by: Option<String>,
    zone_accepted_reason: Option<String>,
}

impl TryFrom<StateRow> for Commissioning {
    type Error = Error;

    fn try_from(row: StateRow) -> Result<Self> {
        let impossible = |column| Error::impossible("commissioning", column, row.sensor_id);
        let state = CommissioningState::parse(&row.state).map_err(impossible("state"))?;
        let progress = match (state, row.baseline_id, row.commissioned_at) {
            (CommissioningState::Commissioning, None, None) => Progress::Commissioning {
                readings: u32::try_from(row.seen).unwrap_or_default(),
                needed: u32::try_from(row.needed).unwrap_or_default(),
            },
            (CommissioningState::Commissioned, Some(baseline), Some(at)) => Progress::Commissioned {
                baseline: BaselineId(baseline),
                at: at.into(),
                readings: row
                    .learned
                    .and_then(|count| u32::try_from(count).ok())
                    .unwrap_or_default(),
            },
            _ => {
                let wrong = Invalid::new("baseline_id", format!("{:?} while {}", row.baseline_id, row.state));
                return Err(impossible("baseline_id")(wrong));
            }
        };
        Ok(Self {
            epoch: row.epoch,
            started_at: row.started_at.into(),
            started_by: row.started_by,
            reason: row.reason,
            progress,
            refusal: Refusal::from_columns(
                (row.refused_at, row.refused_reason),
                (row.zone_accepted_at, row.zone_accepted_by, row.zone_accepted_reason),
            ),
        })
    }
}

impl Store {
    /// Of some machines the stretches before a sensor's present epoch began, but for a first one (a repair, a new bearing,
    /// other firmware): from the first capture time up to but without the second they say nothing about health.
    pub async fn machines_before_repair(
        &self,
        machines: &[MachineId],
    ) -> Result<BTreeMap<MachineId, Vec<(Timestamp, Timestamp)>>> {
        let machines: Vec<i32> = machines.iter().map(|machine| machine.0).collect();
        let rows = sqlx::query!(
            r#"select distinct machine_id as "machine_id!", from_at as "from_at!: Time", to_at as "to_at!: Time"
               from machine_before_repair where machine_id = any($1)"#,
            &machines,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut stretches: BTreeMap<MachineId, Vec<(Timestamp, Timestamp)>> = BTreeMap::new();
        for row in rows {
            let stretch = (row.from_at.into(), row.to_at.into());
            stretches.entry(MachineId(row.machine_id)).or_default().push(stretch);
        }
        Ok(stretches)
    }

    /// Where the sensors in `scope` stand. The readings of those that still learn are counted up to what they need.
    pub async fn commissioning_by_sensor(
        &self,
        scope: &Scope,
        sensors: &[SensorId],
    ) -> Result<HashMap<SensorId, Commissioning>> {
        let ids: Vec<i32> = sensors.iter().map(|sensor| sensor.0).collect();
        let rows = sqlx::query_as!(
            StateRow,
            r#"select k.sensor_id, k.epoch, k.state, k.started_at, k.started_by, k.reason, k.baseline_id,
                      k.commissioned_at, b.readings as "learned?", c.commissioning_readings as needed,
                      k.refused_at, k.refused_reason, k.zone_accepted_at, k.zone_accepted_by, k.zone_accepted_reason,
                      greatest(coalesce(n.seen, 0) - c.run_in_readings, 0) as "seen!"
               from commissioning k join sensor s using (sensor_id) join machine m using (machine_id)
               join machine_class c using (class_id) left join baseline b on b.baseline_id = k.commissioned_baseline_id
               left join lateral (
                   select count(*) as seen from (
                       select 1 from commissioning_reading r where r.sensor_id = k.sensor_id
                       limit c.run_in_readings + c.commissioning_readings) r
               ) n on k.state = 'commissioning'
               where k.sensor_id = any($1) and ($2::int4[] is null or m.site_id = any($2))"#,
            &ids,
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| Ok((SensorId(row.sensor_id), row.try_into()?)))
            .collect()
    }

    /// What the record of a sensor's first baseline of an epoch says: what its spread was pooled with, which the versions
    /// after it keep. Nothing where it has none or lies outside `scope`.
    pub async fn commissioning_reason(&self, scope: &Scope, sensor: SensorId, epoch: i32) -> Result<Option<String>> {
        let reason = sqlx::query_scalar!(
            "select b.reason from baseline b join sensor s using (sensor_id) join machine m using (machine_id)
             where b.sensor_id = $1 and b.epoch = $2 and b.condition_cell = 0 and b.version = 1
               and ($3::int4[] is null or m.site_id = any($3))",
            sensor.0,
            epoch,
            scope.to_filter() as _,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(reason)
    }

    /// Begins a new epoch of a sensor in `scope`: its baseline is no longer the active one. Readings captured from `now`
    /// on belong to it; on a machine that replays, those after its newest. `audit` is told the epoch's number.
    pub async fn commissioning_restart(
        &self,
        scope: &Scope,
        sensor: SensorId,
        (by, reason): (&str, &str),
        now: Timestamp,
        audit: impl FnOnce(&i32) -> NewAuditEntry,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        let begun = sqlx::query_scalar!(
            "update commissioning k
             set epoch = k.epoch + 1, state = 'commissioning', started_at = $3, started_by = $4, reason = $5,
                 baseline_id = null, commissioned_baseline_id = null, commissioned_at = null, leased_until = null,
                 refused_at = null, refused_reason = null, zone_accepted_at = null, zone_accepted_by = null,
                 zone_accepted_reason = null, following_held_at = null, following_held_by = null,
                 following_held_reason = null,
                 since = coalesce((
                     select case when newest.flags & 8 <> 0 then newest.captured_at + interval '1 microsecond' end
                     from sensor t cross join lateral (
                         select r.captured_at, r.flags from reading_with_kept r where r.sensor_id = t.sensor_id
                         order by r.captured_at desc limit 1) newest
                     where t.machine_id = s.machine_id order by newest.captured_at desc limit 1), $3)
             from sensor s join machine m using (machine_id)
             where k.sensor_id = $1 and s.sensor_id = k.sensor_id and ($2::int4[] is null or m.site_id = any($2))
             returning k.epoch",
            sensor.0,
            scope.to_filter() as _,
            time(now),
            by,
            reason,
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let epoch = begun.ok_or_else(|| Error::not_found(format!("sensor {sensor}")))?;
        Channel::Baseline.notify(&mut transaction).await?;
        commit(transaction, epoch, audit, now).await?;
        Ok(())
    }

    /// Takes sensors that have been seen enough and that nobody else works on, until `now + lease`. A sensor that has
    /// sent for a shorter time than the span costs two looks into an index.
    pub async fn commissioning_lease(
        &self,
        scope: &Scope,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<ReadySensor>> {
        let rows = sqlx::query!(
            r#"with ready as (
                   select k.sensor_id, s.machine_id, m.class_id, s.spec_id, w.first_at,
                          greatest(w.nth_at, w.first_at + w.span) as last_at
                   from commissioning k join sensor s using (sensor_id) join machine m using (machine_id)
                   join machine_class c using (class_id)
                   cross join lateral (
                       select r.captured_at from reading r where r.sensor_id = k.sensor_id and r.captured_at >= k.since
                       order by r.captured_at limit 1) oldest
                   cross join lateral (
                       select make_interval(secs => c.commissioning_span_s) as span,
                              min(h.captured_at) filter (where h.place = c.run_in_readings + 1) as first_at,
                              min(h.captured_at) filter (where h.place = c.run_in_readings + c.commissioning_readings)
                                  as nth_at
                       from (select r.captured_at, row_number() over (order by r.captured_at) as place
                             from commissioning_reading r
                             where r.sensor_id = k.sensor_id and exists (
                                 select 1 from reading r where r.sensor_id = k.sensor_id and r.captured_at >=
                                     oldest.captured_at + make_interval(secs => c.commissioning_span_s))
                             order by r.captured_at limit c.run_in_readings + c.commissioning_readings) h) w
                   where k.state = 'commissioning' and (k.leased_until is null or k.leased_until <= $1)
                     and (k.refused_at is null or k.zone_accepted_at is not null)
                     and ($4::int4[] is null or m.site_id = any($4)) and w.nth_at is not null
                     and exists (select 1 from commissioning_reading r
                                 where r.sensor_id = k.sensor_id and r.captured_at >= w.first_at + w.span)
                   order by k.sensor_id limit $3 for update of k skip locked)
               update commissioning k set leased_until = $2 from ready
               where k.sensor_id = ready.sensor_id
               returning k.sensor_id, k.epoch, k.zone_accepted_at is not null as "zone_accepted!", ready.machine_id, ready.class_id, ready.spec_id,
                         ready.first_at as "first_at!", ready.last_at as "last_at!""#,
            time(now),
            time(now + lease),
            i64::from(limit),
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        let ready = rows.into_iter().map(|row| ReadySensor {
            sensor: SensorId(row.sensor_id),
            machine: MachineId(row.machine_id),
            class: ClassId(row.class_id),
            spec: SpecId(row.spec_id),
            epoch: row.epoch,
            zone_accepted: row.zone_accepted,
            window: (row.first_at.into(), row.last_at.into()),
        });
        Ok(ready.collect())
    }

    /// The spectra a ready sensor is commissioned on, in order of capture, without those that stood in zone C or D unless
    /// that was accepted. Of more than `most` every so-manieth is taken.
    pub async fn commissioning_spectra(
        &self,
        scope: &Scope,
        ready: &ReadySensor,
        most: u32,
    ) -> Result<Vec<SpectrumColumn>> {
        let rows = sqlx::query_as!(
            ColumnRow,
            r#"with healthy as (
                   select r.captured_at, row_number() over (order by r.captured_at) - 1 as place,
                          count(*) over () as total
                   from commissioning_reading r join sensor s using (sensor_id) join machine m using (machine_id)
                   where r.sensor_id = $1 and r.captured_at >= $2 and r.captured_at <= $3
                     and ($5::int4[] is null or m.site_id = any($5)) and ($6 or r.severity is null or r.severity < 1))
               select r.captured_at, r.spectrum as "spectrum!", r.rpm, r.load
               from healthy h join reading r on r.sensor_id = $1 and r.captured_at = h.captured_at
               where h.place % ((h.total + $4 - 1) / $4) = 0 and r.spectrum is not null order by r.captured_at"#,
            ready.sensor.0,
            time(ready.window.0),
            time(ready.window.1),
            i64::from(most.max(1)),
            scope.to_filter() as _,
            ready.zone_accepted,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(SpectrumColumn::from).collect())
    }
}
