//! What goes over the wire, and the only road between wire and domain.
//!
//! The generated messages, clients and servers live in one module per service, such as [`ingest::v1`]. Beside each stand
//! the conversions: `TryFrom` for what comes in, with the one error [`Malformed`], and `From` for what goes out. A service
//! never reads a wire field that has a domain type by itself.
//!
//! **Invariant:** whatever was parsed here and is written again means the same.

pub mod ensemble;
mod generated;
pub mod incident_review;
pub mod incidents;
pub mod ingest;
mod malformed;
mod methods;
pub mod registry;
pub mod scorer;
pub mod time;

pub use generated::{FILE_DESCRIPTOR_SET, access, fleet, recalibrator, review, training};
pub use malformed::Malformed;
pub use methods::{PUBLIC_METHODS, methods};
