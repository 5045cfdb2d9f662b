//! Canaries: marks in the outbox that a canary's reading was judged and stored. They take the road of a page, through a
//! delivery with its attempts, and no destination is told of them: they show that the road is open.
//!
//! **Invariant:** a mark is written in the transaction of its reading, as a page would be.

use std::time::Duration;

use sqlx::PgConnection;
use tocsin_domain::{ReadingKey, Slug, Timestamp};

use super::DeliveryId;
use crate::changes::Channel;
use crate::row::{slug, time};
use crate::{Result, Store};

/// To whom marks are owed: a name that no destination may have.
pub const WATCHDOG: &str = "tocsin-watchdog";

/// A mark that this process may follow up until its lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedCanary {
    /// The delivery.
    pub id: DeliveryId,
    /// Number of the attempt.
    pub attempt: i32,
    /// The canary's site.
    pub site: Slug,
    /// When its reading was received.
    pub received_at: Timestamp,
}

/// Puts marks of canaries' readings into the outbox, each with when it was received, in the transaction that stores them.
pub async fn canaries_insert(conn: &mut PgConnection, readings: &[(ReadingKey, Timestamp)]) -> Result<()> {
    for (key, received_at) in readings {
        let page_key = format!("tocsin-canary-{}-{}", key.sensor, key.captured_at.as_micros());
        sqlx::query!(
            "insert into outbox (page_key, action, payload, created_at)
             values ($1, 'trigger', jsonb_build_object('sensor_id', $2::int4), $3) on conflict (page_key, action) do nothing",
            page_key,
            key.sensor.0,
            time(*received_at),
        )
        .execute(&mut *conn)
        .await?;
    }
    if !readings.is_empty() {
        Channel::Outbox.notify(conn).await?;
    }
    Ok(())
}

impl Store {
    /// Makes the deliveries of marks that were written since `since`; answers how many are new.
    pub async fn canaries_fan_out(&self, since: Timestamp, now: Timestamp) -> Result<u64> {
        let done = sqlx::query!(
            "insert into delivery (outbox_id, destination, state, next_at)
             select o.outbox_id, $1, 'waiting', $3 from outbox o
             where o.incident_id is null and o.created_at >= $2 order by o.outbox_id on conflict do nothing",
            WATCHDOG,
            time(since),
            time(now),
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

    /// Takes the marks that are due and nobody else has, until `now + lease`, oldest first. Each attempt is on record,
    /// outcome unknown, when this returns.
    pub async fn canaries_lease(&self, now: Timestamp, lease: Duration) -> Result<Vec<LeasedCanary>> {
        let rows = sqlx::query!(
            r#"with due as (
                   select d.delivery_id from delivery d
                   where d.state = 'waiting' and d.destination = $3 and d.next_at <= $1
                     and (d.leased_until is null or d.leased_until <= $1)
                   order by d.delivery_id for update skip locked
               ), leased as (
                   update delivery d set leased_until = $2, attempt_count = d.attempt_count + 1 from due
                   where d.delivery_id = due.delivery_id
                   returning d.delivery_id, d.outbox_id, d.attempt_count
               ), recorded as (
                   insert into delivery_attempt (delivery_id, attempt, at, outcome, answer)
                   select delivery_id, attempt_count, $1, 'unknown', 'no answer on record' from leased
               )
               select l.delivery_id as "delivery_id!", l.attempt_count as "attempt_count!", o.created_at, i.name as site
               from leased l join outbox o using (outbox_id)
               join sensor s on s.sensor_id = (o.payload ->> 'sensor_id')::int4
               join machine m using (machine_id) join site i using (site_id) order by o.outbox_id"#,
            time(now),
            time(now + lease),
            WATCHDOG,
        )
        .fetch_all(&self.pool)
        .await?;
        let leased = rows.into_iter().map(|row| {
            Ok(LeasedCanary {
                id: DeliveryId(row.delivery_id),
                attempt: row.attempt_count,
                site: slug("site", "name", row.delivery_id, &row.site)?,
                received_at: row.created_at.into(),
            })
        });
        leased.collect()
    }

    /// Takes marks away that were written before `before`, with their deliveries: they have shown what they had to.
    pub async fn canaries_forget(&self, before: Timestamp) -> Result<()> {
        let mut transaction = self.begin().await?;
        sqlx::query!(
            "delete from delivery_attempt a using delivery d, outbox o
             where a.delivery_id = d.delivery_id and d.outbox_id = o.outbox_id and o.incident_id is null
               and o.created_at < $1",
            time(before)
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!(
            "delete from delivery d using outbox o
             where d.outbox_id = o.outbox_id and o.incident_id is null and o.created_at < $1",
            time(before)
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!(
            "delete from outbox where incident_id is null and created_at < $1",
            time(before)
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }
}
