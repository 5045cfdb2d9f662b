//! Bundles: one immutable model version each, addressed by the digest of what is in it.
//!
//! A bundle is a handful of files: a [`Manifest`] (what it is, what it was trained on, how well it did), the
//! autoencoder and its decoder as ONNX, the other detectors of the class ([`ClassDetectors`]) and the healthy scores it
//! gave to readings it was not trained on ([`HeldOut`]). On the wire and in storage they travel as one deterministic
//! tar, a [`BundleArchive`]; once read and checked they are a [`Bundle`]. [`BundleStore`] keeps archives in object
//! storage. [`Network`] and [`Session`] run the autoencoder ([`Residual`] also the one over a sensor's last spectra, where
//! a bundle has one), [`scoring`] all that judges beside it, [`Ready`] both at once over what is stored, [`Decoder`] turns
//! a latent back into a spectrum, and [`verify`] decides whether bytes from outside may become a bundle at all.
//!
//! This is the only crate that knows tract.
//!
//! **Invariant:** what a [`BundleStore`] hands out has the digest that was asked for; it is checked on every load.
//!
//! **Invariant:** a spectrum scored alone, or at any place in any batch, gives the same bits on one host.

pub mod archive;
mod build;
pub mod bundle;
pub mod decoder;
pub mod detectors;
pub mod error;
#[cfg(test)]
mod fixture;
pub mod held_out;
pub mod manifest;
pub mod objective;
pub mod objects;
pub mod onnx;
mod plan;
pub mod ready;
pub mod residual;
pub mod scoring;
pub mod session;
pub mod store;
pub mod verify;
pub mod window;

pub use archive::{ArchiveLimits, BundleArchive};
pub use build::build;
pub use bundle::Bundle;
pub use decoder::Decoder;
pub use detectors::{ClassDetectors, DetectorScratch, DetectorsFit};
pub use error::{BundleError, NetworkError, StoreError};
pub use held_out::{HeldOut, HeldOutRow};
pub use manifest::{CorpusFile, Lineage, Manifest, Metrics, Selection, TargetSpace, Temporal, Variant};
pub use objective::Objective;
pub use objects::Objects;
pub use ready::{Ready, Said};
pub use residual::Residual;
pub use scoring::{Against, CodedRows, SensorBaseline};
pub use session::{Network, Scored, Session};
pub use store::BundleStore;
pub use verify::{VerifyError, VerifyLimits, VerifyReport, verify};
pub use window::{Window, Windows};
