//! What a bundle says about itself: which class and readings it is for, what it was trained on, and how well it did.
//!
//! **Invariant:** a manifest that was readable once stays readable. Fields nobody knows any more (or not yet) are
//! ignored; a missing one that is needed is named in the error.

mod lineage;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tocsin_domain::Slug;

pub use self::lineage::{CorpusFile, Lineage, Selection};
use crate::error::BundleError;
use crate::objective::Objective;
use crate::window::Window;

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
    /// No network: the error that principal components leave (Jackson and Mudholkar 1979), as a linear autoencoder.
    Pca,
    /// No network: the distance in the metric of the healthy covariance, as a linear autoencoder whose error it is.
    Mahalanobis,
    /// Trained elsewhere and brought as ONNX files that keep the contract of a bundle.
    Foreign,
    /// A fully connected one, and beside it an encoder over a sensor's last spectra: convolutions over time and frequency.
    TemporalConv,
    /// A fully connected one, and beside it an encoder over a sensor's last spectra: long short-term memory (Hochreiter and
    /// Schmidhuber 1997).
    TemporalLstm,
}

impl Variant {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Dense,
        Self::Conv,
        Self::Pca,
        Self::Mahalanobis,
        Self::Foreign,
        Self::TemporalConv,
        Self::TemporalLstm,
    ];

    /// Whether it is a network that Tocsin trains to an objective, and not a closed form or one trained elsewhere.
    pub fn is_network(self) -> bool {
        matches!(self, Self::Dense | Self::Conv) || self.is_temporal()
    }

    /// Whether it looks at a sensor's last spectra together.
    pub fn is_temporal(self) -> bool {
        matches!(self, Self::TemporalConv | Self::TemporalLstm)
    }

    /// The name of one trained to an objective, such as `dense_denoising`; `residual_pca` where none is trained, since
    /// that of the class's other detectors is `pca`.
    pub fn name_with(self, objective: Objective) -> String {
        if self.is_network() {
            format!("{self}_{objective}")
        } else {
            format!("residual_{self}")
        }
    }

    /// The name in manifests, reports and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Conv => "conv",
            Self::Pca => "pca",
            Self::Mahalanobis => "mahalanobis",
            Self::Foreign => "foreign",
            Self::TemporalConv => "temporal_conv",
            Self::TemporalLstm => "temporal_lstm",
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
        let found = Self::ALL.into_iter().find(|variant| variant.as_str() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            tocsin_domain::Invalid::new("variant", format!("{text:?} is none of {names}"))
        })
    }
}

/// The space in which target and reconstruction are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetSpace {
    /// ln(1 + s / s0), then each bin less its training mean, over its training standard deviation.
    StandardisedLog,
    /// That of a model trained elsewhere, known to it alone.
    Own,
}

/// How the training went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Mean squared error on the healthy rows held out for early stopping, in the target space, by a network that
    /// wasn't trained on them.
    pub validation_loss: f64,
    /// The same on all rows, in the last epoch of the network that was kept.
    pub training_loss: f64,
    /// The epoch at which the held-out rows were rebuilt best, from 1: as many the network that was kept was trained.
    pub best_epoch: u32,
    /// Epochs run to find it.
    pub epochs: u32,
    /// What the objective asks for beside the error, as it came out, by name: `kl` (nats a row), `active_latents`, `beta`
    /// and `collapses` of a variational one, `activation` of a sparse one, `jacobian` (squared norm) of a contractive one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
}

/// The network over a sensor's last spectra. Its latents are those of the network over one spectrum: one decoder reads both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Temporal {
    /// What makes a window. Where a sensor's history makes none, the network over one spectrum scores.
    pub window: Window,
    /// What its error is multiplied by, so that one pair of lines fits both networks' scores.
    pub score_factor: f32,
    /// How its training went.
    pub metrics: Metrics,
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
    /// What a network was trained to do; where a manifest doesn't say, it was denoising. Means nothing for the others.
    #[serde(default)]
    pub objective: Objective,
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
    /// How the training went; of the network over one spectrum where there are two.
    pub metrics: Metrics,
    /// The network over a sensor's last spectra, in a bundle that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temporal: Option<Temporal>,
    /// Every other file of the bundle.
    pub files: BTreeMap<String, FileEntry>,
}

impl Manifest {
    /// The form this program writes.
    pub const FORMAT: u32 = 1;

    /// The largest latent for spectra of `bins` bins. What is wider than the spectrum needs an objective that regularises.
    pub fn most_latents(bins: u16) -> u16 {
        bins.saturating_mul(2)
    }

    /// Name of the residual detector in reports: [`Variant::name_with`].
    pub fn network_name(&self) -> String {
        self.variant.name_with(self.objective)
    }

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
        if !(1..=Self::most_latents(self.bins)).contains(&self.latent) {
            return Err(format!(
                "latent: {} is not between 1 and twice the number of bins",
                self.latent
            ));
        }
        self.objective.parse().map_err(|invalid| invalid.to_string())?;
        if let Some(temporal) = &self.temporal {
            temporal
                .window
                .parse()
                .map_err(|invalid| format!("temporal.{invalid}"))?;
        }
        if self.variant.is_temporal() != self.temporal.is_some() {
            return Err(format!(
                "temporal: belongs to temporal variants, and the variant is {}",
                self.variant
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    /// As format 1 was first written.
    const FIRST: &str = r#"{
        "format": 1, "class": "bearing", "variant": "conv", "bins": 64, "latent": 12, "full_scale": 10.0, "s0": 0.001,
        "unit": "g", "codec": 1, "target_space": "standardised_log",
        "lineage": {
            "corpora": [{"name": "healthy.parquet", "sha256": "00", "rows": 3808}],
            "rows_by_split": {"train": 3808, "cal": 2924}, "sensors": ["femto/bearing1_1/horizontal"], "seed": 1,
            "trainer": "tocsin-trainer 0.1.0", "created_at": "2026-11-22T10:00:00Z"
        },
        "metrics": {"validation_loss": 0.4, "training_loss": 0.3, "best_epoch": 60, "epochs": 90},
        "files": {"autoencoder.onnx": {"bytes": 1, "sha256": "00"}}
    }"#;

    fn changed(pointer: &str, value: Option<serde_json::Value>) -> Result<Manifest, String> {
        let mut json: serde_json::Value = serde_json::from_str(FIRST).unwrap();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let parent = json.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => parent.insert(field.to_owned(), value),
            None => parent.remove(field),
        };
        Manifest::from_json(json.to_string().as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_manifest_of_the_first_days_is_still_read() {
        let manifest = Manifest::from_json(FIRST.as_bytes()).unwrap();
        assert_eq!(
            (manifest.variant, manifest.bins, manifest.latent),
            (Variant::Conv, 64, 12)
        );
        assert_eq!(manifest.objective, Objective::Denoising { noise: 0.3 });
        assert_eq!(manifest.lineage.rows_by_split["cal"], 2924);
        assert_eq!(Manifest::from_json(&manifest.to_json()).unwrap(), manifest);
    }

    #[test]
    fn fields_nobody_knows_are_ignored_and_missing_ones_are_named() {
        assert!(changed("/novelty", Some(1.into())).is_ok());
        assert!(changed("/lineage/novelty", Some(1.into())).is_ok());
        for field in ["/bins", "/s0", "/lineage/seed", "/metrics/epochs", "/files"] {
            let error = changed(field, None).unwrap_err();
            let name = field.rsplit('/').next().unwrap();
            assert!(
                error.starts_with("manifest.json: ") && error.contains(&format!("`{name}`")),
                "{error}"
            );
        }
    }

    #[test]
    fn another_form_or_a_number_out_of_range_is_refused() {
        let cases = [
            ("/format", 2.into(), "format: 2"),
            ("/bins", 8.into(), "bins: 8"),
            ("/latent", 129.into(), "latent: 129"),
            ("/s0", 0.0.into(), "s0: 0"),
            ("/full_scale", (-1.0).into(), "full_scale: -1"),
            ("/variant", "vae".into(), "vae"),
            (
                "/objective",
                serde_json::json!({"kind": "masking", "share": 2.0}),
                "objective.share: 2",
            ),
        ];
        for (field, value, words) in cases {
            let error = changed(field, Some(value)).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_bundle_is_read_back_as_it_was_packed() {
        let parts = fixture::parts();
        let bundle = crate::Bundle::from_archive(fixture::archive()).unwrap();
        assert_eq!(bundle.detectors(), &parts.detectors);
        assert_eq!(bundle.held_out(), &parts.held_out);
        assert_eq!(bundle.manifest().files.len(), 4);
        assert_eq!(bundle.digest(), fixture::archive().digest());
    }
}
