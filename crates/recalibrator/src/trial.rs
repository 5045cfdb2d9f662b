//! What a set would have done over scores that are known.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_domain::{MachineId, Timestamp, Verdict};
use tocsin_judge::ThresholdSet;
use tocsin_judge::replay::{ReplayedIncident, ScoredReading, replay};

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

impl Trial {
    /// Replays `readings`, in order of capture.
    pub(crate) fn run(
        set: &ThresholdSet,
        step: Duration,
        readings: &[ScoredReading],
        (by, at): (String, Timestamp),
    ) -> Self {
        let incidents = replay(set, step, readings);
        let pages = incidents.iter().filter(|incident| incident.paged_at.is_some()).count() as u64;
        let mut at_line = [0u64; 2];
        for reading in readings {
            match set.judge(&reading.scores, reading.state, reading.degraded).verdict {
                Verdict::Alert { .. } => at_line[0] += 1,
                Verdict::Page { .. } => at_line[1] += 1,
                Verdict::Normal { .. } | Verdict::Unjudged { .. } => {}
            }
        }
        let (steps, under_page) = steps_under_page(step, readings, &incidents);
        Self {
            by,
            at,
            in_sample: true,
            readings: readings.len() as u64,
            readings_at_alert: at_line[0],
            readings_at_page: at_line[1],
            incidents: incidents.len() as u64,
            pages,
            pages_per_1000_readings: ratio(pages * 1_000, readings.len() as u64),
            machine_hours: steps as f64 * step.as_secs_f64() / 3_600.0,
            share_of_time_under_page: ratio(under_page, steps),
        }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Machine steps with readings, and those of them under a page.
fn steps_under_page(step: Duration, readings: &[ScoredReading], incidents: &[ReplayedIncident]) -> (u64, u64) {
    let mut steps: BTreeMap<MachineId, BTreeSet<Timestamp>> = BTreeMap::new();
    for reading in readings {
        steps
            .entry(reading.machine)
            .or_default()
            .insert(reading.key.captured_at.floor_to(step));
    }
    let all = steps.values().map(BTreeSet::len).sum::<usize>();
    let under_page: usize = incidents
        .iter()
        .filter_map(|incident| {
            let from = incident.paged_at?;
            let to = incident.closed_at.unwrap_or(Timestamp::MAX);
            Some(steps.get(&incident.machine)?.range(from..to).count())
        })
        .sum();
    (all as u64, under_page as u64)
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
        let trial = Trial::run(&set(), STEP, &all, ("ana".into(), Timestamp::MIN));
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
        let trial = Trial::run(&set(), STEP, &[], ("ana".into(), Timestamp::MIN));
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
