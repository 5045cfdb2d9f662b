//! Incidents: the row behind each life, written by the fold and by people who acknowledge.
//!
//! **Invariant:** at most one incident is open per machine, held by a unique index. Whoever changes an incident holds
//! the lock of its machine.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::PgConnection;
use tocsin_domain::{
    BundleId, Detector, IncidentId, IncidentState, Invalid, Level, MachineId, SensorId, Severity, ThresholdSetId,
    Timestamp,
};

use crate::changes::Channel;
use crate::row::{Time, none_if_zero, time, time_opt};
use crate::{Error, Result};

pub mod evidence;
pub mod filter;
pub mod list;
pub mod review;
pub mod work_order;

pub use evidence::{Evidence, NewEvidence, evidence_attach, evidence_insert};
pub use filter::IncidentFilter;
pub use list::{IncidentListing, IncidentQuery, incident_lock};
pub use review::{Finalised, IncidentReview, ReviewText};
pub use work_order::{WorkOrder, work_order_set};

/// An incident as it opens.
#[derive(Debug, Clone, PartialEq)]
pub struct NewIncident {
    /// The machine.
    pub machine: MachineId,
    /// How bad it is.
    pub severity: Severity,
    /// Start of the step it opened with.
    pub opened_at: Timestamp,
    /// When it first reached page level.
    pub paged_at: Option<Timestamp>,
    /// The sensor that decided that step.
    pub deciding_sensor: SensorId,
    /// The detector that decided it.
    pub deciding_detector: Detector,
    /// The level of that step.
    pub level: Level,
    /// The limits in force; none in a class that severity alone judges.
    pub threshold_set: Option<ThresholdSetId>,
    /// The bundle in force, where there is one.
    pub bundle: Option<BundleId>,
    /// Came from a stream whose clock is the capture time.
    pub replay: bool,
}

/// An incident.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// Its number.
    pub id: IncidentId,
    /// The machine.
    pub machine: MachineId,
    /// The worst it has been.
    pub severity: Severity,
    /// Where it stands.
    pub state: IncidentState,
    /// Start of the step it opened with.
    pub opened_at: Timestamp,
    /// When it first reached page level.
    pub paged_at: Option<Timestamp>,
    /// When somebody took it, kept after it cleared.
    pub acknowledged_at: Option<Timestamp>,
    /// The sensor that decided the step it opened with.
    pub deciding_sensor: SensorId,
    /// The detector that decided it.
    pub deciding_detector: Detector,
    /// The highest level any step of it had.
    pub peak_level: Level,
    /// The level of its newest step.
    pub latest_level: Level,
    /// The limits in force when it opened; none in a class that severity alone judged.
    pub threshold_set: Option<ThresholdSetId>,
    /// The bundle in force when it opened, where there was one.
    pub bundle: Option<BundleId>,
    /// Flagged readings kept with their errors per bin.
    pub evidence_count: i32,
    /// Capture time of the newest of them.
    pub last_evidence_at: Option<Timestamp>,
    /// Came from a stream whose clock is the capture time.
    pub replay: bool,
    /// What it has shown, and what of it people know: JSON of a `ReAlarm` of the judge.
    pub re_alarm_json: String,
    /// The incident that the machine had before.
    pub previous: Option<IncidentId>,
}

impl Incident {
    /// When the condition cleared.
    pub fn closed_at(&self) -> Option<Timestamp> {
        match &self.state {
            IncidentState::ReturnedUnacknowledged { at } | IncidentState::Normal { at, .. } => Some(*at),
            IncidentState::ActiveUnacknowledged | IncidentState::ActiveAcknowledged { .. } => None,
        }
    }

    /// Who took it.
    pub fn acknowledged_by(&self) -> Option<&str> {
        match &self.state {
            IncidentState::ActiveAcknowledged { by, .. } | IncidentState::Normal { by, .. } => Some(by),
            IncidentState::ActiveUnacknowledged | IncidentState::ReturnedUnacknowledged { .. } => None,
        }
    }
}

impl Incident {
    /// What it has shown, and what of it people know, as the judge's own type.
    pub fn re_alarm<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.re_alarm_json).map_err(|error| Error::ImpossibleRow {
            table: "incident",
            column: "re_alarm",
            key: self.id.to_string(),
            reason: error.to_string(),
        })
    }

    /// Takes down the same.
    ///
    /// # Panics
    /// If it has no JSON form.
    pub fn set_re_alarm<T: Serialize>(&mut self, known: &T) {
        self.re_alarm_json = serde_json::to_string(known).expect("what people know has a JSON form");
    }
}

/// The columns of an [`Incident`]; the queries name them one by one.
pub(crate) struct IncidentRow {
    pub(crate) incident_id: i64,
    pub(crate) machine_id: i32,
    pub(crate) severity: i16,
    pub(crate) state: String,
    pub(crate) opened_at: Time,
    pub(crate) paged_at: Option<Time>,
    pub(crate) closed_at: Option<Time>,
    pub(crate) acknowledged_at: Option<Time>,
    pub(crate) acknowledged_by: Option<String>,
    pub(crate) deciding_sensor_id: i32,
    pub(crate) deciding_detector: i16,
    pub(crate) peak_level: f32,
    pub(crate) latest_level: f32,
    pub(crate) threshold_set_id: i32,
    pub(crate) bundle_id: i32,
    pub(crate) evidence_count: i32,
    pub(crate) last_evidence_at: Option<Time>,
    pub(crate) replay: bool,
    pub(crate) re_alarm: String,
    pub(crate) previous_incident_id: Option<i64>,
}

impl TryFrom<IncidentRow> for Incident {
    type Error = Error;

    fn try_from(row: IncidentRow) -> Result<Self> {
        let id = row.incident_id;
        let detector = u8::try_from(row.deciding_detector)
            .ok()
            .and_then(Detector::from_number)
            .ok_or_else(|| {
                let reason = format!("{} is not a detector's number", row.deciding_detector);
                Error::ImpossibleRow {
                    table: "incident",
                    column: "deciding_detector",
                    key: id.to_string(),
                    reason,
                }
            })?;
        Ok(Self {
            id: IncidentId(id),
            machine: MachineId(row.machine_id),
            severity: Severity::from_code(row.severity).map_err(Error::impossible("incident", "severity", id))?,
            state: state(&row).map_err(Error::impossible("incident", "state", id))?,
            opened_at: row.opened_at.into(),
            paged_at: row.paged_at.map(Timestamp::from),
            acknowledged_at: row.acknowledged_at.map(Timestamp::from),
            deciding_sensor: SensorId(row.deciding_sensor_id),
            deciding_detector: detector,
            peak_level: Level(row.peak_level),
            latest_level: Level(row.latest_level),
            threshold_set: none_if_zero(row.threshold_set_id).map(ThresholdSetId),
            bundle: none_if_zero(row.bundle_id).map(BundleId),
            evidence_count: row.evidence_count,
            last_evidence_at: row.last_evidence_at.map(Timestamp::from),
            replay: row.replay,
            re_alarm_json: row.re_alarm,
            previous: row.previous_incident_id.map(IncidentId),
        })
    }
}

/// The state from its name and the columns it needs.
fn state(row: &IncidentRow) -> Result<IncidentState, Invalid> {
    let closed = row.closed_at.map(Timestamp::from);
    let acknowledged = row.acknowledged_at.map(Timestamp::from);
    match (row.state.as_str(), closed, &row.acknowledged_by, acknowledged) {
        ("active_unacknowledged", None, None, None) => Ok(IncidentState::ActiveUnacknowledged),
        ("active_acknowledged", None, Some(by), Some(at)) => {
            Ok(IncidentState::ActiveAcknowledged { by: by.clone(), at })
        }
        ("returned_unacknowledged", Some(at), None, None) => Ok(IncidentState::ReturnedUnacknowledged { at }),
        ("normal", Some(at), Some(by), Some(_)) => Ok(IncidentState::Normal { at, by: by.clone() }),
        (name, ..) => Err(Invalid::new(
            "state",
            format!("{name:?} does not fit the times and names beside it"),
        )),
    }
}

/// Opens an incident. [`Error::AlreadyExists`] when the machine has one open.
pub async fn incident_insert(conn: &mut PgConnection, new: &NewIncident) -> Result<Incident> {
    let row = sqlx::query_as!(
        IncidentRow,
        r#"insert into incident (machine_id, severity, state, opened_at, paged_at, deciding_sensor_id,
             deciding_detector, peak_level, latest_level, threshold_set_id, bundle_id, replay, previous_incident_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10, $11,
             (select max(incident_id) from incident where machine_id = $1))
         returning incident_id, machine_id, severity, state, opened_at, paged_at, closed_at, acknowledged_at,
             acknowledged_by, deciding_sensor_id, deciding_detector, peak_level, latest_level, threshold_set_id,
             bundle_id, evidence_count, last_evidence_at, replay, re_alarm::text as "re_alarm!",
             previous_incident_id"#,
        new.machine.0,
        new.severity.to_code(),
        IncidentState::ActiveUnacknowledged.as_str(),
        time(new.opened_at),
        time_opt(new.paged_at),
        new.deciding_sensor.0,
        new.deciding_detector as i16,
        new.level.0,
        new.threshold_set.map_or(0, |set| set.0),
        new.bundle.map_or(0, |bundle| bundle.0),
        new.replay,
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(Error::exists(|| format!("an open incident of machine {}", new.machine)))?;
    Channel::Incident.notify_of(conn, new.machine).await?;
    row.try_into()
}

/// Writes what can change of an incident: severity, state, times, levels, the count of its evidence and what people know
/// of it. The caller holds the machine's lock.
pub async fn incident_update(conn: &mut PgConnection, incident: &Incident) -> Result<()> {
    let done = sqlx::query!(
        "update incident set severity = $2, state = $3, paged_at = $4, closed_at = $5, acknowledged_at = $6,
             acknowledged_by = $7, peak_level = $8, latest_level = $9, evidence_count = $10, last_evidence_at = $11,
             re_alarm = $12::text::jsonb
         where incident_id = $1",
        incident.id.0,
        incident.severity.to_code(),
        incident.state.as_str(),
        time_opt(incident.paged_at),
        time_opt(incident.closed_at()),
        time_opt(incident.acknowledged_at),
        incident.acknowledged_by(),
        incident.peak_level.0,
        incident.latest_level.0,
        incident.evidence_count,
        time_opt(incident.last_evidence_at),
        incident.re_alarm_json,
    )
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Err(Error::not_found(format!("incident {}", incident.id)));
    }
    Channel::Incident.notify_of(conn, incident.machine).await
}

/// The open incidents of machines the caller has locked.
pub async fn incidents_open(conn: &mut PgConnection, machines: &[MachineId]) -> Result<Vec<Incident>> {
    let numbers: Vec<i32> = machines.iter().map(|machine| machine.0).collect();
    let rows = sqlx::query_as!(
        IncidentRow,
        r#"select incident_id, machine_id, severity, state, opened_at, paged_at, closed_at, acknowledged_at,
             acknowledged_by, deciding_sensor_id, deciding_detector, peak_level, latest_level, threshold_set_id,
             bundle_id, evidence_count, last_evidence_at, replay, re_alarm::text as "re_alarm!", previous_incident_id
         from incident where machine_id = any($1) and closed_at is null order by machine_id"#,
        &numbers
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Incident::try_from).collect()
}
