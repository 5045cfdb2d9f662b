//! Rows as the bundle's own files score them.

use half::f16;
use tocsin_detect::log_spectrum_into;
use tocsin_domain::{Detector, Scores};
use tocsin_models::{Bundle, DetectorScratch, Network, NetworkError, Residual};

use crate::training_set::TrainingSet;

/// Most rows of a set that a report looks at; of more, so many, evenly spread.
const MOST_ROWS: usize = 10_000;
/// Rows put through the network at a time.
const BLOCK: usize = 512;

/// Some rows and what the bundle says of them.
pub(super) struct Part {
    pub(super) rows: TrainingSet,
    pub(super) scores: Vec<Scores>,
    /// Latents, one row after the other.
    pub(super) latents: Vec<f16>,
    /// Mean of (target - reconstruction)^2 over the bins of each row.
    pub(super) mean_squares: Vec<f64>,
    /// Their mean; NaN without rows.
    pub(super) mean_square: f64,
}

impl Part {
    pub(super) fn look(bundle: &Bundle, set: &TrainingSet) -> Result<Self, NetworkError> {
        let count = set.len().min(MOST_ROWS);
        let places: Vec<usize> = (0..count).map(|nth| nth * set.len() / count).collect();
        let rows = set.select(&places);
        let mut scores = vec![Scores::default(); count];
        let detectors = bundle.detectors();
        detectors.score_batch(rows.linear(), &mut DetectorScratch::default(), &mut scores);
        let residual = Residual::load(bundle)?;
        let windows = residual.window().map(|window| window.among(&set.keys()));
        let errors = residual.errors(set.linear(), windows.as_ref())?;
        for (scores, place) in scores.iter_mut().zip(&places) {
            scores.set(Detector::Residual, errors[*place]);
        }
        // Latents and squares are those of the network over one spectrum, also where another is beside it.
        let mut session = Network::load(bundle)?.session()?;
        let wanted: Vec<usize> = (0..BLOCK).collect();
        let bins = rows.bins();
        let mean = |squares: &[f32]| squares.iter().map(|square| f64::from(*square)).sum::<f64>() / bins as f64;
        let (mut latents, mut mean_squares) = (Vec::new(), Vec::with_capacity(count));
        for block in rows.linear().chunks(BLOCK * bins) {
            let scored = session.run(block, &wanted[..block.len() / bins])?;
            mean_squares.extend(scored.bin_errors.chunks_exact(bins).map(mean));
            latents.extend(scored.latents);
        }
        Ok(Self {
            mean_square: mean_squares.iter().sum::<f64>() / count as f64,
            mean_squares,
            rows,
            scores,
            latents,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// What a detector says of each row.
    pub(super) fn of(&self, detector: Detector) -> Vec<f64> {
        let scores = self.scores.iter().filter_map(|scores| scores.get(detector));
        scores.map(f64::from).filter(|score| score.is_finite()).collect()
    }

    /// Its rows as log spectra.
    pub(super) fn log(&self, s0: f32) -> Vec<f32> {
        let mut log = vec![0.0; self.rows.linear().len()];
        log_spectrum_into(self.rows.linear(), s0, &mut log);
        log
    }

    /// The sensor and the time of a row.
    pub(super) fn name(&self, place: usize) -> (&str, String) {
        let row = self.rows.rows()[place];
        (&self.rows.sensors()[row.sensor as usize], row.captured_at.to_string())
    }
}
