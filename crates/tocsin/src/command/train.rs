//! `tocsin train`: fits a class's models on a corpus, writes the bundle, and registers it if asked to.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use tocsin_corpus::Row;
use tocsin_domain::{Clock, Slug, SpectrumSpec};
use tocsin_models::{BundleArchive, CorpusFile, Manifest, Variant};
use tocsin_trainer::{TrainRequest, TrainingSet, train};

use super::Ask;
use super::corpora::{Corpora, bar};
use crate::rollout::{self, Rollout};

/// The kinds of autoencoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum VariantArg {
    /// Fully connected
    Dense,
    /// One-dimensional convolutions
    Conv,
}

impl From<VariantArg> for Variant {
    fn from(variant: VariantArg) -> Self {
        match variant {
            VariantArg::Dense => Self::Dense,
            VariantArg::Conv => Self::Conv,
        }
    }
}

/// Fits an autoencoder and the detectors beside it on the rows of split `train`, and scores those of split `cal` for
/// alarm limits. The last fifth of each sensor's training rows, in time, stops the training.
#[derive(Debug, Args)]
pub(super) struct Train {
    #[command(flatten)]
    corpora: Corpora,
    /// The class of machines the bundle is for
    #[arg(long, value_name = "NAME")]
    class: String,
    /// Kind of autoencoder
    #[arg(long, value_enum, default_value = "dense")]
    variant: VariantArg,
    /// Values in a latent [default: 3/16 of the bins, 8 to 48]
    #[arg(long, value_name = "N")]
    latent: Option<u16>,
    /// Seed of every random choice
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The split to learn from
    #[arg(long, default_value = "train")]
    split: String,
    /// Folder to write the bundle to
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "register",
        required_unless_present = "register"
    )]
    out: Option<PathBuf>,
    /// Push the bundle, propose and test alarm limits for it, and promote it if its class has no champion yet
    #[arg(long)]
    register: bool,
    #[command(flatten)]
    ask: Ask,
}

/// What a bundle is to be fitted with.
#[derive(Debug, Clone)]
pub(crate) struct Fitting {
    pub(crate) class: Slug,
    pub(crate) variant: Variant,
    pub(crate) latent: Option<u16>,
    pub(crate) seed: u64,
    pub(crate) split: String,
    pub(crate) corpora: Vec<CorpusFile>,
}

impl Train {
    pub(super) async fn run(self) -> Result<()> {
        let class = Slug::parse("--class", &self.class)?;
        let rows = self.corpora.read(Some(&[&self.split, "cal"]))?;
        let spec = self.corpora.spec(&rows)?;
        let fitting = Fitting {
            class: class.clone(),
            variant: self.variant.into(),
            latent: self.latent,
            seed: self.seed,
            split: self.split.clone(),
            corpora: self.corpora.digests(&rows)?,
        };
        let archive = tokio::task::spawn_blocking(move || fit(&rows, &spec, &fitting))
            .await
            .context("training")??;
        let mut told = describe(&archive)?;
        if let Some(folder) = &self.out {
            archive
                .to_dir(folder)
                .with_context(|| format!("--out {}", folder.display()))?;
            told["folder"] = folder.display().to_string().into();
        }
        if self.register {
            let rollout = rollout::register(&self.ask.target.channel()?, class.as_str(), &archive).await?;
            told["registered"] = registered(&rollout);
        }
        self.ask.output.item("bundle", told)
    }
}

/// Trains with a progress bar.
pub(crate) fn fit(rows: &[Row], spec: &SpectrumSpec, fitting: &Fitting) -> Result<BundleArchive> {
    let train_rows = training_set(spec, rows, &fitting.split)?;
    let calibration = training_set(spec, rows, "cal")?;
    let request = TrainRequest {
        class: fitting.class.clone(),
        train: &train_rows,
        calibration: &calibration,
        variant: fitting.variant,
        latent: fitting.latent,
        seed: fitting.seed,
        options: None,
        corpora: fitting.corpora.clone(),
        created_at: Clock::system().now(),
    };
    let bar = bar(0, "epoch {pos}/{len} {msg}");
    let archive = train(&request, |progress| {
        bar.set_length(progress.epochs.into());
        bar.set_position(progress.epoch.into());
        bar.set_message(format!(
            "loss {:.4}, held out {:.4}, {:.0} rows/s, at most {:.0} s left",
            progress.training_loss,
            progress.validation_loss,
            progress.rows_per_second,
            progress.time_left.as_secs_f64()
        ));
    });
    bar.finish_and_clear();
    Ok(archive?)
}

/// The rows of one split, in canonical form.
pub(crate) fn training_set(spec: &SpectrumSpec, rows: &[Row], split: &str) -> Result<TrainingSet> {
    let mut set = TrainingSet::new(spec);
    for row in rows.iter().filter(|row| row.split.as_deref() == Some(split)) {
        let sensor = row.sensor.to_string();
        set.push(&sensor, row.captured_at, &row.bins)
            .with_context(|| format!("{sensor} at {}", row.captured_at))?;
    }
    Ok(set)
}

fn describe(archive: &BundleArchive) -> Result<Value> {
    let manifest = Manifest::from_json(archive.manifest_json())?;
    Ok(json!({
        "digest": archive.digest().to_string(),
        "class": manifest.class.as_str(),
        "variant": manifest.variant.as_str(),
        "bins": manifest.bins,
        "latent": manifest.latent,
        "rows_by_split": manifest.lineage.rows_by_split,
        "metrics": manifest.metrics,
    }))
}

fn registered(rollout: &Rollout) -> Value {
    json!({
        "bundle_id": rollout.bundle_id,
        "threshold_set_id": rollout.threshold_set_id,
        "champion": rollout.champion,
    })
}
