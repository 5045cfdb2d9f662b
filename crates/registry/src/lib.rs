//! The registry: model versions and what judges each class, the fleet's assets, and who may do what.
//!
//! Three services over one store: `registry.v1` ([`bundles`]), `fleet.v1` ([`fleet`]) and `access.v1` ([`access`]). A
//! pushed bundle is tried in a child process with limits ([`verify`]) before anything may load it.
//!
//! **Invariant:** the actor of every change is the call's principal, and every change is in the audit: its entry is of the
//! change's own transaction.

pub mod access;
pub mod bundles;
mod config;
mod context;
mod error;
pub mod fleet;
pub mod secret;
pub mod verify;

use tocsin_contracts::access::v1::access_service_server::AccessServiceServer;
use tocsin_contracts::fleet::v1::fleet_service_server::FleetServiceServer;
use tocsin_contracts::registry::v1::registry_service_server::RegistryServiceServer;
use tocsin_domain::Clock;
use tocsin_models::BundleStore;
use tocsin_store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use error::Error;

use access::Access;
use bundles::Bundles;
use context::Context;
use fleet::Fleet;

/// The services of this role, to be put on a server, and the work beside them.
#[derive(Debug)]
pub struct Registry {
    /// `access.v1`.
    pub access: AccessServiceServer<Access>,
    /// `fleet.v1`.
    pub fleet: FleetServiceServer<Fleet>,
    /// `registry.v1`.
    pub bundles: RegistryServiceServer<Bundles>,
    /// To be run beside the server.
    pub background: Background,
}

/// Hears of changed bindings on behalf of the watchers.
#[derive(Debug)]
pub struct Background {
    store: Store,
    watchers: watch::Sender<u64>,
}

impl Background {
    /// Runs until `shutdown`. Without it watchers still learn of changes, by looking every few seconds.
    pub async fn run(self, shutdown: CancellationToken) {
        bundles::listen(self.store, self.watchers, shutdown).await;
    }
}

/// Puts the services together.
///
/// # Errors
/// [`Error::Verifier`] when no verifier is configured and this binary can't be found; [`Error::Oidc`] when a setting of the
/// identity provider is no good.
pub fn build(config: Config, store: Store, blobs: BundleStore, clock: Clock) -> Result<Registry, Error> {
    let verifier = verify::Verifier::new(config.verify)?;
    let context = Context {
        store: store.clone(),
        clock,
    };
    let (watchers, changes) = watch::channel(0);
    let bundles = Bundles::new(config.bundles, context.clone(), blobs, verifier, changes);
    Ok(Registry {
        access: AccessServiceServer::new(Access::new(config.access, context.clone())?),
        fleet: FleetServiceServer::new(Fleet::new(&config.fleet, context)),
        bundles: RegistryServiceServer::new(bundles),
        background: Background { store, watchers },
    })
}
