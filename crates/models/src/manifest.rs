//! What a bundle says about itself: which class and readings it is for, what it was trained on, and how well it did.
//!
//! **Invariant:** a manifest that was readable once stays readable. Fields nobody knows any more (or not yet) are
//! ignored; a missing one that is needed is named in the error.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tocsin_domain::{Slug, Timestamp};

use crate::error::BundleError;

/// Name of the manifest in a bundle.
pub const MANIFEST_FILE: &str = "manifest.json";

/// A kind of autoencoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// Fully connected.
    Dense,
    /// Convolutional along the frequency axis.
    Conv,
}

impl Variant {
    /// The name in manifests, reports and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Conv => "conv",
        }
    }
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Variant {
    type Err = tocsin_domain::Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "dense" => Ok(Self::Dense),
            "conv" => Ok(Self::Conv),
            _ => Err(tocsin_domain::Invalid::new(
                "variant",
                format!("{text:?} is neither dense nor conv"),
            )),
        }
    }
}

/// The space in which target and reconstruction are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetSpace {
    /// ln(1 + s / s0), then each bin less its training mean, over its training standard deviation.
    StandardisedLog,
}

/// A corpus file a bundle was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorpusFile {
    /// Its name, without the folder.
    pub name: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Rows in it.
    pub rows: u64,
}

/// Where a bundle comes from: enough to train it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// The corpus files read; empty when rows came from elsewhere.
    #[serde(default)]
    pub corpora: Vec<CorpusFile>,
    /// Rows used, by split.
    pub rows_by_split: BTreeMap<String, u64>,
    /// Sensors the rows came from, `site/machine/sensor`, sorted.
    pub sensors: Vec<String>,
    /// Seed of every random choice.
    pub seed: u64,
    /// Name and version of the program that trained it.
    pub trainer: String,
    /// When it was trained.
    pub created_at: Timestamp,
}

/// How the training went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean squared error on the healthy rows held out for early stopping, in the target space.
    pub validation_loss: f64,
    /// The same on the rows trained on, in the epoch that was kept.
    pub training_loss: f64,
    /// The epoch that was kept, from 1.
    pub best_epoch: u32,
    /// Epochs run.
    pub epochs: u32,
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of its content, hexadecimal.
    pub sha256: String,
}

/// What a bundle says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this document's form: [`Manifest::FORMAT`].
    pub format: u32,
    /// Class of machines it is for.
    pub class: Slug,
    /// Kind of autoencoder.
    pub variant: Variant,
    /// Bins of a spectrum.
    pub bins: u16,
    /// Numbers in a latent.
    pub latent: u16,
    /// Full scale of the training readings, in canonical units.
    pub full_scale: f32,
    /// The s0 of ln(1 + s / s0), in canonical units; inside the network and the detectors.
    pub s0: f32,
    /// Name of the canonical unit, such as `g`.
    pub unit: String,
    /// Version of the spectrum codec the training readings went through.
    pub codec: u8,
    /// The space of target and reconstruction.
    pub target_space: TargetSpace,
    /// Where it comes from.
    pub lineage: Lineage,
    /// How the training went.
    pub metrics: Metrics,
    /// Every other file of the bundle.
    pub files: BTreeMap<String, FileEntry>,
}

impl Manifest {
    /// The form this program writes.
    pub const FORMAT: u32 = 1;

    /// Reads a manifest. An error names the field.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BundleError> {
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let bad = |reason: String| BundleError::file(MANIFEST_FILE, reason);
        let form: Form = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        if form.format != Self::FORMAT {
            return Err(bad(format!(
                "format: {} is not a form this version reads ({})",
                form.format,
                Self::FORMAT
            )));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        manifest.check().map_err(bad)?;
        Ok(manifest)
    }

    /// The manifest as indented JSON; keys in a fixed order.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json =
            serde_json::to_vec_pretty(self).expect("a manifest holds only strings, numbers and maps of them");
        json.push(b'\n');
        json
    }

    fn check(&self) -> Result<(), String> {
        use tocsin_domain::SpectrumSpec;
        if !(SpectrumSpec::MIN_BINS..=SpectrumSpec::MAX_BINS).contains(&self.bins) {
            return Err(format!("bins: {} is outside 32 to 4096", self.bins));
        }
        if self.latent == 0 || self.latent > self.bins {
            return Err(format!(
                "latent: {} is not between 1 and the number of bins",
                self.latent
            ));
        }
        if !(self.full_scale.is_finite() && self.full_scale > 0.0) {
            return Err(format!("full_scale: {} must be finite and positive", self.full_scale));
        }
        if !(self.s0.is_finite() && self.s0 > 0.0) {
            return Err(format!("s0: {} must be finite and positive", self.s0));
        }
        Ok(())
    }
}
