//! What the healthy machines of a class reached by the persistence rules: what limits by fleet replay are multiples of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tocsin_domain::{Detector, MachineId, OperatingState, Scope, SensorId, Timestamp, Verdict};
use tocsin_judge::Persistence;
use tocsin_judge::fleet_replay::{History, largest_kth_of_n};
use tocsin_store::Store;
use tocsin_store::bundle::Bundle;
use tocsin_store::reading::{MachineScoresQuery, StoredReading};

use crate::progress::Progress;
use crate::{Config, Error};

/// Rows asked of the database at once.
const PAGE_ROWS: u32 = 20_000;

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
#[derive(Debug, Default)]
struct Machine {
    histories: BTreeMap<Detector, History>,
    sensors: BTreeSet<SensorId>,
    readings: u64,
    window: Option<(Timestamp, Timestamp)>,
}

impl Reached {
    /// From the scores that `bundle`'s class logged in a period against the baselines active now, machine after machine:
    /// no more than one is held in memory. Machines that had an incident in the period are left out.
    pub(crate) async fn in_period(
        store: &Store,
        scope: &Scope,
        bundle: &Bundle,
        period: (Timestamp, Timestamp),
        (config, step): (&Config, Duration),
        progress: &Progress,
    ) -> Result<Self, Error> {
        let mut reached = Self::default();
        let machines = store.machines_healthy(scope, bundle.class, period).await?;
        progress.expect(machines.len());
        for machine in machines {
            let scored = Machine::read(store, scope, (machine, bundle), period, config).await?;
            progress.read(1);
            if scored.readings > 0 {
                let rules = config.persistence;
                reached = tokio::task::spawn_blocking(move || reached.with(scored, &rules, step)).await?;
            }
        }
        Ok(reached)
    }

    fn with(mut self, machine: Machine, rules: &Persistence, step: Duration) -> Self {
        for (detector, history) in machine.histories {
            *self.scores.entry(detector).or_default() += history.len() as u64;
            let largest = largest_kth_of_n(&history, rules, step);
            self.largest.entry(detector).or_default().extend(largest);
        }
        self.readings += machine.readings;
        self.sensors += machine.sensors.len() as u64;
        self.machines += 1;
        self.window = around(self.window, machine.window);
        self
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
    async fn read(
        store: &Store,
        scope: &Scope,
        (machine, bundle): (MachineId, &Bundle),
        (from, to): (Timestamp, Timestamp),
        config: &Config,
    ) -> Result<Self, Error> {
        let mut read = Self::default();
        let mut query = MachineScoresQuery {
            machine,
            bundle: bundle.id,
            from,
            to,
            after: None,
            limit: PAGE_ROWS,
        };
        loop {
            let page = store.scores_against_baseline(scope, &query).await?;
            let judged = page.readings.iter();
            // In an unseen condition scores are extrapolated, and say nothing of what health reaches.
            let usable =
                |r: &&StoredReading| r.state == OperatingState::Known && !matches!(r.verdict, Verdict::Unjudged { .. });
            for reading in judged.filter(usable) {
                for detector in detectors() {
                    let history = read.histories.entry(detector).or_default();
                    history.extend(reading.scores.get(detector).map(|score| (reading.key, score)));
                }
                let at = reading.key.captured_at;
                read.sensors.insert(reading.key.sensor);
                read.window = around(read.window, Some((at, at)));
                read.readings += 1;
            }
            let limit = config.logged_readings_limit;
            if read.readings > u64::from(limit) {
                return Err(Error::TooManyScores { limit });
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(read),
            }
        }
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
