//! `tocsin train`: fits a class's models on a corpus, writes the bundle, and registers it if asked to.

mod options;
mod outcome;
mod streamed;
mod sweep;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use tocsin_corpus::Row;
use tocsin_domain::{Clock, Slug, SpectrumSpec};
use tocsin_models::{BundleArchive, CorpusFile, Objective, Selection, Variant};
use tocsin_trainer::on_disk::Budget;
use tocsin_trainer::report::with_report;
use tocsin_trainer::{
    Checkpoints, FitOptions, Foreign, TrainRequest, Trained, TrainingSet, can_stream, train_resumably,
};
use tocsin_transport::Channel;

use self::outcome::{describe, keep, kept, peak_memory_mib, registered};
use super::choice::Choice;
use super::corpora::{Corpora, bar};
use super::{Ask, cadence};
use crate::rollout::{self, Rollout};

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
/// alarm limits. The last fifth of each sensor's training rows, in time, stops the training. Rows that do not fit in
/// memory are learned from on disk.
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
    /// that scored by its evidence bound (`variational_elbo`) [default: denoising]
    #[arg(long, value_name = "NAME", value_parser = Objective::named)]
    objective: Option<Objective>,
    /// Spectra of a sensor that a temporal variant looks at together, the newest included: 2 to 16 [default: 8]
    #[arg(long, value_name = "N")]
    window: Option<u16>,
    /// Share of rows that may be faults: at most so many are left out, those that are hardly healthy and their like
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    trim: f64,
    /// Most epochs; it ends earlier where rows held out stop getting better [default: 300; conv 120, temporal ones 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    epochs: Option<u32>,
    /// Most memory for rows, in MiB. More rows than fit are put on disk, a byte a bin, and dense and conv learn from there in a new
    /// order every epoch; the other kinds, --trim and --sweep-latent take all rows in memory
    #[arg(long, value_name = "MIB", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(1..))]
    memory: u64,
    /// Folder for rows that do not fit: their files have no names, and are gone when this ends, however it does
    /// [default: the system's folder for temporary files]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
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
    #[arg(long, default_value = "train", conflicts_with = "split_by", value_parser = options::learned)]
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
    /// Folder to write the bundle to, before it is registered if that is asked for too
    #[arg(long, value_name = "DIR", required_unless_present_any = ["register", "sweep_latent"])]
    out: Option<PathBuf>,
    /// Push the bundle, propose and test alarm limits for it, and promote it if its class has no champion yet. Where that fails
    /// and there is no --out, the bundle is kept in a folder of its own in the current one
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
        self.check()?;
        // Before the training: what is wrong with the address or the credential need not wait for its end.
        let registry = self.register.then(|| self.ask.target.channel()).transpose()?;
        let folder = self.scratch.clone().unwrap_or_else(std::env::temp_dir);
        let needs_memory = self.needs_memory();
        let streamed = self.source(&folder).read(needs_memory.as_deref())?;
        let mut fitting = self.fitting(class.clone())?;
        let training: Training = if let Some(streamed::Sets { train, calibration }) = streamed {
            Box::new(move || fit_sets(&train, &calibration, &fitting, reported))
        } else {
            let splits = [self.split.as_str(), "cal"];
            let splits = self.sweep_latent.is_empty().then_some(splits.as_slice());
            let rows = self.corpora.read(splits.and_then(|used| self.choice.splits(used)))?;
            let (rows, selection) = self.choice.apply(&self.corpora, rows, &self.split)?;
            let spec = self.corpora.spec(&rows)?;
            fitting.selection = Some(selection);
            if !self.sweep_latent.is_empty() {
                return sweep::run(rows, &spec, &fitting, &self.sweep_latent, self.ask.output);
            }
            Box::new(move || fit_then(&rows, &spec, &fitting, reported))
        };
        let trained = tokio::task::spawn_blocking(training).await;
        let Trained {
            archive,
            suspects,
            history,
            ..
        } = trained.context("training")??;
        let mut told = describe(&archive)?;
        told["suspects"] = suspects.in_all.into();
        told["rows_per_second"] = history.last().map(|told| told.rows_per_second.round()).into();
        told["peak_memory_mib"] = peak_memory_mib().into();
        if let Some(folder) = &self.out {
            keep(folder, &archive, &suspects.listed).with_context(|| format!("--out {}", folder.display()))?;
            told["folder"] = folder.display().to_string().into();
        }
        if let Some(registry) = registry {
            let rollout = match self.registered(&registry, class.as_str(), &archive).await {
                Ok(rollout) => rollout,
                Err(error) => return Err(kept(error, self.out.as_deref(), &class, &archive, &suspects.listed)),
            };
            told["registered"] = registered(&rollout);
        }
        self.ask.output.item("bundle", told)
    }

    async fn registered(&self, registry: &Channel, class: &str, archive: &BundleArchive) -> Result<Rollout> {
        cadence::prepare(registry, class, cadence::of_corpora(&self.corpora)?).await?;
        rollout::register(registry, class, archive).await
    }

    /// What to read, and the memory and the folder for it.
    fn source<'a>(&'a self, folder: &'a Path) -> streamed::Source<'a> {
        streamed::Source {
            corpora: &self.corpora,
            choice: &self.choice,
            learned: &self.split,
            all_splits: !self.sweep_latent.is_empty(),
            budget: Budget::mib(self.memory),
            folder,
            seed: self.seed,
            held_out_share: self.options().held_out_share,
        }
    }

    /// The flag that takes all rows in memory, if there is one.
    fn needs_memory(&self) -> Option<String> {
        let variant = Variant::from(self.variant);
        if !self.sweep_latent.is_empty() {
            Some("--sweep-latent".to_owned())
        } else if self.trim > 0.0 {
            Some(format!("--trim {}", self.trim))
        } else {
            (!can_stream(variant)).then(|| format!("--variant {}", variant.as_str().replace('_', "-")))
        }
    }

    fn options(&self) -> FitOptions {
        let usual = FitOptions::of(self.variant.into());
        FitOptions {
            objective: self.objective.unwrap_or_default(),
            trim: self.trim,
            window: self.window.unwrap_or(usual.window),
            epochs: self.epochs.unwrap_or(usual.epochs),
            ..usual
        }
    }

    fn fitting(&self, class: Slug) -> Result<Fitting> {
        Ok(Fitting {
            class,
            variant: self.variant.into(),
            foreign: match (&self.autoencoder, &self.decoder) {
                (Some(autoencoder), Some(decoder)) => Some(ForeignFiles::read(autoencoder, decoder)?),
                _ => None,
            },
            options: self.options(),
            latent: self.latent,
            seed: self.seed,
            split: self.split.clone(),
            corpora: self.corpora.digests()?,
            selection: None,
            checkpoints: self.checkpoint.clone().map(|folder| Checkpoints {
                folder,
                every: self.checkpoint_every,
                resume: self.resume,
            }),
        })
    }
}

/// A training to be done on a thread of its own.
type Training = Box<dyn FnOnce() -> Result<Trained> + Send>;

/// Trains with a progress bar.
pub(crate) fn fit(rows: &[Row], spec: &SpectrumSpec, fitting: &Fitting) -> Result<Trained> {
    fit_then(rows, spec, fitting, |_, trained| Ok(trained))
}

/// Puts the report of the training into the bundle.
fn reported(request: &TrainRequest<'_>, trained: Trained) -> Result<Trained> {
    with_report(request, trained).context("writing the report")
}

fn fit_then(
    rows: &[Row],
    spec: &SpectrumSpec,
    fitting: &Fitting,
    then: impl FnOnce(&TrainRequest<'_>, Trained) -> Result<Trained>,
) -> Result<Trained> {
    let train_rows = training_set(spec, rows, &fitting.split)?.chosen_by(fitting.selection.clone());
    let calibration = training_set(spec, rows, "cal")?;
    fit_sets(&train_rows, &calibration, fitting, then)
}

fn fit_sets(
    train: &TrainingSet,
    calibration: &TrainingSet,
    fitting: &Fitting,
    then: impl FnOnce(&TrainRequest<'_>, Trained) -> Result<Trained>,
) -> Result<Trained> {
    let request = TrainRequest {
        class: fitting.class.clone(),
        train,
        calibration,
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
