//! A real HTTP receiver that does as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::net::TcpListener;

/// How the receiver treats a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Manner {
    Status(u16),
    RetryAfter(u16, &'static str),
    /// It takes the request and never answers.
    Hang,
}

/// A request it got.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) key: String,
    pub(crate) authorization: Option<String>,
    pub(crate) signature: Option<String>,
    /// The body as it came.
    pub(crate) raw: Bytes,
    pub(crate) body: Value,
    /// It was answered with success.
    pub(crate) accepted: bool,
}

#[derive(Debug, Clone, Default)]
struct Shared {
    manners: Arc<Mutex<VecDeque<Manner>>>,
    always: Arc<Mutex<Option<Manner>>>,
    got: Arc<Mutex<Vec<Got>>>,
}

/// The receiver; ends with the test's runtime.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    shared: Shared,
}

impl Receiver {
    /// Treats the first requests by `manners`, one after the other, and then says yes.
    pub(crate) async fn start(manners: impl IntoIterator<Item = Manner>) -> Self {
        let shared = Shared {
            manners: Arc::new(Mutex::new(manners.into_iter().collect())),
            ..Shared::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(receive).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared }
    }

    /// Treats every request like this, from now on.
    pub(crate) fn always(&self, manner: Option<Manner>) {
        *self.shared.always.lock().unwrap() = manner;
    }

    /// Treats the next request like this.
    pub(crate) fn next(&self, manner: Manner) {
        self.shared.manners.lock().unwrap().push_front(manner);
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.shared.got.lock().unwrap().clone()
    }
}

async fn receive(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let always = *shared.always.lock().unwrap();
    let manner = always
        .or_else(|| shared.manners.lock().unwrap().pop_front())
        .unwrap_or(Manner::Status(200));
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let accepted = matches!(manner, Manner::Status(200..300));
    let got = Got {
        key: header("idempotency-key").unwrap_or_default(),
        authorization: header("authorization"),
        signature: header("tocsin-signature"),
        raw: body.clone(),
        body: serde_json::from_slice(&body).unwrap(),
        accepted,
    };
    shared.got.lock().unwrap().push(got);
    let status = |code| StatusCode::from_u16(code).unwrap();
    match manner {
        Manner::Status(code) => (status(code), "noted").into_response(),
        Manner::RetryAfter(code, wait) => (status(code), [("retry-after", wait)], "later").into_response(),
        Manner::Hang => std::future::pending().await,
    }
}
