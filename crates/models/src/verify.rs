//! May these bytes become a bundle? Asked of everything pushed, before anything loads it.
//!
//! The static part reads the models as protobuf and refuses what a bundle of ours would never hold: operators off the
//! list, subgraphs, functions, external data, oversized tensors, or constants that grow while the model is loaded. Only
//! then does the engine see it, and it has to keep the contract on a few spectra: finite outputs, no row that changes
//! with the rows beside it.
//!
//! An engine can have mistakes that no check foresees. So panics are caught here, and the registry calls this in a child
//! process with limits on memory, time and CPU.

mod model;
mod trial;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tocsin_domain::BundleDigest;

use crate::archive::{AUTOENCODER_FILE, ArchiveLimits, BundleArchive, DECODER_FILE, TEMPORAL_FILE};
use crate::bundle::Bundle;
use crate::error::{BundleError, NetworkError};
use crate::manifest::Manifest;
use crate::onnx;
use crate::session::MAX_ELEMENTS;

/// How large a bundle may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyLimits {
    /// Of the archive and its files.
    pub archive: ArchiveLimits,
    /// Operators in a model.
    pub nodes: usize,
    /// Weights in a model.
    pub parameters: usize,
    /// Elements of the largest tensor of a batch.
    pub elements: usize,
}

impl Default for VerifyLimits {
    /// 512 operators, 16 million weights, tensors of 8 million elements.
    fn default() -> Self {
        Self {
            archive: ArchiveLimits::default(),
            nodes: 512,
            parameters: 16 << 20,
            elements: MAX_ELEMENTS,
        }
    }
}

/// What a bundle that passed is.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifyReport {
    /// Its address.
    pub digest: BundleDigest,
    /// What it says about itself.
    pub manifest: Manifest,
    /// Operators of all models, and how often each occurs.
    pub operators: BTreeMap<String, usize>,
    /// Weights of all models.
    pub parameters: usize,
}

/// Why a bundle was refused.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The archive or a file in it is malformed.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A model holds something that is not allowed.
    #[error("{file}: {reason}")]
    Model {
        /// Name of the file in the bundle.
        file: &'static str,
        /// What is not allowed, and where.
        reason: String,
    },
    /// The engine refused a model, or it doesn't keep the contract.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The trial run gave something a bundle must not give.
    #[error("trial run: {reason}")]
    Trial {
        /// What came out.
        reason: String,
    },
    /// The engine gave up in a way it should not.
    #[error("verification panicked: {reason}")]
    Panicked {
        /// The panic's words.
        reason: String,
    },
}

/// Reads, checks and tries a bundle from the bytes of its archive.
pub fn verify(bytes: &[u8], limits: VerifyLimits) -> Result<VerifyReport, VerifyError> {
    let verified = catch_unwind(AssertUnwindSafe(|| verify_unguarded(bytes, limits)));
    verified.unwrap_or_else(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(VerifyError::Panicked {
            reason: words.unwrap_or("no words").to_owned(),
        })
    })
}

fn verify_unguarded(bytes: &[u8], limits: VerifyLimits) -> Result<VerifyReport, VerifyError> {
    let archive = BundleArchive::from_bytes(bytes, limits.archive)?;
    let bundle = Bundle::from_archive(archive)?;
    let mut operators = BTreeMap::new();
    let mut parameters = 0;
    let temporal = bundle.temporal().map(|content| (TEMPORAL_FILE, content));
    let always = [
        (AUTOENCODER_FILE, bundle.autoencoder()),
        (DECODER_FILE, bundle.decoder()),
    ];
    for (file, content) in always.into_iter().chain(temporal) {
        let refuse = |reason| VerifyError::Model { file, reason };
        model::check_messages(content).map_err(refuse)?;
        let model = onnx::from_bytes(content).map_err(refuse)?;
        let census = model::check(&model, limits).map_err(refuse)?;
        parameters += census.parameters;
        for (operator, count) in census.operators {
            *operators.entry(operator).or_insert(0) += count;
        }
    }
    trial::run(&bundle, limits.elements)?;
    Ok(VerifyReport {
        digest: bundle.digest(),
        manifest: bundle.manifest().clone(),
        operators,
        parameters,
    })
}

#[cfg(test)]
mod tests;
