//! Postgres: one file per aggregate, SQL beside its private row struct, checked at compile time.
//!
//! A [`Store`] is a pool and a little memory; clones share both. Methods are named noun first (`incident_get`). Those
//! that take part in a transaction take a `&mut PgConnection` from [`Store::begin`] and the caller commits; the others
//! stand alone. Every call on site data takes a [`Scope`](tocsin_domain::Scope), or the one site of a gateway.
//!
//! **Invariant:** rows are distrusted. Each is read into a private struct and parsed into a domain value; one that
//! can't be is [`Error::ImpossibleRow`] with its table, column and key, never a default.
//!
//! **Invariant:** locks are taken in one order everywhere (machine states by machine, then incidents; readings by
//! sensor and capture time), so that two replicas wait for each other but never deadlock.

pub mod access;
pub mod archive;
pub mod baseline;
pub mod binding;
pub mod bundle;
pub mod changes;
pub mod commissioning;
mod error;
pub mod export;
pub mod fleet;
pub mod following;
pub mod incident;
pub mod label;
pub mod machine;
pub mod outbox;
pub mod partition;
pub mod performance;
mod pool;
pub mod reading;
mod row;
mod schema;
pub mod scorer_build;
pub mod sensor_alarm;
pub mod shadow;
pub mod signal;
pub mod suppression;
pub mod threshold;
pub mod training_job;

pub use changes::{Changes, Channel};
pub use error::Error;
pub use pool::{Config, MIGRATOR, Store};
pub use schema::Schema;
pub use sqlx::{PgConnection, PgPool};

/// A transaction begun by [`Store::begin`]; dropped without `commit`, it rolls back.
pub type Transaction = sqlx::Transaction<'static, sqlx::Postgres>;

/// The result of a store call.
pub type Result<T, E = Error> = std::result::Result<T, E>;
