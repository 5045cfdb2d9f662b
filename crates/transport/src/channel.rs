//! One channel type for calls to another machine and calls within the process.
//!
//! A generated tonic client runs over a [`Channel`] as over tonic's own: `ScorerServiceClient::new(channel)`. A remote channel connects
//! when it is first used, and again when the connection is lost; one in the process goes down the same [`Stack`], authentication
//! included. Wrappers (`with_token`, `with_deadline`, `on_request`) work on either.

mod config;
mod remote;
mod replicas;

pub use config::{Config, Error};
pub use replicas::Replicas;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use tonic::Status;
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt, service_fn};

use crate::auth::Token;
use crate::server::{Boxed, InProcess, Late, Stack};
use crate::{BoxFuture, deadline};

/// A channel to a server: clonable, cheaply so.
#[derive(Clone)]
pub struct Channel {
    service: BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>,
    to: Arc<str>,
}

impl Channel {
    /// Over the network, to the one URL of `config`; of several, [`Replicas::remote`] makes a channel each. Must be called within a tokio
    /// runtime; connects when first used.
    ///
    /// # Errors
    /// If a field of `config` is no good. That nobody answers is not known yet.
    pub fn remote(config: &Config) -> Result<Self, Error> {
        match config.urls.as_slice() {
            [url] => remote::channel(config, 0, url),
            urls => Err(Error::NotOne(urls.len())),
        }
    }

    /// Into a server of this process, whose stack this channel keeps alive. A service that calls the server it belongs to takes
    /// [`Server::channel`](crate::Server::channel) instead.
    pub fn in_process(stack: Stack) -> Self {
        Self::inside(move || Some(stack.service()))
    }

    /// Into a server of this process that may not be there yet, or any more.
    pub(crate) fn late(late: &Late) -> Self {
        let late = Arc::downgrade(late);
        Self::inside(move || late.upgrade()?.get().cloned())
    }

    fn inside(find: impl Fn() -> Option<Boxed> + Clone + Send + Sync + 'static) -> Self {
        let service = service_fn(move |mut request: Request<Body>| {
            let server = find();
            async move {
                let Some(server) = server else {
                    let mut status = Status::unavailable("the server of this process isn't up");
                    status.set_source(Arc::new(Unsent));
                    return Err(status.into());
                };
                request.extensions_mut().insert(InProcess);
                let Ok(response) = server.oneshot(request.map(axum::body::Body::new)).await;
                Ok(response.map(Body::new))
            }
        });
        Self::new(service, "in-process").with_deadline(None)
    }

    fn new<S>(service: S, to: &str) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = BoxError> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        Self {
            service: BoxCloneSyncService::new(service),
            to: to.into(),
        }
    }

    /// Where the channel leads: a URL, or `in-process`.
    pub fn to(&self) -> &str {
        &self.to
    }

    /// Shows `token` with every call that shows no credential of its own.
    #[must_use]
    pub fn with_token(self, token: &Token) -> Self {
        let header = token.header();
        self.map_headers(move |headers| {
            headers
                .entry(http::header::AUTHORIZATION)
                .or_insert_with(|| header.clone());
        })
    }

    /// Gives up on a call whose answer hasn't begun in time, with `DEADLINE_EXCEEDED`; a call's own `grpc-timeout` holds if it is shorter.
    /// `None` leaves it to that alone. An open stream may go on. The shortest of several deadlines holds.
    #[must_use]
    pub fn with_deadline(self, deadline: Option<Duration>) -> Self {
        let service = Deadline {
            inner: self.service,
            limit: deadline,
        };
        Self {
            service: BoxCloneSyncService::new(service),
            to: self.to,
        }
    }

    /// Lets `hook` add to the headers of each call: say, the trace context of the current span.
    #[must_use]
    pub fn on_request(self, hook: fn(&mut HeaderMap)) -> Self {
        self.map_headers(hook)
    }

    fn map_headers(self, change: impl Fn(&mut HeaderMap) + Clone + Send + Sync + 'static) -> Self {
        let service = self.service.map_request(move |mut request: Request<Body>| {
            change(request.headers_mut());
            request
        });
        Self {
            service: BoxCloneSyncService::new(service),
            to: self.to,
        }
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.service.call(request)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("to", &self.to).finish_non_exhaustive()
    }
}

/// The source of a status that says: no connection could be made, so nothing of the call was sent.
#[derive(Debug, thiserror::Error)]
#[error("the call was not sent")]
struct Unsent;

impl Unsent {
    fn is_source_of(error: &BoxError) -> bool {
        let status = error.downcast_ref::<Status>();
        let source = status.and_then(|status| std::error::Error::source(status));
        source.is_some_and(<dyn std::error::Error>::is::<Self>)
    }
}

/// The layer of [`Channel::with_deadline`].
#[derive(Clone)]
struct Deadline<S> {
    inner: S,
    limit: Option<Duration>,
}

impl<S> Service<Request<Body>> for Deadline<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let asked = deadline::asked(request.headers());
        let answer = self.inner.call(request);
        let Some(limit) = asked.into_iter().chain(self.limit).min() else {
            return Box::pin(answer);
        };
        Box::pin(async move {
            tokio::select! {
                // First our own clock: tonic's, inside, runs out at the same time and would call it CANCELLED.
                biased;
                () = tokio::time::sleep(limit) => {
                    Err(Status::deadline_exceeded(format!("no answer within {} ms", limit.as_millis())).into())
                }
                answer = answer => answer,
            }
        })
    }
}
