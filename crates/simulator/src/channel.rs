//! The way from a machine's sources to one sensor.

use std::borrow::Cow;
use std::f64::consts::TAU;

use tocsin_domain::SpectrumSpec;
use tocsin_domain::spec::Axis;

use crate::construction::Construction;
use crate::draws::Draws;

/// What multiplies a machine's sources.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strengths {
    pub(crate) shaft: f64,
    /// Of cutting, of vanes, of gear teeth.
    pub(crate) passing: f64,
    pub(crate) broadband: f64,
}

/// Where a spectrum over hertz ends unless its spec says so, and what a spectrum over orders is cut from, in Hz.
pub(crate) const RANGE_HZ: f64 = 12_800.0;

/// What is fixed about a sensor's place.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    structure: Structure,
    /// What it does to each bin, where bins keep their frequency.
    fixed: Option<Response>,
    /// How much of a fault this sensor sees.
    pub(crate) coupling: f64,
}

/// The structure between machine and sensor, over frequency.
#[derive(Debug, Clone)]
struct Structure {
    /// Centres and half widths in Hz of what rings.
    resonances_hz: [(f64, f64); 3],
    /// A smooth path: half turns over the range, phase and depth in nepers.
    waves: [(f64, f64, f64); 3],
    /// Broadband amplitude in g at low frequency, and where it has fallen to half.
    broadband_g: f64,
    broadband_corner_hz: f64,
    range_hz: f64,
}

/// What a structure does to each bin of a spectrum.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    /// Power gain from a line at the spindle to the sensor.
    pub(crate) path_power: Vec<f32>,
    /// Broadband amplitude at the sensor in g.
    pub(crate) broadband: Vec<f32>,
    /// How much the structure rings, 0 to 1.
    pub(crate) resonance: Vec<f32>,
    /// Frequency as a share of the range's upper edge.
    pub(crate) height: Vec<f32>,
}

impl Channel {
    /// Draws the place of a sensor on a machine. `individuality` 1 is up to 2 dB of transfer path and 3 % of resonance.
    pub(crate) fn draw(
        construction: &Construction,
        strengths: &Strengths,
        spec: &SpectrumSpec,
        individuality: f64,
        draws: &mut Draws,
    ) -> Self {
        let shifts = construction.resonances_hz.map(|_| draws.near_one(0.03 * individuality));
        let resonances = std::array::from_fn(|at| {
            let (centre, half_width) = construction.resonances_hz[at];
            (centre * shifts[at], half_width)
        });
        // A smooth random path: three slow waves over frequency, together at most 0.24 nepers (2 dB).
        let waves = [1.0, 2.0, 3.0].map(|turns| {
            (
                turns / 2.0,
                draws.unit(),
                0.08 * individuality * draws.between(-1.0, 1.0),
            )
        });
        let structure = Structure {
            resonances_hz: resonances,
            waves,
            broadband_g: strengths.broadband * construction.broadband_g,
            broadband_corner_hz: construction.broadband_corner_hz,
            range_hz: match spec.axis {
                Axis::Hertz => spec.f_max,
                Axis::Orders => RANGE_HZ,
            },
        };
        Self {
            fixed: (spec.axis == Axis::Hertz).then(|| structure.response(spec, 1.0)),
            structure,
            coupling: draws.between(0.85, 1.0),
        }
    }

    /// What the structure does to each bin while the shaft turns so often a second: bins over orders go through it as the
    /// speed changes.
    pub(crate) fn response(&self, spec: &SpectrumSpec, shaft_hz: f64) -> Cow<'_, Response> {
        match &self.fixed {
            Some(fixed) => Cow::Borrowed(fixed),
            None => Cow::Owned(self.structure.response(spec, shaft_hz)),
        }
    }
}

impl Structure {
    /// Bin by bin; `unit_hz` is the axis's unit in Hz.
    fn response(&self, spec: &SpectrumSpec, unit_hz: f64) -> Response {
        let centres = || (0..usize::from(spec.bins)).map(|bin| spec.bin_centre(bin) * unit_hz);
        // The lines of a transform over orders are as much narrower than those over hertz as its range is, and hold as much
        // less of the noise.
        let share = (spec.f_max * unit_hz / self.range_hz).sqrt();
        Response {
            path_power: centres().map(|hz| self.path(hz).powi(2) as f32).collect(),
            broadband: centres().map(|hz| (share * self.broadband(hz)) as f32).collect(),
            resonance: centres().map(|hz| self.ringing(hz) as f32).collect(),
            height: centres().map(|hz| (hz / self.range_hz) as f32).collect(),
        }
    }

    fn ringing(&self, hz: f64) -> f64 {
        let peaks = self.resonances_hz.iter().map(|(centre, half_width)| {
            let detuning = (hz - centre) / half_width;
            1.0 / (1.0 + detuning * detuning)
        });
        peaks.fold(0.0, f64::max)
    }

    fn path(&self, hz: f64) -> f64 {
        let waves = self.waves.iter();
        let nepers: f64 = waves
            .map(|(turns, phase, depth)| depth * (TAU * (turns * hz / self.range_hz + phase)).sin())
            .sum();
        nepers.exp()
    }

    fn broadband(&self, hz: f64) -> f64 {
        let falling = 1.0 + hz / self.broadband_corner_hz;
        self.broadband_g * (1.0 + 2.0 * self.ringing(hz)) / falling * self.path(hz)
    }
}
