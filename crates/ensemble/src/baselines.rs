//! What each commissioned sensor is held against: every active baseline, in memory and followed as it changes.
//!
//! **Invariant:** nothing is judged before the active baselines have been read once: a process that has just started
//! would otherwise take every sensor for one that is being commissioned. Afterwards the last word stays in force until
//! there is a newer one; the row says which it was.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tocsin_domain::{BaselineId, Scope, SensorId, SpecId};
use tocsin_models::SensorBaseline;
use tocsin_store::baseline::Baseline as Stored;
use tocsin_store::{Channel, Error, Result, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long to wait before the database is listened to again.
const REOPEN: Duration = Duration::from_millis(500);

/// Changes that come in a row are read together.
const GATHER: Duration = Duration::from_millis(250);

/// How often to look without having heard of a change.
const RECHECK: Duration = Duration::from_mins(1);

/// The active baselines at one moment; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known(Arc<HashMap<SensorId, Arc<SensorBaseline>>>);

impl Known {
    /// What a spectrum of so many bins is held against; nothing while its sensor is being commissioned.
    pub(crate) fn of(&self, sensor: SensorId, bins: usize) -> Option<Arc<SensorBaseline>> {
        let active = self.0.get(&sensor)?;
        (active.baseline.bins() == bins).then(|| active.clone())
    }
}

/// The active baselines, as last read; nothing before they have been read once.
#[derive(Debug, Clone)]
pub(crate) struct Baselines(watch::Receiver<Option<Known>>);

impl Baselines {
    /// The present ones; waits up to `patience` for the first.
    pub(crate) async fn current(&self, patience: Duration) -> Option<Known> {
        let mut receiver = self.0.clone();
        let known = tokio::time::timeout(patience, receiver.wait_for(Option::is_some)).await;
        known.ok()?.ok()?.clone()
    }
}

/// Keeps [`Baselines`] up to date.
#[derive(Debug)]
pub(crate) struct Follower {
    store: Store,
    known: watch::Sender<Option<Known>>,
}

impl Follower {
    pub(crate) fn new(store: Store) -> (Self, Baselines) {
        let (known, receiver) = watch::channel(None);
        (Self { store, known }, Baselines(receiver))
    }

    /// Follows the database until shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let work = async {
            loop {
                if let Err(error) = self.follow().await {
                    tracing::warn!(%error, "the baselines can't be followed, trying again");
                }
                tokio::time::sleep(REOPEN).await;
            }
        };
        shutdown.run_until_cancelled(work).await;
    }

    /// Listens first and reads then, so that no change falls in between.
    async fn follow(&self) -> Result<()> {
        let mut changes = self.store.changes(Channel::Baseline).await?;
        let mut s0_of: HashMap<SpecId, f32> = HashMap::new();
        loop {
            self.read(&mut s0_of).await?;
            if let Ok(changed) = tokio::time::timeout(RECHECK, changes.changed()).await {
                changed?;
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    /// Reads which are active, and of those the ones that are not known yet.
    async fn read(&self, s0_of: &mut HashMap<SpecId, f32>) -> Result<()> {
        let before = self.known.borrow().clone().unwrap_or_default();
        let (mut after, mut missing) = (HashMap::new(), Vec::new());
        for (sensor, id) in self.store.baselines_active(&Scope::All).await? {
            match before.0.get(&sensor).filter(|active| active.id == id) {
                Some(active) => {
                    after.insert(sensor, active.clone());
                }
                None => missing.push(id),
            }
        }
        for stored in self.load(&missing).await? {
            let sensor = stored.learned.sensor;
            let Some(s0) = self.s0(stored.spec, s0_of).await? else {
                tracing::error!(%sensor, spec = %stored.spec, "a sensor is held to alert");
                continue;
            };
            match active(stored, s0) {
                Ok(active) => {
                    after.insert(sensor, Arc::new(active));
                }
                Err(error) => {
                    tracing::error!(%sensor, %error, "a baseline makes no sense, its sensor is held to alert");
                }
            }
        }
        if !missing.is_empty() {
            tracing::info!(read = missing.len(), active = after.len(), "baselines were read");
        }
        self.known.send_replace(Some(Known(Arc::new(after))));
        Ok(())
    }

    /// Where the log transform of a spec turns; nothing, with a word in the log, when the spec can't be read. Only what
    /// was read is kept: a spec that was put right is found at the next look.
    async fn s0(&self, id: SpecId, s0_of: &mut HashMap<SpecId, f32>) -> Result<Option<f32>> {
        if let Some(s0) = s0_of.get(&id) {
            return Ok(Some(*s0));
        }
        match self.store.spec_by_id(id).await {
            Ok(named) => Ok(Some(*s0_of.entry(id).or_insert(named.spec.canonical_s0()))),
            Err(error @ (Error::ImpossibleRow { .. } | Error::NotFound { .. })) => {
                tracing::error!(spec = %id, %error, "a spec can't be read");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The rows. One that is impossible costs its own sensor its baseline, and no other.
    async fn load(&self, baselines: &[BaselineId]) -> Result<Vec<Stored>> {
        match self.store.baselines_by_id(&Scope::All, baselines).await {
            Err(Error::ImpossibleRow { .. }) => {}
            answer => return answer,
        }
        let mut found = Vec::with_capacity(baselines.len());
        for id in baselines {
            match self.store.baselines_by_id(&Scope::All, &[*id]).await {
                Ok(one) => found.extend(one),
                Err(error @ Error::ImpossibleRow { .. }) => {
                    tracing::error!(baseline = %id, %error, "a baseline can't be read, its sensor is held to alert");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

fn active(stored: Stored, s0: f32) -> std::result::Result<SensorBaseline, tocsin_detect::MalformedModel> {
    let profile = stored.learned.profile;
    SensorBaseline::from_stored(stored.id, s0, (profile.median, profile.scale), profile.trend.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_domain::{SpectrumSpec, Timestamp};
    use tocsin_scratch::{pump, slug, with_store};
    use tocsin_store::baseline::{NewBaseline, Profile};
    use tocsin_store::fleet::NewSensor;

    fn new(sensor: SensorId) -> NewBaseline {
        NewBaseline {
            sensor,
            epoch: 1,
            profile: Profile {
                median: vec![1.0; 64],
                spread: vec![0.1; 64],
                scale: vec![0.1; 64],
                trend: None,
            },
            log_energy: (0.0, 1.0),
            pooled_machines: 0,
            readings: 100,
            window: (Timestamp::MIN, Timestamp::MIN),
            created_by: "test".to_owned(),
            reason: String::new(),
        }
    }

    #[tokio::test]
    async fn a_spec_that_cannot_be_read_costs_its_own_sensors_their_baseline_and_no_start() {
        with_store("unreadable_spec", async |store| {
            let now = Timestamp::parse("t", "2026-03-01T12:00:00Z").unwrap();
            let spec = SpectrumSpec::corpus_default(64);
            let near = pump(&store, &spec, now).await.id;
            store
                .spec_create(&slug("other"), &spec, now, tocsin_scratch::audit)
                .await
                .unwrap();
            let far = NewSensor {
                site: slug("north"),
                machine: slug("p-1"),
                device: None,
                name: slug("far-end"),
                class: slug("pump"),
                spec: slug("other"),
            };
            let far = store
                .sensor_create(&Scope::All, &far, now, tocsin_scratch::audit)
                .await
                .unwrap()
                .sensor
                .id;
            for sensor in [near, far] {
                let active = store
                    .baseline_activate(&Scope::All, &new(sensor), now, tocsin_scratch::audit)
                    .await
                    .unwrap();
                assert!(active.is_some());
            }
            let wrong = sqlx::query("update spectrum_spec set definition = '{}' where name = 'other'");
            wrong.execute(store.pool()).await.unwrap();
            let (follower, baselines) = Follower::new(store);
            follower.read(&mut HashMap::new()).await.unwrap();
            let known = baselines.current(Duration::ZERO).await.unwrap();
            assert!(known.of(near, 64).is_some() && known.of(far, 64).is_none());
        })
        .await;
    }
}
