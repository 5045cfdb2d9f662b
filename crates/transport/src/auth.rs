//! Who calls: a bearer token, an async verifier the service supplies, and the principal it yields as a request extension.
//!
//! The layer is generic over the principal `P`: a handler takes it with `request.extensions().get::<P>()`. Every path needs a
//! credential (reflection and unknown paths too), save those in the explicit list of [`Auth::public`].
//!
//! Verified credentials are remembered for a moment ([`Config::cache_ttl_ms`]), so that a busy gateway doesn't ask the database per
//! request. A stream outlives its first check: its handler takes the [`Reverify`] extension and ends when [`Reverify::revoked`] does.

mod cache;
mod token;

pub use token::{InvalidToken, Token};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tonic::Status;

use self::cache::Cache;
use crate::BoxFuture;
use crate::refusal::Protocol;
use crate::retry;

/// How long a verdict is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A verified credential is asked about again after this many milliseconds; 0 asks every time. It bounds how long a revoked token
    /// still opens new calls.
    pub cache_ttl_ms: u64,
    /// Remembered credentials; the one nearest its end gives way.
    pub cache_entries: usize,
    /// Streams ask again this often, in milliseconds; with `cache_ttl_ms` it bounds how long a revoked token's stream lives on.
    pub reverify_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cache_ttl_ms: 1_000,
            cache_entries: 4_096,
            reverify_ms: 2_000,
        }
    }
}

/// What a caller shows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Credential {
    /// The token of `authorization: Bearer …`.
    pub token: Token,
    /// The client's TLS certificate (DER), if the server asks for one; its chain has been checked.
    pub client_certificate: Option<ClientCertificate>,
}

/// The certificate (DER) a client proved to own in the TLS handshake. Also a request extension.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientCertificate(pub Arc<[u8]>);

/// Why a caller is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No credential, or not one bearer token.
    #[error("no credential: send one `authorization: Bearer <token>`")]
    Missing,
    /// The credential is not known, or no longer.
    #[error("the credential is unknown, revoked or expired")]
    Unknown,
    /// Nobody can say now: say, the database is down. The caller is kept out, and may try again. The reason is for the log alone.
    #[error("credentials can't be verified at the moment")]
    Unavailable {
        /// What failed.
        reason: String,
    },
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        let message = denied.to_string();
        match denied {
            Denied::Missing | Denied::Unknown => Self::unauthenticated(message),
            Denied::Unavailable { .. } => retry::hint(Self::unavailable(message), Duration::from_secs(1)),
        }
    }
}

/// The service's word on a credential: a clonable async function.
pub struct Verifier<P>(Arc<dyn Fn(Credential) -> BoxFuture<Result<P, Denied>> + Send + Sync>);

impl<P> Verifier<P> {
    /// Wraps `verify`. It is called outside any lock, and may be called for the same credential by several requests at once.
    pub fn new<F, Fut>(verify: F) -> Self
    where
        F: Fn(Credential) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<P, Denied>> + Send + 'static,
    {
        Self(Arc::new(move |credential| Box::pin(verify(credential))))
    }
}

impl<P> Clone for Verifier<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P> fmt::Debug for Verifier<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

/// A verifier, and the paths that go without it.
#[derive(Debug, Clone)]
pub struct Auth<P> {
    verifier: Verifier<P>,
    public: Vec<String>,
}

impl<P: Clone + Send + Sync + 'static> Auth<P> {
    /// Every path needs a credential.
    pub fn new(verifier: Verifier<P>) -> Self {
        Self {
            verifier,
            public: Vec::new(),
        }
    }

    /// Opens these paths to anyone, as they stand on the wire: `/grpc.health.v1.Health/Check`, `/healthz`. One that ends in `/*` opens all
    /// below it. A public call carries no principal, even if it shows a credential.
    #[must_use]
    pub fn public<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.public.extend(paths.into_iter().map(Into::into));
        self
    }

    /// The layer's state, its principal type erased.
    pub(crate) fn guard(self, config: &Config) -> Guard {
        let gate = Arc::new(Gate {
            verifier: self.verifier,
            public: self.public,
            cache: Cache::new(Duration::from_millis(config.cache_ttl_ms), config.cache_entries),
            reverify: Duration::from_millis(config.reverify_ms),
        });
        Guard(Arc::new(move |request, next| {
            Box::pin(Arc::clone(&gate).admit(request, next))
        }))
    }
}

/// Lets a long-lived stream ask whether its credential still holds. A request extension of every call that is not public.
#[derive(Clone)]
pub struct Reverify {
    check: Arc<dyn Fn() -> BoxFuture<Result<(), Denied>> + Send + Sync>,
    every: Duration,
}

impl Reverify {
    /// Asks now (an answer up to [`Config::cache_ttl_ms`] old will do).
    ///
    /// # Errors
    /// [`Denied::Unknown`] once the credential is revoked or expired; [`Denied::Unavailable`] if nobody can say.
    pub async fn still_valid(&self) -> Result<(), Denied> {
        (self.check)().await
    }

    /// Returns when the stream has to end, and why: select on it beside the stream's own work. Dropping it is free.
    ///
    /// A verifier that can't say is borne for three rounds, so that a database's hiccup doesn't end all streams at once; new calls are
    /// refused from the first.
    pub async fn revoked(&self) -> Denied {
        const BORNE: u32 = 3;
        let mut silent = 0;
        loop {
            tokio::time::sleep(self.every).await;
            match self.still_valid().await {
                Ok(()) => silent = 0,
                Err(Denied::Unavailable { .. }) if silent + 1 < BORNE => silent += 1,
                Err(denied) => return denied,
            }
        }
    }
}

impl fmt::Debug for Reverify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reverify")
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}

/// [`Auth`] at work, whatever its principal.
#[derive(Clone)]
pub(crate) struct Guard(Arc<dyn Fn(Request, Next) -> BoxFuture<Response> + Send + Sync>);

impl Guard {
    /// Lets everyone in, as nobody: for loopback only, which `Server::bind` sees to.
    pub(crate) fn open() -> Self {
        Self(Arc::new(|request, next| Box::pin(next.run(request))))
    }
}

/// The layer.
pub(crate) async fn authenticate(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    (guard.0)(request, next).await
}

struct Gate<P> {
    verifier: Verifier<P>,
    public: Vec<String>,
    cache: Cache<P>,
    reverify: Duration,
}

impl<P: Clone + Send + Sync + 'static> Gate<P> {
    async fn admit(self: Arc<Self>, mut request: Request, next: Next) -> Response {
        if self.is_public(request.uri().path()) {
            return next.run(request).await;
        }
        let verdict = match credential(&mut request) {
            None => Err(Denied::Missing),
            Some(credential) => self.verify(&credential).await.map(|principal| (credential, principal)),
        };
        match verdict {
            Ok((credential, principal)) => {
                let every = self.reverify;
                let check = Arc::new(move || -> BoxFuture<Result<(), Denied>> {
                    let (gate, credential) = (Arc::clone(&self), credential.clone());
                    Box::pin(async move { gate.verify(&credential).await.map(drop) })
                });
                request.extensions_mut().insert(principal);
                request.extensions_mut().insert(Reverify { check, every });
                next.run(request).await
            }
            Err(denied) => {
                if let Denied::Unavailable { reason } = &denied {
                    tracing::warn!(%reason, "credentials can't be verified, keeping callers out");
                }
                Protocol::of(request.headers()).refuse(denied.into())
            }
        }
    }

    /// Raw paths are compared, as the router compares them: neither decodes or cleans them, so they can't disagree.
    fn is_public(&self, path: &str) -> bool {
        self.public.iter().any(|public| match public.strip_suffix('*') {
            Some(prefix) if prefix.ends_with('/') => path.starts_with(prefix),
            _ => path == public,
        })
    }

    async fn verify(&self, credential: &Credential) -> Result<P, Denied> {
        if let Some(principal) = self.cache.get(credential) {
            return Ok(principal);
        }
        // Counted from before the question: an answer that took long is old when it comes.
        let asked = tokio::time::Instant::now();
        let verdict = (self.verifier.0)(credential.clone()).await;
        match &verdict {
            Ok(principal) => self.cache.put(credential.clone(), principal.clone(), asked),
            // A token that another request's older answer still holds open is closed by this newer one.
            Err(Denied::Unknown | Denied::Missing) => self.cache.forget(credential),
            Err(Denied::Unavailable { .. }) => {}
        }
        verdict
    }
}

/// The request's one bearer token; more than one is ambiguous, and counts as none.
fn credential(request: &mut Request) -> Option<Credential> {
    let client_certificate = request.extensions().get::<ClientCertificate>().cloned();
    let http::header::Entry::Occupied(mut entry) = request.headers_mut().entry(http::header::AUTHORIZATION) else {
        return None;
    };
    // So that a handler that logs its headers doesn't log the secret.
    entry.iter_mut().for_each(|value| value.set_sensitive(true));
    if entry.iter().count() != 1 {
        return None;
    }
    let (scheme, token) = entry.get().to_str().ok()?.split_once(' ')?;
    // RFC 9110, 11.1: the scheme's case doesn't matter.
    let token = scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| Token::parse(token.trim()))?
        .ok()?;
    Some(Credential {
        token,
        client_certificate,
    })
}
