//! The router, put together, and the server under it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use tocsin_domain::Clock;
use tocsin_transport::auth::{Auth, Denied, Verifier};
use tocsin_transport::server::{self, Bound};
use tocsin_transport::{Channel, Server};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Error};
use crate::routes::{Door, ROUTES, Route};
use crate::{compress, security, session};

/// The services the pages are made from. The channels must carry no credential of their own: each call shows the looker's.
#[derive(Debug, Clone)]
pub struct Services {
    /// `access.v1`.
    pub access: Channel,
    /// `fleet.v1`.
    pub fleet: Channel,
    /// `incidents.v1`.
    pub incidents: Channel,
    /// `review.v1`.
    pub review: Channel,
    /// `registry.v1`.
    pub registry: Channel,
    /// `recalibrator.v1`.
    pub recalibrator: Channel,
}

impl Services {
    /// One server that serves them all.
    pub fn all(channel: &Channel) -> Self {
        Self {
            access: channel.clone(),
            fleet: channel.clone(),
            incidents: channel.clone(),
            review: channel.clone(),
            registry: channel.clone(),
            recalibrator: channel.clone(),
        }
    }
}

/// What every handler shares.
pub(crate) struct Console {
    pub(crate) services: Services,
    pub(crate) clock: Clock,
    /// A machine not heard of for longer is silent.
    pub(crate) silent_after: Duration,
    /// Where gateways send, if it is known.
    pub(crate) ingest_url: Option<String>,
    /// The origin of `public_url`.
    pub(crate) origin: Option<String>,
    /// Browsers come over TLS.
    pub(crate) secure: bool,
}

pub(crate) type App = Arc<Console>;

/// The console's routes.
///
/// # Errors
/// [`Error::PublicUrl`].
pub fn build(config: &Config, services: Services, clock: Clock) -> Result<Router, Error> {
    let app: App = Arc::new(Console {
        services,
        clock,
        silent_after: config.silent_after(),
        ingest_url: config.ingest_url.clone(),
        origin: config.origin()?,
        secure: config.is_secure(),
    });
    let add = |router: Router<App>, route: &Route| router.route(route.path, (route.handler)());
    let (assets, pages): (Vec<_>, Vec<_>) = ROUTES.iter().partition(|route| route.door == Door::Assets);
    let (unasked, pages): (Vec<_>, Vec<_>) = pages
        .into_iter()
        .partition(|route| matches!(route.door, Door::Hook | Door::Api));
    let pages = pages
        .into_iter()
        .fold(Router::new(), add)
        // From the inside out: who isn't signed in is sent to sign in, pages are compressed, and nothing leaves without its headers.
        .layer(from_fn_with_state(Arc::clone(&app), session::send_to_sign_in))
        .layer(from_fn(compress::gzip));
    Ok(assets
        .into_iter()
        .fold(pages, add)
        .layer(from_fn_with_state(Arc::clone(&app), security::same_origin))
        // Programs post these: a signature or a bearer is looked at instead of the origin, which counts for a cookie alone.
        .merge(unasked.into_iter().fold(Router::new(), add))
        .layer(from_fn_with_state(Arc::clone(&app), security::headers))
        .with_state(app))
}

/// Takes the port.
///
/// # Errors
/// If the address is open to the network without TLS, if it can't be bound, or if a setting or file is no good.
pub async fn bind(config: &Config, services: Services, clock: Clock) -> Result<Bound, Error> {
    let routes = build(config, services, clock)?;
    let server = server::Config {
        listen: config.listen,
        tls: config.tls.clone(),
        drain_ms: config.drain_ms,
        ..server::Config::default()
    };
    // The pages ask for the session themselves, so that a person is sent to sign in rather than refused in JSON.
    let nobody = Verifier::new(|_| async { Err::<(), _>(Denied::Unknown) });
    let auth = Auth::new(nobody).public(["/*"]);
    Ok(Server::new(server, auth).routes(routes).bind().await?)
}

/// Serves until `shutdown` is cancelled, then drains.
///
/// # Errors
/// As [`bind`].
pub async fn run(config: &Config, services: Services, clock: Clock, shutdown: CancellationToken) -> Result<(), Error> {
    bind(config, services, clock).await?.run(shutdown).await;
    Ok(())
}
