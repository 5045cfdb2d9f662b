//! What a report on the alarms and pages of a period is made from.

use std::time::Duration;

use tocsin_domain::{IncidentId, Label, MachineId, Scope, Severity, SiteId, Slug, Timestamp};

use crate::row::{Time, duration, slug, time};
use crate::{Error, Result, Store};

/// An incident that was active at some time of a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmRecord {
    /// The site.
    pub site: SiteId,
    /// The machine.
    pub machine: MachineId,
    /// One machine step of its class.
    pub step: Duration,
    /// When it opened.
    pub opened_at: Timestamp,
    /// When it reached page.
    pub paged_at: Option<Timestamp>,
    /// When it cleared.
    pub closed_at: Option<Timestamp>,
    /// The worst it was.
    pub severity: Severity,
    /// When it was first acknowledged.
    pub acknowledged_at: Option<Timestamp>,
    /// Whether it is one of a replay, whose steps have another clock than people.
    pub replay: bool,
}

/// A page at a destination that took it, or may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldRecord {
    /// The site.
    pub site: SiteId,
    /// Whom it was told.
    pub destination: String,
    /// What it was about.
    pub incident: IncidentId,
    /// When it was first sent without being refused.
    pub at: Timestamp,
    /// What people say of the incident: the label of its own, or one of a window that holds it; where they disagree,
    /// failure goes before.
    pub label: Option<Label>,
}

/// A machine that there was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineRecord {
    /// The site.
    pub site: SiteId,
    /// The machine.
    pub machine: MachineId,
    /// Its name.
    pub name: Slug,
    /// Since when it is known.
    pub since: Timestamp,
}

/// Pages that nobody was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UntoldPages {
    /// Kept while the machine was shelved or out of service, and not sent since.
    pub suppressed: u64,
    /// Kept then, and sent when that was over and it was still so.
    pub released: u64,
    /// Decided in the period, and taken by no destination yet.
    pub untold: u64,
}

struct AlarmRow {
    incident_id: i64,
    site_id: i32,
    machine_id: i32,
    class_id: i32,
    step_ms: i64,
    opened_at: Time,
    paged_at: Option<Time>,
    closed_at: Option<Time>,
    severity: i16,
    acknowledged_at: Option<Time>,
    replay: bool,
}

impl TryFrom<AlarmRow> for AlarmRecord {
    type Error = Error;

    fn try_from(row: AlarmRow) -> Result<Self> {
        let severity = Severity::from_code(row.severity);
        Ok(Self {
            site: SiteId(row.site_id),
            machine: MachineId(row.machine_id),
            step: duration(
                "machine_class",
                "step_ms",
                row.class_id,
                row.step_ms,
                Duration::from_millis,
            )?,
            opened_at: row.opened_at.into(),
            paged_at: row.paged_at.map(Timestamp::from),
            closed_at: row.closed_at.map(Timestamp::from),
            severity: severity.map_err(Error::impossible("incident", "severity", row.incident_id))?,
            acknowledged_at: row.acknowledged_at.map(Timestamp::from),
            replay: row.replay,
        })
    }
}

struct ToldRow {
    site_id: i32,
    destination: String,
    incident_id: i64,
    at: Time,
    label: Option<String>,
}

impl TryFrom<ToldRow> for ToldRecord {
    type Error = Error;

    fn try_from(row: ToldRow) -> Result<Self> {
        let label = row.label.map(|label| Label::parse(&label)).transpose();
        Ok(Self {
            site: SiteId(row.site_id),
            destination: row.destination,
            incident: IncidentId(row.incident_id),
            at: row.at.into(),
            label: label.map_err(Error::impossible("machine_label", "label", row.incident_id))?,
        })
    }
}

impl Store {
    /// Incidents in `scope` that were active between `from` and `to`, in the order they opened.
    pub async fn performance_alarms(&self, scope: &Scope, from: Timestamp, to: Timestamp) -> Result<Vec<AlarmRecord>> {
        let rows = sqlx::query_as!(
            AlarmRow,
            r#"select n.incident_id, m.site_id, n.machine_id, m.class_id, c.step_ms, n.opened_at, n.paged_at,
                    n.closed_at, n.severity, n.replay,
                    (select min(e.at) from machine_event e where e.incident_id = n.incident_id and e.kind = 'acknowledged')
                        as acknowledged_at
             from incident n join machine m using (machine_id) join machine_class c using (class_id)
             where ($1::int4[] is null or m.site_id = any($1)) and n.opened_at < $3
               and (n.closed_at is null or n.closed_at > $2)
             order by n.opened_at, n.incident_id"#,
            scope.to_filter() as _,
            time(from),
            time(to),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(AlarmRecord::try_from).collect()
    }

    /// Openings of pages in `scope` that were first told to a destination between `from` and `to`, in that order.
    pub async fn performance_told(&self, scope: &Scope, from: Timestamp, to: Timestamp) -> Result<Vec<ToldRecord>> {
        let rows = sqlx::query_as!(
            ToldRow,
            r#"select m.site_id, d.destination, o.incident_id as "incident_id!", a.at as "at!",
                    (select l.label from machine_label_in_force l
                     where l.machine_id = n.machine_id and (l.incident_id = n.incident_id
                         or (l.from_at <= n.opened_at and l.to_at >= coalesce(n.closed_at, 'infinity')))
                     order by l.label in ('true_failure', 'missed_failure') desc, l.label_id desc limit 1) as label
             from delivery_attempt a join delivery d using (delivery_id) join outbox o using (outbox_id)
             join incident n on n.incident_id = o.incident_id join machine m on m.machine_id = n.machine_id
             where a.outcome <> 'refused' and a.at >= $2 and a.at < $3 and o.action = 'trigger'
               and ($1::int4[] is null or m.site_id = any($1))
               and not exists (select 1 from delivery_attempt b where b.delivery_id = a.delivery_id
                               and b.attempt < a.attempt and b.outcome <> 'refused')
             order by a.at, a.delivery_id"#,
            scope.to_filter() as _,
            time(from),
            time(to),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(ToldRecord::try_from).collect()
    }

    /// The machines in `scope`.
    pub async fn performance_machines(&self, scope: &Scope) -> Result<Vec<MachineRecord>> {
        let rows = sqlx::query!(
            "select site_id, machine_id, name, created_at from machine
             where $1::int4[] is null or site_id = any($1) order by machine_id",
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        let machines = rows.into_iter().map(|row| {
            Ok(MachineRecord {
                site: SiteId(row.site_id),
                machine: MachineId(row.machine_id),
                name: slug("machine", "name", row.machine_id, &row.name)?,
                since: row.created_at.into(),
            })
        });
        machines.collect()
    }

    /// Pages in `scope` decided between `from` and `to` that people were not told of, or not then.
    pub async fn performance_untold(&self, scope: &Scope, from: Timestamp, to: Timestamp) -> Result<UntoldPages> {
        let row = sqlx::query!(
            r#"select
                (select count(*) from suppressed_page p join suppression s using (suppression_id) join machine m using (machine_id)
                 where p.action = 'trigger' and p.released_at is null and p.decided_at >= $2 and p.decided_at < $3
                   and ($1::int4[] is null or m.site_id = any($1))) as "suppressed!",
                (select count(*) from suppressed_page p join suppression s using (suppression_id) join machine m using (machine_id)
                 where p.action = 'trigger' and p.released_at is not null and p.decided_at >= $2 and p.decided_at < $3
                   and ($1::int4[] is null or m.site_id = any($1))) as "released!",
                (select count(*) from outbox o join incident n using (incident_id) join machine m using (machine_id)
                 where o.action = 'trigger' and o.created_at >= $2 and o.created_at < $3
                   and ($1::int4[] is null or m.site_id = any($1))
                   and not exists (select 1 from delivery d join delivery_attempt a using (delivery_id)
                                   where d.outbox_id = o.outbox_id and a.outcome <> 'refused')) as "untold!""#,
            scope.to_filter() as _,
            time(from),
            time(to),
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(UntoldPages {
            suppressed: row.suppressed as u64,
            released: row.released as u64,
            untold: row.untold as u64,
        })
    }
}
