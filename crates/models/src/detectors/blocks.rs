//! The detectors fitted on more rows than memory holds: each row comes by once, in blocks.
//!
//! What needs all rows is summed up: the overall level's mean and deviation, and the covariances behind the principal
//! components and the Mahalanobis distance. Where neighbouring bins are taken together, one covariance is behind both: how much
//! the mean of some bins varies does not follow from how much each does. The isolation forest grows its trees from 256 rows
//! each, which it draws from a sample in place of all rows.

use rand::Rng;
use tocsin_detect::overall_level::log_energy;
use tocsin_detect::{
    Components, FitError, ForestParameters, IsolationForest, MahalanobisFit, OverallLevel, PcaFit, Rows, Standardise,
    log_spectrum_into,
};

use super::{ClassDetectors, EXPLAINED, Pooling};

/// A fit under way.
#[derive(Debug, Clone)]
pub struct DetectorsFit {
    pooling: Pooling,
    s0: f32,
    /// Where no bins are taken together; otherwise the components come of the sums behind the distance.
    pca: Option<PcaFit>,
    mahalanobis: MahalanobisFit,
    levels: Levels,
    log: Vec<f32>,
    pooled: Vec<f32>,
}

/// Running mean and sum of squares of log energies (Welford 1962).
#[derive(Debug, Clone, Copy, Default)]
struct Levels {
    rows: f64,
    mean: f64,
    squares: f64,
}

impl Levels {
    fn add(&mut self, level: f64) {
        self.rows += 1.0;
        let before = level - self.mean;
        self.mean += before / self.rows;
        self.squares += before * (level - self.mean);
    }
}

impl DetectorsFit {
    /// Begins one, without a row yet. `mean` and `variance` (over the number of rows) are those of every bin of
    /// ln(1 + s / s0) over all rows to come; `s0` in the rows' unit.
    ///
    /// # Panics
    /// If there is no bin, or there are not as many variances as means.
    pub fn new(s0: f32, mean: &[f64], variance: &[f64]) -> Self {
        Self::by(s0, Pooling::of_bins(mean.len()), mean, variance)
    }

    fn by(s0: f32, pooling: Pooling, mean: &[f64], variance: &[f64]) -> Self {
        let standardise = Standardise::of_moments(mean, variance);
        Self {
            pooling,
            s0,
            pca: pooling.is_none().then(|| PcaFit::new(standardise)),
            mahalanobis: MahalanobisFit::new(pooling.of_means(mean)),
            levels: Levels::default(),
            log: Vec::new(),
            pooled: Vec::new(),
        }
    }

    /// Adds healthy linear spectra in canonical units, one after the other.
    pub fn add(&mut self, linear: &[f32]) -> Result<(), FitError> {
        self.log.resize(linear.len(), 0.0);
        log_spectrum_into(linear, self.s0, &mut self.log);
        let log = Rows::new(&self.log, self.pooling.bins())?;
        let pooled = self.pooling.of_rows(log, &mut self.pooled)?;
        if let Some(pca) = &mut self.pca {
            pca.add(pooled);
        }
        self.mahalanobis.add(pooled);
        for row in linear.chunks_exact(self.pooling.bins()) {
            self.levels.add(log_energy(row));
        }
        Ok(())
    }

    /// The detectors of all rows that were added; `sample` are linear spectra drawn from them, for the forest.
    pub fn finish<R: Rng + ?Sized>(mut self, sample: &[f32], rng: &mut R) -> Result<ClassDetectors, FitError> {
        let Levels { rows, mean, squares } = self.levels;
        if rows < 2.0 {
            let have = rows as usize;
            return Err(FitError::TooFewRows { have, need: 2 });
        }
        self.log.resize(sample.len(), 0.0);
        log_spectrum_into(sample, self.s0, &mut self.log);
        let log = Rows::new(&self.log, self.pooling.bins())?;
        let components = Components::Explained(EXPLAINED);
        let pca = match self.pca {
            Some(fit) => fit.finish(components)?,
            None => self.mahalanobis.components(components)?,
        };
        Ok(ClassDetectors {
            format: ClassDetectors::FORMAT,
            bins: self.pooling.bins(),
            s0: self.s0,
            bins_together: self.pooling.together(),
            overall_level: OverallLevel::of_moments(mean, squares / (rows - 1.0)),
            isolation: IsolationForest::fit(log, ForestParameters::default(), rng)?,
            pca,
            mahalanobis: self.mahalanobis.finish()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use tocsin_domain::{Detector, Scores};

    use super::*;
    use crate::DetectorScratch;
    use crate::fixture::{self, BINS};

    const S0: f32 = 0.001;

    /// Mean and variance of every bin of the log spectra.
    fn moments(linear: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let mut log = vec![0.0; linear.len()];
        log_spectrum_into(linear, S0, &mut log);
        let rows = (linear.len() / BINS) as f64;
        let of = |bin: usize| log.iter().skip(bin).step_by(BINS).map(|value| f64::from(*value));
        let mean: Vec<f64> = (0..BINS).map(|bin| of(bin).sum::<f64>() / rows).collect();
        let square = |bin: usize| of(bin).map(|value| (value - mean[bin]).powi(2)).sum::<f64>() / rows;
        let variance = (0..BINS).map(square).collect();
        (mean, variance)
    }

    #[test]
    fn rows_that_come_in_blocks_give_the_detectors_of_all_rows_together() {
        for together in [1, 3] {
            compare(Pooling::by(BINS, together));
        }
    }

    fn compare(pooling: Pooling) {
        let linear = fixture::spectra(700, 3);
        let whole = ClassDetectors::fit_pooled(&linear, pooling, S0, &mut StdRng::seed_from_u64(1)).unwrap();
        let (mean, variance) = moments(&linear);
        let mut fit = DetectorsFit::by(S0, pooling, &mean, &variance);
        for block in linear.chunks(130 * BINS) {
            fit.add(block).unwrap();
        }
        let blocks = fit.finish(&linear, &mut StdRng::seed_from_u64(1)).unwrap();
        let rows = fixture::spectra(40, 4);
        let score = |detectors: &ClassDetectors| {
            let mut scores = vec![Scores::default(); 40];
            detectors.score_batch(&rows, &mut DetectorScratch::default(), &mut scores);
            scores
        };
        for (a, b) in score(&whole).iter().zip(score(&blocks)) {
            assert_eq!(a.get(Detector::Isolation), b.get(Detector::Isolation));
            for detector in [Detector::OverallLevel, Detector::Pca, Detector::Mahalanobis] {
                let (a, b) = (a.get(detector).unwrap(), b.get(detector).unwrap());
                assert!((a - b).abs() <= 1e-4 * a.abs().max(1e-3), "{detector}: {a} against {b}");
            }
        }
    }

    #[test]
    fn a_fit_without_rows_is_refused() {
        let fit = DetectorsFit::new(S0, &[1.0; BINS], &[1.0; BINS]);
        let refused = fit.finish(&fixture::spectra(2, 1), &mut StdRng::seed_from_u64(1));
        assert_eq!(refused.unwrap_err(), FitError::TooFewRows { have: 0, need: 2 });
    }
}
