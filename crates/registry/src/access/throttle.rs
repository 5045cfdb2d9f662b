//! Slows down guessing: after a few failed sign-ins with a name, further ones have to wait.
//!
//! Each name owes time (the generic cell rate algorithm of ITU-T I.371): an attempt adds a fixed cost, the clock pays it
//! off. An attempt is charged before the password is checked, so that many at once gain nothing; success pays it back.
//! What is remembered is bounded: when it is full, the name that owes least is forgotten.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tocsin_domain::Timestamp;

use super::Config;

const MAX_NAMES: usize = 4096;

#[derive(Debug)]
pub(super) struct Throttle {
    cost: Duration,
    /// The most a name may owe and still try.
    credit: Duration,
    /// When each name has paid everything off.
    clear_at: Mutex<HashMap<String, Timestamp>>,
}

impl Throttle {
    pub(super) fn new(config: &Config) -> Self {
        let cost = Duration::from_secs(config.forget_failure_s);
        let credit = cost * config.failed_sign_ins.saturating_sub(1);
        Self {
            cost,
            credit,
            clear_at: Mutex::default(),
        }
    }

    /// Charges an attempt; refused, the error is how long to wait.
    pub(super) fn attempt(&self, name: &str, now: Timestamp) -> Result<(), Duration> {
        let mut names = self.clear_at.lock().unwrap_or_else(PoisonError::into_inner);
        let clear_at = names.get(name).copied().unwrap_or(now).max(now);
        let owed = clear_at.since(now);
        if owed > self.credit {
            return Err(owed.checked_sub(self.credit).unwrap());
        }
        if names.len() >= MAX_NAMES && !names.contains_key(name) {
            names.retain(|_, clear_at| *clear_at > now);
            if names.len() >= MAX_NAMES
                && let Some(least) = names
                    .iter()
                    .min_by_key(|(_, clear_at)| **clear_at)
                    .map(|(name, _)| name.clone())
            {
                names.remove(&least);
            }
        }
        names.insert(name.to_owned(), clear_at + self.cost);
        Ok(())
    }

    /// The attempt was good: the name owes nothing.
    pub(super) fn succeeded(&self, name: &str) {
        self.clear_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::MIN;

    fn throttle() -> Throttle {
        Throttle::new(&Config {
            failed_sign_ins: 3,
            forget_failure_s: 10,
            ..Config::default()
        })
    }

    #[test]
    fn after_the_allowed_failures_one_more_attempt_comes_free_per_interval() {
        let throttle = throttle();
        for _ in 0..3 {
            throttle.attempt("ana", NOW).unwrap();
        }
        assert_eq!(throttle.attempt("ana", NOW), Err(Duration::from_secs(10)));
        throttle.attempt("bo", NOW).unwrap();
        let later = NOW + Duration::from_secs(10);
        throttle.attempt("ana", later).unwrap();
        assert_eq!(throttle.attempt("ana", later), Err(Duration::from_secs(10)));
    }

    #[test]
    fn a_good_sign_in_forgives_the_failures_before_it() {
        let throttle = throttle();
        for _ in 0..3 {
            throttle.attempt("ana", NOW).unwrap();
        }
        throttle.succeeded("ana");
        throttle.attempt("ana", NOW).unwrap();
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_the_name_that_owes_most() {
        let throttle = throttle();
        for _ in 0..3 {
            throttle.attempt("ana", NOW).unwrap();
        }
        for i in 0..MAX_NAMES + 10 {
            throttle.attempt(&format!("name{i}"), NOW).unwrap();
        }
        assert_eq!(throttle.clear_at.lock().unwrap().len(), MAX_NAMES);
        assert!(throttle.attempt("ana", NOW).is_err());
    }
}
