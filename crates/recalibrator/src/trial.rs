//! What a set would have done over scores that are known.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_archive::Replayed;
use tocsin_domain::{Level, MachineId, Scope, Timestamp};
use tocsin_judge::replay::{ReplayedIncident, ScoredReading};
use tocsin_judge::{MachineReplay, ThresholdSet};
use tocsin_store::bundle::Bundle;
use tocsin_store::reading::LoggedScore;

use crate::replay::Taking;
use crate::scores::{NONE_LOGGED, is_judged, scored};
use crate::{Error, Service};

/// What a threshold set would have opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Who asked.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// The set was computed from these very scores, so it flatters itself.
    pub in_sample: bool,
    /// Readings replayed.
    pub readings: u64,
    /// Readings at alert level, and not at page level.
    pub readings_at_alert: u64,
    /// Readings at page level.
    pub readings_at_page: u64,
    /// Incidents opened.
    pub incidents: u64,
    /// Those that reached page level.
    pub pages: u64,
    /// Pages per 1,000 readings.
    pub pages_per_1000_readings: f64,
    /// Machine steps replayed, in hours.
    pub machine_hours: f64,
    /// Share of the machine steps under a page, 0 to 1.
    pub share_of_time_under_page: f64,
}

/// A machine whose known scores come one by one, in order of capture; no more of them is kept than its windows can reach.
#[derive(Debug)]
pub(crate) struct OnTrial {
    set: Arc<ThresholdSet>,
    replay: MachineReplay,
    step: Duration,
    readings: u64,
    at_alert: u64,
    at_page: u64,
    /// Steps with readings, and those of them under a page, without the newest.
    steps: u64,
    under_page: u64,
    newest: Option<Timestamp>,
}

impl OnTrial {
    /// A machine under `set`, whose class decides once a `step`.
    pub(crate) fn new(machine: MachineId, set: Arc<ThresholdSet>, step: Duration) -> Self {
        Self {
            replay: MachineReplay::new(machine, Arc::clone(&set), step),
            set,
            step,
            readings: 0,
            at_alert: 0,
            at_page: 0,
            steps: 0,
            under_page: 0,
            newest: None,
        }
    }

    fn judge(&mut self, reading: &ScoredReading) {
        let step = reading.key.captured_at.floor_to(self.step);
        if self.newest != Some(step) {
            self.close();
            self.newest = Some(step);
        }
        self.readings += 1;
        let level = self.set.level(&reading.scores, reading.state, reading.degraded);
        match level {
            Some((level, _)) if level >= Level::PAGE => self.at_page += 1,
            Some((level, _)) if level >= Level::ALERT => self.at_alert += 1,
            _ => {}
        }
        self.replay.take(reading);
    }

    /// The newest step is over.
    fn close(&mut self) {
        let Some(step) = self.newest.take() else { return };
        let paged = |incident: &ReplayedIncident| {
            let is_over = incident.closed_at.is_some_and(|closed| closed <= step);
            incident.paged_at.is_some_and(|paged| paged <= step) && !is_over
        };
        self.steps += 1;
        self.under_page += u64::from(self.replay.incidents().last().is_some_and(paged));
    }
}

impl Taking for OnTrial {
    fn take(&mut self, machine: MachineId, score: &LoggedScore) {
        if is_judged(score) {
            self.judge(&scored(machine, score));
        }
    }
}

impl Trial {
    /// Replays `readings`, in order of capture.
    pub(crate) fn run(
        set: &Arc<ThresholdSet>,
        step: Duration,
        readings: &[ScoredReading],
        who_when: (String, Timestamp),
    ) -> Self {
        let mut machines: BTreeMap<MachineId, OnTrial> = BTreeMap::new();
        for reading in readings {
            let fresh = || OnTrial::new(reading.machine, Arc::clone(set), step);
            machines.entry(reading.machine).or_insert_with(fresh).judge(reading);
        }
        Self::of(machines.into_values(), step, who_when)
    }

    /// What came of machines whose scores have all been taken.
    fn of(machines: impl Iterator<Item = OnTrial>, step: Duration, (by, at): (String, Timestamp)) -> Self {
        let mut trial = Self {
            by,
            at,
            in_sample: true,
            readings: 0,
            readings_at_alert: 0,
            readings_at_page: 0,
            incidents: 0,
            pages: 0,
            pages_per_1000_readings: 0.0,
            machine_hours: 0.0,
            share_of_time_under_page: 0.0,
        };
        let (mut steps, mut under_page) = (0, 0);
        for mut machine in machines {
            machine.close();
            let incidents = machine.replay.incidents();
            trial.readings += machine.readings;
            trial.readings_at_alert += machine.at_alert;
            trial.readings_at_page += machine.at_page;
            trial.incidents += incidents.len() as u64;
            trial.pages += incidents.iter().filter(|incident| incident.paged_at.is_some()).count() as u64;
            steps += machine.steps;
            under_page += machine.under_page;
        }
        trial.pages_per_1000_readings = ratio(trial.pages * 1_000, trial.readings);
        trial.machine_hours = steps as f64 * step.as_secs_f64() / 3_600.0;
        trial.share_of_time_under_page = ratio(under_page, steps);
        trial
    }
}

impl Service {
    /// What a set would have done over what its bundle logged in a period, hot and archived, on machines that nothing says
    /// were unhealthy, and not before a repair.
    pub(crate) async fn trial_over(
        &self,
        scope: &Scope,
        (bundle, set): (&Bundle, Arc<ThresholdSet>),
        replayed: Replayed,
        who_when: (String, Timestamp),
    ) -> Result<Trial, Error> {
        let store = &self.parts.store;
        let machines = store.machines_healthy(scope, bundle.class, replayed.period).await?;
        let step = store.class_by_id(bundle.class).await?.step;
        let fresh = |machine: MachineId| OnTrial::new(machine, Arc::clone(&set), step);
        let tried = self
            .go_through_health(scope, &machines, (replayed, step), fresh)
            .await?;
        let trial = Trial::of(tried.into_values(), step, who_when);
        if trial.readings == 0 {
            return Err(Error::NoScores(NONE_LOGGED));
        }
        Ok(trial)
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_domain::{Detector, OperatingState, ReadingKey, Scores, SensorId};
    use tocsin_judge::Persistence;

    const STEP: Duration = Duration::from_secs(10);

    fn scores(residual: f32) -> Scores {
        let mut scores = Scores::default();
        scores.set(Detector::Residual, residual);
        scores.set(Detector::OverallLevel, 0.5);
        scores
    }

    fn set() -> ThresholdSet {
        let healthy: Vec<Scores> = (0..4_000)
            .map(|i| {
                let exponential = -(1.0 - (f64::from(i) + 0.5) / 4_000.0).ln() as f32;
                let mut scores = scores(exponential);
                scores.set(Detector::OverallLevel, exponential);
                scores
            })
            .collect();
        ThresholdSet::from_healthy_percentiles(&healthy, Persistence::default()).unwrap()
    }

    fn readings(machine: i32, residuals: &[f32]) -> Vec<ScoredReading> {
        let reading = |(i, residual): (usize, &f32)| ScoredReading {
            machine: MachineId(machine),
            key: ReadingKey {
                sensor: SensorId(machine),
                captured_at: Timestamp::from_micros(i as i64 * 10_000_000),
            },
            scores: scores(*residual),
            state: OperatingState::Known,
            degraded: false,
        };
        residuals.iter().enumerate().map(reading).collect()
    }

    #[test]
    fn a_trial_counts_pages_and_the_time_under_them() {
        let mut failing = vec![0.5; 85];
        failing.extend([30.0; 15]);
        let mut all = readings(1, &failing);
        all.extend(readings(2, &[0.5; 100]));
        all.sort_by_key(|reading| reading.key.captured_at);
        let trial = Trial::run(&Arc::new(set()), STEP, &all, ("ana".into(), Timestamp::MIN));
        assert_eq!((trial.readings, trial.incidents, trial.pages), (200, 1, 1));
        assert_eq!((trial.readings_at_alert, trial.readings_at_page), (0, 15));
        assert!((trial.pages_per_1000_readings - 5.0).abs() < 1e-9);
        // Opened by the fifth of fifteen bad steps and still open at the end: eleven of two hundred steps.
        assert!(
            (trial.share_of_time_under_page - 11.0 / 200.0).abs() < 1e-9,
            "{trial:?}"
        );
        assert!((trial.machine_hours - 200.0 / 360.0).abs() < 1e-9);
    }

    #[test]
    fn a_trial_over_nothing_is_all_zero() {
        let trial = Trial::run(&Arc::new(set()), STEP, &[], ("ana".into(), Timestamp::MIN));
        assert_eq!(
            (
                trial.pages,
                trial.machine_hours.to_bits(),
                trial.share_of_time_under_page.to_bits()
            ),
            (0, 0, 0)
        );
    }
}
