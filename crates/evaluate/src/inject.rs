//! Faults put into healthy stretches: how large must a change be, and in how many bins, before somebody is told?
//!
//! A case raises neighbouring bins of all of a machine's sensors, as a step or as a ramp that is linear in decibels, and
//! counts when a page (or alert) is open inside it that was not open then in the untouched run.

mod slow;

use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use tocsin_domain::SpectrumSpec;
use tocsin_judge::JudgedReading;

use crate::life::MachineLife;
use crate::rules::Rules;
use crate::run_to_failure::{in_parallel, others};
use crate::trial::{Asset, Course, Trial, TrialError};

pub use slow::{SlowFailures, inject_slowly};

/// Readings after commissioning before a case may begin.
const SETTLED: usize = 20;

/// What is put in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Injection {
    /// Neighbouring bins that rise.
    pub bins: usize,
    /// By how much in the end, dB of amplitude.
    pub rise_db: f64,
    /// Over how long the rise grows to that; nothing is a step.
    pub ramp: Option<Duration>,
    /// Readings of each sensor that a step lasts.
    pub step_readings: usize,
    /// Places along a machine's healthy stretch, per seed.
    pub places: usize,
    /// Draws of place and bins.
    pub seeds: u64,
}

/// The document of `tocsin evaluate inject`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InjectReport {
    /// Neighbouring bins that rose.
    pub bins: usize,
    /// By how many dB.
    pub rise_db: f64,
    /// Days a ramp took; nothing for steps.
    pub ramp_days: Option<f64>,
    /// Cases tried.
    pub cases: usize,
    /// Cases with an alert or page that the untouched run lacks.
    pub alerted: usize,
    /// Cases with a page that the untouched run lacks.
    pub paged: usize,
    /// Rounds of recalibration during a case that replaced baselines: the fewest of any case, 0 where nothing recalibrates.
    pub activations: usize,
    /// The rise reached when the page opened, case by case, in dB.
    pub db_at_page: Vec<f64>,
    /// The same of the first alert (or page).
    pub db_at_alert: Vec<f64>,
    /// Pages on machines that nothing was put into.
    pub false_pages: usize,
}

/// What one case came to.
struct CaseOutcome {
    db_at_alert: Option<f64>,
    db_at_page: Option<f64>,
}

/// Puts `injection` into every machine of `lives`, judged under limits of the others and of `fleet`.
pub fn inject(
    lives: &[MachineLife],
    fleet: &[MachineLife],
    spec: &SpectrumSpec,
    rules: &Rules,
    injection: &Injection,
) -> Result<InjectReport, TrialError> {
    let outcomes = in_parallel(lives, |at, life| {
        let fleet = others(lives, fleet, at)
            .map(|other| Asset::new(other, rules))
            .collect::<Result<Vec<_>, _>>()?;
        let fleet: Vec<&Asset<'_>> = fleet.iter().collect();
        let trial = Trial::new(&Asset::new(life, rules)?, &fleet, rules)?;
        Ok::<_, TrialError>(of_machine(at, life, &trial, spec, rules, injection))
    })?;
    let outcomes: Vec<CaseOutcome> = outcomes.into_iter().flatten().collect();
    Ok(InjectReport {
        bins: injection.bins,
        rise_db: injection.rise_db,
        ramp_days: injection.ramp.map(|ramp| ramp.as_secs_f64() / 86_400.0),
        cases: outcomes.len(),
        alerted: outcomes.iter().filter(|case| case.db_at_alert.is_some()).count(),
        paged: outcomes.iter().filter(|case| case.db_at_page.is_some()).count(),
        activations: 0,
        db_at_page: outcomes.iter().filter_map(|case| case.db_at_page).collect(),
        db_at_alert: outcomes.iter().filter_map(|case| case.db_at_alert).collect(),
        false_pages: 0,
    })
}

fn of_machine(
    machine: usize,
    life: &MachineLife,
    trial: &Trial,
    spec: &SpectrumSpec,
    rules: &Rules,
    injection: &Injection,
) -> Vec<CaseOutcome> {
    let untouched = trial.judge(life);
    let course = trial.fold(&untouched);
    let readings = life
        .sensors
        .iter()
        .map(crate::life::SensorLife::readings)
        .min()
        .unwrap_or(0);
    let Some(length) = injection.readings(life) else {
        return Vec::new();
    };
    let first = rules.commissioning().end + SETTLED;
    let last = ((rules.healthy_share * readings as f64) as usize).saturating_sub(length);
    if last < first || injection.bins > life.sensors.iter().map(|s| s.bins).min().unwrap_or(0) {
        return Vec::new();
    }
    let mut cases = Vec::new();
    for seed in 0..injection.seeds {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(machine as u64));
        for place in 0..injection.places {
            let along = (place as f64 + rng.random::<f64>()) / injection.places as f64;
            let start = first + (along * (last - first) as f64) as usize;
            let bin = rng.random_range(0..=usize::from(spec.bins) - injection.bins);
            let case = Case {
                readings: start..start + length,
                bins: bin..bin + injection.bins,
            };
            cases.push(case.run(life, trial, &untouched, &course, spec, injection));
        }
    }
    cases
}

impl Injection {
    /// Readings of a sensor that a case lasts; nothing for a machine without two readings.
    fn readings(&self, life: &MachineLife) -> Option<usize> {
        let Some(ramp) = self.ramp else {
            return Some(self.step_readings);
        };
        let sensor = life.sensors.first()?;
        let span = sensor.captured_at.last()?.since(*sensor.captured_at.first()?);
        let interval = span.as_secs_f64() / (sensor.readings().checked_sub(1).filter(|n| *n > 0)?) as f64;
        Some((ramp.as_secs_f64() / interval).ceil() as usize)
    }

    /// The rise of the nth reading of a case of `length`, in dB.
    fn db(&self, nth: usize, length: usize) -> f64 {
        match self.ramp {
            None => self.rise_db,
            Some(_) => self.rise_db * (nth + 1) as f64 / length as f64,
        }
    }
}

struct Case {
    readings: Range<usize>,
    bins: Range<usize>,
}

impl Case {
    fn run(
        &self,
        life: &MachineLife,
        trial: &Trial,
        untouched: &[JudgedReading],
        course: &Course,
        spec: &SpectrumSpec,
        injection: &Injection,
    ) -> CaseOutcome {
        let mut touched = life.clone();
        let length = self.readings.len();
        for sensor in &mut touched.sensors {
            let gain = |nth: usize| 10_f64.powf(injection.db(nth, length) / 20.0) as f32;
            sensor.amplify(spec, self.bins.clone(), self.readings.clone(), gain);
        }
        let inside = |(at, (_, reading)): (usize, &(usize, usize))| self.readings.contains(reading).then_some(at);
        let arrivals: Vec<usize> = life.arrivals.iter().enumerate().filter_map(inside).collect();
        let (Some(from), Some(to)) = (arrivals.first(), arrivals.last()) else {
            return CaseOutcome {
                db_at_alert: None,
                db_at_page: None,
            };
        };
        let mut judged = untouched[..=*to].to_vec();
        trial.judge_again(&touched, *from..to + 1, &mut judged);
        let found = trial.fold(&judged);
        let steps = trial.steps_of(&untouched[..=*from])..found.steps + 1;
        let steps = steps.start - 1..steps.end - 1;
        let db = |opened: usize| {
            let nth = (opened.saturating_sub(steps.start) * length / steps.len().max(1)).min(length - 1);
            injection.db(nth, length)
        };
        let page = found.page_in(&steps).filter(|_| course.page_in(&steps).is_none());
        let alert = found.alert_in(&steps).filter(|_| course.alert_in(&steps).is_none());
        // Where an alert stood anyway, the page that the case made of it is what told somebody.
        let alert = alert.or(page);
        CaseOutcome {
            db_at_alert: alert.map(db),
            db_at_page: page.map(db),
        }
    }
}
