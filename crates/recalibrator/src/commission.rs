//! Commissions sensors: learns what each looks like in health, once its class's count and span are reached.
//!
//! Sensors are leased batch by batch, all that are ready are fitted, and only then is each fit pooled with the spread of
//! the fleet: of the sensors of its class and spec on other machines that were commissioned before it or are in the same
//! round. Where fewer than three other machines have any, a sensor's own spread stands alone, and its record
//! says so.
//!
//! **Invariant:** a round may be repeated or broken off anywhere: a baseline is written and activated in one
//! transaction, once per epoch. What can't be commissioned waits until its lease is over and costs nobody else a turn;
//! only a database that does not answer ends a round. A sensor that stands in zone C or D of its class is refused, and not
//! looked at again before a person accepts that, its class gets other zones or it begins a new epoch.

mod pool;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tocsin_detect::baseline::KAPPA;
use tocsin_detect::{Commissioned, OverallLevel, Rows, Trend, log_spectrum_into};
use tocsin_domain::{BaselineId, ClassId, Clock, Codec, Condition, MachineId, Scope, SpecId, SpectrumSpec, Timestamp};
use tocsin_store::Store;
use tocsin_store::baseline::{NewBaseline, Profile};
use tocsin_store::commissioning::ReadySensor;
use tocsin_store::reading::SpectrumColumn;
use tokio_util::sync::CancellationToken;

use pool::{OtherMachines, pool};

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

/// The fits of a round, by what is pooled with what.
type Groups = BTreeMap<(ClassId, SpecId), Vec<Fitted>>;

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
            for ((class, spec), fits) in groups {
                commissioned += self.activate((class, spec), fits, by).await?;
            }
        }
    }

    /// Fits all that is ready, as far as memory goes and while there is time left to activate it; nothing when nothing is.
    async fn fit_ready(&self) -> Result<Groups, Error> {
        let began = self.clock.now();
        let mut groups = Groups::new();
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
        Ok(groups)
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

    /// Pools the fits of a group and makes them active; answers how many.
    async fn activate(&self, group: (ClassId, SpecId), fits: Vec<Fitted>, by: &str) -> Result<u32, Error> {
        let what = format!("class number {}, spec number {}", group.0, group.1);
        let Some(baselines) = passed_over(self.baselines(group, fits, by).await, &what)? else {
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

    async fn baselines(
        &self,
        (class, spec): (ClassId, SpecId),
        fits: Vec<Fitted>,
        by: &str,
    ) -> Result<Vec<NewBaseline>, Error> {
        let before = self.store.baseline_spreads(&Scope::All, class, spec).await?;
        let by = by.to_owned();
        let pooled = tokio::task::spawn_blocking(move || {
            let pool = pool(&fits, before);
            let mut fleets: BTreeMap<MachineId, OtherMachines> = BTreeMap::new();
            let baseline = |fitted: &Fitted| {
                let fleet = fleets
                    .entry(fitted.ready.machine)
                    .or_insert_with(|| OtherMachines::of(fitted, &pool));
                baseline(fitted, fleet, &by)
            };
            fits.iter().map(baseline).collect()
        });
        Ok(pooled.await?)
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
    let machines = fleet.machines;
    let (pooled_machines, reason) = match fleet.fleet {
        Some(_) => (
            machines as u32,
            format!("spread pooled with {machines} other machines of the class"),
        ),
        None => (
            0,
            format!("its own spread alone: {machines} other machines of the class have a baseline"),
        ),
    };
    let baseline = commissioned.baseline(fleet.fleet.as_ref(), KAPPA);
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
        pooled_machines,
        readings: u32::try_from(commissioned.readings()).unwrap_or(u32::MAX),
        window: fitted.window,
        created_by: by.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_domain::{CanonicalSpectrum, SensorId};

    /// A sensor of a machine whose codes swing by `swing`.
    fn fitted(machine: i32, swing: u8) -> Fitted {
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let ready = ReadySensor {
            sensor: SensorId(machine),
            machine: MachineId(machine),
            class: ClassId(1),
            spec: SpecId(1),
            epoch: 1,
            zone_accepted: false,
            window: (at(0), at(99)),
        };
        fit(ready, &SpectrumSpec::corpus_default(64), &spectra(swing)).unwrap()
    }

    fn spectra(swing: u8) -> Vec<SpectrumColumn> {
        let column = |second: i64| SpectrumColumn {
            captured_at: Timestamp::from_micros(second * 1_000_000),
            spectrum: CanonicalSpectrum::from_codes(vec![180 + (second % 2) as u8 * swing; 64]),
            condition: Condition::default(),
        };
        (0..100).map(column).collect()
    }

    #[test]
    fn a_sensor_whose_readings_tell_speed_and_load_gets_a_trend_that_is_stored() {
        let mut spectra = spectra(2);
        for (nth, column) in spectra.iter_mut().enumerate() {
            column.condition = Condition {
                rpm: Some(1_000.0 + 10.0 * nth as f32),
                load: Some(0.5),
                ..Condition::default()
            };
        }
        let fitted = fit(fitted(1, 2).ready, &SpectrumSpec::corpus_default(64), &spectra).unwrap();
        let stored = among(&[fitted]).profile.trend.expect("they tell it");
        let usual = Trend::from_bytes(&stored).unwrap().conditions().usual();
        assert!(
            (usual.rpm.unwrap() - 1_470.0).abs() < 30.0 && usual.load == Some(0.5),
            "{usual:?}"
        );
        assert_eq!(among(&[super::tests::fitted(1, 2)]).profile.trend, None);
    }

    fn among(fits: &[Fitted]) -> NewBaseline {
        let pool = pool(fits, Vec::new());
        baseline(&fits[0], &OtherMachines::of(&fits[0], &pool), "test")
    }

    #[test]
    fn a_fit_says_which_readings_it_was_made_of() {
        let fitted = fitted(1, 4);
        assert_eq!(
            (fitted.commissioned.readings(), fitted.window),
            (100, fitted.ready.window)
        );
        let wrong = SpectrumColumn {
            captured_at: fitted.window.0,
            spectrum: CanonicalSpectrum::from_codes(vec![1; 63]),
            condition: Condition::default(),
        };
        let refused = fit(fitted.ready, &SpectrumSpec::corpus_default(64), &[wrong])
            .err()
            .unwrap();
        assert!(refused.ends_with("has 63 bins"), "{refused}");
    }

    #[test]
    fn a_large_round_is_pooled_over_all_its_machines_however_their_sensors_are_numbered() {
        let one = fitted(1, 2);
        let fits: Vec<Fitted> = (0..1_024)
            .map(|number| Fitted {
                ready: ReadySensor {
                    sensor: SensorId(number),
                    machine: MachineId(number % 4),
                    ..one.ready
                },
                commissioned: one.commissioned.clone(),
                overall_level: one.overall_level,
                window: one.window,
            })
            .collect();
        let pool = pool(&fits, Vec::new());
        let of = |machine| pool.iter().filter(|(other, _)| *other == MachineId(machine)).count();
        assert_eq!([0, 1, 2, 3].map(of), [super::pool::MOST_POOLED / 4; 4]);
    }

    #[test]
    fn three_other_machines_make_a_fleet_and_two_do_not() {
        let fits = [fitted(1, 2), fitted(2, 8), fitted(3, 8), fitted(4, 8)];
        let alone = among(&fits[..3]);
        assert_eq!(alone.pooled_machines, 0);
        assert!(
            alone.reason.starts_with("its own spread alone: 2 other machines"),
            "{}",
            alone.reason
        );
        assert_eq!(alone.profile.scale[0].to_bits(), alone.profile.spread[0].to_bits());
        let pooled = among(&fits);
        assert_eq!(pooled.pooled_machines, 3);
        assert!(
            pooled.profile.scale[0] > 1.5 * pooled.profile.spread[0],
            "it leans on the restless fleet"
        );
    }
}
