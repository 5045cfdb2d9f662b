//! Who may: accounts, sessions and gateway tokens, and the record of what was done.
//!
//! Secrets never come here: callers pass the SHA-256 of a session's or token's 256 random bits, or an argon2 string.

use tocsin_domain::{Principal, Timestamp};

use crate::{Result, Store};

pub mod account;
pub mod audit;
pub mod oidc;
pub mod session;
pub mod token;

pub use account::{Account, NewAccount};
pub use audit::{AuditBreak, AuditEntry, AuditHead, AuditReport, NewAuditEntry, audit_insert, commit as audit_commit};
pub use oidc::{NewOidcFlow, OidcFlow, OidcIdentity};
pub use session::NewSession;
pub use token::{NewToken, Token};

/// SHA-256 of a bearer secret.
pub type SecretHash = [u8; 32];

impl Store {
    /// The gateway or person a bearer secret stands for; none when it is unknown, expired, revoked, ended, or its
    /// account disabled.
    pub async fn principal_by_secret_hash(&self, hash: &SecretHash, now: Timestamp) -> Result<Option<Principal>> {
        if let Some(gateway) = self.gateway_by_token_hash(hash, now).await? {
            return Ok(Some(Principal::Gateway(gateway)));
        }
        Ok(self.person_by_session_hash(hash, now).await?.map(Principal::Person))
    }
}
