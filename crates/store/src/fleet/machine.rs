//! Machines, and what is known of each of them now.

use tocsin_domain::{ClassId, IncidentId, Level, MachineId, Scope, Severity, SiteId, Slug, Timestamp, Verdict};

use crate::row::{Time, slug};
use crate::{Error, Result, Store};

/// A machine with the names people know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its number.
    pub id: MachineId,
    /// The site it stands in.
    pub site: SiteId,
    /// Its class.
    pub class: ClassId,
    /// The site's name.
    pub site_name: Slug,
    /// Its own name.
    pub name: Slug,
    /// The class's name.
    pub class_name: Slug,
}

/// Which machines are asked for.
#[derive(Debug, Clone, Default)]
pub struct MachineQuery {
    /// Only this site, when given.
    pub site: Option<Slug>,
    /// Only machines of this name, when given.
    pub machine: Option<Slug>,
}

/// The incident a machine has open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpenIncidentSummary {
    /// Its number.
    pub id: IncidentId,
    /// The worst it has been.
    pub severity: Severity,
    /// Somebody has taken it.
    pub acknowledged: bool,
    /// The level of its newest step.
    pub level: Level,
}

/// A machine and what is known of it now.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineOverview {
    /// The machine.
    pub machine: Machine,
    /// How many sensors it has.
    pub sensors: u32,
    /// Capture time of its newest reading.
    pub newest_reading_at: Option<Timestamp>,
    /// When that one was received.
    pub received_at: Option<Timestamp>,
    /// That one's verdict.
    pub verdict: Option<Verdict>,
    /// The incident it has open.
    pub open_incident: Option<OpenIncidentSummary>,
}

struct MachineRow {
    machine_id: i32,
    site_id: i32,
    class_id: i32,
    site: String,
    name: String,
    class: String,
}

impl TryFrom<MachineRow> for Machine {
    type Error = Error;

    fn try_from(row: MachineRow) -> Result<Self> {
        Ok(Self {
            id: MachineId(row.machine_id),
            site: SiteId(row.site_id),
            class: ClassId(row.class_id),
            site_name: slug("site", "name", row.site_id, &row.site)?,
            name: slug("machine", "name", row.machine_id, &row.name)?,
            class_name: slug("machine_class", "name", row.class_id, &row.class)?,
        })
    }
}

struct OverviewRow {
    machine_id: i32,
    site_id: i32,
    class_id: i32,
    site: String,
    name: String,
    class: String,
    sensors: i64,
    captured_at: Option<Time>,
    received_at: Option<Time>,
    verdict: Option<i16>,
    incident_id: Option<i64>,
    severity: Option<i16>,
    acknowledged: Option<bool>,
    latest_level: Option<f32>,
}

impl TryFrom<OverviewRow> for MachineOverview {
    type Error = Error;

    fn try_from(row: OverviewRow) -> Result<Self> {
        let verdict = row.verdict.map(Verdict::from_code).transpose();
        let open_incident = match (row.incident_id, row.severity, row.acknowledged, row.latest_level) {
            (Some(id), Some(severity), Some(acknowledged), Some(level)) => Some(OpenIncidentSummary {
                id: IncidentId(id),
                severity: Severity::from_code(severity).map_err(Error::impossible("incident", "severity", id))?,
                acknowledged,
                level: Level(level),
            }),
            _ => None,
        };
        Ok(Self {
            sensors: u32::try_from(row.sensors).unwrap_or(u32::MAX),
            newest_reading_at: row.captured_at.map(Timestamp::from),
            received_at: row.received_at.map(Timestamp::from),
            verdict: verdict.map_err(Error::impossible("reading", "verdict", row.machine_id))?,
            open_incident,
            machine: MachineRow {
                machine_id: row.machine_id,
                site_id: row.site_id,
                class_id: row.class_id,
                site: row.site,
                name: row.name,
                class: row.class,
            }
            .try_into()?,
        })
    }
}

impl Store {
    /// A machine by the names of its site and itself.
    pub async fn machine_by_name(&self, scope: &Scope, site: &Slug, machine: &Slug) -> Result<Machine> {
        let row = sqlx::query_as!(
            MachineRow,
            "select m.machine_id, m.site_id, m.class_id, i.name as site, m.name, c.name as class
             from machine m join site i using (site_id) join machine_class c using (class_id)
             where i.name = $1 and m.name = $2 and ($3::int4[] is null or m.site_id = any($3))",
            site.as_str(),
            machine.as_str(),
            scope.to_filter() as _,
        )
        .fetch_optional(&self.pool)
        .await?;
        row.ok_or_else(|| Error::not_found(format!("machine {site}/{machine}")))?
            .try_into()
    }

    /// The machines of a class in `scope`, by number.
    pub async fn machines_by_class(&self, scope: &Scope, class: ClassId) -> Result<Vec<Machine>> {
        let rows = sqlx::query_as!(
            MachineRow,
            "select m.machine_id, m.site_id, m.class_id, i.name as site, m.name, c.name as class
             from machine m join site i using (site_id) join machine_class c using (class_id)
             where m.class_id = $1 and ($2::int4[] is null or m.site_id = any($2)) order by m.machine_id",
            class.0,
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Machine::try_from).collect()
    }

    /// Machines but canaries with what is known of them now, those that need attention first: open pages, open alerts, then the
    /// rest by site and name.
    pub async fn machine_overviews(&self, scope: &Scope, query: &MachineQuery) -> Result<Vec<MachineOverview>> {
        let rows = sqlx::query_as!(
            OverviewRow,
            r#"select m.machine_id, m.site_id, m.class_id, i.name as site, m.name, c.name as class,
                      (select count(*) from sensor s where s.machine_id = m.machine_id) as "sensors!",
                      r.captured_at as "captured_at?", r.received_at as "received_at?", r.verdict as "verdict?",
                      n.incident_id as "incident_id?", n.severity as "severity?",
                      n.state = 'active_acknowledged' as "acknowledged?", n.latest_level as "latest_level?"
               from machine m join site i using (site_id) join machine_class c using (class_id)
               left join lateral (
                   select newest.captured_at, newest.received_at, newest.verdict
                   from sensor s cross join lateral (
                       select r.captured_at, r.received_at, r.verdict from reading_with_kept r
                       where r.sensor_id = s.sensor_id order by r.captured_at desc limit 1) newest
                   where s.machine_id = m.machine_id
                   order by newest.captured_at desc, newest.verdict & 255 desc limit 1) r on true
               left join incident n on n.machine_id = m.machine_id and n.closed_at is null
               where ($1::int4[] is null or m.site_id = any($1)) and ($2::text is null or i.name = $2)
                 and ($3::text is null or m.name = $3) and m.class_id <> $4
               order by n.severity desc nulls last, n.latest_level desc nulls last, i.name, m.name"#,
            scope.to_filter() as _,
            query.site.as_ref().map(Slug::as_str),
            query.machine.as_ref().map(Slug::as_str),
            ClassId::CANARY.0,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(MachineOverview::try_from).collect()
    }
}
