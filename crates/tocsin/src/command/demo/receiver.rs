//! The HTTP receiver that plays the pager on somebody's belt.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use tocsin_domain::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A page as it arrived.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Page {
    pub(super) page_key: String,
    pub(super) action: String,
    pub(super) site: String,
    pub(super) machine: String,
    pub(super) summary: String,
    pub(super) evidence: Evidence,
}

/// What a page says about its step.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Evidence {
    /// The step that decided it.
    pub(super) step: Timestamp,
}

/// Counts what arrives, and says it.
#[derive(Debug)]
pub(super) struct Receiver {
    addr: SocketAddr,
    pages: Pages,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

type Pages = Arc<Mutex<Vec<Page>>>;

impl Receiver {
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("binding the demo's receiver")?;
        let addr = listener.local_addr().context("binding the demo's receiver")?;
        let pages = Pages::default();
        let routes = Router::new().route("/pages", post(take)).with_state(pages.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "the demo's receiver broke");
            }
        });
        Ok(Self {
            addr,
            pages,
            stop,
            serving,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/pages", self.addr)
    }

    /// Every page that has arrived.
    pub(super) fn pages(&self) -> Vec<Page> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "the demo's receiver broke");
        }
    }
}

async fn take(State(pages): State<Pages>, Json(page): Json<Page>) -> StatusCode {
    eprintln!(
        "  {:<8} {}/{}  {}",
        page.action.to_uppercase(),
        page.site,
        page.machine,
        page.summary
    );
    pages.lock().unwrap_or_else(PoisonError::into_inner).push(page);
    StatusCode::OK
}
