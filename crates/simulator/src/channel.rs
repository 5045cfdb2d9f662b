//! The way from a machine's sources to one sensor.

use std::f64::consts::TAU;

use tocsin_domain::SpectrumSpec;

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

/// What is fixed about a sensor's place: all per bin.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    /// Power gain from a line at the spindle to the sensor.
    pub(crate) path_power: Vec<f32>,
    /// Broadband amplitude at the sensor in g.
    pub(crate) broadband: Vec<f32>,
    /// How much the structure rings, 0 to 1.
    pub(crate) resonance: Vec<f32>,
    /// Frequency as a share of the spec's upper edge.
    pub(crate) height: Vec<f32>,
    /// How much of a fault this sensor sees.
    pub(crate) coupling: f64,
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
        let resonances_hz = construction.resonances_hz;
        let shifts = resonances_hz.map(|_| draws.near_one(0.03 * individuality));
        // A smooth random path: three slow waves over frequency, together at most 0.24 nepers (2 dB).
        let waves: Vec<(f64, f64, f64)> = (1..=3)
            .map(|turns| {
                (
                    f64::from(turns) / 2.0,
                    draws.unit(),
                    0.08 * individuality * draws.between(-1.0, 1.0),
                )
            })
            .collect();
        let centres: Vec<f64> = (0..usize::from(spec.bins)).map(|bin| spec.bin_centre(bin)).collect();
        let ringing = |hz: f64| -> f64 {
            let peaks = resonances_hz.iter().zip(shifts).map(|((centre, half_width), shift)| {
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
            let falling = 1.0 + hz / construction.broadband_corner_hz;
            strengths.broadband * construction.broadband_g * (1.0 + 2.0 * ringing(hz)) / falling * path(hz)
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
