//! What people were told: how often each destination was woken, against a budget, and how often for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tocsin_detect::poisson::event_rate;
use tocsin_domain::{IncidentId, Timestamp};

use super::Period;
use super::alarms::most_within;
use crate::expected::Rate;

const CONFIDENCE: f64 = 0.95;
const HOUR_S: f64 = 3_600.0;
const WEEK: Duration = Duration::from_hours(168);
const HOURS_PER_YEAR: f64 = 8_766.0;
/// A night is from 22:00 to 06:00: shifted by two hours it is the first eight of a day.
const NIGHT_SHIFT: Duration = Duration::from_hours(2);
const NIGHT_LENGTH: Duration = Duration::from_hours(8);
const DAY: Duration = Duration::from_hours(24);

/// The most pages a person is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// In any seven days.
    pub per_week: u32,
    /// In a night.
    pub per_night: u32,
}

impl Default for Budget {
    /// Two in a week, one in a night.
    fn default() -> Self {
        Self {
            per_week: 2,
            per_night: 1,
        }
    }
}

/// What people found behind a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Truth {
    /// The machine was failing.
    True,
    /// The machine was well.
    False,
    /// A sensor's fault, or other work of a machine that was well.
    Other,
    /// Nobody has said.
    Unlabelled,
}

/// A page that reached a destination, or may have: the first attempt whose answer was not a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldPage {
    /// Whom it was told.
    pub destination: String,
    /// The incident it was about.
    pub incident: IncidentId,
    /// When.
    pub at: Timestamp,
    /// What the clock on the site's wall showed then, read as though it were UTC.
    pub wall: Timestamp,
    /// What people found behind it.
    pub truth: Truth,
}

/// What one destination was told.
#[derive(Debug, Clone, PartialEq)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// Pages told.
    pub pages: u64,
    /// Pages per week, with exact 95 % bounds.
    pub per_week: Option<Rate>,
    /// The most in any seven days.
    pub most_in_a_week: u64,
    /// Nights with a page.
    pub nights: u64,
    /// Nights with more pages than the budget has.
    pub nights_over: u64,
    /// The most in a night.
    pub most_in_a_night: u64,
    /// Whether every seven days and every night kept to the budget.
    pub within_budget: bool,
}

/// Pages for nothing, as events and rates with exact 95 % bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FalsePages {
    /// Incidents that were told and counted here.
    pub incidents: u64,
    /// How often that was told to anybody.
    pub told: u64,
    /// Incidents per machine and year.
    pub per_machine_year: Option<Rate>,
    /// Tellings per person and week.
    pub per_person_week: Option<Rate>,
}

/// Figures of the pages.
#[derive(Debug, Clone, PartialEq)]
pub struct PageFigures {
    /// The budget they are held against.
    pub budget: Budget,
    /// Hours of the machines that there were, whether they ran or not.
    pub machine_hours: f64,
    /// Pages told, to all destinations.
    pub told: u64,
    /// Incidents told of, by what people found behind them.
    pub incidents: BTreeMap<Truth, u64>,
    /// Incidents labelled false alarm.
    pub false_pages: FalsePages,
    /// Those, and all that nobody has labelled: the most that it can be.
    pub false_or_unlabelled: FalsePages,
    /// Each destination that was told anything or is known, by name.
    pub destinations: Vec<Destination>,
}

impl PageFigures {
    /// The figures of the pages `told` in `period`; `known` destinations are listed whether they were told or not.
    /// `machine_hours` is the time of the machines that could have paged.
    pub fn of(period: Period, budget: Budget, machine_hours: f64, known: &[String], told: &[ToldPage]) -> Self {
        let told: Vec<&ToldPage> = told.iter().filter(|page| period.holds(page.at)).collect();
        let mut by_destination: BTreeMap<&str, Vec<&ToldPage>> =
            known.iter().map(|name| (name.as_str(), Vec::new())).collect();
        for page in &told {
            by_destination.entry(&page.destination).or_default().push(page);
        }
        let weeks = period.length().as_secs_f64() / WEEK.as_secs_f64();
        let person_weeks = weeks * by_destination.len() as f64;
        let false_pages = |counts: &[Truth]| {
            let these = told.iter().filter(|page| counts.contains(&page.truth));
            let incidents: BTreeSet<IncidentId> = these.clone().map(|page| page.incident).collect();
            let (incidents, told) = (incidents.len() as u64, these.count() as u64);
            FalsePages {
                incidents,
                told,
                per_machine_year: rate(incidents, machine_hours / HOURS_PER_YEAR),
                per_person_week: rate(told, person_weeks),
            }
        };
        Self {
            budget,
            machine_hours,
            told: told.len() as u64,
            incidents: incidents(&told),
            false_pages: false_pages(&[Truth::False]),
            false_or_unlabelled: false_pages(&[Truth::False, Truth::Unlabelled]),
            destinations: by_destination
                .into_iter()
                .map(|(name, pages)| destination(name, &pages, weeks, budget))
                .collect(),
        }
    }
}

impl Period {
    /// Hours of a machine that is there from `since` on.
    pub fn machine_hours(self, since: Timestamp) -> f64 {
        self.to.since(self.from.max(since)).as_secs_f64() / HOUR_S
    }
}

fn incidents(told: &[&ToldPage]) -> BTreeMap<Truth, u64> {
    let truths: BTreeMap<IncidentId, Truth> = told.iter().map(|page| (page.incident, page.truth)).collect();
    let mut counts = BTreeMap::new();
    for truth in truths.into_values() {
        *counts.entry(truth).or_default() += 1;
    }
    counts
}

fn rate(events: u64, exposure: f64) -> Option<Rate> {
    let estimate = event_rate(events, exposure, CONFIDENCE)?;
    Some(Rate {
        rate: estimate.rate,
        lower: estimate.lower,
        upper: estimate.upper,
    })
}

fn destination(name: &str, pages: &[&ToldPage], weeks: f64, budget: Budget) -> Destination {
    let mut at: Vec<Timestamp> = pages.iter().map(|page| page.at).collect();
    at.sort_unstable();
    let mut nights: BTreeMap<i64, u64> = BTreeMap::new();
    for night in pages.iter().filter_map(|page| night(page.wall)) {
        *nights.entry(night).or_default() += 1;
    }
    let most_in_a_week = most_within(&at, WEEK);
    let nights_over = nights
        .values()
        .filter(|pages| **pages > budget.per_night.into())
        .count() as u64;
    Destination {
        name: name.to_owned(),
        pages: at.len() as u64,
        per_week: rate(at.len() as u64, weeks),
        most_in_a_week,
        nights: nights.len() as u64,
        nights_over,
        most_in_a_night: nights.values().copied().max().unwrap_or(0),
        within_budget: most_in_a_week <= budget.per_week.into() && nights_over == 0,
    }
}

/// Which night a time by the wall's clock belongs to, as a number that counts up by one a day; none by day.
fn night(wall: Timestamp) -> Option<i64> {
    let shifted = wall + NIGHT_SHIFT;
    let day = shifted.floor_to(DAY);
    (shifted.since(day) < NIGHT_LENGTH).then(|| day.as_micros() / DAY.as_micros() as i64)
}

#[cfg(test)]
mod tests;
