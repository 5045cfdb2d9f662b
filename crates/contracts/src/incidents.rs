//! Incidents and their pages.

pub use crate::generated::incidents::v1;
