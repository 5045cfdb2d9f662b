//! The report of the training that a bundle came of, as a file.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use tocsin_contracts::registry::v1::DownloadBundleRequest;

use crate::failure::{Failure, Part};
use crate::session::Session;

/// Its name in a bundle.
pub(super) const FILE: &str = "report.html";

/// `GET /models/{class}/bundles/{bundle}/report.html`. What is in a bundle was pushed by somebody: it is saved, and not shown
/// as a page of the console.
pub(crate) async fn download(session: Session, Path((_, bundle)): Path<(String, i32)>) -> Result<Response, Failure> {
    let request = DownloadBundleRequest {
        bundle: bundle.to_string(),
        file: FILE.to_owned(),
    };
    let pieces = session.registry().download_bundle(request).await;
    let mut pieces = pieces.map_err(Part::Registry.failed())?.into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await.map_err(Part::Registry.failed())? {
        bytes.extend(piece.bytes);
    }
    let attachment = HeaderValue::try_from(format!("attachment; filename=\"model-{bundle}-{FILE}\""))
        .map_err(|_| Failure::NotFound(format!("bundle {bundle}")))?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_DISPOSITION, attachment),
    ];
    Ok((headers, bytes).into_response())
}
