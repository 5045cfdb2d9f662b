//! `tocsin train`: fits a class's models on a corpus, writes the bundle, and registers it if asked to.

mod sweep;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use tocsin_corpus::Row;
use tocsin_domain::{Clock, Slug, SpectrumSpec};
use tocsin_models::{BundleArchive, CorpusFile, Manifest, Objective, Selection, Variant};
use tocsin_trainer::report::with_report;
use tocsin_trainer::{Checkpoints, FitOptions, Foreign, Suspect, TrainRequest, Trained, TrainingSet, train_resumably};

use super::Ask;
use super::choice::Choice;
use super::corpora::{Corpora, bar};
use crate::rollout::{self, Rollout};

/// Rows taken for healthy and hardly so, beside a bundle's files.
const SUSPECTS_FILE: &str = "suspects.json";

/// The kinds of autoencoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum VariantArg {
    /// Fully connected
    Dense,
    /// One-dimensional convolutions
    Conv,
    /// No network: principal components
    Pca,
    /// No network: Mahalanobis distance
    Mahalanobis,
    /// Trained elsewhere: --autoencoder and --decoder
    Foreign,
    /// Convolutions over a sensor's last spectra, beside a dense network over one
    TemporalConv,
    /// A recurrent network (LSTM) over a sensor's last spectra, beside a dense network over one
    TemporalLstm,
}

impl From<VariantArg> for Variant {
    fn from(variant: VariantArg) -> Self {
        match variant {
            VariantArg::Dense => Self::Dense,
            VariantArg::Conv => Self::Conv,
            VariantArg::Pca => Self::Pca,
            VariantArg::Mahalanobis => Self::Mahalanobis,
            VariantArg::Foreign => Self::Foreign,
            VariantArg::TemporalConv => Self::TemporalConv,
            VariantArg::TemporalLstm => Self::TemporalLstm,
        }
    }
}

/// Fits an autoencoder and the detectors beside it on the rows of split `train`, and scores those of split `cal` for
/// alarm limits. The last fifth of each sensor's training rows, in time, stops the training.
#[derive(Debug, Args)]
pub(super) struct Train {
    #[command(flatten)]
    corpora: Corpora,
    #[command(flatten)]
    choice: Choice,
    /// The class of machines the bundle is for
    #[arg(long, value_name = "NAME")]
    class: String,
    /// Kind of autoencoder
    #[arg(long, value_enum, default_value = "dense")]
    variant: VariantArg,
    /// ONNX file of an autoencoder trained elsewhere: input bins (rows x bins, linear amplitude in the canonical unit), outputs
    /// target, reconstruction and latent
    #[arg(
        long,
        value_name = "FILE",
        requires = "decoder",
        required_if_eq("variant", "foreign")
    )]
    autoencoder: Option<PathBuf>,
    /// ONNX file of its decoder: input latent, output spectrum
    #[arg(long, value_name = "FILE", requires = "autoencoder")]
    decoder: Option<PathBuf>,
    /// What it is trained to do: denoising, plain, masking, dropout, sparse, contractive, variational, or
    /// that scored by its evidence bound (`variational_elbo`)
    #[arg(long, value_name = "NAME", default_value = "denoising", value_parser = Objective::named)]
    objective: Objective,
    /// Spectra of a sensor that a temporal variant looks at together, the newest included: 2 to 16
    #[arg(long, value_name = "N", default_value_t = 8)]
    window: u16,
    /// Share of rows of each batch, those with the largest errors, that teach nothing: for rows that may hold faults
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    trim: f64,
    /// Values in a latent [default: 3/16 of the bins, 8 to 48]
    #[arg(long, value_name = "N")]
    latent: Option<u16>,
    /// Train each of these sizes on two thirds of the machines, look at it on the others, and recommend one
    #[arg(
        long,
        value_name = "N,...",
        value_delimiter = ',',
        conflicts_with_all = ["out", "register", "latent"]
    )]
    sweep_latent: Vec<u16>,
    /// Seed of every random choice
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The split to learn from
    #[arg(long, default_value = "train", conflicts_with = "split_by")]
    split: String,
    /// Folder to keep checkpoints of the network in, from which --resume goes on
    #[arg(long, value_name = "DIR", conflicts_with = "sweep_latent")]
    checkpoint: Option<PathBuf>,
    /// Epochs from one checkpoint to the next
    #[arg(long, value_name = "N", default_value_t = 10, requires = "checkpoint", value_parser = clap::value_parser!(u32).range(1..))]
    checkpoint_every: u32,
    /// Go on from the checkpoint, if there is one: the same rows, options and seed give the same network
    #[arg(long, requires = "checkpoint")]
    resume: bool,
    /// Folder to write the bundle to
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "register",
        required_unless_present_any = ["register", "sweep_latent"]
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
    pub(crate) foreign: Option<ForeignFiles>,
    pub(crate) options: FitOptions,
    pub(crate) latent: Option<u16>,
    pub(crate) seed: u64,
    pub(crate) split: String,
    pub(crate) corpora: Vec<CorpusFile>,
    /// How the rows were chosen among those of the corpora.
    pub(crate) selection: Option<Selection>,
    /// Where checkpoints of the network are kept.
    pub(crate) checkpoints: Option<Checkpoints>,
}

/// The files of an autoencoder trained elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct ForeignFiles {
    autoencoder: Vec<u8>,
    decoder: Vec<u8>,
}

impl ForeignFiles {
    fn read(autoencoder: &Path, decoder: &Path) -> Result<Self> {
        let read = |flag: &str, path: &Path| std::fs::read(path).with_context(|| format!("{flag} {}", path.display()));
        Ok(Self {
            autoencoder: read("--autoencoder", autoencoder)?,
            decoder: read("--decoder", decoder)?,
        })
    }
}

impl Train {
    pub(super) async fn run(self) -> Result<()> {
        let class = Slug::parse("--class", &self.class)?;
        let splits = [self.split.as_str(), "cal"];
        let splits = self.sweep_latent.is_empty().then_some(splits.as_slice());
        let rows = self.corpora.read(splits.and_then(|used| self.choice.splits(used)))?;
        let (rows, selection) = self.choice.apply(&self.corpora, rows, &self.split)?;
        let spec = self.corpora.spec(&rows)?;
        let variant = self.variant.into();
        let fitting = Fitting {
            class: class.clone(),
            variant,
            foreign: match (&self.autoencoder, &self.decoder) {
                (Some(autoencoder), Some(decoder)) => Some(ForeignFiles::read(autoencoder, decoder)?),
                _ => None,
            },
            options: FitOptions {
                objective: self.objective,
                trim: self.trim,
                window: self.window,
                ..FitOptions::of(variant)
            },
            latent: self.latent,
            seed: self.seed,
            split: self.split.clone(),
            corpora: self.corpora.digests()?,
            selection: Some(selection),
            checkpoints: self.checkpoint.clone().map(|folder| Checkpoints {
                folder,
                every: self.checkpoint_every,
                resume: self.resume,
            }),
        };
        if !self.sweep_latent.is_empty() {
            return sweep::run(&rows, &spec, &fitting, &self.sweep_latent, self.ask.output);
        }
        let Trained { archive, suspects, .. } =
            tokio::task::spawn_blocking(move || fit_and_report(&rows, &spec, &fitting))
                .await
                .context("training")??;
        let mut told = describe(&archive)?;
        told["suspects"] = suspects.len().into();
        told["peak_memory_mib"] = peak_memory_mib().into();
        if let Some(folder) = &self.out {
            archive
                .to_dir(folder)
                .with_context(|| format!("--out {}", folder.display()))?;
            write_suspects(folder, &suspects)?;
            told["folder"] = folder.display().to_string().into();
        }
        if self.register {
            let rollout = rollout::register(&self.ask.target.channel()?, class.as_str(), &archive).await?;
            told["registered"] = registered(&rollout);
        }
        self.ask.output.item("bundle", told)
    }
}

/// Writes the rows to be looked at beside the bundle.
fn write_suspects(folder: &Path, suspects: &[Suspect]) -> Result<()> {
    let path = folder.join(SUSPECTS_FILE);
    let json = serde_json::to_vec_pretty(suspects).context(SUSPECTS_FILE)?;
    std::fs::write(&path, json).with_context(|| path.display().to_string())
}

/// Trains with a progress bar.
pub(crate) fn fit(rows: &[Row], spec: &SpectrumSpec, fitting: &Fitting) -> Result<Trained> {
    fit_then(rows, spec, fitting, |_, trained| Ok(trained))
}

/// The same, with the report of the training in the bundle.
fn fit_and_report(rows: &[Row], spec: &SpectrumSpec, fitting: &Fitting) -> Result<Trained> {
    fit_then(rows, spec, fitting, |request, trained| {
        with_report(request, trained).context("writing the report")
    })
}

fn fit_then(
    rows: &[Row],
    spec: &SpectrumSpec,
    fitting: &Fitting,
    then: impl FnOnce(&TrainRequest<'_>, Trained) -> Result<Trained>,
) -> Result<Trained> {
    let train_rows = training_set(spec, rows, &fitting.split)?.chosen_by(fitting.selection.clone());
    let calibration = training_set(spec, rows, "cal")?;
    let request = TrainRequest {
        class: fitting.class.clone(),
        train: &train_rows,
        calibration: &calibration,
        variant: fitting.variant,
        foreign: fitting.foreign.as_ref().map(|files| Foreign {
            autoencoder: &files.autoencoder,
            decoder: &files.decoder,
        }),
        latent: fitting.latent,
        seed: fitting.seed,
        options: Some(fitting.options),
        corpora: fitting.corpora.clone(),
        created_at: Clock::system().now(),
    };
    let bar = bar(0, "epoch {pos}/{len} {msg}");
    let trained = train_resumably(&request, fitting.checkpoints.as_ref(), |progress| {
        bar.set_length(progress.epochs.into());
        bar.set_position(progress.epoch.into());
        bar.set_message(format!(
            "loss {:.4} + {:.4}, held out {:.4}, {:.0} rows/s, at most {:.0} s left",
            progress.training_loss,
            progress.penalty,
            progress.validation_loss,
            progress.rows_per_second,
            progress.time_left.as_secs_f64()
        ));
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    then(&request, trained?)
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

/// The most memory this process had at a time, in MiB, where the system says (Linux).
fn peak_memory_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = peak.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

fn describe(archive: &BundleArchive) -> Result<Value> {
    let manifest = Manifest::from_json(archive.manifest_json())?;
    Ok(json!({
        "digest": archive.digest().to_string(),
        "class": manifest.class.as_str(),
        "variant": manifest.variant.as_str(),
        "objective": manifest.objective,
        "bins": manifest.bins,
        "latent": manifest.latent,
        "rows_by_split": manifest.lineage.rows_by_split,
        "left_out": manifest.lineage.selection.map(|selection| selection.left_out).unwrap_or_default(),
        "metrics": manifest.metrics,
        "temporal": manifest.temporal,
    }))
}

fn registered(rollout: &Rollout) -> Value {
    json!({
        "bundle_id": rollout.bundle_id,
        "threshold_set_id": rollout.threshold_set_id,
        "champion": rollout.champion,
    })
}
