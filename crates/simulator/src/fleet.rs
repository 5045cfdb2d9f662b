//! Which machines there are, and what makes each its own.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_detect::Bearing;
use tocsin_domain::spec::{Amplitude, Axis, Quantity};
use tocsin_domain::{Invalid, Slug, SpectrumSpec, Timestamp, Unit};

use crate::channel::{Channel, Strengths};
use crate::construction::SPINDLE;
use crate::draws::Draws;
use crate::program::{Climate, OperatingPoint, Program};

/// Names of the first sites; further ones are numbered.
const SITES: [&str; 4] = ["porto", "brno", "aachen", "turin"];

/// What a fleet is drawn from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetConfig {
    /// The same seed gives the same fleet and the same readings.
    pub seed: u64,
    /// Number of sites, 1 to 99.
    pub sites: usize,
    /// Machines in each site, 1 to 999.
    pub machines_per_site: usize,
    /// Names of the sensors on each machine.
    pub sensors: Vec<Slug>,
    /// What the sensors declare: acceleration in g peak over Hz. Its `averages` set the noise.
    pub spec: SpectrumSpec,
    /// How much machines differ: 0 is not at all, 1 is up to some 2 dB in a band.
    pub individuality: f64,
    /// Length of a day, over which temperature swings.
    pub day: Duration,
    /// Length of a year.
    pub season: Duration,
    /// Share of amplitude the day's temperature moves up and down.
    pub daily_swing: f64,
    /// Share of amplitude the season moves up and down.
    pub seasonal_swing: f64,
    /// Share of the time a machine stands still, 0 to 0.9.
    pub stop_share: f64,
}

impl FleetConfig {
    /// Two sites of twelve machines, two channels each on 64 bins to 12.8 kHz; real days and years, never stopped.
    pub fn with_seed(seed: u64) -> Self {
        let channel = |name| Slug::parse("sensor", name).expect("the name is one");
        Self {
            seed,
            sites: 2,
            machines_per_site: 12,
            sensors: vec![channel("spindle-x"), channel("spindle-y")],
            spec: SpectrumSpec {
                averages: 8,
                ..SpectrumSpec::corpus_default(64)
            },
            individuality: 1.0,
            day: Duration::from_hours(24),
            season: Duration::from_hours(24 * 365),
            daily_swing: 0.02,
            seasonal_swing: 0.03,
            stop_share: 0.0,
        }
    }

    /// The same fleet in fast motion: four years of three days within `window`, so that a training window (and its
    /// last quarter, kept for calibration) sees all of it.
    #[must_use]
    pub fn compressed(self, window: Duration) -> Self {
        Self {
            season: window / 4,
            day: window / 12,
            ..self
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        let spec = self.spec.clone().parse()?;
        let acceleration = matches!(spec.quantity, Quantity::Acceleration) && spec.unit == Unit::G;
        let positive = |duration: Duration| duration >= Duration::from_mins(1);
        let share = |value: f64, most: f64| (0.0..=most).contains(&value);
        let demands = [
            ("sites", (1..=99).contains(&self.sites), "must be 1 to 99"),
            (
                "machines_per_site",
                (1..=999).contains(&self.machines_per_site),
                "must be 1 to 999",
            ),
            ("sensors", !self.sensors.is_empty(), "must name at least one"),
            ("spec.quantity", acceleration, "must be acceleration in g"),
            ("spec.amplitude", spec.amplitude == Amplitude::Peak, "must be peak"),
            ("spec.axis", spec.axis == Axis::Hertz, "must be hertz"),
            ("individuality", share(self.individuality, 1.5), "must be 0 to 1.5"),
            ("day", positive(self.day), "must be at least a minute"),
            ("season", positive(self.season), "must be at least a minute"),
            ("daily_swing", share(self.daily_swing, 0.5), "must be 0 to 0.5"),
            ("seasonal_swing", share(self.seasonal_swing, 0.5), "must be 0 to 0.5"),
            ("stop_share", share(self.stop_share, 0.9), "must be 0 to 0.9"),
        ];
        match demands.iter().find(|(_, holds, _)| !holds) {
            Some((field, _, reason)) => Err(Invalid::new(*field, *reason)),
            None => Ok(()),
        }
    }
}

/// A machine: a spindle on two bearings behind a cutter, with its own part program.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The site it stands in.
    pub site: Slug,
    /// Its name, unique in the site.
    pub name: Slug,
    /// Its spindle bearing.
    pub bearing: Bearing,
    /// Teeth of its cutter.
    pub teeth: u16,
    pub(crate) climate: Climate,
    pub(crate) program: Program,
    /// Strength of shaft lines, of cutting lines and of broadband noise against the class's.
    pub(crate) strengths: Strengths,
}

/// One channel of a machine.
#[derive(Debug, Clone)]
pub struct Sensor {
    /// Index of its machine in [`Fleet::machines`].
    pub machine: usize,
    /// Its name, unique on the machine.
    pub name: Slug,
    pub(crate) channel: Channel,
}

/// Machines and their sensors, as drawn from a [`FleetConfig`].
#[derive(Debug, Clone)]
pub struct Fleet {
    config: FleetConfig,
    machines: Vec<Machine>,
    sensors: Vec<Sensor>,
}

impl Fleet {
    /// Draws a fleet; the error names the field of the config.
    pub fn generate(config: FleetConfig) -> Result<Self, Invalid> {
        config.check()?;
        let mut machines = Vec::new();
        let mut sensors = Vec::new();
        for site in 0..config.sites {
            let name = SITES
                .get(site)
                .map_or_else(|| format!("site-{:02}", site + 1), |name| (*name).to_owned());
            let name = Slug::parse("sites", &name)?;
            let climate = Climate::draw(&mut Draws::new(config.seed, &[1, site as u64]));
            for number in 1..=config.machines_per_site {
                let mut draws = Draws::new(config.seed, &[2, machines.len() as u64]);
                let machine = Machine::draw(&name, number, climate, &mut draws, &config)?;
                for sensor in &config.sensors {
                    let mut draws = Draws::new(config.seed, &[3, sensors.len() as u64]);
                    let channel = Channel::draw(
                        &SPINDLE,
                        &machine.strengths,
                        &config.spec,
                        config.individuality,
                        &mut draws,
                    );
                    sensors.push(Sensor {
                        machine: machines.len(),
                        name: sensor.clone(),
                        channel,
                    });
                }
                machines.push(machine);
            }
        }
        Ok(Self {
            config,
            machines,
            sensors,
        })
    }

    /// What the fleet was drawn from.
    pub fn config(&self) -> &FleetConfig {
        &self.config
    }

    /// The machines, site by site.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// The sensors, machine by machine. A sensor is named by its index here.
    pub fn sensors(&self) -> &[Sensor] {
        &self.sensors
    }

    /// The full name of a sensor, `site/machine/sensor`.
    ///
    /// # Panics
    /// If there is no such sensor.
    pub fn sensor_path(&self, sensor: usize) -> String {
        let Sensor { machine, name, .. } = &self.sensors[sensor];
        let machine = &self.machines[*machine];
        format!("{}/{}/{name}", machine.site, machine.name)
    }

    /// What a machine is doing at `at`: the same for all its sensors.
    ///
    /// # Panics
    /// If there is no such machine.
    pub fn operating_point(&self, machine: usize, at: Timestamp) -> OperatingPoint {
        let mut draws = Draws::new(self.config.seed, &[4, machine as u64, at.as_micros() as u64]);
        self.machines[machine].program.at(at, &mut draws)
    }
}

impl Machine {
    fn draw(
        site: &Slug,
        number: usize,
        climate: Climate,
        draws: &mut Draws,
        config: &FleetConfig,
    ) -> Result<Self, Invalid> {
        let spread = 0.08 * config.individuality;
        // A pair of angular contact bearings, as spindles of this speed have.
        let bearing = Bearing::new(14, 9.5 * draws.near_one(0.01), 58.0, 15.0)
            .map_err(|error| Invalid::new(format!("bearing.{}", error.field), error.reason))?;
        Ok(Self {
            site: site.clone(),
            name: Slug::parse("machines_per_site", &format!("cnc-{number:02}"))?,
            bearing,
            teeth: SPINDLE.passes,
            climate,
            program: Program::draw(draws, config),
            strengths: Strengths {
                shaft: draws.near_one(spread),
                passing: draws.near_one(spread),
                broadband: draws.near_one(spread),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_has_the_machines_and_sensors_asked_for_under_distinct_names() {
        let fleet = Fleet::generate(FleetConfig {
            sites: 5,
            ..FleetConfig::with_seed(1)
        })
        .unwrap();
        assert_eq!((fleet.machines().len(), fleet.sensors().len()), (60, 120));
        let names: std::collections::BTreeSet<String> = (0..120).map(|sensor| fleet.sensor_path(sensor)).collect();
        assert_eq!(names.len(), 120);
        assert!(names.contains("porto/cnc-01/spindle-x") && names.contains("site-05/cnc-12/spindle-y"));
    }

    #[test]
    fn a_wrong_number_in_the_config_is_named() {
        let good = FleetConfig::with_seed(1);
        let velocity = SpectrumSpec {
            amplitude: Amplitude::Rms,
            ..good.spec.clone()
        };
        let cases = [
            (
                FleetConfig {
                    sites: 0,
                    ..good.clone()
                },
                "sites",
            ),
            (
                FleetConfig {
                    sensors: vec![],
                    ..good.clone()
                },
                "sensors",
            ),
            (
                FleetConfig {
                    spec: velocity,
                    ..good.clone()
                },
                "spec.amplitude",
            ),
            (
                FleetConfig {
                    spec: SpectrumSpec::corpus_default(8),
                    ..good.clone()
                },
                "spec.bins",
            ),
            (
                FleetConfig {
                    individuality: f64::NAN,
                    ..good.clone()
                },
                "individuality",
            ),
            (
                FleetConfig {
                    stop_share: 1.0,
                    ..good.clone()
                },
                "stop_share",
            ),
            (
                FleetConfig {
                    day: Duration::ZERO,
                    ..good.clone()
                },
                "day",
            ),
        ];
        for (config, field) in cases {
            assert_eq!(Fleet::generate(config).unwrap_err().field, field);
        }
    }

    #[test]
    fn machines_run_within_bounds_and_pause_as_often_as_configured() {
        let config = FleetConfig {
            stop_share: 0.2,
            ..FleetConfig::with_seed(3)
        };
        let fleet = Fleet::generate(config).unwrap();
        let steps = 8_640;
        let mut stopped = 0;
        for step in 0..steps {
            let point = fleet.operating_point(step % 24, Timestamp::from_micros(step as i64 * 10_000_000));
            if point.is_stopped() {
                stopped += 1;
            } else {
                assert!((5_300.0..6_700.0).contains(&point.rpm), "{point:?}");
                assert!((0.1..=1.0).contains(&point.load), "{point:?}");
            }
        }
        let share = f64::from(stopped) / steps as f64;
        assert!((share - 0.2).abs() < 0.02, "{share}");
    }
}
