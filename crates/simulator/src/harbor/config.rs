//! What a harbor is drawn from.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_domain::spec::Axis;
use tocsin_domain::{Invalid, SpectrumSpec, Timestamp};

use super::Benign;
use crate::FaultKind;

const DAY: Duration = Duration::from_hours(24);

/// Length of one waveform behind a spectrum in lines of its transform: 2,560 samples, as on the FEMTO rig.
const TRANSFORM_LINES: f64 = 1_280.0;
/// Lines of a Hann-windowed transform that hold what one independent line would: its noise bandwidth.
const LINES_PER_INDEPENDENT: f64 = 1.5;
/// Bins that amplitudes of lines are stated for.
const REFERENCE_BINS: f64 = 64.0;
/// Upper edge of a spectrum over orders: at the highest speed of the fastest class 8.7 kHz, within what is sampled.
const ORDERS: f64 = 128.0;

/// What a fleet is drawn from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The same seed gives the same fleet and the same readings.
    pub seed: u64,
    /// Number of machines, 1 to 9,999.
    pub machines: usize,
    /// Sensors on each machine, 1 to 8: directions of the same bearing.
    pub sensors: usize,
    /// Bins of a spectrum, 32 to 4,096.
    pub bins: u16,
    /// What they are counted along: hertz, to 12.8 kHz, or orders, to 128 of the shaft.
    pub axis: Axis,
    /// Spectra averaged into one reading, 1 or more.
    pub averages: u16,
    /// Time of the first step.
    pub start: Timestamp,
    /// Time that is streamed.
    pub length: Duration,
    /// Time between steps.
    pub interval: Duration,
    /// How much machines differ, 0 to 2. 1 is a deviation of 2 dB in gain, up to 2 dB of transfer path, 3 % of
    /// resonances, 6 % of speed.
    pub individuality: f64,
    /// What machines do all day.
    pub duty: Duty,
    /// Deviation in dB of the slow wander of each machine's gain, and of its tilt from the bottom of the range to the top.
    pub wander_db: f64,
    /// Deviation in dB of the gain from one reading to the next: a process is never quite steady.
    pub unrest_db: f64,
    /// Short disturbances.
    pub transients: Transients,
    /// Whether readings say speed and load.
    pub reports_condition: bool,
    /// Changes that are no fault. Effects in dB add.
    pub benign: Vec<Benign>,
    /// Machines that fail.
    pub failures: Failures,
    /// Deviations of a known size, on other machines.
    pub ramps: Ramps,
}

/// A day's work: stretches at their own speed and load, which repeat with some variation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Duty {
    /// Largest share by which a stretch is faster or slower than nominal, 0 to 0.5.
    pub speed_swing: f64,
    /// Least and largest load of a stretch, as shares of rated power, 0 to 1.
    pub load: [f64; 2],
    /// Shortest and longest stretch, in whole seconds, at least one.
    pub dwell: [Duration; 2],
}

/// Short disturbances that mean nothing: a neighbour starts, something knocks against a pipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transients {
    /// How many a machine has in a day, 0 to 24.
    pub per_day: f64,
    /// Shortest and longest, in whole seconds, up to an hour.
    pub lasting: [Duration; 2],
    /// Least and largest rise of broadband noise at half load, in dB.
    pub rise_db: [f64; 2],
}

/// Failures to come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failures {
    /// How many machines fail.
    pub count: usize,
    /// Time from the start in which none begins.
    pub healthy: Duration,
    /// Time from each failure's onset to its end. Every one ends within the fleet's length.
    pub life: Duration,
    /// Least and largest change at the end, in dB, in the bins that a fault shows in. ISO 10816-1 (annex B) spaces its
    /// zones a factor of 2.5 apart, which is 8 dB: the default 10 to 20 dB take a good machine beyond the last.
    pub change_db: [f64; 2],
    /// Least and largest exponent of the growth: 0 is linear, at 5 half of it comes in the last seventh of the life.
    pub growth: [f64; 2],
    /// The kinds, each drawn once before one comes twice.
    pub kinds: Vec<FaultKind>,
}

/// Deviations to inject: a rise in a few neighbouring bins, linear in dB.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramps {
    /// How many machines get one; none of those that fail.
    pub count: usize,
    /// Time from the start in which none begins.
    pub healthy: Duration,
    /// Time from each one's onset until it is complete. Every one is complete within the fleet's length.
    pub life: Duration,
    /// Its size when complete, in dB; negative is a fall.
    pub rise_db: f64,
    /// How many neighbouring bins it has.
    pub bins: u16,
}

impl Config {
    /// A healthy harbor: six days of 600 machines with a sensor each, a spectrum of 64 bins every ten seconds. Failures
    /// and ramps have their ten days set, and come when a count is given (and the length to hold them).
    pub fn with_seed(seed: u64) -> Self {
        Self {
            seed,
            machines: 600,
            sensors: 1,
            bins: 64,
            axis: Axis::Hertz,
            averages: 1,
            start: Timestamp::from_micros(1_772_409_600_000_000), // 2026-03-02
            length: 6 * DAY,
            interval: Duration::from_secs(10),
            individuality: 1.0,
            duty: Duty {
                speed_swing: 0.3,
                load: [0.3, 0.9],
                dwell: [Duration::from_mins(5), Duration::from_hours(2)],
            },
            wander_db: 0.3,
            unrest_db: 0.2,
            transients: Transients {
                per_day: 1.0,
                lasting: [Duration::from_secs(2), Duration::from_secs(30)],
                rise_db: [3.0, 10.0],
            },
            reports_condition: true,
            benign: Vec::new(),
            failures: Failures {
                count: 0,
                healthy: 2 * DAY,
                life: 10 * DAY,
                change_db: [10.0, 20.0],
                growth: [2.0, 5.0],
                kinds: FaultKind::ALL.to_vec(),
            },
            ramps: Ramps {
                count: 0,
                healthy: 2 * DAY,
                life: 10 * DAY,
                rise_db: 6.0,
                bins: 3,
            },
        }
    }

    /// Steps in the whole length: one at the start, then one an interval.
    pub fn steps(&self) -> u64 {
        (self.length.as_micros() / self.interval.as_micros().max(1)) as u64
    }

    pub(super) fn spec(&self) -> SpectrumSpec {
        let default = SpectrumSpec::corpus_default(self.bins);
        SpectrumSpec {
            axis: self.axis,
            f_max: match self.axis {
                Axis::Hertz => default.f_max,
                Axis::Orders => ORDERS,
            },
            averages: self.averages,
            ..default
        }
    }

    /// Independent powers, each of two degrees of freedom, whose mean a bin without lines is.
    pub(super) fn pairs(&self) -> f64 {
        let lines = TRANSFORM_LINES / f64::from(self.bins);
        f64::from(self.averages) * (lines / LINES_PER_INDEPENDENT).max(1.0)
    }

    /// Gain of a tone's amplitude in a bin, against bins of 200 Hz: the mean of fewer lines dilutes it less.
    pub(super) fn tone_gain(&self) -> f64 {
        f64::from(self.bins).min(TRANSFORM_LINES) / REFERENCE_BINS
    }

    /// Whether all of it makes sense; the error names the field.
    pub(super) fn check(&self) -> Result<(), Invalid> {
        self.spec().parse()?;
        let demands = [
            ("machines", (1..=9_999).contains(&self.machines), "must be 1 to 9999"),
            ("sensors", (1..=8).contains(&self.sensors), "must be 1 to 8"),
            (
                "interval",
                self.interval >= Duration::from_millis(1),
                "must be at least a millisecond",
            ),
            ("length", self.length >= self.interval, "must be at least an interval"),
            ("length", self.length <= 3_660 * DAY, "must be at most ten years"),
            ("individuality", within(self.individuality, 2.0), "must be 0 to 2"),
            ("wander_db", within(self.wander_db, 10.0), "must be 0 to 10"),
            ("unrest_db", within(self.unrest_db, 10.0), "must be 0 to 10"),
        ];
        refuse(&demands)?;
        self.duty.check()?;
        self.transients.check()?;
        self.benign.iter().try_for_each(Benign::check)?;
        self.failures.check(self.length)?;
        self.ramps.check(self.length, self.bins)?;
        let fated = self.failures.count.saturating_add(self.ramps.count);
        refuse(&[(
            "failures.count",
            fated <= self.machines,
            "more failures and ramps than machines",
        )])
    }
}

impl Duty {
    fn check(&self) -> Result<(), Invalid> {
        refuse(&[
            ("duty.speed_swing", within(self.speed_swing, 0.5), "must be 0 to 0.5"),
            ("duty.load", range(self.load, 0.0, 1.0), "must be a range in 0 to 1"),
            (
                "duty.dwell",
                whole_seconds(self.dwell, DAY * 30),
                "must be a range of whole seconds from 1 s to 30 days",
            ),
        ])
    }
}

impl Transients {
    fn check(&self) -> Result<(), Invalid> {
        let hour = Duration::from_hours(1);
        refuse(&[
            ("transients.per_day", within(self.per_day, 24.0), "must be 0 to 24"),
            (
                "transients.lasting",
                whole_seconds(self.lasting, hour),
                "must be a range of whole seconds from 1 s to 1 h",
            ),
            (
                "transients.rise_db",
                range(self.rise_db, 0.0, 60.0),
                "must be a range in 0 to 60",
            ),
        ])
    }
}

impl Failures {
    fn check(&self, length: Duration) -> Result<(), Invalid> {
        let fits = self.count == 0 || self.healthy.saturating_add(self.life) <= length;
        refuse(&[
            ("failures.life", !self.life.is_zero(), "must be above zero"),
            (
                "failures.life",
                fits,
                "does not fit between the healthy time and the end",
            ),
            (
                "failures.change_db",
                range(self.change_db, 0.1, 40.0),
                "must be a range in 0.1 to 40",
            ),
            (
                "failures.growth",
                range(self.growth, 0.0, 20.0),
                "must be a range in 0 to 20",
            ),
            (
                "failures.kinds",
                self.count == 0 || !self.kinds.is_empty(),
                "must name at least one",
            ),
        ])
    }
}

impl Ramps {
    fn check(&self, length: Duration, bins: u16) -> Result<(), Invalid> {
        let fits = self.count == 0 || self.healthy.saturating_add(self.life) <= length;
        refuse(&[
            ("ramps.life", !self.life.is_zero(), "must be above zero"),
            ("ramps.life", fits, "does not fit between the healthy time and the end"),
            ("ramps.rise_db", within(self.rise_db.abs(), 60.0), "must be -60 to 60"),
            (
                "ramps.bins",
                (1..=bins).contains(&self.bins),
                "must be 1 to the bins of a spectrum",
            ),
        ])
    }
}

/// The first demand that does not hold, as an error.
pub(super) fn refuse(demands: &[(&str, bool, &str)]) -> Result<(), Invalid> {
    match demands.iter().find(|(_, holds, _)| !holds) {
        Some((field, _, reason)) => Err(Invalid::new(*field, *reason)),
        None => Ok(()),
    }
}

/// Whether a number is 0 to `most`; NaN is not.
pub(super) fn within(value: f64, most: f64) -> bool {
    (0.0..=most).contains(&value)
}

fn range([low, high]: [f64; 2], least: f64, most: f64) -> bool {
    least <= low && low <= high && high <= most
}

fn whole_seconds([low, high]: [Duration; 2], most: Duration) -> bool {
    let whole = [low, high].iter().all(|length| length.subsec_nanos() == 0);
    whole && Duration::from_secs(1) <= low && low <= high && high <= most
}
