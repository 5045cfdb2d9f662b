//! Harbor: a simulated fleet judged in process, reading by reading. How many failures are caught, and how many false
//! pages does a healthy fleet raise?
//!
//! The first day of every machine commissions it, the second sets its class's limits by fleet replay, and the rest is
//! judged by the code that serves, while the baselines follow their class every day. `tocsin_simulator::harbor` says what is modelled.
//!
//! With `--network` an autoencoder for each class is trained on its first day as well, and the same readings are judged by
//! several limits side by side: by the autoencoder alone, with the energy beside it, and by the whole ensemble.

mod budget;
mod feed;
mod fleet;
mod lanes;
mod network;
mod report;
mod textbook;
mod watched;

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use tocsin_detect::drift::FollowRule;
use tocsin_judge::{FleetReplay, Role};
use tocsin_simulator::harbor::{Config, Fleet};

use crate::report::Report;
use fleet::{Judged, LIMITED, Procedure, judge};
use network::Training;

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
    /// Train an autoencoder for each class, and judge by it alone, with the energy, and by the whole ensemble, side by side.
    #[arg(long)]
    network: bool,
    #[command(flatten)]
    training: Training,
}

/// Runs it.
pub(crate) fn run(options: &Options) -> Result<Report> {
    let mut lanes: Vec<Judged> = Vec::new();
    let started = Instant::now();
    for seed in options.seed..options.seed + options.seeds {
        let fleet = Fleet::generate(options.config(seed))?;
        let judged = judge(&fleet, &options.procedure()?)?;
        for Judged { name, machines } in judged {
            let pages: usize = machines.iter().map(|machine| machine.false_pages).sum();
            let elapsed = started.elapsed().as_secs_f64();
            eprintln!("seed {seed}, {name}: {pages} false pages, {elapsed:.0} s");
            match lanes.iter_mut().find(|lane| lane.name == name) {
                Some(lane) => lane.machines.extend(machines),
                None => lanes.push(Judged { name, machines }),
            }
        }
    }
    report::of(&lanes, options.machines, started.elapsed())
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

    fn procedure(&self) -> Result<Procedure> {
        Ok(Procedure {
            method: self.method()?,
            pages_per_day: self.pages_per_day,
            follow: (!self.frozen).then(FollowRule::default),
            network: self.network.then_some(self.training),
        })
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
            length: LIMITED + DAY * days,
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

#[cfg(test)]
mod tests {
    use super::*;
    use watched::{Fate, Outcome};

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
            network: false,
            training: Training {
                training_readings: 30,
                epochs: 2,
                network_pages_per_day: 12.0,
            },
        }
    }

    fn judged(options: &Options) -> Vec<Judged> {
        let fleet = Fleet::generate(options.config(1)).unwrap();
        judge(&fleet, &options.procedure().unwrap()).unwrap()
    }

    fn false_pages(machines: &[Outcome]) -> usize {
        machines.iter().map(|machine| machine.false_pages).sum()
    }

    #[test]
    fn a_hundredth_of_the_healthy_harbor_raises_no_page() {
        let judged = &judged(&options(36, 1, 10, 0))[0];
        let hours: f64 = judged.machines.iter().map(|machine| machine.healthy_hours).sum();
        assert!((hours - 36.0 * 24.0).abs() < 1.0, "{hours}");
        assert_eq!(false_pages(&judged.machines), 0);
    }

    #[test]
    fn most_of_a_few_failures_are_caught_before_their_end() {
        let judged = &judged(&options(24, 12, 60, 9))[0];
        let fates: Vec<&Fate> = judged
            .machines
            .iter()
            .filter_map(|machine| machine.fate.as_ref())
            .collect();
        let caught = fates
            .iter()
            .filter(|fate| fate.paged_at.is_some_and(|at| at <= 1.0))
            .count();
        assert!(fates.len() == 9 && caught >= 6, "{fates:#?}");
    }

    #[test]
    fn with_a_network_the_same_readings_are_judged_by_every_kind_of_limits() {
        let with_network = Options {
            network: true,
            ..options(12, 1, 60, 0)
        };
        let lanes = judged(&with_network);
        let names: Vec<&str> = lanes.iter().map(|lane| lane.name).collect();
        let by_textbook = ["autoencoder, 99.95 %", "autoencoder and energy, 99.95 %"];
        assert!(
            by_textbook.iter().all(|name| names.contains(name)) && names.len() == 8,
            "{names:?}"
        );
        for lane in &lanes {
            let readings: u64 = lane.machines.iter().map(|machine| machine.readings).sum();
            assert_eq!(readings, 12 * 24 * 60, "{}", lane.name);
        }
        let of = |name: &str| {
            let lane = lanes.iter().find(|lane| lane.name == name);
            false_pages(&lane.unwrap_or_else(|| panic!("{name} in {names:?}")).machines)
        };
        assert_eq!(of("ensemble"), 0, "healthy machines stay silent");
        assert!(
            of("autoencoder by budget, 5 of 8") <= of("autoencoder by budget"),
            "persistence keeps pages back"
        );
    }
}
