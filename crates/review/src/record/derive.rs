//! A sensor's stored readings through the detectors again, some at a time.

use std::collections::BTreeMap;

use tocsin_domain::zones::PlacedZones;
use tocsin_domain::{
    BundleId, CanonicalSpectrum, Condition, ContentHash, DeclaredState, Detector, Level, OperatingState, Reading,
    ReadingFlags, ReadingKey, Scope, Timestamp,
};
use tocsin_models::{Against, CodedRows, Said};
use tocsin_store::reading::{FullReading, Rescored};

use super::material::{Material, in_force};
use super::{Again, Later, Rederived, agree, state};
use crate::Error;
use crate::channel::Channel;

impl Material {
    /// Makes the verdicts of a sensor's readings again. `later` is what the network said of them afterwards.
    pub(crate) async fn rederive(
        &mut self,
        scope: &Scope,
        channel: &Channel,
        mut readings: Vec<FullReading>,
        later: Vec<Rescored>,
    ) -> Result<Vec<Rederived>, Error> {
        for reading in &mut readings {
            reading.condition = as_received(reading);
        }
        let mut before = Vec::with_capacity(readings.len());
        for reading in &readings {
            before.push(self.predecessors(scope, reading).await?);
        }
        let said = self.said(scope, channel, (&readings, &before)).await?;
        let zones = self.placed(channel).await?;
        let mut later_of: BTreeMap<ReadingKey, Vec<Rescored>> = BTreeMap::new();
        for one in later {
            later_of.entry(one.key).or_default().push(one);
        }
        let mut made = Vec::with_capacity(readings.len());
        for ((reading, said), before) in readings.into_iter().zip(said).zip(before) {
            let set = self.set(reading.stored.threshold_set).await?;
            // Without what it was judged with, the residual can't be made again; all else can.
            let has_predecessors = before.is_some();
            let again = match reading.spectrum.as_ref() {
                Some(spectrum) => {
                    let against = self.against(scope, &reading).await?;
                    let mut again = again(&reading, spectrum, said, &against, &zones);
                    if !has_predecessors {
                        again.scores.clear(Detector::Residual);
                    }
                    Some(again)
                }
                None => None,
            };
            let later = later_of.remove(&reading.stored.key).unwrap_or_default();
            let bundle = reading.stored.bundle;
            let mut rederived = Rederived::new(reading, set);
            rederived.again = again;
            rederived.has_predecessors = has_predecessors;
            rederived.later = later.into_iter().map(|later| now(later, bundle, said)).collect();
            made.push(rederived);
        }
        Ok(made)
    }

    /// What each reading's bundle says of its spectrum: nothing without a bundle, without a spectrum, or where it has other
    /// bins than the bundle reads.
    async fn said(
        &mut self,
        scope: &Scope,
        channel: &Channel,
        (readings, before): (&[FullReading], &[Option<Vec<u8>>]),
    ) -> Result<Vec<Option<Said>>, Error> {
        let mut by_bundle: BTreeMap<BundleId, Vec<usize>> = BTreeMap::new();
        for (place, reading) in readings.iter().enumerate() {
            if let Some(bundle) = reading.stored.bundle.filter(|_| reading.spectrum.is_some()) {
                by_bundle.entry(bundle).or_default().push(place);
            }
        }
        let mut said = vec![None; readings.len()];
        for (bundle, mut places) in by_bundle {
            let model = self.model(bundle).await?;
            let bins = model.bins();
            places.retain(|place| codes(&readings[*place]).len() == bins);
            let mut against = Vec::with_capacity(places.len());
            for place in &places {
                against.push(self.against(scope, &readings[*place]).await?);
            }
            let codes: Vec<u8> = places
                .iter()
                .flat_map(|place| codes(&readings[*place]))
                .copied()
                .collect();
            let full_scale = vec![channel.spec.canonical_full_scale(); places.len()];
            let before: Vec<Vec<u8>> = places
                .iter()
                .map(|place| before[*place].clone().unwrap_or_default())
                .collect();
            // A wrong number of predecessors makes no window: what is stored then differs, and that is told.
            let score = move || {
                let rows = CodedRows {
                    codes: &codes,
                    bins,
                    full_scale: &full_scale,
                };
                model.say(rows, &before, &against)
            };
            for (place, one) in places.iter().zip(tokio::task::spawn_blocking(score).await??) {
                said[*place] = Some(one);
            }
        }
        Ok(said)
    }

    async fn against(&mut self, scope: &Scope, reading: &FullReading) -> Result<Against, Error> {
        let active = match reading.stored.baseline {
            Some(id) => Some(self.baseline(scope, id).await?),
            None => None,
        };
        Ok(Against {
            active,
            condition: reading.condition,
        })
    }

    /// The zones of the sensor's levels, since when, newest first.
    async fn placed(&mut self, channel: &Channel) -> Result<Zones, Error> {
        if channel.spec.overall.is_empty() {
            return Ok(Zones::default());
        }
        let history = self.zones(channel.listing.sensor.class).await?;
        Ok(Zones {
            changed_at: history.iter().map(|version| version.changed_at).collect(),
            placed: history
                .iter()
                .map(|version| version.zones.place(&channel.spec.overall))
                .collect(),
        })
    }
}

/// What a class said of a sensor's overall levels, newest first.
#[derive(Debug, Default)]
struct Zones {
    changed_at: Vec<Timestamp>,
    placed: Vec<PlacedZones>,
}

impl Zones {
    /// A reading's severity, and whether its levels say that the machine stood still: by the version in force when it was
    /// received, or by one beside it if that is the one that agrees with the row.
    fn of(&self, reading: &FullReading) -> (Option<Level>, bool) {
        let by = |place: usize| {
            let zones = self.placed.get(place);
            let severity = zones.and_then(|zones| zones.severity(&reading.overall));
            (severity, zones.is_some_and(|zones| zones.is_stopped(&reading.overall)))
        };
        let stored = reading.stored.scores.get(Detector::Severity);
        let agrees = |(severity, is_stopped): &(Option<Level>, bool)| {
            agree(stored, severity.map(|level| level.0)) && (!*is_stopped || state(reading) == OperatingState::Stopped)
        };
        let mut tried = in_force(&self.changed_at, reading.stored.received_at).map(by);
        let first = tried.next().unwrap_or_default();
        if agrees(&first) {
            return first;
        }
        tried.find(agrees).unwrap_or(first)
    }
}

/// What a reading's spectrum gives.
fn again(
    reading: &FullReading,
    spectrum: &CanonicalSpectrum,
    said: Option<Said>,
    against: &Against,
    zones: &Zones,
) -> Again {
    let (severity, is_stopped) = zones.of(reading);
    let mut scores = said.map(|said| said.detectors).unwrap_or_default();
    let degraded = reading.stored.flags.contains(ReadingFlags::DEGRADED);
    if let Some(said) = said.filter(|_| !degraded) {
        scores.set(Detector::Residual, said.residual);
    }
    if let Some(Level(level)) = severity {
        scores.set(Detector::Severity, level);
    }
    let known = against.known_as().1.unwrap_or_else(|| reading.condition.into());
    Again {
        scores,
        state: if is_stopped { OperatingState::Stopped } else { known },
        content_hash: content_hash(reading, spectrum, reading.condition),
    }
}

/// A reading's condition with the state that it declared, if any. Rows do not hold that, and what was received hashes to
/// the stored content with no other; where the spectrum is gone, or nothing fits, none is said.
fn as_received(reading: &FullReading) -> Condition {
    let Some(spectrum) = &reading.spectrum else {
        return reading.condition;
    };
    let states = std::iter::once(None).chain(DeclaredState::ALL.map(Some));
    let mut conditions = states.map(|state| reading.condition.in_state(state));
    let is_it = |condition: &Condition| content_hash(reading, spectrum, *condition) == reading.content_hash;
    conditions.find(is_it).unwrap_or(reading.condition)
}

fn content_hash(reading: &FullReading, spectrum: &CanonicalSpectrum, condition: Condition) -> ContentHash {
    let received = Reading {
        key: reading.stored.key,
        spectrum: spectrum.clone(),
        clipped: reading.stored.flags.contains(ReadingFlags::CLIPPED),
        condition,
        overall: reading.overall.clone(),
    };
    received.content_hash()
}

/// A later word, and what the same bundle says now.
fn now(said_later: Rescored, bundle: Option<BundleId>, said: Option<Said>) -> Later {
    let residual = said
        .filter(|_| bundle == Some(said_later.bundle))
        .map(|said| said.residual);
    Later {
        said: said_later,
        residual,
    }
}

fn codes(reading: &FullReading) -> &[u8] {
    reading.spectrum.as_ref().map_or(&[], |spectrum| spectrum.codes())
}
