//! When a round is complete: pure, and told the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tocsin_domain::{Slug, Timestamp};

/// Which sites' canaries went the whole way since the last heartbeat.
#[derive(Debug)]
pub(super) struct Rounds {
    sites: BTreeSet<Slug>,
    period: Duration,
    done: BTreeMap<Slug, Timestamp>,
}

impl Rounds {
    pub(super) fn new(sites: impl IntoIterator<Item = Slug>, period: Duration) -> Self {
        Self {
            sites: sites.into_iter().collect(),
            period,
            done: BTreeMap::new(),
        }
    }

    /// Whether a mark of a reading received at `received_at` still shows that the way is open: one that took longer than
    /// a period shows that it was not.
    pub(super) fn is_fresh(&self, received_at: Timestamp, now: Timestamp) -> bool {
        now.since(received_at) <= self.period
    }

    /// Takes a mark that came the whole way; whether every site's has now, each within the last period. Then a new round
    /// begins.
    pub(super) fn complete(&mut self, site: Slug, received_at: Timestamp, now: Timestamp) -> bool {
        self.done.insert(site, received_at);
        let period = self.period;
        self.done.retain(|_, at| now.since(*at) <= period);
        let is_whole = self.sites.iter().all(|site| self.done.contains_key(site));
        if is_whole {
            self.done.clear();
        }
        is_whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn slug(name: &str) -> Slug {
        Slug::parse("name", name).unwrap()
    }

    #[test]
    fn a_round_is_complete_when_every_site_has_come_within_a_period() {
        let mut rounds = Rounds::new([slug("lisbon"), slug("porto")], Duration::from_mins(1));
        assert!(!rounds.complete(slug("lisbon"), at(0), at(1)));
        assert!(!rounds.complete(slug("lisbon"), at(60), at(61)));
        assert!(rounds.complete(slug("porto"), at(62), at(63)));
        assert!(!rounds.complete(slug("porto"), at(120), at(121)), "each round anew");
        assert!(
            !rounds.complete(slug("lisbon"), at(182), at(183)),
            "too long after the other"
        );
        assert!(rounds.complete(slug("porto"), at(184), at(185)));
    }

    #[test]
    fn a_mark_that_took_longer_than_a_period_shows_nothing() {
        let rounds = Rounds::new([slug("lisbon")], Duration::from_mins(1));
        assert!(rounds.is_fresh(at(0), at(60)) && !rounds.is_fresh(at(0), at(61)));
    }
}
