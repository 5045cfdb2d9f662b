//! What is answered instead: JSON that names the code, and for a field that is wrong the field and the reason.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use tocsin_transport::retry;
use tonic::{Code, Status};

/// Why a call has no result.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    retry_after_s: Option<u64>,
    /// The gRPC code, in words.
    code: &'static str,
    message: String,
    /// The field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Problem {
    fn new(code: Code, message: impl Into<String>) -> Self {
        let (status, code) = of(code);
        Self {
            status,
            retry_after_s: None,
            code,
            message: message.into(),
            field: None,
            reason: None,
        }
    }

    /// A field of the request is wrong.
    pub(super) fn malformed(field: String, reason: String) -> Self {
        let known = !field.is_empty() && field != "." && field != "?";
        let message = if known {
            format!("{field}: {reason}")
        } else {
            reason.clone()
        };
        Self {
            field: known.then_some(field),
            reason: Some(reason),
            ..Self::new(Code::InvalidArgument, message)
        }
    }

    /// The body can't be had.
    pub(super) fn unreadable(status: StatusCode, message: String) -> Self {
        Self {
            status,
            ..Self::new(Code::InvalidArgument, message)
        }
    }

    pub(super) fn no_such_call(path: &str) -> Self {
        Self::new(
            Code::NotFound,
            format!("there is no call {path}; see /api/v1/openapi.json"),
        )
    }

    pub(super) fn no_bearer() -> Self {
        Self::new(
            Code::Unauthenticated,
            "send one `authorization: Bearer <session or token>`",
        )
    }

    pub(super) fn cross_site() -> Self {
        let message =
            "a session's cookie counts from the console's own pages alone: send `authorization: Bearer <session>`";
        Self::new(Code::PermissionDenied, message)
    }
}

/// The HTTP status and the name of a code.
fn of(code: Code) -> (StatusCode, &'static str) {
    match code {
        Code::Ok => (StatusCode::OK, "ok"),
        Code::InvalidArgument => (StatusCode::BAD_REQUEST, "invalid_argument"),
        Code::OutOfRange => (StatusCode::BAD_REQUEST, "out_of_range"),
        Code::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
        Code::PermissionDenied => (StatusCode::FORBIDDEN, "permission_denied"),
        Code::NotFound => (StatusCode::NOT_FOUND, "not_found"),
        Code::AlreadyExists => (StatusCode::CONFLICT, "already_exists"),
        Code::Aborted => (StatusCode::CONFLICT, "aborted"),
        Code::FailedPrecondition => (StatusCode::CONFLICT, "failed_precondition"),
        Code::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "resource_exhausted"),
        Code::Unimplemented => (StatusCode::NOT_IMPLEMENTED, "unimplemented"),
        Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        Code::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded"),
        Code::Cancelled => (StatusCode::INTERNAL_SERVER_ERROR, "cancelled"),
        Code::DataLoss => (StatusCode::INTERNAL_SERVER_ERROR, "data_loss"),
        Code::Unknown => (StatusCode::INTERNAL_SERVER_ERROR, "unknown"),
        Code::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

/// A field's path and what is wrong with it, as `Malformed` writes them.
fn field_and_reason(message: &str) -> Option<(String, String)> {
    let (field, reason) = message.split_once(": ")?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'[' | b']');
    (!field.is_empty() && field.bytes().all(legal)).then(|| (field.to_owned(), reason.to_owned()))
}

impl From<Status> for Problem {
    fn from(status: Status) -> Self {
        let named = (status.code() == Code::InvalidArgument)
            .then(|| field_and_reason(status.message()))
            .flatten();
        let (field, reason) = named.unzip();
        Self {
            retry_after_s: retry::after(&status).map(|wait| wait.as_secs().max(1)),
            field,
            reason,
            ..Self::new(status.code(), status.message())
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let text = serde_json::to_string(&self).expect("texts have a JSON form");
        let mut response = (self.status, [(CONTENT_TYPE, super::JSON)], text).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_field_is_told_by_field_and_reason() {
        let problem = Problem::from(Status::invalid_argument("readings[2].bins: got 3, the spec has 64"));
        assert_eq!(
            serde_json::to_value(&problem).unwrap(),
            serde_json::json!({
                "code": "invalid_argument",
                "message": "readings[2].bins: got 3, the spec has 64",
                "field": "readings[2].bins",
                "reason": "got 3, the spec has 64",
            })
        );
        let other = Problem::from(Status::invalid_argument("bundle 12ab was rejected: too large"));
        assert_eq!((other.status, other.field), (StatusCode::BAD_REQUEST, None));
    }
}
