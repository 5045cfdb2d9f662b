//! The maths of Tocsin: detectors that score a spectrum, tails that turn a score into a healthy
//! probability, and the front end that makes a spectrum from a waveform.
//!
//! Nothing here does I/O, waits, or reads a clock; randomness comes in as a generator.
//!
//! The road of a reading: the linear spectrum goes to [`overall_level`]; its logarithm
//! ([`log_spectrum`]) goes to [`isolation_forest`], [`pca`] and [`mahalanobis`]; each score goes
//! through its own [`tail`], so that scores of different detectors can be compared and the most
//! extreme of them never tie. Where a sensor has been commissioned, its [`baseline`], moved along its
//! [`trend`] to the speed and load of the reading, turns the logarithm into deviations, and [`deviation`] those into growth, shift and narrowband.
//!
//! **Invariant:** a row scored alone, or at any place in any batch, gives the same bits. Every sum
//! runs in an order fixed by the row's own length, never by the batch.
//!
//! **Invariant:** scoring never panics on the values of a row. A NaN in a row may come out as a NaN
//! or as a number without meaning; spectra are checked to be finite before they get here. A row of
//! the wrong length is a mistake of the caller and does panic.
//!
//! **Invariant:** a model read back from storage has been checked: its arrays have the lengths its
//! dimensions ask for, and its numbers are finite.

mod covariance;
mod lanes;
mod projection;

pub mod baseline;
pub mod bearing;
pub mod deviation;
pub mod drift;
pub mod error;
pub mod isolation_forest;
pub mod lines;
pub mod log_spectrum;
pub mod mahalanobis;
pub mod metrics;
pub mod overall_level;
pub mod pca;
pub mod percentile;
pub mod poisson;
pub mod reference;
pub mod rows;
pub mod spectrum_front_end;
pub mod standardise;
pub mod tail;
pub mod trend;

pub use baseline::{Baseline, Commissioned, Fleet};
pub use bearing::{Bearing, BearingRates};
pub use error::{FitError, MalformedModel};
pub use isolation_forest::{ForestParameters, IsolationForest};
pub use log_spectrum::log_spectrum_into;
pub use mahalanobis::{Mahalanobis, MahalanobisFit};
pub use overall_level::OverallLevel;
pub use pca::{Components, Pca, PcaFit};
pub use percentile::{PercentileEstimate, percentile};
pub use reference::Reference;
pub use rows::Rows;
pub use spectrum_front_end::SpectrumFrontEnd;
pub use standardise::Standardise;
pub use tail::{Tail, TailError};
pub use trend::{Conditions, Offset, Trend};
