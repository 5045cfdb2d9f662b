//! What a call can be answered instead of its result, and the gRPC status that says so.

use std::time::Duration;

use tocsin_contracts::Malformed;
use tocsin_domain::access::Forbidden;
use tocsin_domain::{BundleDigest, Invalid};
use tocsin_transport::retry;
use tonic::Status;

use crate::access::oidc;
use crate::verify;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The call came without a principal: the server is put together without its authentication layer.
    #[error("no credential")]
    NoPrincipal,
    /// The name is unknown, the account disabled, or the password wrong: which of them is nobody's business.
    #[error("the name or the password is wrong")]
    WrongNameOrPassword,
    /// Too many sign-ins with this name failed, from this address or from many.
    #[error("too many failed sign-ins; wait {} s", .retry_after.as_secs().max(1))]
    TooManySignIns {
        /// When to try again.
        retry_after: Duration,
    },
    /// Sign-in by the identity provider came to nothing.
    #[error(transparent)]
    Oidc(#[from] oidc::Refusal),
    /// The principal may not.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// A field of the request is wrong.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Things are not in the state the call needs.
    #[error("{what}")]
    Precondition {
        /// What is missing, and what would help.
        what: String,
    },
    /// A pushed bundle has too many bytes.
    #[error("the bundle has more than {limit_bytes} bytes")]
    TooLarge {
        /// The most it may have.
        limit_bytes: u64,
    },
    /// A pushed bundle did not pass; it is kept with the reason.
    #[error("bundle {} was rejected: {reason}", digest.short())]
    Rejected {
        /// Its digest.
        digest: BundleDigest,
        /// Why.
        reason: String,
    },
    /// The sender stopped in the middle of a bundle.
    #[error("the push broke off: {reason}")]
    BrokenOff {
        /// What the transport said.
        reason: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] tocsin_store::Error),
    /// The object storage of bundles.
    #[error(transparent)]
    Bundles(#[from] tocsin_models::StoreError),
    /// The verifier could not do its work, so nothing is known about the bundle.
    #[error(transparent)]
    Verifier(#[from] verify::Error),
    /// Something that should not happen did.
    #[error("{doing}: {reason}")]
    Internal {
        /// What was being done.
        doing: &'static str,
        /// What went wrong.
        reason: String,
    },
}

impl Error {
    /// For `map_err` at a step that fails only when the machine is broken.
    pub(crate) fn internal<E: std::fmt::Display>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Internal {
            doing,
            reason: error.to_string(),
        }
    }

    pub(crate) fn precondition(what: impl Into<String>) -> Self {
        Self::Precondition { what: what.into() }
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::Malformed(invalid.into())
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::NoPrincipal | Error::WrongNameOrPassword => Self::unauthenticated(message),
            Error::TooManySignIns { retry_after } => retry::hint(Self::resource_exhausted(message), retry_after),
            Error::Oidc(refusal) => refusal.into(),
            Error::Forbidden(_) => Self::permission_denied(message),
            Error::Malformed(malformed) => malformed.into(),
            Error::Precondition { .. } => Self::failed_precondition(message),
            Error::TooLarge { .. } | Error::Rejected { .. } => Self::invalid_argument(message),
            Error::BrokenOff { .. } => Self::cancelled(message),
            Error::Store(store) => of_store(&store),
            Error::Bundles(bundles) => of_bundles(&bundles),
            Error::Verifier(verify::Error::TookTooLong { .. }) => {
                tracing::warn!(error = message, "a bundle stays pending");
                retry::hint(Self::unavailable(message), Duration::from_mins(1))
            }
            Error::Verifier(_) | Error::Internal { .. } => internal(&message),
        }
    }
}

fn of_store(error: &tocsin_store::Error) -> Status {
    use tocsin_store::Error;

    let message = error.to_string();
    match error {
        Error::Unavailable { .. } => {
            tracing::warn!(%error, "the database is not available");
            retry::hint(
                Status::unavailable("the database is not available"),
                Duration::from_secs(1),
            )
        }
        Error::AlreadyExists { .. } => Status::already_exists(message),
        Error::Conflict { .. } => Status::failed_precondition(message),
        Error::NotFound { .. } => Status::not_found(message),
        Error::ImpossibleRow { .. } | Error::Migration(_) | Error::Database(_) => internal(&message),
    }
}

fn of_bundles(error: &tocsin_models::StoreError) -> Status {
    use tocsin_models::StoreError;

    let message = error.to_string();
    match error {
        StoreError::ObjectStore { .. } => {
            tracing::warn!(%error, "the bundle store is not available");
            retry::hint(
                Status::unavailable("the bundle store is not available"),
                Duration::from_secs(1),
            )
        }
        StoreError::Address { .. } => internal(&message),
        StoreError::NotFound { .. } => Status::not_found(message),
        StoreError::Damaged { .. } | StoreError::Bundle { .. } => Status::data_loss(message),
    }
}

/// The details are for the log: they may hold SQL, paths or addresses.
fn internal(message: &str) -> Status {
    tracing::error!(error = message, "a call failed");
    Status::internal("internal error; the log of the registry has the details")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    #[test]
    fn what_the_log_alone_may_know_stays_out_of_the_status() {
        let row = tocsin_store::Error::ImpossibleRow {
            table: "account",
            column: "role",
            key: "7".into(),
            reason: "secret detail".into(),
        };
        let status = Status::from(Error::from(row));
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("secret"), "{status}");
    }

    #[test]
    fn a_caller_that_is_kept_out_learns_when_to_come_back() {
        let status = Status::from(Error::TooManySignIns {
            retry_after: Duration::from_secs(9),
        });
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(retry::after(&status), Some(Duration::from_secs(9)));
    }
}
