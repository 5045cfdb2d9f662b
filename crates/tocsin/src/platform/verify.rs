//! Who a bearer token stands for: the deployment itself, or whom the database knows.

use tocsin_domain::{Clock, Principal};
use tocsin_store::Store;
use tocsin_transport::auth::{Credential, Denied, Verifier};

use crate::credential::{ServiceCredential, hash};

/// The verifier of all roles. Without a store, as of a scorer by itself, the service credential alone is taken; with one
/// that doesn't answer, callers are told to come back, and never let in.
pub(super) fn verifier(service: ServiceCredential, store: Option<Store>, clock: Clock) -> Verifier<Principal> {
    Verifier::new(move |credential: Credential| {
        let is_service = service.matches(&credential.token);
        let (store, clock) = (store.clone(), clock.clone());
        async move {
            if is_service {
                return Ok(Principal::Service);
            }
            let store = store.ok_or(Denied::Unknown)?;
            match store
                .principal_by_secret_hash(&hash(&credential.token), clock.now())
                .await
            {
                Ok(known) => known.ok_or(Denied::Unknown),
                Err(error) => Err(Denied::Unavailable {
                    reason: error.to_string(),
                }),
            }
        }
    })
}
