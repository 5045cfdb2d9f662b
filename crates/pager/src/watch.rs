//! Telling watchers that something changed.

use std::sync::Arc;

use tocsin_contracts::incidents::v1::WatchIncidentsResponse;
use tocsin_transport::auth::Reverify;
use tocsin_transport::server::Draining;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Extensions, Status};

/// Counts changes; clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Watch(Arc<watch::Sender<i64>>);

impl Default for Watch {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(1)))
    }
}

impl Watch {
    /// Something changed.
    pub(crate) fn changed(&self) {
        self.0.send_modify(|change| *change += 1);
    }

    /// The count now, and whenever it changed, until the server drains or the caller's credential goes.
    pub(crate) fn stream(&self, extensions: &Extensions) -> ReceiverStream<Result<WatchIncidentsResponse, Status>> {
        let (sender, receiver) = mpsc::channel(1);
        let mut changes = self.0.subscribe();
        let draining = extensions.get::<Draining>().cloned();
        let reverify = extensions.get::<Reverify>().cloned();
        tokio::spawn(async move {
            let tell = async {
                loop {
                    let change = *changes.borrow_and_update();
                    // A watcher that is behind gets the newest count once it has room.
                    let told = sender.send(Ok(WatchIncidentsResponse { change })).await;
                    if told.is_err() || changes.changed().await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = tell => {}
                () = sender.closed() => {}
                () = drained(draining) => {}
                denied = revoked(reverify) => {
                    // Best effort: a watcher that takes nothing any more learns it by the stream's end.
                    let _ = sender.try_send(Err(denied));
                }
            }
        });
        ReceiverStream::new(receiver)
    }
}

async fn drained(draining: Option<Draining>) {
    match draining {
        Some(draining) => draining.started().await,
        None => std::future::pending().await,
    }
}

async fn revoked(reverify: Option<Reverify>) -> Status {
    match reverify {
        Some(reverify) => reverify.revoked().await.into(),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_stream::StreamExt;

    #[tokio::test]
    async fn a_watcher_hears_at_once_and_then_of_every_change() {
        let watch = Watch::default();
        let mut stream = watch.stream(&Extensions::new());
        let first = stream.next().await.unwrap().unwrap().change;
        watch.changed();
        let second = stream.next().await.unwrap().unwrap().change;
        assert!(second > first);
    }

    #[tokio::test]
    async fn a_stream_outlives_nobody() {
        let watch = Watch::default();
        let stream = watch.stream(&Extensions::new());
        drop(stream);
        while watch.0.receiver_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
