//! What judges each class now: watched from the registry, loaded before it is used.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tocsin_contracts::registry::v1::registry_service_client::RegistryServiceClient;
use tocsin_contracts::registry::v1::{Binding, WatchBindingsRequest};
use tocsin_domain::{BundleDigest, BundleId, ClassId, Invalid, ThresholdSetId};
use tocsin_judge::{Persistence, ThresholdSet};
use tocsin_models::{Bundle, BundleStore};
use tocsin_store::Store;
use tocsin_store::threshold::ThresholdSets;
use tocsin_transport::Channel;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::shadow::Challenger;

/// How long to wait before the watch is opened again.
const REOPEN: Duration = Duration::from_millis(500);

/// A class that can be judged: by its limits, by the severity of its overall levels, or by both.
#[derive(Debug)]
pub(crate) struct ActiveClass {
    /// One decision interval.
    pub(crate) step: Duration,
    /// Its model and alarm limits; without any, severity alone judges.
    pub(crate) limits: Option<Limits>,
    /// The bundle that is tried beside the champion, and judges nothing.
    pub(crate) challenger: Option<Arc<Challenger>>,
}

/// The model and the alarm limits of a class.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// The champion's number.
    pub(crate) bundle_id: BundleId,
    /// The champion.
    pub(crate) bundle: Arc<Bundle>,
    /// The alarm limits' number.
    pub(crate) threshold_set_id: ThresholdSetId,
    /// The alarm limits.
    pub(crate) set: Arc<ThresholdSet>,
}

impl ActiveClass {
    /// A class without model and limits.
    pub(crate) fn by_severity(step: Duration) -> Self {
        Self {
            step,
            limits: None,
            challenger: None,
        }
    }

    /// The rules of its limits; the usual ones where it has none.
    pub(crate) fn persistence(&self) -> Persistence {
        let of_limits = self.limits.as_ref().map(|limits| limits.set.persistence);
        of_limits.unwrap_or_default()
    }

    /// The alarm limits' number.
    pub(crate) fn threshold_set_id(&self) -> Option<ThresholdSetId> {
        self.limits.as_ref().map(|limits| limits.threshold_set_id)
    }

    /// The champion's number.
    pub(crate) fn bundle_id(&self) -> Option<BundleId> {
        self.limits.as_ref().map(|limits| limits.bundle_id)
    }
}

/// Every class that has a champion and limits.
pub(crate) type Active = Arc<HashMap<ClassId, Arc<ActiveClass>>>;

/// What judges each class, as last heard; nothing before the registry has answered once.
#[derive(Debug, Clone)]
pub(crate) struct Bindings(watch::Receiver<Option<Active>>);

impl Bindings {
    /// The present bindings; waits up to `patience` for the first.
    pub(crate) async fn current(&self, patience: Duration) -> Option<Active> {
        let mut receiver = self.0.clone();
        let known = tokio::time::timeout(patience, receiver.wait_for(Option::is_some)).await;
        known.ok()?.ok()?.clone()
    }
}

/// Keeps [`Bindings`] up to date.
#[derive(Debug)]
pub(crate) struct Watcher {
    registry: Channel,
    store: Store,
    sets: SetCache,
    bundles: BundleStore,
    active: watch::Sender<Option<Active>>,
}

/// Why a binding can't be used yet; the one before stays in force.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Store(#[from] tocsin_store::Error),
    #[error(transparent)]
    Bundle(#[from] tocsin_models::StoreError),
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl Watcher {
    pub(crate) fn new(registry: Channel, store: Store, sets: SetCache, bundles: BundleStore) -> (Self, Bindings) {
        let (active, receiver) = watch::channel(None);
        (
            Self {
                registry,
                store,
                sets,
                bundles,
                active,
            },
            Bindings(receiver),
        )
    }

    /// Follows the registry until shutdown; a broken watch is opened again, and the last word stays in force.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let _ = shutdown.run_until_cancelled(async {
            loop {
                if let Err(status) = self.follow().await {
                    tracing::warn!(code = ?status.code(), message = status.message(), "the registry's watch broke, opening it again");
                }
                tokio::time::sleep(REOPEN).await;
            }
        }).await;
    }

    async fn follow(&self) -> Result<(), tonic::Status> {
        let mut client = RegistryServiceClient::new(self.registry.clone());
        let mut changes = client.watch_bindings(WatchBindingsRequest {}).await?.into_inner();
        while let Some(change) = changes.message().await? {
            self.take(change.bindings).await;
        }
        Ok(())
    }

    async fn take(&self, bindings: Vec<Binding>) {
        let before = self.active.borrow().clone().unwrap_or_default();
        let mut after = HashMap::new();
        for binding in bindings
            .into_iter()
            .filter(|b| b.champion_bundle_id != 0 && b.threshold_set_id != 0)
        {
            let class = ClassId(binding.class_id);
            match self.load(&binding, before.get(&class)).await {
                Ok(active) => {
                    after.insert(class, active);
                }
                Err(error) => {
                    tracing::error!(class = binding.class, version = binding.version, %error, "a binding can't be used, the one before stays in force");
                    after.extend(before.get(&class).map(|active| (class, active.clone())));
                }
            }
        }
        self.active.send_replace(Some(Arc::new(after)));
    }

    async fn load(&self, binding: &Binding, before: Option<&Arc<ActiveClass>>) -> Result<Arc<ActiveClass>, LoadError> {
        let bundle_id = BundleId(binding.champion_bundle_id);
        let threshold_set_id = ThresholdSetId(binding.threshold_set_id);
        let challenger = self.challenger(binding, before).await;
        if let Some(before) = before
            && before.bundle_id() == Some(bundle_id)
            && before.threshold_set_id() == Some(threshold_set_id)
        {
            return Ok(Arc::new(ActiveClass {
                step: before.step,
                limits: before.limits.clone(),
                challenger,
            }));
        }
        let digest: BundleDigest = binding.champion_digest.parse()?;
        let bundle = self.bundles.get(&digest).await?;
        let set = self.sets.0.get(threshold_set_id).await?;
        let step = self.store.class_by_id(ClassId(binding.class_id)).await?.step;
        tracing::info!(class = binding.class, bundle = digest.short(), %threshold_set_id, "class is judged by");
        let limits = Limits {
            bundle_id,
            bundle,
            threshold_set_id,
            set,
        };
        Ok(Arc::new(ActiveClass {
            step,
            limits: Some(limits),
            challenger,
        }))
    }

    /// One that can't be had is missed by nobody but those who compare.
    async fn challenger(&self, binding: &Binding, before: Option<&Arc<ActiveClass>>) -> Option<Arc<Challenger>> {
        let id = BundleId(binding.challenger_bundle_id);
        if id.0 == 0 {
            return None;
        }
        let known = before.and_then(|before| before.challenger.as_ref());
        if let Some(known) = known.filter(|known| known.id == id) {
            return Some(known.clone());
        }
        let loaded = async {
            let digest: BundleDigest = binding.challenger_digest.parse()?;
            Ok::<_, LoadError>(self.bundles.get(&digest).await?)
        };
        match loaded.await {
            Ok(bundle) => Some(Arc::new(Challenger { id, bundle })),
            Err(error) => {
                tracing::warn!(class = binding.class, bundle = id.0, %error, "the challenger can't be loaded, nothing is scored by it");
                None
            }
        }
    }
}

/// Threshold sets by number: those in force, and those that judged earlier rows of a window.
#[derive(Debug, Clone)]
pub(crate) struct SetCache(ThresholdSets<ThresholdSet>);

impl SetCache {
    pub(crate) fn new(store: Store) -> Self {
        Self(ThresholdSets::new(store))
    }

    /// The set, or nothing when its row makes no sense: what it judged then counts as unjudged, and the log says so.
    ///
    /// # Errors
    /// When the database is out of reach: nothing is decided then.
    pub(crate) async fn get(&self, id: ThresholdSetId) -> tocsin_store::Result<Option<Arc<ThresholdSet>>> {
        match self.0.get(id).await {
            Ok(set) => Ok(Some(set)),
            Err(error @ tocsin_store::Error::Unavailable { .. }) => Err(error),
            Err(error) => {
                tracing::error!(threshold_set = %id, %error, "an earlier threshold set can't be read");
                Ok(None)
            }
        }
    }
}
