//! Threshold sets by number, parsed and kept: they never change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use tocsin_domain::{Invalid, ThresholdSetId};

use crate::{Error, Result, Store};

/// Sets kept; the one with the lowest number, which is the oldest, gives way.
const KEPT: usize = 64;

/// Threshold sets that were read before are not read again. `T` is what a definition means; this crate doesn't know.
/// Clones share them.
#[derive(Debug, Clone)]
pub struct ThresholdSets<T> {
    store: Store,
    kept: Arc<Mutex<BTreeMap<ThresholdSetId, Arc<T>>>>,
}

impl<T: DeserializeOwned> ThresholdSets<T> {
    /// None read yet.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            kept: Arc::default(),
        }
    }

    /// The set of that number. [`Error::ImpossibleRow`] when its definition is none.
    pub async fn get(&self, id: ThresholdSetId) -> Result<Arc<T>> {
        if let Some(set) = self.lock().get(&id) {
            return Ok(Arc::clone(set));
        }
        let record = self.store.threshold_set_get(id).await?;
        let set = serde_json::from_str(&record.definition_json)
            .map_err(|error| Invalid::new("definition", error.to_string()))
            .map_err(Error::impossible("threshold_set", "definition", id))?;
        let set = Arc::new(set);
        let mut kept = self.lock();
        if kept.len() >= KEPT {
            kept.pop_first();
        }
        kept.insert(id, Arc::clone(&set));
        Ok(set)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ThresholdSetId, Arc<T>>> {
        // Insert and remove are its only uses: a panic can't leave it half made.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
