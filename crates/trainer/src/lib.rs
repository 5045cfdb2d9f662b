//! Fits a class's models on healthy spectra and packs them as a bundle.
//!
//! [`train`] takes rows in memory ([`TrainingSet`], which puts them through the canonical codec, so that a model learns
//! what it will be asked to judge) or more of them on disk ([`on_disk`]), fits an autoencoder (the number of epochs is found by early stopping on the last part
//! of each sensor's rows; the network is then trained on all of them), fits the other detectors of the class, exports the networks as ONNX and scores the calibration rows through the exported
//! files, so that alarm limits are set on what is served.
//!
//! As a role of the platform ([`build`], [`Trainer::run`]) it takes training jobs from the queue, one at a time, reads the
//! class's healthy spectra from Postgres, fits a bundle as above, pushes it to the registry and names it the challenger. A
//! person promotes it, or does not.
//!
//! **Invariant:** the same request gives the same bundle, byte for byte, on one host: every random choice comes from the
//! request's seed.

pub mod chart;
mod config;
pub mod export;
mod fit;
mod job;
pub mod latent_space;
mod linear;
mod network;
pub mod on_disk;
mod register;
pub mod report;
mod role;
mod sets;
pub mod suspects;
pub mod train;
pub mod training_set;

pub use config::Config;
pub use fit::{CheckpointError, Checkpoints, FitOptions, Progress, Stage};
pub use role::{Parts, Trainer, build};
pub use suspects::{Suspect, Suspects};
pub use train::{
    Foreign, LeftOut, TrainError, TrainRequest, Trained, can_stream, check_settings, default_latent, train,
    train_resumably, train_until,
};
pub use training_set::TrainingSet;
