//! Distance from the healthy mean, in the metric of the healthy covariance.
//!
//! The sample covariance of many bins from few rows is badly conditioned, so it is shrunk towards a
//! multiple of the identity by the amount that Ledoit & Wolf ("A well-conditioned estimator for
//! large-dimensional covariance matrices", 2004) derive from the rows themselves.
//!
//! With the covariance as L L' (Cholesky), the inverse of L turns healthy rows into white noise, and
//! the distance is the length of a whitened row: one triangular product per score.

use nalgebra::linalg::Cholesky;
use nalgebra::{DMatrix, Dyn};
use serde::{Deserialize, Serialize};

use crate::covariance::{Scatter, means};
use crate::error::{FitError, MalformedModel};
use crate::pca::{Components, Pca};
use crate::projection::Projection;
use crate::rows::{Rows, assert_batch};

/// A fitted mean and whitening matrix of log spectra.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Mahalanobis {
    stored: Stored,
    /// The whitening matrix, laid out for scoring.
    projection: Projection,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stored {
    mean: Vec<f32>,
    /// The lower triangle of the whitening matrix, row by row: 1, 2, ... `bins` values.
    whitening: Vec<f32>,
    shrinkage: f64,
}

impl TryFrom<Stored> for Mahalanobis {
    type Error = MalformedModel;

    fn try_from(stored: Stored) -> Result<Self, MalformedModel> {
        let Stored {
            mean,
            whitening,
            shrinkage,
        } = &stored;
        MalformedModel::unless(!mean.is_empty(), "mean", "must have a value per bin")?;
        let triangle = mean.len() * (mean.len() + 1) / 2;
        MalformedModel::unless(
            whitening.len() == triangle,
            "whitening",
            "must be a lower triangle of bins rows",
        )?;
        MalformedModel::unless(mean.iter().all(|value| value.is_finite()), "mean", "must be finite")?;
        MalformedModel::unless(
            whitening.iter().all(|value| value.is_finite()),
            "whitening",
            "must be finite",
        )?;
        MalformedModel::unless((0.0..=1.0).contains(shrinkage), "shrinkage", "must be 0 to 1")?;
        Ok(Self::new(stored))
    }
}

impl From<Mahalanobis> for Stored {
    fn from(model: Mahalanobis) -> Self {
        model.stored
    }
}

impl Mahalanobis {
    /// Fits on log spectra; at least 2 rows.
    pub fn fit(rows: Rows<'_>) -> Result<Self, FitError> {
        rows.at_least(2)?;
        let mut fit = MahalanobisFit::new(means(rows));
        fit.add(rows);
        fit.finish()
    }

    /// From the mean and covariance of log spectra and what [`MahalanobisFit`] summed up beside them.
    fn of_moments(mean: &[f64], (sample, fourth): (DMatrix<f64>, f64), rows: usize) -> Result<Self, FitError> {
        let bins = mean.len();
        if rows < 2 {
            return Err(FitError::TooFewRows { have: rows, need: 2 });
        }
        if sample.trace() <= 0.0 {
            return Err(FitError::NoSpread);
        }
        let shrinkage = shrinkage(rows, fourth, &sample);
        let target = sample.trace() / bins as f64;
        let mut shrunk = sample * (1.0 - shrinkage);
        for bin in 0..bins {
            shrunk[(bin, bin)] += shrinkage * target;
        }
        let lower = factor(&shrunk, target)?.unpack();
        let whitening =
            lower
                .solve_lower_triangular(&DMatrix::identity(bins, bins))
                .ok_or(FitError::Decomposition {
                    reason: "the factor of the covariance is singular",
                })?;
        let triangle = (0..bins).flat_map(|row| (0..=row).map(move |column| (row, column)));
        Ok(Self::new(Stored {
            mean: mean.iter().map(|&value| value as f32).collect(),
            whitening: triangle.map(|at| whitening[at] as f32).collect(),
            shrinkage,
        }))
    }

    /// Lays out a whitening matrix known to be whole.
    fn new(stored: Stored) -> Self {
        let row = |at: usize| &stored.whitening[at * (at + 1) / 2..][..=at];
        let rows: Vec<&[f32]> = (0..stored.mean.len()).map(row).collect();
        let projection = Projection::from_rows(&rows);
        Self { stored, projection }
    }

    /// Number of bins.
    pub fn bins(&self) -> usize {
        self.stored.mean.len()
    }

    /// Weight of the identity in the covariance, 0 to 1: near 1 means too few rows to tell.
    pub fn shrinkage(&self) -> f64 {
        self.stored.shrinkage
    }

    /// Score of one log spectrum: its distance, about sqrt(bins) for a healthy one.
    ///
    /// # Panics
    /// If the row does not have the model's bins.
    pub fn score(&self, log_spectrum: &[f32]) -> f32 {
        self.score_with(log_spectrum, &mut vec![0.0; self.bins()])
    }

    /// Scores of log spectra of `bins` values, one after the other in `rows`.
    ///
    /// # Panics
    /// If `bins` is not the model's, or `rows` does not hold `out.len()` rows.
    pub fn score_batch(&self, rows: &[f32], bins: usize, out: &mut [f32]) {
        assert_batch(rows.len(), bins, self.bins(), out.len());
        let mut centred = vec![0.0; bins];
        for (score, row) in out.iter_mut().zip(rows.chunks_exact(bins)) {
            *score = self.score_with(row, &mut centred);
        }
    }

    fn score_with(&self, log_spectrum: &[f32], centred: &mut [f32]) -> f32 {
        assert_eq!(
            log_spectrum.len(),
            self.bins(),
            "bins of the row against bins of the model"
        );
        for ((centred, &value), &mean) in centred.iter_mut().zip(log_spectrum).zip(&self.stored.mean) {
            *centred = value - mean;
        }
        self.projection.squared_length(centred).sqrt()
    }
}

/// A fit on rows that come in parts, their mean being known.
#[derive(Debug, Clone)]
pub struct MahalanobisFit {
    mean: Vec<f64>,
    scatter: Scatter,
    /// Sum over rows of their squared distance from the mean, squared.
    fourth: f64,
}

impl MahalanobisFit {
    /// Begins one about the mean of every bin of log spectra, without a row yet.
    pub fn new(mean: Vec<f64>) -> Self {
        Self {
            scatter: Scatter::new(mean.len()),
            mean,
            fourth: 0.0,
        }
    }

    /// Adds log spectra.
    ///
    /// # Panics
    /// If they do not have the bins of the mean.
    pub fn add(&mut self, rows: Rows<'_>) {
        let mean = &self.mean;
        self.scatter.add(rows, |bin, value| f64::from(value) - mean[bin]);
        for row in rows {
            let squares = row
                .iter()
                .zip(mean)
                .map(|(&value, mean)| (f64::from(value) - mean).powi(2));
            self.fourth += squares.sum::<f64>().powi(2);
        }
    }

    /// The principal components of all that was added, standardised by how much each value varies among the rows.
    pub fn components(&self, components: Components) -> Result<Pca, FitError> {
        Pca::of_moments(&self.mean, &self.scatter.clone().covariance(), components)
    }

    /// The distance of all that was added; at least 2 rows.
    pub fn finish(self) -> Result<Mahalanobis, FitError> {
        let rows = self.scatter.rows();
        Mahalanobis::of_moments(&self.mean, (self.scatter.covariance(), self.fourth), rows)
    }
}

/// Ledoit & Wolf's weight of the identity: the sampling error of the covariance (their b^2) as a
/// share of its distance from the target (d^2). `fourth`: the sum over rows of their squared distance from the mean, squared.
fn shrinkage(rows: usize, fourth: f64, sample: &DMatrix<f64>) -> f64 {
    let (count, bins) = (rows as f64, sample.nrows() as f64);
    let target = sample.trace() / bins;
    let norm = sample.norm_squared();
    let distance = norm - target * target * bins;
    if distance <= 0.0 {
        return 1.0;
    }
    // Sum of |x x' - S|^2 over rows, divided by n^2.
    let error = (fourth - count * norm) / (count * count);
    (error / distance).clamp(0.0, 1.0)
}

/// Cholesky factor, with the least addition to the diagonal that makes one exist: constant bins and
/// a shrinkage near zero can leave the covariance singular.
fn factor(covariance: &DMatrix<f64>, scale: f64) -> Result<Cholesky<f64, Dyn>, FitError> {
    for ridge in [1e-9, 1e-6] {
        let mut guarded = covariance.clone();
        for bin in 0..guarded.nrows() {
            guarded[(bin, bin)] += ridge * scale;
        }
        if let Some(factor) = Cholesky::new(guarded) {
            return Ok(factor);
        }
    }
    Err(FitError::Decomposition {
        reason: "the covariance is not positive definite",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::covariance::covariance;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    const BINS: usize = 6;

    /// Neighbouring bins move together; variance grows with the bin.
    fn cloud(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut normal = move || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
        (0..count)
            .flat_map(|_| {
                let common = normal();
                (0..BINS)
                    .map(|bin| 1.0 + (bin as f32 + 1.0) * (common + 0.5 * normal()))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn fitted() -> Mahalanobis {
        Mahalanobis::fit(Rows::new(&cloud(4_000, 1), BINS).expect("rows")).expect("fit")
    }

    #[test]
    fn the_mean_squared_distance_of_healthy_rows_is_the_number_of_bins() {
        let model = fitted();
        let rows = cloud(4_000, 2);
        let mean = rows.chunks_exact(BINS).map(|row| model.score(row).powi(2)).sum::<f32>() / 4_000.0;
        assert!((mean - BINS as f32).abs() < 0.4, "got {mean}");
        assert!(model.shrinkage() < 0.01);
    }

    #[test]
    fn a_step_against_the_correlation_is_farther_than_one_along_it() {
        let model = fitted();
        let along: Vec<f32> = (0..BINS).map(|bin| 1.0 + (bin as f32 + 1.0) * 2.0).collect();
        let sign = |bin: usize| if bin.is_multiple_of(2) { 2.0 } else { -2.0 };
        let against: Vec<f32> = (0..BINS).map(|bin| 1.0 + (bin as f32 + 1.0) * sign(bin)).collect();
        assert!(model.score(&against) > 3.0 * model.score(&along));
    }

    #[test]
    fn the_distance_agrees_with_the_inverse_of_the_covariance() {
        let values = cloud(200, 3);
        let rows = Rows::new(&values, BINS).expect("rows");
        let model = Mahalanobis::fit(rows).expect("fit");
        let mean = means(rows);
        let sample = covariance(rows, |bin, value| f64::from(value) - mean[bin]);
        let target = sample.trace() / BINS as f64;
        let shrunk = &sample * (1.0 - model.shrinkage()) + DMatrix::identity(BINS, BINS) * (model.shrinkage() * target);
        let inverse = shrunk.try_inverse().expect("invertible");
        for row in rows.iter().take(20) {
            let x = DMatrix::from_fn(BINS, 1, |bin, _| f64::from(row[bin]) - mean[bin]);
            let expected = (x.transpose() * &inverse * &x)[(0, 0)].sqrt();
            assert!((f64::from(model.score(row)) / expected - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn the_shrinkage_is_that_of_scikit_learn() {
        // ledoit_wolf(x) and ledoit_wolf(x[:6]) of scikit-learn on the same 40 rows of 5 bins.
        let value =
            |i: f64, j: f64| ((i * 1.3 + j * 0.7).sin() * (j + 1.0) + (i * i * 0.37 + j * j * 1.1).cos()) as f32;
        let values: Vec<f32> = (0..40)
            .flat_map(|i| (0..5).map(move |j| value(f64::from(i), f64::from(j))))
            .collect();
        for (count, expected) in [(40, 0.046_197_113_280_295_44), (6, 0.336_426_533_124_783_2)] {
            let model = Mahalanobis::fit(Rows::new(&values[..count * 5], 5).expect("rows")).expect("fit");
            assert!(
                (model.shrinkage() - expected).abs() < 1e-9,
                "{count} rows: {}",
                model.shrinkage()
            );
        }
    }

    #[test]
    fn rows_that_come_in_parts_give_the_same_distance() {
        let values = cloud(3_000, 7);
        let rows = Rows::new(&values, BINS).expect("rows");
        let whole = Mahalanobis::fit(rows).expect("fit");
        let mut fit = MahalanobisFit::new(means(rows));
        for part in values.chunks(700 * BINS) {
            fit.add(Rows::new(part, BINS).expect("rows"));
        }
        let parts = fit.finish().expect("fit");
        assert!((parts.shrinkage() / whole.shrinkage() - 1.0).abs() < 1e-9);
        for row in rows.iter().take(50) {
            assert!((parts.score(row) / whole.score(row) - 1.0).abs() < 1e-5);
        }
        let none = MahalanobisFit::new(vec![0.0; BINS]).finish();
        assert_eq!(none, Err(FitError::TooFewRows { have: 0, need: 2 }));
    }

    #[test]
    fn fewer_rows_than_bins_still_give_finite_scores() {
        let values = cloud(4, 5);
        let model = Mahalanobis::fit(Rows::new(&values, BINS).expect("rows")).expect("fit");
        assert!(model.shrinkage() > 0.0);
        assert!(model.score(&[9.0; BINS]).is_finite());
    }

    #[test]
    fn a_constant_bin_does_not_stop_the_fit() {
        let mut values = cloud(500, 6);
        values.iter_mut().step_by(BINS).for_each(|value| *value = 3.0);
        let model = Mahalanobis::fit(Rows::new(&values, BINS).expect("rows")).expect("fit");
        assert!(model.score(&values[..BINS]).is_finite());
        let still = [1.0; 4 * BINS];
        let still = Rows::new(&still, BINS).expect("rows");
        assert_eq!(Mahalanobis::fit(still), Err(FitError::NoSpread));
    }

    #[test]
    fn a_batch_gives_the_bits_of_each_row_alone() {
        let model = fitted();
        let rows = cloud(33, 9);
        let mut scores = vec![0.0; 33];
        model.score_batch(&rows, BINS, &mut scores);
        for (score, row) in scores.iter().zip(rows.chunks_exact(BINS)) {
            assert_eq!(score.to_bits(), model.score(row).to_bits());
        }
        assert!(model.score(&[f32::NAN; BINS]).is_nan());
    }

    #[test]
    fn a_stored_model_scores_as_before_and_a_short_one_is_refused() {
        let model = fitted();
        let mut stored = serde_json::to_value(&model).expect("json");
        let back: Mahalanobis = serde_json::from_value(stored.clone()).expect("parses");
        assert_eq!(back.score(&cloud(1, 4)).to_bits(), model.score(&cloud(1, 4)).to_bits());
        stored["whitening"].as_array_mut().expect("array").pop();
        let error = serde_json::from_value::<Mahalanobis>(stored).expect_err("one value short");
        assert!(error.to_string().contains("whitening: must be a lower triangle"));
    }
}
