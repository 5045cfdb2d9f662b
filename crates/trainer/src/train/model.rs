//! The residual detector of a bundle: a network that is trained here or was elsewhere, or a linear one that is computed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use tocsin_detect::Rows;
use tocsin_models::{Metrics, Network, NetworkError, Objective, Residual, Temporal, Variant};

use super::{Foreign, TrainError, TrainRequest};
use crate::export::{self, Preprocessing};
use crate::fit::{self, Checkpoints, FitOptions, Fitted, Progress};
use crate::linear::{self, standardised};
use crate::network::{Kind, Shape};

/// What a model is fitted on, and how.
pub(super) struct Work<'a> {
    pub(super) request: &'a TrainRequest<'a>,
    pub(super) options: FitOptions,
    pub(super) latent: usize,
    /// Where checkpoints are kept, and the round this is.
    pub(super) kept: Option<(&'a Checkpoints, u32)>,
    /// Log spectra of the rows to learn from, or of their sample.
    pub(super) log: Rows<'a>,
    /// Places of the rows to search on, and of those held out.
    pub(super) split: (Vec<usize>, Vec<usize>),
    pub(super) preprocessing: Preprocessing<'a>,
}

/// A fitted model as files, and how it went.
pub(super) struct Model {
    pub(super) autoencoder: Vec<u8>,
    pub(super) decoder: Vec<u8>,
    pub(super) objective: Objective,
    pub(super) metrics: Metrics,
    /// The network over a sensor's last spectra as a file, and what the manifest says of it.
    pub(super) temporal: Option<(Vec<u8>, Temporal)>,
}

impl Model {
    /// What scores by these files.
    pub(super) fn residual(&self, bins: usize, latent: u16) -> Result<Residual, NetworkError> {
        let latent = latent.into();
        let alone = Network::from_onnx(&self.autoencoder, bins, latent)?;
        let temporal = match &self.temporal {
            Some((file, about)) => {
                let spectra = about.window.spectra.into();
                let network = Network::temporal_from_onnx(file, (spectra, bins), latent)?;
                Some((network, about.window))
            }
            None => None,
        };
        Ok(Residual::new(alone, temporal))
    }
}

impl Work<'_> {
    pub(super) fn fit(self, progress: impl FnMut(Progress) -> ControlFlow<()>) -> Result<Model, TrainError> {
        match self.request.variant {
            Variant::Dense => self.network(Kind::Dense, progress),
            Variant::Conv => self.network(Kind::Conv, progress),
            Variant::Pca | Variant::Mahalanobis => self.linear(),
            Variant::Foreign => self.foreign(),
            Variant::TemporalConv => self.temporal(false, progress),
            Variant::TemporalLstm => self.temporal(true, progress),
        }
    }

    /// Takes a model as it was brought, and looks at what it makes of the rows.
    fn foreign(self) -> Result<Model, TrainError> {
        let Some(Foreign { autoencoder, decoder }) = self.request.foreign else {
            let reason = "the files are missing".to_owned();
            return Err(TrainError::Request {
                field: "foreign",
                reason,
            });
        };
        let network = Network::from_onnx(autoencoder, self.log.bins(), self.latent)?;
        let errors = network.session()?.run(self.request.train.linear(), &[])?.errors;
        if let Some(row) = errors.iter().position(|error| !error.is_finite()) {
            let reason = format!("the error of row {row} is {}", errors[row]);
            return Err(TrainError::Request {
                field: "foreign",
                reason,
            });
        }
        let mean = |places: &[usize]| {
            let sum: f64 = places.iter().map(|at| f64::from(errors[*at])).sum();
            sum / places.len() as f64
        };
        let (rest, held_out) = &self.split;
        let metrics = Metrics {
            validation_loss: mean(held_out),
            training_loss: mean(rest),
            best_epoch: 0,
            epochs: 0,
            figures: BTreeMap::new(),
        };
        Ok(Model {
            autoencoder: autoencoder.to_vec(),
            decoder: decoder.to_vec(),
            objective: Objective::Plain,
            metrics,
            temporal: None,
        })
    }

    fn network(self, kind: Kind<'_>, progress: impl FnMut(Progress) -> ControlFlow<()>) -> Result<Model, TrainError> {
        let fitted = self.trained(kind, &self.alone(), self.options, self.kept, progress)?;
        Ok(self.packed(&fitted))
    }

    /// Each row by itself, in the network's space.
    pub(super) fn alone(&self) -> fit::Rows {
        let Preprocessing { s0, standardise, .. } = self.preprocessing;
        if let Some(stored) = self.request.train.stored() {
            return fit::Rows::stored(stored, standardise, s0);
        }
        let (rest, held_out) = self.split.clone();
        fit::Rows::new(self.standardised(), self.log.bins(), rest, held_out)
    }

    /// All rows in the network's space.
    pub(super) fn standardised(&self) -> Vec<f32> {
        standardised(self.preprocessing.standardise, self.log)
    }

    /// Trains a network.
    pub(super) fn trained(
        &self,
        kind: Kind<'_>,
        rows: &fit::Rows,
        options: FitOptions,
        kept: Option<(&Checkpoints, u32)>,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Fitted, TrainError> {
        let shape = Shape {
            kind,
            objective: options.objective,
            bins: self.log.bins(),
            latent: self.latent,
        };
        let fitted = fit::fit(shape, rows, (options, self.request.seed), kept, progress)?;
        let metrics = &fitted.metrics;
        if !(metrics.validation_loss.is_finite() && metrics.training_loss.is_finite()) {
            return Err(TrainError::Diverged);
        }
        Ok(fitted)
    }

    /// A network over one spectrum as files.
    pub(super) fn packed(&self, fitted: &Fitted) -> Model {
        let (network, objective) = (&fitted.network, fitted.objective);
        Model {
            autoencoder: export::autoencoder(network, objective, self.latent, None, self.preprocessing),
            decoder: export::decoder(network, self.latent, self.preprocessing),
            objective,
            metrics: fitted.metrics.clone(),
            temporal: None,
        }
    }

    fn linear(self) -> Result<Model, TrainError> {
        let (rest, held_out) = &self.split;
        let fitted = linear::fit(self.request.variant, self.log, self.latent, (rest, held_out))?;
        Ok(Model {
            autoencoder: export::linear_autoencoder(&fitted.model, self.latent, self.preprocessing),
            decoder: export::linear_decoder(&fitted.model, self.latent, self.preprocessing),
            objective: Objective::Plain,
            metrics: fitted.metrics,
            temporal: None,
        })
    }
}
