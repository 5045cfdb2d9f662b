//! Tocsin, put together: the roles on one server, the command line, configuration, telemetry and lifecycle.
//!
//! - [`Platform`] and [`serve`]: chosen roles, assembled and running; what every process and every end-to-end test runs.
//! - [`local::Local`]: the whole platform on one machine, with a private Postgres ([`cluster::Cluster`]).
//! - [`command::main`]: the command line, one file per command.
//!
//! Each component owns its `Config` and `build`; [`Config`] is their sum and [`Platform`] their order.
//!
//! **Invariant:** a process is either whole or gone: when any part of it ends unasked, it stops and says which.

pub mod client;
pub mod cluster;
pub mod command;
pub mod config;
pub mod credential;
pub mod data_dir;
pub mod local;
pub mod output;
pub mod platform;
pub mod publish;
mod role;
pub mod rollout;
pub mod signals;
mod supervisor;
pub mod telemetry;

pub use config::Config;
pub use platform::{Platform, Running, serve};
pub use role::Role;
