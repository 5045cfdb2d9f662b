//! What can go wrong, and how callers are told.

use std::time::Duration;

use tocsin_contracts::Malformed;
use tocsin_domain::Invalid;
use tocsin_domain::access::Forbidden;
use tocsin_domain::incident::InvalidTransition;
use tocsin_transport::retry;
use tonic::Status;

/// Why the pager can't be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A setting is no good, or a secret can't be read.
    #[error(transparent)]
    Config(#[from] Invalid),
    /// The HTTP client can't be made.
    #[error("the http client of the pager: {0}")]
    Client(#[source] reqwest::Error),
}

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
    /// What a person keeps for themselves can't be kept for the deployment's own credential.
    #[error("a saved filter is a person's own: sign in")]
    NoPerson,
    /// The incident does not stand where it could be acknowledged.
    #[error(transparent)]
    Transition(#[from] InvalidTransition),
    /// A link or a receiver's post that nobody of ours signed.
    #[error("the signature is not one of ours")]
    BadSignature,
    /// A link that has run out.
    #[error("the link has run out")]
    LinkExpired,
    /// The page shows no reading, or it is not stored any more.
    #[error("the page has no picture, or its reading is not stored any more")]
    NoPicture,
    /// A newer page has been sent since.
    #[error("a newer page of the incident has been sent since: what it says is not yet known to whom this one went")]
    Overtaken,
    /// There is no destination of this name any more: what is sent there would wait for good.
    #[error("no destination is called {0:?} any more")]
    NoDestination(String),
    /// The database refused or did not answer.
    #[error(transparent)]
    Store(#[from] tocsin_store::Error),
    /// A destination's settings can't be used any more, as when its token is gone.
    #[error(transparent)]
    Setting(Invalid),
    /// The maintenance system did not take an order, or gave no reference.
    #[error("the maintenance system: {0}")]
    WorkOrders(String),
    /// A page's payload can't be read.
    #[error("page {key}: payload: {reason}")]
    UnreadablePage {
        /// The page's key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        use tocsin_store::Error as Store;
        let message = error.to_string();
        match error {
            Error::Malformed(malformed) => malformed.into(),
            Error::NoPrincipal | Error::BadSignature => Self::unauthenticated(message),
            Error::Forbidden(_) => Self::permission_denied(message),
            Error::Transition(_)
            | Error::NoPerson
            | Error::LinkExpired
            | Error::Overtaken
            | Error::NoDestination(_)
            | Error::Store(Store::Conflict { .. }) => Self::failed_precondition(message),
            Error::WorkOrders(_) => {
                tracing::warn!(error = message, "work could not be ordered");
                Self::unavailable(message)
            }
            Error::NoPicture | Error::Store(Store::NotFound { .. }) => Self::not_found(message),
            Error::Store(Store::AlreadyExists { .. }) => Self::already_exists(message),
            Error::Store(Store::Unavailable { .. }) => {
                tracing::warn!(error = message, "a call failed for now");
                retry::hint(Self::unavailable(message), Duration::from_secs(1))
            }
            Error::Store(Store::ImpossibleRow { .. } | Store::Migration(_) | Store::Database(_))
            | Error::Setting(_)
            | Error::UnreadablePage { .. } => {
                tracing::error!(error = message, "a call failed");
                Self::internal(message)
            }
        }
    }
}
