//! The stack every request goes down, from the network or from within the process.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use http::HeaderMap;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder};

use super::{Config, Draining, OnRequest, deadline, panic, shed, trace};
use crate::BoxFuture;
use crate::auth::{Guard, authenticate};
use crate::refusal::Protocol;

/// A stack, its type erased.
pub(crate) type Boxed = BoxCloneSyncService<Request, Response, Infallible>;

/// Where a stack will be, once it is built: what channels within the process look at. They hold it weakly, or a service that calls its
/// own server would keep itself alive.
pub(crate) type Late = Arc<OnceLock<Boxed>>;

/// What a server bears.
pub(super) struct Limits {
    requests: usize,
    retry_after: Duration,
    deadline: Duration,
}

impl Limits {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            requests: config.max_concurrent_requests.get(),
            retry_after: Duration::from_millis(config.retry_after_ms),
            deadline: Duration::from_millis(config.request_deadline_ms.get()),
        }
    }
}

pub(super) fn build(
    routes: axum::Router,
    guard: Guard,
    limits: &Limits,
    on_request: OnRequest,
    draining: CancellationToken,
    late: &Late,
) -> Stack {
    let service = ServiceBuilder::new()
        // The span is outermost: a refusal, too, is seen with its status and the time it took.
        .layer(from_fn_with_state(on_request, trace::request))
        // A handler's panic costs its own caller an INTERNAL; the process lives.
        .layer(from_fn(panic::catch))
        // Before any work is spent: over the limit, "come back later" is said at once.
        .layer(from_fn_with_state(
            shed::Door::new(limits.requests, limits.retry_after),
            shed::admit,
        ))
        // The clock starts at the door: a slow verifier is on it as much as a slow handler.
        .layer(from_fn_with_state(limits.deadline, deadline::enforce))
        // Below this line there is a principal: for reflection and for unknown paths as well.
        .layer(from_fn_with_state(guard, authenticate))
        // Handlers of streams learn from it when to end.
        .layer(Extension(Draining(draining.clone())))
        .service(routes);
    let service = BoxCloneSyncService::new(service);
    // A server is assembled once, by value, so the place is empty.
    let _ = late.set(service.clone());
    Stack {
        service,
        draining,
        _late: Arc::clone(late),
    }
}

/// What no service or route answers to.
pub(super) async fn unknown(headers: HeaderMap) -> Response {
    Protocol::of(&headers).refuse(Status::unimplemented("no such path"))
}

/// A server's whole stack, authentication included. Cheap to clone.
#[derive(Clone)]
pub struct Stack {
    service: Boxed,
    pub(super) draining: CancellationToken,
    /// Keeps the place alive that channels within the process look at.
    _late: Late,
}

impl Stack {
    pub(crate) fn service(&self) -> Boxed {
        self.service.clone()
    }
}

impl<B> Service<http::Request<B>> for Stack
where
    B: http_body::Body<Data = axum::body::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let answer = self.service.call(request.map(axum::body::Body::new));
        Box::pin(async move { answer.await.map(|response| response.map(Body::new)) })
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stack")
    }
}
