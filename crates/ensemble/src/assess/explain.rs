//! Which bins speak for a flagged reading: those in which what the deciding detector measures stands out.
//!
//! Growth, shift and narrowband are measured against the sensor's baseline, so their bins are the deviations from it,
//! and are there without the network as well. Of the other detectors none has bins of its own but the network, whose
//! squared errors stand for all.

use std::sync::Arc;

use tocsin_detect::deviation::shares_in_place;
use tocsin_domain::{Detector, Verdict};
use tocsin_models::SensorBaseline;
use tocsin_models::scoring::deviations;

use super::{Assessor, Pending, alike, network};
use crate::baselines::Known;
use crate::bindings::Limits;

impl Assessor {
    /// Finds what each bin adds to the readings that stand at or above a line: the evidence to keep.
    pub(super) async fn explain(&self, limits: &Limits, baselines: &Known, readings: &mut [Pending]) {
        let mut unlike_the_model = Vec::new();
        for (at, pending) in readings.iter_mut().enumerate() {
            let verdict = pending.judgement(Some(limits)).verdict;
            let (Verdict::Alert { by } | Verdict::Page { by }) = verdict else {
                continue;
            };
            if by.needs_baseline() {
                let against = baselines.of(pending.placed.reading.key.sensor, limits.bins());
                let Some(against) = against else { continue };
                let (mut z, weights) = (pending.deviations(&against), against.baseline.line_weights());
                if matches!(verdict, Verdict::Page { .. }) {
                    pending.decisive_bins = pending.decisive(by, (&z, weights), limits);
                }
                shares_in_place(by, &mut z, weights);
                pending.bin_error = z;
            } else if pending.scored.scores.get(Detector::Residual).is_some() {
                unlike_the_model.push(at);
            }
        }
        for rows in alike(&unlike_the_model, network::windows(readings)) {
            self.fetch_errors(limits, &rows, readings).await;
        }
    }

    /// Fetches the squared error per bin of `rows`.
    async fn fetch_errors(&self, limits: &Limits, rows: &[usize], readings: &mut [Pending]) {
        let request = network::request(limits, rows, readings, (0..rows.len()).collect());
        match self.call(request).await {
            Ok(response) => {
                for (row, bin_error) in rows.iter().zip(response.bin_error.chunks(limits.bins())) {
                    readings[*row].bin_error = bin_error.to_vec();
                }
            }
            Err(status) => {
                tracing::warn!(rows = rows.len(), code = ?status.code(), message = status.message(), "no scorer answered, evidence goes without bins");
            }
        }
    }
}

impl Pending {
    /// What it deviates by from its sensor's baseline, per bin.
    fn deviations(&self, against: &Arc<SensorBaseline>) -> Vec<f32> {
        let reading = &self.placed.reading;
        let spectrum = (reading.spectrum.codes(), self.placed.full_scale);
        deviations(spectrum, reading.condition, against)
    }

    /// How many of its worst bins, set to their baseline (deviations, and what they weigh as lines), would leave no page.
    fn decisive(&self, by: Detector, deviations: (&[f32], &[f32]), limits: &Limits) -> Option<usize> {
        let judged = (&self.scored.scores, self.state(), self.scored.degraded);
        limits.set.decisive_bins(by, deviations, judged)
    }
}
