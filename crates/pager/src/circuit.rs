//! A destination that does not answer is left alone for a while, as a whole, so that its pages don't spend their attempts
//! on it one by one: after some failures in a row its circuit opens and nothing is sent; after a pause one page probes;
//! when that fails the pause doubles, when it is answered everything goes out again.
//!
//! What a receiver says of the page itself (most of 4xx) is an answer: it fails the page, not the destination.

use std::time::Duration;

use rand::Rng;
use tocsin_domain::Timestamp;

use crate::Config;
use crate::attempt::{Outcome, backoff};

/// How a destination has answered lately.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Circuit {
    failures_in_a_row: u32,
    /// How often it opened, or stayed open after a probe, since the last answer; 0 when it is closed.
    times_open: u32,
    /// Nothing is sent before this time.
    until: Option<Timestamp>,
}

/// What an attempt changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// It opened, or stays open after a probe: nothing is sent for this long.
    Opened(Duration),
    Closed,
}

impl Circuit {
    pub(crate) fn is_open(&self) -> bool {
        self.times_open > 0
    }

    /// How many of `room` more attempts may begin, with `under_way` that have.
    pub(crate) fn room(&self, room: usize, under_way: usize, now: Timestamp) -> usize {
        if self.until.is_some_and(|until| now < until) {
            0
        } else if self.is_open() {
            room.min(1usize.saturating_sub(under_way))
        } else {
            room
        }
    }

    /// How long nothing is sent yet.
    pub(crate) fn wait(&self, now: Timestamp) -> Option<Duration> {
        let wait = self.until?.since(now);
        (!wait.is_zero()).then_some(wait)
    }

    /// Takes note of how an attempt ended.
    pub(crate) fn note(&mut self, outcome: &Outcome, now: Timestamp, config: &Config, rng: &mut impl Rng) -> Change {
        let asked = match outcome {
            Outcome::Delivered | Outcome::Partial { .. } | Outcome::Refused { permanent: true, .. } => {
                return self.answered();
            }
            Outcome::Refused { permanent: false, wait } => *wait,
            Outcome::Unknown => None,
        };
        // A receiver that asks for time is left alone by all its pages, not only by the one it told.
        let asked = asked.map(|wait| now + wait.min(config.backoff_limit()));
        let is_waiting = self.until.is_some_and(|until| now < until);
        self.until = self.until.max(asked);
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        // What was under way when it opened says nothing new.
        if self.failures_in_a_row < config.circuit_after_failures || (self.is_open() && is_waiting) {
            return Change::None;
        }
        self.times_open = self.times_open.saturating_add(1);
        self.until = self.until.max(Some(now + backoff(self.times_open, config, rng)));
        Change::Opened(self.wait(now).unwrap_or_default())
    }

    fn answered(&mut self) -> Change {
        let was_open = self.is_open();
        *self = Self::default();
        if was_open { Change::Closed } else { Change::None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    const REFUSED: Outcome = Outcome::Refused {
        permanent: false,
        wait: None,
    };
    const REJECTED: Outcome = Outcome::Refused {
        permanent: true,
        wait: None,
    };

    fn config() -> Config {
        Config {
            circuit_after_failures: 3,
            backoff_first_ms: 1_000,
            backoff_limit_ms: 60_000,
            ..Config::default()
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_probes_once_and_closes_with_an_answer() {
        let (config, mut rng, mut circuit) = (config(), StdRng::seed_from_u64(1), Circuit::default());
        let mut note = |circuit: &mut Circuit, outcome, second| circuit.note(outcome, at(second), &config, &mut rng);
        for outcome in [&REFUSED, &Outcome::Unknown, &Outcome::Delivered, &REFUSED, &REFUSED] {
            assert_eq!(note(&mut circuit, outcome, 0), Change::None);
        }
        assert_eq!(circuit.room(8, 2, at(0)), 8);
        assert!(
            matches!(note(&mut circuit, &Outcome::Unknown, 0), Change::Opened(pause) if pause.as_secs_f64() <= 1.0)
        );
        assert_eq!(circuit.room(8, 0, at(0)), 0);
        // What was under way at the time changes nothing.
        assert_eq!(note(&mut circuit, &REFUSED, 0), Change::None);
        assert_eq!((circuit.room(8, 0, at(1)), circuit.room(8, 1, at(1))), (1, 0));
        assert!(matches!(note(&mut circuit, &REFUSED, 1), Change::Opened(pause) if pause >= Duration::from_secs(1)));
        assert_eq!(circuit.room(8, 0, at(1)), 0);
        assert_eq!(note(&mut circuit, &Outcome::Delivered, 4), Change::Closed);
        assert_eq!((circuit.room(8, 0, at(4)), circuit.wait(at(4))), (8, None));
    }

    #[test]
    fn what_is_wrong_with_a_page_opens_nothing() {
        let (config, mut rng, mut circuit) = (config(), StdRng::seed_from_u64(1), Circuit::default());
        for _ in 0..20 {
            assert_eq!(circuit.note(&REJECTED, at(0), &config, &mut rng), Change::None);
        }
        assert_eq!(circuit, Circuit::default());
    }

    #[test]
    fn the_pause_doubles_up_to_the_limit() {
        let (config, mut rng, mut circuit) = (config(), StdRng::seed_from_u64(1), Circuit::default());
        let mut second = 0;
        for _ in 0..40 {
            circuit.note(&REFUSED, at(second), &config, &mut rng);
            second += 60;
        }
        let pause = circuit.wait(at(second - 60)).unwrap();
        assert!((30..=60).contains(&pause.as_secs()), "{pause:?}");
    }

    #[test]
    fn a_wait_that_is_asked_for_holds_every_page_up_to_the_limit_and_opens_nothing() {
        let (config, mut rng, mut circuit) = (config(), StdRng::seed_from_u64(1), Circuit::default());
        let asks = |seconds| Outcome::Refused {
            permanent: false,
            wait: Some(Duration::from_secs(seconds)),
        };
        assert_eq!(circuit.note(&asks(20), at(0), &config, &mut rng), Change::None);
        assert_eq!((circuit.room(8, 0, at(19)), circuit.room(8, 0, at(20))), (0, 8));
        circuit.note(&asks(7_200), at(20), &config, &mut rng);
        assert_eq!((circuit.room(8, 0, at(79)), circuit.room(8, 0, at(80))), (0, 8));
        assert!(!circuit.is_open());
    }
}
