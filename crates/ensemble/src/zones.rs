//! What each class says of its overall levels: the zones in force, in memory and followed as they change, put in the
//! order in which a spec declares its levels.
//!
//! **Invariant:** nothing is judged before the zones have been read once; afterwards the last word stays in force until
//! there is a newer one. A class or spec that is newer than that is looked up, so that its first reading is judged.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tocsin_contracts::ensemble::PlacedReading;
use tocsin_domain::zones::PlacedZones;
use tocsin_domain::{ClassId, OverallSpec, SeverityZones, SpecId};
use tocsin_store::fleet::SeverityClass;
use tocsin_store::{Channel, Result, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bindings::ActiveClass;
use crate::error::Failure;
use crate::gather::Job;

/// How long to wait before the database is listened to again.
const REOPEN: Duration = Duration::from_millis(500);

/// How often to look without having heard of a change.
const RECHECK: Duration = Duration::from_mins(1);

/// All classes at one moment, those without zones too.
type Classes = Arc<HashMap<ClassId, SeverityClass>>;

/// The zones, as last read; nothing before they have been read once.
#[derive(Debug, Clone)]
pub(crate) struct Zones {
    classes: watch::Receiver<Option<Classes>>,
    store: Store,
    /// What specs declare; a spec never changes.
    specs: Arc<Mutex<HashMap<SpecId, Arc<[OverallSpec]>>>>,
}

/// Keeps [`Zones`] up to date.
#[derive(Debug)]
pub(crate) struct Follower {
    store: Store,
    classes: watch::Sender<Option<Classes>>,
}

/// The zones, and what keeps them up to date.
pub(crate) fn follow(store: Store) -> (Follower, Zones) {
    let (sender, classes) = watch::channel(None);
    let zones = Zones {
        classes,
        store: store.clone(),
        specs: Arc::default(),
    };
    let follower = Follower { store, classes: sender };
    (follower, zones)
}

/// What the readings of one group are held against.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    classes: HashMap<ClassId, Arc<ActiveClass>>,
    zones: HashMap<(ClassId, SpecId), PlacedZones>,
}

impl Placed {
    /// A class that has zones, as it is judged without model and limits.
    pub(crate) fn class(&self, class: ClassId) -> Option<Arc<ActiveClass>> {
        self.classes.get(&class).cloned()
    }

    /// What a reading's overall levels are held against; nothing where its class says nothing of them.
    pub(crate) fn of(&self, placed: &PlacedReading) -> Option<&PlacedZones> {
        self.zones.get(&(placed.class, placed.spec?))
    }
}

impl Zones {
    /// The zones of all that a group's readings need; waits up to `patience` for the first word.
    pub(crate) async fn place(&self, group: &[Job], patience: Duration) -> std::result::Result<Placed, Failure> {
        let mut receiver = self.classes.clone();
        let known = tokio::time::timeout(patience, receiver.wait_for(Option::is_some)).await;
        let known = known.ok().and_then(|known| known.ok()?.clone());
        let known = known.ok_or(Failure::NoZones)?;
        let unavailable = |error| Failure::Unavailable(Arc::new(error));
        self.place_among(&known, group).await.map_err(unavailable)
    }

    async fn place_among(&self, known: &Classes, group: &[Job]) -> Result<Placed> {
        let readings = || group.iter().flat_map(|job| &job.assessment.readings);
        let classes: BTreeSet<ClassId> = readings().map(|reading| reading.class).collect();
        let mut zones: HashMap<ClassId, SeverityZones> = HashMap::new();
        let mut placed = Placed::default();
        for id in classes {
            let class = if let Some(class) = known.get(&id) {
                Some(class.clone())
            } else {
                self.store.severity_classes(Some(id)).await?.pop()
            };
            if let Some(class) = class.filter(|class| !class.zones.0.is_empty()) {
                placed
                    .classes
                    .insert(id, Arc::new(ActiveClass::by_severity(class.step)));
                zones.insert(id, class.zones);
            }
        }
        let pairs: BTreeSet<(ClassId, SpecId)> = readings()
            .filter(|reading| zones.contains_key(&reading.class) && !reading.reading.overall.is_empty())
            .filter_map(|reading| Some((reading.class, reading.spec?)))
            .collect();
        for (class, spec) in pairs {
            let of_spec = zones[&class].place(&self.declared(spec).await?);
            placed.zones.insert((class, spec), of_spec);
        }
        Ok(placed)
    }

    /// What a spec declares, read once.
    async fn declared(&self, spec: SpecId) -> Result<Arc<[OverallSpec]>> {
        let known = || self.specs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(declared) = known().get(&spec) {
            return Ok(declared.clone());
        }
        let declared: Arc<[OverallSpec]> = self.store.spec_by_id(spec).await?.spec.overall.into();
        known().insert(spec, declared.clone());
        Ok(declared)
    }
}

impl Follower {
    /// Follows the database until shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let work = async {
            loop {
                if let Err(error) = self.follow().await {
                    tracing::warn!(%error, "the severity zones can't be followed, trying again");
                }
                tokio::time::sleep(REOPEN).await;
            }
        };
        shutdown.run_until_cancelled(work).await;
    }

    /// Listens first and reads then, so that no change falls in between.
    async fn follow(&self) -> Result<()> {
        let mut changes = self.store.changes(Channel::Zones).await?;
        loop {
            let classes = self.store.severity_classes(None).await?;
            let classes = classes.into_iter().map(|class| (class.class, class)).collect();
            self.classes.send_replace(Some(Arc::new(classes)));
            if let Ok(changed) = tokio::time::timeout(RECHECK, changes.changed()).await {
                changed?;
            }
        }
    }
}
