//! From the outbox to deliveries: which pages may be owed to somebody, and whom their incidents were told to. Who takes
//! what is the pager's to say.

use tocsin_domain::{Severity, Timestamp};

use super::{Page, PageRow};
use crate::row::time;
use crate::{Result, Store};

/// A page that not every destination has a delivery of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedPage {
    /// The page.
    pub page: Page,
    /// The destinations that are owed, or were sent, what opened its incident or said more of it, before this page.
    pub told: Vec<String>,
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
                   select outbox_id from outbox where created_at >= $2
                   union
                   select o.outbox_id from incident n join outbox o using (incident_id)
                   where n.closed_at is null and o.action = 'trigger')
               select o.outbox_id, o.page_key, o.incident_id, o.action, o.payload::text as "payload!", o.created_at,
                      array(select distinct d.destination from outbox t join delivery d using (outbox_id)
                            where t.incident_id = o.incident_id and t.action = 'trigger'
                              and t.outbox_id < o.outbox_id) as "told!"
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
            };
            Ok(OwedPage {
                page: page.try_into()?,
                told: row.told,
            })
        });
        pages.collect()
    }

    /// Makes deliveries, each of a page (its number in the outbox) to a destination, in order; those that are there
    /// stay as they are. Answers how many are new.
    pub async fn deliveries_insert(&self, owed: &[(i64, String)], now: Timestamp) -> Result<u64> {
        let (pages, destinations): (Vec<i64>, Vec<String>) = owed.iter().cloned().unzip();
        let done = sqlx::query!(
            "insert into delivery (outbox_id, destination, state, next_at)
             select o.outbox_id, o.destination, 'waiting', $3
             from unnest($1::int8[], $2::text[]) with ordinality as o(outbox_id, destination, place)
             order by o.place on conflict do nothing",
            &pages,
            &destinations,
            time(now),
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

    /// Makes deliveries to `destinations`, in order, of what raised each open incident to page level that nobody has
    /// acknowledged, where that was decided at `decided_by` or before; those that are there stay as they are, so each
    /// destination is told once. Answers how many are new.
    pub async fn deliveries_escalate(
        &self,
        destinations: &[String],
        decided_by: Timestamp,
        now: Timestamp,
    ) -> Result<u64> {
        let done = sqlx::query!(
            "insert into delivery (outbox_id, destination, state, next_at)
             select t.outbox_id, e.destination, 'waiting', $3
             from (select distinct on (o.incident_id) o.outbox_id, o.created_at
                   from incident n join outbox o using (incident_id)
                   where n.closed_at is null and n.acknowledged_at is null and n.severity = $4 and o.action = 'trigger'
                   order by o.incident_id, o.outbox_id desc) t
             cross join unnest($1::text[]) with ordinality as e(destination, place)
             where t.created_at <= $2 order by t.outbox_id, e.place on conflict do nothing",
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
