//! Several equal servers: a call that one can't take goes to another.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{BoxError, Service, ServiceExt};

use super::{Channel, Config, Error, Unsent, remote};
use crate::{BoxFuture, retry};

/// For this long a replica that failed comes after those that didn't.
const SHUNNED: Duration = Duration::from_secs(5);

/// The longest request that goes over the one channel of [`Replicas::channel`], in bytes.
const LONGEST_REQUEST: usize = 8 << 20;

/// The channels of equal servers, which note for themselves how their calls fared. Cheap to clone; all clones know the same.
#[derive(Debug, Clone)]
pub struct Replicas {
    replicas: Arc<[Replica]>,
    /// Healthy replicas take turns.
    turn: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Replica {
    channel: Channel,
    record: Record,
}

/// When a replica last failed, if it hasn't succeeded since.
#[derive(Debug, Clone, Default)]
struct Record(Arc<Mutex<Option<Instant>>>);

impl Record {
    fn note(&self, failed: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failed.then(Instant::now);
    }

    /// `None` is healthy, or worth trying again; else the failure's time.
    fn shunned(&self, now: Instant) -> Option<Instant> {
        let failed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.filter(|failed| now.duration_since(*failed) < SHUNNED)
    }
}

impl Replicas {
    /// Of channels, in-process ones too.
    ///
    /// # Errors
    /// [`Error::None`] if there are none.
    pub fn new(channels: impl IntoIterator<Item = Channel>) -> Result<Self, Error> {
        let replicas: Arc<[Replica]> = channels.into_iter().map(Replica::new).collect();
        if replicas.is_empty() {
            return Err(Error::None);
        }
        Ok(Self {
            replicas,
            turn: Arc::default(),
        })
    }

    /// Of every URL of `config`.
    ///
    /// # Errors
    /// If a field of `config` is no good.
    pub fn remote(config: &Config) -> Result<Self, Error> {
        let channels = config
            .urls
            .iter()
            .enumerate()
            .map(|(index, url)| remote::channel(config, index, url));
        Self::new(channels.collect::<Result<Vec<_>, _>>()?)
    }

    /// How many there are: one or more.
    pub fn count(&self) -> usize {
        self.replicas.len()
    }

    /// The same replicas, each channel changed by `change`: `replicas.map(|channel| channel.with_token(&token))`.
    #[must_use]
    pub fn map(&self, change: impl Fn(Channel) -> Channel) -> Self {
        let replicas = self.replicas.iter().map(|replica| Replica {
            channel: change(replica.channel.clone()),
            record: replica.record.clone(),
        });
        Self {
            replicas: replicas.collect(),
            turn: Arc::clone(&self.turn),
        }
    }

    /// All of them, in the order to try: the healthy ones take turns to be first, then those that failed within 5 s, the longest ago
    /// first.
    pub fn in_order(&self) -> Vec<Channel> {
        let order = self.order().into_iter();
        order.map(|replica| replica.channel.clone()).collect()
    }

    fn order(&self) -> Vec<&Replica> {
        let now = Instant::now();
        let count = self.replicas.len();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % count;
        let turns = (0..count).map(|step| &self.replicas[(first + step) % count]);
        let mut order: Vec<_> = turns.map(|replica| (replica.record.shunned(now), replica)).collect();
        order.sort_by_key(|(shunned, _)| *shunned);
        order.into_iter().map(|(_, replica)| replica).collect()
    }

    /// One channel to all of them, for a caller that wants to know of one. Each call goes to the first [in order](Self::in_order), and on
    /// to the next as long as no connection can be made: then nothing of it was sent. A call that was sent is never repeated, but the
    /// one after it goes elsewhere. The request is held until it is answered, so a stream of requests can't go this way.
    pub fn channel(&self) -> Channel {
        let to: Vec<&str> = self.replicas.iter().map(|replica| replica.channel.to()).collect();
        Channel::new(Any(self.clone()), &to.join(", "))
    }

    /// Makes an idempotent call on one replica after the other, in [order](Self::in_order), until one answers with anything but "not
    /// here, not now" ([`retry::is_worth_repeating`], or `DEADLINE_EXCEEDED`: another may be quicker). `call` may give each its own
    /// deadline. Each is tried once; for more, wrap it in [`retry::retry`].
    ///
    /// # Errors
    /// The last replica's status.
    pub async fn first_available<T, F, Fut>(&self, mut call: F) -> Result<Answer<T>, Status>
    where
        F: FnMut(Channel) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        let mut failures = Vec::new();
        for replica in self.order() {
            let from = Arc::clone(&replica.channel.to);
            match call(replica.channel.clone()).await {
                Ok(value) => return Ok(Answer { value, from, failures }),
                Err(status) if late(&status) || retry::is_worth_repeating(&status) => {
                    // A deadline that `call` set around the channel ran out unseen by it.
                    if late(&status) {
                        replica.record.note(true);
                    }
                    tracing::debug!(replica = %from, code = ?status.code(), message = status.message(), "replica can't answer, trying the next");
                    failures.push(status);
                }
                Err(status) => return Err(status),
            }
        }
        Err(failures
            .pop()
            .unwrap_or_else(|| Status::unavailable("there is no replica")))
    }
}

fn late(status: &Status) -> bool {
    status.code() == Code::DeadlineExceeded
}

/// What [`Replicas::first_available`] got.
#[derive(Debug)]
pub struct Answer<T> {
    /// The answer itself.
    pub value: T,
    /// Who gave it: see [`Channel::to`].
    pub from: Arc<str>,
    /// How those tried before it failed; empty if the first one answered.
    pub failures: Vec<Status>,
}

impl Replica {
    fn new(channel: Channel) -> Self {
        let record = Record::default();
        let to = Arc::clone(&channel.to);
        let channel = Channel::new(
            Noted {
                inner: channel,
                record: record.clone(),
            },
            &to,
        );
        Self { channel, record }
    }
}

/// The service of [`Replicas::channel`].
#[derive(Clone)]
struct Any(Replicas);

impl Service<Request<Body>> for Any {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let replicas = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(axum::body::Body::new(body), LONGEST_REQUEST).await?;
            let mut unsent = None;
            for channel in replicas.in_order() {
                let body = Body::new(axum::body::Body::from(body.clone()));
                match channel.oneshot(Request::from_parts(head.clone(), body)).await {
                    Err(error) if Unsent::is_source_of(&error) => unsent = Some(error),
                    answered => return answered,
                }
            }
            Err(unsent.unwrap_or_else(|| Status::unavailable("there is no replica").into()))
        })
    }
}

/// Notes how each call fared.
#[derive(Clone)]
struct Noted {
    inner: Channel,
    record: Record,
}

impl Service<Request<Body>> for Noted {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let ready = self.inner.poll_ready(cx);
        if let Poll::Ready(Err(_)) = ready {
            self.record.note(true);
        }
        ready
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.inner.call(request);
        let record = self.record.clone();
        Box::pin(async move {
            let answer = answer.await;
            record.note(match &answer {
                Err(_) => true,
                Ok(response) => {
                    Status::from_header_map(response.headers()).is_some_and(|status| status.code() == Code::Unavailable)
                }
            });
            answer
        })
    }
}
