//! Rows on their way to the disk.

use std::path::Path;
use std::sync::Arc;

use chacha20::ChaCha12Rng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};
use tocsin_domain::{Codec, SpectrumSpec, Timestamp};

use super::buckets::Scatter;
use super::codes::CodeCounts;
use super::{Budget, OnDisk, OnDiskError, Sample};
use crate::training_set::TrainingSet;

/// Takes rows to learn from, in any order, and scatters them at random.
pub struct Writer {
    spec: SpectrumSpec,
    rng: ChaCha12Rng,
    rest: Scatter,
    held_out: Scatter,
    counts: CodeCounts,
    digest: Sha256,
    sample: Sample,
}

/// What a budget comes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Files, or pairs of them, that rows are scattered over.
    pub(crate) files: usize,
    /// Bytes gathered before they are written.
    pub(crate) buffers: usize,
    /// Most rows of the sample.
    pub(crate) sample: usize,
}

impl Writer {
    /// For about so many rows of a spec, in files of this folder.
    pub fn new(
        spec: &SpectrumSpec,
        folder: &Path,
        (budget, rows): (Budget, u64),
        seed: u64,
    ) -> Result<Self, OnDiskError> {
        let bins = usize::from(spec.bins);
        let plan = Plan {
            files: budget.files(rows, bins)?,
            buffers: budget.buffers(),
            sample: budget.sample(bins)?,
        };
        Self::planned(spec, folder, plan, seed)
    }

    /// The same by a plan.
    pub(crate) fn planned(spec: &SpectrumSpec, folder: &Path, plan: Plan, seed: u64) -> Result<Self, OnDiskError> {
        let bins = usize::from(spec.bins);
        let scatter = || Scatter::new(folder, plan.files, bins, plan.buffers / 2);
        let mut digest = Sha256::new();
        digest.update(format!("{} {seed} ", plan.files));
        Ok(Self {
            rng: ChaCha12Rng::seed_from_u64(seed),
            rest: scatter()?,
            held_out: scatter()?,
            counts: CodeCounts::new(bins),
            digest,
            sample: Sample::of(spec, plan.sample, seed),
            spec: spec.clone(),
        })
    }

    /// Adds a row, as [`TrainingSet::push`] takes them; `held_out` rows stop the search for the number of epochs.
    pub fn push(
        &mut self,
        sensor: &str,
        captured_at: Timestamp,
        amplitudes: &[f32],
        held_out: bool,
    ) -> Result<(), OnDiskError> {
        let spectrum = self.sample.encode(amplitudes)?;
        let codes = spectrum.codes();
        self.digest.update([u8::from(held_out)]);
        self.digest.update(codes);
        self.counts.add(codes);
        self.sample.push_codes(sensor, captured_at, codes);
        let file = self.rng.random_range(0..self.rest.count());
        let scatter = if held_out { &mut self.held_out } else { &mut self.rest };
        scatter.push(file, codes)
    }

    /// The rows: a sample in memory, and all of them on disk.
    pub fn finish(self) -> Result<TrainingSet, OnDiskError> {
        let stored = OnDisk {
            codec: Codec::for_spec(&self.spec),
            bins: self.spec.bins.into(),
            rest: self.rest.finish()?,
            held_out: self.held_out.finish()?,
            counts: self.counts,
            digest: hex::encode(self.digest.finalize()),
        };
        Ok(self.sample.finish().stored_as(Arc::new(stored)))
    }
}
