//! Corpora: Parquet files of readings that models are trained on, evaluated against and replayed from.
//!
//! A file has the columns `sensor` (text `site/machine/sensor`), `captured_at` (timestamp, UTC), `bins` (list of linear
//! amplitudes), and may have `rpm`, `load`, `label` and `split`; any other column is ignored and not read. [`Reader`]
//! streams rows by record batches, [`read_all`] collects those that pass a [`Filter`], [`Timeline`] brings rows of
//! several files into the order in which a plant would have sent them, and [`Writer`] writes the same schema.
//!
//! [`MaintenanceLog`] says when machines were known to be healthy and when not, and [`Division`] parts rows into those to
//! learn from, to set limits by and to test on, so that none leaks into another part.
//!
//! The archive of what was judged has a schema of its own, in object storage: [`archive`].
//!
//! **Invariant:** a [`Row`] that was read has a parsed name and finite amplitudes of zero or more, and within a file a
//! sensor has one number of bins. Whatever breaks this is an [`Error`] naming file, row, column and reason.

pub mod archive;
mod columns;
mod division;
mod error;
mod filter;
mod maintenance;
mod reader;
mod row;
mod timeline;
mod writer;

pub use division::{By, Division, DivisionError, Leak, leak};
pub use error::Error;
pub use filter::{Filter, Glob};
pub use maintenance::{Interval, LogError, MaintenanceLog, State};
pub use reader::{Progress, Reader, read_all, read_each, sensors};
pub use row::{Row, SensorName};
pub use timeline::{Cursor, MachineStep, Timeline};
pub use writer::Writer;
