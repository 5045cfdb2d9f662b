//! What every handler of this role needs: the store, the clock, who calls, and the record of what was done.

use std::fmt::Display;

use serde_json::Value;
use tocsin_domain::{Clock, Principal, Timestamp};
use tocsin_store::Store;
use tocsin_store::access::NewAuditEntry;
use tonic::Request;

use crate::Error;

/// Shared by the services; clones share the pool.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
}

impl Context {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Records that `principal` did `action` to `subject`.
    pub(crate) async fn record(
        &self,
        principal: &Principal,
        action: &str,
        subject: impl Display + Send,
        detail: Value,
    ) -> Result<(), Error> {
        let entry = NewAuditEntry {
            actor: principal.actor(),
            action: action.to_owned(),
            subject: subject.to_string(),
            detail_json: detail.to_string(),
        };
        tracing::info!(actor = entry.actor, action, subject = entry.subject, "recorded");
        Ok(self.store.audit_append(&entry, self.now()).await?)
    }
}

/// Who makes this call, as the authentication layer found out.
pub(crate) fn caller<T>(request: &Request<T>) -> Result<Principal, Error> {
    request
        .extensions()
        .get::<Principal>()
        .cloned()
        .ok_or(Error::NoPrincipal)
}
