//! The fold of one machine's readings over a long time, at the price of a healthy machine.
//!
//! A healthy machine has nothing open and nothing flagged, and the fold of such readings decides nothing. So they are
//! only remembered, for as long as a window can reach back, and folded once a flagged one arrives: what the services do
//! when they lock a machine only then.
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
    /// What a window can still reach, while nothing is folded.
    recent: VecDeque<JudgedReading>,
    newest: Timestamp,
    /// The fold at work, and until when it must be.
    fold: Option<(MachineFold, Timestamp)>,
}

impl Vigil {
    /// A machine with nothing open and no past.
    pub fn new(persistence: Persistence, step: Duration) -> Self {
        Self {
            persistence,
            step,
            recent: VecDeque::new(),
            newest: Timestamp::MIN,
            fold: None,
        }
    }

    /// The severity of the open incident.
    pub fn open(&self) -> Option<Severity> {
        self.fold.as_ref().and_then(|(fold, _)| fold.open())
    }

    /// Takes the next reading; answers with what it did and the start of its step.
    pub fn arrive(&mut self, reading: JudgedReading) -> Option<(Timestamp, Transition)> {
        let (window, transition) = self.fold(reading)?;
        Some((window.step.start, transition))
    }

    /// Takes the next reading; answers with what it did and the window that says why.
    pub fn fold(&mut self, reading: JudgedReading) -> Option<(Window, Transition)> {
        let at = reading.key.captured_at;
        self.newest = self.newest.max(at);
        let reach = self.persistence.reach_back(Some(Severity::Page), self.step) + self.step;
        if reading.level.is_some_and(|(level, _)| level >= Level::ALERT) {
            let until = self.newest + reach;
            if let Some((_, hot)) = &mut self.fold {
                *hot = until;
            } else {
                let past = self.recent.drain(..);
                let fold = MachineFold::resume(self.persistence, self.step, None, past);
                self.fold = Some((fold, until));
            }
        }
        self.remember(reading, reach);
        let (fold, hot) = self.fold.as_mut()?;
        let arrival = fold.arrive(reading, Effect::Acts);
        if fold.open().is_none() && at > *hot {
            self.fold = None;
        }
        match arrival {
            Arrival::Folded { window, transition } => Some((window, transition?)),
            Arrival::Late => None,
        }
    }

    /// Readings a later window may need, whether or not a fold is at work.
    fn remember(&mut self, reading: JudgedReading, reach: Duration) {
        self.recent.push_back(reading);
        let oldest = self.newest - (reach + self.step);
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
