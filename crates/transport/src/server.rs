//! The server: services and routes on one port, behind one stack.
//!
//! ```text
//! Server::new(config, auth)      who may call, and the limits
//!     .service(…) .routes(…)     what is served
//!     .reflection(…)             and described
//!     .bind().await?             refuses to be open to the network without TLS and credentials
//!     .run(shutdown).await       until `shutdown` is cancelled, then soft, then hard
//! ```
//!
//! Shutdown has two stages. Soft: health says `NOT_SERVING`, the port closes, [`Draining`] is announced, and what runs may finish within
//! [`Config::drain_ms`]. Hard: connections are cut. **Streams must end themselves on the soft stage**: a handler takes the [`Draining`]
//! extension from its request, or its service holds [`Server::draining`]; both are the same signal.

mod accept;
mod config;
mod deadline;
mod health;
mod panic;
mod shed;
mod stack;
mod trace;

pub use accept::Bound;
pub use config::Config;
pub use health::Health;
pub use stack::Stack;

pub(crate) use shed::InProcess;
pub(crate) use stack::{Boxed, Late};

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;

use axum::extract::DefaultBodyLimit;
use axum::response::IntoResponse;
use http::{HeaderMap, Request};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tower::Service;

use crate::auth::{Auth, Guard};
use crate::channel::Channel;
use crate::tls;

/// Called with each request's headers and its span, so that the binary can give the span a parent from another process.
pub type OnRequest = fn(&HeaderMap, &tracing::Span);

/// Why a server doesn't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Open to the network in clear text.
    #[error("listen: {0} is not a loopback address, so `tls` must be set (certificate and key)")]
    NeedsTls(SocketAddr),
    /// Open to the network for anyone.
    #[error(
        "listen: {0} is not a loopback address, so callers must show credentials, and this server was given no verifier"
    )]
    NeedsCredentials(SocketAddr),
    /// The address can't be had.
    #[error("listen: can't bind {address}: {source}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Certificate or key.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The bytes given to [`Server::reflection`].
    #[error("reflection: not a file descriptor set: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// The signal of the soft stage, a request extension: a stream ends itself when it comes.
#[derive(Debug, Clone)]
pub struct Draining(CancellationToken);

impl Draining {
    /// Returns when the server wants to stop.
    pub async fn started(&self) {
        self.0.cancelled().await;
    }

    /// Whether it does already.
    pub fn is_started(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// A server being put together.
pub struct Server {
    config: Config,
    guard: Option<Guard>,
    services: Routes,
    routes: axum::Router,
    descriptors: Vec<Vec<u8>>,
    health: Health,
    on_request: OnRequest,
    draining: CancellationToken,
    late: Late,
}

impl Server {
    /// A server that asks `auth` about every caller.
    pub fn new<P: Clone + Send + Sync + 'static>(config: Config, auth: Auth<P>) -> Self {
        let guard = auth.guard(&config.auth);
        Self {
            guard: Some(guard),
            ..Self::open(config)
        }
    }

    /// A server that lets everyone in, as nobody: [`Server::bind`] allows it on loopback alone.
    pub fn open(config: Config) -> Self {
        Self {
            config,
            guard: None,
            // Not `default()`: its fallback speaks gRPC to everyone, and two routers with fallbacks don't merge.
            services: Routes::from(axum::Router::new()),
            routes: axum::Router::new(),
            descriptors: vec![tonic_health::pb::FILE_DESCRIPTOR_SET.to_vec()],
            health: Health::default(),
            on_request: |_, _| (),
            draining: CancellationToken::new(),
            late: Late::default(),
        }
    }

    /// Adds a gRPC service; its health is SERVING under its full name until [`Server::health`] says otherwise.
    ///
    /// tonic keeps the size limit of messages in each generated service: pass it [`Server::max_message_bytes`] by its
    /// `max_decoding_message_size`, or tonic's own 4 MiB hold.
    ///
    /// # Panics
    /// If a service of that name is there already.
    #[must_use]
    pub fn service<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        self.health.register(S::NAME);
        self.services = self.services.add_service(service);
        self
    }

    /// Adds plain HTTP routes, behind the same stack; bodies are limited to [`Config::max_message_bytes`]. A fallback set on `routes` is
    /// not used: an unknown path is a 404, after the credential.
    ///
    /// # Panics
    /// If a path is there already.
    #[must_use]
    pub fn routes(mut self, routes: axum::Router) -> Self {
        let limit = DefaultBodyLimit::max(self.config.max_message_bytes.get());
        self.routes = self.routes.merge(routes.reset_fallback().layer(limit));
        self
    }

    /// Describes services to tools such as grpcurl: an encoded `google.protobuf.FileDescriptorSet`. The reflection service is there in
    /// any case, and describes health.
    #[must_use]
    pub fn reflection(mut self, file_descriptor_set: impl Into<Vec<u8>>) -> Self {
        self.descriptors.push(file_descriptor_set.into());
        self
    }

    /// Gives each request's span to `hook`, with the request's headers.
    #[must_use]
    pub fn on_request(mut self, hook: OnRequest) -> Self {
        self.on_request = hook;
        self
    }

    /// The largest message, in bytes, for the generated services' `max_decoding_message_size`.
    pub fn max_message_bytes(&self) -> usize {
        self.config.max_message_bytes.get()
    }

    /// The handle to say what is serving.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// The signal of the soft stage, for services that hold it rather than take [`Draining`] from requests.
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// A channel to this server from within the process, to be had before its services are complete: so a service may call its
    /// neighbour. UNAVAILABLE before [`Server::bind`] or [`Server::assemble`], and after the server is gone.
    pub fn channel(&self) -> Channel {
        Channel::late(&self.late)
    }

    /// The whole stack, for [`Channel::in_process`], without a port.
    ///
    /// # Errors
    /// [`Error::Reflection`].
    pub fn assemble(self) -> Result<Stack, Error> {
        self.assembled().map(|(_, _, stack)| stack)
    }

    /// Takes the port. Nothing is accepted before [`Bound::run`], though callers may connect.
    ///
    /// # Errors
    /// If the address is open to the network without TLS and credentials, if it can't be bound, or if a file is no good.
    pub async fn bind(self) -> Result<Bound, Error> {
        let listen = self.config.listen;
        // ::ffff:127.0.0.1 is loopback as well.
        if !listen.ip().to_canonical().is_loopback() {
            if self.config.tls.is_none() {
                return Err(Error::NeedsTls(listen));
            }
            if self.guard.is_none() {
                return Err(Error::NeedsCredentials(listen));
            }
        }
        let tls = self.config.tls.as_ref().map(tls::server).transpose()?;
        let bind = |source| Error::Bind {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(bind)?;
        let local_addr = listener.local_addr().map_err(bind)?;
        let (config, health, stack) = self.assembled()?;
        Ok(Bound {
            local_addr,
            listener,
            tls,
            config,
            health,
            stack,
        })
    }

    fn assembled(mut self) -> Result<(Config, Health, Stack), Error> {
        let describe = || {
            let register = tonic_reflection::server::Builder::register_encoded_file_descriptor_set;
            self.descriptors
                .iter()
                .fold(tonic_reflection::server::Builder::configure(), |builder, set| {
                    register(builder, set)
                })
        };
        // grpcurl asks for v1 and falls back to v1alpha; older tools know the latter alone.
        let (v1, v1alpha) = (describe().build_v1()?, describe().build_v1alpha()?);
        self.services = self
            .services
            .add_service(v1)
            .add_service(v1alpha)
            .add_service(self.health.service());
        let routes = self
            .services
            .into_axum_router()
            .merge(self.routes)
            .fallback(stack::unknown);
        let limits = stack::Limits::of(&self.config);
        let guard = self.guard.unwrap_or_else(Guard::open);
        let stack = stack::build(routes, guard, &limits, self.on_request, self.draining, &self.late);
        Ok((self.config, self.health, stack))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("config", &self.config)
            .field("health", &self.health)
            .finish_non_exhaustive()
    }
}
