//! The detectors of a class beside the network: all they need to know about healthy machines is in the bundle.

mod blocks;

use rand::Rng;
use serde::{Deserialize, Serialize};
use tocsin_detect::{
    Components, FitError, ForestParameters, IsolationForest, Mahalanobis, OverallLevel, Pca, Rows, log_spectrum_into,
};
use tocsin_domain::{Detector, Scores};

use crate::archive::DETECTORS_FILE;
use crate::error::BundleError;
pub use blocks::DetectorsFit;

/// Share of the variance the principal components explain.
const EXPLAINED: f64 = 0.95;

/// Overall level, isolation forest, principal components and Mahalanobis distance, fitted on one class's healthy rows.
///
/// **Invariant:** a row scored alone, or at any place in a batch, gives the same bits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassDetectors {
    format: u32,
    bins: usize,
    s0: f32,
    overall_level: OverallLevel,
    isolation: IsolationForest,
    pca: Pca,
    mahalanobis: Mahalanobis,
}

#[derive(Deserialize)]
struct Stored {
    format: u32,
    bins: usize,
    s0: f32,
    overall_level: OverallLevel,
    isolation: IsolationForest,
    pca: Pca,
    mahalanobis: Mahalanobis,
}

/// Room for the log spectra and scores of a batch, kept between calls to spare allocations.
#[derive(Debug, Clone, Default)]
pub struct DetectorScratch {
    log: Vec<f32>,
    scores: Vec<f32>,
}

impl ClassDetectors {
    /// The form this program writes.
    const FORMAT: u32 = 1;

    /// Fits all of them on healthy linear spectra in canonical units; `s0` in the same unit.
    ///
    /// The forest and the components see ln(1 + s / s0). The same rows and generator state give the same detectors.
    pub fn fit<R: Rng + ?Sized>(linear: &[f32], bins: usize, s0: f32, rng: &mut R) -> Result<Self, FitError> {
        let mut log = vec![0.0; linear.len()];
        log_spectrum_into(linear, s0, &mut log);
        let log = Rows::new(&log, bins)?;
        Ok(Self {
            format: Self::FORMAT,
            bins,
            s0,
            overall_level: OverallLevel::fit(Rows::new(linear, bins)?)?,
            isolation: IsolationForest::fit(log, ForestParameters::default(), rng)?,
            pca: Pca::fit(log, Components::Explained(EXPLAINED))?,
            mahalanobis: Mahalanobis::fit(log)?,
        })
    }

    /// Bins of a spectrum.
    pub fn bins(&self) -> usize {
        self.bins
    }

    /// Where the log transform turns from linear to logarithmic, in canonical units.
    pub fn s0(&self) -> f32 {
        self.s0
    }

    /// The principal components.
    pub fn pca(&self) -> &Pca {
        &self.pca
    }

    /// Scores one linear spectrum in canonical units; sets the four detectors it knows, and leaves the rest.
    ///
    /// # Panics
    /// If the row does not have the model's bins.
    pub fn score_into(&self, linear: &[f32], scratch: &mut DetectorScratch, scores: &mut Scores) {
        self.score_batch(linear, scratch, std::slice::from_mut(scores));
    }

    /// Scores linear spectra in canonical units, one after the other in `linear`, into as many `scores`.
    ///
    /// # Panics
    /// If `linear` does not hold `scores.len()` rows of the model's bins.
    pub fn score_batch(&self, linear: &[f32], scratch: &mut DetectorScratch, scores: &mut [Scores]) {
        assert_eq!(
            linear.len(),
            scores.len() * self.bins,
            "amplitudes against scores times bins"
        );
        let DetectorScratch { log, scores: column } = scratch;
        log.resize(linear.len(), 0.0);
        column.resize(scores.len(), 0.0);
        log_spectrum_into(linear, self.s0, log);
        let mut take = |detector, column: &[f32]| {
            for (row, score) in scores.iter_mut().zip(column) {
                row.set(detector, *score);
            }
        };
        self.overall_level.score_batch(linear, self.bins, column);
        take(Detector::OverallLevel, column);
        self.isolation.score_batch(log, self.bins, column);
        take(Detector::Isolation, column);
        self.pca.score_batch(log, self.bins, column);
        take(Detector::Pca, column);
        self.mahalanobis.score_batch(log, self.bins, column);
        take(Detector::Mahalanobis, column);
    }

    /// Reads stored detectors; the error names the field.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BundleError> {
        let bad = |reason: String| BundleError::file(DETECTORS_FILE, reason);
        let stored: Stored = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        let Stored {
            format,
            bins,
            s0,
            overall_level,
            isolation,
            pca,
            mahalanobis,
        } = stored;
        if format != Self::FORMAT {
            return Err(bad(format!(
                "format: {format} is not a form this version reads ({})",
                Self::FORMAT
            )));
        }
        if !(s0.is_finite() && s0 > 0.0) {
            return Err(bad(format!("s0: {s0} must be finite and positive")));
        }
        for (name, found) in [
            ("isolation", isolation.bins()),
            ("pca", pca.bins()),
            ("mahalanobis", mahalanobis.bins()),
        ] {
            if found != bins {
                return Err(bad(format!("{name}.bins: {found}, the others have {bins}")));
            }
        }
        Ok(Self {
            format,
            bins,
            s0,
            overall_level,
            isolation,
            pca,
            mahalanobis,
        })
    }

    /// The detectors as compact JSON: about 0.6 MB for the forest, and 13 bytes per pair of bins for the covariance.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("fitted detectors hold only finite numbers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, BINS};

    fn scores(detectors: &ClassDetectors, rows: &[f32]) -> Vec<Scores> {
        let mut scores = vec![Scores::default(); rows.len() / BINS];
        detectors.score_batch(rows, &mut DetectorScratch::default(), &mut scores);
        scores
    }

    #[test]
    fn a_row_alone_gives_the_bits_it_gives_in_a_batch() {
        let detectors = fixture::detectors();
        let rows = fixture::spectra(67, 5);
        let mut scratch = DetectorScratch::default();
        for (row, batched) in rows.chunks_exact(BINS).zip(scores(&detectors, &rows)) {
            let mut alone = Scores::default();
            detectors.score_into(row, &mut scratch, &mut alone);
            assert_eq!(alone, batched);
            assert_eq!(alone.mask().0, 0b1100_0110);
        }
    }

    #[test]
    fn other_scores_of_the_row_are_left_alone() {
        let mut own = Scores::default();
        own.set(Detector::Residual, 0.5);
        fixture::detectors().score_into(&fixture::spectra(1, 6), &mut DetectorScratch::default(), &mut own);
        assert_eq!(own.get(Detector::Residual), Some(0.5));
    }

    #[test]
    fn an_unlike_row_scores_higher_with_every_detector() {
        let detectors = fixture::detectors();
        let healthy = scores(&detectors, &fixture::spectra(50, 7));
        let loud: Vec<f32> = fixture::spectra(1, 8).iter().map(|s| s * 20.0).collect();
        for (detector, score) in scores(&detectors, &loud)[0].iter() {
            assert!(healthy.iter().all(|row| row.get(detector) < Some(score)), "{detector}");
        }
    }

    #[test]
    fn stored_detectors_score_as_before_and_wrong_ones_are_refused() {
        let detectors = fixture::detectors();
        let json = detectors.to_json();
        let back = ClassDetectors::from_json(&json).unwrap();
        let rows = fixture::spectra(40, 9);
        assert_eq!(scores(&back, &rows), scores(&detectors, &rows));
        let text = String::from_utf8(json).unwrap();
        for (from, to, words) in [
            ("{\"format\":1", "{\"format\":3", "format: 3"),
            ("\"s0\":0.001", "\"s0\":-0.001", "s0: -0.001"),
            ("\"bins\":32,\"s0\"", "\"bins\":33,\"s0\"", "isolation.bins: 32"),
        ] {
            assert!(text.contains(from), "{from}");
            let error = ClassDetectors::from_json(text.replace(from, to).as_bytes())
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with("detectors.json: ") && error.contains(words),
                "{error}"
            );
        }
    }
}
