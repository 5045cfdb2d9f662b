//! From the outbox to deliveries: which pages may be owed to somebody, and whom their incidents were told to. Who takes
//! what is the pager's to say.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use tocsin_domain::{Level, Severity, Timestamp};

use super::{Page, PageRow};
use crate::row::{Time, time};
use crate::{Result, Store};

/// A page that not every destination has a delivery of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedPage {
    /// The page.
    pub page: Page,
    /// The destinations that are owed, or were sent, what opened its incident or said more of it, before this page; not those
    /// that were told of it in a flood.
    pub told: Vec<String>,
    /// The destinations that have a delivery of it, in whatever state.
    pub settled: Vec<String>,
}

/// A delivery that waits for people to be there, unless its machine gets much worse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deferral {
    /// Until when.
    pub until: Timestamp,
    /// The level that may wait so long.
    pub level: Level,
}

/// Makes deliveries, each of a page (its number in the outbox) to a destination, in order; those that are there stay as
/// they are. `deferred` says of pages that they wait. Answers how many are new.
pub async fn deliveries_insert(
    conn: &mut PgConnection,
    owed: &[(i64, String)],
    deferred: &BTreeMap<i64, Deferral>,
    now: Timestamp,
) -> Result<u64> {
    let (pages, destinations): (Vec<i64>, Vec<String>) = owed.iter().cloned().unzip();
    let deferral = |page: &i64| deferred.get(page);
    let next: Vec<Time> = pages
        .iter()
        .map(|p| time(deferral(p).map_or(now, |d| d.until)))
        .collect();
    let levels: Vec<Option<f32>> = pages.iter().map(|p| deferral(p).map(|d| d.level.0)).collect();
    let done = sqlx::query!(
        "insert into delivery (outbox_id, destination, state, next_at, deferred_level, deferred_until)
         select o.outbox_id, o.destination, 'waiting', o.next_at, o.level,
                case when o.level is not null then o.next_at end
         from unnest($1::int8[], $2::text[], $3::timestamptz[], $4::real[])
             with ordinality as o(outbox_id, destination, next_at, level, place)
         order by o.place on conflict do nothing",
        &pages,
        &destinations,
        &next,
        &levels as _,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Lets go of deliveries that wait for people whose machines have got worse by a level since, or of whose incident there is
/// more to say; answers how many.
pub async fn deliveries_hasten(conn: &mut PgConnection, now: Timestamp) -> Result<u64> {
    let done = sqlx::query!(
        "update delivery d set next_at = $1, deferred_until = $1
         from outbox o join incident n using (incident_id)
         where o.outbox_id = d.outbox_id and d.state = 'waiting' and d.deferred_level is not null and d.next_at > $1 and d.attempt_count = 0
           and n.closed_at is null
           and (n.peak_level >= d.deferred_level + 1
                or exists (select 1 from outbox p where p.incident_id = o.incident_id and p.action = 'trigger'
                             and p.outbox_id > o.outbox_id and p.flood_id is null))",
        time(now)
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

impl Store {
    /// The pages decided since `since` that lack a delivery to one of `destinations`, in order, but for those in
    /// `settled` (numbers of pages that were looked at before). What opened an incident that is still open is among them
    /// however long ago that was.
    pub async fn pages_owed(
        &self,
        destinations: &[String],
        since: Timestamp,
        settled: &[i64],
    ) -> Result<Vec<OwedPage>> {
        let rows = sqlx::query!(
            r#"with young as (
                   select outbox_id from outbox where created_at >= $2 and flood_id is null and incident_id is not null
                   union
                   select o.outbox_id from incident n join outbox o using (incident_id)
                   where n.closed_at is null and o.action = 'trigger' and o.flood_id is null)
               select o.outbox_id, o.page_key, o.incident_id as "incident_id!", o.action, o.payload::text as "payload!", o.created_at, o.flood_id,
                      array(select distinct d.destination from outbox t join delivery d using (outbox_id)
                            where t.incident_id = o.incident_id and t.action = 'trigger' and t.flood_id is null
                              and t.outbox_id < o.outbox_id and d.state <> 'joined') as "told!",
                      array(select d.destination from delivery d where d.outbox_id = o.outbox_id) as "settled!"
               from young y join outbox o using (outbox_id)
               where o.outbox_id <> all($3) and exists (
                   select 1 from unnest($1::text[]) as wanted(destination)
                   where not exists (
                       select 1 from delivery x
                       where x.outbox_id = o.outbox_id and x.destination = wanted.destination))
               order by o.outbox_id"#,
            destinations,
            time(since),
            settled,
        )
        .fetch_all(&self.pool)
        .await?;
        let pages = rows.into_iter().map(|row| {
            let page = PageRow {
                outbox_id: row.outbox_id,
                page_key: row.page_key,
                incident_id: row.incident_id,
                action: row.action,
                payload: row.payload,
                created_at: row.created_at,
                flood_id: row.flood_id,
            };
            Ok(OwedPage {
                page: page.try_into()?,
                told: row.told,
                settled: row.settled,
            })
        });
        pages.collect()
    }

    /// Makes deliveries to `destinations`, in order, of what raised each open incident to page level that nobody has
    /// acknowledged, where that was decided at `decided_by` or before and the machine is in service; those that are there
    /// stay as they are, so each destination is told once. What became part of a flood escalates with the flood's page. Answers how many are new.
    pub async fn deliveries_escalate(
        &self,
        destinations: &[String],
        decided_by: Timestamp,
        now: Timestamp,
    ) -> Result<u64> {
        let done = sqlx::query!(
            "with unseen as (
                 select n.incident_id from incident n
                 where n.closed_at is null and n.acknowledged_at is null and n.severity = $4
                   and not exists (select 1 from suppression s where s.machine_id = n.machine_id and s.ended_at is null)),
             alone as (
                 select distinct on (o.incident_id) o.outbox_id, o.created_at
                 from unseen join outbox o using (incident_id)
                 where o.action = 'trigger' and o.flood_id is null
                   and not exists (select 1 from delivery j where j.outbox_id = o.outbox_id and j.state = 'joined')
                 order by o.incident_id, o.outbox_id desc),
             flooded as (
                 select o.outbox_id, o.created_at from unseen join flood_incident j using (incident_id)
                 join outbox o on o.flood_id = j.flood_id and o.action = 'trigger')
             insert into delivery (outbox_id, destination, state, next_at)
             select t.outbox_id, e.destination, 'waiting', $3
             from (select * from alone union select * from flooded) t
             cross join unnest($1::text[]) with ordinality as e(destination, place)
             where coalesce((select min(d.deferred_until) from delivery d where d.outbox_id = t.outbox_id),
                            t.created_at) <= $2
             order by t.outbox_id, e.place on conflict do nothing",
            destinations,
            time(decided_by),
            time(now),
            Severity::Page.to_code(),
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }
}
