//! The row that is locked while a machine's steps are folded, and the journal the fold writes.
//!
//! **Invariant:** `machine_event.seq` is dense per machine: a change says which entry it follows, and fails when it does
//! not. Machines are locked in the order of their numbers.

use sqlx::PgConnection;
use tocsin_domain::{IncidentId, Invalid, MachineId, Scope, SuppressionId, Timestamp};

use crate::row::{Time, time, time_opt};
use crate::{Error, Result, Store};

mod course;

/// A machine's state, as its lock's holder sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineState {
    /// The machine.
    pub machine: MachineId,
    /// Start of the newest step that was folded.
    pub newest_step: Option<Timestamp>,
    /// The newest entry of its journal; 0 when it is empty.
    pub last_seq: i64,
    /// The incident it has open.
    pub open_incident: Option<IncidentId>,
    /// Readings up to this capture time are folded even if nothing is open: flagged ones that decided nothing themselves
    /// count in their windows.
    pub hot_until: Option<Timestamp>,
    /// What keeps its pages from people now.
    pub suppression: Option<SuppressionId>,
}

/// What an entry of the journal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A step was judged.
    Step,
    /// An incident opened.
    Opened,
    /// The open incident reached page level.
    Escalated,
    /// The incident was paged again after a person had taken it.
    ReAlarmed,
    /// A person took the incident.
    Acknowledged,
    /// The condition no longer holds.
    Cleared,
    /// A person shelved the machine, or took it out of service.
    Suppressed,
    /// A page was decided, and kept from people.
    PageSuppressed,
    /// People hear of the machine again.
    Restored,
    /// A person said something about the incident.
    Commented,
    /// Whoever had taken the incident handed it over.
    HandedOver,
    /// Work was ordered in the maintenance system.
    WorkOrdered,
}

impl EventKind {
    /// The name in rows and on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Opened => "opened",
            Self::Escalated => "escalated",
            Self::ReAlarmed => "re_alarmed",
            Self::Acknowledged => "acknowledged",
            Self::Cleared => "cleared",
            Self::Suppressed => "suppressed",
            Self::PageSuppressed => "page_suppressed",
            Self::Restored => "restored",
            Self::Commented => "commented",
            Self::HandedOver => "handed_over",
            Self::WorkOrdered => "work_ordered",
        }
    }

    /// Reads the name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "step" => Ok(Self::Step),
            "opened" => Ok(Self::Opened),
            "escalated" => Ok(Self::Escalated),
            "re_alarmed" => Ok(Self::ReAlarmed),
            "acknowledged" => Ok(Self::Acknowledged),
            "cleared" => Ok(Self::Cleared),
            "suppressed" => Ok(Self::Suppressed),
            "page_suppressed" => Ok(Self::PageSuppressed),
            "restored" => Ok(Self::Restored),
            "commented" => Ok(Self::Commented),
            "handed_over" => Ok(Self::HandedOver),
            "work_ordered" => Ok(Self::WorkOrdered),
            _ => Err(Invalid::new("kind", format!("{text:?} is not an event kind"))),
        }
    }
}

/// An entry to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The incident it belongs to.
    pub incident: Option<IncidentId>,
    /// Capture clock for steps, the event's own time otherwise.
    pub at: Timestamp,
    /// What it is about.
    pub kind: EventKind,
    /// The entry, JSON.
    pub payload_json: String,
}

/// A written entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place in the machine's journal, from 1.
    pub seq: i64,
    /// The incident it belongs to.
    pub incident: Option<IncidentId>,
    /// Capture clock for steps, the event's own time otherwise.
    pub at: Timestamp,
    /// What it is about.
    pub kind: EventKind,
    /// The entry, JSON.
    pub payload_json: String,
}

/// What the journal says of an incident.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IncidentJournal {
    /// Every entry that is no step, and the newest steps, in order.
    pub events: Vec<Event>,
    /// Steps before those.
    pub earlier_steps: u64,
}

struct StateRow {
    machine_id: i32,
    newest_step: Option<Time>,
    last_seq: i64,
    open_incident_id: Option<i64>,
    hot_until: Option<Time>,
    suppression_id: Option<i64>,
}

impl From<StateRow> for MachineState {
    fn from(row: StateRow) -> Self {
        Self {
            machine: MachineId(row.machine_id),
            newest_step: row.newest_step.map(Timestamp::from),
            last_seq: row.last_seq,
            open_incident: row.open_incident_id.map(IncidentId),
            hot_until: row.hot_until.map(Timestamp::from),
            suppression: row.suppression_id.map(SuppressionId),
        }
    }
}

struct EventRow {
    machine_id: i32,
    seq: i64,
    incident_id: Option<i64>,
    at: Time,
    kind: String,
    payload: String,
}

impl TryFrom<EventRow> for Event {
    type Error = Error;

    fn try_from(row: EventRow) -> Result<Self> {
        let key = format!("({}, {})", row.machine_id, row.seq);
        Ok(Self {
            seq: row.seq,
            incident: row.incident_id.map(IncidentId),
            at: row.at.into(),
            kind: EventKind::parse(&row.kind).map_err(Error::impossible("machine_event", "kind", key))?,
            payload_json: row.payload,
        })
    }
}

fn numbers(machines: &[MachineId]) -> Vec<i32> {
    let mut numbers: Vec<i32> = machines.iter().map(|machine| machine.0).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Makes the rows to lock where they are missing. Asks first: a machine gets its row once, is locked for ever after.
async fn ensure(conn: &mut PgConnection, numbers: &[i32]) -> Result<()> {
    sqlx::query!(
        "insert into machine_state (machine_id)
         select n from unnest($1::int4[]) n where not exists (select 1 from machine_state s where s.machine_id = n)
         order by n on conflict do nothing",
        numbers
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks machines until the transaction ends, waiting for other holders; their states, by number. What is read by a
/// later statement of the transaction includes everything those holders committed.
pub async fn machines_lock(conn: &mut PgConnection, machines: &[MachineId]) -> Result<Vec<MachineState>> {
    let numbers = numbers(machines);
    ensure(conn, &numbers).await?;
    let rows = sqlx::query_as!(
        StateRow,
        "select machine_id, newest_step, last_seq, open_incident_id, hot_until, suppression_id from machine_state
         where machine_id = any($1) order by machine_id for update",
        &numbers
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(MachineState::from).collect())
}

/// Locks those of the machines that nobody else holds, without waiting; their states, by number.
pub async fn machines_try_lock(conn: &mut PgConnection, machines: &[MachineId]) -> Result<Vec<MachineState>> {
    let numbers = numbers(machines);
    ensure(conn, &numbers).await?;
    let rows = sqlx::query_as!(
        StateRow,
        "select machine_id, newest_step, last_seq, open_incident_id, hot_until, suppression_id from machine_state
         where machine_id = any($1) order by machine_id for update skip locked",
        &numbers
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(MachineState::from).collect())
}

/// Those of the machines whose readings are folded whether they are flagged or not: they have an incident open, or are
/// hot at the capture time given for them. By number; takes no lock.
pub async fn machines_to_fold(conn: &mut PgConnection, machines: &[(MachineId, Timestamp)]) -> Result<Vec<MachineId>> {
    let (numbers, times): (Vec<i32>, Vec<Time>) = machines.iter().map(|(machine, at)| (machine.0, time(*at))).unzip();
    let found = sqlx::query_scalar!(
        "select s.machine_id from unnest($1::int4[], $2::timestamptz[]) u(machine_id, at)
         join machine_state s on s.machine_id = u.machine_id
         where s.open_incident_id is not null or s.hot_until >= u.at order by s.machine_id",
        &numbers,
        &times,
    )
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().map(MachineId).collect())
}

/// What a fold did to one locked machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineChange {
    /// The machine's new state, but for `last_seq`: there it says which entry the new ones follow.
    pub state: MachineState,
    /// Entries to append to its journal.
    pub events: Vec<NewEvent>,
}

/// Writes the states and journals of machines the caller has locked.
///
/// # Errors
/// A conflict when a journal does not end where its change says: the caller does not hold the lock.
pub async fn machines_update(conn: &mut PgConnection, changes: &[MachineChange]) -> Result<()> {
    let machines: Vec<i32> = changes.iter().map(|change| change.state.machine.0).collect();
    let last: Vec<i64> = changes.iter().map(|change| change.state.last_seq).collect();
    let appended: Vec<i64> = changes.iter().map(|change| change.events.len() as i64).collect();
    let newest: Vec<Option<Time>> = changes.iter().map(|c| time_opt(c.state.newest_step)).collect();
    let open: Vec<Option<i64>> = changes
        .iter()
        .map(|c| c.state.open_incident.map(|open| open.0))
        .collect();
    let hot: Vec<Option<Time>> = changes.iter().map(|c| time_opt(c.state.hot_until)).collect();
    let suppressions: Vec<Option<i64>> = changes
        .iter()
        .map(|c| c.state.suppression.map(|suppression| suppression.0))
        .collect();
    let moved = sqlx::query!(
        "update machine_state s
         set last_seq = s.last_seq + u.appended, newest_step = u.newest_step, open_incident_id = u.open_incident_id,
             hot_until = u.hot_until, suppression_id = u.suppression_id
         from unnest($1::int4[], $2::int8[], $3::int8[], $4::timestamptz[], $5::int8[], $6::timestamptz[], $7::int8[])
              u(machine_id, last_seq, appended, newest_step, open_incident_id, hot_until, suppression_id)
         where s.machine_id = u.machine_id and s.last_seq = u.last_seq",
        &machines,
        &last,
        &appended,
        &newest as _,
        &open as _,
        &hot as _,
        &suppressions as _,
    )
    .execute(&mut *conn)
    .await?;
    if moved.rows_affected() != changes.len() as u64 {
        return Err(Error::conflict(format!(
            "the journals of machines {machines:?} do not end at {last:?}"
        )));
    }
    journals_insert(conn, changes).await
}

async fn journals_insert(conn: &mut PgConnection, changes: &[MachineChange]) -> Result<()> {
    let (mut machines, mut seqs, mut incidents, mut times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut kinds, mut payloads) = (Vec::new(), Vec::new());
    for change in changes {
        for (seq, event) in (change.state.last_seq + 1..).zip(&change.events) {
            machines.push(change.state.machine.0);
            seqs.push(seq);
            incidents.push(event.incident.map(|incident| incident.0));
            times.push(time(event.at));
            kinds.push(event.kind.as_str());
            payloads.push(event.payload_json.as_str());
        }
    }
    if machines.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into machine_event (machine_id, seq, incident_id, at, kind, payload)
         select u.machine_id, u.seq, u.incident_id, u.at, u.kind, u.payload::jsonb
         from unnest($1::int4[], $2::int8[], $3::int8[], $4::timestamptz[], $5::text[], $6::text[])
              u(machine_id, seq, incident_id, at, kind, payload)",
        &machines,
        &seqs,
        &incidents as _,
        &times,
        &kinds as _,
        &payloads as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

impl Store {
    /// The journal's entries about an incident: what happened to it whole, however long it is, and the newest `steps`
    /// steps.
    pub async fn journal_by_incident(
        &self,
        scope: &Scope,
        incident: IncidentId,
        steps: u32,
    ) -> Result<IncidentJournal> {
        let rows = sqlx::query!(
            r#"with numbered as (
                   select e.machine_id, e.seq, e.incident_id, e.at, e.kind, e.payload,
                          row_number() over (partition by e.kind = 'step' order by e.seq desc) as newest
                   from machine_event e join machine m using (machine_id)
                   where e.incident_id = $1 and ($2::int4[] is null or m.site_id = any($2)))
               select machine_id, seq, incident_id, at, kind, payload::text as "payload!",
                      (select count(*) from numbered where kind = 'step' and newest > $3) as "earlier!"
               from numbered where kind <> 'step' or newest <= $3 order by seq"#,
            incident.0,
            scope.to_filter() as _,
            i64::from(steps),
        )
        .fetch_all(&self.pool)
        .await?;
        let earlier_steps = rows.first().map_or(0, |row| row.earlier as u64);
        let events = rows.into_iter().map(|row| {
            EventRow {
                machine_id: row.machine_id,
                seq: row.seq,
                incident_id: row.incident_id,
                at: row.at,
                kind: row.kind,
                payload: row.payload,
            }
            .try_into()
        });
        Ok(IncidentJournal {
            events: events.collect::<Result<_>>()?,
            earlier_steps,
        })
    }
}
