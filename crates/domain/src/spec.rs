//! What a sensor states once about every spectrum it will send, and the units it is made canonical in.
//!
//! Canonical units are g for acceleration, mm/s for velocity, um for displacement and °C for temperature; amplitudes of
//! spectra are peak (a power spectral density stays one), overall levels are what their quantity says. The same data
//! declared in another unit therefore gives the same canonical spectrum and levels.

use serde::{Deserialize, Serialize};

use crate::Invalid;
use crate::overall::OverallSpec;
pub use crate::unit::Unit;

/// What the bins are counted along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Frequency in hertz.
    Hertz,
    /// Multiples of the shaft's rotation.
    Orders,
}

impl Axis {
    /// `Hz` or `orders`.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Hertz => "Hz",
            Self::Orders => "orders",
        }
    }
}

/// The measured quantity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Acceleration.
    Acceleration,
    /// Velocity.
    Velocity,
    /// Displacement.
    Displacement,
    /// Envelope of the acceleration band-passed from `low_hz` to `high_hz` (demodulation).
    AccelerationEnvelope {
        /// Lower corner in hertz.
        low_hz: f64,
        /// Upper corner in hertz.
        high_hz: f64,
    },
}

/// How a bin's amplitude is stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Amplitude {
    /// Root mean square.
    Rms,
    /// Zero to peak: the canonical form.
    Peak,
    /// Peak to peak.
    PeakToPeak,
    /// Power spectral density, unit squared per hertz.
    Psd,
}

/// How several spectral lines became one bin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// Mean of the lines.
    Mean,
    /// Root of the sum of squares.
    Rss,
    /// The largest line.
    Max,
}

/// What a sensor states once about its spectra. Built by [`SpectrumSpec::parse`], so its numbers are in range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpectrumSpec {
    /// Hertz or orders.
    pub axis: Axis,
    /// Lower edge of the first bin, in the axis's unit.
    pub f_min: f64,
    /// Upper edge of the last bin, in the axis's unit.
    pub f_max: f64,
    /// Number of bins, 32 to 4096.
    pub bins: u16,
    /// The measured quantity.
    pub quantity: Quantity,
    /// Unit of the amplitudes sent.
    pub unit: Unit,
    /// How an amplitude is stated.
    pub amplitude: Amplitude,
    /// How lines became bins.
    pub aggregation: Aggregation,
    /// Name of the time window, such as `hann`.
    pub window: String,
    /// Spectra averaged into one reading.
    pub averages: u16,
    /// The largest amplitude the canonical form holds, in `unit` and `amplitude`.
    pub full_scale: f64,
    /// Where the log transform ln(1 + s/s0) turns from linear to logarithmic, in `unit` and `amplitude`.
    pub s0: f64,
    /// The overall levels its readings may carry; a reading keeps them in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overall: Vec<OverallSpec>,
}

impl SpectrumSpec {
    /// The fewest bins.
    pub const MIN_BINS: u16 = 32;
    /// The most bins.
    pub const MAX_BINS: u16 = 4096;

    /// The spec of a corpus that states none: acceleration in g, peak, 0 to 12.8 kHz, full scale 10 g, s0 0.001 g.
    pub fn corpus_default(bins: u16) -> Self {
        Self {
            axis: Axis::Hertz,
            f_min: 0.0,
            f_max: 12_800.0,
            bins,
            quantity: Quantity::Acceleration,
            unit: Unit::G,
            amplitude: Amplitude::Peak,
            aggregation: Aggregation::Mean,
            window: "hann".to_owned(),
            averages: 1,
            full_scale: 10.0,
            s0: 0.001,
            overall: Vec::new(),
        }
    }

    /// Checks the numbers against each other; the error names the field.
    pub fn parse(self) -> Result<Self, Invalid> {
        let fail = |field: &str, reason: String| Err(Invalid::new(format!("spec.{field}"), reason));
        if !(Self::MIN_BINS..=Self::MAX_BINS).contains(&self.bins) {
            return fail("bins", format!("{} is outside 32 to 4096", self.bins));
        }
        if !(self.f_min.is_finite() && self.f_min >= 0.0) {
            return fail("f_min", format!("{} must be finite and not negative", self.f_min));
        }
        if !(self.f_max.is_finite() && self.f_max > self.f_min) {
            return fail(
                "f_max",
                format!("{} must be finite and above f_min {}", self.f_max, self.f_min),
            );
        }
        if !self.unit.measures(self.quantity) {
            return fail("unit", format!("{:?} does not measure {:?}", self.unit, self.quantity));
        }
        if let Quantity::AccelerationEnvelope { low_hz, high_hz } = self.quantity
            && !(low_hz >= 0.0 && high_hz.is_finite() && high_hz > low_hz)
        {
            return fail("quantity", format!("envelope band {low_hz} to {high_hz} Hz is empty"));
        }
        if !(self.full_scale.is_finite() && self.full_scale > 0.0) {
            return fail("full_scale", format!("{} must be finite and positive", self.full_scale));
        }
        if !(self.s0 > 0.0 && self.s0 < self.full_scale) {
            return fail(
                "s0",
                format!("{} must be positive and below full_scale {}", self.s0, self.full_scale),
            );
        }
        if self.averages == 0 {
            return fail("averages", "must be at least 1".to_owned());
        }
        OverallSpec::check(&self.overall)?;
        Ok(self)
    }

    /// Canonical amplitude of one unit of sent amplitude.
    pub fn canonical_factor(&self) -> f64 {
        let unit = self.unit.canonical_per_unit();
        match self.amplitude {
            Amplitude::Peak => unit,
            Amplitude::Rms => unit * std::f64::consts::SQRT_2,
            Amplitude::PeakToPeak => unit / 2.0,
            Amplitude::Psd => unit * unit,
        }
    }

    /// Full scale in canonical units.
    pub fn canonical_full_scale(&self) -> f32 {
        (self.full_scale * self.canonical_factor()) as f32
    }

    /// `s0` in canonical units.
    pub fn canonical_s0(&self) -> f32 {
        (self.s0 * self.canonical_factor()) as f32
    }

    /// Short name of the canonical unit, for axes and pages.
    pub fn canonical_unit(&self) -> &'static str {
        match (self.quantity, self.amplitude) {
            (Quantity::Acceleration | Quantity::AccelerationEnvelope { .. }, Amplitude::Psd) => "g²/Hz",
            (Quantity::Velocity, Amplitude::Psd) => "(mm/s)²/Hz",
            (Quantity::Displacement, Amplitude::Psd) => "µm²/Hz",
            (Quantity::Acceleration | Quantity::AccelerationEnvelope { .. }, _) => "g",
            (Quantity::Velocity, _) => "mm/s",
            (Quantity::Displacement, _) => "µm",
        }
    }

    /// Centre of bin `index`, in the axis's unit.
    pub fn bin_centre(&self, index: usize) -> f64 {
        let width = (self.f_max - self.f_min) / f64::from(self.bins);
        self.f_min + (index as f64 + 0.5) * width
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::STANDARD_GRAVITY;

    #[test]
    fn a_spec_with_a_wrong_number_is_refused_by_its_field() {
        let good = SpectrumSpec::corpus_default(64);
        let cases = [
            (
                SpectrumSpec {
                    bins: 16,
                    ..good.clone()
                },
                "spec.bins",
            ),
            (
                SpectrumSpec {
                    f_max: f64::NAN,
                    ..good.clone()
                },
                "spec.f_max",
            ),
            (
                SpectrumSpec {
                    unit: Unit::Mil,
                    ..good.clone()
                },
                "spec.unit",
            ),
            (
                SpectrumSpec {
                    full_scale: 0.0,
                    ..good.clone()
                },
                "spec.full_scale",
            ),
            (
                SpectrumSpec {
                    s0: 11.0,
                    ..good.clone()
                },
                "spec.s0",
            ),
            (
                SpectrumSpec {
                    averages: 0,
                    ..good.clone()
                },
                "spec.averages",
            ),
        ];
        for (spec, field) in cases {
            assert_eq!(spec.parse().unwrap_err().field, field);
        }
        assert_eq!(good.clone().parse().unwrap(), good);
    }

    #[test]
    fn a_spec_written_before_overall_levels_is_read_and_written_as_it_was() {
        let written = r#"{"axis":"hertz","f_min":0.0,"f_max":12800.0,"bins":64,"quantity":"acceleration","unit":"g","amplitude":"peak","aggregation":"mean","window":"hann","averages":1,"full_scale":10.0,"s0":0.001}"#;
        let spec: SpectrumSpec = serde_json::from_str(written).unwrap();
        assert_eq!(spec, SpectrumSpec::corpus_default(64));
        assert_eq!(serde_json::to_string(&spec).unwrap(), written);
    }

    #[test]
    fn the_example_with_overall_levels_is_a_good_spec() {
        let written = include_str!("../../../docs/examples/pump-64-overall.json");
        let spec: SpectrumSpec = serde_json::from_str(written).unwrap();
        let names: Vec<_> = spec
            .parse()
            .unwrap()
            .overall
            .into_iter()
            .map(|level| level.name.to_string())
            .collect();
        assert_eq!(
            names,
            [
                "velocity_rms",
                "acceleration_rms",
                "acceleration_peak",
                "bearing_temperature"
            ]
        );
    }

    #[test]
    fn the_same_amplitude_in_another_unit_is_the_same_canonical_amplitude() {
        let g_peak = SpectrumSpec::corpus_default(64);
        let si_rms = SpectrumSpec {
            unit: Unit::MetrePerSecondSquared,
            amplitude: Amplitude::Rms,
            ..g_peak.clone()
        };
        let two_g_peak_as_si_rms = 2.0 * STANDARD_GRAVITY / std::f64::consts::SQRT_2;
        assert!((two_g_peak_as_si_rms * si_rms.canonical_factor() - 2.0 * g_peak.canonical_factor()).abs() < 1e-12);
    }
}
