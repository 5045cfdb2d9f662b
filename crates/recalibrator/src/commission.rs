//! Commissions sensors: learns what each looks like in health, once its class's count and span are reached.
//!
//! Sensors are leased, fitted together, and each fit is pooled with the spread of the fleet: of the sensors of its class
//! and spec on other machines that were commissioned before it or are in the same round. Where fewer than
//! [`MIN_MACHINES`] other machines have any, a sensor's own spread stands alone, and its record says so.
//!
//! **Invariant:** a round may be repeated or broken off anywhere: a baseline is written and activated in one
//! transaction, once per epoch. What can't be commissioned waits until its lease is over and costs nobody else a turn.
//! A sensor that stands in zone C or D of its class is refused, and not looked at again before a person accepts that, its
//! class gets other zones or it begins a new epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tocsin_detect::baseline::KAPPA;
use tocsin_detect::{Commissioned, OverallLevel, Rows, fleet_spread, log_spectrum_into};
use tocsin_domain::{ClassId, Clock, Codec, MachineId, Scope, SpecId, SpectrumSpec, Timestamp};
use tocsin_store::Store;
use tocsin_store::baseline::{NewBaseline, Profile};
use tocsin_store::commissioning::ReadySensor;
use tocsin_store::reading::SpectrumColumn;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::zone_check::refusal;

/// Fewest other machines of the class whose spread counts as the fleet's.
const MIN_MACHINES: usize = 3;

/// Sensors taken at a time.
const BATCH: u32 = 32;

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

/// How the fleet scatters, sensor by sensor.
type Pool = Vec<(MachineId, Commissioned)>;

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
            let now = self.clock.now();
            let ready = self.store.commissioning_lease(&Scope::All, now, LEASE, BATCH).await?;
            if ready.is_empty() {
                return Ok(commissioned);
            }
            commissioned += self.commission(ready, by).await?;
        }
    }

    async fn commission(&self, ready: Vec<ReadySensor>, by: &str) -> Result<u32, Error> {
        let mut groups: BTreeMap<(ClassId, SpecId), Vec<Fitted>> = BTreeMap::new();
        for ready in ready {
            if let Some(fitted) = self.fit(ready).await? {
                groups.entry((ready.class, ready.spec)).or_default().push(fitted);
            }
        }
        let mut commissioned = 0;
        for ((class, spec), fits) in groups {
            let pool = self.pool(class, spec, &fits).await?;
            for fitted in &fits {
                let new = baseline(fitted, &pool, by);
                let activated = self.store.baseline_activate(&new, self.clock.now()).await?;
                commissioned += u32::from(activated.is_some());
            }
        }
        Ok(commissioned)
    }

    /// Fits one sensor; nothing, with a word in the log, when its readings carry no baseline or stand in a zone in which
    /// none is learned.
    async fn fit(&self, ready: ReadySensor) -> Result<Option<Fitted>, Error> {
        let spec = self.store.spec_by_id(ready.spec).await?.spec;
        if let Some((version, reason)) = self.refusal(&ready, &spec).await? {
            tracing::warn!(sensor = %ready.sensor, reason, "a sensor is refused");
            self.store
                .commissioning_refuse(&ready, (version, &reason), self.clock.now())
                .await?;
            return Ok(None);
        }
        let spectra = self
            .store
            .commissioning_spectra(&Scope::All, &ready, MOST_READINGS)
            .await?;
        let fitted = tokio::task::spawn_blocking(move || fit(ready, &spec, &spectra)).await?;
        Ok(fitted
            .inspect_err(|reason| tracing::warn!(sensor = %ready.sensor, reason, "a sensor can't be commissioned"))
            .ok())
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

    async fn pool(&self, class: ClassId, spec: SpecId, fits: &[Fitted]) -> Result<Pool, Error> {
        let before = self.store.baseline_spreads(class, spec).await?;
        let mut pool: Pool = fits
            .iter()
            .map(|fitted| (fitted.ready.machine, fitted.commissioned.clone()))
            .collect();
        for stored in before {
            let Profile { median, spread, .. } = stored.profile;
            match Commissioned::from_parts(median, spread, stored.readings as usize) {
                Ok(commissioned) => pool.push((stored.machine, commissioned)),
                Err(error) => tracing::error!(machine = %stored.machine, %error, "a baseline can't be pooled with"),
            }
        }
        Ok(pool)
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
    let rows = |values| Rows::new(values, bins).map_err(|error| error.to_string());
    Ok(Fitted {
        ready,
        commissioned: Commissioned::fit(rows(&log)?).map_err(|error| error.to_string())?,
        overall_level: OverallLevel::fit(rows(&linear)?).map_err(|error| error.to_string())?,
        window: (first.captured_at, last.captured_at),
    })
}

fn baseline(fitted: &Fitted, pool: &[(MachineId, Commissioned)], by: &str) -> NewBaseline {
    let Fitted {
        ready, commissioned, ..
    } = fitted;
    let bins = commissioned.median().len();
    let others = || {
        let other =
            |(machine, other): &&(MachineId, Commissioned)| *machine != ready.machine && other.median().len() == bins;
        pool.iter().filter(other)
    };
    let machines = others().map(|(machine, _)| machine).collect::<BTreeSet<_>>().len();
    let (fleet, reason) = if machines >= MIN_MACHINES {
        let spread = fleet_spread(others().map(|(_, other)| other));
        (
            spread,
            format!("spread pooled with {machines} other machines of the class"),
        )
    } else {
        let reason = format!("its own spread alone: {machines} other machines of the class have a baseline");
        (None, reason)
    };
    let pooled_machines = if fleet.is_some() { machines as u32 } else { 0 };
    let baseline = commissioned.baseline(fleet.as_deref(), KAPPA);
    NewBaseline {
        sensor: ready.sensor,
        epoch: ready.epoch,
        profile: Profile {
            median: baseline.median().to_vec(),
            spread: commissioned.spread().to_vec(),
            scale: baseline.scale().to_vec(),
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
        let spectra: Vec<SpectrumColumn> = (0..100)
            .map(|second| SpectrumColumn {
                captured_at: at(second),
                spectrum: CanonicalSpectrum::from_codes(vec![180 + (second % 2) as u8 * swing; 64]),
            })
            .collect();
        fit(ready, &SpectrumSpec::corpus_default(64), &spectra).unwrap()
    }

    fn pool(fits: &[Fitted]) -> Pool {
        fits.iter().map(|f| (f.ready.machine, f.commissioned.clone())).collect()
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
        };
        let refused = fit(fitted.ready, &SpectrumSpec::corpus_default(64), &[wrong])
            .err()
            .unwrap();
        assert!(refused.ends_with("has 63 bins"), "{refused}");
    }

    #[test]
    fn three_other_machines_make_a_fleet_and_two_do_not() {
        let fits = [fitted(1, 2), fitted(2, 8), fitted(3, 8), fitted(4, 8)];
        let alone = baseline(&fits[0], &pool(&fits[..3]), "test");
        assert_eq!(alone.pooled_machines, 0);
        assert!(
            alone.reason.starts_with("its own spread alone: 2 other machines"),
            "{}",
            alone.reason
        );
        assert_eq!(alone.profile.scale[0].to_bits(), alone.profile.spread[0].to_bits());
        let pooled = baseline(&fits[0], &pool(&fits), "test");
        assert_eq!(pooled.pooled_machines, 3);
        assert!(
            pooled.profile.scale[0] > 1.5 * pooled.profile.spread[0],
            "it leans on the restless fleet"
        );
    }
}
