//! Incidents as people see them, with names; and the lock for those who act on one.

use sqlx::PgConnection;
use tocsin_domain::{ClassId, IncidentId, MachineId, Scope, Severity, SiteId, Slug};

use super::{Incident, IncidentRow};
use crate::machine::{MachineState, machines_lock};
use crate::row::{Time, slug};
use crate::{Error, Result, Store};

/// An incident with the names people know its machine and sensor by.
#[derive(Debug, Clone, PartialEq)]
pub struct IncidentListing {
    /// The incident.
    pub incident: Incident,
    /// The site.
    pub site: SiteId,
    /// The site's name.
    pub site_name: Slug,
    /// The machine's name.
    pub machine_name: Slug,
    /// The machine's class.
    pub class: ClassId,
    /// The class's name.
    pub class_name: Slug,
    /// Name of the sensor that decided the step it opened with.
    pub deciding_sensor_name: Slug,
}

/// Which incidents are asked for.
#[derive(Debug, Clone, Default)]
pub struct IncidentQuery {
    /// Only this incident.
    pub id: Option<IncidentId>,
    /// Only this site.
    pub site: Option<Slug>,
    /// Only machines of this name.
    pub machine: Option<Slug>,
    /// Leave out what has cleared.
    pub open_only: bool,
    /// Only incidents that have been as bad as this, and no worse.
    pub severity: Option<Severity>,
    /// Only those that nobody has taken.
    pub unacknowledged_only: bool,
    /// Continue before this incident, for the next page.
    pub before: Option<IncidentId>,
    /// At most this many.
    pub limit: u32,
}

struct ListingRow {
    incident_id: i64,
    machine_id: i32,
    severity: i16,
    state: String,
    opened_at: Time,
    paged_at: Option<Time>,
    closed_at: Option<Time>,
    acknowledged_at: Option<Time>,
    acknowledged_by: Option<String>,
    deciding_sensor_id: i32,
    deciding_detector: i16,
    peak_level: f32,
    latest_level: f32,
    threshold_set_id: i32,
    bundle_id: i32,
    evidence_count: i32,
    last_evidence_at: Option<Time>,
    replay: bool,
    re_alarm: String,
    previous_incident_id: Option<i64>,
    site_id: i32,
    site: String,
    machine: String,
    class_id: i32,
    class: String,
    sensor: String,
}

impl TryFrom<ListingRow> for IncidentListing {
    type Error = Error;

    fn try_from(row: ListingRow) -> Result<Self> {
        let id = row.incident_id;
        Ok(Self {
            site: SiteId(row.site_id),
            site_name: slug("site", "name", row.site_id, &row.site)?,
            machine_name: slug("machine", "name", row.machine_id, &row.machine)?,
            class: ClassId(row.class_id),
            class_name: slug("machine_class", "name", row.class_id, &row.class)?,
            deciding_sensor_name: slug("sensor", "name", row.deciding_sensor_id, &row.sensor)?,
            incident: IncidentRow {
                incident_id: id,
                machine_id: row.machine_id,
                severity: row.severity,
                state: row.state,
                opened_at: row.opened_at,
                paged_at: row.paged_at,
                closed_at: row.closed_at,
                acknowledged_at: row.acknowledged_at,
                acknowledged_by: row.acknowledged_by,
                deciding_sensor_id: row.deciding_sensor_id,
                deciding_detector: row.deciding_detector,
                peak_level: row.peak_level,
                latest_level: row.latest_level,
                threshold_set_id: row.threshold_set_id,
                bundle_id: row.bundle_id,
                evidence_count: row.evidence_count,
                last_evidence_at: row.last_evidence_at,
                replay: row.replay,
                re_alarm: row.re_alarm,
                previous_incident_id: row.previous_incident_id,
            }
            .try_into()?,
        })
    }
}

async fn list(conn: &mut PgConnection, scope: &Scope, query: &IncidentQuery) -> Result<Vec<IncidentListing>> {
    let rows = sqlx::query_as!(
        ListingRow,
        r#"select n.incident_id, n.machine_id, n.severity, n.state, n.opened_at, n.paged_at, n.closed_at,
                n.acknowledged_at, n.acknowledged_by, n.deciding_sensor_id, n.deciding_detector, n.peak_level,
                n.latest_level, n.threshold_set_id, n.bundle_id, n.evidence_count, n.last_evidence_at, n.replay,
                n.re_alarm::text as "re_alarm!", n.previous_incident_id,
                m.site_id, i.name as site, m.name as machine, m.class_id, c.name as class, s.name as sensor
         from incident n join machine m using (machine_id) join site i using (site_id)
         join machine_class c using (class_id) join sensor s on s.sensor_id = n.deciding_sensor_id
         where ($1::int4[] is null or m.site_id = any($1)) and ($2::int8 is null or n.incident_id = $2)
           and ($3::text is null or i.name = $3) and ($4::text is null or m.name = $4)
           and (not $5 or n.closed_at is null)
           and ($6::int8 is null or n.incident_id < $6)
           and ($8::int2 is null or n.severity = $8) and (not $9 or n.acknowledged_at is null)
         order by n.incident_id desc limit $7"#,
        scope.to_filter() as _,
        query.id.map(|id| id.0),
        query.site.as_ref().map(Slug::as_str),
        query.machine.as_ref().map(Slug::as_str),
        query.open_only,
        query.before.map(|before| before.0),
        i64::from(query.limit),
        query.severity.map(Severity::to_code),
        query.unacknowledged_only,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(IncidentListing::try_from).collect()
}

async fn get(conn: &mut PgConnection, scope: &Scope, id: IncidentId) -> Result<IncidentListing> {
    let query = IncidentQuery {
        id: Some(id),
        limit: 1,
        ..IncidentQuery::default()
    };
    let found = list(conn, scope, &query).await?.into_iter().next();
    found.ok_or_else(|| Error::not_found(format!("incident {id}")))
}

/// Locks the machine of an incident until the transaction ends, and reads both as they are then: for people who act
/// on an incident while readings keep coming.
pub async fn incident_lock(
    conn: &mut PgConnection,
    scope: &Scope,
    id: IncidentId,
) -> Result<(MachineState, IncidentListing)> {
    let machine: MachineId = get(conn, scope, id).await?.incident.machine;
    let state = machines_lock(conn, &[machine]).await?.into_iter().next();
    let state = state.ok_or_else(|| Error::not_found(format!("state of machine {machine}")))?;
    Ok((state, get(conn, scope, id).await?))
}

impl Store {
    /// Incidents in `scope`, newest first.
    pub async fn incident_list(&self, scope: &Scope, query: &IncidentQuery) -> Result<Vec<IncidentListing>> {
        let mut conn = self.pool.acquire().await?;
        list(&mut conn, scope, query).await
    }

    /// An incident by its number.
    pub async fn incident_get(&self, scope: &Scope, id: IncidentId) -> Result<IncidentListing> {
        let mut conn = self.pool.acquire().await?;
        get(&mut conn, scope, id).await
    }
}
