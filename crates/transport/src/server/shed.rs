//! Load shedding: over the limit a request is refused at once, with a hint when to come back.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::Semaphore;
use tonic::Status;

use crate::refusal::Protocol;
use crate::retry;

/// Marks a request from within the process. It came through the door already, with the request that caused it: counting it again would,
/// at the limit, refuse just the calls that finish the work already let in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InProcess;

#[derive(Clone)]
pub(super) struct Door {
    room: Arc<Semaphore>,
    retry_after: Duration,
}

impl Door {
    pub(super) fn new(requests: usize, retry_after: Duration) -> Self {
        Self {
            room: Arc::new(Semaphore::new(requests.min(Semaphore::MAX_PERMITS))),
            retry_after,
        }
    }
}

pub(super) async fn admit(State(door): State<Door>, request: Request, next: Next) -> Response {
    // A health check that fails under load takes the server out just when it is needed most.
    let exempt = request.extensions().get::<InProcess>().is_some()
        || request.uri().path().starts_with("/grpc.health.v1.Health/");
    if exempt {
        return next.run(request).await;
    }
    let Ok(_place) = door.room.try_acquire() else {
        let status = Status::resource_exhausted("too many requests at a time");
        return Protocol::of(request.headers()).refuse(retry::hint(status, door.retry_after));
    };
    next.run(request).await
}
