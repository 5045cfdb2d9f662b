//! An answer this crate gives by itself, in the words of the protocol the caller speaks: a gRPC status, or an HTTP status with JSON.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tonic::{Code, Status};

use crate::retry;

/// What the caller speaks, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    Http,
}

impl Protocol {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let grpc = headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if grpc { Self::Grpc } else { Self::Http }
    }

    /// The whole response that refuses a call with `status`.
    pub(crate) fn refuse(self, status: Status) -> Response {
        match self {
            Self::Grpc => status.into_http::<axum::body::Body>(),
            Self::Http => plain(&status),
        }
    }
}

fn plain(status: &Status) -> Response {
    let code = http_status(status.code());
    let body = serde_json::json!({ "error": { "code": name(status.code()), "message": status.message() } });
    let mut response = (code, Json(body)).into_response();
    let headers = response.headers_mut();
    if code == StatusCode::UNAUTHORIZED {
        // RFC 9110, 11.6.1: a 401 names the scheme that would do.
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(wait) = retry::after(status) {
        // Retry-After counts whole seconds: rounded up, for too early is refused again.
        headers.insert(
            header::RETRY_AFTER,
            HeaderValue::from(wait.as_millis().div_ceil(1_000) as u64),
        );
        headers.insert(retry::RETRY_AFTER_MS, HeaderValue::from(wait.as_millis() as u64));
    }
    response
}

fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unimplemented | Code::NotFound => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn name(code: Code) -> &'static str {
    match code {
        Code::Unauthenticated => "unauthenticated",
        Code::ResourceExhausted => "resource_exhausted",
        Code::Unavailable => "unavailable",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::Unimplemented | Code::NotFound => "not_found",
        _ => "internal",
    }
}
