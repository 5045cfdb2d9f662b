//! Judges readings by several detectors, folds machine steps into incidents and commits it all together.
//!
//! ```text
//! Assess ──> gather ──> assess (scorer, and meanwhile the other detectors; levels, verdict)
//!                          └──> commit ─┬─ free:   machines with nothing flagged and nothing open; one transaction
//!                                       └─ folded: machines locked, window read, journal, incident, page
//! ```
//!
//! Batches that wait are assessed and committed together; a group that fails is split until only the bad batch is
//! refused. A machine that somebody else has locked is folded in a transaction of its own, so that nobody waits for it.
//!
//! A share of the readings is scored by the class's challenger too, after the commit; that judges nothing.
//!
//! **Invariant:** a reading is answered as stored only after the transaction that holds it, its machine's journal and
//! its page has committed.

mod assess;
mod baselines;
mod bindings;
mod commit;
mod config;
mod error;
mod fold;
mod gather;
mod metrics;
mod page;
mod partitions;
mod rescore;
mod scorer_builds;
mod service;
mod shadow;
mod signals;
mod ticket;
mod write;
mod zones;

pub use config::Config;
pub use service::{Ensemble, Parts, Service, build};
