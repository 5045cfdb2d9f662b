//! A spectrum that has been parsed: finite, non-negative, linear, in canonical units, with the bins its spec states.

use crate::{Invalid, SpectrumSpec};

/// How the amplitudes on the wire are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AmplitudeScale {
    /// Linear amplitudes in the spec's unit.
    Linear,
    /// 20·log10(amplitude / reference) decibels; the reference is in the spec's unit.
    Decibel {
        /// Amplitude that is 0 dB.
        reference: f64,
    },
}

/// Linear amplitudes in canonical units, one per bin.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrum(Vec<f32>);

impl Spectrum {
    /// Parses amplitudes as a sensor of `spec` sent them. Errors name `bins` or `bins[i]`.
    pub fn parse(bins: &[f32], scale: AmplitudeScale, spec: &SpectrumSpec) -> Result<Self, Invalid> {
        if bins.len() != usize::from(spec.bins) {
            return Err(Invalid::new(
                "bins",
                format!("got {}, the sensor's spec has {}", bins.len(), spec.bins),
            ));
        }
        let factor = spec.canonical_factor();
        let linear = match scale {
            AmplitudeScale::Linear => linear(bins, factor),
            AmplitudeScale::Decibel { reference } => decibel(bins, reference, factor),
        };
        linear.map(Self)
    }

    /// The amplitudes.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }
}

fn linear(bins: &[f32], factor: f64) -> Result<Vec<f32>, Invalid> {
    if let Some(index) = bins.iter().position(|s| !(s.is_finite() && *s >= 0.0)) {
        let reason = format!("{} is not a finite amplitude of zero or more", bins[index]);
        return Err(Invalid::new(format!("bins[{index}]"), reason));
    }
    finite(bins.iter().map(|s| (f64::from(*s) * factor) as f32).collect())
}

fn decibel(bins: &[f32], reference: f64, factor: f64) -> Result<Vec<f32>, Invalid> {
    if !(reference.is_finite() && reference > 0.0) {
        return Err(Invalid::new(
            "db_reference",
            format!("{reference} must be finite and positive"),
        ));
    }
    // Minus infinity is what an exact zero becomes in dB; it is as good an amplitude as any.
    if let Some(index) = bins.iter().position(|s| s.is_nan() || *s == f32::INFINITY) {
        return Err(Invalid::new(
            format!("bins[{index}]"),
            format!("{} is not a level in dB", bins[index]),
        ));
    }
    finite(
        bins.iter()
            .map(|db| (10f64.powf(f64::from(*db) / 20.0) * reference * factor) as f32)
            .collect(),
    )
}

fn finite(amplitudes: Vec<f32>) -> Result<Vec<f32>, Invalid> {
    match amplitudes.iter().position(|s| !s.is_finite()) {
        Some(index) => Err(Invalid::new(format!("bins[{index}]"), "too large for its unit")),
        None => Ok(amplitudes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_bin_is_named() {
        let spec = SpectrumSpec::corpus_default(32);
        for bad in [f32::NAN, f32::INFINITY, -0.1] {
            let mut bins = vec![0.5; 32];
            bins[7] = bad;
            assert_eq!(
                Spectrum::parse(&bins, AmplitudeScale::Linear, &spec).unwrap_err().field,
                "bins[7]"
            );
        }
        assert_eq!(
            Spectrum::parse(&[1.0], AmplitudeScale::Linear, &spec)
                .unwrap_err()
                .field,
            "bins"
        );
        let scale = AmplitudeScale::Decibel { reference: 0.0 };
        assert_eq!(
            Spectrum::parse(&[0.0; 32], scale, &spec).unwrap_err().field,
            "db_reference"
        );
    }

    #[test]
    fn decibels_and_linear_amplitudes_of_the_same_spectrum_agree() {
        let spec = SpectrumSpec::corpus_default(32);
        let amplitudes: Vec<f32> = (1..=32).map(|i| i as f32 * 0.01).collect();
        let db: Vec<f32> = amplitudes.iter().map(|s| 20.0 * (s / 1e-6).log10()).collect();
        let from_db = Spectrum::parse(&db, AmplitudeScale::Decibel { reference: 1e-6 }, &spec).unwrap();
        for (a, b) in from_db.as_slice().iter().zip(&amplitudes) {
            assert!((a / b - 1.0).abs() < 1e-5, "{a} against {b}");
        }
    }
}
