//! Pages that leave the house, written in the transaction that decided them; who may be owed them is in
//! [`fan_out`], what became of that in [`delivery`],
//! and how what was given up goes out again in [`resend`]. What goes through it that is about no incident is in [`canary`].
//!
//! **Invariant:** a page's key and action are unique. Deciding the same page again changes nothing.

use sqlx::PgConnection;
use tocsin_domain::{FloodId, IncidentId, PageAction, Timestamp};

use crate::changes::Channel;
use crate::row::{Time, time};
use crate::{Error, Result, Store};

pub mod canary;
pub mod delivery;
pub mod fan_out;
pub mod flood;
pub mod resend;

pub use delivery::{
    AfterAttempt, AttemptOutcome, DeliveryAttempt, DeliveryId, DeliveryState, FinishedAttempt, LeasedDelivery,
    PageDelivery,
};
pub use fan_out::{Deferral, OwedPage, deliveries_hasten, deliveries_insert};
pub use flood::{FloodListing, FloodMember};
pub use resend::{DeliveryListing, DeliveryQuery};

/// A page to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPage {
    /// Stable over every repeat, and over the actions of one incident.
    pub page_key: String,
    /// The incident it is about.
    pub incident: IncidentId,
    /// What it asks for.
    pub action: PageAction,
    /// What it says, JSON.
    pub payload_json: String,
}

/// A page in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its place in the outbox.
    pub id: i64,
    /// Stable over every repeat, and over the actions of one incident.
    pub page_key: String,
    /// The incident it is about.
    pub incident: IncidentId,
    /// What it asks for.
    pub action: PageAction,
    /// What it says, JSON.
    pub payload_json: String,
    /// When it was decided.
    pub created_at: Timestamp,
    /// The flood it is about, of which its incident is the first.
    pub flood: Option<FloodId>,
}

/// The columns of a [`Page`]; the queries name them one by one.
pub(crate) struct PageRow {
    pub(crate) outbox_id: i64,
    pub(crate) page_key: String,
    pub(crate) incident_id: i64,
    pub(crate) action: String,
    pub(crate) payload: String,
    pub(crate) created_at: Time,
    pub(crate) flood_id: Option<i64>,
}

impl TryFrom<PageRow> for Page {
    type Error = Error;

    fn try_from(row: PageRow) -> Result<Self> {
        Ok(Self {
            id: row.outbox_id,
            page_key: row.page_key,
            incident: IncidentId(row.incident_id),
            action: PageAction::parse(&row.action).map_err(Error::impossible("outbox", "action", row.outbox_id))?,
            payload_json: row.payload,
            created_at: row.created_at.into(),
            flood: row.flood_id.map(FloodId),
        })
    }
}

/// Writes a page into the outbox, in the transaction that decided it. Answers whether it is new. Of an incident that
/// nobody was told of, as while its machine was shelved, nobody is told that it has gone.
pub async fn page_insert(conn: &mut PgConnection, new: &NewPage, now: Timestamp) -> Result<bool> {
    let done = sqlx::query!(
        "insert into outbox (page_key, incident_id, action, payload, created_at)
         select $1, $2::int8, $3, $4::text::jsonb, $5::timestamptz
         where $3 <> 'resolve' or exists (select 1 from outbox t where t.incident_id = $2 and t.action = 'trigger')
         on conflict (page_key, action) do nothing",
        new.page_key,
        new.incident.0,
        new.action.as_str(),
        new.payload_json,
        time(now),
    )
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    Channel::Outbox.notify(conn).await?;
    Ok(true)
}

impl Store {
    /// The newest trigger of each open incident that is owed to a destination, or that it has: what a receiver of levels
    /// is told again and again.
    pub async fn triggers_open(&self, destination: &str) -> Result<Vec<Page>> {
        let rows = sqlx::query_as!(
            PageRow,
            r#"select distinct on (n.incident_id) o.outbox_id, o.page_key, n.incident_id, o.action,
                      o.payload::text as "payload!", o.created_at, o.flood_id
               from incident n join outbox o using (incident_id) join delivery d using (outbox_id)
               where n.closed_at is null and o.action = 'trigger' and d.destination = $1 and o.flood_id is null
               order by n.incident_id, o.outbox_id desc"#,
            destination,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Page::try_from).collect()
    }
}
