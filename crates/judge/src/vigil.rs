//! The fold of one machine's readings over a long time, at the price of a healthy machine.
//!
//! Nothing opens before k of the last n steps stand at a line, and a step stands there only if one of its readings does.
//! So while nothing is open and fewer than k flagged readings lie within a window's reach, readings are only remembered,
//! for as long as a window can reach back, and folded once there are k.
//!
//! **Invariant:** the transitions are those of [`MachineFold`] fed with every reading.

use std::collections::VecDeque;
use std::time::Duration;

use tocsin_domain::{Level, Severity, Timestamp};

use crate::fold::{Arrival, Effect, MachineFold, Transition, Window};
use crate::{JudgedReading, Persistence};

/// A machine under watch.
#[derive(Debug, Clone)]
pub struct Vigil {
    persistence: Persistence,
    step: Duration,
    /// How far back a reading can still matter.
    reach: Duration,
    /// How far back the steps go that open an incident together.
    opening_reach: Duration,
    /// What a window can still reach, while nothing is folded.
    recent: VecDeque<JudgedReading>,
    /// When readings at or above the alert line were captured, as far as they can open anything.
    flagged: VecDeque<Timestamp>,
    newest: Timestamp,
    /// The fold at work.
    fold: Option<MachineFold>,
}

impl Vigil {
    /// A machine with nothing open and no past.
    pub fn new(persistence: Persistence, step: Duration) -> Self {
        Self {
            persistence,
            step,
            reach: persistence.reach_back(Some(Severity::Page), step) + 2 * step,
            opening_reach: Persistence::reach(persistence.n, step) + step,
            recent: VecDeque::new(),
            flagged: VecDeque::new(),
            newest: Timestamp::MIN,
            fold: None,
        }
    }

    /// The severity of the open incident.
    pub fn open(&self) -> Option<Severity> {
        self.fold.as_ref().and_then(MachineFold::open)
    }

    /// Whether a reading that can't open anything would only be remembered.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.fold.is_none()
    }

    /// How long before the newest reading one is forgotten.
    pub(crate) fn reach(&self) -> Duration {
        self.reach
    }

    /// Takes the next reading; answers with what it did and the start of its step.
    pub fn arrive(&mut self, reading: JudgedReading) -> Option<(Timestamp, Transition)> {
        let (window, transition) = self.fold(reading)?;
        Some((window.step.start, transition))
    }

    /// Takes the next reading; answers with what it did and the window that says why.
    pub fn fold(&mut self, reading: JudgedReading) -> Option<(Window, Transition)> {
        self.notice(&reading);
        self.take_noticed(reading)
    }

    /// Notices the next reading, and whether something may open with it; if so, or while a fold is at work, it is to be
    /// taken at once.
    pub(crate) fn notice(&mut self, reading: &JudgedReading) -> bool {
        self.newest = self.newest.max(reading.key.captured_at);
        self.note_flag(reading);
        self.may_open()
    }

    /// Takes the reading that was just noticed.
    pub(crate) fn take_noticed(&mut self, reading: JudgedReading) -> Option<(Window, Transition)> {
        let may_open = self.may_open();
        if may_open && self.fold.is_none() {
            let past = self.recent.iter().copied();
            self.fold = Some(MachineFold::resume(self.persistence, self.step, None, past));
        }
        self.remember(reading);
        let fold = self.fold.as_mut()?;
        let arrival = fold.arrive(reading, Effect::Acts);
        if fold.open().is_none() && !may_open {
            self.fold = None;
        }
        match arrival {
            Arrival::Folded { window, transition } => Some((window, transition?)),
            Arrival::Late => None,
        }
    }

    fn may_open(&self) -> bool {
        self.flagged.len() >= self.persistence.k as usize
    }

    fn note_flag(&mut self, reading: &JudgedReading) {
        if reading.level.is_some_and(|(level, _)| level >= Level::ALERT) {
            self.flagged.push_back(reading.key.captured_at);
        }
        let oldest = self.newest - self.opening_reach;
        while self.flagged.front().is_some_and(|first| *first < oldest) {
            self.flagged.pop_front();
        }
    }

    /// Readings a later window may need, whether or not a fold is at work.
    pub(crate) fn remember(&mut self, reading: JudgedReading) {
        self.recent.push_back(reading);
        let oldest = self.newest - self.reach;
        while self.recent.front().is_some_and(|first| first.key.captured_at < oldest) {
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::{STEP, reading};
    use proptest::prelude::*;

    fn plainly(rules: Persistence, readings: &[JudgedReading]) -> Vec<(Timestamp, Transition)> {
        let mut fold = MachineFold::resume(rules, STEP, None, []);
        let done = readings.iter().filter_map(|r| match fold.arrive(*r, Effect::Acts) {
            Arrival::Folded { window, transition } => Some((window.step.start, transition?)),
            Arrival::Late => None,
        });
        done.collect()
    }

    proptest! {
        #[test]
        fn it_does_what_the_fold_of_every_reading_does(
            runs in prop::collection::vec((1_usize..30, 0_f32..2.6, 0_i64..3, any::<bool>()), 1..20),
            open_min_s in 0_u32..300,
            clear_min_s in 0_u32..600,
        ) {
            let rules = Persistence {
                open_min_s,
                clear_min_s,
                ..Persistence::default()
            };
            let (mut second, mut readings) = (0, Vec::new());
            for (length, level, sensors, judged) in runs {
                for nth in 0..length {
                    second += 10;
                    for sensor in 0..=sensors {
                        // A level that falls below the line every third step, so that windows are mixed.
                        let level = if nth % 3 == 2 { 0.3 } else { level };
                        readings.push(reading(sensor as i32, second + sensor, judged.then_some(level)));
                    }
                }
            }
            let mut vigil = Vigil::new(rules, STEP);
            let done: Vec<_> = readings.iter().filter_map(|r| vigil.arrive(*r)).collect();
            prop_assert_eq!(done, plainly(rules, &readings));
        }
    }
}
