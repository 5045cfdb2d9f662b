//! What can be wrong with a bundle, with its network, or with the store that keeps it.

use tocsin_domain::BundleDigest;

/// Why bytes or files are not a bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The archive holds something no bundle holds, or lacks something every bundle has.
    #[error("archive: {reason}")]
    Archive {
        /// What is wrong, with the entry's name where there is one.
        reason: String,
    },
    /// A file of the bundle cannot be used.
    #[error("{file}: {reason}")]
    File {
        /// Name of the file in the bundle.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A folder cannot be read or written.
    #[error("{path}: {source}")]
    Folder {
        /// Path of the file or folder.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl BundleError {
    pub(crate) fn archive(reason: impl Into<String>) -> Self {
        Self::Archive { reason: reason.into() }
    }

    pub(crate) fn file(file: &str, reason: impl ToString) -> Self {
        Self::File {
            file: file.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// Why a network cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The model does not keep the contract of its file.
    #[error("{file}: {reason}")]
    Contract {
        /// Name of the file in the bundle.
        file: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The inference engine refused the model or failed while running it.
    #[error("{file}: inference failed: {reason}")]
    Engine {
        /// Name of the file in the bundle.
        file: &'static str,
        /// The engine's words.
        reason: String,
    },
    /// The rows given do not fit the model.
    #[error("{field}: {reason}")]
    Input {
        /// Name of the argument.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why the store cannot give or take a bundle.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address is not one the store understands.
    #[error("bundle store address {url:?}: {reason}")]
    Address {
        /// The address given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such bundle.
    #[error("bundle {digest}: not in the store")]
    NotFound {
        /// The bundle asked for.
        digest: BundleDigest,
    },
    /// What is stored is not what was asked for.
    #[error("bundle {digest}: damaged in the store: {reason}")]
    Damaged {
        /// The bundle asked for.
        digest: BundleDigest,
        /// Which file differs, or what digest was found in its place.
        reason: String,
    },
    /// The bundle is whole but not usable.
    #[error("bundle {digest}: {source}")]
    Bundle {
        /// The bundle asked for.
        digest: BundleDigest,
        /// What is wrong with it.
        source: BundleError,
    },
    /// The object store failed.
    #[error("bundle {digest}: object store: {source}")]
    ObjectStore {
        /// The bundle asked for.
        digest: BundleDigest,
        /// Why.
        source: object_store::Error,
    },
}
