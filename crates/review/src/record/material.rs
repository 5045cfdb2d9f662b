//! What verdicts were made from: models, baselines, zones and alarm limits, each read once and few kept at a time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use tocsin_domain::{
    BaselineId, BundleId, CanonicalSpectrum, ClassId, ReadingFlags, Scope, SpecId, ThresholdSetId, Timestamp,
};
use tocsin_judge::ThresholdSet;
use tocsin_models::{BundleStore, Ready, SensorBaseline};
use tocsin_store::Store;
use tocsin_store::fleet::ClassZones;
use tocsin_store::reading::{FullReading, FullReadingsQuery, Predecessors};
use tocsin_store::threshold::ThresholdSets;

use crate::Error;

/// Models kept: a network of 4096 bins takes some ten megabytes.
const MODELS: usize = 4;
/// Most rows looked at between a row and the oldest it names: those it doesn't name came later than it.
const MOST_BETWEEN: u32 = 256;
/// Baselines kept, and classes' zones.
const OTHERS: usize = 64;

/// What has been read so far.
#[derive(Debug)]
pub(crate) struct Material {
    store: Store,
    bundles: BundleStore,
    sets: ThresholdSets<ThresholdSet>,
    models: HashMap<BundleId, Arc<Ready>>,
    baselines: HashMap<BaselineId, Arc<SensorBaseline>>,
    zones: HashMap<ClassId, Arc<[ClassZones]>>,
    s0: HashMap<SpecId, f32>,
}

impl Material {
    pub(crate) fn new(store: Store, bundles: BundleStore, sets: ThresholdSets<ThresholdSet>) -> Self {
        Self {
            store,
            bundles,
            sets,
            models: HashMap::new(),
            baselines: HashMap::new(),
            zones: HashMap::new(),
            s0: HashMap::new(),
        }
    }

    pub(super) async fn set(&self, id: Option<ThresholdSetId>) -> Result<Option<Arc<ThresholdSet>>, Error> {
        match id {
            Some(id) => Ok(Some(self.sets.get(id).await?)),
            None => Ok(None),
        }
    }

    pub(super) async fn model(&mut self, id: BundleId) -> Result<Arc<Ready>, Error> {
        if let Some(known) = self.models.get(&id) {
            return Ok(Arc::clone(known));
        }
        let digest = self.store.bundle_by_id(id).await?.digest;
        let bundle = self.bundles.get(&digest).await?;
        let model = tokio::task::spawn_blocking(move || Ready::load(bundle)).await??;
        Ok(keep(&mut self.models, MODELS, id, Arc::new(model)))
    }

    /// The codes of the spectra that a row names as its predecessors, oldest first; none where they are not all kept. Rows
    /// that came later than its own, for an instant among them, are none of them.
    pub(super) async fn predecessors(&self, scope: &Scope, reading: &FullReading) -> Result<Option<Vec<u8>>, Error> {
        let Some(Predecessors { oldest, count }) = reading.predecessors else {
            return Ok(Some(Vec::new()));
        };
        let query = FullReadingsQuery {
            sensor: reading.stored.key.sensor,
            from: oldest,
            to: reading.stored.key.captured_at,
            limit: MOST_BETWEEN,
        };
        let mut between = self.store.readings_full(scope, &query).await?;
        let own = &reading.stored;
        let is_historical = |flags: ReadingFlags| flags.contains(ReadingFlags::HISTORICAL);
        // Of what was committed with it, a live reading did not see the history, nor history what was live.
        between.retain(|other| {
            let other = &other.stored;
            other.commit_seq < own.commit_seq
                || (other.commit_seq == own.commit_seq && is_historical(other.flags) == is_historical(own.flags))
        });
        let spectra: Option<Vec<&[u8]>> = between
            .iter()
            .map(|other| other.spectrum.as_ref().map(CanonicalSpectrum::codes))
            .collect();
        let named = usize::try_from(count).ok();
        Ok(spectra
            .filter(|spectra| Some(spectra.len()) == named)
            .map(|spectra| spectra.concat()))
    }

    pub(crate) async fn baseline(&mut self, scope: &Scope, id: BaselineId) -> Result<Arc<SensorBaseline>, Error> {
        if let Some(known) = self.baselines.get(&id) {
            return Ok(Arc::clone(known));
        }
        let stored = self.store.baselines_by_id(scope, &[id]).await?.pop();
        let stored = stored.ok_or(Error::NoBaseline { id })?;
        let s0 = if let Some(known) = self.s0.get(&stored.spec) {
            *known
        } else {
            let spec = self.store.spec_by_id(stored.spec).await?.spec;
            *self.s0.entry(stored.spec).or_insert(spec.canonical_s0())
        };
        let profile = stored.learned.profile;
        let ready = SensorBaseline::from_stored(id, s0, (profile.median, profile.scale), profile.trend.as_deref())?;
        Ok(keep(&mut self.baselines, OTHERS, id, Arc::new(ready)))
    }

    /// The zones that a class ever had, newest first.
    pub(super) async fn zones(&mut self, class: ClassId) -> Result<Arc<[ClassZones]>, Error> {
        if let Some(known) = self.zones.get(&class) {
            return Ok(Arc::clone(known));
        }
        let history = self.store.zones_history(class).await?;
        Ok(keep(&mut self.zones, OTHERS, class, history.into()))
    }
}

/// The places, among versions that stood from `changed_at` on (newest first), of those that may have judged what was
/// received at `at`: the one in force then, and those beside it, for a change reaches what judges a little later. One past
/// the end is "none yet".
pub(super) fn in_force(changed_at: &[Timestamp], at: Timestamp) -> impl Iterator<Item = usize> + use<> {
    let place = changed_at.iter().take_while(|changed| **changed > at).count();
    let last = changed_at.len();
    [Some(place), Some(place + 1), place.checked_sub(1)]
        .into_iter()
        .flatten()
        .filter(move |place| *place <= last)
}

/// Keeps a value among `most`; all others go when there is no room.
fn keep<K: Eq + Hash, V: ?Sized>(kept: &mut HashMap<K, Arc<V>>, most: usize, key: K, value: Arc<V>) -> Arc<V> {
    if kept.len() >= most {
        kept.clear();
    }
    Arc::clone(kept.entry(key).or_insert(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_in_force_is_tried_first_and_its_neighbours_next() {
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let versions = [at(30), at(20), at(10)];
        let places = |second: i64| in_force(&versions, at(second)).collect::<Vec<_>>();
        assert_eq!(places(25), [1, 2, 0]);
        assert_eq!(places(30), [0, 1], "in force from its instant on");
        assert_eq!(places(5), [3, 2], "none yet, or already the first");
        assert_eq!(in_force(&[], at(5)).collect::<Vec<_>>(), [0]);
    }
}
