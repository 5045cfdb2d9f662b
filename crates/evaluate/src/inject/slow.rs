//! Slow failures in a fleet whose baselines follow it: is the failure paged, or learned as normal?
//!
//! Some machines, drawn by a seed, each get a ramp that is linear in decibels, all in one run of the whole fleet; what
//! pages then, and did not in the run without them, has found its ramp.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tocsin_domain::{Severity, SpectrumSpec, Timestamp};
use tocsin_judge::Transition;

use super::{InjectReport, Injection};
use crate::following::{Recalibration, Schedule, Story, judge_following};
use crate::life::MachineLife;
use crate::rules::Rules;
use crate::trial::TrialError;

/// Ramps in a fleet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowFailures {
    /// Machines that get one.
    pub machines: usize,
    /// Draws machines, bins and times.
    pub seed: u64,
    /// Commissioning, settling and rounds.
    pub schedule: Schedule,
    /// What the recalibrator may do.
    pub recalibration: Recalibration,
}

/// One machine's ramp.
struct Ramp {
    machine: usize,
    bin: usize,
    begins: Timestamp,
    length: Duration,
    rise_db: f64,
}

/// Puts ramps of `injection` into machines of `lives` and judges the fleet while it is recalibrated.
pub fn inject_slowly(
    lives: &[MachineLife],
    spec: &SpectrumSpec,
    rules: &Rules,
    injection: &Injection,
    slow: &SlowFailures,
) -> Result<InjectReport, TrialError> {
    let length = injection.ramp.unwrap_or_default();
    let ramps = draw(lives, spec, rules, injection, slow);
    if ramps.is_empty() {
        return Err(TrialError::TooShort {
            days: length.as_secs_f64() / 86_400.0,
        });
    }
    let mut touched = lives.to_vec();
    for ramp in &ramps {
        ramp.put_into(&mut touched[ramp.machine], spec, injection.bins);
    }
    let judge = |lives: &[MachineLife]| judge_following(lives, rules, slow.schedule, slow.recalibration);
    let (untouched, found) = (judge(lives)?, judge(&touched)?);
    Ok(report(&ramps, &untouched, &found, lives, injection))
}

fn draw(
    lives: &[MachineLife],
    spec: &SpectrumSpec,
    rules: &Rules,
    injection: &Injection,
    slow: &SlowFailures,
) -> Vec<Ramp> {
    let length = injection.ramp.unwrap_or_default();
    let mut rng = StdRng::seed_from_u64(slow.seed);
    let mut machines: Vec<usize> = (0..lives.len()).collect();
    machines.shuffle(&mut rng);
    let ramp = |machine: usize| {
        let life = &lives[machine];
        let sensor = life.sensors.first()?;
        let commissioned = *sensor.captured_at.get(rules.commissioning().end)?;
        let healthy = ((rules.healthy_share * sensor.readings() as f64) as usize).checked_sub(1)?;
        // One more period, so that machines whose commissioning ended a little later have settled as well.
        let earliest = commissioned + slow.schedule.settle + slow.schedule.period;
        let latest = sensor.captured_at[healthy] - length;
        let room = (latest >= earliest).then(|| latest.since(earliest))?;
        Some(Ramp {
            machine,
            bin: rng.random_range(0..=usize::from(spec.bins).checked_sub(injection.bins)?),
            begins: earliest + room.mul_f64(rng.random()),
            length,
            rise_db: injection.rise_db,
        })
    };
    machines.into_iter().filter_map(ramp).take(slow.machines).collect()
}

impl Ramp {
    fn db(&self, at: Timestamp) -> f64 {
        let share = at.since(self.begins).div_duration_f64(self.length);
        self.rise_db * share.min(1.0)
    }

    fn ends(&self) -> Timestamp {
        self.begins + self.length
    }

    /// Raises its bins on every sensor, and leaves them raised.
    fn put_into(&self, life: &mut MachineLife, spec: &SpectrumSpec, bins: usize) {
        for sensor in &mut life.sensors {
            let first = sensor.captured_at.partition_point(|at| *at < self.begins);
            let times = sensor.captured_at[first..].to_vec();
            let gain = |nth: usize| 10_f64.powf(self.db(times[nth]) / 20.0) as f32;
            sensor.amplify(spec, self.bin..self.bin + bins, first..first + times.len(), gain);
        }
    }
}

/// Spans in which a page (or any incident) was open.
fn spans(story: &Story, pages: bool) -> Vec<(Timestamp, Timestamp)> {
    let mut spans: Vec<(Timestamp, Timestamp)> = Vec::new();
    for (at, transition) in &story.transitions {
        match transition {
            Transition::Opened(severity) if *severity == Severity::Page || !pages => spans.push((*at, Timestamp::MAX)),
            Transition::Escalated if pages => spans.push((*at, Timestamp::MAX)),
            Transition::Cleared => spans.last_mut().into_iter().for_each(|span| span.1 = span.1.min(*at)),
            _ => {}
        }
    }
    spans
}

/// When something opened that is open within the ramp and was not in the untouched run.
fn found(ramp: &Ramp, untouched: &Story, touched: &Story, pages: bool) -> Option<Timestamp> {
    let within = |span: &&(Timestamp, Timestamp)| span.0 <= ramp.ends() && span.1 > ramp.begins;
    if spans(untouched, pages).iter().any(|span| within(&span)) {
        return None;
    }
    spans(touched, pages).iter().find(within).map(|span| span.0)
}

fn report(
    ramps: &[Ramp],
    untouched: &[Story],
    touched: &[Story],
    lives: &[MachineLife],
    injection: &Injection,
) -> InjectReport {
    let db_at = |pages: bool| -> Vec<f64> {
        let of = |ramp: &Ramp| {
            let found = |pages| found(ramp, &untouched[ramp.machine], &touched[ramp.machine], pages);
            // Where an alert stood anyway, the page that the ramp made of it is what told somebody.
            let at = if pages {
                found(true)
            } else {
                found(false).or_else(|| found(true))
            };
            Some(ramp.db(at?))
        };
        ramps.iter().filter_map(of).collect()
    };
    let healthy = |machine: &usize| ramps.iter().all(|ramp| ramp.machine != *machine);
    let others = (0..lives.len()).filter(healthy);
    let (pages, alerts) = (db_at(true), db_at(false));
    InjectReport {
        bins: injection.bins,
        rise_db: injection.rise_db,
        ramp_days: injection.ramp.map(|ramp| ramp.as_secs_f64() / 86_400.0),
        cases: ramps.len(),
        alerted: alerts.len(),
        paged: pages.len(),
        activations: ramps
            .iter()
            .map(|ramp| activations(ramp, touched, lives))
            .min()
            .unwrap_or(0),
        db_at_page: pages,
        db_at_alert: alerts,
        false_pages: others.map(|machine| spans(&touched[machine], true).len()).sum(),
    }
}

/// Rounds within a ramp that gave some machine of the fleet another baseline.
fn activations(ramp: &Ramp, stories: &[Story], lives: &[MachineLife]) -> usize {
    let began = |machine: usize| lives[machine].at(lives[machine].arrivals[0]);
    let rounds = stories.iter().map(|story| story.rounds.len()).max().unwrap_or(0);
    let within = |round: &usize| {
        let at = |machine: usize| Some(began(machine) + stories[machine].rounds.get(*round)?.since);
        let inside = at(ramp.machine).is_some_and(|at| at > ramp.begins && at <= ramp.ends());
        inside
            && stories
                .iter()
                .any(|story| story.rounds.get(*round).is_some_and(|round| round.activated))
    };
    (0..rounds).filter(within).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_corpus::{Row, SensorName};

    const HOURS: usize = 24 * 24;

    /// Healthy machines, a reading an hour, each of a gain of its own.
    fn fleet() -> Vec<MachineLife> {
        let mut rng = StdRng::seed_from_u64(7);
        let mut rows = Vec::new();
        for machine in 0..10 {
            let gain = 1.0 + machine as f32;
            for hour in 0..HOURS {
                rows.push(Row {
                    sensor: SensorName::parse(&format!("works/m{machine}/axis")).unwrap(),
                    captured_at: Timestamp::from_micros(hour as i64 * 3_600_000_000),
                    bins: (0..64).map(|_| 0.02 * gain * rng.random_range(0.7..1.3_f32)).collect(),
                    rpm: None,
                    load: None,
                    label: None,
                    split: None,
                });
            }
        }
        MachineLife::from_rows(&SpectrumSpec::corpus_default(64), &rows).unwrap()
    }

    fn week_of_rise(recalibration: Recalibration) -> InjectReport {
        let rules = Rules {
            healthy_share: 1.0,
            step_s: 3_600.0,
            ..Rules::default()
        };
        let injection = Injection {
            bins: 16,
            rise_db: 12.0,
            ramp: Some(Duration::from_hours(7 * 24)),
            step_readings: 0,
            places: 1,
            seeds: 1,
        };
        let slow = SlowFailures {
            machines: 4,
            seed: 1,
            schedule: Schedule::default(),
            recalibration,
        };
        inject_slowly(&fleet(), &SpectrumSpec::corpus_default(64), &rules, &injection, &slow).unwrap()
    }

    #[test]
    fn a_slow_failure_is_paged_while_the_baselines_follow_the_fleet_and_learned_where_they_follow_everything() {
        let guarded = week_of_rise(Recalibration::guarded());
        assert_eq!(
            (guarded.cases, guarded.paged, guarded.false_pages),
            (4, 4, 0),
            "{guarded:?}"
        );
        assert!(guarded.activations >= 6, "{guarded:?}");
        assert!(guarded.db_at_page.iter().all(|db| *db < 9.0), "{guarded:?}");
        let symmetric = week_of_rise(Recalibration::Symmetric);
        assert_eq!(symmetric.paged, 0, "{symmetric:?}");
        assert_eq!(week_of_rise(Recalibration::Frozen).activations, 0);
    }

    #[test]
    fn a_ramp_that_fits_nowhere_is_refused_by_its_length() {
        let ramp = Injection {
            bins: 1,
            rise_db: 6.0,
            ramp: Some(Duration::from_hours(24 * 365)),
            step_readings: 0,
            places: 1,
            seeds: 1,
        };
        let slow = SlowFailures {
            machines: 1,
            seed: 1,
            schedule: Schedule::default(),
            recalibration: Recalibration::Frozen,
        };
        let spec = SpectrumSpec::corpus_default(64);
        let error = inject_slowly(&fleet(), &spec, &Rules::default(), &ramp, &slow).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("ramp-days: no machine has 365 healthy days"),
            "{error}"
        );
    }
}
