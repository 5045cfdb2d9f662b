//! One side of a comparison: limits, the bundle whose scores they are for, and what readings are held against.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tocsin_domain::{BaselineId, BundleId, Detector, OperatingState, ReadingFlags, Scores};
use tocsin_judge::ThresholdSet;
use tocsin_models::scoring::against_baselines;
use tocsin_models::{Against, CodedRows, NetworkError, Ready};
use tocsin_store::reading::{FullReading, LoggedScore};

use super::baselines::{Baselines, Held};
use super::past::{Past, Shown};
use crate::Error;

/// How a side scores and judges.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    pub(crate) set: Arc<ThresholdSet>,
    pub(crate) bundle: BundleId,
    pub(crate) model: Arc<Ready>,
    pub(crate) baselines: Baselines,
}

impl Side {
    /// How far back a window of its bundle reaches.
    pub(super) fn reach(&self) -> Duration {
        self.model.window().map_or(Duration::ZERO, |window| {
            Duration::from_millis(window.most_gap_ms.saturating_mul(window.spectra.into()))
        })
    }
}

/// A side, and what it has seen of its sensors.
#[derive(Debug)]
pub(super) struct Scorer {
    side: Side,
    /// The spectra before, where its bundle judges with them.
    past: Option<Past>,
}

/// What becomes of a reading's scores.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// Nothing changes: the stored ones stand.
    Stand,
    /// Its spectrum has other bins than the bundle reads: severity alone is left.
    Unread,
    /// Those against the baseline change, those of the bundle stand.
    HeldAnew,
    /// All change; with the codes that the network is shown beside its own.
    ScoredAnew(Vec<u8>),
    /// What is needed is not kept.
    Missing,
}

/// Readings of a portion to be scored anew, by their places.
#[derive(Debug, Default)]
struct Batch {
    places: Vec<usize>,
    codes: Vec<u8>,
    before: Vec<Vec<u8>>,
    full_scale: Vec<f32>,
    against: Vec<Against>,
}

impl Scorer {
    pub(super) fn new(side: Side) -> Self {
        let past = side.model.window().map(|window| Past::new(window, side.model.bins()));
        Self { side, past }
    }

    /// The scores of each reading as the side has them; none where what is needed is not kept.
    pub(super) async fn scores(
        &mut self,
        held: &mut Held,
        readings: &[FullReading],
    ) -> Result<Vec<Option<LoggedScore>>, Error> {
        let plans: Vec<(Plan, Option<BaselineId>)> = readings.iter().map(|reading| self.plan(held, reading)).collect();
        let is_anew = |plan: &Plan| matches!(plan, Plan::HeldAnew | Plan::ScoredAnew(_));
        let wanted: BTreeSet<BaselineId> = plans
            .iter()
            .filter(|(plan, _)| is_anew(plan))
            .filter_map(|(_, baseline)| *baseline)
            .collect();
        held.read(&wanted).await?;
        let mut scores = vec![None; readings.len()];
        let (mut whole, mut baselines) = (Batch::default(), Batch::default());
        for (place, ((plan, baseline), reading)) in plans.into_iter().zip(readings).enumerate() {
            let against = self.against(held, baseline, reading);
            match (plan, against) {
                (Plan::Stand, _) => scores[place] = Some(logged(reading)),
                (Plan::Unread, _) => scores[place] = Some(only_severity(reading)),
                (Plan::HeldAnew, Some(against)) => baselines.add(place, (held, reading), (Vec::new(), against)),
                (Plan::ScoredAnew(before), Some(against)) => whole.add(place, (held, reading), (before, against)),
                (Plan::Missing, _) | (_, None) => {}
            }
        }
        for (place, said) in self.said(whole, baselines).await? {
            scores[place] = Some(said.of(&readings[place]));
        }
        Ok(scores)
    }

    /// What is to be done with a reading, and what it is held against. To be asked of every reading, in order of capture.
    fn plan(&mut self, held: &Held, reading: &FullReading) -> (Plan, Option<BaselineId>) {
        let stored = &reading.stored;
        let baseline = self.side.baselines.of(held.present(stored.key.sensor), stored.baseline);
        let shown = self.past.as_mut().map(|past| past.see(reading, baseline));
        let of_bundle = stored.bundle == Some(self.side.bundle);
        if of_bundle && baseline == stored.baseline {
            return (Plan::Stand, baseline);
        }
        let plan = match &reading.spectrum {
            None => Plan::Missing,
            Some(spectrum) if spectrum.codes().len() != self.side.model.bins() => Plan::Unread,
            Some(_) if of_bundle => Plan::HeldAnew,
            // The network does not judge it, whatever it is shown.
            Some(_) if is_degraded(reading) => Plan::ScoredAnew(Vec::new()),
            Some(_) => match shown {
                None | Some(Shown::Alone) => Plan::ScoredAnew(Vec::new()),
                Some(Shown::Before(codes)) => Plan::ScoredAnew(codes),
                Some(Shown::Unknown) => Plan::Missing,
            },
        };
        (plan, baseline)
    }

    /// What a reading is held against; none where that can't be had. A baseline of other bins than the bundle's says
    /// nothing, as live.
    fn against(&self, held: &Held, baseline: Option<BaselineId>, reading: &FullReading) -> Option<Against> {
        let active = match baseline {
            Some(id) => Some(held.get(id)?).filter(|one| one.baseline.median().len() == self.side.model.bins()),
            None => None,
        };
        Some(Against {
            active,
            condition: reading.condition,
        })
    }

    async fn said(&self, whole: Batch, baselines: Batch) -> Result<Vec<(usize, Anew)>, Error> {
        if whole.places.is_empty() && baselines.places.is_empty() {
            return Ok(Vec::new());
        }
        let model = Arc::clone(&self.side.model);
        let said = move || {
            let mut said = whole.scored(&model)?;
            said.extend(baselines.held(model.bins()));
            Ok::<_, NetworkError>(said)
        };
        Ok(tokio::task::spawn_blocking(said).await??)
    }
}

/// What a reading scores anew.
#[derive(Debug)]
struct Anew {
    scores: Scores,
    /// The bundle's own scores are among them.
    is_whole: bool,
    /// What its machine was doing, as the baseline knows it.
    state: Option<OperatingState>,
}

impl Batch {
    fn add(&mut self, place: usize, (held, reading): (&Held, &FullReading), (before, against): (Vec<u8>, Against)) {
        let scales = held.scales(reading.stored.key.sensor);
        let (Some(spectrum), Some(scales)) = (&reading.spectrum, scales) else {
            return;
        };
        self.places.push(place);
        self.codes.extend_from_slice(spectrum.codes());
        self.before.push(before);
        self.full_scale.push(scales.full_scale);
        self.against.push(against);
    }

    fn rows(&self, bins: usize) -> CodedRows<'_> {
        CodedRows {
            codes: &self.codes,
            bins,
            full_scale: &self.full_scale,
        }
    }

    fn scored(self, model: &Ready) -> Result<Vec<(usize, Anew)>, NetworkError> {
        let said = model.say(self.rows(model.bins()), &self.before, &self.against)?;
        let scores = said.into_iter().map(|said| {
            let mut scores = said.detectors;
            scores.set(Detector::Residual, said.residual);
            scores
        });
        Ok(self.with(scores.collect(), true))
    }

    fn held(self, bins: usize) -> Vec<(usize, Anew)> {
        let scores = against_baselines(self.rows(bins), &self.against);
        self.with(scores, false)
    }

    fn with(self, scores: Vec<Scores>, is_whole: bool) -> Vec<(usize, Anew)> {
        let rows = self.places.into_iter().zip(scores).zip(self.against);
        rows.map(|((place, scores), against)| {
            let anew = Anew {
                scores,
                is_whole,
                state: against.known_as().1,
            };
            (place, anew)
        })
        .collect()
    }
}

impl Anew {
    /// A reading with these scores in place of its own.
    fn of(self, reading: &FullReading) -> LoggedScore {
        let stored = &reading.stored;
        let mut scores = self.scores;
        for (detector, score) in stored.scores.iter() {
            let stays = detector == Detector::Severity || (!self.is_whole && !detector.needs_baseline());
            if stays {
                scores.set(detector, score);
            }
        }
        if is_degraded(reading) {
            scores.clear(Detector::Residual);
        }
        let state = match stored.state {
            // Told by speed, levels or whoever sent it, and by no baseline.
            state @ (OperatingState::Stopped | OperatingState::Transient) => state,
            OperatingState::Known | OperatingState::Unseen => self.state.unwrap_or_else(|| reading.condition.into()),
        };
        LoggedScore {
            scores,
            state,
            ..logged(reading)
        }
    }
}

fn is_degraded(reading: &FullReading) -> bool {
    reading.stored.flags.contains(ReadingFlags::DEGRADED)
}

/// As a replay of stored scores takes it.
fn logged(reading: &FullReading) -> LoggedScore {
    let stored = &reading.stored;
    LoggedScore {
        key: stored.key,
        baseline: stored.baseline,
        scores: stored.scores,
        flags: stored.flags,
        verdict: stored.verdict,
        state: stored.state,
    }
}

fn only_severity(reading: &FullReading) -> LoggedScore {
    let mut scores = Scores::default();
    if let Some(severity) = reading.stored.scores.get(Detector::Severity) {
        scores.set(Detector::Severity, severity);
    }
    LoggedScore {
        scores,
        ..logged(reading)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use tocsin_domain::{Condition, ContentHash, ReadingKey, SensorId, Timestamp, Verdict};
    use tocsin_store::reading::StoredReading;

    /// A reading at a second with scores of every kind, its spectrum not kept.
    pub(crate) fn reading(second: i64) -> FullReading {
        let captured_at = Timestamp::from_micros(second * 1_000_000);
        let mut scores = Scores::default();
        for (nth, detector) in Detector::ALL.into_iter().enumerate() {
            scores.set(detector, nth as f32);
        }
        FullReading {
            stored: StoredReading {
                key: ReadingKey {
                    sensor: SensorId(1),
                    captured_at,
                },
                received_at: captured_at,
                commit_seq: 1,
                threshold_set: None,
                bundle: Some(BundleId(1)),
                baseline: Some(BaselineId(1)),
                scores,
                flags: ReadingFlags::default(),
                verdict: Verdict::Normal { by: Detector::Residual },
                state: OperatingState::Known,
            },
            content_hash: ContentHash(1),
            condition: Condition::default(),
            scorer_build: None,
            predecessors: None,
            overall: Vec::new(),
            latent: Vec::new(),
            spectrum: None,
        }
    }

    fn anew(detectors: &[Detector], is_whole: bool, state: Option<OperatingState>) -> Anew {
        let mut scores = Scores::default();
        for detector in detectors {
            scores.set(*detector, 100.0);
        }
        Anew {
            scores,
            is_whole,
            state,
        }
    }

    fn names(score: &LoggedScore, wanted: f32) -> Vec<Detector> {
        let of = score
            .scores
            .iter()
            .filter(|(_, score)| score.to_bits() == wanted.to_bits());
        of.map(|(detector, _)| detector).collect()
    }

    #[test]
    fn a_bundle_says_all_but_severity_anew_and_a_baseline_only_what_is_held_against_it() {
        let stored = reading(0);
        let by_bundle = anew(&[Detector::Residual, Detector::Pca, Detector::Growth], true, None).of(&stored);
        assert_eq!(
            names(&by_bundle, 100.0),
            [Detector::Residual, Detector::Growth, Detector::Pca]
        );
        assert_eq!(
            by_bundle.scores.mask().0.count_ones(),
            4,
            "and what it does not say is gone"
        );
        assert_eq!(
            by_bundle.scores.get(Detector::Severity),
            stored.stored.scores.get(Detector::Severity)
        );

        let by_baseline = anew(&[Detector::Growth, Detector::Shift], false, None).of(&stored);
        assert_eq!(names(&by_baseline, 100.0), [Detector::Growth, Detector::Shift]);
        assert_eq!(by_baseline.scores.get(Detector::Narrowband), None);
        let residual = stored.stored.scores.get(Detector::Residual);
        assert_eq!(by_baseline.scores.get(Detector::Residual), residual);
    }

    #[test]
    fn what_was_judged_without_the_network_stays_so_and_a_machine_that_stood_still_did() {
        let mut degraded = reading(0);
        degraded.stored.flags = ReadingFlags::DEGRADED;
        let made = anew(&[Detector::Residual, Detector::Growth], true, None).of(&degraded);
        assert_eq!(made.scores.get(Detector::Residual), None);
        assert!(made.flags.contains(ReadingFlags::DEGRADED));

        let state = |stored: OperatingState, known: Option<OperatingState>| {
            let mut reading = reading(0);
            reading.stored.state = stored;
            anew(&[], true, known).of(&reading).state
        };
        let (known, unseen, stopped) = (OperatingState::Known, OperatingState::Unseen, OperatingState::Stopped);
        assert_eq!(
            state(known, Some(unseen)),
            unseen,
            "the other baseline does not know the speed"
        );
        assert_eq!(state(unseen, Some(known)), known);
        assert_eq!(
            state(unseen, None),
            known,
            "without a baseline one speed is as good as another"
        );
        assert_eq!(state(stopped, Some(known)), stopped);
    }
}
