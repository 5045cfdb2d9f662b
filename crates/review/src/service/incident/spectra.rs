//! Spectra of the sensor that decided, before and during an incident, each with what it is held against.

use std::collections::{BTreeMap, BTreeSet};

use tocsin_contracts::incident_review::{Against, Capture, Phase, Rebuilt, Spectra};
use tocsin_corpus::archive::Columns;
use tocsin_domain::{BundleId, CanonicalSpectrum, Codec, Condition, Level, Scope, SensorId, Timestamp};
use tocsin_store::incident::IncidentListing;
use tocsin_store::reading::FullReading;

use super::Service;
use super::readings::Readings;
use crate::Error;
use crate::channel::Channel;
use crate::levels::Judged;
use crate::record::Material;
use crate::service::rebuilt::counted;

/// The most spectra, and the most amplitudes in them.
const MOST: usize = 96;
const MOST_AMPLITUDES: usize = 200_000;

impl Service {
    /// None where none is kept.
    pub(super) async fn window_spectra(
        &self,
        scope: &Scope,
        listing: &IncidentListing,
        read: &Readings,
    ) -> Result<Option<Spectra>, Error> {
        let (site, machine) = (listing.site_name.as_str(), listing.machine_name.as_str());
        let sensor = listing.deciding_sensor_name.as_str();
        let channel = self.channel(scope, site, machine, sensor).await?;
        let bins = usize::from(channel.spec.bins);
        let judged = read.of(channel.listing.sensor.id);
        let chosen = chosen(judged, listing.incident.opened_at, MOST.min(MOST_AMPLITUDES / bins));
        let times: BTreeSet<Timestamp> = chosen.iter().map(|one| judged[*one].reading.key.captured_at).collect();
        let found = self.full_readings(scope, channel.listing.sensor.id, &times).await?;
        if found.is_empty() {
            return Ok(None);
        }
        let levels: BTreeMap<Timestamp, Option<Level>> = chosen
            .iter()
            .map(|one| (judged[*one].reading.key.captured_at, judged[*one].level()))
            .collect();
        let (found, thinned): (BTreeMap<_, _>, BTreeMap<_, _>) =
            found.into_iter().partition(|(_, reading)| reading.spectrum.is_some());
        let not_kept = times.len() - found.len();
        let rebuilt = self.rebuilt(&channel, &found).await;
        let mut material = self.material();
        let of = |reading: &FullReading| {
            let at = reading.stored.key.captured_at;
            Capture {
                captured_at: at,
                phase: Phase::of(at, listing.incident.opened_at, listing.incident.closed_at()),
                level: levels.get(&at).copied().flatten().map(|level| level.0),
                rpm: reading.condition.rpm,
                load: reading.condition.load,
                observed: Vec::new(),
                baseline: Vec::new(),
                reconstructed: Vec::new(),
                deviation: Vec::new(),
                rebuilt: None,
            }
        };
        let (codec, mut captures) = (Codec::for_spec(&channel.spec), Vec::with_capacity(found.len()));
        for (at, reading) in &found {
            let Some(spectrum) = &reading.spectrum else { continue };
            let observed = channel.decode(&codec, spectrum)?;
            let (baseline, deviation) = against(&mut material, scope, reading, &observed).await?;
            let (reconstructed, bin_error) = rebuilt.get(at).cloned().unwrap_or_default();
            let deviation = if deviation.is_empty() {
                signed_roots(&observed, &reconstructed, &bin_error)
            } else {
                deviation
            };
            captures.push(Capture {
                observed,
                baseline,
                reconstructed,
                deviation,
                ..of(reading)
            });
        }
        let thinned: Vec<&FullReading> = thinned.values().collect();
        let made = self.decode_latents(&channel, &thinned).await?;
        let rebuilding = counted(&made);
        for (reading, made) in thinned.into_iter().zip(made) {
            if made.amplitude.is_empty() {
                continue;
            }
            let (baseline, deviation) = against(&mut material, scope, reading, &made.amplitude).await?;
            let rebuilt = Rebuilt {
                amplitude: made.amplitude,
                deviation,
                error: made.error,
            };
            captures.push(Capture {
                baseline,
                rebuilt: Some(rebuilt),
                ..of(reading)
            });
        }
        captures.sort_by_key(|capture| capture.captured_at);
        let kind = one_kind(&mut captures);
        Ok(Some(Spectra {
            sensor: sensor.to_owned(),
            axis_unit: channel.spec.axis.unit().to_owned(),
            amplitude_unit: channel.spec.canonical_unit().to_owned(),
            bin_centre: channel.bin_centres(),
            against: kind,
            not_kept: not_kept as u32,
            rebuilding,
            captures,
        }))
    }

    /// A sensor's readings at these times, hot or archived, with their spectra where those are kept.
    async fn full_readings(
        &self,
        scope: &Scope,
        sensor: SensorId,
        times: &BTreeSet<Timestamp>,
    ) -> Result<BTreeMap<Timestamp, FullReading>, Error> {
        let mut found = BTreeMap::new();
        for at in times {
            let hot = self.store.reading_get(scope, sensor, Some(*at)).await?;
            if let Some(hot) = hot.filter(|hot| hot.stored.key.captured_at == *at) {
                found.insert(*at, hot);
            }
        }
        let missing: BTreeSet<Timestamp> = times.iter().filter(|at| !found.contains_key(at)).copied().collect();
        if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
            let range = (*first, Timestamp::from_micros(last.as_micros() + 1));
            let mut cold = self.archive.readings(scope, vec![sensor], range, Columns::All).await?;
            while let Some(archived) = cold.next().await? {
                let wanted = archived
                    .into_iter()
                    .map(|reading| (reading.stored.key.captured_at, reading));
                found.extend(wanted.filter(|(at, _)| missing.contains(at)));
            }
        }
        Ok(found)
    }

    /// What the model that judged makes of each, and the error of each bin; nothing where no scorer answers.
    async fn rebuilt(
        &self,
        channel: &Channel,
        found: &BTreeMap<Timestamp, FullReading>,
    ) -> BTreeMap<Timestamp, (Vec<f32>, Vec<f32>)> {
        let mut of_bundle: BTreeMap<BundleId, Vec<(Timestamp, &CanonicalSpectrum)>> = BTreeMap::new();
        for (at, reading) in found {
            if let (Some(bundle), Some(spectrum)) = (reading.stored.bundle, &reading.spectrum) {
                of_bundle.entry(bundle).or_default().push((*at, spectrum));
            }
        }
        let (mut rebuilt, bins) = (BTreeMap::new(), usize::from(channel.spec.bins));
        for (bundle, spectra) in of_bundle {
            let codes = spectra
                .iter()
                .flat_map(|(_, spectrum)| spectrum.codes())
                .copied()
                .collect();
            let Some(answer) = self.reconstruct(channel, bundle, codes).await else {
                continue;
            };
            let whole =
                answer.reconstruction.len() == bins * spectra.len() && answer.bin_error.len() == bins * spectra.len();
            if !whole {
                tracing::warn!(sensor = channel.path(), "a reconstruction does not fit its spectra");
                continue;
            }
            let rows = answer.reconstruction.chunks(bins).zip(answer.bin_error.chunks(bins));
            rebuilt.extend(
                spectra
                    .iter()
                    .zip(rows)
                    .map(|((at, _), (row, error))| (*at, (row.to_vec(), error.to_vec()))),
            );
        }
        rebuilt
    }
}

/// Places among readings: evenly over them, and always the highest and the last before the opening.
fn chosen(judged: &[Judged], opened: Timestamp, most: usize) -> BTreeSet<usize> {
    if judged.is_empty() || most == 0 {
        return BTreeSet::new();
    }
    let even = most.min(judged.len());
    let mut chosen: BTreeSet<usize> = (0..even)
        .map(|nth| nth * (judged.len() - 1) / (even - 1).max(1))
        .collect();
    let level = |one: &usize| judged[*one].level().map_or(f32::NEG_INFINITY, |level| level.0);
    chosen.extend((0..judged.len()).max_by(|a, b| level(a).total_cmp(&level(b))));
    let after = judged.partition_point(|one| one.reading.key.captured_at < opened);
    chosen.extend(after.checked_sub(1));
    chosen
}

/// The amplitudes that a baseline expects in a condition, and how far each bin is from them, in its own scale.
fn held_against(
    against: &tocsin_models::SensorBaseline,
    observed: &[f32],
    condition: Condition,
) -> (Vec<f32>, Vec<f32>) {
    let baseline = &against.baseline;
    if baseline.bins() != observed.len() {
        return Default::default();
    }
    let offset = baseline.offset(condition);
    let log: Vec<f32> = observed
        .iter()
        .map(|amplitude| (amplitude / against.s0).ln_1p())
        .collect();
    let (mut expected, mut deviation) = (vec![0.0; log.len()], vec![0.0; log.len()]);
    baseline.expected_into(offset, &mut expected);
    baseline.deviations_into(&log, offset, &mut deviation);
    let amplitudes = expected.iter().map(|log| against.s0 * log.exp_m1()).collect();
    (amplitudes, deviation.into_iter().map(rounded).collect())
}

/// The same of a reading and its own baseline; nothing without one.
async fn against(
    material: &mut Material,
    scope: &Scope,
    reading: &FullReading,
    amplitude: &[f32],
) -> Result<(Vec<f32>, Vec<f32>), Error> {
    match reading.stored.baseline {
        Some(id) => {
            let baseline = material.baseline(scope, id).await?;
            Ok(held_against(&baseline, amplitude, reading.condition))
        }
        None => Ok(Default::default()),
    }
}

/// The root of each bin's squared error, below zero where the model sees more than there is.
fn signed_roots(observed: &[f32], reconstructed: &[f32], squared: &[f32]) -> Vec<f32> {
    let both = observed.iter().zip(reconstructed).zip(squared);
    both.map(|((observed, reconstructed), squared)| rounded(squared.sqrt().copysign(observed - reconstructed)))
        .collect()
}

/// To a thousandth: no more of it is seen.
fn rounded(deviation: f32) -> f32 {
    (deviation * 1e3).round() / 1e3
}

/// Deviations of two kinds are not held beside each other: a baseline's stay where more captures have one, and where the others
/// have none. What is rebuilt has no say in it, unless nothing else is there.
fn one_kind(captures: &mut [Capture]) -> Against {
    let observed = || captures.iter().filter(|capture| capture.rebuilt.is_none());
    let with_baseline = observed().filter(|capture| !capture.baseline.is_empty()).count();
    let against_model = observed()
        .filter(|capture| capture.baseline.is_empty() && !capture.deviation.is_empty())
        .count();
    let of_rebuilt = captures.iter().filter_map(|capture| capture.rebuilt.as_ref());
    let any_rebuilt = of_rebuilt.into_iter().any(|rebuilt| !rebuilt.deviation.is_empty());
    let against = match (with_baseline, against_model) {
        (0, 0) if any_rebuilt => Against::Baseline,
        (0, 0) => Against::Nothing,
        (with, without) if with >= without => Against::Baseline,
        _ => Against::Reconstruction,
    };
    for capture in captures {
        if capture.baseline.is_empty() == (against == Against::Baseline) {
            capture.deviation.clear();
        }
        if let Some(rebuilt) = capture.rebuilt.as_mut().filter(|_| against != Against::Baseline) {
            rebuilt.deviation.clear();
        }
    }
    against
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::levels::tests::{reading, set};

    #[test]
    fn the_highest_and_the_last_before_the_opening_are_always_among_those_chosen() {
        let judged: Vec<Judged> = (0..50)
            .map(|second| Judged::new(reading(1, second, if second == 33 { 9.0 } else { 0.5 }), Some(set())))
            .collect();
        let opened = Timestamp::from_micros(20_500_000);
        let some = chosen(&judged, opened, 5);
        assert!([0, 20, 33, 49].iter().all(|one| some.contains(one)), "{some:?}");
        assert!(some.len() <= 7);
        assert_eq!(chosen(&judged, opened, 100).len(), 50);
        assert!(chosen(&[], opened, 5).is_empty());
        assert_eq!(chosen(&judged[..1], opened, 5).len(), 1);
    }

    #[test]
    fn deviations_of_two_kinds_are_not_held_beside_each_other() {
        let capture = |baseline: &[f32], deviation: &[f32]| Capture {
            captured_at: Timestamp::from_micros(0),
            phase: Phase::Before,
            level: None,
            rpm: None,
            load: None,
            observed: vec![1.0],
            baseline: baseline.to_vec(),
            reconstructed: Vec::new(),
            deviation: deviation.to_vec(),
            rebuilt: None,
        };
        let mut mixed = [capture(&[1.0], &[2.0]), capture(&[1.0], &[2.0]), capture(&[], &[3.0])];
        assert_eq!(one_kind(&mut mixed), Against::Baseline);
        assert_eq!((mixed[0].deviation.len(), mixed[2].deviation.len()), (1, 0));
        let mut rebuilt = [capture(&[], &[3.0]), capture(&[], &[])];
        assert_eq!(one_kind(&mut rebuilt), Against::Reconstruction);
        assert_eq!(rebuilt[0].deviation, [3.0]);
        assert_eq!(one_kind(&mut [capture(&[], &[])]), Against::Nothing);
        let thinned = || Capture {
            observed: Vec::new(),
            rebuilt: Some(Rebuilt {
                amplitude: vec![1.0],
                deviation: vec![4.0],
                error: None,
            }),
            ..capture(&[1.0], &[])
        };
        let mut some = [thinned(), thinned(), capture(&[], &[3.0])];
        assert_eq!(
            one_kind(&mut some),
            Against::Reconstruction,
            "what is rebuilt has no say"
        );
        assert!(
            some[0]
                .rebuilt
                .as_ref()
                .is_some_and(|rebuilt| rebuilt.deviation.is_empty())
        );
        assert_eq!(one_kind(&mut [thinned(), capture(&[], &[])]), Against::Baseline);
        let signed = signed_roots(&[1.0, 3.0], &[2.0, 1.0], &[4.0, 9.0]);
        assert_eq!(signed, [-2.0, 3.0]);
    }
}
