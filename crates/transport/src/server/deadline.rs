//! An answer begins in time, or the caller is told that it won't.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tonic::Status;

use crate::deadline;
use crate::refusal::Protocol;

pub(super) async fn enforce(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let protocol = Protocol::of(request.headers());
    let limit = deadline::asked(request.headers()).map_or(limit, |asked| asked.min(limit));
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => protocol.refuse(Status::deadline_exceeded(format!(
            "no answer within {} ms",
            limit.as_millis()
        ))),
    }
}
