//! From rows to a bundle.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use burn::tensor::Device;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tocsin_detect::{FitError, Rows as DetectRows, Standardise, log_spectrum_into};
use tocsin_domain::{Codec, Detector, Scores, Slug, SpectrumSpec, Timestamp};
use tocsin_models::bundle::BundleParts;
use tocsin_models::{
    BundleArchive, BundleError, ClassDetectors, CorpusFile, DetectorScratch, HeldOut, HeldOutRow, Lineage, Manifest,
    Network, NetworkError, TargetSpace, Variant,
};

use crate::export::{self, Preprocessing};
use crate::fit::{self, FitOptions, Progress, Rows};
use crate::network::Autoencoder;
use crate::training_set::TrainingSet;

/// Fewest rows a model can be trained on.
const MIN_ROWS: usize = 50;

/// What to train, on what.
#[derive(Debug, Clone)]
pub struct TrainRequest<'a> {
    /// Class of machines the bundle is for.
    pub class: Slug,
    /// Healthy rows to learn from, split `train`.
    pub train: &'a TrainingSet,
    /// Healthy rows to score for alarm limits, split `cal`; may be empty.
    pub calibration: &'a TrainingSet,
    /// Kind of autoencoder.
    pub variant: Variant,
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
    /// A detector can't be fitted.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The exported network can't be run.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// What was written can't be read back.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// Values in a latent unless told otherwise: 12 for 64 bins, in proportion, from 8 to 48.
pub fn default_latent(bins: u16) -> u16 {
    (bins * 3 / 16).clamp(8, 48)
}

/// Trains the models of a class; `progress` hears of every epoch.
pub fn train(request: &TrainRequest<'_>, mut progress: impl FnMut(Progress)) -> Result<BundleArchive, TrainError> {
    train_until(request, |told| {
        progress(told);
        ControlFlow::Continue(())
    })
}

/// The same, until `progress` breaks it off: [`TrainError::BrokenOff`].
pub fn train_until(
    request: &TrainRequest<'_>,
    progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<BundleArchive, TrainError> {
    let spec = request.train.spec();
    let latent = check(request)?;
    let s0 = spec.canonical_s0();
    let bins = request.train.bins();
    let options = request.options.unwrap_or_else(|| FitOptions::of(request.variant));

    let mut log = vec![0.0; request.train.linear().len()];
    log_spectrum_into(request.train.linear(), s0, &mut log);
    let standardise = Standardise::fit(DetectRows::new(&log, bins)?)?;
    let (rest, held_out) = request.train.split_in_time(options.held_out_share);
    let rows = Rows::new(standardised(&log, &standardise), bins, rest, held_out);
    let device = Device::flex().autodiff();
    let draw = |rng: &mut StdRng| Autoencoder::new(request.variant, bins, latent.into(), rng, &device);
    let fitted = fit::fit(draw, &rows, options, request.seed, progress);
    let (network, metrics) = fitted.ok_or(TrainError::BrokenOff)?;
    if !(metrics.validation_loss.is_finite() && metrics.training_loss.is_finite()) {
        return Err(TrainError::Diverged);
    }
    tracing::info!(class = %request.class, variant = %request.variant, ?metrics, "autoencoder trained");

    let preprocessing = Preprocessing {
        s0,
        full_scale: spec.canonical_full_scale(),
        standardise: &standardise,
    };
    let autoencoder = export::autoencoder(&network, latent.into(), preprocessing);
    let decoder = export::decoder(&network, latent.into(), preprocessing);
    let detectors = ClassDetectors::fit(
        request.train.linear(),
        bins,
        s0,
        &mut StdRng::seed_from_u64(request.seed),
    )?;
    // What is served has been through its file; so has what is calibrated.
    let detectors = ClassDetectors::from_json(&detectors.to_json())?;
    let held_out = score(request.calibration, &autoencoder, latent, &detectors)?;
    let manifest = Manifest {
        format: Manifest::FORMAT,
        class: request.class.clone(),
        variant: request.variant,
        bins: spec.bins,
        latent,
        full_scale: spec.canonical_full_scale(),
        s0,
        unit: spec.canonical_unit().to_owned(),
        codec: Codec::VERSION,
        target_space: TargetSpace::StandardisedLog,
        lineage: lineage(request),
        metrics,
        files: BTreeMap::new(),
    };
    Ok(BundleParts {
        manifest,
        autoencoder,
        decoder,
        detectors,
        held_out,
    }
    .pack())
}

/// Refuses a request that can't be met; the latent's size otherwise.
fn check(request: &TrainRequest<'_>) -> Result<u16, TrainError> {
    let refuse = |field, reason| Err(TrainError::Request { field, reason });
    let bins = request.train.spec().bins;
    if request.train.len() < MIN_ROWS {
        return refuse(
            "train",
            format!("{} rows, at least {MIN_ROWS} are needed", request.train.len()),
        );
    }
    if !same_space(request.train.spec(), request.calibration.spec()) {
        return refuse(
            "calibration",
            "its rows have another spec than those trained on".to_owned(),
        );
    }
    let latent = request.latent.unwrap_or_else(|| default_latent(bins));
    if latent == 0 || latent > bins / 2 {
        return refuse("latent", format!("{latent} is not between 1 and half of {bins} bins"));
    }
    if let Some(options) = request.options {
        let FitOptions {
            epochs,
            batch,
            held_out_share,
            ..
        } = options;
        if epochs == 0 || batch == 0 || !(held_out_share > 0.0 && held_out_share <= 0.5) {
            return refuse(
                "options",
                format!("epochs {epochs}, batch {batch}, held_out_share {held_out_share}"),
            );
        }
    }
    Ok(latent)
}

/// Whether rows of both specs mean the same.
fn same_space(a: &SpectrumSpec, b: &SpectrumSpec) -> bool {
    let space = |spec: &SpectrumSpec| {
        (
            spec.bins,
            spec.canonical_full_scale().to_bits(),
            spec.canonical_s0().to_bits(),
        )
    };
    space(a) == space(b)
}

fn standardised(log: &[f32], standardise: &Standardise) -> Vec<f32> {
    let mut values = vec![0.0; log.len()];
    let bins = standardise.bins();
    for (out, row) in values.chunks_exact_mut(bins).zip(log.chunks_exact(bins)) {
        standardise.standardise_into(row, out);
    }
    values
}

/// Scores rows with the files of the bundle.
fn score(
    set: &TrainingSet,
    autoencoder: &[u8],
    latent: u16,
    detectors: &ClassDetectors,
) -> Result<HeldOut, TrainError> {
    let mut session = Network::from_onnx(autoencoder, set.bins(), latent.into())?.session()?;
    let residuals = session.run(set.linear(), &[])?.errors;
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
    let counts = [("train", request.train.len()), ("cal", request.calibration.len())];
    Lineage {
        corpora: request.corpora.clone(),
        rows_by_split: counts.map(|(split, rows)| (split.to_owned(), rows as u64)).into(),
        sensors,
        seed: request.seed,
        trainer: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
        created_at: request.created_at,
    }
}

#[cfg(test)]
mod tests;
