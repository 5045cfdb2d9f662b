//! Each figure against its target.
//!
//! The targets are those of ANSI/ISA-18.2-2016, clause 16, which EEMUA 191 shares, but for the budget of pages,
//! which is Tocsin's own. The table is meant for 30 days or more; over less it is a hint.

use super::Report;
use super::Standing::{Above, Manageable, Unjudged, Within};
use crate::expected::Rate;

/// Below this many alarms the share of the ten most frequent machines says nothing: with one alarm each they would have
/// more than 5 %.
const ALARMS_FOR_A_SHARE: u64 = 200;
/// Below this many alarms the share of pages says nothing: one is more than 20 % of fewer than 5.
const ALARMS_FOR_PRIORITIES: u64 = 20;

/// How a figure stands to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Within what is acceptable.
    Within,
    /// Above what is acceptable, but manageable.
    Manageable,
    /// Above.
    Above,
    /// Too little is known, or there is no target.
    Unjudged,
}

impl Standing {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Within => "within",
            Self::Manageable => "manageable",
            Self::Above => "above",
            Self::Unjudged => "not judged",
        }
    }

    fn at_most(value: f64, most: f64) -> Self {
        if value <= most { Self::Within } else { Self::Above }
    }

    fn below(value: f64, limit: f64) -> Self {
        if value < limit { Self::Within } else { Self::Above }
    }
}

/// A figure with its target.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Its name in answers.
    pub name: &'static str,
    /// Its value, where there is one.
    pub value: Option<f64>,
    /// Unit of the value: `1`, `share`, `s` or a rate's.
    pub unit: &'static str,
    /// The target in words; empty where there is none.
    pub target: String,
    /// How it stands to it.
    pub standing: Standing,
    /// Where the target is from.
    pub source: &'static str,
}

const TABLE: &str = "ANSI/ISA-18.2-2016, clause 16";
const OWN: &str = "page budget";

fn mark(
    name: &'static str,
    unit: &'static str,
    target: &str,
    value: Option<f64>,
    standing: fn(f64) -> Standing,
) -> Mark {
    Mark {
        name,
        value,
        unit,
        target: target.to_owned(),
        standing: value.map_or(Unjudged, standing),
        source: TABLE,
    }
}

/// A figure that has no target.
fn plain(name: &'static str, unit: &'static str, value: Option<f64>) -> Mark {
    Mark {
        source: "",
        ..mark(name, unit, "", value, |_| Unjudged)
    }
}

impl Report {
    /// The figures that have a target, and those people ask for beside them, in reading order.
    pub fn marks(&self) -> Vec<Mark> {
        let mut marks = self.alarm_marks();
        marks.extend(self.people_marks());
        marks.extend(self.page_marks());
        marks
    }

    /// - Average rate: at most 1 in 10 minutes is acceptable, at most 2 manageable.
    /// - Peak: at most 10 in 10 minutes.
    /// - Intervals of 10 minutes with more than 10 alarms: below 1 %.
    /// - Time in flood: below 1 %.
    /// - Stale alarms: fewer than 5 on any day.
    /// - Chattering alarms: none.
    fn alarm_marks(&self) -> Vec<Mark> {
        let alarms = &self.alarms;
        let measured = alarms.share_above_10().is_some();
        let count = |count: u64| measured.then_some(count as f64);
        let average = |value: f64| match value {
            ..=1.0 => Within,
            ..=2.0 => Manageable,
            _ => Above,
        };
        vec![
            mark(
                "alarms_per_10_min",
                "1",
                "at most 1, manageable up to 2",
                alarms.average_per_10_min(),
                average,
            ),
            mark(
                "peak_per_10_min",
                "1",
                "at most 10",
                count(alarms.peak_per_10_min()),
                |value| Standing::at_most(value, 10.0),
            ),
            mark(
                "intervals_above_10",
                "share",
                "below 1 %",
                alarms.share_above_10(),
                |value| Standing::below(value, 0.01),
            ),
            mark(
                "time_in_flood",
                "share",
                "below 1 %",
                alarms.share_in_flood(),
                |value| Standing::below(value, 0.01),
            ),
            plain("floods", "1", count(alarms.floods())),
            mark(
                "stale_on_any_day",
                "1",
                "fewer than 5",
                count(alarms.stale.most_in_a_day),
                |value| Standing::below(value, 5.0),
            ),
            mark(
                "chattering_machines",
                "1",
                "none",
                count(alarms.chattering.len() as u64),
                |value| Standing::at_most(value, 0.0),
            ),
        ]
    }

    /// - The ten most frequent: at most 5 % of all alarms.
    /// - Priorities: about 80 % low, 15 % medium, 5 % high. Tocsin has two; a page stands for the upper two of three.
    fn people_marks(&self) -> Vec<Mark> {
        let alarms = &self.alarms;
        let known = |mark: Mark, least: u64| Mark {
            standing: if alarms.opened < least { Unjudged } else { mark.standing },
            ..mark
        };
        let frequent = alarms.share_of_most_frequent();
        let seconds = |after: Option<std::time::Duration>| after.map(|after| after.as_secs_f64());
        vec![
            known(
                mark("ten_most_frequent", "share", "at most 5 %", frequent, |value| {
                    Standing::at_most(value, 0.05)
                }),
                ALARMS_FOR_A_SHARE,
            ),
            known(
                mark(
                    "page_priority",
                    "share",
                    "at most 20 %",
                    alarms.share_of_pages(),
                    |value| Standing::at_most(value, 0.2),
                ),
                ALARMS_FOR_PRIORITIES,
            ),
            plain("acknowledged_median", "s", seconds(alarms.acknowledged_median)),
            plain("acknowledged_90th_percentile", "s", seconds(alarms.acknowledged_90th)),
        ]
    }

    /// The budget: the destination that was told most is held against it.
    fn page_marks(&self) -> Vec<Mark> {
        let pages = &self.pages;
        let most = |of: fn(&super::Destination) -> u64| pages.destinations.iter().map(of).max();
        let held = |name, value: Option<u64>, most: u32, span: &str| Mark {
            name,
            value: value.map(|value| value as f64),
            unit: "1",
            target: format!("at most {most} {span}"),
            standing: value.map_or(Unjudged, |value| Standing::at_most(value as f64, most.into())),
            source: OWN,
        };
        let rate = |rate: Option<Rate>| rate.map(|rate| rate.rate);
        vec![
            held(
                "most_pages_in_a_week",
                most(|to| to.most_in_a_week),
                pages.budget.per_week,
                "a person and week",
            ),
            held(
                "most_pages_in_a_night",
                most(|to| to.most_in_a_night),
                pages.budget.per_night,
                "a person and night",
            ),
            plain(
                "false_pages_per_machine_year",
                "1/machine-year",
                rate(pages.false_pages.per_machine_year),
            ),
            plain(
                "false_pages_per_person_week",
                "1/person-week",
                rate(pages.false_pages.per_person_week),
            ),
        ]
    }
}
