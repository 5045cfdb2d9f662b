//! The platform: chosen roles, put together and running.
//!
//! ```text
//! Platform::builder(config)
//!     .role(Role::Ingest) …          what this process plays
//!     .credential(…)                 the deployment's secret
//!     .store(…) .bundles(…) .clock(…)   in place of those the configuration names, for tests
//!     .start().await? ──> Running    everything bound, connected and running
//! ```
//!
//! All roles but the console share one server: one address, one stack, one verifier. A role calls another through the
//! same kind of channel whether that runs in this process or elsewhere; within the process the call goes down the same
//! stack, the service credential included.
//!
//! A stop has two phases, each with a limit: first what faces the outside (the server drains its calls while everything
//! behind it still runs), then the roles' background work.

mod assemble;
mod verify;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Error, Result, bail};
use tocsin_domain::Clock;
use tocsin_models::BundleStore;
use tocsin_store::{Schema, Store};
use tocsin_transport::Channel;
use tocsin_transport::auth::Token;
use tokio_util::sync::CancellationToken;

use crate::credential::ServiceCredential;
use crate::supervisor::Supervisor;
use crate::telemetry::inject;
use crate::{Config, Role};

/// The time the server gets beyond its own drain before it is cut off.
const BEYOND_DRAIN: Duration = Duration::from_secs(5);
/// How long the roles' background work may take to end.
const BACKGROUND: Duration = Duration::from_secs(15);

/// A platform being put together.
#[derive(Debug)]
pub struct Platform {
    config: Config,
    roles: Vec<Role>,
    credential: Option<ServiceCredential>,
    clock: Clock,
    store: Option<Store>,
    bundles: Option<BundleStore>,
    metrics: prometheus::Registry,
    migrate: bool,
}

impl Platform {
    /// Without roles yet.
    pub fn builder(config: Config) -> Self {
        Self {
            config,
            roles: Vec::new(),
            credential: None,
            clock: Clock::system(),
            store: None,
            bundles: None,
            metrics: prometheus::Registry::new(),
            migrate: false,
        }
    }

    /// Adds a role; one that is there already is no second one.
    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        if !self.roles.contains(&role) {
            self.roles.push(role);
        }
        self
    }

    /// Adds several.
    #[must_use]
    pub fn roles(self, roles: impl IntoIterator<Item = Role>) -> Self {
        roles.into_iter().fold(self, Self::role)
    }

    /// The deployment's own secret; when not given, it is taken from where the configuration says.
    #[must_use]
    pub fn credential(mut self, credential: ServiceCredential) -> Self {
        self.credential = Some(credential);
        self
    }

    /// Another "now" than the system's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// A database that is connected already; its owner closes it.
    #[must_use]
    pub fn store(mut self, store: Store) -> Self {
        self.store = Some(store);
        self
    }

    /// Bundles that are opened already.
    #[must_use]
    pub fn bundles(mut self, bundles: BundleStore) -> Self {
        self.bundles = Some(bundles);
        self
    }

    /// What `/metrics` shows.
    #[must_use]
    pub fn metrics(mut self, metrics: prometheus::Registry) -> Self {
        self.metrics = metrics;
        self
    }

    /// Brings the schema up to date at the start, for those that run alone.
    #[must_use]
    pub fn migrate(mut self) -> Self {
        self.migrate = true;
        self
    }

    /// Connects, binds and starts everything. Waits for a Postgres that doesn't answer yet as long as the configuration
    /// says, and logs that it does.
    ///
    /// # Errors
    /// If a setting is no good, an address can't be had, Postgres doesn't answer, or its schema is another than this
    /// binary's.
    pub async fn start(self) -> Result<Running> {
        if self.roles.is_empty() {
            bail!("there is nothing to run: name at least one --role");
        }
        // Clients of the pager use whichever provider the process has. Another may be installed: that one serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let environment = |name: &str| std::env::var(name).ok();
        let credential = match self.credential {
            Some(credential) => credential,
            None => self.config.service_credential(environment)?,
        };
        let connected = match (self.store, self.roles.iter().find(|role| role.needs_store())) {
            (Some(store), _) => Some(store),
            (None, Some(role)) if self.config.database.url.is_empty() => {
                bail!("database.url: {role} needs Postgres; set it, or TOCSIN_DATABASE_URL")
            }
            (None, Some(_)) => {
                tracing::info!("connecting to postgres");
                Some(Store::connect(&self.config.database).await?)
            }
            (None, None) => None,
        };
        if let Some(store) = &connected {
            if self.migrate {
                store.migrate().await?;
            }
            match store.schema().await? {
                Schema::Current => {}
                other => bail!("{other}"),
            }
        }
        let bundles = match (self.bundles, self.roles.iter().find(|role| role.needs_objects())) {
            (Some(bundles), _) => Some(bundles),
            (None, Some(role)) if self.config.objects.url.is_empty() => {
                bail!("objects.url: {role} needs object storage; set a folder or s3://bucket/prefix")
            }
            (None, Some(_)) => Some(BundleStore::open_with(
                &self.config.objects.url,
                &self.config.objects.settings,
            )?),
            (None, None) => None,
        };
        let assembly = assemble::Assembly {
            config: self.config,
            roles: self.roles,
            credential,
            clock: self.clock,
            store: connected,
            bundles,
            metrics: self.metrics,
        };
        assembly.start().await
    }
}

/// A platform at work.
#[derive(Debug)]
pub struct Running {
    grpc_addr: SocketAddr,
    console_addr: Option<SocketAddr>,
    metrics_addr: Option<SocketAddr>,
    channel: Channel,
    service_token: Token,
    drain: Duration,
    facing: Supervisor,
    background: Supervisor,
    store: Option<Store>,
}

impl Running {
    /// Where gRPC and the HTTP routes are served, with the port the system chose if 0 was asked for.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc_addr
    }

    /// Where the web pages are, if this process serves them.
    pub fn console_addr(&self) -> Option<SocketAddr> {
        self.console_addr
    }

    /// Where Prometheus scrapes without a credential.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_addr
    }

    /// A channel into this process's server, showing `token` with each call.
    pub fn channel(&self, token: &Token) -> Channel {
        self.channel.clone().with_token(token).on_request(inject)
    }

    /// The same as Tocsin's own roles come.
    pub fn service_channel(&self) -> Channel {
        self.channel(&self.service_token)
    }

    /// The database, if a role of this process uses it.
    pub fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// Returns when a part broke that must not, and how. Cancelling it loses nothing.
    pub async fn failed(&mut self) -> Error {
        tokio::select! {
            error = self.facing.failed() => error,
            error = self.background.failed() => error,
        }
    }

    /// Stops: calls under way may finish, then the background work, then what is left is cut off.
    pub async fn shutdown(mut self) {
        self.facing.stop(self.drain + BEYOND_DRAIN).await;
        self.background.stop(BACKGROUND).await;
    }
}

/// Runs a platform until `shutdown`, or until a part of it breaks.
///
/// # Errors
/// If it doesn't start, or a part broke.
pub async fn serve(platform: Platform, shutdown: CancellationToken) -> Result<()> {
    let mut running = tokio::select! {
        started = platform.start() => started?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let broken = tokio::select! {
        () = shutdown.cancelled() => None,
        error = running.failed() => Some(error),
    };
    if let Some(error) = &broken {
        tracing::error!("stopping, because a part broke: {error:#}");
    }
    running.shutdown().await;
    broken.map_or(Ok(()), Err)
}
