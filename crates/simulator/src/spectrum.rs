//! From sources to one sensor's amplitude spectrum.
//!
//! Powers of incoherent sources add: lines and broadband noise pass through the structure to the sensor, whose own
//! floor adds at the end. A reading is the mean of several spectra, so that each bin's power scatters like a
//! chi-squared of as many pairs of degrees of freedom (Bendat & Piersol, "Random Data", 2010).

use std::f64::consts::TAU;

use tocsin_domain::{SpectrumSpec, Timestamp};

use crate::draws::Draws;
use crate::fault::{Broadening, add_lines};
use crate::fleet::{Fleet, FleetConfig, Strengths};
use crate::program::OperatingPoint;
use crate::{Machine, Schedule};

/// Amplitudes in g of the shaft's harmonics, from the first.
const SHAFT_G: [f64; 6] = [0.12, 0.06, 0.04, 0.025, 0.018, 0.012];

/// Amplitudes in g of the tooth-pass rate's harmonics at full load, from the first.
const CUTTING_G: [f64; 5] = [0.16, 0.1, 0.06, 0.035, 0.02];

/// Broadband noise in g a bin, at low frequency and full load.
const BROADBAND_G: f64 = 0.022;

/// Where broadband noise has fallen to half, in Hz.
const BROADBAND_CORNER_HZ: f64 = 7_000.0;

/// The sensor's own noise in g a bin.
const FLOOR_G: f32 = 0.0008;

/// The structure's resonances: centre and half width in Hz.
const RESONANCES_HZ: [(f64, f64); 3] = [(2_300.0, 250.0), (5_200.0, 450.0), (9_400.0, 700.0)];

/// One simulated reading.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedReading {
    /// Amplitudes in g peak, one per bin of the spec.
    pub bins: Vec<f32>,
    /// What the machine was doing.
    pub point: OperatingPoint,
}

impl Fleet {
    /// What sensor `sensor` measures at `at`.
    ///
    /// # Panics
    /// If there is no such sensor.
    pub fn reading(&self, schedule: &Schedule, sensor: usize, at: Timestamp) -> SimulatedReading {
        let mut bins = vec![0.0; usize::from(self.config().spec.bins)];
        let point = self.reading_into(schedule, sensor, at, &mut bins);
        SimulatedReading { bins, point }
    }

    /// As [`Fleet::reading`], into a slice of as many bins as the spec has.
    ///
    /// # Panics
    /// If there is no such sensor, or the slice is of another length.
    pub fn reading_into(&self, schedule: &Schedule, sensor: usize, at: Timestamp, bins: &mut [f32]) -> OperatingPoint {
        let config = self.config();
        assert_eq!(
            bins.len(),
            usize::from(config.spec.bins),
            "bins of the slice against bins of the spec"
        );
        let index = sensor;
        let sensor = &self.sensors()[index];
        let machine = &self.machines()[sensor.machine];
        let channel = &sensor.channel;
        let point = self.operating_point(sensor.machine, at);
        let mut noise = Draws::new(config.seed, &[5, index as u64, at.as_micros() as u64]);
        let scatter = Scatter::of(config.spec.averages);
        if point.is_stopped() {
            // Neighbours shake the hall: a twentieth of the machine's own noise.
            let ambient = channel.broadband.iter().map(|broadband| (0.05 * broadband).powi(2));
            for (bin, power) in bins.iter_mut().zip(ambient) {
                *bin = (power + FLOOR_G * FLOOR_G).sqrt() * scatter.factor(noise.bell());
            }
            return point;
        }
        bins.fill(0.0);
        let mut lines = Lines {
            power: bins,
            spec: &config.spec,
            resonance: &channel.resonance,
        };
        let shaft_hz = f64::from(point.rpm) / 60.0;
        add_healthy_lines(machine, point, shaft_hz, &mut lines);
        let mut broadening = Broadening::default();
        for (kind, severity) in schedule.active(&machine.site, &machine.name, at) {
            let severity = severity * channel.coupling;
            add_lines(kind, severity, &machine.bearing, shaft_hz, &mut lines);
            broadening.add(kind, severity);
        }
        let warmth = machine.climate.at(at, config) as f32;
        let cutting = 0.6 + 0.5 * point.load;
        for (at, bin) in bins.iter_mut().enumerate() {
            let rise = broadening.resonance * channel.resonance[at] + broadening.treble * channel.height[at];
            let broadband = channel.broadband[at] * (cutting + rise);
            let heard = *bin * channel.path_power[at] + broadband * broadband;
            // Warm oil and a warm structure damp, most at high frequency; so does a loose mounting.
            let reach = 0.25 + 0.75 * channel.height[at];
            let gain = 1.0 - warmth * reach;
            let loss = if broadening.damping > 0.0 {
                (-broadening.damping * reach).exp()
            } else {
                1.0
            };
            let power = heard * (gain * loss).powi(2) + FLOOR_G * FLOOR_G;
            *bin = power.sqrt() * scatter.factor(noise.bell());
        }
        point
    }
}

fn add_healthy_lines(machine: &Machine, point: OperatingPoint, shaft_hz: f64, lines: &mut Lines<'_>) {
    for (order, amplitude) in (1..).zip(SHAFT_G) {
        lines.add(shaft_hz * f64::from(order), amplitude * machine.strengths.shaft);
    }
    let tooth_pass_hz = shaft_hz * f64::from(machine.teeth);
    let force = machine.strengths.cutting * (0.4 + 0.6 * f64::from(point.load));
    for (order, amplitude) in (1..).zip(CUTTING_G) {
        lines.add(tooth_pass_hz * f64::from(order), amplitude * force);
    }
}

/// What is fixed about a sensor's place: all per bin.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    /// Power gain from a line at the spindle to the sensor.
    path_power: Vec<f32>,
    /// Broadband amplitude at the sensor in g.
    broadband: Vec<f32>,
    /// How much the structure rings, 0 to 1.
    resonance: Vec<f32>,
    /// Frequency as a share of the spec's upper edge.
    height: Vec<f32>,
    /// How much of a fault this sensor sees.
    coupling: f64,
}

impl Channel {
    pub(crate) fn draw(strengths: &Strengths, draws: &mut Draws, config: &FleetConfig) -> Self {
        let spec = &config.spec;
        let shifts = RESONANCES_HZ.map(|_| draws.near_one(0.03 * config.individuality));
        // A smooth random path: three slow waves over frequency, together at most 0.24 nepers (2 dB).
        let waves: Vec<(f64, f64, f64)> = (1..=3)
            .map(|turns| {
                (
                    f64::from(turns) / 2.0,
                    draws.unit(),
                    0.08 * config.individuality * draws.between(-1.0, 1.0),
                )
            })
            .collect();
        let centres: Vec<f64> = (0..usize::from(spec.bins)).map(|bin| spec.bin_centre(bin)).collect();
        let ringing = |hz: f64| -> f64 {
            let peaks = RESONANCES_HZ.iter().zip(shifts).map(|((centre, half_width), shift)| {
                let detuning = (hz - centre * shift) / half_width;
                1.0 / (1.0 + detuning * detuning)
            });
            peaks.fold(0.0, f64::max)
        };
        let path = |hz: f64| -> f64 {
            let nepers: f64 = waves
                .iter()
                .map(|(turns, phase, depth)| depth * (TAU * (turns * hz / spec.f_max + phase)).sin())
                .sum();
            nepers.exp()
        };
        let broadband = |hz: f64| {
            strengths.broadband * BROADBAND_G * (1.0 + 2.0 * ringing(hz)) / (1.0 + hz / BROADBAND_CORNER_HZ) * path(hz)
        };
        Self {
            path_power: centres.iter().map(|hz| path(*hz).powi(2) as f32).collect(),
            broadband: centres.iter().map(|hz| broadband(*hz) as f32).collect(),
            resonance: centres.iter().map(|hz| ringing(*hz) as f32).collect(),
            height: centres.iter().map(|hz| (hz / spec.f_max) as f32).collect(),
            coupling: draws.between(0.85, 1.0),
        }
    }
}

/// A spectrum of powers under construction, before the path to the sensor.
pub(crate) struct Lines<'a> {
    power: &'a mut [f32],
    spec: &'a SpectrumSpec,
    resonance: &'a [f32],
}

impl Lines<'_> {
    /// Adds a line of an amplitude in g. Speed wanders during a reading, so a line's power is shared between the two
    /// bins whose centres enclose it. A line outside the spec's range is not measured.
    pub(crate) fn add(&mut self, hz: f64, amplitude_g: f64) {
        let Some((bin, into_next)) = self.place(hz) else { return };
        let power = amplitude_g * amplitude_g;
        self.power[bin] += (power * (1.0 - into_next)) as f32;
        if let Some(next) = self.power.get_mut(bin + 1) {
            *next += (power * into_next) as f32;
        }
    }

    /// How much the structure rings at a frequency, 0 to 1.
    pub(crate) fn resonance_at(&self, hz: f64) -> f64 {
        self.place(hz).map_or(0.0, |(bin, _)| f64::from(self.resonance[bin]))
    }

    /// The bin whose centre is at or below a frequency, and the share that belongs to the next one.
    fn place(&self, hz: f64) -> Option<(usize, f64)> {
        if !(self.spec.f_min..self.spec.f_max).contains(&hz) {
            return None;
        }
        let width = (self.spec.f_max - self.spec.f_min) / self.power.len() as f64;
        let position = ((hz - self.spec.f_min) / width - 0.5).clamp(0.0, (self.power.len() - 1) as f64);
        Some((position as usize, position.fract()))
    }
}

/// Scatter of an averaged spectrum's amplitude about its expectation.
#[derive(Debug, Clone, Copy)]
struct Scatter {
    centre: f32,
    spread: f32,
}

impl Scatter {
    /// Of a mean of `averages` spectra, by the cube-root approximation of the chi-squared distribution (Wilson &
    /// Hilferty 1931).
    fn of(averages: u16) -> Self {
        let averages = f32::from(averages);
        Self {
            centre: 1.0 - 1.0 / (9.0 * averages),
            spread: 1.0 / (3.0 * averages.sqrt()),
        }
    }

    /// The factor on the amplitude for a standard normal draw.
    fn factor(self, bell: f32) -> f32 {
        let root = (self.centre + self.spread * bell).max(0.0);
        root * root.sqrt()
    }
}

#[cfg(test)]
mod tests;
