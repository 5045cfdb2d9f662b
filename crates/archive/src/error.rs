//! What can go wrong.

use tocsin_domain::Invalid;

/// Why something of the archive failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused or did not answer.
    #[error(transparent)]
    Store(#[from] tocsin_store::Error),
    /// A file can't be written or read.
    #[error("archive file {0}")]
    File(#[from] tocsin_corpus::Error),
    /// The object storage failed.
    #[error("object storage: {0}")]
    Objects(#[from] object_store::Error),
    /// A file holds a row that no reading has.
    #[error("archive file {path}: {invalid}")]
    Row {
        /// The file.
        path: String,
        /// What is wrong.
        invalid: Invalid,
    },
}

impl Error {
    /// Whether the object storage failed, which says nothing about what is stored: it may answer later.
    pub fn is_of_storage(&self) -> bool {
        match self {
            Self::Objects(error) => !matches!(error, object_store::Error::NotFound { .. }),
            Self::File(error) => error.is_of_storage(),
            Self::Store(_) | Self::Row { .. } => false,
        }
    }
}
