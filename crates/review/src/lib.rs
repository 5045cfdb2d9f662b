//! What did we know, when, under which model and which limits: series, spectra and verdicts for people.
//!
//! Everything is derived from stored rows. A level is not stored, for the row names the threshold set that judged it, and
//! that set gives the level again, exactly, by the code that judged live. The reconstruction is asked of a
//! scorer, and left out when none answers. To explain a verdict, or to verify a period's, scores are made again as well, from
//! the stored spectra, by the models and baselines that the rows name: here, so that it costs those who judge nothing.
//!
//! Incidents are reviewed here: what is known of one is gathered as a document, drafts of what people conclude from it are kept, and
//! what is final is given as it was then, by the digest of its bytes. A document's readings leave as CSV and Parquet too.
//!
//! **Invariant:** what is shown of a reading is what was decided about it then, whatever limits are in force now.

mod channel;
mod config;
mod error;
mod export;
mod levels;
mod overall;
mod period;
mod record;
mod series;
mod service;

pub use config::Config;
pub use error::Error;
pub use service::{Parts, Review, Service, build};
