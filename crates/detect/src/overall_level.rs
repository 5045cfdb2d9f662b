//! The oldest detector of all: is the machine as loud as it was?
//!
//! The score is the distance of the log energy from its healthy mean, in healthy standard deviations,
//! whichever way it lies: some faults (a loose mounting, a sensor falling off, a stalled fan) vibrate
//! less than a healthy machine.

use serde::{Deserialize, Serialize};

use crate::error::{FitError, MalformedModel};
use crate::lanes::sum_of_squares;
use crate::rows::{Rows, assert_batch};

/// Added to the energy, so that a silent spectrum has a logarithm. Far below any sensor's noise.
const ENERGY_FLOOR: f64 = 1e-24;

/// Least standard deviation of the log energy: 0.001 is 0.4 hundredths of a decibel.
const SD_FLOOR: f64 = 1e-3;

/// Natural logarithm of the energy of a linear spectrum, ln(sum of s^2).
pub fn log_energy(spectrum: &[f32]) -> f64 {
    (sum_of_squares(spectrum) + ENERGY_FLOOR).ln()
}

/// Healthy distribution of the log energy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct OverallLevel {
    mean: f64,
    sd: f64,
}

#[derive(Deserialize)]
struct Stored {
    mean: f64,
    sd: f64,
}

impl TryFrom<Stored> for OverallLevel {
    type Error = MalformedModel;

    fn try_from(Stored { mean, sd }: Stored) -> Result<Self, MalformedModel> {
        MalformedModel::unless(mean.is_finite(), "mean", "must be finite")?;
        MalformedModel::unless(sd.is_finite() && sd > 0.0, "sd", "must be finite and above zero")?;
        Ok(Self { mean, sd })
    }
}

impl OverallLevel {
    /// Fits mean and standard deviation on healthy linear spectra; at least 2 rows.
    pub fn fit(rows: Rows<'_>) -> Result<Self, FitError> {
        let levels: Vec<f64> = rows.iter().map(log_energy).collect();
        Self::of_levels(&levels)
    }

    /// Fits mean and standard deviation of healthy log energies; at least 2.
    pub fn of_levels(levels: &[f64]) -> Result<Self, FitError> {
        if levels.len() < 2 {
            let have = levels.len();
            return Err(FitError::TooFewRows { have, need: 2 });
        }
        let count = levels.len() as f64;
        let mean = levels.iter().sum::<f64>() / count;
        let variance = levels.iter().map(|level| (level - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Ok(Self::of_moments(mean, variance))
    }

    /// From the mean and the sample variance of healthy log energies that are not at hand together.
    pub fn of_moments(mean: f64, variance: f64) -> Self {
        Self {
            mean,
            sd: variance.sqrt().max(SD_FLOOR),
        }
    }

    /// From a stored mean and standard deviation: finite, the latter above zero.
    pub fn from_parts(mean: f64, sd: f64) -> Result<Self, MalformedModel> {
        Self::try_from(Stored { mean, sd })
    }

    /// The same spread about another mean: `by` is the change of the log energy.
    #[must_use]
    pub fn moved(self, by: f64) -> Self {
        Self {
            mean: self.mean + by,
            ..self
        }
    }

    /// Healthy mean of the log energy.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Healthy standard deviation of the log energy.
    pub fn sd(&self) -> f64 {
        self.sd
    }

    /// Signed distance from the mean in standard deviations: below zero is quieter than healthy.
    pub fn z(&self, spectrum: &[f32]) -> f64 {
        (log_energy(spectrum) - self.mean) / self.sd
    }

    /// Score of one linear spectrum: |z|.
    pub fn score(&self, spectrum: &[f32]) -> f32 {
        self.z(spectrum).abs() as f32
    }

    /// Scores of linear spectra of `bins` values, one after the other in `rows`.
    ///
    /// # Panics
    /// If `rows` does not hold `out.len()` rows.
    pub fn score_batch(&self, rows: &[f32], bins: usize, out: &mut [f32]) {
        assert_batch(rows.len(), bins, bins, out.len());
        for (score, row) in out.iter_mut().zip(rows.chunks_exact(bins)) {
            *score = self.score(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted() -> OverallLevel {
        let values: Vec<f32> = (0..400).map(|at| 1.0 + 0.05 * (at as f32 * 0.37).sin()).collect();
        OverallLevel::fit(Rows::new(&values, 4).expect("rows")).expect("fit")
    }

    #[test]
    fn louder_and_quieter_machines_both_score_high() {
        let model = fitted();
        let healthy = model.score(&[1.0; 4]);
        assert!(healthy < 1.0);
        assert!(model.score(&[2.0; 4]) > 10.0 && model.score(&[0.5; 4]) > 10.0);
        assert!(model.z(&[2.0; 4]) > 0.0 && model.z(&[0.5; 4]) < 0.0);
    }

    #[test]
    fn doubling_every_amplitude_adds_twice_the_logarithm_of_two() {
        let difference = log_energy(&[2.0, 4.0, 6.0]) - log_energy(&[1.0, 2.0, 3.0]);
        assert!((difference - 2.0 * 2.0_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn a_silent_spectrum_has_a_finite_score_and_nan_does_not_panic() {
        let model = fitted();
        assert!(model.score(&[0.0; 4]).is_finite());
        assert!(model.score(&[f32::MAX; 4]).is_finite());
        assert!(model.score(&[f32::NAN; 4]).is_nan());
    }

    #[test]
    fn a_batch_gives_the_bits_of_each_row_alone() {
        let model = fitted();
        let rows: Vec<f32> = (0..40).map(|at| (at as f32 * 0.9).sin().abs()).collect();
        let mut scores = vec![0.0; 10];
        model.score_batch(&rows, 4, &mut scores);
        for (score, row) in scores.iter().zip(rows.chunks_exact(4)) {
            assert_eq!(score.to_bits(), model.score(row).to_bits());
        }
    }

    #[test]
    fn a_stored_model_with_no_spread_is_refused() {
        let error = serde_json::from_str::<OverallLevel>(r#"{"mean":0.0,"sd":0.0}"#).expect_err("no spread");
        assert!(error.to_string().contains("sd: must be finite and above zero"));
    }
}
