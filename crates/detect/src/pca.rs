//! Principal components of healthy log spectra, and what they leave unexplained.
//!
//! Healthy spectra live near a plane: speed, load and temperature move many bins together. A fault
//! leaves the plane. The score is the squared prediction error (the Q statistic of Jackson &
//! Mudholkar 1979), here as a mean over bins of the standardised log spectrum.
//!
//! What the kept components leave is what the dropped ones hold, so the error is also the length of
//! the row's projection on those. With 95 % of the variance of 64 bins in 44 components, that is 20
//! inner products in place of 88; the score takes the cheaper of the two ways, which depends on the
//! model alone.

use nalgebra::DMatrix;
use nalgebra::linalg::SymmetricEigen;
use serde::{Deserialize, Serialize};

use crate::covariance::Scatter;
use crate::error::{FitError, MalformedModel};
use crate::lanes::{dot, squared_distance};
use crate::projection::Projection;
use crate::rows::{Rows, assert_batch};
use crate::standardise::Standardise;

/// Sweeps after which the eigen decomposition is given up; it needs a few per bin.
const MAX_SWEEPS_PER_BIN: usize = 100;

/// How many components to keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Components {
    /// As few as explain this share of the variance, above 0 and at most 1.
    Explained(f64),
    /// This many, 1 to the number of bins.
    Count(usize),
}

impl Components {
    fn check(self, bins: usize) -> Result<(), FitError> {
        let refuse = |reason| {
            Err(FitError::Parameter {
                field: "components",
                reason,
            })
        };
        match self {
            Self::Explained(share) if !(share > 0.0 && share <= 1.0) => {
                refuse("the explained share must be above 0 and at most 1")
            }
            Self::Count(count) if !(1..=bins).contains(&count) => refuse("the count must be 1 to the number of bins"),
            _ => Ok(()),
        }
    }
}

/// A fit on rows that come in parts, their standardisation being known.
#[derive(Debug, Clone)]
pub struct PcaFit {
    standardise: Standardise,
    scatter: Scatter,
}

impl PcaFit {
    /// Begins one, without a row yet.
    pub fn new(standardise: Standardise) -> Self {
        Self {
            scatter: Scatter::new(standardise.bins()),
            standardise,
        }
    }

    /// Adds log spectra.
    ///
    /// # Panics
    /// If they do not have the bins of the standardisation.
    pub fn add(&mut self, rows: Rows<'_>) {
        let (mean, sd) = (self.standardise.mean(), self.standardise.sd());
        self.scatter
            .add(rows, |bin, value| f64::from(value - mean[bin]) / f64::from(sd[bin]));
    }

    /// The components of all that was added.
    pub fn finish(self, components: Components) -> Result<Pca, FitError> {
        Pca::of_covariance(self.standardise, self.scatter.covariance(), components)
    }
}

/// A fitted plane in standardised log spectra.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Pca {
    stored: Stored,
    /// The dropped components laid out for scoring, where that is the cheaper way.
    residual: Option<Projection>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Stored {
    standardise: Standardise,
    /// Orthonormal rows of `bins` values, the greatest variance first.
    components: Vec<f32>,
    /// Share of the variance each component explains.
    explained: Vec<f32>,
    /// The components dropped, where they are the cheaper way to the score; else empty.
    dropped: Vec<f32>,
}

impl TryFrom<Stored> for Pca {
    type Error = MalformedModel;

    fn try_from(stored: Stored) -> Result<Self, MalformedModel> {
        let Stored {
            standardise,
            components,
            explained,
            dropped,
        } = &stored;
        let (bins, count) = (standardise.bins(), explained.len());
        MalformedModel::unless((1..=bins).contains(&count), "explained", "must have 1 to bins values")?;
        let full = components.len() == count * bins;
        MalformedModel::unless(full, "components", "must have a value per component and bin")?;
        let whole = dropped.is_empty() || dropped.len() == (bins - count) * bins;
        MalformedModel::unless(whole, "dropped", "must be empty or every component that is not kept")?;
        let finite = components
            .iter()
            .chain(explained)
            .chain(dropped)
            .all(|value| value.is_finite());
        MalformedModel::unless(finite, "components", "must be finite")?;
        Ok(Self::new(stored))
    }
}

impl From<Pca> for Stored {
    fn from(model: Pca) -> Self {
        model.stored
    }
}

impl Pca {
    /// Fits on log spectra; at least 2 rows.
    pub fn fit(rows: Rows<'_>, components: Components) -> Result<Self, FitError> {
        components.check(rows.bins())?;
        let mut fit = PcaFit::new(Standardise::fit(rows)?);
        fit.add(rows);
        fit.finish(components)
    }

    /// From the mean of log spectra, and their covariance about it.
    pub(crate) fn of_moments(
        mean: &[f64],
        covariance: &DMatrix<f64>,
        components: Components,
    ) -> Result<Self, FitError> {
        let variance: Vec<f64> = covariance.diagonal().iter().copied().collect();
        let standardise = Standardise::of_moments(mean, &variance);
        let (sd, bins) = (standardise.sd(), mean.len());
        let scaled = DMatrix::from_fn(bins, bins, |row, column| {
            covariance[(row, column)] / (f64::from(sd[row]) * f64::from(sd[column]))
        });
        Self::of_covariance(standardise, scaled, components)
    }

    /// From the covariance of standardised log spectra.
    fn of_covariance(
        standardise: Standardise,
        moments: DMatrix<f64>,
        components: Components,
    ) -> Result<Self, FitError> {
        let bins = standardise.bins();
        components.check(bins)?;
        let total = moments.trace();
        if total <= 0.0 {
            return Err(FitError::NoSpread);
        }
        let eigen = SymmetricEigen::try_new(moments, f64::EPSILON, MAX_SWEEPS_PER_BIN * bins).ok_or(
            FitError::Decomposition {
                reason: "the eigen decomposition did not converge",
            },
        )?;
        let mut order: Vec<usize> = (0..bins).collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]).then(a.cmp(&b)));
        let shares: Vec<f64> = order.iter().map(|&at| eigen.eigenvalues[at].max(0.0) / total).collect();
        let count = match components {
            Components::Count(count) => count,
            Components::Explained(share) => count_explaining(&shares, share),
        };
        let basis = |order: &[usize]| -> Vec<f32> {
            order
                .iter()
                .flat_map(|&at| signed(eigen.eigenvectors.column(at).as_slice()))
                .collect()
        };
        let (kept, dropped) = order.split_at(count);
        Ok(Self::new(Stored {
            components: basis(kept),
            explained: shares[..count].iter().map(|&share| share as f32).collect(),
            // A reconstruction reads every kept component twice.
            dropped: if dropped.len() < 2 * kept.len() {
                basis(dropped)
            } else {
                Vec::new()
            },
            standardise,
        }))
    }

    /// Lays out components known to be whole.
    fn new(stored: Stored) -> Self {
        let rows: Vec<&[f32]> = stored.dropped.chunks_exact(stored.standardise.bins()).collect();
        let residual = (!rows.is_empty()).then(|| Projection::from_rows(&rows));
        Self { stored, residual }
    }

    /// Number of bins.
    pub fn bins(&self) -> usize {
        self.stored.standardise.bins()
    }

    /// Number of components kept.
    pub fn count(&self) -> usize {
        self.stored.explained.len()
    }

    /// Share of the variance each kept component explains, the greatest first.
    pub fn explained(&self) -> &[f32] {
        &self.stored.explained
    }

    /// Orthonormal components, `count` rows of `bins` values, in standardised log spectra.
    pub fn components(&self) -> &[f32] {
        &self.stored.components
    }

    /// Mean and deviation of each bin that rows are standardised with.
    pub fn standardise(&self) -> &Standardise {
        &self.stored.standardise
    }

    /// Score of one log spectrum: mean squared error of its reconstruction, standardised.
    ///
    /// # Panics
    /// If the row does not have the model's bins.
    pub fn score(&self, log_spectrum: &[f32]) -> f32 {
        let mut scratch = Scratch::new(self.bins());
        self.score_with(log_spectrum, &mut scratch)
    }

    /// Scores of log spectra of `bins` values, one after the other in `rows`.
    ///
    /// # Panics
    /// If `bins` is not the model's, or `rows` does not hold `out.len()` rows.
    pub fn score_batch(&self, rows: &[f32], bins: usize, out: &mut [f32]) {
        assert_batch(rows.len(), bins, self.bins(), out.len());
        let mut scratch = Scratch::new(bins);
        for (score, row) in out.iter_mut().zip(rows.chunks_exact(bins)) {
            *score = self.score_with(row, &mut scratch);
        }
    }

    /// Fills `out` with the log spectrum as the components see it.
    ///
    /// # Panics
    /// If `log_spectrum` or `out` does not have the model's bins.
    pub fn reconstruct(&self, log_spectrum: &[f32], out: &mut [f32]) {
        let mut z = vec![0.0; self.bins()];
        self.stored.standardise.standardise_into(log_spectrum, &mut z);
        self.project(&z, out);
        self.stored.standardise.restore(out);
    }

    fn score_with(&self, log_spectrum: &[f32], scratch: &mut Scratch) -> f32 {
        let Scratch { z, projected } = scratch;
        self.stored.standardise.standardise_into(log_spectrum, z);
        let squared = if let Some(residual) = &self.residual {
            residual.squared_length(z)
        } else {
            self.project(z, projected);
            squared_distance(z, projected)
        };
        squared / self.bins() as f32
    }

    /// Fills `projected` with the part of `z` in the plane.
    fn project(&self, z: &[f32], projected: &mut [f32]) {
        assert_eq!(
            projected.len(),
            self.bins(),
            "bins of the result against bins of the model"
        );
        projected.fill(0.0);
        for component in self.stored.components.chunks_exact(self.bins()) {
            let amount = dot(component, z);
            for (sum, &weight) in projected.iter_mut().zip(component) {
                *sum += amount * weight;
            }
        }
    }
}

/// A row while it is scored.
struct Scratch {
    z: Vec<f32>,
    projected: Vec<f32>,
}

impl Scratch {
    fn new(bins: usize) -> Self {
        Self {
            z: vec![0.0; bins],
            projected: vec![0.0; bins],
        }
    }
}

/// An eigenvector with a sign: it has none of its own, so its largest entry is made positive.
fn signed(vector: &[f64]) -> Vec<f32> {
    let largest = vector.iter().copied().fold(
        0.0_f64,
        |largest, value| if value.abs() > largest.abs() { value } else { largest },
    );
    vector.iter().map(|value| (largest.signum() * value) as f32).collect()
}

/// The fewest leading shares that sum to at least `share`.
fn count_explaining(shares: &[f64], share: f64) -> usize {
    let mut sum = 0.0;
    for (at, part) in shares.iter().enumerate() {
        sum += part;
        // A share of 1 must not ask for components that only hold rounding.
        if sum >= share - 1e-12 {
            return at + 1;
        }
    }
    shares.len()
}

#[cfg(test)]
mod tests;
