//! Drift or failure? Simulated months in which the season turns, every class takes a load step and a third of the fleet
//! at a time gets other transducers, while some machines fail. The baselines follow the fleet day by day by their rule,
//! and nobody signs anything.
//!
//! Two questions: what do the benign changes cost in false pages, and is a failure told from drift? A failing machine is
//! told right when it is suspected by two days after its first page or alert; a healthy one when, two days after the load
//! step or gain step that moved it, it is not.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::json;
use tocsin_corpus::{Row, SensorName};
use tocsin_detect::drift::Finding;
use tocsin_detect::poisson::event_rate;
use tocsin_domain::{Severity, Slug, Timestamp};
use tocsin_evaluate::{MachineLife, Recalibration, Rules, Schedule, Story, judge_following};
use tocsin_judge::Transition;
use tocsin_simulator::harbor::{Benign, Class, Config, Fleet, Machine};

use crate::report::Report;

const DAY: Duration = Duration::from_hours(24);
/// Commissioning and settling: nothing changes before.
const SETTLED: Duration = DAY.saturating_mul(9);

/// Settings.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Machines of the fleet, of three classes.
    #[arg(long, default_value_t = 60)]
    machines: usize,
    /// Days of readings.
    #[arg(long, default_value_t = 60)]
    days: u32,
    /// Minutes between readings.
    #[arg(long, default_value_t = 10)]
    interval_min: u64,
    /// Machines of each fleet that fail, each over ten days.
    #[arg(long, default_value_t = 15)]
    failures: usize,
    /// Fleets, one a seed.
    #[arg(long, default_value_t = 4)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What the recalibrator may do.
    #[arg(long, value_enum, default_value_t = Policy::Guarded)]
    policy: Policy,
    /// Benign changes: a season of 3 dB, load steps, gain steps of 2 dB.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Change::Season, Change::Load, Change::Gain])]
    changes: Vec<Change>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Policy {
    Frozen,
    Guarded,
    Symmetric,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Change {
    Season,
    Load,
    Gain,
}

/// Sums over machines.
#[derive(Debug, Default)]
struct Tally {
    machines: usize,
    healthy_hours: f64,
    false_pages: u64,
    false_alerts: u64,
    failures: usize,
    paged: usize,
    alerted: usize,
    failures_told: usize,
    drifts: usize,
    drifts_told: usize,
    rounds: usize,
    suspected: usize,
}

/// Runs it.
pub(crate) fn run(options: &Options) -> Result<Report> {
    report(&tally(options)?)
}

fn tally(options: &Options) -> Result<Tally> {
    ensure!(
        options.days >= 20,
        "--days: a failure takes 10 days, and 9 pass before any begins"
    );
    let mut tally = Tally::default();
    for seed in options.seed..options.seed + options.seeds {
        let fleet = Fleet::generate(options.config(seed))?;
        for class in Class::ALL {
            judge_class(&fleet, class, options, &mut tally)?;
        }
        eprintln!("seed {seed}: {tally:?}");
    }
    Ok(tally)
}

impl Options {
    fn config(&self, seed: u64) -> Config {
        let length = DAY * self.days;
        let rest = self.rest();
        let mut config = Config {
            machines: self.machines,
            interval: Duration::from_secs(60 * self.interval_min),
            length,
            ..Config::with_seed(seed)
        };
        config.failures.count = self.failures;
        config.failures.healthy = SETTLED;
        config.benign = self.changes.iter().map(|change| change.benign(rest)).collect();
        config
    }

    /// Time after commissioning and settling.
    fn rest(&self) -> Duration {
        (DAY * self.days).saturating_sub(SETTLED)
    }

    /// When a machine is moved by a step, of whatever kind.
    fn steps(&self, machine: &Machine, class: Class) -> Vec<Duration> {
        let rest = self.rest();
        let steps = self.changes.iter().filter_map(|change| match change.benign(rest) {
            Benign::Season { .. } => None,
            Benign::LoadSteps { first, gap, .. } => Some(first + gap * class as u32),
            Benign::GainSteps { first, gap, parts, .. } => {
                Some(first + gap * (machine.index() / Class::ALL.len() % parts) as u32)
            }
        });
        steps.collect()
    }
}

impl Change {
    fn benign(self, rest: Duration) -> Benign {
        match self {
            Self::Season => Benign::Season {
                swing_db: 3.0,
                period: SETTLED + rest,
            },
            Self::Load => Benign::LoadSteps {
                first: SETTLED + rest / 8,
                gap: rest / 4,
                by: 0.2,
            },
            Self::Gain => Benign::GainSteps {
                first: SETTLED + rest / 4,
                gap: rest / 4,
                db: 2.0,
                parts: 3,
            },
        }
    }
}

fn judge_class(fleet: &Fleet, class: Class, options: &Options, tally: &mut Tally) -> Result<()> {
    let machines: Vec<&Machine> = fleet
        .machines()
        .iter()
        .filter(|machine| machine.class() == class)
        .collect();
    let rows = machines
        .iter()
        .map(|machine| rows(fleet, machine))
        .collect::<Result<Vec<_>>>()?;
    let lives = MachineLife::from_rows(fleet.spec(), rows.iter().flatten())?;
    drop(rows);
    let rules = Rules {
        commission: 134,
        step_s: fleet.config().interval.as_secs_f64(),
        ..Rules::default()
    };
    let recalibration = match options.policy {
        Policy::Frozen => Recalibration::Frozen,
        Policy::Guarded => Recalibration::guarded(),
        Policy::Symmetric => Recalibration::Symmetric,
    };
    let stories = judge_following(&lives, &rules, Schedule::default(), recalibration)?;
    for (life, story) in lives.iter().zip(&stories) {
        let machine = machines
            .iter()
            .find(|machine| life.name == format!("harbor/{}", machine.name()));
        tally.add(
            machine.context("a life without a machine")?,
            story,
            fleet.config(),
            options,
        );
    }
    Ok(())
}

fn rows(fleet: &Fleet, machine: &Machine) -> Result<Vec<Row>> {
    let bins = usize::from(fleet.spec().bins);
    let mut buffer = vec![0.0; fleet.row_length()];
    let mut stream = machine.stream();
    let mut rows = Vec::new();
    while let Some(reading) = stream.next_into(&mut buffer) {
        if machine
            .failure()
            .is_some_and(|failure| reading.captured_at > failure.failure)
        {
            break;
        }
        for (sensor, spectrum) in buffer.chunks_exact(bins).enumerate() {
            rows.push(Row {
                sensor: SensorName {
                    site: Slug::parse("site", "harbor")?,
                    machine: machine.name().clone(),
                    sensor: Slug::parse("sensor", &format!("axis-{}", sensor + 1))?,
                },
                captured_at: reading.captured_at,
                bins: spectrum.to_vec(),
                rpm: reading.condition.rpm,
                load: reading.condition.load,
                label: None,
                split: None,
            });
        }
    }
    Ok(rows)
}

impl Tally {
    fn add(&mut self, machine: &Machine, story: &Story, config: &Config, options: &Options) {
        let is_page =
            |transition: &Transition| matches!(transition, Transition::Opened(Severity::Page) | Transition::Escalated);
        let onset = machine.failure().map_or(Timestamp::MAX, |failure| failure.onset);
        let healthy = story.transitions.iter().filter(|(at, _)| *at < onset);
        for (_, transition) in healthy {
            self.false_pages += u64::from(is_page(transition));
            self.false_alerts += u64::from(matches!(transition, Transition::Opened(_)));
        }
        let until = machine
            .failure()
            .map_or(config.length, |failure| failure.onset.since(config.start));
        self.machines += 1;
        self.healthy_hours += until.saturating_sub(SETTLED).as_secs_f64() / 3600.0;
        let failing = |at: Timestamp| at >= onset;
        if machine.failure().is_some() {
            let after: Vec<_> = story.transitions.iter().filter(|(at, _)| failing(*at)).collect();
            self.failures += 1;
            self.paged += usize::from(after.iter().any(|(_, transition)| is_page(transition)));
            self.alerted += usize::from(!after.is_empty());
            let first = after.first().map_or(config.start + config.length, |(at, _)| *at);
            let asked = first.since(config.start) + 2 * DAY;
            let told = |round: &&tocsin_evaluate::Round| config.start + round.since > onset && round.since <= asked;
            let suspected = story
                .rounds
                .iter()
                .filter(told)
                .any(|round| round.finding == Finding::Suspicion);
            self.failures_told += usize::from(suspected);
        }
        for step in options.steps(machine, machine.class()) {
            let asked = step + 2 * DAY;
            let round = story
                .rounds
                .iter()
                .find(|round| round.since >= asked && round.since < asked + DAY);
            let Some(round) = round.filter(|_| config.start + asked + DAY < onset) else {
                continue;
            };
            self.drifts += 1;
            self.drifts_told += usize::from(round.finding != Finding::Suspicion);
        }
        let healthy_rounds = || story.rounds.iter().filter(|round| config.start + round.since < onset);
        self.rounds += healthy_rounds().count();
        self.suspected += healthy_rounds()
            .filter(|round| round.finding == Finding::Suspicion)
            .count();
    }
}

fn report(tally: &Tally) -> Result<Report> {
    let mut report = Report::default();
    report.note("machines", tally.machines);
    for (name, events) in [("false_pages", tally.false_pages), ("false_alerts", tally.false_alerts)] {
        let rate = event_rate(events, tally.healthy_hours, 0.95).context("no healthy hour was judged")?;
        report.note(
            name,
            json!({
                "events": events,
                "machine_hours": rate.exposure.round(),
                "per_machine_year": rate.rate * 8_766.0,
                "per_machine_year_upper_95": rate.upper * 8_766.0,
            }),
        );
    }
    report.note("failures", tally.failures);
    report.note("paged", tally.paged);
    report.note("alerted", tally.alerted);
    report.note("failures_told_from_drift", tally.failures_told);
    report.note("benign_steps", tally.drifts);
    report.note("benign_steps_told_from_failure", tally.drifts_told);
    let cases = tally.failures + tally.drifts;
    report.figure(
        "told_apart",
        (tally.failures_told + tally.drifts_told) as f64 / cases.max(1) as f64,
    );
    report.figure(
        "healthy_rounds_suspected",
        tally.suspected as f64 / tally.rounds.max(1) as f64,
    );
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_benign_months_raise_no_page_and_the_failures_in_them_are_suspected() {
        let options = Options {
            machines: 30,
            days: 40,
            interval_min: 10,
            failures: 6,
            seeds: 1,
            seed: 1,
            policy: Policy::Guarded,
            changes: vec![Change::Season, Change::Load, Change::Gain],
        };
        let tally = tally(&options).unwrap();
        assert_eq!(
            (tally.machines, tally.false_pages, tally.failures),
            (30, 0, 6),
            "{tally:?}"
        );
        assert!(tally.failures_told >= 5, "{tally:?}");
        assert!(
            tally.drifts > 20 && 10 * tally.drifts_told >= 8 * tally.drifts,
            "{tally:?}"
        );
    }
}
