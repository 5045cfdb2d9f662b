//! A page budget instead of a page factor: how many pages people are willing to take decides where the page lines stand.
//!
//! Candidate factors are replayed over the same period, and the smallest whose expected pages, by the estimate and not
//! by its upper bound, stay within the budget is taken: the lines that catch most of what the budget allows.
//!
//! **Invariant:** of two budgets over the same replay the larger never gets the larger factor.

use std::fmt;

use serde::{Deserialize, Serialize};
use tocsin_domain::Invalid;

use crate::expected::{EventRates, Rate};
use crate::{Expected, FleetReplay};

/// The candidates in tenths: 2.0 to 4.0.
const CANDIDATE_TENTHS: std::ops::RangeInclusive<u32> = 20..=40;

/// The most pages that are to be expected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageBudget {
    /// At a site in a day.
    PagesPerSiteDay(f64),
    /// For a person in a week.
    PagesPerPersonWeek(f64),
}

impl PageBudget {
    /// Checks the number; 0 asks for lines under which the period would have had no page.
    pub fn parse(self) -> Result<Self, Invalid> {
        let (field, pages) = match self {
            Self::PagesPerSiteDay(pages) => ("pages_per_site_day", pages),
            Self::PagesPerPersonWeek(pages) => ("pages_per_person_week", pages),
        };
        if pages >= 0.0 && pages.is_finite() {
            return Ok(self);
        }
        Err(Invalid::new(
            format!("fleet_replay.{field}"),
            format!("{pages} must be a number from 0 on"),
        ))
    }

    /// The rate it is a limit of.
    pub fn rate(self, pages: &EventRates) -> Option<Rate> {
        match self {
            Self::PagesPerSiteDay(_) => pages.per_site_day,
            Self::PagesPerPersonWeek(_) => pages.per_person_week,
        }
    }

    /// Whether a replay's expected pages stay within it. Where nothing was judged they don't.
    pub fn holds(self, pages: &EventRates) -> bool {
        let (Self::PagesPerSiteDay(most) | Self::PagesPerPersonWeek(most)) = self;
        self.rate(pages).is_some_and(|rate| rate.rate <= most)
    }

    fn unit(self) -> &'static str {
        match self {
            Self::PagesPerSiteDay(_) => "site-day",
            Self::PagesPerPersonWeek(_) => "person-week",
        }
    }
}

impl fmt::Display for PageBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::PagesPerSiteDay(pages) | Self::PagesPerPersonWeek(pages)) = self;
        write!(f, "{pages} pages per {}", self.unit())
    }
}

/// A factor that was tried, and what it would have paged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The page line over the fleet's reference.
    pub page_factor: f64,
    /// Pages in the period, as events and rates.
    pub pages: EventRates,
}

impl Candidate {
    /// A factor with its replay.
    pub fn new(method: &FleetReplay, expected: &Expected) -> Self {
        Self {
            page_factor: method.page_factor,
            pages: expected.pages,
        }
    }
}

/// No candidate stays within the budget.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "fleet_replay.budget: no page factor from {from} to {to} keeps to {budget}: the best is {best_factor} with {:.4} expected per {} \
     (95 % bounds {:.4} to {:.4})",
    rate.rate, budget.unit(), rate.lower, rate.upper
)]
pub struct NoneFits {
    budget: PageBudget,
    from: f64,
    to: f64,
    best_factor: f64,
    rate: Rate,
}

/// The place of the smallest factor within the budget. Nothing where there are no candidates, or nothing was judged.
pub fn smallest_within(budget: PageBudget, candidates: &[Candidate]) -> Option<Result<usize, NoneFits>> {
    let rated = || {
        let all = candidates.iter().enumerate();
        all.filter_map(|(place, candidate)| Some((place, candidate, budget.rate(&candidate.pages)?)))
    };
    let fits = rated().filter(|(_, candidate, _)| budget.holds(&candidate.pages));
    let by_factor = |a: &Candidate, b: &Candidate| a.page_factor.total_cmp(&b.page_factor);
    if let Some((place, ..)) = fits.min_by(|a, b| by_factor(a.1, b.1)) {
        return Some(Ok(place));
    }
    let (_, best, rate) = rated().min_by(|a, b| a.2.rate.total_cmp(&b.2.rate).then(by_factor(a.1, b.1)))?;
    let factors = || candidates.iter().map(|candidate| candidate.page_factor);
    Some(Err(NoneFits {
        budget,
        from: factors().fold(f64::INFINITY, f64::min),
        to: factors().fold(f64::NEG_INFINITY, f64::max),
        best_factor: best.page_factor,
        rate,
    }))
}

impl FleetReplay {
    /// The same method with each of the page factors that a budget chooses from: 2.0 to 4.0 in tenths, those above the
    /// alert factor.
    pub fn candidates(&self) -> Result<Vec<Self>, Invalid> {
        let candidates: Vec<Self> = CANDIDATE_TENTHS
            .map(|tenths| f64::from(tenths) / 10.0)
            .filter(|page_factor| *page_factor > self.alert_factor)
            .map(|page_factor| Self { page_factor, ..*self })
            .collect();
        if candidates.is_empty() {
            let reason = format!(
                "{} must be below 4, the largest page factor of a budget",
                self.alert_factor
            );
            return Err(Invalid::new("fleet_replay.alert_factor", reason));
        }
        Ok(candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(page_factor: f64, per_day: f64) -> Candidate {
        let rate = |rate: f64| {
            Some(Rate {
                rate,
                lower: rate / 2.0,
                upper: rate * 2.0 + 1.0,
            })
        };
        Candidate {
            page_factor,
            pages: EventRates {
                events: 1,
                per_machine_year: rate(per_day * 365.25),
                per_site_day: rate(per_day),
                per_person_week: rate(per_day * 7.0),
            },
        }
    }

    #[test]
    fn the_smallest_factor_within_the_budget_is_taken_in_either_unit() {
        let tried = [candidate(2.0, 3.0), candidate(2.1, 1.0), candidate(2.2, 0.5)];
        let chosen = |budget| smallest_within(budget, &tried).unwrap();
        assert_eq!(chosen(PageBudget::PagesPerSiteDay(1.0)), Ok(1));
        assert_eq!(chosen(PageBudget::PagesPerPersonWeek(3.5)), Ok(2));
        assert_eq!(chosen(PageBudget::PagesPerSiteDay(9.0)), Ok(0));
        let none = chosen(PageBudget::PagesPerSiteDay(0.25)).unwrap_err().to_string();
        let told = "fleet_replay.budget: no page factor from 2 to 2.2 keeps to 0.25 pages per site-day: the best is 2.2 with \
                    0.5000 expected per site-day (95 % bounds 0.2500 to 2.0000)";
        assert_eq!(none, told);
        assert_eq!(smallest_within(PageBudget::PagesPerSiteDay(1.0), &[]), None);
    }

    #[test]
    fn candidates_lie_above_the_alert_factor_and_impossible_budgets_name_their_field() {
        let method = FleetReplay::default();
        let factors: Vec<f64> = method.candidates().unwrap().iter().map(|m| m.page_factor).collect();
        assert_eq!((factors.len(), factors[0], factors[20]), (21, 2.0, 4.0));
        let high = FleetReplay {
            alert_factor: 3.85,
            ..method
        };
        assert_eq!(high.candidates().unwrap().len(), 2);
        let higher = FleetReplay {
            alert_factor: 4.0,
            ..method
        };
        assert_eq!(higher.candidates().unwrap_err().field, "fleet_replay.alert_factor");
        let wrong = PageBudget::PagesPerPersonWeek(f64::NAN).parse().unwrap_err();
        assert_eq!(wrong.field, "fleet_replay.pages_per_person_week");
        assert_eq!(
            PageBudget::PagesPerSiteDay(-1.0).parse().unwrap_err().field,
            "fleet_replay.pages_per_site_day"
        );
    }

    proptest! {
        #[test]
        fn a_larger_budget_never_gets_a_larger_factor(
            rates in prop::collection::vec(0.0_f64..5.0, 1..21),
            one in 0.0_f64..6.0,
            other in 0.0_f64..6.0,
        ) {
            let tried: Vec<_> = rates.iter().enumerate().map(|(i, rate)| candidate(2.0 + i as f64 / 10.0, *rate)).collect();
            let chosen = |most| smallest_within(PageBudget::PagesPerSiteDay(most), &tried).unwrap();
            if let Ok(small) = chosen(one.min(other)) {
                prop_assert!(chosen(one.max(other)).unwrap() <= small);
                prop_assert!(rates[small] <= one.min(other));
            }
        }
    }
}
