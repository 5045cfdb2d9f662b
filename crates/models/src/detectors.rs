//! The detectors of a class beside the network: all they need to know about healthy machines is in the bundle.

mod blocks;
mod pooling;

use rand::Rng;
use serde::{Deserialize, Serialize};
use tocsin_detect::{
    Components, FitError, ForestParameters, IsolationForest, Mahalanobis, OverallLevel, Pca, Rows, log_spectrum_into,
};
use tocsin_domain::{Detector, Scores};

use crate::archive::DETECTORS_FILE;
use crate::error::BundleError;
pub use blocks::DetectorsFit;
use pooling::Pooling;

/// Share of the variance the principal components explain.
const EXPLAINED: f64 = 0.95;

/// Overall level, isolation forest, principal components and Mahalanobis distance, fitted on one class's healthy rows.
///
/// Principal components and Mahalanobis distance of more than 1024 bins look at neighbouring bins taken together.
///
/// **Invariant:** a row scored alone, or at any place in a batch, gives the same bits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassDetectors {
    format: u32,
    bins: usize,
    s0: f32,
    /// Neighbouring bins that make one value for the components and the distance.
    #[serde(skip_serializing_if = "is_one")]
    bins_together: usize,
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
    /// Left out where it is one, as it always was once.
    #[serde(default = "one")]
    bins_together: usize,
    overall_level: OverallLevel,
    isolation: IsolationForest,
    pca: Pca,
    mahalanobis: Mahalanobis,
}

fn one() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it a reference")]
fn is_one(bins: &usize) -> bool {
    *bins == 1
}

/// Room for the log spectra and scores of a batch, kept between calls to spare allocations.
#[derive(Debug, Clone, Default)]
pub struct DetectorScratch {
    log: Vec<f32>,
    pooled: Vec<f32>,
    scores: Vec<f32>,
}

impl ClassDetectors {
    /// The form this program writes.
    const FORMAT: u32 = 1;

    /// Fits all of them on healthy linear spectra in canonical units; `s0` in the same unit.
    ///
    /// The forest and the components see ln(1 + s / s0). The same rows and generator state give the same detectors.
    pub fn fit<R: Rng + ?Sized>(linear: &[f32], bins: usize, s0: f32, rng: &mut R) -> Result<Self, FitError> {
        Self::fit_pooled(linear, Pooling::of_bins(bins), s0, rng)
    }

    fn fit_pooled<R: Rng + ?Sized>(linear: &[f32], pooling: Pooling, s0: f32, rng: &mut R) -> Result<Self, FitError> {
        let (bins, mut room) = (pooling.bins(), Vec::new());
        let mut log = vec![0.0; linear.len()];
        log_spectrum_into(linear, s0, &mut log);
        let log = Rows::new(&log, bins)?;
        let pooled = pooling.of_rows(log, &mut room)?;
        Ok(Self {
            format: Self::FORMAT,
            bins,
            s0,
            bins_together: pooling.together(),
            overall_level: OverallLevel::fit(Rows::new(linear, bins)?)?,
            isolation: IsolationForest::fit(log, ForestParameters::default(), rng)?,
            pca: Pca::fit(pooled, Components::Explained(EXPLAINED))?,
            mahalanobis: Mahalanobis::fit(pooled)?,
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

    /// The principal components, of bins taken together where there are more than 1024.
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
        let DetectorScratch {
            log,
            pooled,
            scores: column,
        } = scratch;
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
        let pooling = Pooling::by(self.bins, self.bins_together);
        let pooled = pooling.of(log, pooled);
        self.pca.score_batch(pooled, pooling.values(), column);
        take(Detector::Pca, column);
        self.mahalanobis.score_batch(pooled, pooling.values(), column);
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
            bins_together,
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
        if !(1..=bins.max(1)).contains(&bins_together) {
            return Err(bad(format!(
                "bins_together: {bins_together} is not 1 to the {bins} bins"
            )));
        }
        let values = Pooling::by(bins, bins_together).values();
        for (name, found, expected) in [
            ("isolation", isolation.bins(), bins),
            ("pca", pca.bins(), values),
            ("mahalanobis", mahalanobis.bins(), values),
        ] {
            if found != expected {
                let of = format!("{bins} bins of which {bins_together} make one value");
                return Err(bad(format!("{name}.bins: {found}, not {expected} ({of})")));
            }
        }
        Ok(Self {
            format,
            bins,
            s0,
            bins_together,
            overall_level,
            isolation,
            pca,
            mahalanobis,
        })
    }

    /// The detectors as compact JSON: about 0.6 MB for the forest, and 13 bytes per pair of values for the
    /// covariance.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("fitted detectors hold only finite numbers")
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

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
    fn detectors_of_bins_taken_together_are_read_back_and_those_of_single_bins_are_stored_as_ever() {
        let (healthy, rows) = (fixture::spectra(300, 3), fixture::spectra(40, 9));
        let mut rng = StdRng::seed_from_u64(4);
        let pooled = ClassDetectors::fit_pooled(&healthy, Pooling::by(BINS, 3), 0.001, &mut rng).unwrap();
        assert_eq!((pooled.pca().bins(), pooled.mahalanobis.bins()), (11, 11));
        let text = String::from_utf8(pooled.to_json()).unwrap();
        let back = ClassDetectors::from_json(text.as_bytes()).unwrap();
        assert_eq!(scores(&back, &rows), scores(&pooled, &rows));
        for (to, words) in [
            ("0", "bins_together: 0"),
            ("33", "bins_together: 33"),
            ("2", "pca.bins: 11, not 16"),
        ] {
            let text = text.replace("\"bins_together\":3", &format!("\"bins_together\":{to}"));
            let error = ClassDetectors::from_json(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let single = String::from_utf8(fixture::detectors().to_json()).unwrap();
        assert!(!single.contains("bins_together"));
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
