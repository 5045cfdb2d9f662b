//! What the healthy machines of a class reached by the persistence rules: what limits by fleet replay are multiples of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tocsin_archive::Replayed;
use tocsin_domain::{Detector, MachineId, OperatingState, Scope, SensorId, Timestamp, Verdict};
use tocsin_judge::{LargestKthOfN, Persistence};
use tocsin_store::bundle::Bundle;
use tocsin_store::reading::LoggedScore;

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
}

/// One machine's scores in the period.
#[derive(Debug)]
struct Machine {
    detectors: Vec<OfDetector>,
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
    /// From the scores that `bundle`'s class logged in a period against the baselines active now. Machines that had an
    /// incident in the period are left out.
    pub(crate) async fn reached(
        &self,
        scope: &Scope,
        bundle: &Bundle,
        (replayed, step): (Replayed, Duration),
    ) -> Result<Reached, Error> {
        let store = &self.parts.store;
        let machines = store.machines_healthy(scope, bundle.class, replayed.period).await?;
        let rules = self.config.persistence;
        let fresh = |_: MachineId| Machine::new(&rules, step);
        let of_machines = self.go_through(scope, &machines, (replayed, step), fresh).await?;
        let mut reached = Reached::default();
        for machine in of_machines.into_values().filter(|machine| machine.readings > 0) {
            reached.add(machine);
        }
        Ok(reached)
    }
}

impl Reached {
    fn add(&mut self, machine: Machine) {
        for of in machine.detectors {
            *self.scores.entry(of.detector).or_default() += of.scores;
            self.largest
                .entry(of.detector)
                .or_default()
                .extend(of.largest.largest());
        }
        self.readings += machine.readings;
        self.sensors += machine.sensors.len() as u64;
        self.machines += 1;
        self.window = around(self.window, machine.window);
    }

    /// Each machine's largest k-th of n of a detector; machines with fewer than n steps say nothing.
    pub(crate) fn largest(&self, detector: Detector) -> &[f32] {
        self.largest.get(&detector).map_or(&[], Vec::as_slice)
    }

    /// Scores of a detector that were looked at.
    pub(crate) fn scores(&self, detector: Detector) -> u64 {
        self.scores.get(&detector).copied().unwrap_or_default()
    }
}

impl Machine {
    fn new(rules: &Persistence, step: Duration) -> Self {
        let detectors = detectors().map(|detector| OfDetector {
            detector,
            largest: LargestKthOfN::new(rules, step),
            scores: 0,
        });
        Self {
            detectors: detectors.collect(),
            sensors: BTreeSet::new(),
            readings: 0,
            window: None,
        }
    }
}

impl Taking for Machine {
    fn take(&mut self, _: MachineId, score: &LoggedScore) {
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
