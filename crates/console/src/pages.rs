//! The pages, one module each.

pub(crate) mod account;
pub(crate) mod acknowledge;
pub(crate) mod audit;
pub(crate) mod fleet;
pub(crate) mod floods;
pub(crate) mod incident;
pub(crate) mod incidents;
pub(crate) mod limits;
pub(crate) mod login;
pub(crate) mod machine;
pub(crate) mod models;
pub(crate) mod oidc;
pub(crate) mod performance;
pub(crate) mod review;
pub(crate) mod sensors;
pub(crate) mod start;
pub(crate) mod suppressions;
pub(crate) mod system;
pub(crate) mod verdict;

use crate::failure::Failure;
use crate::session::Session;

/// Any other address. Asks for the session first, so that it tells a stranger nothing.
pub(crate) async fn unknown(_session: Session) -> Failure {
    Failure::NotFound(String::new())
}
