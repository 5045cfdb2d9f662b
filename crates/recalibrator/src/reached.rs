//! What the healthy machines of a class reached by the persistence rules: what limits by fleet replay are multiples of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tocsin_archive::Replayed;
use tocsin_domain::{ClassId, Detector, MachineId, OperatingState, Scope, SensorId, Timestamp, Verdict};
use tocsin_judge::fleet_replay::median;
use tocsin_judge::{LargestKthOfN, Persistence};
use tocsin_store::reading::LoggedScore;

use crate::lending::{Borrowed, WIDENED};
use crate::replay::Taking;
use crate::{Error, Service};

/// The detectors that need a baseline.
fn detectors() -> impl Iterator<Item = Detector> {
    Detector::ALL.into_iter().filter(|detector| detector.needs_baseline())
}

/// Machine by machine, the largest k-th of n of each detector that needs a baseline.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    largest: BTreeMap<Detector, Vec<f32>>,
    scores: BTreeMap<Detector, u64>,
    pub(crate) readings: u64,
    pub(crate) sensors: u64,
    pub(crate) machines: u64,
    pub(crate) window: Option<(Timestamp, Timestamp)>,
    /// What other classes reached is among it.
    pub(crate) borrowed: Option<Borrowed>,
    /// What the class's own machines did, where others are among it.
    own: BTreeMap<Detector, Vec<f32>>,
}

/// One machine's scores in the period.
#[derive(Debug)]
struct Machine {
    detectors: Vec<OfDetector>,
    /// Those that are looked at; all when not given.
    of_sensors: Option<Arc<BTreeSet<SensorId>>>,
    sensors: BTreeSet<SensorId>,
    readings: u64,
    window: Option<(Timestamp, Timestamp)>,
}

/// What a machine reached by one detector.
#[derive(Debug)]
struct OfDetector {
    detector: Detector,
    largest: LargestKthOfN,
    scores: u64,
}

impl Service {
    /// From the scores that a class logged in a period against the baselines active now. Machines that had an incident in
    /// the period are left out, and so is what was logged before a repair.
    pub(crate) async fn reached(&self, scope: &Scope, class: ClassId, replayed: Replayed) -> Result<Reached, Error> {
        let store = &self.parts.store;
        let machines = store.machines_healthy(scope, class, replayed.period).await?;
        let step = store.class_by_id(class).await?.step;
        let mut reached = Reached::default();
        for machine in self.reached_by(scope, (&machines, None), (replayed, step)).await? {
            reached.add(machine);
        }
        Ok(reached)
    }

    /// What each of some machines reached that logged any scores, on some of their sensors or all.
    pub(crate) async fn reached_by(
        &self,
        scope: &Scope,
        (machines, sensors): (&[MachineId], Option<BTreeSet<SensorId>>),
        (replayed, step): (Replayed, Duration),
    ) -> Result<Vec<Reached>, Error> {
        let (rules, sensors) = (self.config.persistence, sensors.map(Arc::new));
        let fresh = |_: MachineId| Machine::new(&rules, step, sensors.clone());
        let of_machines = self.go_through_health(scope, machines, (replayed, step), fresh).await?;
        let with_scores = of_machines.into_values().filter(|machine| machine.readings > 0);
        Ok(with_scores.map(Reached::from).collect())
    }
}

impl From<Machine> for Reached {
    fn from(machine: Machine) -> Self {
        let mut reached = Self {
            readings: machine.readings,
            sensors: machine.sensors.len() as u64,
            machines: 1,
            window: machine.window,
            ..Self::default()
        };
        for of in machine.detectors {
            reached.scores.insert(of.detector, of.scores);
            reached
                .largest
                .insert(of.detector, of.largest.largest().into_iter().collect());
        }
        reached
    }
}

impl Reached {
    /// The class's own machines, to which those of others are added from now on.
    pub(crate) fn borrowing_as(self, borrowed: Borrowed) -> Self {
        Self {
            own: self.largest.clone(),
            borrowed: Some(borrowed),
            ..self
        }
    }

    /// With what other machines reached.
    pub(crate) fn add(&mut self, other: Self) {
        for (detector, scores) in other.scores {
            *self.scores.entry(detector).or_default() += scores;
        }
        for (detector, largest) in other.largest {
            self.largest.entry(detector).or_default().extend(largest);
        }
        self.readings += other.readings;
        self.sensors += other.sensors;
        self.machines += other.machines;
        self.window = around(self.window, other.window);
    }

    /// Each machine's largest k-th of n of a detector; machines with fewer than n steps say nothing. Wider than that where
    /// some are of other classes, and at least so wide that their median is that of the class's own: what those are not
    /// silent under is no limit of theirs.
    pub(crate) fn largest(&self, detector: Detector) -> Vec<f32> {
        let all = self.largest.get(&detector).map_or(&[][..], Vec::as_slice);
        let own = self.own.get(&detector).and_then(|own| median(own));
        let to_own = own.zip(median(all)).map_or(0.0, |(own, all)| (own / all) as f32);
        let widened = match self.borrowed {
            Some(_) if to_own.is_finite() => to_own.max(WIDENED),
            Some(_) => WIDENED,
            None => 1.0,
        };
        all.iter().map(|largest| largest * widened).collect()
    }

    /// Machines that say something of any detector.
    pub(crate) fn reaching(&self) -> usize {
        self.largest.values().map(Vec::len).max().unwrap_or_default()
    }

    /// Scores of a detector that were looked at.
    pub(crate) fn scores(&self, detector: Detector) -> u64 {
        self.scores.get(&detector).copied().unwrap_or_default()
    }
}

impl Machine {
    fn new(rules: &Persistence, step: Duration, of_sensors: Option<Arc<BTreeSet<SensorId>>>) -> Self {
        let detectors = detectors().map(|detector| OfDetector {
            detector,
            largest: LargestKthOfN::new(rules, step),
            scores: 0,
        });
        Self {
            detectors: detectors.collect(),
            of_sensors,
            sensors: BTreeSet::new(),
            readings: 0,
            window: None,
        }
    }
}

impl Taking for Machine {
    fn take(&mut self, _: MachineId, score: &LoggedScore) {
        if self
            .of_sensors
            .as_ref()
            .is_some_and(|sensors| !sensors.contains(&score.key.sensor))
        {
            return;
        }
        // In an unseen condition scores are extrapolated, and say nothing of what health reaches.
        if score.state != OperatingState::Known || matches!(score.verdict, Verdict::Unjudged { .. }) {
            return;
        }
        for of in &mut self.detectors {
            if let Some(reached) = score.scores.get(of.detector) {
                of.largest.take(score.key, reached);
                of.scores += 1;
            }
        }
        let at = score.key.captured_at;
        self.sensors.insert(score.key.sensor);
        self.window = around(self.window, Some((at, at)));
        self.readings += 1;
    }
}

/// The window around both.
fn around(
    one: Option<(Timestamp, Timestamp)>,
    other: Option<(Timestamp, Timestamp)>,
) -> Option<(Timestamp, Timestamp)> {
    match (one, other) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (one, other) => one.or(other),
    }
}
