//! What people found a machine to have had: appended, never changed. A later label of the same window stands for the
//! earlier one.
//!
//! **Invariant:** which readings are healthy is told in one place, the views of `migrations/0012_labels_and_policy.sql`;
//! every query for healthy data asks `machine_unhealthy`.

use sqlx::PgConnection;
use tocsin_domain::{ClassId, IncidentId, Label, MachineId, Scope, SensorId, Timestamp};

use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::row::{Time, time, time_opt};
use crate::{Error, Result, Store};

/// What a label is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// An incident of the machine, to its end, whenever that comes.
    Incident(IncidentId),
    /// Capture times: from the first up to but without the second.
    Free(Timestamp, Timestamp),
}

/// A label as it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLabel {
    /// The machine.
    pub machine: MachineId,
    /// What it is about.
    pub window: Window,
    /// What was found.
    pub label: Label,
    /// How the machine failed; empty when that was not said, and for all but failures.
    pub mode: String,
    /// A note.
    pub note: String,
    /// Who says so.
    pub by: String,
}

/// A label on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineLabel {
    /// Its number.
    pub id: i64,
    /// The machine.
    pub machine: MachineId,
    /// The incident it is about, if it is about one.
    pub incident: Option<IncidentId>,
    /// Where its window begins.
    pub from: Timestamp,
    /// Where it ends; none while the incident is open.
    pub to: Option<Timestamp>,
    /// What was found.
    pub label: Label,
    /// How the machine failed; empty when that was not said.
    pub mode: String,
    /// A note.
    pub note: String,
    /// When it was given.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// No later label of the same window stands for it.
    pub in_force: bool,
}

/// A stretch of a machine's life, and the label that stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledWindow {
    /// The machine.
    pub machine: MachineId,
    /// The incident it is about, if it is about one.
    pub incident: Option<IncidentId>,
    /// Where it begins.
    pub from: Timestamp,
    /// Where it ends; none while the incident is open.
    pub to: Option<Timestamp>,
    /// What was found.
    pub label: Label,
    /// How the machine failed; empty when that was not said.
    pub mode: String,
}

/// Which labels of a machine are asked for.
#[derive(Debug, Clone, Copy)]
pub struct LabelQuery {
    /// The machine.
    pub machine: MachineId,
    /// Only those of this incident, when given.
    pub incident: Option<IncidentId>,
}

struct LabelRow {
    label_id: i64,
    machine_id: i32,
    incident_id: Option<i64>,
    from_at: Time,
    to_at: Option<Time>,
    label: String,
    mode: String,
    note: String,
    labelled_at: Time,
    labelled_by: String,
    in_force: bool,
}

impl TryFrom<LabelRow> for MachineLabel {
    type Error = Error;

    fn try_from(row: LabelRow) -> Result<Self> {
        Ok(Self {
            id: row.label_id,
            machine: MachineId(row.machine_id),
            incident: row.incident_id.map(IncidentId),
            from: row.from_at.into(),
            to: row.to_at.map(Timestamp::from),
            label: Label::parse(&row.label).map_err(Error::impossible("machine_label", "label", row.label_id))?,
            mode: row.mode,
            note: row.note,
            at: row.labelled_at.into(),
            by: row.labelled_by,
            in_force: row.in_force,
        })
    }
}

impl Store {
    /// The machines of a class in `scope` that were healthy all the time from `from` up to but without `to`: no incident
    /// but those labelled false alarms, and nothing labelled a failure.
    pub async fn machines_healthy(
        &self,
        scope: &Scope,
        class: ClassId,
        (from, to): (Timestamp, Timestamp),
    ) -> Result<Vec<MachineId>> {
        let machines = sqlx::query_scalar!(
            "select m.machine_id from machine m
             where m.class_id = $1 and ($2::int4[] is null or m.site_id = any($2))
               and not exists (select 1 from machine_unhealthy u where u.machine_id = m.machine_id and u.from_at < $4
                               and u.to_at >= $3)
             order by m.machine_id",
            class.0,
            scope.to_filter() as _,
            time(from),
            time(to),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(machines.into_iter().map(MachineId).collect())
    }

    /// How many machines of a class, wherever they are, have a baseline in force.
    pub async fn machines_commissioned(&self, class: ClassId) -> Result<usize> {
        let count = sqlx::query_scalar!(
            r#"select count(distinct m.machine_id) as "count!" from machine m join sensor s using (machine_id)
                      join commissioning k on k.sensor_id = s.sensor_id and k.baseline_id is not null
               where m.class_id = $1"#,
            class.0,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// The machines of all other classes in `scope` that were healthy in a period in the same sense, each with its
    /// commissioned sensors of the specifications that the class's machines in `scope` have, in order.
    pub async fn machines_healthy_elsewhere(
        &self,
        scope: &Scope,
        class: ClassId,
        (from, to): (Timestamp, Timestamp),
    ) -> Result<Vec<(ClassId, MachineId, SensorId)>> {
        let rows = sqlx::query!(
            "select m.class_id, m.machine_id, s.sensor_id from machine m join sensor s using (machine_id)
                    join commissioning k on k.sensor_id = s.sensor_id and k.baseline_id is not null
             where m.class_id <> $1 and ($2::int4[] is null or m.site_id = any($2))
               and s.spec_id in (select o.spec_id from sensor o join machine n using (machine_id)
                                 where n.class_id = $1 and ($2::int4[] is null or n.site_id = any($2)))
               and not exists (select 1 from machine_unhealthy u where u.machine_id = m.machine_id and u.from_at < $4
                               and u.to_at >= $3)
             order by m.class_id, m.machine_id, s.sensor_id",
            class.0,
            scope.to_filter() as _,
            time(from),
            time(to),
        )
        .fetch_all(&self.pool)
        .await?;
        let ids = |class, machine, sensor| (ClassId(class), MachineId(machine), SensorId(sensor));
        let rows = rows
            .into_iter()
            .map(|row| ids(row.class_id, row.machine_id, row.sensor_id));
        Ok(rows.collect())
    }

    /// Puts a label on record. The machine, and the incident where one is named, lie in `scope`, and the incident is the
    /// machine's; otherwise it is not found. The audit entry that `audit` makes of it is of the same transaction.
    pub async fn label_append(
        &self,
        scope: &Scope,
        new: &NewLabel,
        now: Timestamp,
        audit: impl FnOnce(&MachineLabel) -> NewAuditEntry,
    ) -> Result<MachineLabel> {
        let mut transaction = self.begin().await?;
        let (incident, from, to) = match new.window {
            Window::Incident(incident) => (Some(incident), None, None),
            Window::Free(from, to) => (None, Some(from), Some(to)),
        };
        let id = sqlx::query_scalar!(
            "insert into machine_label (machine_id, incident_id, from_at, to_at, label, mode, note, labelled_at, labelled_by)
             select m.machine_id, $3, $4, $5, $6, $7, $8, $9, $10 from machine m
             where m.machine_id = $1 and ($2::int4[] is null or m.site_id = any($2))
               and ($3::int8 is null or exists (
                   select 1 from incident i where i.incident_id = $3 and i.machine_id = m.machine_id))
             returning label_id",
            new.machine.0,
            scope.to_filter() as _,
            incident.map(|incident| incident.0),
            time_opt(from),
            time_opt(to),
            new.label.as_str(),
            new.mode,
            new.note,
            time(now),
            new.by,
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let missing = || Error::not_found(format!("machine {} to be labelled", new.machine));
        let id = id.ok_or_else(missing)?;
        let query = LabelQuery {
            machine: new.machine,
            incident,
        };
        let labels = labels_in(&mut transaction, scope, &query).await?;
        let label = labels.into_iter().find(|label| label.id == id).ok_or_else(missing)?;
        commit(transaction, label, audit, now).await
    }

    /// What was said of a machine, newest first.
    pub async fn labels(&self, scope: &Scope, query: &LabelQuery) -> Result<Vec<MachineLabel>> {
        labels_in(&mut *self.acquire().await?, scope, query).await
    }

    /// What stands of what was said of a class's machines in windows that reach into a period, by machine and in order of
    /// time.
    pub async fn labels_between(
        &self,
        scope: &Scope,
        class: ClassId,
        (from, to): (Timestamp, Timestamp),
    ) -> Result<Vec<LabelledWindow>> {
        let rows = sqlx::query!(
            r#"select l.label_id as "label_id!", l.machine_id as "machine_id!", l.incident_id, l.from_at as "from_at!",
                      nullif(l.to_at, 'infinity') as to_at, l.label as "label!", l.mode as "mode!"
               from machine_label_in_force l join machine m using (machine_id)
               where m.class_id = $1 and ($2::int4[] is null or m.site_id = any($2))
                 and l.from_at < $4 and l.to_at > $3
               order by l.machine_id, l.from_at, l.label_id"#,
            class.0,
            scope.to_filter() as _,
            time(from),
            time(to),
        )
        .fetch_all(&self.pool)
        .await?;
        let label = |label: &str, id: i64| Label::parse(label).map_err(Error::impossible("machine_label", "label", id));
        rows.into_iter()
            .map(|row| {
                Ok(LabelledWindow {
                    machine: MachineId(row.machine_id),
                    incident: row.incident_id.map(IncidentId),
                    from: row.from_at.into(),
                    to: row.to_at.map(Timestamp::from),
                    label: label(&row.label, row.label_id)?,
                    mode: row.mode,
                })
            })
            .collect()
    }
}

async fn labels_in(conn: &mut PgConnection, scope: &Scope, query: &LabelQuery) -> Result<Vec<MachineLabel>> {
    let rows = sqlx::query_as!(
        LabelRow,
        r#"select l.label_id, l.machine_id, l.incident_id, coalesce(l.from_at, i.opened_at) as "from_at!",
                      coalesce(l.to_at, i.closed_at) as to_at, l.label, l.mode, l.note, l.labelled_at, l.labelled_by,
                      not exists (select 1 from machine_label n where n.machine_id = l.machine_id
                                  and n.label_id > l.label_id and n.incident_id is not distinct from l.incident_id
                                  and n.from_at is not distinct from l.from_at
                                  and n.to_at is not distinct from l.to_at) as "in_force!"
               from machine_label l join machine m using (machine_id) left join incident i using (incident_id)
               where l.machine_id = $1 and ($2::int4[] is null or m.site_id = any($2))
                 and ($3::int8 is null or l.incident_id = $3)
               order by l.label_id desc"#,
        query.machine.0,
        scope.to_filter() as _,
        query.incident.map(|incident| incident.0),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(MachineLabel::try_from).collect()
}
