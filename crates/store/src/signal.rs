//! What was heard of each sensor: one row each, written every few seconds, read by whoever watches for silence.
//!
//! **Invariant:** rows are locked in the order of their sensors, so that two replicas that hear of the same sensors wait
//! for each other.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::PgConnection;
use tocsin_domain::{ClassId, MachineId, SensorId, SensorSignal, SiteId, TokenId};

use crate::row::{Time, duration};
use crate::{Error, Result};

/// A sensor that was heard of, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedSignal {
    /// What was heard of it.
    pub signal: SensorSignal,
    /// Its machine.
    pub machine: MachineId,
    /// Its site.
    pub site: SiteId,
    /// The decision interval of its class: how often it says that something comes.
    pub step: Duration,
}

struct SignalRow {
    sensor_id: i32,
    token_id: Option<i32>,
    received_at: Time,
    captured_at: Time,
    arrival_gaps_ms: Vec<i64>,
    capture_gaps_ms: Vec<i64>,
    spectrum_hash: i64,
    same_since: Time,
    same_count: i32,
    stopped: Option<bool>,
}

impl From<SignalRow> for SensorSignal {
    fn from(row: SignalRow) -> Self {
        Self {
            sensor: SensorId(row.sensor_id),
            gateway: row.token_id.map(TokenId),
            received_at: row.received_at.into(),
            captured_at: row.captured_at.into(),
            arrival_gaps_ms: row.arrival_gaps_ms,
            capture_gaps_ms: row.capture_gaps_ms,
            spectrum_hash: row.spectrum_hash,
            same_since: row.same_since.into(),
            same_count: row.same_count,
            stopped: row.stopped,
        }
    }
}

/// What was heard of these sensors before, locked until the transaction ends; those never heard of are missing.
pub async fn signals_lock(conn: &mut PgConnection, sensors: &[SensorId]) -> Result<HashMap<SensorId, SensorSignal>> {
    let numbers: Vec<i32> = sensors.iter().map(|sensor| sensor.0).collect();
    let rows = sqlx::query_as!(
        SignalRow,
        "select sensor_id, token_id, received_at, captured_at, arrival_gaps_ms, capture_gaps_ms, spectrum_hash, same_since,
                same_count, stopped
         from sensor_signal where sensor_id = any($1) order by sensor_id for update",
        &numbers,
    )
    .fetch_all(conn)
    .await?;
    let signals = rows.into_iter().map(SensorSignal::from);
    Ok(signals.map(|signal| (signal.sensor, signal)).collect())
}

/// One row of [`signals_write`], in the columns of the table.
#[derive(serde::Serialize)]
struct Written<'a> {
    sensor_id: i32,
    token_id: Option<i32>,
    received_at: String,
    captured_at: String,
    arrival_gaps_ms: &'a [i64],
    capture_gaps_ms: &'a [i64],
    spectrum_hash: i64,
    same_since: String,
    same_count: i32,
    stopped: Option<bool>,
}

impl<'a> From<&'a SensorSignal> for Written<'a> {
    fn from(signal: &'a SensorSignal) -> Self {
        Self {
            sensor_id: signal.sensor.0,
            token_id: signal.gateway.map(|token| token.0),
            received_at: signal.received_at.to_string(),
            captured_at: signal.captured_at.to_string(),
            arrival_gaps_ms: &signal.arrival_gaps_ms,
            capture_gaps_ms: &signal.capture_gaps_ms,
            spectrum_hash: signal.spectrum_hash,
            same_since: signal.same_since.to_string(),
            same_count: signal.same_count,
            stopped: signal.stopped,
        }
    }
}

/// Writes what is known of sensors now, in one statement. Sensors and tokens that have gone since are left out.
pub async fn signals_write(conn: &mut PgConnection, signals: &[SensorSignal]) -> Result<()> {
    let rows: Vec<Written<'_>> = signals.iter().map(Written::from).collect();
    // Lists within a list have no form among the parameters but this.
    let rows = serde_json::to_string(&rows).expect("numbers and times have a JSON form");
    sqlx::query!(
        "insert into sensor_signal (sensor_id, token_id, received_at, captured_at, arrival_gaps_ms, capture_gaps_ms,
             spectrum_hash, same_since, same_count, stopped)
         select r.sensor_id, t.token_id, r.received_at, r.captured_at, r.arrival_gaps_ms, r.capture_gaps_ms, r.spectrum_hash,
                r.same_since, r.same_count, r.stopped
         from jsonb_to_recordset($1::text::jsonb) as r(sensor_id int4, token_id int4, received_at timestamptz,
                  captured_at timestamptz, arrival_gaps_ms int8[], capture_gaps_ms int8[], spectrum_hash int8,
                  same_since timestamptz, same_count int4, stopped bool)
         join sensor s on s.sensor_id = r.sensor_id left join gateway_token t on t.token_id = r.token_id
         order by r.sensor_id
         on conflict (sensor_id) do update set token_id = excluded.token_id, received_at = excluded.received_at,
             captured_at = excluded.captured_at, arrival_gaps_ms = excluded.arrival_gaps_ms,
             capture_gaps_ms = excluded.capture_gaps_ms, spectrum_hash = excluded.spectrum_hash,
             same_since = excluded.same_since, same_count = excluded.same_count, stopped = excluded.stopped",
        rows,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// All sensors that were ever heard of on the wall clock, by number, without those of canaries. A machine out of service
/// counts as one that stands still.
pub async fn signals_placed(conn: &mut PgConnection) -> Result<Vec<PlacedSignal>> {
    let rows = sqlx::query!(
        r#"select g.sensor_id, g.token_id, g.received_at, g.captured_at, g.arrival_gaps_ms, g.capture_gaps_ms, g.spectrum_hash,
                g.same_since, g.same_count,
                case when exists (select 1 from suppression p where p.machine_id = m.machine_id
                                  and p.kind = 'out_of_service' and p.ended_at is null)
                     then true else g.stopped end as stopped, s.machine_id, m.site_id, m.class_id, c.step_ms
         from sensor_signal g join sensor s using (sensor_id) join machine m using (machine_id)
         join machine_class c using (class_id)
         where m.class_id <> $1 order by g.sensor_id"#,
        ClassId::CANARY.0,
    )
    .fetch_all(conn)
    .await?;
    let placed = rows.into_iter().map(|row| {
        Ok(PlacedSignal {
            machine: MachineId(row.machine_id),
            site: SiteId(row.site_id),
            step: duration(
                "machine_class",
                "step_ms",
                row.class_id,
                row.step_ms,
                Duration::from_millis,
            )?,
            signal: SignalRow {
                sensor_id: row.sensor_id,
                token_id: row.token_id,
                received_at: row.received_at,
                captured_at: row.captured_at,
                arrival_gaps_ms: row.arrival_gaps_ms,
                capture_gaps_ms: row.capture_gaps_ms,
                spectrum_hash: row.spectrum_hash,
                same_since: row.same_since,
                same_count: row.same_count,
                stopped: row.stopped,
            }
            .into(),
        })
    });
    placed.collect::<Result<_, Error>>()
}
