//! Styles, scripts and icons, compiled in. Their addresses carry a hash of their content, so that browsers may keep them for ever.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::compress::{accepts_gzip, compressed};

macro_rules! files {
    ($($name:literal, $kind:literal, $path:literal;)*) => {
        /// Name, media type, content.
        const FILES: &[(&str, &str, &[u8])] = &[$(($name, $kind, include_bytes!(concat!("../assets/", $path)))),*];
    };
}

files! {
    "console.css", "text/css; charset=utf-8", "console.css";
    "console.js", "text/javascript; charset=utf-8", "console.js";
    "theme.js", "text/javascript; charset=utf-8", "theme.js";
    "charts.js", "text/javascript; charset=utf-8", "charts.js";
    "machine.js", "text/javascript; charset=utf-8", "machine.js";
    "review.js", "text/javascript; charset=utf-8", "review.js";
    "favicon.svg", "image/svg+xml", "favicon.svg";
    "uplot.js", "text/javascript; charset=utf-8", "vendor/uplot-1.6.32/uPlot.iife.min.js";
    "uplot.css", "text/css; charset=utf-8", "vendor/uplot-1.6.32/uPlot.min.css";
}

struct Asset {
    name: &'static str,
    kind: &'static str,
    plain: &'static [u8],
    gzip: Vec<u8>,
    hash: String,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    FILES
        .iter()
        .map(|&(name, kind, plain)| {
            let mut hasher = DefaultHasher::new();
            plain.hash(&mut hasher);
            Asset {
                name,
                kind,
                plain,
                gzip: compressed(plain, Compression::best()),
                hash: format!("{:016x}", hasher.finish()),
            }
        })
        .collect()
});

fn find(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

/// The address of an asset.
pub(crate) fn href(name: &str) -> String {
    let hash = find(name).map_or("0", |asset| asset.hash.as_str());
    format!("/assets/{hash}/{name}")
}

/// The text of an asset, to stand in a page of its own.
pub(crate) fn text(name: &str) -> &'static str {
    find(name)
        .and_then(|asset| std::str::from_utf8(asset.plain).ok())
        .unwrap_or_default()
}

/// `GET /assets/{hash}/{name}`.
pub(crate) async fn serve(Path((hash, name)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let Some(asset) = find(&name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // A page of an older version may still ask for its own: it gets ours, but not for keeps.
    let keep = if asset.hash == hash {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    answer(asset, keep, &headers)
}

/// `GET /favicon.ico`, which some browsers ask for whatever the page says.
pub(crate) async fn favicon(headers: HeaderMap) -> Response {
    match find("favicon.svg") {
        Some(asset) => answer(asset, "public, max-age=86400", &headers),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn answer(asset: &'static Asset, keep: &'static str, headers: &HeaderMap) -> Response {
    let base = [
        (CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
        (CACHE_CONTROL, HeaderValue::from_static(keep)),
        (VARY, HeaderValue::from_static("accept-encoding")),
    ];
    if accepts_gzip(headers) {
        let encoding = [(CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
        (base, encoding, asset.gzip.as_slice()).into_response()
    } else {
        (base, asset.plain).into_response()
    }
}
