//! What follows from codes alone: there are but 256 of them.

use tocsin_detect::{Standardise, log_spectrum_into};
use tocsin_domain::Codec;

/// Codes there are.
const CODES: usize = 256;

/// How often each code stood in each bin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CodeCounts {
    /// 256 a bin.
    counts: Vec<u64>,
    rows: u64,
}

impl CodeCounts {
    pub(super) fn new(bins: usize) -> Self {
        Self {
            counts: vec![0; bins * CODES],
            rows: 0,
        }
    }

    /// Counts a row.
    pub(super) fn add(&mut self, codes: &[u8]) {
        self.rows += 1;
        for (counts, code) in self.counts.chunks_exact_mut(CODES).zip(codes) {
            counts[usize::from(*code)] += 1;
        }
    }

    /// Mean and variance of each bin, where `values` says what each code stands for.
    pub(super) fn moments(&self, values: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let rows = self.rows.max(1) as f64;
        let mean = |of: &dyn Fn(f64) -> f64, counts: &[u64]| -> f64 {
            let weighted = counts.iter().zip(values);
            weighted
                .map(|(count, value)| *count as f64 * of(f64::from(*value)))
                .sum::<f64>()
                / rows
        };
        let bins = || self.counts.chunks_exact(CODES);
        let means: Vec<f64> = bins().map(|counts| mean(&|value| value, counts)).collect();
        let variance = |(counts, centre): (&[u64], &f64)| mean(&|value| (value - centre).powi(2), counts);
        let variances = bins().zip(&means).map(variance).collect();
        (means, variances)
    }
}

/// ln(1 + s / s0) of what each code reads back as.
pub(super) fn logs(codec: &Codec, s0: f32) -> Vec<f32> {
    let codes: Vec<u8> = (0..=u8::MAX).collect();
    let mut logs = vec![0.0; CODES];
    log_spectrum_into(&codec.decode(&codes), s0, &mut logs);
    logs
}

/// What each code is when standardised: 256 values a bin.
pub(super) fn table(logs: &[f32], standardise: &Standardise) -> Vec<f32> {
    let bins = standardise.bins();
    let mut table = vec![0.0; bins * CODES];
    let mut row = vec![0.0; bins];
    for (code, log) in logs.iter().enumerate() {
        standardise.standardise_into(&vec![*log; bins], &mut row);
        for (bin, value) in row.iter().enumerate() {
            table[bin * CODES + code] = *value;
        }
    }
    table
}

/// Adds a row, standardised by a [`table`], to `into`.
pub(crate) fn look_up(table: &[f32], codes: &[u8], into: &mut Vec<f32>) {
    let bins = table.chunks_exact(CODES).zip(codes);
    into.extend(bins.map(|(values, code)| values[usize::from(*code)]));
}
