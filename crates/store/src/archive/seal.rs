//! The last steps: what resends are recognised by is kept, and the partition goes.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use tocsin_domain::Timestamp;

use super::{Part, entry, taken_over};
use crate::access::audit_insert;
use crate::partition::{Day, MAKING_PARTITIONS};
use crate::row::time;
use crate::{Error, Result, Store};

/// Detaching waits no longer than this for those who read, for whoever commits waits behind it.
const PATIENCE: &str = "set local lock_timeout = '300ms'";

/// How often it is tried within one sealing, and the pause between.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

impl Store {
    /// Keeps nine bytes a reading: capture time and half of the content hash.
    ///
    /// # Errors
    /// [`Error::Conflict`] when another has taken the part over.
    pub async fn archive_keyed(&self, part: &Part, now: Timestamp) -> Result<Part> {
        let (from, to) = (part.day.start(), part.day.next().start());
        let mut transaction = self.begin().await?;
        let done = sqlx::query!(
            "update archive_part set state = 'keyed', updated_at = $4
             where day = $1 and part = $2 and attempt = $3 and state = 'verified'",
            part.day.date(),
            part.part,
            part.attempt,
            time(now),
        )
        .execute(&mut *transaction)
        .await?;
        taken_over(part, done.rows_affected())?;
        sqlx::query!(
            "insert into archived_key (sensor_id, day, part, keys)
             select sensor_id, $1, $2, string_agg(archive_key(captured_at, content_hash), ''::bytea order by captured_at)
             from reading where captured_at >= $3 and captured_at < $4 group by sensor_id",
            part.day.date(),
            part.part,
            time(from),
            time(to),
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        self.archive_part(part.day, part.part).await
    }

    /// Drops the partition and calls the part archived, in one transaction; none when the partition holds another number
    /// of rows than the files, because something came late: the part is to be begun anew. Says so in the audit record, as
    /// done by `actor`.
    ///
    /// # Errors
    /// [`Error::Conflict`] when another has taken the part over, [`Error::Unavailable`] when no moment was found in which
    /// nobody reads.
    pub async fn archive_seal(&self, part: &Part, actor: &str, now: Timestamp) -> Result<Option<Part>> {
        for _ in 1..TRIES {
            match self.seal(part, actor, now).await {
                Err(Error::Unavailable { .. }) => tokio::time::sleep(PAUSE).await,
                sealed => return sealed,
            }
        }
        self.seal(part, actor, now).await
    }

    async fn seal(&self, part: &Part, actor: &str, now: Timestamp) -> Result<Option<Part>> {
        let (from, to) = (time(part.day.start()), time(part.day.next().start()));
        let name = part.day.partition();
        let mut transaction = self.begin().await?;
        sqlx::raw_sql(PATIENCE).execute(&mut *transaction).await?;
        // Who writes to this day waits from here on; who reads does not.
        sqlx::raw_sql(AssertSqlSafe(format!("lock table {name} in share mode")))
            .execute(&mut *transaction)
            .await?;
        let counted = format!("select count(*), pg_total_relation_size('{name}') from {name}");
        let (rows, hot_bytes): (i64, i64) = sqlx::query_as(AssertSqlSafe(counted))
            .fetch_one(&mut *transaction)
            .await?;
        let keyed = sqlx::query_scalar!(
            r#"select coalesce(sum(octet_length(keys)) / 9, 0)::int8 as "keys!" from archived_key where day = $1 and part = $2"#,
            part.day.date(),
            part.part,
        )
        .fetch_one(&mut *transaction)
        .await?;
        if rows as u64 != part.rows || keyed != rows {
            return Ok(None);
        }
        sqlx::query!(
            "insert into reading_kept
             select r.* from reading r where r.captured_at >= $1 and r.captured_at < $2
               and (exists (select 1 from evidence e where e.sensor_id = r.sensor_id and e.captured_at = r.captured_at
                            and e.incident_id is not null)
                    or not exists (select 1 from reading l where l.sensor_id = r.sensor_id and l.captured_at > r.captured_at))
             on conflict do nothing",
            from,
            to,
        )
        .execute(&mut *transaction)
        .await?;
        let done = sqlx::query!(
            "update archive_part set state = 'archived', hot_bytes = $4, leased_until = null, updated_at = $5
             where day = $1 and part = $2 and attempt = $3 and state = 'keyed'",
            part.day.date(),
            part.part,
            part.attempt,
            hot_bytes,
            time(now),
        )
        .execute(&mut *transaction)
        .await?;
        taken_over(part, done.rows_affected())?;
        drop_partition(&mut transaction, part.day).await?;
        audit_insert(&mut transaction, &entry(part, "archive.day", actor), now).await?;
        transaction.commit().await?;
        self.days_forget();
        Ok(Some(self.archive_part(part.day, part.part).await?))
    }

    /// Drops the partition of a day that has no reading.
    pub(super) async fn partition_drop_empty(&self, day: Day) -> Result<()> {
        let name = day.partition();
        let mut transaction = self.begin().await?;
        sqlx::raw_sql(PATIENCE).execute(&mut *transaction).await?;
        sqlx::raw_sql(AssertSqlSafe(format!("lock table {name} in share mode")))
            .execute(&mut *transaction)
            .await?;
        let any: bool = sqlx::query_scalar(AssertSqlSafe(format!("select exists (select 1 from {name})")))
            .fetch_one(&mut *transaction)
            .await?;
        if !any {
            drop_partition(&mut transaction, day).await?;
            transaction.commit().await?;
            self.days_forget();
        }
        Ok(())
    }
}

/// Name and parent are ours. Detaching stops all who use the table for an instant, or gives up.
async fn drop_partition(transaction: &mut crate::Transaction, day: Day) -> Result<()> {
    sqlx::query!("select pg_advisory_xact_lock($1)", MAKING_PARTITIONS)
        .execute(&mut **transaction)
        .await?;
    let name = day.partition();
    let statements = format!("alter table reading detach partition {name}; drop table {name};");
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
