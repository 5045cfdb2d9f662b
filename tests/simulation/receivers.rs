//! Receivers of pages with moods: each request waits until the simulation says how it is answered, if at all.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::gate::Gate;

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Request {
    /// Place of the destination.
    pub(crate) destination: usize,
    /// What it is about: an incident, or a flood of them.
    pub(crate) story: String,
    pub(crate) page_key: String,
    pub(crate) action: String,
    /// When it came, counted over all.
    pub(crate) nth: u64,
}

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Taken.
    Yes,
    /// Not now.
    NotNow,
    /// Not now, and not for so many seconds.
    Wait(u32),
    /// Taken, and the answer never comes.
    YesUnheard,
    /// Not taken, and no answer comes.
    Silence,
}

impl Answer {
    /// The page has arrived.
    pub(crate) fn takes(self) -> bool {
        matches!(self, Self::Yes | Self::YesUnheard)
    }
}

#[derive(Debug)]
struct Pending {
    request: Request,
    answer: Option<oneshot::Sender<Answer>>,
    /// Somebody has heard of it.
    seen: bool,
}

/// The receivers.
#[derive(Debug, Clone)]
pub(crate) struct Receivers {
    addresses: Vec<SocketAddr>,
    inner: Arc<Mutex<Inner>>,
    gate: Gate,
}

#[derive(Debug, Default)]
struct Inner {
    arrived: u64,
    pending: Vec<Pending>,
}

#[derive(Debug, Clone)]
struct Door {
    destination: usize,
    inner: Arc<Mutex<Inner>>,
    gate: Gate,
}

impl Receivers {
    /// Binds as many as asked for, and serves until the process ends.
    pub(crate) async fn start(count: usize, gate: Gate) -> Result<Self> {
        let inner = Arc::<Mutex<Inner>>::default();
        let mut addresses = Vec::new();
        for destination in 0..count {
            let listener = TcpListener::bind(("127.0.0.1", 0))
                .await
                .context("binding a receiver")?;
            addresses.push(listener.local_addr()?);
            let door = Door {
                destination,
                inner: inner.clone(),
                gate: gate.clone(),
            };
            let routes = Router::new().route("/pages", post(take)).with_state(door);
            tokio::spawn(async move { axum::serve(listener, routes).await });
        }
        Ok(Self { addresses, inner, gate })
    }

    /// Where the pages go.
    pub(crate) fn url(&self, destination: usize) -> String {
        format!("http://{}/pages", self.addresses[destination])
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests that nobody has answered and whose senders still wait, in an order of their own.
    pub(crate) fn waiting(&self) -> Vec<Request> {
        let mut inner = self.inner();
        inner
            .pending
            .retain(|pending| pending.answer.as_ref().is_none_or(|answer| !answer.is_closed()));
        let waiting = inner.pending.iter().filter(|pending| pending.answer.is_some());
        let mut waiting: Vec<Request> = waiting.map(|pending| pending.request.clone()).collect();
        waiting.sort();
        waiting
    }

    /// Those that have come since this was last asked.
    pub(crate) fn arrivals(&self) -> Vec<Request> {
        let mut inner = self.inner();
        let new = inner.pending.iter_mut().filter(|pending| !pending.seen);
        let mut new: Vec<Request> = new
            .map(|pending| {
                pending.seen = true;
                pending.request.clone()
            })
            .collect();
        new.sort();
        new
    }

    /// Answers one; one that gets no answer is forgotten when its sender gives up.
    pub(crate) fn answer(&self, request: &Request, answer: Answer) {
        let mut inner = self.inner();
        let found = inner.pending.iter_mut().find(|pending| pending.request == *request);
        if let Some(sender) = found.and_then(|pending| pending.answer.take()) {
            let _ = sender.send(answer);
        }
        inner
            .pending
            .retain(|pending| pending.answer.is_some() || !pending.seen);
        drop(inner);
        self.gate.stir();
    }
}

async fn take(State(door): State<Door>, headers: HeaderMap, Json(page): Json<Value>) -> Response {
    let (sender, answer) = oneshot::channel();
    {
        let mut inner = door.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.arrived += 1;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        // A repeat is told by the header; it must agree with the body.
        let is_keyed = headers.contains_key("idempotency-key");
        let request = Request {
            destination: door.destination,
            story: text(&page["dedup_key"]),
            page_key: if is_keyed {
                text(&page["page_key"])
            } else {
                String::new()
            },
            action: text(&page["action"]),
            nth: inner.arrived,
        };
        inner.pending.push(Pending {
            request,
            answer: Some(sender),
            seen: false,
        });
    }
    door.gate.stir();
    match answer.await {
        Ok(Answer::Yes) => StatusCode::OK.into_response(),
        Ok(Answer::NotNow) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Ok(Answer::Wait(seconds)) => {
            (StatusCode::TOO_MANY_REQUESTS, [("retry-after", seconds.to_string())]).into_response()
        }
        Ok(Answer::YesUnheard | Answer::Silence) | Err(_) => std::future::pending().await,
    }
}
