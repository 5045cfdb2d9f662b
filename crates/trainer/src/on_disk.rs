//! More rows to learn from than memory holds: on disk in canonical form, one byte a bin, and in no order.
//!
//! A [`Writer`] takes rows in any order and scatters them at random, by a seed, over files of which each fits in memory. A
//! training goes through the files in a new order every epoch and shuffles each as it is read: of one epoch every order
//! of all rows is as likely as any other (Rao 1961, Sandelius 1962), while rows of one file stay neighbours over all epochs.
//! What depends on all rows is summed up ([`OnDisk::moments`], [`OnDisk::detectors`]); what would need them all at hand gets
//! a sample drawn by the seed ([`Sample`]).
//!
//! The files have no names: they are gone when the last handle on them is, however the process ends.
//!
//! **Invariant:** the same rows in the same order, seed and budget give the same files and the same sample.

mod buckets;
mod budget;
mod codes;
mod holdout;
mod keys;
mod sample;
mod writer;

use std::path::PathBuf;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tocsin_detect::{FitError, Standardise};
use tocsin_domain::{Codec, Invalid};
use tocsin_models::{ClassDetectors, DetectorsFit};

pub use budget::Budget;
pub use holdout::{Cuts, HoldOut};
pub use keys::{Key, Keys, KeysWriter};
pub use sample::Sample;
#[cfg(test)]
pub(crate) use writer::Plan;
pub use writer::Writer;

use buckets::Buckets;
use codes::CodeCounts;
pub(crate) use codes::look_up;

/// Rows decoded at a time where all of them are gone through.
const BLOCK: usize = 2048;

/// Why rows can't be kept on disk or read back.
#[derive(Debug, thiserror::Error)]
pub enum OnDiskError {
    /// The temporary files can't be written or read.
    #[error("temporary files in {}: {source}", folder.display())]
    Io {
        /// The folder they lie in.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The budget is too small.
    #[error("{memory_mib} MiB are too few for {what}, at least {needed_mib} are needed")]
    Memory {
        /// What has to fit.
        what: String,
        /// Those there are.
        memory_mib: u64,
        /// Those it takes.
        needed_mib: u64,
    },
    /// A row is none of the spec.
    #[error(transparent)]
    Row(#[from] Invalid),
    /// A detector can't be fitted.
    #[error(transparent)]
    Fit(#[from] FitError),
}

/// Which rows of a training are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Those the search for the number of epochs learns from.
    Rest,
    /// Those held out of it, which stop it.
    HeldOut,
    /// All of them.
    All,
}

/// The rows.
#[derive(Debug)]
pub struct OnDisk {
    codec: Codec,
    bins: usize,
    rest: Buckets,
    held_out: Buckets,
    counts: CodeCounts,
    digest: String,
}

impl OnDisk {
    /// Rows of a part.
    pub(crate) fn count(&self, part: Part) -> usize {
        let of = |wanted: bool, buckets: &Buckets| if wanted { buckets.records() } else { 0 };
        let rows = of(part != Part::HeldOut, &self.rest) + of(part != Part::Rest, &self.held_out);
        rows as usize
    }

    /// Bins of a row.
    pub(crate) fn bins(&self) -> usize {
        self.bins
    }

    /// Files that a part lies in, or pairs of them.
    pub(crate) fn buckets(&self) -> usize {
        self.rest.count()
    }

    /// Adds the codes of a part's rows in one file, or pair of files, to `codes`.
    pub(crate) fn read(&self, part: Part, bucket: usize, codes: &mut Vec<u8>) -> Result<(), OnDiskError> {
        if part != Part::HeldOut {
            self.rest.read(bucket, codes)?;
        }
        if part != Part::Rest {
            self.held_out.read(bucket, codes)?;
        }
        Ok(())
    }

    /// SHA-256 of the rows as they came, of which were held out, and of how they were scattered.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// Mean and variance (over the number of rows) of every bin of ln(1 + s / s0), over all rows and exactly: there are but
    /// 256 codes, and each was counted.
    pub(crate) fn moments(&self, s0: f32) -> (Vec<f64>, Vec<f64>) {
        self.counts.moments(&codes::logs(&self.codec, s0))
    }

    /// The standardisation of all rows.
    pub(crate) fn standardise(&self, s0: f32) -> Standardise {
        let (mean, variance) = self.moments(s0);
        Standardise::of_moments(&mean, &variance)
    }

    /// What each code is in the network's space: 256 values a bin.
    pub(crate) fn table(&self, standardise: &Standardise, s0: f32) -> Vec<f32> {
        codes::table(&codes::logs(&self.codec, s0), standardise)
    }

    /// The detectors beside the network, of all rows; the isolation forest of `sample`, linear spectra drawn from them.
    pub(crate) fn detectors(&self, sample: &[f32], s0: f32, seed: u64) -> Result<ClassDetectors, OnDiskError> {
        let (mean, variance) = self.moments(s0);
        let mut fit = DetectorsFit::new(s0, &mean, &variance);
        let (mut codes, mut linear) = (Vec::new(), Vec::new());
        for bucket in 0..self.buckets() {
            codes.clear();
            self.read(Part::All, bucket, &mut codes)?;
            for block in codes.chunks(BLOCK * self.bins) {
                linear.resize(block.len(), 0.0);
                self.codec.decode_into(block, &mut linear);
                fit.add(&linear)?;
            }
        }
        Ok(fit.finish(sample, &mut StdRng::seed_from_u64(seed))?)
    }
}

#[cfg(test)]
mod tests;
