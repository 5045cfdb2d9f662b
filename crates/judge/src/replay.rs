//! Causal replay: what would a threshold set have opened over readings whose scores are known?

use std::collections::BTreeMap;
use std::time::Duration;

use tocsin_domain::{Detector, MachineId, OperatingState, ReadingKey, Scores, Severity, Timestamp};

use crate::fold::{Arrival, Effect, MachineFold, Transition};
use crate::{JudgedReading, ThresholdSet};

/// A reading whose scores are logged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoredReading {
    /// The machine.
    pub machine: MachineId,
    /// Sensor and capture time.
    pub key: ReadingKey,
    /// Raw scores.
    pub scores: Scores,
    /// What its machine was doing.
    pub state: OperatingState,
    /// Judged without the network.
    pub degraded: bool,
}

/// An incident that the replay opened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReplayedIncident {
    /// The machine.
    pub machine: MachineId,
    /// The step that opened it.
    pub opened_at: Timestamp,
    /// The step that brought it to page level, if any did.
    pub paged_at: Option<Timestamp>,
    /// The step that cleared it, if any did.
    pub closed_at: Option<Timestamp>,
    /// The detector that decided the opening step.
    pub detector: Detector,
}

/// Judges and folds `readings`, which must be in order of capture, machine by machine.
pub fn replay(set: &ThresholdSet, step: Duration, readings: &[ScoredReading]) -> Vec<ReplayedIncident> {
    let mut folds: BTreeMap<MachineId, (MachineFold, Option<usize>)> = BTreeMap::new();
    let mut incidents: Vec<ReplayedIncident> = Vec::new();
    for reading in readings {
        let (fold, open) = folds
            .entry(reading.machine)
            .or_insert_with(|| (MachineFold::resume(set.persistence, step, None, []), None));
        let judgement = set.judge(&reading.scores, reading.state, reading.degraded);
        let arrival = fold.arrive(JudgedReading::new(reading.key, &judgement), Effect::Acts);
        let Arrival::Folded {
            window,
            transition: Some(transition),
        } = arrival
        else {
            continue;
        };
        let at = window.step.start;
        match transition {
            Transition::Opened(severity) => {
                *open = Some(incidents.len());
                incidents.push(ReplayedIncident {
                    machine: reading.machine,
                    opened_at: at,
                    paged_at: (severity == Severity::Page).then_some(at),
                    closed_at: None,
                    detector: window.step.level.expect("an unjudged step opens nothing").detector,
                });
            }
            Transition::Escalated => {
                if let Some(open) = *open {
                    incidents[open].paged_at = Some(at);
                }
            }
            Transition::Cleared => {
                if let Some(open) = open.take() {
                    incidents[open].closed_at = Some(at);
                }
            }
        }
    }
    incidents
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::STEP;
    use crate::threshold_set::tests::{healthy, set};
    use tocsin_domain::SensorId;

    fn reading(second: i64, residual: f32) -> ScoredReading {
        let mut scores = Scores::default();
        scores.set(Detector::Residual, residual);
        ScoredReading {
            machine: MachineId(1),
            key: ReadingKey {
                sensor: SensorId(1),
                captured_at: Timestamp::from_micros(second * 1_000_000),
            },
            scores,
            state: OperatingState::Known,
            degraded: false,
        }
    }

    #[test]
    fn a_failing_machine_is_found_and_a_repaired_one_clears() {
        let quiet = (0..50).map(|i| reading(i * 10, 0.4));
        let failing = (50..60).map(|i| reading(i * 10, 30.0));
        let repaired = (60..90).map(|i| reading(i * 10, 0.4));
        let readings: Vec<_> = quiet.chain(failing).chain(repaired).collect();
        let incidents = replay(&set(), STEP, &readings);
        assert_eq!(incidents.len(), 1);
        assert_eq!(incidents[0].paged_at, Some(Timestamp::from_micros(540_000_000)));
        assert_eq!(incidents[0].closed_at, Some(Timestamp::from_micros(790_000_000)));
    }

    #[test]
    fn the_healthy_scores_behind_a_set_open_nothing_when_they_come_in_no_order() {
        let scores = healthy(4000);
        let readings: Vec<_> = (0..4000u64)
            .map(|i| {
                let shuffled = (i * 1777 % 4000) as usize;
                reading(i as i64 * 10, scores[shuffled].get(Detector::Residual).unwrap())
            })
            .collect();
        assert_eq!(replay(&set(), STEP, &readings), []);
    }
}
