//! What every handler of this role needs: the store, the clock, and who calls.

use tocsin_domain::{Clock, Principal, Timestamp};
use tocsin_store::Store;
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
}

/// Who makes this call, as the authentication layer found out.
pub(crate) fn caller<T>(request: &Request<T>) -> Result<Principal, Error> {
    request
        .extensions()
        .get::<Principal>()
        .cloned()
        .ok_or(Error::NoPrincipal)
}
