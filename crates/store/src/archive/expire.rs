//! Retention by policy: the files go first, then what is known of them.

use tocsin_domain::Timestamp;

use super::{Part, entry};
use crate::access::audit_insert;
use crate::partition::Day;
use crate::row::time;
use crate::{Result, Store};

impl Store {
    /// Archived parts of days that ended before `before`.
    pub async fn archive_expiring(&self, before: Timestamp) -> Result<Vec<Part>> {
        self.archive_parts_before(Day::of(before).date()).await
    }

    /// Calls a part expired, after its files are gone. A resend of its readings is stored as new from then on. Said twice it
    /// changes nothing. The first time it stands in the audit record, as done by `actor`.
    pub async fn archive_expired(&self, part: &Part, actor: &str, now: Timestamp) -> Result<()> {
        let mut transaction = self.begin().await?;
        let done = sqlx::query!(
            "update archive_part set state = 'expired', updated_at = $3
             where day = $1 and part = $2 and state = 'archived'",
            part.day.date(),
            part.part,
            time(now),
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!(
            "delete from archive_file where day = $1 and part = $2",
            part.day.date(),
            part.part
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!(
            "delete from archived_key where day = $1 and part = $2",
            part.day.date(),
            part.part
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!(
            "delete from reading_kept where captured_at >= $1 and captured_at < $2",
            time(part.day.start()),
            time(part.day.next().start())
        )
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() > 0 {
            audit_insert(&mut transaction, &entry(part, "archive.expire", actor), now).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}
