//! What can be wrong with a corpus, in words for the person who made the file.

use std::path::PathBuf;

use parquet::errors::ParquetError;

/// Why a corpus can't be read or written. Rows are counted from 0, as data frames count them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be opened, written or renamed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not Parquet, is damaged, or can't be encoded.
    #[error("{}: {source}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the Parquet library said.
        source: ParquetError,
    },
    /// A column is missing or has another type.
    #[error("{}: column {column}: {reason}", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// One value of one row is not what its column should hold.
    #[error("{}: row {row}: column {column}: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The row, from 0.
        row: u64,
        /// The column.
        column: &'static str,
        /// What is wrong with the value.
        reason: String,
    },
}

impl Error {
    /// Whether the storage failed, which says nothing about the file.
    pub fn is_of_storage(&self) -> bool {
        matches!(
            self,
            Self::Io { .. }
                | Self::Parquet {
                    source: ParquetError::External(_),
                    ..
                }
        )
    }
}

/// A fault in a column or value, before it is known where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) column: &'static str,
    pub(crate) reason: String,
}

impl Fault {
    pub(crate) fn new(column: &'static str, reason: impl Into<String>) -> Self {
        Self {
            column,
            reason: reason.into(),
        }
    }

    /// The fault as one of a whole column of `path`.
    pub(crate) fn in_file(self, path: PathBuf) -> Error {
        Error::Column {
            path,
            column: self.column,
            reason: self.reason,
        }
    }

    /// The fault as one of row `row` of `path`.
    pub(crate) fn in_row(self, path: PathBuf, row: u64) -> Error {
        Error::Value {
            path,
            row,
            column: self.column,
            reason: self.reason,
        }
    }
}
