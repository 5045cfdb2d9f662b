//! What can go wrong, and how callers are told.

use std::time::Duration;

use tocsin_contracts::Malformed;
use tocsin_domain::access::Forbidden;
use tocsin_domain::{BaselineId, IncidentId, Invalid};
use tocsin_transport::retry;
use tonic::Status;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The message says something impossible.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Nobody is known to have made the call.
    #[error("the call has no principal")]
    NoPrincipal,
    /// The caller may not.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The sensor has no reading at that time.
    #[error("no reading of {sensor} was found")]
    NoReading {
        /// `site/machine/sensor`.
        sensor: String,
    },
    /// A version of a review that there is not.
    #[error("version {version} of the review of incident {incident} was not found")]
    NoVersion {
        /// The incident.
        incident: IncidentId,
        /// The version asked for.
        version: u32,
    },
    /// A review can't be made final yet.
    #[error("the review of incident {incident} can't be final: {why}")]
    NotYet {
        /// The incident.
        incident: IncidentId,
        /// What is missing.
        why: &'static str,
    },
    /// A final review's content makes no sense.
    #[error("the final review of incident {incident}: {reason}")]
    UnreadableReview {
        /// The incident.
        incident: IncidentId,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of readings can't be written.
    #[error("writing CSV: {0}")]
    Csv(#[from] csv::Error),
    /// A file of readings can't be written.
    #[error("writing Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Columns that do not fit each other.
    #[error("writing Parquet: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// The database refused or did not answer.
    #[error(transparent)]
    Store(#[from] tocsin_store::Error),
    /// The archive can't be read.
    #[error(transparent)]
    Archive(tocsin_archive::Error),
    /// A row names a baseline that is not there.
    #[error("baseline {id}: named by a reading and not there")]
    NoBaseline {
        /// Its number.
        id: BaselineId,
    },
    /// A row's bundle can't be had.
    #[error(transparent)]
    Bundle(#[from] tocsin_models::StoreError),
    /// A row's network can't be run.
    #[error(transparent)]
    Network(#[from] tocsin_models::NetworkError),
    /// A row's baseline makes no sense.
    #[error(transparent)]
    Baseline(#[from] tocsin_detect::MalformedModel),
    /// Scoring again panicked.
    #[error("making verdicts again: {0}")]
    Panicked(#[from] tokio::task::JoinError),
    /// A stored spectrum does not fit its sensor's spec.
    #[error("stored spectrum of {sensor}: {invalid}")]
    UnreadableSpectrum {
        /// `site/machine/sensor`.
        sensor: String,
        /// What is wrong with it.
        invalid: Invalid,
    },
}

impl From<tocsin_archive::Error> for Error {
    fn from(error: tocsin_archive::Error) -> Self {
        match error {
            tocsin_archive::Error::Store(error) => Self::Store(error),
            error => Self::Archive(error),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        use tocsin_store::Error as Store;
        let message = error.to_string();
        match error {
            Error::Malformed(malformed) => malformed.into(),
            Error::NoPrincipal => Self::unauthenticated(message),
            Error::Forbidden(_) => Self::permission_denied(message),
            Error::NoReading { .. } | Error::NoVersion { .. } | Error::Store(Store::NotFound { .. }) => {
                Self::not_found(message)
            }
            Error::Store(Store::AlreadyExists { .. }) => Self::already_exists(message),
            Error::NotYet { .. } | Error::Store(Store::Conflict { .. }) => Self::failed_precondition(message),
            Error::Store(Store::Unavailable { .. }) => {
                tracing::warn!(error = message, "a call failed for now");
                retry::hint(Self::unavailable(message), Duration::from_secs(1))
            }
            Error::Bundle(tocsin_models::StoreError::ObjectStore { .. }) => {
                tracing::warn!(error = message, "a call failed for now");
                retry::hint(Self::unavailable(message), Duration::from_secs(1))
            }
            Error::Bundle(_) => {
                tracing::error!(error = message, "a bundle that judged can't be had");
                Self::failed_precondition(message)
            }
            Error::Store(Store::ImpossibleRow { .. } | Store::Migration(_) | Store::Database(_))
            | Error::Archive(_)
            | Error::UnreadableSpectrum { .. }
            | Error::UnreadableReview { .. }
            | Error::Csv(_)
            | Error::Parquet(_)
            | Error::Arrow(_)
            | Error::NoBaseline { .. }
            | Error::Network(_)
            | Error::Baseline(_)
            | Error::Panicked(_) => {
                tracing::error!(error = message, "a call failed");
                Self::internal(message)
            }
        }
    }
}
