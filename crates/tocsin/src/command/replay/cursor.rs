//! The file that keeps the place a replay has reached.

use std::path::PathBuf;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::Reached;
use crate::command::corpora::Corpora;
use tocsin_corpus::Cursor;

/// Where the place is kept.
#[derive(Debug)]
pub(super) struct CursorFile(PathBuf);

impl CursorFile {
    /// The file given, or one in the temporary folder named by what is replayed and where to.
    pub(super) fn open(given: Option<PathBuf>, corpora: &Corpora, target: &str) -> Result<Self> {
        if let Some(path) = given {
            return Ok(Self(path));
        }
        let mut hash = Sha256::new();
        hash.update(target);
        hash.update(corpora.sensors.as_deref().unwrap_or_default());
        for path in &corpora.corpus {
            let path = path
                .canonicalize()
                .with_context(|| format!("--corpus {}", path.display()))?;
            hash.update(path.as_os_str().as_encoded_bytes());
        }
        let name = format!("tocsin-replay-{}.cursor", hex::encode(&hash.finalize()[..8]));
        Ok(Self(std::env::temp_dir().join(name)))
    }

    /// The place reached by an earlier run that was interrupted.
    pub(super) fn read(&self) -> Result<Reached> {
        match std::fs::read_to_string(&self.0) {
            Ok(text) => {
                let cursor: Cursor = text
                    .trim()
                    .parse()
                    .with_context(|| format!("--cursor {}", self.0.display()))?;
                tracing::info!(%cursor, "going on where an earlier replay stopped");
                Ok(Some(cursor))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("--cursor {}", self.0.display())),
        }
    }

    /// Keeps a place all of whose readings are acknowledged.
    pub(super) fn write(&self, cursor: &Cursor) -> Result<()> {
        let next = self.0.with_extension("next");
        std::fs::write(&next, cursor.to_string())
            .and_then(|()| std::fs::rename(&next, &self.0))
            .with_context(|| format!("--cursor {}", self.0.display()))
    }

    /// Forgets the place: the replay is complete.
    pub(super) fn remove(&self) -> Result<()> {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("--cursor {}", self.0.display()))
            }
            _ => Ok(()),
        }
    }
}
