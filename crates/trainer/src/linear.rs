//! Residual detectors without a network, in the form of one: a plant whose spectra the simple methods part better can serve
//! them as the bundle's residual, through the same scorer and under the same limits.
//!
//! Both come from the principal axes of the standardised log spectra. PCA rebuilds a row from the first of them. The
//! Mahalanobis distance is the error of a rebuild too: with W the symmetric root of the inverse covariance, x - xW leaves
//! xW, whose mean square is the squared distance over the bins, and whose parts say which bins stand out.

use std::collections::BTreeMap;

use tocsin_detect::{Components, FitError, Mahalanobis, Pca, Rows, Standardise};
use tocsin_models::{Metrics, Variant};

/// Matrices of a linear autoencoder, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LinearModel {
    /// The space it works in.
    standardise: Standardise,
    /// Bins x latent.
    pub(crate) encode: Vec<f32>,
    /// Latent x bins.
    pub(crate) decode: Vec<f32>,
    /// Bins x bins, what a row is rebuilt by where that is not by its latent.
    pub(crate) rebuild: Option<Vec<f32>>,
}

impl LinearModel {
    /// Fits one on log spectra; its space is that of [`Standardise::fit`] on the same rows.
    pub(crate) fn fit(variant: Variant, log: Rows<'_>, latent: usize) -> Result<Self, FitError> {
        let bins = log.bins();
        let axes = Pca::fit(log, Components::Count(bins))?;
        let decode = axes.components()[..latent * bins].to_vec();
        let mut encode = vec![0.0; bins * latent];
        for (at, component) in decode.chunks_exact(bins).enumerate() {
            for (bin, value) in component.iter().enumerate() {
                encode[bin * latent + at] = *value;
            }
        }
        let rebuild = match variant {
            Variant::Mahalanobis => {
                let rows = standardised(axes.standardise(), log);
                Some(rest_of_whitening(&axes, Rows::new(&rows, bins)?)?)
            }
            _ => None,
        };
        Ok(Self {
            standardise: axes.standardise().clone(),
            encode,
            decode,
            rebuild,
        })
    }

    /// Squared error of log spectra, the mean over rows and bins.
    pub(crate) fn error(&self, log: Rows<'_>) -> f64 {
        let bins = log.bins();
        let error = |row: &[f32]| {
            let rebuilt = match &self.rebuild {
                Some(matrix) => product(row, matrix, bins),
                None => product(
                    &product(row, &self.encode, self.encode.len() / bins),
                    &self.decode,
                    bins,
                ),
            };
            let squares = row.iter().zip(&rebuilt).map(|(a, b)| f64::from(a - b).powi(2));
            squares.sum::<f64>() / bins as f64
        };
        let rows = standardised(&self.standardise, log);
        rows.chunks_exact(bins).map(error).sum::<f64>() / log.len() as f64
    }
}

/// A fitted model and how it went.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fitted {
    pub(crate) model: LinearModel,
    pub(crate) metrics: Metrics,
}

/// Fits one on all rows of log spectra, and says how it went: on the rows at the places `held_out` by a model fitted on
/// the `rest`.
pub(crate) fn fit(
    variant: Variant,
    log: Rows<'_>,
    latent: usize,
    (rest, held_out): (&[usize], &[usize]),
) -> Result<Fitted, FitError> {
    let bins = log.bins();
    let gather = |places: &[usize]| -> Vec<f32> { places.iter().flat_map(|at| log.row(*at)).copied().collect() };
    let (rest, held_out) = (gather(rest), gather(held_out));
    let without = LinearModel::fit(variant, Rows::new(&rest, bins)?, latent)?;
    let model = LinearModel::fit(variant, log, latent)?;
    let metrics = Metrics {
        validation_loss: without.error(Rows::new(&held_out, bins)?),
        training_loss: model.error(log),
        best_epoch: 0,
        epochs: 0,
        figures: BTreeMap::new(),
    };
    Ok(Fitted { model, metrics })
}

/// I - W, W the symmetric root of the inverse of the covariance of standardised rows, shrunk towards its mean (Ledoit and
/// Wolf 2004).
fn rest_of_whitening(axes: &Pca, rows: Rows<'_>) -> Result<Vec<f32>, FitError> {
    let bins = axes.bins();
    let shrinkage = Mahalanobis::fit(rows)?.shrinkage();
    let squares: f64 = rows.values().iter().map(|value| f64::from(*value).powi(2)).sum();
    let total = squares / (rows.len() - 1) as f64;
    let mean = total / bins as f64;
    let root_of = |share: &f32| 1.0 / ((1.0 - shrinkage) * f64::from(*share) * total + shrinkage * mean).sqrt();
    let roots: Vec<f64> = axes.explained().iter().map(root_of).collect();
    let entry = |row: usize, column: usize| {
        let components = axes.components().chunks_exact(bins).zip(&roots);
        let whitened: f64 = components
            .map(|(component, root)| root * f64::from(component[row]) * f64::from(component[column]))
            .sum();
        (f64::from(u8::from(row == column)) - whitened) as f32
    };
    Ok((0..bins * bins).map(|at| entry(at / bins, at % bins)).collect())
}

/// Rows in the space of `standardise`.
pub(crate) fn standardised(standardise: &Standardise, log: Rows<'_>) -> Vec<f32> {
    let mut values = vec![0.0; log.values().len()];
    let bins = log.bins();
    for (out, row) in values.chunks_exact_mut(bins).zip(log.values().chunks_exact(bins)) {
        standardise.standardise_into(row, out);
    }
    values
}

/// A row times a matrix of `columns` columns.
fn product(row: &[f32], matrix: &[f32], columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; columns];
    for (value, weights) in row.iter().zip(matrix.chunks_exact(columns)) {
        out.iter_mut()
            .zip(weights)
            .for_each(|(sum, weight)| *sum += value * weight);
    }
    out
}
