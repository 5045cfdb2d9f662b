//! Answers that go on: streams that say that something changed, and when an open stream has to end.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Extensions, Status};

use crate::auth::Reverify;
use crate::server::Draining;

/// Counts changes and tells watchers the count; clones count together.
#[derive(Debug, Clone)]
pub struct Watch(Arc<watch::Sender<i64>>);

impl Default for Watch {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(1)))
    }
}

impl Watch {
    /// Somebody watches.
    pub fn is_watched(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Something changed.
    pub fn changed(&self) {
        self.0.send_modify(|change| *change += 1);
    }

    /// The count now, and whenever it changed, each as `message` puts it, until the server drains or the credential of the call whose
    /// `extensions` these are goes. Call within a tokio runtime.
    pub fn stream<T: Send + 'static>(
        &self,
        extensions: &Extensions,
        message: fn(i64) -> T,
    ) -> ReceiverStream<Result<T, Status>> {
        let (sender, receiver) = mpsc::channel(1);
        let mut changes = self.0.subscribe();
        let end = end(extensions);
        tokio::spawn(async move {
            let tell = async {
                loop {
                    let change = *changes.borrow_and_update();
                    // A watcher that is behind gets the newest count once it has room.
                    let told = sender.send(Ok(message(change))).await;
                    if told.is_err() || changes.changed().await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = tell => {}
                () = sender.closed() => {}
                ended = end => {
                    if let Err(denied) = ended {
                        // Best effort: a watcher that takes nothing any more learns it by the stream's end.
                        let _ = sender.try_send(Err(denied));
                    }
                }
            }
        });
        ReceiverStream::new(receiver)
    }
}

/// Waits until an open stream has to end: well once the server drains, with the denial once the credential of the call whose
/// `extensions` these are is revoked.
pub fn end(extensions: &Extensions) -> impl Future<Output = Result<(), Status>> + Send + use<> {
    let draining = extensions.get::<Draining>().cloned();
    let reverify = extensions.get::<Reverify>().cloned();
    async move {
        let drained = async {
            match draining {
                Some(draining) => draining.started().await,
                None => std::future::pending().await,
            }
        };
        let revoked = async {
            match reverify {
                Some(reverify) => reverify.revoked().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = drained => Ok(()),
            denied = revoked => Err(denied.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_stream::StreamExt;

    #[tokio::test]
    async fn a_watcher_hears_at_once_and_then_of_every_change() {
        let watch = Watch::default();
        let mut stream = watch.stream(&Extensions::new(), |change| change);
        let first = stream.next().await.unwrap().unwrap();
        watch.changed();
        let second = stream.next().await.unwrap().unwrap();
        assert!(second > first);
    }

    #[tokio::test]
    async fn a_stream_outlives_nobody() {
        let watch = Watch::default();
        let stream = watch.stream(&Extensions::new(), |change| change);
        drop(stream);
        while watch.is_watched() {
            tokio::task::yield_now().await;
        }
    }
}
