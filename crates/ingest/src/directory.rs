//! What is known of the sites' sensors, so that a reading costs no query.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use serde_json::json;
use tocsin_domain::access::Gateway;
use tocsin_domain::fleet::{Sensor, SensorPath, Site};
use tocsin_domain::{Codec, Scope, SiteId, SpecId, SpectrumSpec, Timestamp, TokenId};
use tocsin_store::Store;
use tocsin_store::access::NewAuditEntry;
use tocsin_store::fleet::{AutoRegistered, AutoRegistrationRefusal};
use tokio::time::Instant;

use crate::Config;

/// Names remembered as unknown, per site, at most: a gateway that invents names can't fill the memory.
const MOST_UNKNOWN: usize = 10_000;

/// A registered spec, with its codec.
#[derive(Debug)]
pub(crate) struct SpecRef {
    /// What the sensors state.
    pub(crate) spec: SpectrumSpec,
    /// How their spectra are encoded.
    pub(crate) codec: Codec,
    /// Full scale in canonical units.
    pub(crate) full_scale: f32,
}

impl SpecRef {
    pub(crate) fn new(spec: SpectrumSpec) -> Self {
        Self {
            codec: Codec::for_spec(&spec),
            full_scale: spec.canonical_full_scale(),
            spec,
        }
    }
}

/// A known sensor.
#[derive(Debug, Clone)]
pub(crate) struct SensorRef {
    /// Its numbers.
    pub(crate) sensor: Sensor,
    /// Its spec.
    pub(crate) spec: Arc<SpecRef>,
}

/// Why a sensor is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unknown {
    /// Nobody declared it, and the token registers none.
    #[error("the site has no such sensor, and the token may not register one")]
    Undeclared,
    /// Nobody declared it, and it could not be registered.
    #[error("the site has no such sensor, and it can't be registered: {0}")]
    Refused(AutoRegistrationRefusal),
}

/// All sites this process heard from.
#[derive(Debug)]
pub(crate) struct Directory {
    store: Store,
    sites: Mutex<HashMap<SiteId, Arc<SiteDirectory>>>,
    specs: Mutex<HashMap<SpecId, Arc<SpecRef>>>,
    known: Duration,
    unknown: Duration,
}

/// One site: its bounds and its sensors.
#[derive(Debug)]
pub(crate) struct SiteDirectory {
    /// The site.
    pub(crate) site: Site,
    read_at: Instant,
    sensors: RwLock<HashMap<SensorPath, SensorRef>>,
    unknown: Mutex<HashMap<(TokenId, SensorPath), (Instant, Unknown)>>,
}

impl Directory {
    pub(crate) fn new(config: &Config, store: Store) -> Self {
        Self {
            store,
            sites: Mutex::default(),
            specs: Mutex::default(),
            known: Duration::from_millis(config.known_sensor_ms),
            unknown: Duration::from_millis(config.unknown_sensor_ms),
        }
    }

    /// The site of a gateway, with every sensor of `paths` looked up, and registered if the token says so.
    pub(crate) async fn prepare<'a>(
        &self,
        gateway: &Gateway,
        paths: impl Iterator<Item = &'a SensorPath>,
        now: Timestamp,
    ) -> tocsin_store::Result<Arc<SiteDirectory>> {
        let site = self.site(gateway.site).await?;
        let missing = site.missing(gateway.token, paths);
        if !missing.is_empty() {
            self.learn(&site, gateway, missing, now).await?;
        }
        Ok(site)
    }

    async fn site(&self, id: SiteId) -> tocsin_store::Result<Arc<SiteDirectory>> {
        if let Some(site) = lock(&self.sites).get(&id)
            && site.read_at.elapsed() < self.known
        {
            return Ok(Arc::clone(site));
        }
        let site = self.store.site_by_id(&Scope::site(id), id).await?;
        let site = Arc::new(SiteDirectory::new(site));
        lock(&self.sites).insert(id, Arc::clone(&site));
        Ok(site)
    }

    async fn learn(
        &self,
        site: &SiteDirectory,
        gateway: &Gateway,
        missing: Vec<SensorPath>,
        now: Timestamp,
    ) -> tocsin_store::Result<()> {
        let mut found = self.store.sensor_resolve(gateway.site, &missing).await?;
        let mut refused = HashMap::new();
        let unfound: Vec<SensorPath> = missing.into_iter().filter(|path| !found.contains_key(path)).collect();
        if let Some(auto) = gateway.auto_registration
            && !unfound.is_empty()
        {
            let audit = |answer: &AutoRegistered| {
                let sensors: Vec<String> = answer.new.iter().map(SensorPath::to_string).collect();
                let actor = format!("gateway:{}", gateway.name);
                let subject = format!("site:{}", site.site.name);
                NewAuditEntry::new(actor, "sensors.auto_register", subject, &json!({ "sensors": sensors }))
            };
            let store = &self.store;
            let answer = store
                .sensor_auto_register(gateway.site, auto.class, auto.spec, &unfound, now, audit)
                .await?;
            tracing::info!(
                site = %site.site.name,
                gateway = gateway.name,
                registered = answer.new.len(),
                refused = answer.refused.len(),
                "unknown sensors registered"
            );
            found.extend(answer.sensors);
            refused.extend(answer.refused);
        }
        for path in unfound.into_iter().filter(|path| !found.contains_key(path)) {
            let why = refused.remove(&path).map_or(Unknown::Undeclared, Unknown::Refused);
            site.forget(gateway.token, path, Instant::now() + self.unknown, why);
        }
        for (path, sensor) in found {
            let spec = self.spec(sensor.spec).await?;
            site.insert(path, SensorRef { sensor, spec });
        }
        Ok(())
    }

    async fn spec(&self, id: SpecId) -> tocsin_store::Result<Arc<SpecRef>> {
        if let Some(spec) = lock(&self.specs).get(&id) {
            return Ok(Arc::clone(spec));
        }
        let spec = Arc::new(SpecRef::new(self.store.spec_by_id(id).await?.spec));
        lock(&self.specs).insert(id, Arc::clone(&spec));
        Ok(spec)
    }

    #[cfg(test)]
    pub(crate) fn put(&self, site: SiteDirectory) {
        lock(&self.sites).insert(site.site.id, Arc::new(site));
    }
}

impl SiteDirectory {
    pub(crate) fn new(site: Site) -> Self {
        Self {
            site,
            read_at: Instant::now(),
            sensors: RwLock::default(),
            unknown: Mutex::default(),
        }
    }

    /// Adds a sensor.
    pub(crate) fn insert(&self, path: SensorPath, sensor: SensorRef) {
        let mut sensors = self.sensors.write().unwrap_or_else(PoisonError::into_inner);
        sensors.insert(path, sensor);
    }

    /// Remembers until `until` that a name leads nowhere for this token.
    pub(crate) fn forget(&self, token: TokenId, path: SensorPath, until: Instant, why: Unknown) {
        let mut unknown = lock(&self.unknown);
        if unknown.len() >= MOST_UNKNOWN {
            unknown.clear();
        }
        unknown.insert((token, path), (until, why));
    }

    /// A look at the sensors, for a whole batch.
    pub(crate) fn sensors(&self) -> std::sync::RwLockReadGuard<'_, HashMap<SensorPath, SensorRef>> {
        self.sensors.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why a name is not among the sensors.
    pub(crate) fn why_unknown(&self, token: TokenId, path: &SensorPath) -> Unknown {
        let unknown = lock(&self.unknown);
        let known = unknown.get(&(token, path.clone()));
        known.map_or(Unknown::Undeclared, |(_, why)| why.clone())
    }

    /// The names, each once, that have to be looked up.
    fn missing<'a>(&self, token: TokenId, paths: impl Iterator<Item = &'a SensorPath>) -> Vec<SensorPath> {
        let sensors = self.sensors();
        let mut missing = paths.filter(|path| !sensors.contains_key(*path)).peekable();
        if missing.peek().is_none() {
            return Vec::new();
        }
        let (mut seen, now) = (HashSet::new(), Instant::now());
        let missing: Vec<SensorPath> = missing.filter(|path| seen.insert(*path)).cloned().collect();
        let unknown = lock(&self.unknown);
        let recent = |path: &SensorPath| {
            unknown
                .get(&(token, path.clone()))
                .is_some_and(|(until, _)| now < *until)
        };
        missing.into_iter().filter(|path| !recent(path)).collect()
    }
}

/// A panic while a map was locked can't have left it half made: single inserts and clears are its only uses.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
