//! Sessions of signed-in people.

use sqlx::PgConnection;
use tocsin_domain::access::Person;
use tocsin_domain::{AccountId, PersonRole, Scope, Timestamp};

use crate::access::audit::commit;
use crate::access::{NewAuditEntry, SecretHash};
use crate::row::time;
use crate::{Error, Result, Store};

/// A session as it begins.
#[derive(Debug, Clone, Copy)]
pub struct NewSession {
    /// SHA-256 of its secret.
    pub secret_hash: SecretHash,
    /// Whose it is.
    pub account: AccountId,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

impl Store {
    /// Begins a session.
    pub async fn session_create(
        &self,
        new: &NewSession,
        now: Timestamp,
        audit: impl FnOnce(&()) -> NewAuditEntry,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        sqlx::query!(
            "insert into session (secret_hash, account_id, created_at, expires_at) values ($1, $2, $3, $4)",
            new.secret_hash.as_slice(),
            new.account.0,
            time(now),
            time(new.expires_at),
        )
        .execute(&mut *transaction)
        .await
        .map_err(Error::exists(|| "the session".to_owned()))?;
        commit(transaction, (), audit, now).await
    }

    /// The person a session's secret stands for; none when it is unknown, expired, ended, or its account disabled.
    pub async fn person_by_session_hash(&self, hash: &SecretHash, now: Timestamp) -> Result<Option<Person>> {
        let row = sqlx::query!(
            "select a.account_id, a.name, a.role, a.site_ids from session s join account a using (account_id)
             where s.secret_hash = $1 and s.expires_at > $2 and s.ended_at is null and a.disabled_at is null",
            hash.as_slice(),
            time(now),
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let role = PersonRole::parse(&row.role).map_err(Error::impossible("account", "role", row.account_id))?;
        let scope = Scope::from_filter(row.site_ids);
        Ok(Some(Person {
            account: AccountId(row.account_id),
            name: row.name,
            role,
            scope,
        }))
    }

    /// Ends a session; one that has ended or never was stays so.
    pub async fn session_end(
        &self,
        hash: &SecretHash,
        now: Timestamp,
        audit: impl FnOnce(&()) -> NewAuditEntry,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        sqlx::query!(
            "update session set ended_at = $2 where secret_hash = $1 and ended_at is null",
            hash.as_slice(),
            time(now),
        )
        .execute(&mut *transaction)
        .await?;
        commit(transaction, (), audit, now).await
    }

    /// Ends all sessions of an account.
    pub async fn account_end_sessions(
        &self,
        account: AccountId,
        now: Timestamp,
        audit: impl FnOnce(&()) -> NewAuditEntry,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        sessions_end(&mut transaction, account, now).await?;
        commit(transaction, (), audit, now).await
    }
}

/// Ends all sessions of an account in a transaction.
pub(super) async fn sessions_end(conn: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<()> {
    sqlx::query!(
        "update session set ended_at = $2 where account_id = $1 and ended_at is null",
        account.0,
        time(now),
    )
    .execute(conn)
    .await?;
    Ok(())
}
