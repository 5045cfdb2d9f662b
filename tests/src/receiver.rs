//! An HTTP receiver of pages: a real socket, with a temper that a story can set.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use tokio::net::TcpListener;

/// What arrives at `POST /pages`.
#[derive(Debug, Clone)]
pub struct Receiver {
    addr: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pages: Mutex<Vec<Value>>,
    answer: AtomicU16,
}

impl Receiver {
    /// Binds and serves until the process ends.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("binding the receiver")?;
        let addr = listener.local_addr().context("binding the receiver")?;
        let inner = Arc::new(Inner {
            pages: Mutex::default(),
            answer: AtomicU16::new(200),
        });
        let routes = Router::new().route("/pages", post(take)).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { addr, inner })
    }

    /// Where to post.
    pub fn url(&self) -> String {
        format!("http://{}/pages", self.addr)
    }

    /// Answers with this status from now on.
    pub fn answer_with(&self, status: u16) {
        self.inner.answer.store(status, Ordering::SeqCst);
    }

    /// Every body that was taken, in order.
    pub fn pages(&self) -> Vec<Value> {
        self.inner.pages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Page keys of the triggers that were taken, repeats included.
    pub fn triggers(&self) -> Vec<String> {
        let pages = self.pages();
        let triggers = pages.iter().filter(|page| page["action"] == "trigger");
        triggers
            .filter_map(|page| page["page_key"].as_str().map(str::to_owned))
            .collect()
    }

    /// Waits until `enough` says so, at most 20 s.
    pub async fn wait_until(&self, what: &str, enough: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>> {
        for _ in 0..400 {
            let pages = self.pages();
            if enough(&pages) {
                return Ok(pages);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("waited 20 s for {what}; the receiver has {:#?}", self.pages())
    }
}

async fn take(State(inner): State<Arc<Inner>>, Json(page): Json<Value>) -> StatusCode {
    let status = StatusCode::from_u16(inner.answer.load(Ordering::SeqCst)).unwrap_or(StatusCode::OK);
    if status.is_success() {
        inner.pages.lock().unwrap_or_else(PoisonError::into_inner).push(page);
    }
    status
}
