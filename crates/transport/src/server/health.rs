//! `grpc.health.v1.Health`: per service, and under the empty name for the whole server.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health as Service, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// Says which services are serving. Cheap to clone; all clones say the same.
///
/// **Invariant:** once the server drains, nothing is serving any more, whoever says so. tonic-health's own reporter knows no such end, and
/// its watchers would hold their connections open through the whole drain; hence ours.
#[derive(Clone)]
pub struct Health(Arc<Mutex<Board>>);

struct Board {
    /// By full service name; dropping a sender ends its watchers' streams, after they have seen its last value.
    live: BTreeMap<String, watch::Sender<ServingStatus>>,
    drained: bool,
}

impl Default for Health {
    fn default() -> Self {
        let whole = (String::new(), watch::Sender::new(ServingStatus::Serving));
        Self(Arc::new(Mutex::new(Board {
            live: BTreeMap::from([whole]),
            drained: false,
        })))
    }
}

impl Health {
    /// Says whether `service` (its full name, such as `tocsin.scorer.v1.ScorerService`; empty for the whole server) is serving.
    pub fn set(&self, service: &str, serving: bool) {
        let mut board = self.board();
        let status = if serving && !board.drained {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        match board.live.get(service) {
            Some(sender) => drop(sender.send_replace(status)),
            None => drop(board.live.insert(service.to_owned(), watch::Sender::new(status))),
        }
    }

    pub(super) fn register(&self, service: &str) {
        self.set(service, true);
    }

    /// Everything is `NOT_SERVING` from now on; watchers are told, and their streams end.
    pub(super) fn drain(&self) {
        let mut board = self.board();
        board.drained = true;
        for sender in board.live.values_mut() {
            sender.send_replace(ServingStatus::NotServing);
            *sender = watch::Sender::new(ServingStatus::NotServing);
        }
    }

    pub(super) fn service(&self) -> HealthServer<impl Service + use<>> {
        HealthServer::new(Served(self.clone()))
    }

    fn status(&self, service: &str) -> Result<watch::Receiver<ServingStatus>, Status> {
        let board = self.board();
        let sender = board
            .live
            .get(service)
            .ok_or_else(|| Status::not_found("no service of that name"))?;
        if board.drained {
            // Nothing will change, so a watcher that comes now is told once.
            let (_, receiver) = watch::channel(*sender.borrow());
            return Ok(receiver);
        }
        Ok(sender.subscribe())
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        // A status is one assignment, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The board as a gRPC service.
struct Served(Health);

#[tonic::async_trait]
impl Service for Served {
    type WatchStream = Watch;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let status = *self.0.status(&request.get_ref().service)?.borrow();
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Watch>, Status> {
        let status = self.0.status(&request.get_ref().service)?;
        Ok(Response::new(Watch(WatchStream::new(status))))
    }
}

/// A service's status, now and at each change.
struct Watch(WatchStream<ServingStatus>);

impl Stream for Watch {
    type Item = Result<HealthCheckResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.0).poll_next(cx);
        next.map(|status| status.map(|status| Ok(HealthCheckResponse { status: status.into() })))
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let board = self.board();
        f.debug_map()
            .entries(board.live.iter().map(|(name, sender)| (name, *sender.borrow())))
            .finish()
    }
}
