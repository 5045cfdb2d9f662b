//! Ingest: readings from a site's gateways, checked, made canonical, handed to the ensemble, acknowledged.
//!
//! ```text
//! Publish (stream) ─┐                 door        load is shed here, with a retry hint
//! POST /v1/readings ┴─> batch ──────> admission   each reading parsed, looked up and encoded, or rejected by itself
//!                                     assessor    the rest to an ensemble; another replica, then again, until a deadline
//!                       answer <───── outcome     an ack after the ensemble's commit, or a refusal of the whole batch
//! ```
//!
//! **Invariant:** an acknowledged reading has been assessed and stored. There is no queue between a batch and its
//! answer: what is not acknowledged is the sender's to send again, and sending twice changes nothing.
//!
//! **Invariant:** the site comes from the credential. A reading names its sensor within that site and nothing else.
//!
//! # Which capture times are taken
//! - On the wall clock: from the site's `oldest` before the time of receipt to its `furthest` after it.
//! - On a historical stream there is no oldest age: it exists to bring the past. It may go back to 1990.
//! - On the capture clock "now" is the machine's own newest capture time, so no wall time bounds it: the years 1990 to
//!   2099, and on one stream not further behind the machine's newest reading than the site's `oldest`. A gap forward of
//!   any length is a gap, not an error.

mod admission;
mod assessor;
mod config;
mod directory;
mod door;
mod intake;
mod metrics;
mod publish;
mod readings_json;
mod service;
mod window;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tocsin_contracts::ingest::v1::ingest_service_server::IngestServiceServer;
use tocsin_domain::Clock;
use tocsin_store::Store;
use tocsin_transport::Replicas;

pub use config::{Config, MAX_BATCH_READINGS};
pub use service::Service;

use directory::Directory;
use intake::Intake;

/// The ingest role: a gRPC service and a route that share their limits and what they know of sensors.
#[derive(Debug, Clone)]
pub struct Ingest(Arc<Intake>);

/// Puts the role together. It does nothing by itself in the background.
///
/// `store`: to look sensors up and register new ones. `ensemble`: equal ensembles, with the service's credential and the
/// trace hook already on. Metrics go to the global meter provider: install it first.
pub fn build(config: &Config, store: Store, ensemble: Replicas, clock: Clock) -> Ingest {
    let directory = Directory::new(config, store);
    Ingest(Arc::new(Intake::new(config, directory, ensemble, clock)))
}

impl Ingest {
    /// The gRPC service, which takes messages of at most `max_message_bytes`.
    pub fn service(&self, max_message_bytes: usize) -> IngestServiceServer<Service> {
        IngestServiceServer::new(Service::new(Arc::clone(&self.0))).max_decoding_message_size(max_message_bytes)
    }

    /// `POST /v1/readings`, for [`Server::routes`](tocsin_transport::Server::routes).
    pub fn routes(&self) -> axum::Router {
        readings_json::routes(Arc::clone(&self.0))
    }
}
