//! A training that was broken off and goes on: where it stood after an epoch, in one file a round.
//!
//! **Invariant:** what goes on from a checkpoint ends in the same weights, bit for bit, as what was never broken off: the
//! file holds the network, the optimiser, the place of the random generator and the state of early stopping. It names the
//! rows, the network, the objective, the options and the seed it is of, and none other goes on from it.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{FitOptions, Rows, Stage};
use crate::network::Shape;
use crate::on_disk::OnDiskError;

/// The form of a checkpoint: another one is refused.
const FORMAT: u32 = 1;
/// Bytes before the header: its length.
const PREFIX: usize = 8;
/// How the names of checkpoints end, and of those that are being written.
const WHOLE: &str = "checkpoint";
const PARTIAL: &str = "partial";

/// Where checkpoints are kept, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoints {
    /// The folder; made where it is missing.
    pub folder: PathBuf,
    /// Epochs from one to the next; at least 1.
    pub every: u32,
    /// Go on from those that are there, if there are any; otherwise they are removed when the training begins.
    pub resume: bool,
}

impl Checkpoints {
    /// Removes what another training left in the folder, unless it is to be gone on from: a training that trims has a
    /// checkpoint a round, and the old ones of rounds it has not come to are not its own.
    pub(crate) fn begin(&self) -> Result<(), CheckpointError> {
        if self.resume {
            return Ok(());
        }
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|source| io(&self.folder, source))?,
        };
        for entry in entries {
            let entry = entry.map_err(|source| io(&self.folder, source))?;
            if entry.file_name().to_str().is_some_and(is_ours) {
                let path = entry.path();
                std::fs::remove_file(&path).map_err(|source| io(&path, source))?;
            }
        }
        Ok(())
    }
}

/// What the checkpoint of a round is called.
fn name(round: u32) -> String {
    format!("round-{round}.{WHOLE}")
}

/// Whether a file of the folder is a checkpoint, or one that was not written to its end.
fn is_ours(file: &str) -> bool {
    let rest = file.strip_prefix("round-").and_then(|rest| rest.split_once('.'));
    rest.is_some_and(|(round, kind)| round.parse::<u32>().is_ok() && [WHOLE, PARTIAL].contains(&kind))
}

/// Why a training can't keep a checkpoint or go on from one.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file or the folder can't be read or written.
    #[error("checkpoint {}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no checkpoint, is damaged, or is of another form.
    #[error("checkpoint {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is of another training.
    #[error("checkpoint {}: {field} is {theirs} there and {ours} here: this training can't go on from it", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What differs.
        field: &'static str,
        /// What the checkpoint says.
        theirs: String,
        /// What was asked for.
        ours: String,
    },
}

/// Why there is no network.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// Whoever asked broke it off.
    BrokenOff,
    /// Its checkpoint can't be kept, or not be gone on from.
    Checkpoint(CheckpointError),
    /// Its rows can't be read back.
    OnDisk(OnDiskError),
}

impl From<OnDiskError> for Stopped {
    fn from(error: OnDiskError) -> Self {
        Self::OnDisk(error)
    }
}

impl From<CheckpointError> for Stopped {
    fn from(error: CheckpointError) -> Self {
        Self::Checkpoint(error)
    }
}

/// What a training is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    /// SHA-256 of the rows, and of which are held out.
    data: String,
    network: String,
    objective: String,
    options: String,
    seed: u64,
}

impl Key {
    fn of(shape: Shape<'_>, rows: &Rows, options: FitOptions, seed: u64) -> Self {
        Self {
            data: rows.digest(),
            network: format!("{:?} {}-{}", shape.kind, shape.bins, shape.latent),
            objective: format!("{:?}", options.objective),
            options: format!("{options:?}"),
            seed,
        }
    }

    /// What differs first: its name, ours and theirs.
    fn difference(&self, theirs: &Self) -> Option<(&'static str, String, String)> {
        let pairs = [
            ("data", self.data.clone(), theirs.data.clone()),
            ("network", self.network.clone(), theirs.network.clone()),
            ("objective", self.objective.clone(), theirs.objective.clone()),
            ("seed", self.seed.to_string(), theirs.seed.to_string()),
            ("options", self.options.clone(), theirs.options.clone()),
        ];
        pairs.into_iter().find(|(_, ours, theirs)| ours != theirs)
    }
}

/// Where a training stands between two epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Times that a divergence was given less weight before.
    pub(super) collapses: u32,
    pub(super) stage: Stage,
    /// Epochs done of the stage.
    pub(super) epoch: u32,
    /// Epochs done of the search.
    pub(super) searched: u32,
    pub(super) best_epoch: u32,
    /// The losses as bits: they may be infinite.
    validation_loss: u64,
    training_loss: u64,
}

impl Position {
    /// Before the first epoch.
    pub(super) fn start(collapses: u32) -> Self {
        let never = f64::INFINITY.to_bits();
        Self {
            collapses,
            stage: Stage::Search,
            epoch: 0,
            searched: 0,
            best_epoch: 0,
            validation_loss: never,
            training_loss: never,
        }
    }

    pub(super) fn validation_loss(&self) -> f64 {
        f64::from_bits(self.validation_loss)
    }

    pub(super) fn training_loss(&self) -> f64 {
        f64::from_bits(self.training_loss)
    }

    /// An epoch of the search is done.
    pub(super) fn searched(&mut self, validation_loss: f64) {
        (self.epoch, self.searched) = (self.epoch + 1, self.searched + 1);
        if validation_loss < self.validation_loss() {
            self.best_epoch = self.epoch;
            self.validation_loss = validation_loss.to_bits();
        }
    }

    /// The search is over.
    pub(super) fn refit(&mut self) {
        (self.stage, self.epoch) = (Stage::Refit, 0);
    }

    /// An epoch of the refit is done.
    pub(super) fn refitted(&mut self, training_loss: f64) {
        self.epoch += 1;
        self.training_loss = training_loss.to_bits();
    }
}

/// A run between two epochs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) network: Vec<u8>,
    pub(super) optimizer: Vec<u8>,
    /// Words drawn from the generator.
    pub(super) drawn: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    key: Key,
    position: Position,
    drawn: u64,
    network_bytes: usize,
    /// SHA-256 of the position and what belongs to it, and of what follows the header: the network, then the optimiser.
    sha256: String,
}

fn digest(position: &Position, drawn: u64, network_bytes: usize, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{position:?} {drawn} {network_bytes} "));
    hash.update(body);
    hex::encode(hash.finalize())
}

/// Keeps the checkpoints of one round of a training.
#[derive(Debug)]
pub(super) struct Keeper {
    path: PathBuf,
    every: u32,
    resume: bool,
    key: Key,
}

impl Keeper {
    /// Of a round of a training: each has a file of its own.
    pub(super) fn new(
        checkpoints: &Checkpoints,
        round: u32,
        shape: Shape<'_>,
        rows: &Rows,
        options: FitOptions,
        seed: u64,
    ) -> Result<Self, CheckpointError> {
        let folder = &checkpoints.folder;
        std::fs::create_dir_all(folder).map_err(|source| io(folder, source))?;
        Ok(Self {
            path: folder.join(name(round)),
            every: checkpoints.every.max(1),
            resume: checkpoints.resume,
            key: Key::of(shape, rows, options, seed),
        })
    }

    /// Where to go on, if there is a checkpoint and it is to be gone on from.
    pub(super) fn found(&self) -> Result<Option<(Position, Snapshot)>, CheckpointError> {
        if !self.resume {
            return Ok(None);
        }
        match std::fs::read(&self.path) {
            Ok(bytes) => self.parse(&bytes).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(io(&self.path, source)),
        }
    }

    fn parse(&self, bytes: &[u8]) -> Result<(Position, Snapshot), CheckpointError> {
        let (header, body) = self.split(bytes)?;
        if let Some((field, ours, theirs)) = self.key.difference(&header.key) {
            let path = self.path.clone();
            return Err(CheckpointError::Other {
                path,
                field,
                theirs,
                ours,
            });
        }
        let found = digest(&header.position, header.drawn, header.network_bytes, body);
        if found != header.sha256 || header.network_bytes > body.len() {
            return Err(self.unreadable("it is damaged: its content has another digest than its header says"));
        }
        let (network, optimizer) = body.split_at(header.network_bytes);
        let snapshot = Snapshot {
            network: network.to_vec(),
            optimizer: optimizer.to_vec(),
            drawn: header.drawn,
        };
        Ok((header.position, snapshot))
    }

    /// The header and what follows it.
    fn split<'a>(&self, bytes: &'a [u8]) -> Result<(Header, &'a [u8]), CheckpointError> {
        let short = || self.unreadable("it is no checkpoint, or ends too early");
        let (length, rest) = bytes.split_first_chunk::<PREFIX>().ok_or_else(short)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| short())?;
        let (header, body) = rest.split_at_checked(length).ok_or_else(short)?;
        let header: Header = serde_json::from_slice(header).map_err(|error| self.unreadable(error))?;
        if header.format != FORMAT {
            return Err(self.unreadable(format!("form {} is not {FORMAT}", header.format)));
        }
        Ok((header, body))
    }

    pub(super) fn unreadable(&self, reason: impl ToString) -> CheckpointError {
        CheckpointError::Unreadable {
            path: self.path.clone(),
            reason: reason.to_string(),
        }
    }

    /// Whether a checkpoint is due after this epoch: each few of them, and the last of all.
    pub(super) fn is_due(&self, position: &Position) -> bool {
        let last = position.stage == Stage::Refit && position.epoch == position.best_epoch;
        last || position.epoch.is_multiple_of(self.every)
    }

    /// Writes a checkpoint in the place of the last: whole or not at all.
    pub(super) fn keep(&self, position: Position, snapshot: &Snapshot) -> Result<(), CheckpointError> {
        let body = [snapshot.network.as_slice(), &snapshot.optimizer].concat();
        let header = Header {
            format: FORMAT,
            key: self.key.clone(),
            position,
            drawn: snapshot.drawn,
            network_bytes: snapshot.network.len(),
            sha256: digest(&position, snapshot.drawn, snapshot.network.len(), &body),
        };
        let header = serde_json::to_vec(&header).map_err(|error| self.unreadable(error))?;
        let partial = self.path.with_extension(PARTIAL);
        let write = || {
            let mut file = std::fs::File::create(&partial)?;
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(&header)?;
            file.write_all(&body)?;
            file.sync_all()?;
            std::fs::rename(&partial, &self.path)
        };
        write().map_err(|source| io(&self.path, source))
    }
}

fn io(path: &Path, source: std::io::Error) -> CheckpointError {
    CheckpointError::Io {
        path: path.to_path_buf(),
        source,
    }
}
