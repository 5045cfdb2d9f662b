//! Threshold sets by number, kept once read: they never change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tocsin_domain::ThresholdSetId;
use tocsin_judge::ThresholdSet;
use tocsin_store::Store;

use crate::Error;

/// Sets kept; the one with the lowest number, which is the oldest, gives way.
const KEPT: usize = 64;

/// Threshold sets that were read. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Sets {
    store: Store,
    kept: Arc<Mutex<BTreeMap<ThresholdSetId, Arc<ThresholdSet>>>>,
}

impl Sets {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            kept: Arc::default(),
        }
    }

    /// The set of that number.
    pub(crate) async fn get(&self, id: ThresholdSetId) -> Result<Arc<ThresholdSet>, Error> {
        if let Some(set) = self.lock().get(&id) {
            return Ok(set.clone());
        }
        let record = self.store.threshold_set_get(id).await?;
        let set: ThresholdSet =
            serde_json::from_str(&record.definition_json).map_err(|error| Error::UnreadableSet {
                set: id,
                reason: error.to_string(),
            })?;
        let set = Arc::new(set);
        let mut kept = self.lock();
        if kept.len() >= KEPT {
            kept.pop_first();
        }
        kept.insert(id, set.clone());
        Ok(set)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ThresholdSetId, Arc<ThresholdSet>>> {
        // Insert and remove are its only uses: a panic can't leave it half made.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
