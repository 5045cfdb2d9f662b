//! What a sensor hears in one operating point: powers of incoherent sources add on the way to it.
//!
//! Lines and broadband noise pass through the structure to the sensor, whose own floor adds at the end.

use tocsin_detect::Bearing;
use tocsin_domain::SpectrumSpec;
use tocsin_domain::spec::Axis;

use crate::FaultKind;
use crate::channel::{Response, Strengths};
use crate::construction::Construction;
use crate::fault::{Broadening, add_lines};
use crate::lines::{Lines, Tones};
use crate::program::OperatingPoint;

/// The sensor's own noise in g a bin.
pub(crate) const FLOOR_G: f32 = 0.0008;

/// Broadband noise at a load against that a construction states.
pub(crate) fn broadband_share(load: f32) -> f32 {
    0.6 + 0.5 * load
}

/// A running machine before one of its sensors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) spec: &'a SpectrumSpec,
    pub(crate) construction: &'a Construction,
    pub(crate) strengths: Strengths,
    pub(crate) bearing: &'a Bearing,
    /// What the structure does to each bin at this speed.
    pub(crate) response: &'a Response,
    /// How much of a fault the sensor sees.
    pub(crate) coupling: f64,
    pub(crate) tones: Tones,
    pub(crate) point: OperatingPoint,
    /// Gain of every source's amplitude at this speed against the rated one.
    pub(crate) force: f64,
    /// Share of amplitude lost at the top of the range to a warm structure and warm oil.
    pub(crate) warmth: f32,
}

/// One bin before noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Heard {
    /// Power of the lines in g² peak, before `gain`.
    tonal: f32,
    /// Power of broadband noise in g² peak, before `gain`.
    broadband: f32,
    /// Gain of power by what damps on the way.
    gain: f32,
}

impl Heard {
    /// Power in g² peak, the sensor's floor included.
    pub(crate) fn power(self) -> f32 {
        (self.tonal + self.broadband) * self.gain + FLOOR_G * FLOOR_G
    }

    /// Power of the lines against that of the noise.
    pub(crate) fn tonality(self) -> f32 {
        self.tonal * self.gain / (self.broadband * self.gain + FLOOR_G * FLOOR_G)
    }
}

impl Scene<'_> {
    /// Puts what the sensor hears in each bin into `bins`, made by `made` of what is heard. `faults` are kinds with
    /// their severity; `bustle` is broadband noise from elsewhere, as a share of what a construction states.
    pub(crate) fn paint(
        &self,
        faults: impl Iterator<Item = (FaultKind, f64)> + Clone,
        bustle: f32,
        bins: &mut [f32],
        mut made: impl FnMut(usize, Heard) -> f32,
    ) {
        let coupled = faults.map(|(kind, severity)| (kind, severity * self.coupling));
        let mut broadening = Broadening::default();
        coupled
            .clone()
            .for_each(|(kind, severity)| broadening.add(kind, severity));
        let load = self.point.load * (1.0 - broadening.slack.min(1.0));
        bins.fill(0.0);
        self.add_lines(load, coupled, bins);
        let noise_gain = self.force as f32;
        let cutting = broadband_share(load);
        let response = self.response;
        for (at, bin) in bins.iter_mut().enumerate() {
            let rise = broadening.resonance * response.resonance[at] + broadening.treble * response.height[at];
            let broadband = response.broadband[at] * noise_gain * (cutting + rise + bustle);
            // Warm oil and a warm structure damp, most at high frequency; so does a loose mounting.
            let reach = 0.25 + 0.75 * response.height[at];
            let gain = 1.0 - self.warmth * reach;
            let loss = if broadening.damping > 0.0 {
                (-broadening.damping * reach).exp()
            } else {
                1.0
            };
            let heard = Heard {
                tonal: *bin * response.path_power[at],
                broadband: broadband * broadband,
                gain: (gain * loss).powi(2),
            };
            *bin = made(at, heard);
        }
    }

    fn add_lines(&self, load: f32, faults: impl Iterator<Item = (FaultKind, f64)>, bins: &mut [f32]) {
        let shaft_hz = self.point.shaft_hz();
        let mut lines = Lines {
            power: bins,
            spec: self.spec,
            resonance: &self.response.resonance,
            tones: self.tones,
            unit_hz: match self.spec.axis {
                Axis::Hertz => 1.0,
                Axis::Orders => shaft_hz,
            },
        };
        let shaft = self.strengths.shaft * self.force;
        for (order, amplitude) in (1..).zip(self.construction.shaft_g) {
            lines.add_locked(shaft_hz * f64::from(order), amplitude * shaft);
        }
        let passing_hz = shaft_hz * f64::from(self.construction.passes);
        let passing = self.strengths.passing * (0.4 + 0.6 * f64::from(load)) * self.force;
        for (order, amplitude) in (1..).zip(self.construction.passing_g) {
            lines.add_locked(passing_hz * f64::from(order), amplitude * passing);
        }
        for (kind, severity) in faults {
            add_lines(kind, severity * self.force, self.bearing, shaft_hz, &mut lines);
        }
    }
}
