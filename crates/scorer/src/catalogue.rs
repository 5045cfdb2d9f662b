//! The networks that are loaded, by digest.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tocsin_domain::BundleDigest;
use tocsin_models::{Bundle, BundleStore, Network, NetworkError, StoreError};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::Config;

/// A bundle whose network is ready to run.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The bundle, for its decoder.
    pub(crate) bundle: Arc<Bundle>,
    /// Its autoencoder; of one that stands beside another, the temporal network.
    pub(crate) network: Network,
    /// The same bundle with its temporal network, where it has one.
    pub(crate) temporal: Option<Arc<Loaded>>,
}

impl Loaded {
    fn of(bundle: Arc<Bundle>) -> Result<Self, NetworkError> {
        let network = Network::load(&bundle)?;
        let beside = |network| {
            let bundle = Arc::clone(&bundle);
            Arc::new(Self {
                bundle,
                network,
                temporal: None,
            })
        };
        let temporal = Network::load_temporal(&bundle)?.map(beside);
        Ok(Self {
            bundle,
            network,
            temporal,
        })
    }
}

/// Why a bundle can't be scored with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The store has no such bundle, or can't give it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bundle is there, and its network can't be run.
    #[error("bundle {digest}: {source}")]
    Network {
        /// The bundle asked for.
        digest: BundleDigest,
        /// What is wrong with it.
        source: NetworkError,
    },
    /// Making the network ready panicked.
    #[error("bundle {digest}: loading its network panicked")]
    Panicked {
        /// The bundle asked for.
        digest: BundleDigest,
    },
}

/// Loads each network once, whoever asks, and keeps a few.
#[derive(Debug)]
pub(crate) struct Catalogue {
    bundles: BundleStore,
    entries: Mutex<HashMap<BundleDigest, Entry>>,
    bound: Mutex<HashSet<BundleDigest>>,
    most_unbound: usize,
    keep_unused: Duration,
}

/// A network that is loaded or being loaded.
#[derive(Debug)]
struct Entry {
    cell: Arc<OnceCell<Arc<Loaded>>>,
    used: Instant,
}

impl Catalogue {
    pub(crate) fn new(config: &Config, bundles: BundleStore) -> Self {
        Self {
            bundles,
            entries: Mutex::default(),
            bound: Mutex::default(),
            most_unbound: config.networks.get(),
            keep_unused: Duration::from_millis(config.keep_unused_ms.get()),
        }
    }

    /// The network of a bundle; those who ask while it is being loaded wait for the same load.
    pub(crate) async fn get(&self, digest: BundleDigest) -> Result<Arc<Loaded>, LoadError> {
        let cell = self.cell(digest);
        let loaded = cell.get_or_try_init(|| self.load(digest)).await.cloned();
        if loaded.is_err() && !cell.initialized() {
            // Digests that lead nowhere leave nothing behind.
            let mut entries = lock(&self.entries);
            if entries
                .get(&digest)
                .is_some_and(|entry| Arc::ptr_eq(&entry.cell, &cell))
            {
                entries.remove(&digest);
            }
        }
        loaded
    }

    /// Says which bundles are bound to classes: these stay loaded, once they are.
    pub(crate) fn bind(&self, bound: HashSet<BundleDigest>) {
        *lock(&self.bound) = bound;
    }

    /// Drops what is bound to no class and was not used lately. Requests under way keep what they hold.
    pub(crate) fn drop_unused(&self) {
        let bound = lock(&self.bound).clone();
        lock(&self.entries).retain(|digest, entry| {
            let stays = bound.contains(digest) || entry.used.elapsed() < self.keep_unused;
            if !stays {
                tracing::info!(%digest, "network unused, dropped");
            }
            stays
        });
    }

    /// How often to look for unused networks.
    pub(crate) fn sweep_interval(&self) -> Duration {
        (self.keep_unused / 4).max(Duration::from_millis(1))
    }

    fn cell(&self, digest: BundleDigest) -> Arc<OnceCell<Arc<Loaded>>> {
        let bound = lock(&self.bound).clone();
        let mut entries = lock(&self.entries);
        let used = Instant::now();
        if let Some(entry) = entries.get_mut(&digest) {
            entry.used = used;
            return Arc::clone(&entry.cell);
        }
        let unbound = || entries.iter().filter(|(digest, _)| !bound.contains(digest));
        if unbound().count() >= self.most_unbound {
            let oldest = unbound().min_by_key(|(_, entry)| entry.used).map(|(digest, _)| *digest);
            oldest.map(|digest| entries.remove(&digest));
        }
        let cell = Arc::default();
        let entry = Entry {
            cell: Arc::clone(&cell),
            used,
        };
        entries.insert(digest, entry);
        cell
    }

    async fn load(&self, digest: BundleDigest) -> Result<Arc<Loaded>, LoadError> {
        let bundle = self.bundles.get(&digest).await?;
        let started = Instant::now();
        // Making a plan keeps a core busy for some milliseconds.
        let load = tokio::task::spawn_blocking(move || Loaded::of(bundle));
        let loaded = load
            .await
            .map_err(|_| LoadError::Panicked { digest })?
            .map_err(|source| LoadError::Network { digest, source })?;
        let elapsed_ms = started.elapsed().as_millis() as u64;
        tracing::info!(%digest, bins = loaded.network.bins(), elapsed_ms, "network loaded");
        Ok(Arc::new(loaded))
    }

    #[cfg(test)]
    pub(crate) fn loaded(&self) -> HashSet<BundleDigest> {
        let entries = lock(&self.entries);
        let loaded = entries.iter().filter(|(_, entry)| entry.cell.initialized());
        loaded.map(|(digest, _)| *digest).collect()
    }
}

/// A panic while a map was locked can't have left it half made: single inserts and removes are its only uses.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
