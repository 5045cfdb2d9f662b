//! People's accounts: local ones here, those of people whom an identity provider vouches for in [`super::oidc`].

use tocsin_domain::{AccountId, PersonRole, Scope, Timestamp};

use super::session::sessions_end;
use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::row::{Time, time};
use crate::{Error, Result, Store};

/// A local account as it is made.
#[derive(Clone)]
pub struct NewAccount {
    /// The name to sign in with.
    pub name: String,
    /// Argon2 string of the password.
    pub password_hash: String,
    /// What the person may do.
    pub role: PersonRole,
    /// The sites they see.
    pub scope: Scope,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub id: AccountId,
    /// The name to sign in with.
    pub name: String,
    /// What the person may do.
    pub role: PersonRole,
    /// The sites they see.
    pub scope: Scope,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was disabled.
    pub disabled_at: Option<Timestamp>,
    /// The identity provider that vouches for the person; none for a local account.
    pub issuer: Option<String>,
}

pub(super) struct AccountRow {
    pub(super) account_id: i32,
    pub(super) name: String,
    pub(super) role: String,
    pub(super) site_ids: Option<Vec<i32>>,
    pub(super) created_at: Time,
    pub(super) disabled_at: Option<Time>,
    pub(super) issuer: Option<String>,
}

impl TryFrom<AccountRow> for Account {
    type Error = Error;

    fn try_from(row: AccountRow) -> Result<Self> {
        let role = PersonRole::parse(&row.role).map_err(Error::impossible("account", "role", row.account_id))?;
        Ok(Self {
            id: AccountId(row.account_id),
            name: row.name,
            role,
            scope: Scope::from_filter(row.site_ids),
            created_at: row.created_at.into(),
            disabled_at: row.disabled_at.map(Timestamp::from),
            issuer: row.issuer,
        })
    }
}

impl Store {
    /// Makes a local account.
    pub async fn account_create(
        &self,
        new: &NewAccount,
        now: Timestamp,
        audit: impl FnOnce(&Account) -> NewAuditEntry,
    ) -> Result<Account> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query_as!(
            AccountRow,
            "insert into account (name, password_hash, role, site_ids, created_at) values ($1, $2, $3, $4, $5)
             returning account_id, name, role, site_ids, created_at, disabled_at, oidc_issuer as issuer",
            new.name,
            new.password_hash,
            new.role.as_str(),
            new.scope.to_filter() as _,
            time(now),
        )
        .fetch_one(&mut *transaction)
        .await
        .map_err(Error::exists(|| format!("account {}", new.name)))?;
        commit(transaction, row.try_into()?, audit, now).await
    }

    /// All accounts, by name.
    pub async fn account_list(&self) -> Result<Vec<Account>> {
        let rows = sqlx::query_as!(
            AccountRow,
            "select account_id, name, role, site_ids, created_at, disabled_at, oidc_issuer as issuer from account order by name"
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Account::try_from).collect()
    }

    /// An account and its password's argon2 string, if it has one, for signing in; none when the name is unknown.
    pub async fn account_by_name(&self, name: &str) -> Result<Option<(Account, Option<String>)>> {
        let row = sqlx::query!(
            "select account_id, name, password_hash, role, site_ids, created_at, disabled_at, oidc_issuer
             from account where name = $1",
            name
        )
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let account = AccountRow {
            account_id: row.account_id,
            name: row.name,
            role: row.role,
            site_ids: row.site_ids,
            created_at: row.created_at,
            disabled_at: row.disabled_at,
            issuer: row.oidc_issuer,
        };
        Ok(Some((account.try_into()?, row.password_hash)))
    }

    /// Disables an account and ends its sessions; one that is disabled stays as it is.
    pub async fn account_disable(
        &self,
        name: &str,
        now: Timestamp,
        audit: impl FnOnce(&Account) -> NewAuditEntry,
    ) -> Result<Account> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query_as!(
            AccountRow,
            "update account set disabled_at = coalesce(disabled_at, $2) where name = $1
             returning account_id, name, role, site_ids, created_at, disabled_at, oidc_issuer as issuer",
            name,
            time(now),
        )
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or_else(|| Error::not_found(format!("account {name}")))?;
        sessions_end(&mut transaction, AccountId(row.account_id), now).await?;
        commit(transaction, row.try_into()?, audit, now).await
    }
}
