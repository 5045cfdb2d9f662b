//! Deliveries by themselves: listed, and sent again when they were given up.

use tocsin_domain::{IncidentId, PageAction, Scope, Slug, Timestamp};

use super::{AttemptOutcome, DeliveryAttempt, DeliveryId, DeliveryState};
use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::row::{Time, slug, time};
use crate::{Error, Result, Store};

/// Which deliveries are asked for.
#[derive(Debug, Clone, Default)]
pub struct DeliveryQuery {
    /// Only this one.
    pub id: Option<DeliveryId>,
    /// Only those that stand so.
    pub state: Option<DeliveryState>,
    /// Only those to this destination.
    pub destination: Option<String>,
    /// Only those of this site's pages.
    pub site: Option<Slug>,
    /// Continue before this one, for the next page.
    pub before: Option<DeliveryId>,
    /// At most this many.
    pub limit: u32,
}

/// A delivery, with what its page is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryListing {
    /// Its number.
    pub id: DeliveryId,
    /// To whom.
    pub destination: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// When it is due next, while it waits.
    pub next_at: Timestamp,
    /// How many attempts were made.
    pub attempt_count: i32,
    /// The last of them.
    pub last_attempt: Option<DeliveryAttempt>,
    /// The page's key.
    pub page_key: String,
    /// What the page asks for.
    pub action: PageAction,
    /// When the page was decided.
    pub created_at: Timestamp,
    /// The incident.
    pub incident: IncidentId,
    /// The site's name.
    pub site_name: Slug,
    /// The machine's name.
    pub machine_name: Slug,
}

struct ListingRow {
    delivery_id: i64,
    destination: String,
    state: String,
    next_at: Time,
    attempt_count: i32,
    page_key: String,
    action: String,
    created_at: Time,
    incident_id: i64,
    site: String,
    machine: String,
    attempt: Option<i32>,
    at: Option<Time>,
    outcome: Option<String>,
    answer: Option<String>,
}

impl TryFrom<ListingRow> for DeliveryListing {
    type Error = Error;

    fn try_from(row: ListingRow) -> Result<Self> {
        let id = row.delivery_id;
        let last_attempt = match (row.attempt, row.at, row.outcome, row.answer) {
            (Some(attempt), Some(at), Some(outcome), Some(answer)) => Some(DeliveryAttempt {
                attempt,
                at: at.into(),
                outcome: AttemptOutcome::parse(&outcome).map_err(Error::impossible(
                    "delivery_attempt",
                    "outcome",
                    id,
                ))?,
                answer,
            }),
            _ => None,
        };
        Ok(Self {
            id: DeliveryId(id),
            destination: row.destination,
            state: DeliveryState::parse(&row.state).map_err(Error::impossible("delivery", "state", id))?,
            next_at: row.next_at.into(),
            attempt_count: row.attempt_count,
            last_attempt,
            page_key: row.page_key,
            action: PageAction::parse(&row.action).map_err(Error::impossible("outbox", "action", id))?,
            created_at: row.created_at.into(),
            incident: IncidentId(row.incident_id),
            site_name: slug("site", "name", id, &row.site)?,
            machine_name: slug("machine", "name", id, &row.machine)?,
        })
    }
}

impl Store {
    /// Deliveries in `scope`, newest first.
    pub async fn delivery_list(&self, scope: &Scope, query: &DeliveryQuery) -> Result<Vec<DeliveryListing>> {
        let rows = sqlx::query_as!(
            ListingRow,
            r#"select d.delivery_id, d.destination, d.state, d.next_at, d.attempt_count, o.page_key, o.action,
                      o.created_at, n.incident_id, i.name as site, m.name as machine,
                      a.attempt as "attempt?", a.at as "at?", a.outcome as "outcome?", a.answer as "answer?"
               from delivery d join outbox o using (outbox_id) join incident n using (incident_id)
               join machine m using (machine_id) join site i using (site_id)
               left join delivery_attempt a on a.delivery_id = d.delivery_id and a.attempt = d.attempt_count
               where ($1::int4[] is null or m.site_id = any($1)) and ($2::int8 is null or d.delivery_id = $2)
                 and ($3::text is null or d.state = $3) and ($4::text is null or d.destination = $4)
                 and ($5::text is null or i.name = $5) and ($6::int8 is null or d.delivery_id < $6)
               order by d.delivery_id desc limit $7"#,
            scope.to_filter() as _,
            query.id.map(|id| id.0),
            query.state.map(DeliveryState::as_str),
            query.destination,
            query.site.as_ref().map(Slug::as_str),
            query.before.map(|id| id.0),
            i64::from(query.limit),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(DeliveryListing::try_from).collect()
    }

    /// One delivery in `scope`.
    pub async fn delivery_get(&self, scope: &Scope, id: DeliveryId) -> Result<DeliveryListing> {
        let query = DeliveryQuery {
            id: Some(id),
            limit: 1,
            ..DeliveryQuery::default()
        };
        let found = self.delivery_list(scope, &query).await?;
        found
            .into_iter()
            .next()
            .ok_or_else(|| Error::not_found(format!("delivery {}", id.0)))
    }

    /// Makes a delivery that was given up due again, with all its attempts before it; and, after it, those of its
    /// incident's later pages to the same destination, which would else stand for what is no longer so: an opening sent
    /// after its end would stay open at the receiver for good. Answers how many go out again; the audit entry that `audit`
    /// makes of that is of the same transaction.
    pub async fn delivery_resend(
        &self,
        scope: &Scope,
        id: DeliveryId,
        now: Timestamp,
        audit: impl FnOnce(&u64) -> NewAuditEntry,
    ) -> Result<u64> {
        self.delivery_get(scope, id).await?;
        let mut transaction = self.begin().await?;
        let done = sqlx::query!(
            "update delivery d set state = 'waiting', next_at = $2, leased_until = null, attempts_before = d.attempt_count,
                    remaining = null
             from delivery dead join outbox p using (outbox_id) join outbox o using (incident_id)
             where dead.delivery_id = $1 and dead.state = 'dead' and o.outbox_id >= p.outbox_id
               and d.outbox_id = o.outbox_id and d.destination = dead.destination and d.state <> 'waiting'",
            id.0,
            time(now),
        )
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            let what = format!("delivery {} was not given up: only what is dead is sent again", id.0);
            return Err(Error::conflict(what));
        }
        commit(transaction, done.rows_affected(), audit, now).await
    }
}
