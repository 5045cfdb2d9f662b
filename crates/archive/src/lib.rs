//! The archive: days of readings older than the hot ones become Parquet in object storage, and are read from there.
//!
//! ```text
//! Archiver::take ──> write files ──> read them back ──> keep the keys ──> drop the partition
//!                    readings/date=2026-11-01/site=lisbon/part-0001-0001.parquet   (part, attempt)
//! ```
//!
//! Each arrow is one [`Archiver::advance`], and the database says after which of them a part stands: a process that dies
//! in between leaves it to the next, which goes on from there. What one step did the step after it checks.
//!
//! Nothing of a row is lost but spectra that [`Thinning`] does not keep: those of flagged readings, around incidents, of
//! commissioning, and one a sensor and hour are kept, and every score, latent and overall level.
//!
//! [`Export`] writes the same files of what is hot, and copies those that are archived.
//!
//! **Invariant:** a reading is in a hot partition, or in a file of an archived part, and never in both or in none.

mod archiver;
mod config;
mod error;
mod export;
mod reader;
mod row;
mod run;
mod thinning;

pub use archiver::Archiver;
pub use config::Config;
pub use error::Error;
pub use export::Export;
pub use reader::{Cold, FullReadings, Portion, Reader, Replay, Replayed};
pub use run::{Background, Round};
pub use thinning::Thinning;
