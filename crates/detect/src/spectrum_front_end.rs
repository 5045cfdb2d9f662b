//! From a waveform to the spectrum that is scored.
//!
//! Minus the mean, times a periodic Hann window, amplitude of the real Fourier transform scaled by
//! 2 / sum(window) (so that a sine in the middle of a line has its peak amplitude), without the
//! constant line, and then the mean of equal groups of lines.
//!
//! One front end serves one length of waveform; the window and the transform's tables are made once.

use std::sync::Arc;

use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

/// Longest waveform: 2^22 samples are 160 s at 25.6 kHz.
const MAX_SAMPLES: usize = 1 << 22;

/// Why a front end cannot be made, or a waveform not be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrontEndError {
    /// The length is odd, zero or too long.
    #[error("samples: {samples} must be even, above zero and at most 4194304")]
    Samples {
        /// Samples asked for.
        samples: usize,
    },
    /// The lines do not divide into the bins.
    #[error("bins: {lines} lines do not divide into {bins} equal groups")]
    Bins {
        /// Lines above the constant one, half the samples.
        lines: usize,
        /// Bins asked for.
        bins: usize,
    },
    /// A waveform of another length.
    #[error("waveform: {have} samples where {need} are expected")]
    Length {
        /// Samples given.
        have: usize,
        /// Samples expected.
        need: usize,
    },
    /// A sample is NaN or infinite.
    #[error("waveform: sample {at} is not finite")]
    NotFinite {
        /// Place of the sample, from 0.
        at: usize,
    },
}

/// Makes spectra of `bins` bins from waveforms of `samples` samples.
#[derive(Clone)]
pub struct SpectrumFrontEnd {
    window: Vec<f64>,
    scale: f64,
    bins: usize,
    transform: Arc<dyn Fft<f64>>,
}

impl std::fmt::Debug for SpectrumFrontEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpectrumFrontEnd")
            .field("samples", &self.samples())
            .field("bins", &self.bins)
            .finish_non_exhaustive()
    }
}

impl SpectrumFrontEnd {
    /// A front end for waveforms of `samples` samples (even) and spectra of `bins` bins, which must
    /// divide `samples / 2`. At a sampling rate f, bin k spans the lines from
    /// `k * f / (2 * bins)` (exclusive) to `(k + 1) * f / (2 * bins)` (inclusive).
    pub fn new(samples: usize, bins: usize) -> Result<Self, FrontEndError> {
        if samples == 0 || !samples.is_multiple_of(2) || samples > MAX_SAMPLES {
            return Err(FrontEndError::Samples { samples });
        }
        let lines = samples / 2;
        if bins == 0 || !lines.is_multiple_of(bins) {
            return Err(FrontEndError::Bins { lines, bins });
        }
        let step = std::f64::consts::TAU / samples as f64;
        let window: Vec<f64> = (0..samples).map(|at| 0.5 - 0.5 * (step * at as f64).cos()).collect();
        let scale = 2.0 / window.iter().sum::<f64>();
        let transform = FftPlanner::new().plan_fft_forward(samples);
        Ok(Self {
            window,
            scale,
            bins,
            transform,
        })
    }

    /// Samples of a waveform.
    pub fn samples(&self) -> usize {
        self.window.len()
    }

    /// Bins of a spectrum.
    pub fn bins(&self) -> usize {
        self.bins
    }

    /// Spectrum of one waveform: `bins` peak amplitudes in the waveform's unit.
    pub fn spectrum(&self, waveform: &[f32]) -> Result<Vec<f32>, FrontEndError> {
        if waveform.len() != self.samples() {
            return Err(FrontEndError::Length {
                have: waveform.len(),
                need: self.samples(),
            });
        }
        if let Some(at) = waveform.iter().position(|sample| !sample.is_finite()) {
            return Err(FrontEndError::NotFinite { at });
        }
        let mean = waveform.iter().map(|&sample| f64::from(sample)).sum::<f64>() / self.samples() as f64;
        let mut buffer: Vec<Complex<f64>> = waveform
            .iter()
            .zip(&self.window)
            .map(|(&sample, &weight)| Complex::new((f64::from(sample) - mean) * weight, 0.0))
            .collect();
        self.transform.process(&mut buffer);
        let lines = &buffer[1..=self.samples() / 2];
        let group = lines.len() / self.bins;
        let scale = self.scale / group as f64;
        let bins = lines.chunks_exact(group);
        Ok(bins
            .map(|lines| (scale * lines.iter().map(|line| line.norm()).sum::<f64>()) as f32)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, term by term, without a fast transform.
    fn naive(waveform: &[f32], bins: usize) -> Vec<f64> {
        let n = waveform.len();
        let mean = waveform.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64;
        let turn = std::f64::consts::TAU / n as f64;
        let hann = |at: usize| (turn * at as f64 / 2.0).sin().powi(2);
        let window_sum: f64 = (0..n).map(hann).sum();
        let amplitude = |line: usize| {
            let (mut re, mut im) = (0.0, 0.0);
            for (at, &x) in waveform.iter().enumerate() {
                let value = (f64::from(x) - mean) * hann(at);
                let angle = turn * ((line * at) % n) as f64;
                re += value * angle.cos();
                im -= value * angle.sin();
            }
            re.hypot(im) * 2.0 / window_sum
        };
        let group = n / 2 / bins;
        (0..bins)
            .map(|bin| (1..=group).map(|line| amplitude(bin * group + line)).sum::<f64>() / group as f64)
            .collect()
    }

    #[test]
    fn a_sine_on_a_line_has_its_peak_amplitude_there() {
        let front_end = SpectrumFrontEnd::new(256, 128).expect("front end");
        let turn = std::f64::consts::TAU / 256.0;
        let waveform: Vec<f32> = (0..256)
            .map(|at| (5.0 + 3.0 * (turn * 20.0 * f64::from(at)).sin()) as f32)
            .collect();
        let spectrum = front_end.spectrum(&waveform).expect("spectrum");
        // Line 20 is the 20th after the constant one; Hann spreads half of it to either neighbour.
        assert!((spectrum[19] - 3.0).abs() < 1e-4);
        assert!((spectrum[18] - 1.5).abs() < 1e-4 && (spectrum[20] - 1.5).abs() < 1e-4);
        assert!(spectrum[..17].iter().chain(&spectrum[22..]).all(|value| *value < 1e-4));
    }

    #[test]
    fn a_length_that_is_no_power_of_two_agrees_with_the_definition() {
        let waveform: Vec<f32> = (0..2_560)
            .map(|at| (at as f32 * 0.31).sin() + (at as f32 * 1.7).cos() * 0.1)
            .collect();
        let spectrum = SpectrumFrontEnd::new(2_560, 64)
            .expect("front end")
            .spectrum(&waveform)
            .expect("spectrum");
        for (bin, (found, expected)) in spectrum.iter().zip(naive(&waveform, 64)).enumerate() {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-6 * expected + 1e-9,
                "bin {bin}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_waveform_agrees_with_the_definition(waveform in prop::collection::vec(-10.0_f32..10.0, 60)) {
            let spectrum = SpectrumFrontEnd::new(60, 10).expect("front end").spectrum(&waveform).expect("spectrum");
            for (found, expected) in spectrum.iter().zip(naive(&waveform, 10)) {
                prop_assert!((f64::from(*found) - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn bad_sizes_and_samples_are_refused_by_name() {
        assert_eq!(
            SpectrumFrontEnd::new(7, 1).expect_err("odd"),
            FrontEndError::Samples { samples: 7 }
        );
        assert_eq!(
            SpectrumFrontEnd::new(100, 7).expect_err("7"),
            FrontEndError::Bins { lines: 50, bins: 7 }
        );
        let front_end = SpectrumFrontEnd::new(8, 4).expect("front end");
        assert_eq!(
            front_end.spectrum(&[0.0; 7]),
            Err(FrontEndError::Length { have: 7, need: 8 })
        );
        let mut waveform = [0.0; 8];
        waveform[3] = f32::INFINITY;
        assert_eq!(front_end.spectrum(&waveform), Err(FrontEndError::NotFinite { at: 3 }));
    }
}
