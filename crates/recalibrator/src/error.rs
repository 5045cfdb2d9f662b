//! What can go wrong, and how callers are told.

use std::time::Duration;

use tocsin_contracts::Malformed;
use tocsin_domain::access::Forbidden;
use tocsin_domain::lifecycle::ThresholdState;
use tocsin_domain::{Slug, ThresholdSetId};
use tocsin_judge::budget::NoneFits;
use tocsin_judge::threshold_set::LinesError;
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
    /// The class has no champion, and no bundle was named.
    #[error("class {0} has no champion: name a bundle")]
    NoChampion(Slug),
    /// The class has nothing that its champion could be compared with.
    #[error("class {0} has no challenger")]
    NoChallenger(Slug),
    /// There is nothing to compute from.
    #[error("there are no healthy scores to compute limits from: {0}")]
    NoScores(&'static str),
    /// Nothing of a period can be replayed.
    #[error("nothing can be replayed: {0}")]
    NothingLogged(&'static str),
    /// Nothing of a period can be scored anew.
    #[error("nothing can be scored anew: {0}")]
    NothingKept(&'static str),
    /// The period holds more than fits in memory.
    #[error("logged: the period holds more than {limit} readings: choose a shorter one")]
    TooManyScores {
        /// The most that are taken.
        limit: u32,
    },
    /// The scores carry no limits.
    #[error("no limits can be computed: {0}")]
    Lines(#[from] LinesError),
    /// No page factor keeps to the budget.
    #[error(transparent)]
    Budget(#[from] NoneFits),
    /// The set is not where it would have to be.
    #[error("threshold set {set} is {}, not {}", found.as_str(), expected.as_str())]
    WrongState {
        /// The set.
        set: ThresholdSetId,
        /// Where it is.
        found: ThresholdState,
        /// Where it would have to be.
        expected: ThresholdState,
    },
    /// Nobody agrees in the name of the deployment where a site asks for a second person.
    #[error(
        "threshold set {set} is approved by persons, and the deployment's own credential is none: {sites} asks for a second one"
    )]
    NoPerson {
        /// The set.
        set: ThresholdSetId,
        /// The sites that ask.
        sites: String,
    },
    /// No other limits were in force before.
    #[error("class {0} had no other limits before the present ones")]
    NothingBefore(Slug),
    /// A class has no limits whose successors could be proposed.
    #[error("class {0} has no limits in force")]
    NothingInForce(Slug),
    /// A sensor has sent too little lately to say where it stands.
    #[error("sensor: {readings} readings in the last period, {needed} are needed to tell where it stands")]
    NoPlateau {
        /// Those there are.
        readings: usize,
        /// Those it takes.
        needed: usize,
    },
    /// Something else changed a sensor's baseline in the same moment.
    #[error("sensor: its baseline has just been replaced, look at it again")]
    Overtaken,
    /// A stored set can't be read.
    #[error("threshold set {set}: {part}: {reason}")]
    Unreadable {
        /// The set.
        set: ThresholdSetId,
        /// `definition` or `provenance`.
        part: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The database refused or did not answer.
    #[error(transparent)]
    Store(#[from] tocsin_store::Error),
    /// The archive can't be read.
    #[error(transparent)]
    Archive(tocsin_archive::Error),
    /// The bundle can't be had.
    #[error(transparent)]
    Bundle(#[from] tocsin_models::StoreError),
    /// A bundle's network can't be run.
    #[error("the bundle's network: {0}")]
    Network(#[from] tocsin_models::NetworkError),
    /// A stored baseline is none.
    #[error(transparent)]
    Baseline(#[from] tocsin_detect::MalformedModel),
    /// A sensor's readings carry no baseline.
    #[error("no baseline can be learned: {0}")]
    NoBaseline(String),
    /// The computation was broken off.
    #[error("the computation broke off: {0}")]
    BrokenOff(#[from] tokio::task::JoinError),
}

impl Error {
    /// Whether it may be over by itself: the database or the object storage did not answer, or the computation broke off.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Store(tocsin_store::Error::Unavailable { .. }) | Self::BrokenOff(_) => true,
            Self::Archive(error) => error.is_of_storage(),
            _ => false,
        }
    }
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
        use tocsin_models::StoreError as Bundle;
        use tocsin_store::Error as Store;
        let message = error.to_string();
        match error {
            Error::Malformed(malformed) => malformed.into(),
            Error::NoPrincipal => Self::unauthenticated(message),
            Error::Forbidden(_) => Self::permission_denied(message),
            Error::TooManyScores { .. } => Self::invalid_argument(message),
            Error::NoChampion(_)
            | Error::NoChallenger(_)
            | Error::NoScores(_)
            | Error::NothingLogged(_)
            | Error::NothingKept(_)
            | Error::Lines(_)
            | Error::Budget(_)
            | Error::WrongState { .. }
            | Error::NoPerson { .. }
            | Error::NothingBefore(_)
            | Error::NothingInForce(_)
            | Error::NoBaseline(_)
            | Error::NoPlateau { .. }
            | Error::Store(Store::Conflict { .. }) => Self::failed_precondition(message),
            Error::Overtaken => Self::aborted(message),
            Error::Store(Store::NotFound { .. }) => Self::not_found(message),
            Error::Store(Store::AlreadyExists { .. }) => Self::already_exists(message),
            Error::Store(Store::Unavailable { .. }) | Error::Bundle(Bundle::ObjectStore { .. }) => {
                tracing::warn!(error = message, "a call failed for now");
                retry::hint(Self::unavailable(message), Duration::from_secs(1))
            }
            Error::Store(Store::ImpossibleRow { .. } | Store::Migration(_) | Store::Database(_))
            | Error::Bundle(
                Bundle::Address { .. } | Bundle::NotFound { .. } | Bundle::Damaged { .. } | Bundle::Bundle { .. },
            )
            | Error::Archive(_)
            | Error::Network(_)
            | Error::Baseline(_)
            | Error::Unreadable { .. }
            | Error::BrokenOff(_) => {
                tracing::error!(error = message, "a call failed");
                Self::internal(message)
            }
        }
    }
}
