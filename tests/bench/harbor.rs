//! Harbor: a simulated fleet judged in process, reading by reading. How many failures are caught, and how many false
//! pages does a healthy fleet raise?
//!
//! The first day of every machine commissions it, the second sets its class's limits by fleet replay, and the rest is
//! judged by the code that serves, while the baselines follow their class every day. `tocsin_simulator::harbor` says what is modelled.

mod budget;
mod fleet;
mod watched;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::json;
use tocsin_detect::drift::FollowRule;
use tocsin_detect::poisson::event_rate;
use tocsin_judge::{FleetReplay, Role};
use tocsin_simulator::harbor::{Config, Fleet};

use crate::report::Report;
use fleet::judge;
use watched::{Fate, Outcome};

const DAY: Duration = Duration::from_hours(24);

/// Settings.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Machines of the fleet.
    #[arg(long, default_value_t = 600)]
    machines: usize,
    /// Days judged, after two of commissioning and limits.
    #[arg(long, default_value_t = 6)]
    days: u32,
    /// Seconds between readings.
    #[arg(long, default_value_t = 10)]
    interval: u64,
    /// Fleets, one a seed.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Machines that fail, each over ten days; the days judged are then at least twelve.
    #[arg(long, default_value_t = 0)]
    failures: usize,
    /// The page line over what healthy machines reach.
    #[arg(long, default_value_t = 2.5)]
    page_factor: f64,
    /// Instead of a page factor, the most pages a day that the fleet is to expect: the smallest factor is taken whose replay
    /// over the day on which limits are set keeps to it.
    #[arg(long, conflicts_with = "page_factor")]
    pages_per_day: Option<f64>,
    /// The alert line over what healthy machines reach, of what looks both ways.
    #[arg(long, default_value_t = 2.0)]
    two_sided_factor: f64,
    /// Let a shift in either direction alert alone, not page.
    #[arg(long)]
    shift_alerts: bool,
    /// Leave the baselines as they were commissioned, instead of letting them follow day by day.
    #[arg(long)]
    frozen: bool,
    /// Size of a season over 60 days, in dB up and down.
    #[arg(long, default_value_t = 0.0)]
    season_db: f64,
}

/// Runs it.
pub(crate) fn run(options: &Options) -> Result<Report> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    let started = Instant::now();
    for seed in options.seed..options.seed + options.seeds {
        let fleet = Fleet::generate(options.config(seed))?;
        let judged = judge(
            &fleet,
            &options.method()?,
            options.pages_per_day,
            (DAY, 2 * DAY),
            options.follow(),
        )?;
        let pages: usize = judged.iter().map(|machine| machine.false_pages).sum();
        eprintln!(
            "seed {seed}: {pages} false pages, {:.0} s",
            started.elapsed().as_secs_f64()
        );
        outcomes.extend(judged);
    }
    report(options, &outcomes, started.elapsed())
}

impl Options {
    fn method(&self) -> Result<FleetReplay> {
        let own = FleetReplay::default();
        let method = FleetReplay {
            page_factor: self.page_factor,
            two_sided_factor: self.two_sided_factor,
            shift: if self.shift_alerts { Role::Alert } else { own.shift },
            ..own
        };
        Ok(method.parse()?)
    }

    fn follow(&self) -> Option<FollowRule> {
        (!self.frozen).then(FollowRule::default)
    }

    fn config(&self, seed: u64) -> Config {
        let days = if self.failures > 0 {
            self.days.max(12)
        } else {
            self.days
        };
        let mut config = Config {
            machines: self.machines,
            interval: Duration::from_secs(self.interval),
            length: DAY * (2 + days),
            ..Config::with_seed(seed)
        };
        config.failures.count = self.failures;
        if self.season_db > 0.0 {
            config.benign.push(tocsin_simulator::harbor::Benign::Season {
                swing_db: self.season_db,
                period: 60 * DAY,
            });
        }
        config
    }
}

fn report(options: &Options, outcomes: &[Outcome], elapsed: Duration) -> Result<Report> {
    ensure!(!outcomes.is_empty(), "--machines: no machine was judged");
    let mut report = Report::default();
    let healthy_hours: f64 = outcomes.iter().map(|machine| machine.healthy_hours).sum();
    let readings: u64 = outcomes.iter().map(|machine| machine.readings).sum();
    report.note("machines", outcomes.len());
    report.note("readings", readings);
    report.figure("readings_per_second", readings as f64 / elapsed.as_secs_f64());
    for (name, events) in [
        (
            "pages",
            outcomes.iter().map(|machine| machine.false_pages).sum::<usize>(),
        ),
        (
            "alerts",
            outcomes.iter().map(|machine| machine.false_alerts).sum::<usize>(),
        ),
    ] {
        let rate = event_rate(events as u64, healthy_hours, 0.95).context("no healthy hour was judged")?;
        let fleet_day = 24.0 * options.machines as f64;
        report.note(
            format!("false_{name}"),
            json!({
                "events": events,
                "machine_hours": healthy_hours,
                "per_fleet_day": rate.rate * fleet_day,
                "per_fleet_day_upper_95": rate.upper * fleet_day,
                "per_machine_year": rate.rate * 8_766.0,
            }),
        );
    }
    let failing: Vec<&Outcome> = outcomes.iter().filter(|machine| machine.fate.is_some()).collect();
    if !failing.is_empty() {
        let caught = |of: fn(&Fate) -> Option<f64>| failing.iter().filter_map(|m| of(m.fate.as_ref()?)).count();
        report.note("failures", failing.len());
        report.note("caught_by_page", caught(|fate| fate.paged_at));
        report.note("caught_by_alert", caught(|fate| fate.alerted_at));
        for machine in failing {
            let fate = machine.fate.as_ref().expect("only failing machines are here");
            report.note(
                format!("{} {}", machine.name, fate.kind),
                json!({
                    "change_db": fate.change_db, "alert_at_share": fate.alerted_at, "page_at_share": fate.paged_at,
                }),
            );
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(machines: usize, days: u32, interval: u64, failures: usize) -> Options {
        Options {
            machines,
            days,
            interval,
            seeds: 1,
            seed: 1,
            failures,
            page_factor: 2.5,
            pages_per_day: None,
            two_sided_factor: 2.0,
            shift_alerts: false,
            frozen: false,
            season_db: 0.0,
        }
    }

    fn outcomes(options: &Options) -> Vec<Outcome> {
        let fleet = Fleet::generate(options.config(1)).unwrap();
        judge(
            &fleet,
            &options.method().unwrap(),
            options.pages_per_day,
            (DAY, 2 * DAY),
            options.follow(),
        )
        .unwrap()
    }

    #[test]
    fn a_hundredth_of_the_healthy_harbor_raises_no_page() {
        let judged = outcomes(&options(36, 1, 10, 0));
        let hours: f64 = judged.iter().map(|machine| machine.healthy_hours).sum();
        assert!((hours - 36.0 * 24.0).abs() < 1.0, "{hours}");
        assert_eq!(judged.iter().map(|machine| machine.false_pages).sum::<usize>(), 0);
    }

    #[test]
    fn most_of_a_few_failures_are_caught_before_their_end() {
        let judged = outcomes(&options(24, 12, 60, 9));
        let fates: Vec<&Fate> = judged.iter().filter_map(|machine| machine.fate.as_ref()).collect();
        let caught = fates
            .iter()
            .filter(|fate| fate.paged_at.is_some_and(|at| at <= 1.0))
            .count();
        assert!(fates.len() == 9 && caught >= 6, "{fates:#?}");
    }
}
