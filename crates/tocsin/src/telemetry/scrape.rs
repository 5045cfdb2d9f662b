//! The Prometheus scrape endpoint.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// `GET /metrics`, in Prometheus' text format.
pub(crate) fn router(metrics: prometheus::Registry) -> Router {
    Router::new().route("/metrics", get(move || std::future::ready(page(&metrics))))
}

fn page(metrics: &prometheus::Registry) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&metrics.gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics can't be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The listener of its own that needs no credential.
#[derive(Debug)]
pub(crate) struct Scrape {
    listener: TcpListener,
    address: SocketAddr,
}

impl Scrape {
    /// Takes the port.
    ///
    /// # Errors
    /// If the address isn't loopback, for anyone could read it there; or if it can't be had.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self> {
        if !address.ip().to_canonical().is_loopback() {
            bail!(
                "telemetry.metrics_listen: {address} is not a loopback address, and this listener asks for no credential; \
                 scrape /metrics at server.listen with a bearer token instead, and set metrics_listen to \"off\""
            );
        }
        let fail = || format!("telemetry.metrics_listen: can't bind {address} (set another, or \"off\")");
        let listener = TcpListener::bind(address).await.with_context(fail)?;
        let address = listener.local_addr().with_context(fail)?;
        Ok(Self { listener, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`.
    pub(crate) async fn run(self, metrics: prometheus::Registry, shutdown: CancellationToken) -> Result<()> {
        tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            served = axum::serve(self.listener, router(metrics)) => served.context("serving metrics"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_scrape_open_to_the_network_is_refused_with_the_way_out() {
        let error = Scrape::bind(([0, 0, 0, 0], 0).into()).await.expect_err("not loopback");
        assert!(error.to_string().contains("server.listen"), "{error}");
    }
}
