//! One autoencoder a class, trained in process, with the detectors of its bundle beside it.

use anyhow::{Context, Result, ensure};
use clap::Args;
use tocsin_domain::{Detector, Scores, Slug};
use tocsin_models::{Bundle, DetectorScratch, Network, Session, Variant};
use tocsin_simulator::harbor::{Class, Fleet};
use tocsin_trainer::{FitOptions, TrainRequest, TrainingSet, train};

use super::fleet::Ready;

/// How the networks are trained, and what they are held to.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Training {
    /// Readings of a machine that are learned from, evenly spread over its first day; at most those that commission it.
    #[arg(long, default_value_t = 200)]
    pub(crate) training_readings: usize,
    /// Most epochs.
    #[arg(long, default_value_t = 60)]
    pub(crate) epochs: u32,
    /// The most pages a day that the fleet is to expect where a line is raised until replay keeps to it.
    #[arg(long, default_value_t = 12.0)]
    pub(crate) network_pages_per_day: f64,
}

/// Detectors of a bundle that judge: the network's residual, the energy and the forest.
pub(super) const SHARED: [Detector; 3] = [Detector::Residual, Detector::OverallLevel, Detector::Isolation];

/// Raw scores of [`SHARED`], in that order.
pub(super) type Shared = [f32; SHARED.len()];

/// A reading's shared scores as the detectors' scores.
pub(super) fn overlay(scores: &mut Scores, shared: &Shared) {
    for (detector, score) in SHARED.into_iter().zip(shared) {
        scores.set(detector, *score);
    }
}

/// What a class's bundle scores with.
#[derive(Debug)]
pub(super) struct Model {
    bundle: Bundle,
    network: Network,
}

impl Model {
    /// Trains a dense autoencoder on what commissioned the machines of a class.
    pub(super) fn train(fleet: &Fleet, class: Class, ready: &[Ready], training: &Training) -> Result<Self> {
        let mut rows = TrainingSet::new(fleet.spec());
        let bins = usize::from(fleet.spec().bins);
        let of_class = fleet.machines().iter().zip(ready);
        for (machine, ready) in of_class.filter(|(machine, _)| machine.class() == class) {
            let stride = ready.captured_at.len().div_ceil(training.training_readings.max(1));
            for (sensor, linear) in ready.linear.iter().enumerate() {
                let name = format!("harbor/{}/axis-{}", machine.name(), sensor + 1);
                let readings = ready.captured_at.iter().zip(linear.chunks_exact(bins));
                for (at, spectrum) in readings.step_by(stride.max(1)) {
                    rows.push(&name, *at, spectrum)?;
                }
            }
        }
        ensure!(!rows.is_empty(), "--machines: none is a {}", class.name());
        let options = FitOptions::of(Variant::Dense);
        let request = TrainRequest {
            class: Slug::parse("class", class.name())?,
            train: &rows,
            calibration: &TrainingSet::new(fleet.spec()),
            variant: Variant::Dense,
            foreign: None,
            latent: None,
            seed: fleet.config().seed,
            options: Some(FitOptions {
                epochs: training.epochs,
                patience: options.patience.min(training.epochs.div_ceil(4)),
                ..options
            }),
            corpora: Vec::new(),
            created_at: fleet.config().start,
        };
        let archive = train(&request, |_| ()).with_context(|| format!("the network of {}", class.name()))?;
        let bundle = Bundle::from_archive(archive)?;
        let metrics = &bundle.manifest().metrics;
        eprintln!("  {}: {} rows, {metrics:?}", class.name(), rows.len());
        Ok(Self {
            network: Network::load(&bundle)?,
            bundle,
        })
    }

    /// Room for one thread to score in.
    pub(super) fn scorer(&self) -> Result<Scorer<'_>> {
        Ok(Scorer {
            bundle: &self.bundle,
            session: self.network.session()?,
            scratch: DetectorScratch::default(),
            scores: Vec::new(),
        })
    }
}

/// One thread's scoring by a [`Model`].
#[derive(Debug)]
pub(super) struct Scorer<'a> {
    bundle: &'a Bundle,
    session: Session,
    scratch: DetectorScratch,
    scores: Vec<Scores>,
}

impl Scorer<'_> {
    /// Scores linear spectra, one after the other in `linear`.
    pub(super) fn score(&mut self, linear: &[f32]) -> Result<Vec<Shared>> {
        let errors = self.session.run(linear, &[])?.errors;
        self.scores.resize(errors.len(), Scores::default());
        let detectors = self.bundle.detectors();
        detectors.score_batch(linear, &mut self.scratch, &mut self.scores);
        let shared = errors.into_iter().zip(&mut self.scores).map(|(error, scores)| {
            scores.set(Detector::Residual, error);
            SHARED.map(|detector| scores.get(detector).expect("the bundle scores every row"))
        });
        Ok(shared.collect())
    }
}
