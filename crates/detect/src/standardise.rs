//! Mean and spread of every bin of the log spectrum over healthy rows.
//!
//! A bin that hardly moves in training (at the noise floor, or behind a filter) has a standard
//! deviation near zero, and the first count of noise would then score as a disaster. So deviations
//! are held above a floor: a twentieth of the median deviation over the bins.

use serde::{Deserialize, Serialize};

use crate::covariance::means;
use crate::error::{FitError, MalformedModel};
use crate::rows::Rows;

/// Floor of a deviation, as a part of the median deviation over bins.
const RELATIVE_FLOOR: f64 = 0.05;

/// Floor of a deviation in units of the log spectrum, about 0.001 dB.
const ABSOLUTE_FLOOR: f64 = 1e-4;

/// Per-bin mean and guarded standard deviation of log spectra.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Standardise {
    mean: Vec<f32>,
    sd: Vec<f32>,
}

#[derive(Deserialize)]
struct Stored {
    mean: Vec<f32>,
    sd: Vec<f32>,
}

impl TryFrom<Stored> for Standardise {
    type Error = MalformedModel;

    fn try_from(Stored { mean, sd }: Stored) -> Result<Self, MalformedModel> {
        MalformedModel::unless(!mean.is_empty(), "mean", "must have a value per bin")?;
        MalformedModel::unless(mean.len() == sd.len(), "sd", "must have as many values as mean")?;
        MalformedModel::unless(mean.iter().all(|value| value.is_finite()), "mean", "must be finite")?;
        let positive = sd.iter().all(|value| value.is_finite() && *value > 0.0);
        MalformedModel::unless(positive, "sd", "must be finite and above zero")?;
        Ok(Self { mean, sd })
    }
}

impl Standardise {
    /// Fits on log spectra; at least 2 rows.
    pub fn fit(rows: Rows<'_>) -> Result<Self, FitError> {
        rows.at_least(2)?;
        let mean = means(rows);
        let mut squares = vec![0.0_f64; rows.bins()];
        for row in rows {
            for ((square, &value), &mean) in squares.iter_mut().zip(row).zip(&mean) {
                let difference = f64::from(value) - mean;
                *square += difference * difference;
            }
        }
        let count = rows.len() as f64;
        let variance: Vec<f64> = squares.into_iter().map(|square| square / count).collect();
        Ok(Self::of_moments(&mean, &variance))
    }

    /// The same from the mean and the variance (over the number of rows) of every bin of log spectra, for rows that are
    /// not at hand together.
    ///
    /// # Panics
    /// If there is no bin, or there are not as many variances as means.
    pub fn of_moments(mean: &[f64], variance: &[f64]) -> Self {
        assert_eq!(mean.len(), variance.len(), "variances against means");
        let sd: Vec<f64> = variance.iter().map(|variance| variance.sqrt()).collect();
        let mut sorted = sd.clone();
        sorted.sort_by(f64::total_cmp);
        let floor = (RELATIVE_FLOOR * sorted[sorted.len() / 2]).max(ABSOLUTE_FLOOR);
        Self {
            mean: mean.iter().map(|value| *value as f32).collect(),
            sd: sd.into_iter().map(|value| value.max(floor) as f32).collect(),
        }
    }

    /// Number of bins.
    pub fn bins(&self) -> usize {
        self.mean.len()
    }

    /// Mean of every bin, in units of the log spectrum.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Guarded standard deviation of every bin, in units of the log spectrum; above zero.
    pub fn sd(&self) -> &[f32] {
        &self.sd
    }

    /// Fills `out` with (x - mean) / sd of one log spectrum.
    ///
    /// # Panics
    /// If `log_spectrum` or `out` does not have the model's bins.
    pub fn standardise_into(&self, log_spectrum: &[f32], out: &mut [f32]) {
        assert_eq!(
            log_spectrum.len(),
            self.bins(),
            "bins of the row against bins of the model"
        );
        assert_eq!(out.len(), self.bins(), "bins of the result against bins of the model");
        for (((z, &x), &mean), &sd) in out.iter_mut().zip(log_spectrum).zip(&self.mean).zip(&self.sd) {
            *z = (x - mean) / sd;
        }
    }

    /// The way back, in place: z times sd plus mean.
    ///
    /// # Panics
    /// If `row` does not have the model's bins.
    pub fn restore(&self, row: &mut [f32]) {
        assert_eq!(row.len(), self.bins(), "bins of the row against bins of the model");
        for ((z, &mean), &sd) in row.iter_mut().zip(&self.mean).zip(&self.sd) {
            *z = *z * sd + mean;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<f32> {
        (0..300)
            .flat_map(|at| [(at as f32 * 0.61).sin(), 5.0 + 3.0 * (at as f32 * 0.23).cos(), 7.0])
            .collect()
    }

    #[test]
    fn training_rows_come_out_with_mean_zero_and_deviation_one() {
        let values = rows();
        let model = Standardise::fit(Rows::new(&values, 3).expect("rows")).expect("fit");
        let mut z = vec![0.0; 3];
        let (mut sum, mut squares) = ([0.0_f64; 2], [0.0_f64; 2]);
        for row in values.chunks_exact(3) {
            model.standardise_into(row, &mut z);
            for bin in 0..2 {
                sum[bin] += f64::from(z[bin]);
                squares[bin] += f64::from(z[bin]).powi(2);
            }
        }
        for bin in 0..2 {
            assert!((sum[bin] / 300.0).abs() < 1e-5);
            assert!((squares[bin] / 300.0 - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn a_constant_bin_gets_a_twentieth_of_the_median_deviation() {
        let values = rows();
        let model = Standardise::fit(Rows::new(&values, 3).expect("rows")).expect("fit");
        assert!((model.sd()[2] - 0.05 * model.sd()[0]).abs() < 1e-6);
    }

    #[test]
    fn restoring_undoes_standardising() {
        let values = rows();
        let model = Standardise::fit(Rows::new(&values, 3).expect("rows")).expect("fit");
        let mut z = vec![0.0; 3];
        model.standardise_into(&values[30..33], &mut z);
        model.restore(&mut z);
        for (back, value) in z.iter().zip(&values[30..33]) {
            assert!((back - value).abs() < 1e-5);
        }
    }

    #[test]
    fn a_stored_model_of_uneven_lengths_is_refused() {
        let error = serde_json::from_str::<Standardise>(r#"{"mean":[0.0,1.0],"sd":[1.0]}"#).expect_err("uneven");
        assert!(error.to_string().contains("sd: must have as many values as mean"));
    }
}
