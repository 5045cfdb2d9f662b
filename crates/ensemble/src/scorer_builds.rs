//! The numbers of the scorer's builds: looked up once each, so that a row names what scored it in four bytes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tocsin_domain::{Clock, ScorerBuildId};
use tocsin_store::Store;

/// The builds that this process has met. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct ScorerBuilds {
    store: Store,
    clock: Clock,
    known: Arc<Mutex<HashMap<String, ScorerBuildId>>>,
}

impl ScorerBuilds {
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self {
            store,
            clock,
            known: Arc::default(),
        }
    }

    /// The number of a build. None when the scorer names none, or when the database is out of reach: the row then says
    /// that it does not know.
    pub(crate) async fn id(&self, build: &str) -> Option<ScorerBuildId> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if build.is_empty() {
            return None;
        }
        if let Some(id) = known().get(build) {
            return Some(*id);
        }
        match self.store.scorer_build_id(build, self.clock.now()).await {
            Ok(id) => {
                known().insert(build.to_owned(), id);
                Some(id)
            }
            Err(error) => {
                tracing::warn!(build, %error, "the scorer's build has no number yet, rows go without");
                None
            }
        }
    }
}
