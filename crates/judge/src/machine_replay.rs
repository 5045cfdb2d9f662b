//! Causal replay of one machine after the other, in bounded memory: what would limits have opened over a long period?
//!
//! Readings arrive one by one in order of capture and are forgotten once no window can reach them ([`Vigil`]). What
//! stays are the incidents and a count of judged steps. Of a reading below every alert line, no level is computed
//! ([`QuietLines`]) before a later one wakes the fold: of a healthy fleet's, hardly any.
//!
//! **Invariant:** the incidents are those of [`replay`](crate::replay::replay) over the same readings.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tocsin_domain::{MachineId, ReadingKey, Severity, Timestamp};

use crate::fold::{Transition, Window};
use crate::quiet_lines::QuietLines;
use crate::replay::{ReplayedIncident, ScoredReading};
use crate::{JudgedReading, ThresholdSet, Vigil};

/// A reading that opened nothing.
#[derive(Debug, Clone, Copy)]
enum Kept {
    /// Below every alert line.
    Quiet(ScoredReading),
    Judged(JudgedReading),
}

/// A machine under limits on trial.
#[derive(Debug, Clone)]
pub struct MachineReplay {
    machine: MachineId,
    set: Arc<ThresholdSet>,
    quiet_lines: QuietLines,
    step: Duration,
    vigil: Vigil,
    /// What the vigil will have to remember once it wakes.
    kept: VecDeque<Kept>,
    incidents: Vec<ReplayedIncident>,
    readings: u64,
    judged_steps: u64,
    newest_judged: Option<Timestamp>,
}

impl MachineReplay {
    /// A machine with nothing open and no past.
    pub fn new(machine: MachineId, set: Arc<ThresholdSet>, step: Duration) -> Self {
        Self {
            machine,
            vigil: Vigil::new(set.persistence, step),
            quiet_lines: QuietLines::of(&set),
            kept: VecDeque::new(),
            set,
            step,
            incidents: Vec::new(),
            readings: 0,
            judged_steps: 0,
            newest_judged: None,
        }
    }

    /// Judges and folds the next reading of the machine in order of capture.
    pub fn take(&mut self, reading: &ScoredReading) {
        if self.vigil.is_at_rest() && self.quiet_lines.are_above(reading) {
            self.count(reading.key, true);
            self.keep(Kept::Quiet(*reading));
        } else {
            self.fold(self.judged(reading));
        }
    }

    /// Folds a reading that could not be judged, whatever the limits: the machine stood still, or was in transit.
    pub fn take_unjudged(&mut self, key: ReadingKey) {
        self.fold(JudgedReading { key, level: None });
    }

    /// The incidents so far, by the time they opened.
    pub fn incidents(&self) -> &[ReplayedIncident] {
        &self.incidents
    }

    /// Readings taken, judged or not.
    pub fn readings(&self) -> u64 {
        self.readings
    }

    /// Steps with a judged reading, in hours.
    pub fn machine_hours(&self) -> f64 {
        self.judged_steps as f64 * self.step.as_secs_f64() / 3_600.0
    }

    fn judged(&self, reading: &ScoredReading) -> JudgedReading {
        JudgedReading {
            key: reading.key,
            level: self.set.level(&reading.scores, reading.state, reading.degraded),
        }
    }

    fn count(&mut self, key: ReadingKey, is_judged: bool) {
        self.readings += 1;
        // Most readings lie in a step that is none's before.
        let is_new = |newest: Timestamp| newest + self.step <= key.captured_at;
        if is_judged && self.newest_judged.is_none_or(is_new) {
            self.newest_judged = Some(key.captured_at.floor_to(self.step));
            self.judged_steps += 1;
        }
    }

    /// Keeps a reading for as long as a window can reach back.
    fn keep(&mut self, reading: Kept) {
        let oldest = reading.captured_at() - self.vigil.reach();
        while self.kept.front().is_some_and(|first| first.captured_at() < oldest) {
            self.kept.pop_front();
        }
        self.kept.push_back(reading);
    }

    fn fold(&mut self, reading: JudgedReading) {
        self.count(reading.key, reading.level.is_some());
        let may_open = self.vigil.notice(&reading);
        if self.vigil.is_at_rest() && !may_open {
            self.keep(Kept::Judged(reading));
            return;
        }
        while let Some(kept) = self.kept.pop_front() {
            let judged = match kept {
                Kept::Quiet(quiet) => self.judged(&quiet),
                Kept::Judged(judged) => judged,
            };
            self.vigil.remember(judged);
        }
        if let Some((window, transition)) = self.vigil.take_noticed(reading) {
            self.note(&window, transition);
        }
    }

    fn note(&mut self, window: &Window, transition: Transition) {
        let at = window.step.start;
        match (transition, self.incidents.last_mut()) {
            (Transition::Opened(severity), _) => self.incidents.push(ReplayedIncident {
                machine: self.machine,
                opened_at: at,
                paged_at: (severity == Severity::Page).then_some(at),
                closed_at: None,
                detector: window.step.level.expect("an unjudged step opens nothing").detector,
            }),
            (Transition::Escalated, Some(open)) => open.paged_at = Some(at),
            (Transition::Cleared, Some(open)) => open.closed_at = Some(at),
            (Transition::Escalated | Transition::Cleared, None) => unreachable!("nothing is open before the first"),
        }
    }
}

impl Kept {
    fn captured_at(&self) -> Timestamp {
        match self {
            Self::Quiet(reading) => reading.key.captured_at,
            Self::Judged(reading) => reading.key.captured_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::replay;
    use crate::step::tests::STEP;
    use crate::threshold_set::tests::set;
    use proptest::prelude::*;
    use tocsin_domain::{Detector, OperatingState, Scores, SensorId};

    fn reading(machine: i32, sensor: i32, second: i64, residual: f32) -> ScoredReading {
        let mut scores = Scores::default();
        scores.set(Detector::Residual, residual);
        ScoredReading {
            machine: MachineId(machine),
            key: ReadingKey {
                sensor: SensorId(sensor),
                captured_at: Timestamp::from_micros(second * 1_000_000),
            },
            scores,
            state: OperatingState::Known,
            degraded: false,
        }
    }

    fn replayed(readings: &[ScoredReading]) -> MachineReplay {
        let mut machine = MachineReplay::new(MachineId(1), Arc::new(set()), STEP);
        for reading in readings {
            machine.take(reading);
        }
        machine
    }

    #[test]
    fn a_step_of_two_sensors_counts_once_and_one_without_a_judgement_not_at_all() {
        let mut machine = replayed(&[reading(1, 1, 0, 0.5), reading(1, 2, 3, 0.5), reading(1, 1, 10, 0.5)]);
        machine.take_unjudged(reading(1, 1, 20, 0.5).key);
        assert_eq!(machine.readings(), 4);
        assert!((machine.machine_hours() - 20.0 / 3_600.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn one_machine_after_the_other_opens_what_all_together_do(
            runs in prop::collection::vec((1_usize..40, 0_f32..12.0, 1_i64..4), 1..16),
        ) {
            let (mut second, mut readings) = (0, Vec::new());
            for (length, residual, sensors) in runs {
                for nth in 0..length {
                    second += 10;
                    let residual = if nth % 4 == 3 { 0.3 } else { residual };
                    readings.extend((0..sensors).map(|sensor| reading(1, sensor as i32, second + sensor, residual)));
                }
            }
            let machine = replayed(&readings);
            prop_assert_eq!(machine.incidents(), replay(&set(), STEP, &readings));
        }
    }
}
