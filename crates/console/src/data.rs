//! The numbers behind the charts, fetched by their scripts.

pub(crate) mod series;
pub(crate) mod spectrogram;
pub(crate) mod spectrum;

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde::Serialize;

/// JSON; numbers that JSON has no form for (NaN) become null.
fn json(value: &impl Serialize) -> Response {
    let text = serde_json::to_vec(value).expect("names, numbers and lists of them have a JSON form");
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

/// Milliseconds since the epoch, as scripts count.
fn millis(time: Option<prost_types::Timestamp>) -> Option<f64> {
    crate::view::at(time).map(|time| time.as_micros() as f64 / 1e3)
}
