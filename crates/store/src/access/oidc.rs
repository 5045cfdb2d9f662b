//! People whom an identity provider vouches for, and their sign-ins on the way to it and back.

use tocsin_domain::{AccountId, PersonRole, Scope, Timestamp};

use super::account::AccountRow;
use crate::access::audit::commit;
use crate::access::{Account, NewAuditEntry, SecretHash};
use crate::row::time;
use crate::{Error, Result, Store};

/// A person as the provider knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OidcIdentity<'a> {
    /// The provider.
    pub issuer: &'a str,
    /// What it calls the person, for ever.
    pub subject: &'a str,
}

/// A sign-in that goes to the provider.
#[derive(Debug, Clone)]
pub struct NewOidcFlow {
    /// SHA-256 of the browser's secret.
    pub flow_hash: SecretHash,
    /// SHA-256 of the state that the provider hands back.
    pub state_hash: SecretHash,
    /// What the ID token must contain.
    pub nonce: String,
    /// What proves to the provider that the code is ours.
    pub pkce_verifier: String,
    /// When it is too late to come back.
    pub expires_at: Timestamp,
}

/// A sign-in that came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcFlow {
    /// SHA-256 of the state that the provider hands back.
    pub state_hash: Vec<u8>,
    /// What the ID token must contain.
    pub nonce: String,
    /// What proves to the provider that the code is ours.
    pub pkce_verifier: String,
}

impl Store {
    /// Remembers a sign-in that goes to the provider, and forgets those that never came back.
    pub async fn oidc_flow_begin(&self, new: &NewOidcFlow, now: Timestamp) -> Result<()> {
        sqlx::query!("delete from oidc_flow where expires_at <= $1", time(now))
            .execute(&self.pool)
            .await?;
        sqlx::query!(
            "insert into oidc_flow (flow_hash, state_hash, nonce, pkce_verifier, expires_at) values ($1, $2, $3, $4, $5)",
            new.flow_hash.as_slice(),
            new.state_hash.as_slice(),
            new.nonce,
            new.pkce_verifier,
            time(new.expires_at),
        )
        .execute(&self.pool)
        .await
        .map_err(Error::exists(|| "the sign-in".to_owned()))?;
        Ok(())
    }

    /// Takes a sign-in that came back: nobody else can take it again. None when it is unknown, was taken, or is too late.
    pub async fn oidc_flow_take(&self, flow_hash: &SecretHash, now: Timestamp) -> Result<Option<OidcFlow>> {
        let flow = sqlx::query_as!(
            OidcFlow,
            "delete from oidc_flow where flow_hash = $1 and expires_at > $2 returning state_hash, nonce, pkce_verifier",
            flow_hash.as_slice(),
            time(now),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(flow)
    }

    /// The account of a person, if they have come before.
    pub async fn account_by_oidc(&self, identity: OidcIdentity<'_>) -> Result<Option<Account>> {
        let row = sqlx::query_as!(
            AccountRow,
            "select account_id, name, role, site_ids, created_at, disabled_at, oidc_issuer as issuer
             from account where oidc_issuer = $1 and oidc_subject = $2",
            identity.issuer,
            identity.subject,
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(Account::try_from).transpose()
    }

    /// Makes the account of a person who comes for the first time.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when the name is another account's, or the person came twice at once.
    pub async fn account_create_by_oidc(
        &self,
        identity: OidcIdentity<'_>,
        name: &str,
        (role, scope): (PersonRole, &Scope),
        now: Timestamp,
        audit: impl FnOnce(&Account) -> NewAuditEntry,
    ) -> Result<Account> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query_as!(
            AccountRow,
            "insert into account (name, oidc_issuer, oidc_subject, role, site_ids, created_at)
             values ($1, $2, $3, $4, $5, $6)
             returning account_id, name, role, site_ids, created_at, disabled_at, oidc_issuer as issuer",
            name,
            identity.issuer,
            identity.subject,
            role.as_str(),
            scope.to_filter() as _,
            time(now),
        )
        .fetch_one(&mut *transaction)
        .await
        .map_err(Error::exists(|| format!("account {name}")))?;
        commit(transaction, row.try_into()?, audit, now).await
    }

    /// What a person may do and see from now on, in the sessions they have too.
    pub async fn account_set_access(
        &self,
        account: AccountId,
        (role, scope): (PersonRole, &Scope),
        now: Timestamp,
        audit: impl FnOnce(&Account) -> NewAuditEntry,
    ) -> Result<Account> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query_as!(
            AccountRow,
            "update account set role = $2, site_ids = $3 where account_id = $1
             returning account_id, name, role, site_ids, created_at, disabled_at, oidc_issuer as issuer",
            account.0,
            role.as_str(),
            scope.to_filter() as _,
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let row = row.ok_or_else(|| Error::not_found(format!("account {account}")))?;
        commit(transaction, row.try_into()?, audit, now).await
    }
}
