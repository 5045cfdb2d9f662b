//! Why a batch can't be assessed, and the status it gets.

use std::sync::Arc;
use std::time::Duration;

use tocsin_transport::retry;
use tonic::Status;

/// Why a whole batch was not assessed. Shared by every batch of a group that failed together.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// Too much waits already.
    #[error("{waiting} readings are waiting to be judged")]
    Overloaded {
        /// Readings waiting.
        waiting: usize,
    },
    /// What judges each class is not known yet.
    #[error("the registry has not said yet what judges each class")]
    NoBindings,
    /// What each sensor is held against is not known yet.
    #[error("the sensors' baselines have not been read yet")]
    NoBaselines,
    /// What each class says of its overall levels is not known yet.
    #[error("the classes' severity zones have not been read yet")]
    NoZones,
    /// The store is out of reach.
    #[error("{0}")]
    Unavailable(Arc<tocsin_store::Error>),
    /// The role is shutting down.
    #[error("shutting down")]
    Closing,
}

impl Failure {
    /// When it may be worth trying again.
    const RETRY: Duration = Duration::from_millis(500);
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let message = failure.to_string();
        match failure {
            Failure::Overloaded { .. } => retry::hint(Self::resource_exhausted(message), Failure::RETRY),
            Failure::NoBindings
            | Failure::NoBaselines
            | Failure::NoZones
            | Failure::Unavailable(_)
            | Failure::Closing => retry::hint(Self::unavailable(message), Failure::RETRY),
        }
    }
}
