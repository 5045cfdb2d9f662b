//! What a class's models are fitted on: its kept healthy spectra, evenly thinned (in runs for a temporal network), split in time.
//!
//! **Invariant:** never more values in memory than the configuration says, however large the class: where there is no room
//! for a reading of each sensor, some sensors are left out.

use tocsin_domain::{ClassId, SpectrumSpec, Timestamp};
use tocsin_models::Manifest;
use tocsin_store::Store;
use tocsin_store::reading::SpectrumColumn;
use tocsin_store::training_job::TrainingSensor;

use crate::job::JobError;
use crate::{Config, TrainingSet};

/// Windows' lengths in a run of readings that are kept together.
const RUN_WINDOWS: u32 = 4;

/// The fewest runs of a sensor that are worth keeping: three to learn from and one to set limits by.
const FEWEST_RUNS: u32 = 4;

/// Rows to fit on, and rows to compute alarm limits from.
#[derive(Debug)]
pub(crate) struct Sets {
    pub(crate) train: TrainingSet,
    pub(crate) held_out: TrainingSet,
}

/// Reads the healthy spectra of a class. With a champion, those of the sensors it can read; without one, those of the spec
/// that most of the sensors have.
pub(crate) async fn read(
    store: &Store,
    config: &Config,
    class: ClassId,
    period: (Timestamp, Timestamp),
    champion: Option<&Manifest>,
) -> Result<Sets, JobError> {
    let (spec, mut sensors) = sensors(store, class, champion).await?;
    let mut sets = Sets {
        train: TrainingSet::new(&spec),
        held_out: TrainingSet::new(&spec),
    };
    let (all, run) = (sensors.len(), run(champion));
    let fewest = if run == 1 { 1 } else { FEWEST_RUNS * run };
    keep_room(room(config, &spec) / u64::from(fewest), &mut sensors);
    if sensors.len() < all {
        tracing::warn!(
            sensors = all,
            kept = sensors.len(),
            readings = fewest,
            "there is no room for the fewest readings of each sensor"
        );
    }
    let runs = most_readings(config, &spec, sensors.len()) / run;
    for sensor in &sensors {
        let spectra = store.training_spectra(sensor.id, period, (runs, run)).await?;
        sets.add(&sensor.path, &spectra, (config.held_out_share, run))?;
    }
    let readings = sets.train.len();
    if readings < config.fewest_readings as usize {
        return Err(JobError::TooFew {
            readings,
            needed: config.fewest_readings,
            sensors: sensors.len(),
        });
    }
    tracing::info!(
        sensors = sensors.len(),
        readings,
        held_out = sets.held_out.len(),
        "healthy spectra read"
    );
    Ok(sets)
}

/// Readings of a sensor that are taken together where not all are: a temporal network learns from several windows of each
/// run, any other from single readings.
fn run(champion: Option<&Manifest>) -> u32 {
    let temporal = champion.and_then(|champion| champion.temporal.as_ref());
    temporal.map_or(1, |temporal| RUN_WINDOWS * u32::from(temporal.window.spectra))
}

/// Leaves out sensors, evenly, where there is no room for so many.
fn keep_room<T>(room: u64, sensors: &mut Vec<T>) {
    let all = sensors.len();
    if all as u64 <= room {
        return;
    }
    // Of the first so many sensors this share is kept: the next is, when the share comes to one more.
    let kept = |sensors: usize| sensors as u64 * room / all as u64;
    let mut at = 0;
    sensors.retain(|_| {
        at += 1;
        kept(at) > kept(at - 1)
    });
}

/// The most readings of each sensor, so that all of them together keep to the limit.
fn most_readings(config: &Config, spec: &SpectrumSpec, sensors: usize) -> u32 {
    let each = room(config, spec) / sensors.max(1) as u64;
    config.sensor_readings.min(u32::try_from(each).unwrap_or(u32::MAX))
}

/// Readings that keep to the limit.
fn room(config: &Config, spec: &SpectrumSpec) -> u64 {
    config.most_values / u64::from(spec.bins)
}

async fn sensors(
    store: &Store,
    class: ClassId,
    champion: Option<&Manifest>,
) -> Result<(SpectrumSpec, Vec<TrainingSensor>), JobError> {
    let all = store.training_sensors(class).await?;
    let mut ids: Vec<_> = all.iter().map(|sensor| sensor.spec).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut specs = Vec::new();
    for id in ids {
        specs.push((id, store.spec_by_id(id).await?.spec));
    }
    let chosen = match champion {
        Some(champion) => specs.iter().find(|(_, spec)| reads(champion, spec)),
        None => specs.iter().max_by_key(|(id, _)| {
            (
                all.iter().filter(|sensor| sensor.spec == *id).count(),
                std::cmp::Reverse(*id),
            )
        }),
    };
    let spec = chosen.map(|(_, spec)| spec.clone()).ok_or(JobError::NoSensors)?;
    let alike: Vec<_> = specs
        .iter()
        .filter(|(_, other)| space(other) == space(&spec))
        .map(|(id, _)| *id)
        .collect();
    let sensors = all.into_iter().filter(|sensor| alike.contains(&sensor.spec)).collect();
    Ok((spec, sensors))
}

/// Whether a bundle can read what sensors of a spec send.
fn reads(champion: &Manifest, spec: &SpectrumSpec) -> bool {
    space(spec) == (champion.bins, champion.full_scale.to_bits(), champion.s0.to_bits())
        && spec.canonical_unit() == champion.unit
}

fn space(spec: &SpectrumSpec) -> (u16, u32, u32) {
    (
        spec.bins,
        spec.canonical_full_scale().to_bits(),
        spec.canonical_s0().to_bits(),
    )
}

impl Sets {
    /// Adds what one sensor read, in order of capture; of its runs, counted from the newest, the last `share` is held out.
    fn add(&mut self, path: &str, spectra: &[SpectrumColumn], (share, run): (f64, u32)) -> Result<(), JobError> {
        let runs = (spectra.len() as f64 * share / f64::from(run)).round() as usize;
        let (train, last) = spectra.split_at(spectra.len().saturating_sub(runs * run as usize));
        for (set, rows) in [(&mut self.train, train), (&mut self.held_out, last)] {
            for row in rows {
                let codes = row.spectrum.codes();
                set.push_codes(path, row.captured_at, codes)
                    .map_err(|invalid| JobError::Row {
                        path: path.to_owned(),
                        at: row.captured_at,
                        reason: invalid.to_string(),
                    })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_domain::CanonicalSpectrum;

    #[test]
    fn the_last_readings_of_a_sensor_are_held_out() {
        let spec = SpectrumSpec::corpus_default(32);
        let mut sets = Sets {
            train: TrainingSet::new(&spec),
            held_out: TrainingSet::new(&spec),
        };
        let spectra: Vec<SpectrumColumn> = (0..8)
            .map(|second| SpectrumColumn {
                captured_at: Timestamp::from_micros(second),
                spectrum: CanonicalSpectrum::from_codes(vec![100; 32]),
                condition: tocsin_domain::Condition::default(),
            })
            .collect();
        sets.add("a/b/c", &spectra, (0.25, 1)).unwrap();
        assert_eq!((sets.train.len(), sets.held_out.len()), (6, 2));
        // Three runs of three, the oldest short of one: none is cut.
        sets.add("a/b/d", &spectra, (0.25, 3)).unwrap();
        assert_eq!((sets.train.len(), sets.held_out.len()), (6 + 5, 2 + 3));
        let short = [SpectrumColumn {
            captured_at: Timestamp::from_micros(0),
            spectrum: CanonicalSpectrum::from_codes(vec![100; 31]),
            condition: tocsin_domain::Condition::default(),
        }];
        let error = sets.add("a/b/c", &short, (0.25, 1)).unwrap_err();
        assert!(error.to_string().contains("a/b/c"), "{error}");
    }

    #[test]
    fn a_large_class_is_thinned_to_what_fits_in_memory() {
        let config = Config {
            most_values: 64_000,
            ..Config::default()
        };
        let spec = SpectrumSpec::corpus_default(64);
        assert_eq!(most_readings(&config, &spec, 10), 100);
        assert_eq!(most_readings(&Config::default(), &spec, 1), 2_000);
        let mut sensors: Vec<usize> = (0..5_000).collect();
        keep_room(room(&config, &spec), &mut sensors);
        assert_eq!(
            (sensors.len(), most_readings(&config, &spec, sensors.len())),
            (1_000, 1)
        );
        assert!(sensors.windows(2).all(|pair| pair[1] - pair[0] == 5), "evenly");
        keep_room(room(&config, &spec), &mut sensors);
        assert_eq!(sensors.len(), 1_000);
    }
}
