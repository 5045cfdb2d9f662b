//! How often limits would page: the events of a replay as rates with honest bounds.
//!
//! An event rate is one of the fleet as it was replayed, and is told in three units: per machine-year, per day of a site
//! with as many machines as the replayed ones had, and per week of a person who shares all of those machines' pages. All
//! three take every machine as judged around the clock, so that a fleet that rests at night is over- and not
//! underestimated.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tocsin_detect::poisson::event_rate;
use tocsin_domain::SiteId;

use crate::machine_replay::MachineReplay;

/// Confidence of the bounds.
const CONFIDENCE: f64 = 0.95;
/// Hours of a year of 365.25 days.
const HOURS_PER_YEAR: f64 = 8_766.0;
const HOURS_PER_DAY: f64 = 24.0;
const HOURS_PER_WEEK: f64 = 168.0;

/// Events of one kind per unit of time, with exact 95 % Poisson bounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// The estimate: events over exposure.
    pub rate: f64,
    /// Lower bound; 0 without events.
    pub lower: f64,
    /// Upper bound; above zero even without events.
    pub upper: f64,
}

/// Rates of one kind of event; none where nothing was judged.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct EventRates {
    /// Events seen.
    pub events: u64,
    /// Per machine and year.
    pub per_machine_year: Option<Rate>,
    /// Per site and day.
    pub per_site_day: Option<Rate>,
    /// Per person and week.
    pub per_person_week: Option<Rate>,
}

/// What limits are expected to open, from a replay.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Readings replayed.
    pub readings: u64,
    /// Machines that were judged.
    pub machines: u64,
    /// Sites they stand in.
    pub sites: u64,
    /// Who share the pages.
    pub persons: u64,
    /// Judged machine steps, in hours.
    pub machine_hours: f64,
    /// Incidents that reached page level.
    pub pages: EventRates,
    /// Incidents that did not.
    pub alerts: EventRates,
}

/// Counts what machine after machine had.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    readings: u64,
    machines: u64,
    sites: BTreeSet<SiteId>,
    machine_hours: f64,
    pages: u64,
    alerts: u64,
}

impl Tally {
    /// Adds a machine whose replay is over. One that was never judged adds its readings alone.
    pub fn add(&mut self, site: SiteId, machine: &MachineReplay) {
        self.readings += machine.readings();
        if machine.machine_hours() > 0.0 {
            self.machines += 1;
            self.sites.insert(site);
            self.machine_hours += machine.machine_hours();
        }
        let pages = pages(machine);
        self.pages += pages;
        self.alerts += machine.incidents().len() as u64 - pages;
    }

    /// The rates, where `persons` share the pages of all these machines.
    pub fn expected(&self, persons: u64) -> Expected {
        let rates = |events| self.rates(events, persons);
        Expected {
            readings: self.readings,
            machines: self.machines,
            sites: self.sites.len() as u64,
            persons,
            machine_hours: self.machine_hours,
            pages: rates(self.pages),
            alerts: rates(self.alerts),
        }
    }

    fn rates(&self, events: u64, persons: u64) -> EventRates {
        let machines = self.machines as f64;
        // Hours in which each machine was judged, were they all judged at the same time.
        let fleet_hours = self.machine_hours / machines;
        let rate = |exposure: f64| {
            let estimate = event_rate(events, exposure, CONFIDENCE)?;
            Some(Rate {
                rate: estimate.rate,
                lower: estimate.lower,
                upper: estimate.upper,
            })
        };
        EventRates {
            events,
            per_machine_year: rate(self.machine_hours / HOURS_PER_YEAR),
            per_site_day: rate(self.sites.len() as f64 * fleet_hours / HOURS_PER_DAY),
            per_person_week: rate(persons as f64 * fleet_hours / HOURS_PER_WEEK),
        }
    }
}

/// Incidents of a machine that reached page level.
pub fn pages(machine: &MachineReplay) -> u64 {
    machine.incidents().iter().filter(|i| i.paged_at.is_some()).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::STEP;
    use crate::threshold_set::tests::set;
    use std::sync::Arc;
    use tocsin_domain::{Detector, MachineId, OperatingState, ReadingKey, Scores, SensorId, Timestamp};

    use crate::replay::ScoredReading;

    /// A day of a machine that is bad now and then: each time one page, and quiet long enough to clear.
    fn day(machine: i32, bad: &[i64]) -> MachineReplay {
        let mut replay = MachineReplay::new(MachineId(machine), Arc::new(set()), STEP);
        for step in 0..8_640 {
            let failing = bad.iter().any(|start| (*start..start + 10).contains(&step));
            let mut scores = Scores::default();
            scores.set(Detector::Residual, if failing { 30.0 } else { 0.4 });
            replay.take(&ScoredReading {
                machine: MachineId(machine),
                key: ReadingKey {
                    sensor: SensorId(machine),
                    captured_at: Timestamp::from_micros(step * 10_000_000),
                },
                scores,
                state: OperatingState::Known,
                degraded: false,
            });
        }
        replay
    }

    fn close(rate: Option<Rate>, expected: [f64; 3]) {
        let rate = rate.unwrap();
        for (found, expected) in [rate.rate, rate.lower, rate.upper].into_iter().zip(expected) {
            assert!((found - expected).abs() < 2e-3 * expected.max(1.0), "{rate:?}");
        }
    }

    #[test]
    fn one_page_in_four_machine_days_at_two_sites_is_told_in_three_units() {
        let mut tally = Tally::default();
        tally.add(SiteId(1), &day(1, &[4_000]));
        tally.add(SiteId(1), &day(2, &[]));
        tally.add(SiteId(2), &day(3, &[]));
        tally.add(SiteId(2), &day(4, &[]));
        let expected = tally.expected(2);
        assert_eq!((expected.machines, expected.sites, expected.pages.events), (4, 2, 1));
        assert!((expected.machine_hours - 96.0).abs() < 1e-9);
        close(
            expected.pages.per_machine_year,
            [91.3125, 0.02532 * 91.3125, 5.5716 * 91.3125],
        );
        close(expected.pages.per_site_day, [0.5, 0.01266, 2.7858]);
        close(expected.pages.per_person_week, [3.5, 0.0886, 19.5006]);
        close(expected.alerts.per_site_day, [0.0, 0.0, 3.6889 / 2.0]);
    }

    #[test]
    fn where_nothing_was_judged_there_is_no_rate() {
        let expected = Tally::default().expected(1);
        assert_eq!(
            (expected.pages.per_machine_year, expected.pages.per_site_day),
            (None, None)
        );
        assert_eq!(expected.machine_hours.to_bits(), 0);
    }
}
