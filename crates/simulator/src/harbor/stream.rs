//! The readings of one machine, step by step.
//!
//! What is slow is worked out once and held ([`Held`]): for each bin its mean amplitude and how it scatters. A reading
//! then is a normal number a bin (ziggurat), the cube that makes a chi-squared of it, and the product.

use std::f64::consts::LN_10;
use std::ops::Range;
use std::time::Duration;

use tocsin_domain::{Condition, Timestamp};

use super::weather::{Bustle, Wander};
use super::{Machine, purpose};
use crate::FaultKind;
use crate::draws::Draws;
use crate::program::OperatingPoint;
use crate::scatter::Scatter;
use crate::scene::broadband_share;

/// How long slow quantities are held.
const HOLD_S: u64 = 600;

/// One step of a machine, beside its amplitudes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// When it was taken.
    pub captured_at: Timestamp,
    /// Speed in revolutions per minute and load as a share of rated power, unless the config leaves them out. The load is
    /// what is asked of the machine: that it slips away unnoticed is what a lost load means.
    pub condition: Condition,
}

/// Readings of some steps of a machine, in order.
#[derive(Debug)]
pub struct Stream<'a> {
    machine: &'a Machine,
    steps: Range<u64>,
    held: Held,
}

/// What stays the same for a while.
#[derive(Debug)]
struct Held {
    point: OperatingPoint,
    /// Microseconds from the start at which it must be worked out again.
    until_us: u64,
    /// Mean amplitudes in g peak, sensor after sensor, and their scatter, one per bin each.
    levels: Vec<f32>,
    centres: Vec<f32>,
    spreads: Vec<f32>,
    /// Frequencies as shares of the range.
    heights: Vec<f32>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(machine: &'a Machine, steps: Range<u64>) -> Self {
        let length = machine.channels.len() * usize::from(machine.config.bins);
        let held = Held {
            point: OperatingPoint { rpm: 0.0, load: 0.0 },
            until_us: 0,
            levels: vec![0.0; length],
            centres: vec![0.0; length],
            spreads: vec![0.0; length],
            heights: vec![0.0; length],
        };
        Self { machine, steps, held }
    }

    /// Readings left.
    pub fn remaining(&self) -> u64 {
        self.steps.end.saturating_sub(self.steps.start)
    }

    /// The next step, none after the last. Amplitudes in g peak go into `bins`: those of the first sensor, then those of
    /// the next ([`super::Fleet::row_length`] in all).
    ///
    /// # Panics
    /// If `bins` has another length.
    pub fn next_into(&mut self, bins: &mut [f32]) -> Option<Reading> {
        assert_eq!(
            bins.len(),
            self.held.levels.len(),
            "amplitudes of the slice against those of a step"
        );
        let step = self.steps.next()?;
        let config = &*self.machine.config;
        let since_us = step * config.interval.as_micros() as u64;
        if since_us >= self.held.until_us {
            self.held.work_out(self.machine, since_us);
        }
        let mut noise = Draws::new(config.seed, &[purpose::NOISE, self.machine.index() as u64, since_us]);
        let [speed, load, unrest] = std::array::from_fn(|_| noise.normal());
        bins.fill_with(|| noise.normal());
        self.held.scatter((config.unrest_db as f32 * unrest * DB).exp(), bins);
        let OperatingPoint { rpm, load: asked } = self.held.point;
        let condition = Condition {
            rpm: Some(rpm * (1.0 + 0.002 * speed)),
            load: Some((asked + 0.01 * load).max(0.0)),
            ..Condition::default()
        };
        Some(Reading {
            captured_at: config.start + Duration::from_micros(since_us),
            condition: if config.reports_condition {
                condition
            } else {
                Condition::default()
            },
        })
    }
}

/// Nepers in a decibel of amplitude.
const DB: f32 = (LN_10 / 20.0) as f32;

impl Held {
    /// Works out all of it at a time from the start.
    fn work_out(&mut self, machine: &Machine, since_us: u64) {
        let since_s = since_us / 1_000_000;
        let slow_s = since_s / HOLD_S * HOLD_S;
        let slow = Duration::from_secs(slow_s);
        let at = machine.config.start + slow;
        let dwell = machine.cycle.at(since_us as f64 / 1e6);
        let bustle = Bustle::at(&machine.config, machine.index(), since_s);
        // Stretches last whole seconds, so the rounding takes away what the sums of floats added.
        let dwell_ends_s = (since_us as f64 / 1e6 + dwell.left_s).round() as u64;
        self.until_us = dwell_ends_s.min(bustle.until_s).min(slow_s + HOLD_S) * 1_000_000;
        self.point = machine.operating_point(dwell, slow);
        let fault = machine
            .failure()
            .map(|failure| (failure.kind, failure.strength * failure.severity(at)));
        self.paint(machine, fault, bustle.rise * broadband_share(0.5));
        self.shift(machine, slow, at);
    }

    /// Mean amplitudes and scatter as the sensors hear them.
    fn paint(&mut self, machine: &Machine, fault: Option<(FaultKind, f64)>, bustle: f32) {
        let (bins, pairs) = (usize::from(machine.config.bins), machine.config.pairs() as f32);
        for sensor in 0..machine.channels.len() {
            let own = sensor * bins..(sensor + 1) * bins;
            let (centres, spreads) = (&mut self.centres[own.clone()], &mut self.spreads[own.clone()]);
            let fault = fault.filter(|(_, severity)| *severity > 0.0).into_iter();
            let response = machine.response(sensor, self.point);
            self.heights[own.clone()].copy_from_slice(&response.height);
            let scene = machine.scene(sensor, self.point, &response);
            scene.paint(fault, bustle, &mut self.levels[own], |bin, heard| {
                // A steady line scatters only against the noise about it.
                let tonality = heard.tonality();
                let scatter = Scatter::of(pairs * (1.0 + tonality).powi(2) / (1.0 + 2.0 * tonality));
                (centres[bin], spreads[bin]) = (scatter.centre, scatter.spread);
                heard.power().sqrt()
            });
        }
    }

    /// Moves mean amplitudes by what multiplies them all: wander, benign changes, a ramp.
    fn shift(&mut self, machine: &Machine, slow: Duration, at: Timestamp) {
        let wander = Wander::at(&machine.config, machine.index(), slow.as_secs_f64());
        let gain_db = (wander.gain_db + machine.benign_db(slow)) as f32;
        let tilt_db = wander.tilt_db as f32;
        let bins = usize::from(machine.config.bins);
        for (levels, heights) in self.levels.chunks_exact_mut(bins).zip(self.heights.chunks_exact(bins)) {
            for (level, height) in levels.iter_mut().zip(heights) {
                *level *= ((gain_db + tilt_db * (height - 0.5)) * DB).exp();
            }
            if let Some(ramp) = machine.ramp() {
                let gain = (ramp.db(at) as f32 * DB).exp();
                levels[ramp.bins.clone()].iter_mut().for_each(|level| *level *= gain);
            }
        }
    }

    /// Turns normal numbers into amplitudes.
    fn scatter(&self, gain: f32, bins: &mut [f32]) {
        let means = self.levels.iter().zip(&self.centres).zip(&self.spreads);
        for (bin, ((level, centre), spread)) in bins.iter_mut().zip(means) {
            let scatter = Scatter {
                centre: *centre,
                spread: *spread,
            };
            *bin = gain * level * scatter.factor(*bin);
        }
    }
}
