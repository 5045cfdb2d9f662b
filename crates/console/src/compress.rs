//! gzip for what is made on the fly: a fleet of a thousand machines is half a megabyte of very similar rows.

use std::io::Write;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};

/// Shorter answers fit into a packet as they are.
const WORTHWHILE_BYTES: usize = 1_400;

/// Compresses pages and JSON. No page holds a secret (the session is in a cookie), so lengths tell nothing.
pub(crate) async fn gzip(request: Request, next: Next) -> Response {
    let wanted = accepts_gzip(request.headers());
    let response = next.run(request).await;
    if !wanted || !is_text(response.headers()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        parts.status = StatusCode::INTERNAL_SERVER_ERROR;
        return Response::from_parts(parts, Body::empty());
    };
    parts.headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if bytes.len() < WORTHWHILE_BYTES {
        return Response::from_parts(parts, Body::from(bytes));
    }
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(parts, Body::from(compressed(&bytes, Compression::fast())))
}

pub(crate) fn compressed(bytes: &[u8], effort: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), effort);
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("memory takes what is written to it")
}

pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|list| {
        list.split(',')
            .any(|entry| matches!(entry.trim(), "gzip" | "*") || entry.trim().starts_with("gzip;q=1"))
    })
}

/// Not event streams, which must leave as they come.
fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    kind.starts_with(b"text/html")
        || kind.starts_with(b"application/json")
        || kind.starts_with(b"application/octet-stream")
}
