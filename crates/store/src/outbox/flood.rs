//! Floods: which incidents a destination is told of together, and the pages that say so.
//!
//! **Invariant:** at most one flood is open per destination, held by a unique index. Whoever begins, fills or ends one
//! holds the fan-out's lock.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use tocsin_domain::{FloodId, IncidentId, Scope, Slug, Timestamp};

use super::{NewPage, Page, PageRow};
use crate::changes::Channel;
use crate::row::{Time, slug, time};
use crate::{Error, Result, Store, Transaction};

/// A flood as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FloodListing {
    /// Its number.
    pub id: FloodId,
    /// Whose flood it is.
    pub destination: String,
    /// When it began.
    pub began_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// Its incidents that the caller sees.
    pub incidents: u64,
    /// Those of them that nobody has taken.
    pub unacknowledged: u64,
}

/// An incident of a flood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FloodMember {
    /// The incident.
    pub incident: IncidentId,
    /// The site's name.
    pub site_name: Slug,
    /// The machine's name.
    pub machine_name: Slug,
}

/// The gateways, `site/name`, that the sensors which decided about incidents were heard through last; incidents of whose
/// none is known are missing.
pub async fn incidents_gateways(
    conn: &mut PgConnection,
    incidents: &[IncidentId],
) -> Result<BTreeMap<IncidentId, String>> {
    let numbers: Vec<i64> = incidents.iter().map(|incident| incident.0).collect();
    let rows = sqlx::query!(
        r#"select n.incident_id, i.name || '/' || t.name as "gateway!"
           from incident n join sensor_signal g on g.sensor_id = n.deciding_sensor_id
           join gateway_token t on t.token_id = g.token_id join site i on i.site_id = t.site_id
           where n.incident_id = any($1)"#,
        &numbers,
    )
    .fetch_all(conn)
    .await?;
    let gateways = rows.into_iter().map(|row| (IncidentId(row.incident_id), row.gateway));
    Ok(gateways.collect())
}

struct MemberRow {
    incident_id: i64,
    site: String,
    machine: String,
}

impl TryFrom<MemberRow> for FloodMember {
    type Error = Error;

    fn try_from(row: MemberRow) -> Result<Self> {
        let id = row.incident_id;
        Ok(Self {
            incident: IncidentId(id),
            site_name: slug("site", "name", id, &row.site)?,
            machine_name: slug("machine", "name", id, &row.machine)?,
        })
    }
}

struct FloodRow {
    flood_id: i64,
    destination: String,
    began_at: Time,
    ended_at: Option<Time>,
    incidents: i64,
    unacknowledged: i64,
}

impl From<FloodRow> for FloodListing {
    fn from(row: FloodRow) -> Self {
        Self {
            id: FloodId(row.flood_id),
            destination: row.destination,
            began_at: row.began_at.into(),
            ended_at: row.ended_at.map(Timestamp::from),
            incidents: row.incidents as u64,
            unacknowledged: row.unacknowledged as u64,
        }
    }
}

/// The pages that told a destination of an incident for the first time, or joined a flood of its, since `since`; in the
/// order they were decided.
pub async fn newcomers_since(conn: &mut PgConnection, destination: &str, since: Timestamp) -> Result<Vec<Page>> {
    let rows = sqlx::query_as!(
        PageRow,
        r#"select o.outbox_id, o.page_key, o.incident_id as "incident_id!", o.action, o.payload::text as "payload!", o.created_at,
                  o.flood_id
           from outbox o join delivery d using (outbox_id)
           where d.destination = $1 and o.action = 'trigger' and o.flood_id is null and o.created_at >= $2
             and not exists (
                 select 1 from outbox p join delivery e using (outbox_id)
                 where p.incident_id = o.incident_id and p.action = 'trigger' and p.flood_id is null
                   and p.outbox_id < o.outbox_id and e.destination = d.destination)
           order by o.outbox_id"#,
        destination,
        time(since),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Page::try_from).collect()
}

/// The flood that a destination is in.
pub async fn flood_open(conn: &mut PgConnection, destination: &str) -> Result<Option<FloodId>> {
    let open = sqlx::query_scalar!(
        "select flood_id from flood where destination = $1 and ended_at is null",
        destination
    )
    .fetch_optional(conn)
    .await?;
    Ok(open.map(FloodId))
}

/// The floods that are open, with the destination of each.
pub async fn floods_open(conn: &mut PgConnection) -> Result<Vec<(FloodId, String)>> {
    let rows = sqlx::query!("select flood_id, destination from flood where ended_at is null order by flood_id")
        .fetch_all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| (FloodId(row.flood_id), row.destination))
        .collect())
}

/// Begins a flood of a destination.
pub async fn flood_begin(conn: &mut PgConnection, destination: &str, now: Timestamp) -> Result<FloodId> {
    let id = sqlx::query_scalar!(
        "insert into flood (destination, began_at) values ($1, $2) returning flood_id",
        destination,
        time(now),
    )
    .fetch_one(conn)
    .await
    .map_err(Error::exists(|| format!("an open flood of {destination}")))?;
    Ok(FloodId(id))
}

/// Ends a flood: what comes now is told one by one again.
pub async fn flood_end(conn: &mut PgConnection, flood: FloodId, now: Timestamp) -> Result<()> {
    sqlx::query!(
        "update flood set ended_at = $2 where flood_id = $1 and ended_at is null",
        flood.0,
        time(now)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether somebody has taken every open incident of a flood.
pub async fn flood_is_taken(conn: &mut PgConnection, flood: FloodId) -> Result<bool> {
    let waiting = sqlx::query_scalar!(
        r#"select exists (select 1 from flood_incident j join incident n using (incident_id)
                          where j.flood_id = $1 and n.state = 'active_unacknowledged') as "waiting!""#,
        flood.0
    )
    .fetch_one(conn)
    .await?;
    Ok(!waiting)
}

/// Marks the floods of which somebody has taken every open incident; those that were not marked before, with the
/// destination of each.
pub async fn floods_acknowledge(conn: &mut PgConnection, now: Timestamp) -> Result<Vec<(FloodId, String)>> {
    let rows = sqlx::query!(
        "update flood f set acknowledged_at = $1
         where f.acknowledged_at is null and f.resolved_at is null
           and exists (select 1 from flood_incident j join incident n using (incident_id)
                       where j.flood_id = f.flood_id and n.state = 'active_acknowledged')
           and not exists (select 1 from flood_incident j join incident n using (incident_id)
                           where j.flood_id = f.flood_id and n.state = 'active_unacknowledged')
         returning f.flood_id, f.destination",
        time(now)
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (FloodId(row.flood_id), row.destination))
        .collect())
}

/// Marks the floods that have ended and of whose incidents none is open any more; those that were not marked before.
pub async fn floods_resolve(conn: &mut PgConnection, now: Timestamp) -> Result<Vec<(FloodId, String)>> {
    let rows = sqlx::query!(
        "update flood f set resolved_at = $1
         where f.ended_at is not null and f.resolved_at is null and not exists (
             select 1 from flood_incident j join incident n using (incident_id)
             where j.flood_id = f.flood_id and n.closed_at is null)
         returning f.flood_id, f.destination",
        time(now)
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (FloodId(row.flood_id), row.destination))
        .collect())
}

/// Takes pages into a flood: its destination is not sent them one by one.
pub async fn flood_join(
    conn: &mut PgConnection,
    (flood, destination): (FloodId, &str),
    pages: &[Page],
    now: Timestamp,
) -> Result<()> {
    let numbers: Vec<i64> = pages.iter().map(|page| page.id).collect();
    let incidents: Vec<i64> = pages.iter().map(|page| page.incident.0).collect();
    sqlx::query!(
        "insert into delivery (outbox_id, destination, state, next_at)
         select n, $2, 'joined', $3 from unnest($1::int8[]) n on conflict do nothing",
        &numbers,
        destination,
        time(now),
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "insert into flood_incident (flood_id, incident_id, joined_at)
         select $1, n, $3 from unnest($2::int8[]) n on conflict do nothing",
        flood.0,
        &incidents,
        time(now),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes a page about a flood, owed to its destination alone.
pub async fn flood_page_insert(
    conn: &mut PgConnection,
    (flood, destination): (FloodId, &str),
    page: &NewPage,
    now: Timestamp,
) -> Result<()> {
    let done = sqlx::query!(
        "with page as (
             insert into outbox (page_key, incident_id, action, payload, created_at, flood_id)
             values ($1, $2, $3, $4::text::jsonb, $5, $6) on conflict (page_key, action) do nothing returning outbox_id)
         insert into delivery (outbox_id, destination, state, next_at) select outbox_id, $7, 'waiting', $5 from page",
        page.page_key,
        page.incident.0,
        page.action.as_str(),
        page.payload_json,
        time(now),
        flood.0,
        destination,
    )
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() == 0 {
        return Err(Error::conflict(format!("page {} is there already", page.page_key)));
    }
    Channel::Outbox.notify(conn).await
}

/// The page that told a flood's destination of it.
pub async fn flood_page(conn: &mut PgConnection, flood: FloodId) -> Result<Option<Page>> {
    let row = sqlx::query_as!(
        PageRow,
        r#"select outbox_id, page_key, incident_id as "incident_id!", action, payload::text as "payload!", created_at, flood_id
           from outbox where flood_id = $1 and action = 'trigger' order by outbox_id limit 1"#,
        flood.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Page::try_from).transpose()
}

impl Store {
    /// Makes this the one process that finds out who is owed pages, until the transaction ends; none when another is.
    pub async fn fan_out_try_lock(&self) -> Result<Option<Transaction>> {
        let mut transaction = self.begin().await?;
        let locked = sqlx::query_scalar!(
            r#"select pg_try_advisory_xact_lock(hashtextextended('tocsin fan-out', 0)) as "locked!""#
        )
        .fetch_one(&mut *transaction)
        .await?;
        if !locked {
            return Ok(None);
        }
        // A pager that is cut off in the middle holds nobody up for long.
        sqlx::query!("set local idle_in_transaction_session_timeout = '30s'")
            .execute(&mut *transaction)
            .await?;
        Ok(Some(transaction))
    }

    /// The flood that a page is about, by its place in the outbox; none of other pages.
    pub async fn page_flood(&self, outbox_id: i64) -> Result<Option<FloodId>> {
        let flood = sqlx::query_scalar!("select flood_id from outbox where outbox_id = $1", outbox_id)
            .fetch_optional(&self.pool)
            .await?;
        Ok(flood.flatten().map(FloodId))
    }

    /// Floods with an incident in `scope`, newest first; only that one when given.
    pub async fn flood_list(&self, scope: &Scope, id: Option<FloodId>, limit: u32) -> Result<Vec<FloodListing>> {
        let rows = sqlx::query_as!(
            FloodRow,
            r#"select f.flood_id, f.destination, f.began_at, f.ended_at, count(*) as "incidents!",
                      count(*) filter (where n.state = 'active_unacknowledged') as "unacknowledged!"
               from flood f join flood_incident j using (flood_id) join incident n using (incident_id)
               join machine m using (machine_id)
               where ($1::int4[] is null or m.site_id = any($1)) and ($2::int8 is null or f.flood_id = $2)
               group by f.flood_id order by f.flood_id desc limit $3"#,
            scope.to_filter() as _,
            id.map(|id| id.0),
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(FloodListing::from).collect())
    }

    /// The incidents of a flood in `scope`, in the order they joined.
    pub async fn flood_members(&self, scope: &Scope, flood: FloodId) -> Result<Vec<FloodMember>> {
        let rows = sqlx::query_as!(
            MemberRow,
            "select j.incident_id, i.name as site, m.name as machine
             from flood_incident j join incident n using (incident_id) join machine m using (machine_id)
             join site i using (site_id)
             where j.flood_id = $1 and ($2::int4[] is null or m.site_id = any($2))
             order by j.joined_at, j.incident_id",
            flood.0,
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(FloodMember::try_from).collect()
    }
}
