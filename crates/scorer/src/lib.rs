//! The scorer: spectra in, reconstruction errors and latents out, by the bundle each request names.
//!
//! It holds no state that a score depends on: a request names its bundle by digest and carries its spectra, so any
//! scorer gives the same answer, and switching a class to another bundle is nothing but other digests in the requests.
//!
//! ```text
//! request ──> catalogue   the bundle's network, loaded once and its digest checked
//!         ──> pieces      of at most 128 rows, so that a large request is worked on by several threads
//!         ──> queue       bounded in rows; one lane per bundle, lanes take turns
//!         ──> workers     threads apart from the async runtime, each with sessions of its own; what waits in a lane
//!                         is scored together, whoever sent it
//! ```
//!
//! [`Scorer::run`] watches the registry and loads champions and challengers before anybody asks for them. Networks that
//! are no longer bound stay until nobody has used them for a while.
//!
//! **Invariant:** a row's score depends on its codes, its full scale and its bundle alone, not on what it was batched
//! with (the models crate keeps the bits).

mod catalogue;
mod config;
mod metrics;
mod queue;
mod service;
mod watch;
mod worker;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tocsin_contracts::scorer::v1::scorer_service_server::ScorerServiceServer;
use tocsin_models::{BundleStore, Session};
use tocsin_transport::Replicas;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use service::Service;

use catalogue::Catalogue;
use worker::Workers;

/// A scorer with its threads at work.
///
/// They end, after the work that waits, when this and every [`Service`] made of it are gone.
#[derive(Debug, Clone)]
pub struct Scorer {
    catalogue: Arc<Catalogue>,
    workers: Arc<Workers>,
}

/// Starts the threads.
///
/// Metrics go to the global meter provider: install it first.
///
/// # Errors
/// If the system gives no thread.
pub fn build(config: &Config, bundles: BundleStore) -> std::io::Result<Scorer> {
    build_with(config, bundles, Session::run)
}

/// The same, with the step that a test wants to fail.
fn build_with(config: &Config, bundles: BundleStore, run: worker::Run) -> std::io::Result<Scorer> {
    Ok(Scorer {
        catalogue: Arc::new(Catalogue::new(config, bundles)),
        workers: Arc::new(Workers::start(config, run)?),
    })
}

impl Scorer {
    /// The gRPC service, which takes requests of at most `max_message_bytes`.
    pub fn service(&self, max_message_bytes: usize) -> ScorerServiceServer<Service> {
        let service = Service::new(Arc::clone(&self.catalogue), Arc::clone(&self.workers));
        ScorerServiceServer::new(service)
            .max_decoding_message_size(max_message_bytes)
            .max_encoding_message_size(max_message_bytes)
    }

    /// Keeps the networks of champions and challengers loaded, as `registry` names them, and drops those that nobody
    /// used for a while; until `shutdown`. A registry that can't be reached costs nothing but the preloading.
    pub async fn run(self, registry: Replicas, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = watch::preload(&self.catalogue, &registry) => {}
            () = watch::sweep(&self.catalogue) => {}
        }
    }
}
