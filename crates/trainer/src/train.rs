//! From rows to a bundle.

mod check;
mod model;
mod size;
mod temporal;
mod trimmed;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tocsin_detect::{FitError, Rows, Standardise, log_spectrum_into};
use tocsin_domain::{Codec, Detector, Scores, Slug, Timestamp};
use tocsin_models::bundle::BundleParts;
use tocsin_models::{
    Bundle, BundleArchive, BundleError, ClassDetectors, CorpusFile, DetectorScratch, HeldOut, HeldOutRow, Lineage,
    Manifest, Network, NetworkError, Residual, TargetSpace, Variant, VerifyError, VerifyLimits, verify,
};

use self::check::check;
pub use self::check::{can_stream, check_settings};
use self::model::{Model, Work};
pub use self::trimmed::LeftOut;
use self::trimmed::fit_trimmed;
use crate::export::Preprocessing;
use crate::fit::{CheckpointError, Checkpoints, FitOptions, Progress, Stopped};
use crate::on_disk::OnDiskError;
use crate::suspects::{self, Suspects};
use crate::training_set::TrainingSet;

/// Fewest rows a model can be trained on.
const MIN_ROWS: usize = 50;

/// What to train, on what.
#[derive(Debug, Clone)]
pub struct TrainRequest<'a> {
    /// Class of machines the bundle is for.
    pub class: Slug,
    /// Healthy rows to learn from, split `train`; where they are a sample of rows on disk, the network and what is summed up
    /// over rows learn from all of those.
    pub train: &'a TrainingSet,
    /// Healthy rows to score for alarm limits, split `cal`; may be empty.
    pub calibration: &'a TrainingSet,
    /// Kind of autoencoder.
    pub variant: Variant,
    /// The files of a [`Variant::Foreign`]; nothing with the others.
    pub foreign: Option<Foreign<'a>>,
    /// Values in a latent; [`default_latent`] when not given.
    pub latent: Option<u16>,
    /// Seed of every random choice.
    pub seed: u64,
    /// How to train; [`FitOptions::of`] the variant when not given.
    pub options: Option<FitOptions>,
    /// The corpus files the rows came from, for the record.
    pub corpora: Vec<CorpusFile>,
    /// Now, for the record.
    pub created_at: Timestamp,
}

/// An autoencoder trained elsewhere, as ONNX files by the contract of a bundle ([`tocsin_models::onnx`]).
#[derive(Debug, Clone, Copy)]
pub struct Foreign<'a> {
    /// `bins` to `target`, `reconstruction` and `latent`.
    pub autoencoder: &'a [u8],
    /// `latent` to `spectrum`.
    pub decoder: &'a [u8],
}

/// What came of a request.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The bundle.
    pub archive: BundleArchive,
    /// Rows taken for healthy that the network rebuilds far worse than the others, for a person to look at. Of rows on disk
    /// those of the sample alone were looked at.
    pub suspects: Suspects,
    /// What trimming left out of the request's rows: nothing of the bundle was fitted on these, nor its limits set by them.
    pub left_out: LeftOut,
    /// What was told of every epoch, in order.
    pub history: Vec<Progress>,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The request can't be met.
    #[error("{field}: {reason}")]
    Request {
        /// Name of the field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Whoever asked broke it off.
    #[error("training was broken off")]
    BrokenOff,
    /// The network never got better than nothing.
    #[error("training diverged: no epoch gave a finite error on the rows held out")]
    Diverged,
    /// A checkpoint can't be kept, or not be gone on from.
    #[error(transparent)]
    Checkpoint(CheckpointError),
    /// Rows on disk can't be read back.
    #[error(transparent)]
    OnDisk(#[from] OnDiskError),
    /// A detector can't be fitted.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The exported network can't be run.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The registry would not take the bundle: a model trained elsewhere does not keep the contract, for one.
    #[error("the bundle does not pass the verifier")]
    Refused(#[from] VerifyError),
    /// What was written can't be read back.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

impl From<Stopped> for TrainError {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::BrokenOff => Self::BrokenOff,
            Stopped::Checkpoint(error) => Self::Checkpoint(error),
            Stopped::OnDisk(error) => Self::OnDisk(error),
        }
    }
}

/// Values in a latent unless told otherwise: 12 for 64 bins, in proportion, from 8 to 48.
pub fn default_latent(bins: u16) -> u16 {
    (bins * 3 / 16).clamp(8, 48)
}

/// Trains the models of a class; `progress` hears of every epoch.
pub fn train(request: &TrainRequest<'_>, mut progress: impl FnMut(Progress)) -> Result<BundleArchive, TrainError> {
    let trained = train_until(request, |told| {
        progress(told);
        ControlFlow::Continue(())
    })?;
    Ok(trained.archive)
}

/// The same, until `progress` breaks it off: [`TrainError::BrokenOff`].
///
/// With [`FitOptions::trim`] the models are fitted without the rows that are hardly healthy, so that nothing of them is in
/// the standardisation or in the detectors beside the network either: see [`trimmed`].
pub fn train_until(
    request: &TrainRequest<'_>,
    progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Trained, TrainError> {
    train_resumably(request, None, progress)
}

/// The same, with checkpoints of the network, from which it may go on. What is computed and not trained has none.
pub fn train_resumably(
    request: &TrainRequest<'_>,
    checkpoints: Option<&Checkpoints>,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Trained, TrainError> {
    let latent = check(request)?;
    if let Some(checkpoints) = checkpoints {
        checkpoints.begin().map_err(TrainError::Checkpoint)?;
    }
    let mut history = Vec::new();
    let mut progress = |told: Progress| {
        history.push(told);
        progress(told)
    };
    let trims = request.options.is_some_and(|options| options.trim > 0.0);
    let (archive, left_out) = if trims && request.variant != Variant::Foreign {
        fit_trimmed(request, latent, checkpoints, &mut progress)?
    } else {
        let first = checkpoints.map(|checkpoints| (checkpoints, 0));
        (fit_bundle(request, latent, first, &mut progress)?, LeftOut::default())
    };
    let bundle = Bundle::from_archive(archive.clone())?;
    let errors = Network::load(&bundle)?
        .session()?
        .run(request.train.linear(), &[])?
        .errors;
    Ok(Trained {
        archive,
        suspects: suspects::find(request.train, &errors, &left_out.train),
        left_out,
        history,
    })
}

/// What an exported autoencoder makes of rows: an error each.
fn errors(set: &TrainingSet, autoencoder: &[u8], latent: u16) -> Result<Vec<f32>, NetworkError> {
    let mut session = Network::from_onnx(autoencoder, set.bins(), latent.into())?.session()?;
    Ok(session.run(set.linear(), &[])?.errors)
}

/// Fits the residual detector.
fn fit_model(
    request: &TrainRequest<'_>,
    latent: u16,
    kept: Option<(&Checkpoints, u32)>,
    progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Model, TrainError> {
    let spec = request.train.spec();
    let (s0, bins) = (spec.canonical_s0(), request.train.bins());
    let options = request.options.unwrap_or_else(|| FitOptions::of(request.variant));
    let mut log = vec![0.0; request.train.linear().len()];
    log_spectrum_into(request.train.linear(), s0, &mut log);
    let standardise = match request.train.stored() {
        Some(stored) => stored.standardise(s0),
        None => Standardise::fit(Rows::new(&log, bins)?)?,
    };
    let work = Work {
        request,
        options,
        latent: latent.into(),
        kept,
        log: Rows::new(&log, bins)?,
        split: request.train.split_in_time(options.held_out_share),
        preprocessing: Preprocessing {
            s0,
            full_scale: spec.canonical_full_scale(),
            standardise: &standardise,
        },
    };
    let model = work.fit(progress)?;
    let (variant, objective, metrics) = (request.variant, model.objective, &model.metrics);
    tracing::info!(class = %request.class, %variant, %objective, ?metrics, "autoencoder fitted");
    Ok(model)
}

/// Fits the residual detector and those beside it, and packs them.
fn fit_bundle(
    request: &TrainRequest<'_>,
    latent: u16,
    kept: Option<(&Checkpoints, u32)>,
    progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<BundleArchive, TrainError> {
    let model = fit_model(request, latent, kept, progress)?;
    let spec = request.train.spec();
    let (s0, bins, variant) = (spec.canonical_s0(), request.train.bins(), request.variant);
    let linear = request.train.linear();
    let detectors = match request.train.stored() {
        Some(stored) => stored.detectors(linear, s0, request.seed)?,
        None => ClassDetectors::fit(linear, bins, s0, &mut StdRng::seed_from_u64(request.seed))?,
    };
    // What is served has been through its file; so has what is calibrated.
    let detectors = ClassDetectors::from_json(&detectors.to_json())?;
    let held_out = score(request.calibration, &model.residual(bins, latent)?, &detectors)?;
    let (temporal, about_temporal) = model.temporal.unzip();
    let manifest = Manifest {
        format: Manifest::FORMAT,
        class: request.class.clone(),
        variant,
        objective: model.objective,
        bins: spec.bins,
        latent,
        full_scale: spec.canonical_full_scale(),
        s0,
        unit: spec.canonical_unit().to_owned(),
        codec: Codec::VERSION,
        target_space: match variant {
            Variant::Foreign => TargetSpace::Own,
            _ => TargetSpace::StandardisedLog,
        },
        lineage: lineage(request),
        metrics: model.metrics,
        temporal: about_temporal,
        files: BTreeMap::new(),
    };
    let parts = BundleParts {
        manifest,
        autoencoder: model.autoencoder,
        decoder: model.decoder,
        temporal,
        detectors,
        held_out,
    };
    let archive = parts.pack();
    // What the registry would say of it is said here, for a few dozen batches through its models: little beside an epoch.
    verify(&archive.to_bytes(), VerifyLimits::default())?;
    Ok(archive)
}

/// Scores rows with the files of the bundle.
fn score(set: &TrainingSet, residual: &Residual, detectors: &ClassDetectors) -> Result<HeldOut, TrainError> {
    let windows = residual.window().map(|window| window.among(&set.keys()));
    let residuals = residual.errors(set.linear(), windows.as_ref())?;
    let mut scores = vec![Scores::default(); set.len()];
    detectors.score_batch(set.linear(), &mut DetectorScratch::default(), &mut scores);
    let rows = set
        .rows()
        .iter()
        .zip(scores)
        .zip(residuals)
        .map(|((row, mut scores), residual)| {
            scores.set(Detector::Residual, residual);
            HeldOutRow {
                sensor: row.sensor,
                captured_at: row.captured_at,
                scores,
            }
        });
    Ok(HeldOut::new(set.sensors().to_vec(), rows.collect()))
}

fn lineage(request: &TrainRequest<'_>) -> Lineage {
    let mut sensors: Vec<String> = request.train.sensors().to_vec();
    sensors.sort();
    let splits = [("train", request.train), ("cal", request.calibration)];
    let sampled = splits
        .iter()
        .filter_map(|(split, set)| Some(((*split).to_owned(), set.sampled()?)));
    let sampled: BTreeMap<String, u64> = sampled.collect();
    let mut selection = request.train.selection().cloned();
    if !sampled.is_empty() {
        selection.get_or_insert_default().sampled_by_split = sampled;
    }
    Lineage {
        corpora: request.corpora.clone(),
        selection,
        rows_by_split: splits.map(|(split, set)| (split.to_owned(), set.rows_in_all())).into(),
        sensors,
        seed: request.seed,
        trainer: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
        created_at: request.created_at,
    }
}

#[cfg(test)]
mod tests;
