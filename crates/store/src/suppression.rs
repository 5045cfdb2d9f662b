//! What keeps a machine's pages from people for a time, and the pages that were kept.
//!
//! **Invariant:** at most one suppression is in force per machine, held by a unique index and named by the row that is
//! locked while the machine is folded. Whoever begins or ends one holds that lock.
//!
//! **Invariant:** a page is decided once: it goes to the outbox or is kept here, and what is kept goes out at most once.

use sqlx::PgConnection;
use tocsin_domain::suppression::{Service, Suppression, SuppressionKind, SuppressionOrder};
use tocsin_domain::{IncidentId, MachineId, PageAction, SuppressionId, Timestamp};

use crate::changes::Channel;
use crate::outbox::NewPage;
use crate::row::{Time, time};
use crate::{Error, Result, Store};

mod list;

pub use list::{SuppressedPage, SuppressionListing, SuppressionQuery};

/// The columns of a [`Suppression`]; the queries name them one by one.
struct SuppressionRow {
    suppression_id: i64,
    kind: String,
    from_at: Time,
    until: Time,
    one_shot: bool,
    by: String,
    reason: String,
}

impl TryFrom<SuppressionRow> for Suppression {
    type Error = Error;

    fn try_from(row: SuppressionRow) -> Result<Self> {
        let id = row.suppression_id;
        let order = SuppressionOrder {
            kind: SuppressionKind::parse(&row.kind).map_err(Error::impossible("suppression", "kind", id))?,
            from: row.from_at.into(),
            until: row.until.into(),
            one_shot: row.one_shot,
            by: row.by,
            reason: row.reason,
        };
        Ok(Self {
            id: SuppressionId(id),
            order,
        })
    }
}

/// Whether people hear of a machine that the caller has locked.
pub async fn machine_service(conn: &mut PgConnection, machine: MachineId) -> Result<Service> {
    let row = sqlx::query_as!(
        SuppressionRow,
        "select suppression_id, kind, from_at, until, one_shot, by, reason from suppression
         where machine_id = $1 and ended_at is null",
        machine.0,
    )
    .fetch_optional(conn)
    .await?;
    let suppression = row.map(Suppression::try_from).transpose()?;
    Ok(suppression.map_or(Service::InService, Service::Suppressed))
}

/// Begins a suppression of a machine that the caller has locked and has in service. The caller writes its number into
/// the machine's state.
pub async fn suppression_insert(
    conn: &mut PgConnection,
    machine: MachineId,
    order: &SuppressionOrder,
) -> Result<SuppressionId> {
    let id = sqlx::query_scalar!(
        "insert into suppression (machine_id, kind, from_at, until, one_shot, by, reason)
         values ($1, $2, $3, $4, $5, $6, $7) returning suppression_id",
        machine.0,
        order.kind.as_str(),
        time(order.from),
        time(order.until),
        order.one_shot,
        order.by,
        order.reason,
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(Error::exists(|| format!("a suppression of machine {machine}")))?;
    Channel::Incident.notify_of(conn, machine).await?;
    Ok(SuppressionId(id))
}

/// Ends a suppression of a machine that the caller has locked; `by` is who or what ended it. The caller takes its
/// number out of the machine's state.
pub async fn suppression_end(conn: &mut PgConnection, id: SuppressionId, by: &str, now: Timestamp) -> Result<()> {
    let machine = sqlx::query_scalar!(
        "update suppression set ended_at = $2, ended_by = $3 where suppression_id = $1 and ended_at is null
         returning machine_id",
        id.0,
        time(now),
        by,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let machine = machine.ok_or_else(|| Error::conflict(format!("suppression {id} is not in force any more")))?;
    Channel::Incident.notify_of(conn, MachineId(machine)).await
}

/// Keeps a page that was decided while its machine is suppressed. Answers whether it is new.
pub async fn page_suppress(
    conn: &mut PgConnection,
    suppression: SuppressionId,
    page: &NewPage,
    now: Timestamp,
) -> Result<bool> {
    let done = sqlx::query!(
        "insert into suppressed_page (suppression_id, incident_id, page_key, action, payload, decided_at)
         values ($1, $2, $3, $4, $5::text::jsonb, $6) on conflict (page_key, action) do nothing",
        suppression.0,
        page.incident.0,
        page.page_key,
        page.action.as_str(),
        page.payload_json,
        time(now),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Takes out the newest page that asked for attention to an incident and was kept, to be sent now; none when nothing was
/// kept, all of it went out, or people have been told of a later step since. Those before it say less, and stay.
pub async fn page_release(conn: &mut PgConnection, incident: IncidentId, now: Timestamp) -> Result<Option<NewPage>> {
    let row = sqlx::query!(
        r#"update suppressed_page p set released_at = $2
           where suppressed_page_id = (
               select suppressed_page_id from suppressed_page where incident_id = $1 and action = 'trigger'
               order by suppressed_page_id desc limit 1) and released_at is null
             and not exists (
               select from outbox o where o.incident_id = $1 and o.action = 'trigger' and o.flood_id is null
                 and (o.payload->>'step')::timestamptz > (p.payload->>'step')::timestamptz)
           returning page_key, payload::text as "payload!""#,
        incident.0,
        time(now),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| NewPage {
        page_key: row.page_key,
        incident,
        action: PageAction::Trigger,
        payload_json: row.payload,
    }))
}

impl Store {
    /// Machines with a suppression whose time is over, those first whose time was over first; at most `most`.
    pub async fn suppressions_due(&self, now: Timestamp, most: u32) -> Result<Vec<MachineId>> {
        let due = sqlx::query_scalar!(
            "select machine_id from suppression where ended_at is null and until <= $1 order by until limit $2",
            time(now),
            i64::from(most),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(due.into_iter().map(MachineId).collect())
    }
}
