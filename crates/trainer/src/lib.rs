//! Fits a class's models on healthy spectra and packs them as a bundle.
//!
//! [`train`] takes rows in memory ([`TrainingSet`], which puts them through the canonical codec, so that a model learns
//! what it will be asked to judge), fits an autoencoder (the number of epochs is found by early stopping on the last part
//! of each sensor's rows; the network is then trained on all of them), fits the other detectors of the class, exports the networks as ONNX and scores the calibration rows through the exported
//! files, so that alarm limits are set on what is served.
//!
//! **Invariant:** the same request gives the same bundle, byte for byte, on one host: every random choice comes from the
//! request's seed.

pub mod export;
mod fit;
mod network;
pub mod train;
pub mod training_set;

pub use fit::{FitOptions, Progress, Stage};
pub use train::{TrainError, TrainRequest, default_latent, train};
pub use training_set::TrainingSet;
