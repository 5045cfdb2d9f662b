//! What was done by whom: a chain of entries, each with the hash of the one before it.
//!
//! **Invariant:** an entry that was changed, taken away or put in between breaks the chain at its place, unless all that
//! follows was written anew. That, and what was cut off at the end, shows to those who kept the head as it was.
//!
//! **Invariant:** a change and its entry are of one transaction: a method of [`Store`] that changes something takes an
//! `audit` that makes the entry of what was changed, and ends in [`commit`]. What fails to be put on record is not done.

mod chain;

use std::fmt::Display;

use sqlx::PgConnection;
use tocsin_domain::Timestamp;

use crate::row::time;
use crate::{Result, Store, Transaction};

pub use chain::{AuditBreak, AuditHead, AuditReport};

/// An entry to be written.
#[derive(Debug, Clone)]
pub struct NewAuditEntry {
    /// Who did it.
    pub actor: String,
    /// What they did, such as `token.revoke`.
    pub action: String,
    /// What they did it to.
    pub subject: String,
    /// More about it, JSON.
    pub detail_json: String,
}

impl NewAuditEntry {
    /// The entry that says that `actor` did `action` to `subject`.
    pub fn new(
        actor: impl Into<String>,
        action: impl Into<String>,
        subject: impl Display,
        detail: &serde_json::Value,
    ) -> Self {
        Self {
            actor: actor.into(),
            action: action.into(),
            subject: subject.to_string(),
            detail_json: detail.to_string(),
        }
    }
}

/// A written entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its place in the record.
    pub id: i64,
    /// When it was done.
    pub at: Timestamp,
    /// Who did it.
    pub actor: String,
    /// What they did.
    pub action: String,
    /// What they did it to.
    pub subject: String,
    /// More about it, JSON.
    pub detail_json: String,
}

/// Writes an entry in the transaction of what it tells of. The database gives it its place in the chain and its hash, one
/// writer at a time until that transaction ends: so it comes last.
pub async fn audit_insert(conn: &mut PgConnection, new: &NewAuditEntry, now: Timestamp) -> Result<()> {
    sqlx::query!(
        "insert into audit (at, actor, action, subject, detail) values ($1, $2, $3, $4, $5::text::jsonb)",
        time(now),
        new.actor,
        new.action,
        new.subject,
        new.detail_json,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a change: the entry that `audit` makes of what was changed, and the commit of both, or of neither.
pub async fn commit<T>(
    mut transaction: Transaction,
    changed: T,
    audit: impl FnOnce(&T) -> NewAuditEntry,
    now: Timestamp,
) -> Result<T> {
    let entry = audit(&changed);
    audit_insert(&mut transaction, &entry, now).await?;
    transaction.commit().await?;
    let NewAuditEntry {
        actor, action, subject, ..
    } = entry;
    tracing::info!(actor, action, subject, "done and on record");
    Ok(changed)
}

impl Store {
    /// Writes an entry that stands alone: of something that changed nothing else here. See [`audit_insert`].
    pub async fn audit_append(&self, new: &NewAuditEntry, now: Timestamp) -> Result<()> {
        audit_insert(&mut *self.acquire().await?, new, now).await
    }

    /// Entries, newest first, before the entry given.
    pub async fn audit_list(&self, before: Option<i64>, limit: u32) -> Result<Vec<AuditEntry>> {
        let rows = sqlx::query!(
            r#"select audit_id, at, actor, action, subject, detail::text as "detail!" from audit
               where $1::int8 is null or audit_id < $1 order by audit_id desc limit $2"#,
            before,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let entries = rows.into_iter().map(|row| AuditEntry {
            id: row.audit_id,
            at: row.at.into(),
            actor: row.actor,
            action: row.action,
            subject: row.subject,
            detail_json: row.detail,
        });
        Ok(entries.collect())
    }
}
