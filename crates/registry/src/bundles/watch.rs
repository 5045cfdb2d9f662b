//! Telling watchers what judges each class: at once, then on every change.
//!
//! One listener per process hears of changes ([`listen`]) and wakes the watchers; each then reads the present bindings
//! for itself. A watcher also looks by itself now and then, so that a lost notification costs seconds, not forever.

use std::pin::pin;
use std::time::Duration;

use tocsin_contracts::registry::v1::{WatchBindingsRequest, WatchBindingsResponse};
use tocsin_store::Store;
use tocsin_store::binding::Binding;
use tocsin_transport::watch;
use tokio::sync::{mpsc, watch as signal};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::codegen::BoxStream;
use tonic::{Request, Status};

use super::{Bundles, wire};
use crate::Error;

/// Pause before listening again after the listener's connection failed.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

impl Bundles {
    pub(super) fn watch(&self, request: &Request<WatchBindingsRequest>) -> BoxStream<WatchBindingsResponse> {
        let (sender, receiver) = mpsc::channel(1);
        let end = watch::end(request.extensions());
        let watcher = self.clone();
        tokio::spawn(async move {
            let status = tokio::select! {
                ended = end => ended.err().unwrap_or_else(|| Status::unavailable("the server is stopping")),
                status = watcher.tell(&sender) => status,
            };
            // A watcher that has gone needs no goodbye.
            let _ = sender.send(Err(status)).await;
        });
        Box::pin(ReceiverStream::new(receiver))
    }

    /// Sends the bindings whenever they differ from what was sent; returns why it stopped.
    async fn tell(&self, sender: &mpsc::Sender<Result<WatchBindingsResponse, Status>>) -> Status {
        let poll = Duration::from_millis(self.config.watch_poll_ms);
        let mut changes = self.changes.clone();
        let mut told: Option<Vec<Binding>> = None;
        loop {
            // Seen before the read: a change during it wakes the next round.
            changes.mark_unchanged();
            let bindings = match self.context.store.binding_current_all().await {
                Ok(bindings) => bindings,
                Err(error) => return Error::from(error).into(),
            };
            if told.as_ref() != Some(&bindings) {
                let response = WatchBindingsResponse {
                    bindings: bindings.iter().map(wire::binding).collect(),
                };
                if sender.send(Ok(response)).await.is_err() {
                    return Status::cancelled("the watcher has gone");
                }
                told = Some(bindings);
            }
            let mut changed = pin!(changes.changed());
            tokio::select! {
                () = sender.closed() => return Status::cancelled("the watcher has gone"),
                // When nobody listens any more, the poll alone goes on.
                Ok(()) = &mut changed => {}
                () = tokio::time::sleep(poll) => {}
            }
        }
    }
}

/// Wakes `watchers` whenever a binding changed, until `shutdown`. Losing the connection wakes them too.
pub(crate) async fn listen(store: Store, watchers: signal::Sender<u64>, shutdown: CancellationToken) {
    let wake = || watchers.send_modify(|count| *count += 1);
    let listening = async {
        loop {
            match hear(&store, wake).await {
                tocsin_store::Error::Unavailable { reason } => tracing::warn!(reason, "not hearing of bindings"),
                error => tracing::error!(%error, "not hearing of bindings"),
            }
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = listening => {}
    }
}

async fn hear(store: &Store, wake: impl Fn()) -> tocsin_store::Error {
    let mut changes = match store.binding_changes().await {
        Ok(changes) => changes,
        Err(error) => return error,
    };
    loop {
        wake();
        if let Err(error) = changes.changed().await {
            return error;
        }
    }
}
