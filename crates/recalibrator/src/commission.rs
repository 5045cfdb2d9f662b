//! Commissions sensors: learns what each looks like in health, once its class's count and span are reached.
//!
//! Sensors are leased batch by batch, all that are ready are fitted, and only then is each fit pooled with the spread of
//! the fleet: of the sensors of its class and spec on other machines that were commissioned before it or are in the same
//! round. Where fewer than three other machines of the class have any, the spread is borrowed from all classes with the
//! spec, widened; where that is not three machines either, a sensor's own spread stands alone. Its record says which.
//!
//! **Invariant:** a round may be repeated or broken off anywhere: a baseline is written and activated in one
//! transaction, once per epoch. What can't be commissioned waits until its lease is over and costs nobody else a turn;
//! only a database that does not answer ends a round. A sensor that stands in zone C or D of its class is refused, and not
//! looked at again before a person accepts that, its class gets other zones or it begins a new epoch.

mod pool;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tocsin_detect::baseline::KAPPA;
use tocsin_detect::{Commissioned, OverallLevel, Rows, Trend, log_spectrum_into};
use tocsin_domain::{BaselineId, ClassId, Clock, Codec, Condition, MachineId, Scope, SpecId, SpectrumSpec, Timestamp};
use tocsin_store::Store;
use tocsin_store::baseline::{NewBaseline, Profile, SensorSpread};
use tocsin_store::commissioning::ReadySensor;
use tocsin_store::reading::SpectrumColumn;
use tokio_util::sync::CancellationToken;

use pool::{OtherMachines, is_small, machines, pool};

use crate::Error;
use crate::drift::sensor_entry;
use crate::zone_check::refusal;

/// Sensors taken at a time.
const BATCH: u32 = 32;

/// Most sensors whose fits are held before they are pooled: 8 bytes a bin each.
const MOST_IN_ROUND: usize = 4_096;

/// Most readings a baseline is learned on: of more, every so-manieth is taken.
const MOST_READINGS: u32 = 2_000;

/// How long a sensor is this process's own; and how long one that can't be commissioned waits.
const LEASE: Duration = Duration::from_mins(10);

/// Looks for sensors that are ready.
#[derive(Debug, Clone)]
pub(crate) struct Commissioner {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
}

/// A sensor's fit, before the fleet has its say.
struct Fitted {
    ready: ReadySensor,
    commissioned: Commissioned,
    overall_level: OverallLevel,
    window: (Timestamp, Timestamp),
}

/// A class and a spec: what is pooled with each other.
type Group = (ClassId, SpecId);

/// The fits of a round.
type Groups = BTreeMap<Group, Arc<Vec<Fitted>>>;

impl Commissioner {
    /// Commissions all that is ready every `interval`, until shutdown.
    pub(crate) async fn run(self, interval: Duration, shutdown: CancellationToken) {
        let work = async {
            loop {
                match self.round("recalibrator").await {
                    Ok(0) => {}
                    Ok(commissioned) => tracing::info!(commissioned, "sensors were commissioned"),
                    Err(error) => tracing::warn!(%error, "sensors wait to be commissioned"),
                }
                tokio::time::sleep(interval).await;
            }
        };
        shutdown.run_until_cancelled(work).await;
    }

    /// Commissions all that is ready now; answers how many sensors.
    pub(crate) async fn round(&self, by: &str) -> Result<u32, Error> {
        let mut commissioned = 0;
        loop {
            let groups = self.fit_ready().await?;
            if groups.is_empty() {
                return Ok(commissioned);
            }
            for group in groups.keys() {
                commissioned += self.activate(*group, &groups, by).await?;
            }
        }
    }

    /// Fits all that is ready, as far as memory goes and while there is time left to activate it; nothing when nothing is.
    async fn fit_ready(&self) -> Result<Groups, Error> {
        let began = self.clock.now();
        let mut groups: BTreeMap<Group, Vec<Fitted>> = BTreeMap::new();
        let mut fits = 0;
        while fits < MOST_IN_ROUND && self.clock.now() < began + LEASE / 2 {
            let now = self.clock.now();
            let mut ready = self.store.commissioning_lease(&Scope::All, now, LEASE, BATCH).await?;
            if ready.is_empty() {
                break;
            }
            ready.sort_by_key(|ready| ready.sensor);
            for ready in ready {
                if let Some(fitted) = passed_over(self.fit(ready).await, &format!("sensor {}", ready.sensor))?.flatten()
                {
                    groups.entry((ready.class, ready.spec)).or_default().push(fitted);
                    fits += 1;
                }
            }
        }
        let shared = groups.into_iter().map(|(group, fits)| (group, Arc::new(fits)));
        Ok(shared.collect())
    }

    /// Fits one sensor; nothing, with a word in the log, when its readings stand in a zone in which none is learned.
    async fn fit(&self, ready: ReadySensor) -> Result<Option<Fitted>, Error> {
        let spec = self.store.spec_by_id(ready.spec).await?.spec;
        if let Some((version, reason)) = self.refusal(&ready, &spec).await? {
            tracing::warn!(sensor = %ready.sensor, reason, "a sensor is refused");
            let audit = |(): &()| {
                let detail = json!({ "epoch": ready.epoch, "zones_version": version, "reason": reason });
                sensor_entry("recalibrator", "sensor.refuse", ready.sensor, &detail)
            };
            self.store
                .commissioning_refuse(&ready, (version, &reason), self.clock.now(), audit)
                .await?;
            return Ok(None);
        }
        let spectra = self
            .store
            .commissioning_spectra(&Scope::All, &ready, MOST_READINGS)
            .await?;
        let fitted = tokio::task::spawn_blocking(move || fit(ready, &spec, &spectra)).await?;
        fitted.map(Some).map_err(Error::NoBaseline)
    }

    /// Why a sensor may not be commissioned where it stands, and the version of the zones that says so.
    async fn refusal(&self, ready: &ReadySensor, spec: &SpectrumSpec) -> Result<Option<(i32, String)>, Error> {
        if ready.zone_accepted || spec.overall.is_empty() {
            return Ok(None);
        }
        let class = self.store.severity_classes(Some(ready.class)).await?.pop();
        let Some(class) = class.filter(|class| !class.zones.0.is_empty()) else {
            return Ok(None);
        };
        let levels = self
            .store
            .commissioning_levels(&Scope::All, ready, MOST_READINGS)
            .await?;
        let refused = refusal(&spec.overall, &class.zones.place(&spec.overall), &levels);
        Ok(refused.map(|reason| (class.version, reason)))
    }

    /// Pools the fits of a group of a round and makes them active; answers how many.
    async fn activate(&self, group: Group, round: &Groups, by: &str) -> Result<u32, Error> {
        let what = format!("class number {}, spec number {}", group.0, group.1);
        let Some(baselines) = passed_over(self.baselines(group, round, by).await, &what)? else {
            return Ok(0);
        };
        let mut commissioned = 0;
        for new in &baselines {
            let audit = |baseline: &BaselineId| {
                let detail = json!({ "epoch": new.epoch, "baseline": baseline, "reason": new.reason });
                sensor_entry(by, "sensor.commissioned", new.sensor, &detail)
            };
            let activated = self
                .store
                .baseline_activate(&Scope::All, new, self.clock.now(), audit)
                .await
                .map_err(Error::from);
            let activated = passed_over(activated, &format!("sensor {}", new.sensor))?.flatten();
            commissioned += u32::from(activated.is_some());
        }
        Ok(commissioned)
    }

    async fn baselines(&self, group: Group, round: &Groups, by: &str) -> Result<Vec<NewBaseline>, Error> {
        let (class, spec) = group;
        let fits = round.get(&group).cloned().unwrap_or_default();
        let before = self.store.baseline_spreads(&Scope::All, class, spec).await?;
        let (beside, elsewhere) = if is_small(&fits, &before) {
            self.elsewhere(group, round).await?
        } else {
            Default::default()
        };
        let by = by.to_owned();
        let pooled = tokio::task::spawn_blocking(move || {
            let class = pool(&fits.iter().collect::<Vec<_>>(), before);
            let beside: Vec<&Fitted> = beside.iter().flat_map(|fits| fits.iter()).collect();
            let elsewhere = pool(&beside, elsewhere);
            let mut fleets: BTreeMap<MachineId, OtherMachines> = BTreeMap::new();
            let baseline = |fitted: &Fitted| {
                let fleet = fleets
                    .entry(fitted.ready.machine)
                    .or_insert_with(|| OtherMachines::of(fitted, &class, &elsewhere));
                baseline(fitted, fleet, &by)
            };
            fits.iter().map(baseline).collect()
        });
        Ok(pooled.await?)
    }

    /// What other classes with the spec of a group have: their fits of the round, and what was commissioned before on machines
    /// that have none in it.
    async fn elsewhere(
        &self,
        (class, spec): Group,
        round: &Groups,
    ) -> Result<(Vec<Arc<Vec<Fitted>>>, Vec<SensorSpread>), Error> {
        let beside = round.iter().filter(|(group, _)| group.0 != class && group.1 == spec);
        let beside: Vec<Arc<Vec<Fitted>>> = beside.map(|(_, fits)| Arc::clone(fits)).collect();
        let mut before = self.store.baseline_spreads_elsewhere(&Scope::All, class, spec).await?;
        // Those of the round may be active by now, and are not to count twice.
        let in_round: BTreeSet<MachineId> = beside.iter().flat_map(|fits| machines(fits)).collect();
        before.retain(|stored| !in_round.contains(&stored.machine));
        Ok((beside, before))
    }
}

/// A result without its error, which costs what it is about a turn and gets a word in the log. Only that Postgres does
/// not answer is an error for all.
fn passed_over<T>(result: Result<T, Error>, what: &str) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error @ Error::Store(tocsin_store::Error::Unavailable { .. })) => Err(error),
        Err(error) => {
            tracing::warn!(what, %error, "what can't be commissioned waits");
            Ok(None)
        }
    }
}

fn fit(ready: ReadySensor, spec: &SpectrumSpec, spectra: &[SpectrumColumn]) -> Result<Fitted, String> {
    let bins = usize::from(spec.bins);
    let ends = spectra.first().zip(spectra.last());
    let (first, last) = ends.ok_or("its readings are gone")?;
    let codec = Codec::for_spec(spec);
    let mut linear = vec![0.0; spectra.len() * bins];
    for (column, amplitudes) in spectra.iter().zip(linear.chunks_mut(bins)) {
        let codes = column.spectrum.codes();
        if codes.len() != bins {
            return Err(format!(
                "the reading of {} has {} bins",
                column.captured_at,
                codes.len()
            ));
        }
        codec.decode_into(codes, amplitudes);
    }
    let mut log = vec![0.0; linear.len()];
    log_spectrum_into(&linear, spec.canonical_s0(), &mut log);
    let conditions: Vec<Condition> = spectra.iter().map(|column| column.condition).collect();
    let rows = |values| Rows::new(values, bins).map_err(|error| error.to_string());
    Ok(Fitted {
        ready,
        commissioned: Commissioned::fit(rows(&log)?, &conditions).map_err(|error| error.to_string())?,
        overall_level: OverallLevel::fit(rows(&linear)?).map_err(|error| error.to_string())?,
        window: (first.captured_at, last.captured_at),
    })
}

fn baseline(fitted: &Fitted, fleet: &OtherMachines, by: &str) -> NewBaseline {
    let Fitted {
        ready, commissioned, ..
    } = fitted;
    let (machines, reason) = fleet.provenance();
    let baseline = commissioned.baseline(fleet.fleet(), KAPPA);
    NewBaseline {
        sensor: ready.sensor,
        epoch: ready.epoch,
        profile: Profile {
            median: baseline.median().to_vec(),
            spread: commissioned.spread().to_vec(),
            scale: baseline.scale().to_vec(),
            trend: baseline.trend().map(Trend::to_bytes),
        },
        log_energy: (fitted.overall_level.mean(), fitted.overall_level.sd()),
        pooled_machines: u32::try_from(machines).unwrap_or(u32::MAX),
        readings: u32::try_from(commissioned.readings()).unwrap_or(u32::MAX),
        window: fitted.window,
        created_by: by.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests;
