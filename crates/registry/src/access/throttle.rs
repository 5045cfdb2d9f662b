//! Slows down guessing: after a few failed sign-ins with a name from an address, further ones have to wait.
//!
//! Each (name, address) owes time (the generic cell rate algorithm of ITU-T I.371): an attempt adds a fixed cost, the
//! clock pays it off. An attempt is charged before the password is checked, so that many at once gain nothing; success
//! pays it back. The name alone owes too, under a limit so much looser that a stranger who guesses from one address
//! keeps nobody out. What is remembered is bounded: when it is full, who owes least is forgotten.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tocsin_domain::Timestamp;

use super::Config;

const MAX_DEBTORS: usize = 4096;
/// Addresses that have to guess at a name together until the name has to wait everywhere.
const ADDRESSES_A_NAME: u32 = 20;

#[derive(Debug)]
pub(super) struct Throttle {
    addresses: Ledger<(String, Option<IpAddr>)>,
    names: Ledger<String>,
}

impl Throttle {
    pub(super) fn new(config: &Config) -> Self {
        let cost = Duration::from_secs(config.forget_failure_s);
        let attempts = config.failed_sign_ins;
        Self {
            addresses: Ledger::new(cost, attempts),
            names: Ledger::new(cost / ADDRESSES_A_NAME, attempts.saturating_mul(ADDRESSES_A_NAME)),
        }
    }

    /// Charges an attempt; refused, the error is how long to wait. Calls whose address isn't known share one.
    pub(super) fn attempt(&self, name: &str, from: Option<IpAddr>, now: Timestamp) -> Result<(), Duration> {
        // The address first: what it refuses must not add up against the name.
        self.addresses.charge((name.to_owned(), from.map(network)), now)?;
        self.names.charge(name.to_owned(), now)
    }

    /// The attempt was good: the name owes nothing, there and as a whole.
    pub(super) fn succeeded(&self, name: &str, from: Option<IpAddr>) {
        self.addresses.forgive(&(name.to_owned(), from.map(network)));
        self.names.forgive(&name.to_owned());
    }
}

/// What one subscriber has: an IPv4 address, or the /64 of an IPv6 one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Who owes how much.
#[derive(Debug)]
struct Ledger<K> {
    cost: Duration,
    /// The most one may owe and still try.
    credit: Duration,
    /// When each has paid everything off.
    clear_at: Mutex<HashMap<K, Timestamp>>,
}

impl<K: Clone + Eq + Hash> Ledger<K> {
    fn new(cost: Duration, attempts: u32) -> Self {
        Self {
            cost,
            credit: cost * attempts.saturating_sub(1),
            clear_at: Mutex::default(),
        }
    }

    fn charge(&self, debtor: K, now: Timestamp) -> Result<(), Duration> {
        let mut debtors = self.clear_at.lock().unwrap_or_else(PoisonError::into_inner);
        let clear_at = debtors.get(&debtor).copied().unwrap_or(now).max(now);
        let too_much = clear_at.since(now).saturating_sub(self.credit);
        if !too_much.is_zero() {
            return Err(too_much);
        }
        if debtors.len() >= MAX_DEBTORS && !debtors.contains_key(&debtor) {
            debtors.retain(|_, clear_at| *clear_at > now);
            if debtors.len() >= MAX_DEBTORS
                && let Some(least) = debtors
                    .iter()
                    .min_by_key(|(_, clear_at)| **clear_at)
                    .map(|(debtor, _)| debtor.clone())
            {
                debtors.remove(&least);
            }
        }
        debtors.insert(debtor, clear_at + self.cost);
        Ok(())
    }

    fn forgive(&self, debtor: &K) {
        self.clear_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(debtor);
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

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn after_the_allowed_failures_one_more_attempt_comes_free_per_interval() {
        let throttle = throttle();
        for _ in 0..3 {
            throttle.attempt("ana", Some(v4(1)), NOW).unwrap();
        }
        assert_eq!(throttle.attempt("ana", Some(v4(1)), NOW), Err(Duration::from_secs(10)));
        throttle.attempt("bo", Some(v4(1)), NOW).unwrap();
        let later = NOW + Duration::from_secs(10);
        throttle.attempt("ana", Some(v4(1)), later).unwrap();
        assert_eq!(
            throttle.attempt("ana", Some(v4(1)), later),
            Err(Duration::from_secs(10))
        );
    }

    #[test]
    fn a_good_sign_in_forgives_the_failures_before_it() {
        let throttle = throttle();
        for _ in 0..3 {
            throttle.attempt("ana", None, NOW).unwrap();
        }
        throttle.succeeded("ana", None);
        throttle.attempt("ana", None, NOW).unwrap();
    }

    #[test]
    fn a_stranger_who_guesses_from_one_address_keeps_nobody_out() {
        let throttle = throttle();
        let guesses = (0..1_000).filter(|_| throttle.attempt("ana", Some(v4(1)), NOW).is_ok());
        assert_eq!(guesses.count(), 3);
        throttle.attempt("ana", Some(v4(2)), NOW).unwrap();
        throttle.attempt("ana", None, NOW).unwrap();
    }

    #[test]
    fn guessing_from_many_addresses_at_once_has_to_wait_all_the_same() {
        let throttle = throttle();
        let guesses = (0..=255)
            .flat_map(|last| [Some(v4(last)); 3])
            .filter(|from| throttle.attempt("ana", *from, NOW).is_ok());
        assert_eq!(guesses.count(), 60);
        let later = NOW + Duration::from_secs(10);
        throttle.attempt("ana", Some(v4(7)), later).unwrap();
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one() {
        let throttle = throttle();
        let host = |bits: u128| Some(IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) | bits)));
        for last in 0..3 {
            throttle.attempt("ana", host(last), NOW).unwrap();
        }
        assert!(throttle.attempt("ana", host(3), NOW).is_err());
        throttle.attempt("ana", host(1 << 64), NOW).unwrap();
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_the_name_that_owes_most() {
        let throttle = throttle();
        for _ in 0..3 {
            throttle.attempt("ana", None, NOW).unwrap();
        }
        for i in 0..MAX_DEBTORS + 10 {
            throttle.attempt(&format!("name{i}"), None, NOW).unwrap();
        }
        assert_eq!(throttle.addresses.clear_at.lock().unwrap().len(), MAX_DEBTORS);
        assert_eq!(throttle.names.clear_at.lock().unwrap().len(), MAX_DEBTORS);
        assert!(throttle.attempt("ana", None, NOW).is_err());
    }
}
