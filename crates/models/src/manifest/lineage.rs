//! Where a bundle comes from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tocsin_domain::Timestamp;

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

/// How rows were chosen among those of corpora.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// The maintenance log that was read; its rows are intervals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_log: Option<CorpusFile>,
    /// Whether rows of which the log says nothing were left out.
    #[serde(default)]
    pub only_logged_healthy: bool,
    /// `machine` or `time`, where the rows were parted by that and not by the split the corpora give them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_by: Option<String>,
    /// The pattern by which sensors were chosen, `*` standing for anything; nothing where all of them were read, and in
    /// bundles that were trained before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensors: Option<String>,
    /// Rows left out, by reason: `faulty` and `unknown` in the log, `unlogged`, `labelled` with a fault, or
    /// `trimmed` as hardly healthy by the training itself.
    #[serde(default)]
    pub left_out: BTreeMap<String, u64>,
    /// Rows drawn by the seed to stand for all of a split where these did not fit in memory: the isolation forest, the
    /// suspects and the report know those of `train`, limits come of those of `cal`. Nothing for a split that was in
    /// memory whole.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sampled_by_split: BTreeMap<String, u64>,
}

/// Where a bundle comes from: enough to train it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// The corpus files read; empty when rows came from elsewhere.
    #[serde(default)]
    pub corpora: Vec<CorpusFile>,
    /// How the rows were chosen among those of the corpora, where more than their split chose them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<Selection>,
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
