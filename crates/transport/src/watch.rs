//! Answers that go on: streams that say that something changed, and when an open stream has to end.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Extensions, Status};

use crate::auth::Reverify;
use crate::server::Draining;

/// Counts changes by where they were, at sites say, and tells each watcher the count of those places that it may see;
/// clones count together.
#[derive(Debug, Clone)]
pub struct Watch<P>(Arc<watch::Sender<Counts<P>>>);

/// Changes since the start.
#[derive(Debug)]
struct Counts<P> {
    anywhere: i64,
    at: BTreeMap<P, i64>,
}

impl<P> Default for Watch<P> {
    fn default() -> Self {
        let counts = Counts {
            anywhere: 1,
            at: BTreeMap::new(),
        };
        Self(Arc::new(watch::Sender::new(counts)))
    }
}

impl<P> Counts<P> {
    fn of(&self, sees: impl Fn(&P) -> bool) -> i64 {
        let seen = self.at.iter().filter(|(place, _)| sees(place));
        self.anywhere + seen.map(|(_, count)| count).sum::<i64>()
    }
}

impl<P: Ord + Send + Sync + 'static> Watch<P> {
    /// Somebody watches.
    pub fn is_watched(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Something may have changed, nobody knows where.
    pub fn changed_anywhere(&self) {
        self.0.send_modify(|counts| counts.anywhere += 1);
    }

    /// Something changed at each of `places`.
    pub fn changed(&self, places: impl IntoIterator<Item = P>) {
        self.0.send_modify(|counts| {
            for place in places {
                *counts.at.entry(place).or_default() += 1;
            }
        });
    }

    /// The count of the places that the watcher `sees` now, and whenever it changed, each as `message` puts it, until the server
    /// drains or the credential of the call whose `extensions` these are goes. Call within a tokio runtime.
    pub fn stream<T: Send + 'static>(
        &self,
        extensions: &Extensions,
        sees: impl Fn(&P) -> bool + Send + Sync + 'static,
        message: fn(i64) -> T,
    ) -> ReceiverStream<Result<T, Status>> {
        let (sender, receiver) = mpsc::channel(1);
        let mut changes = self.0.subscribe();
        let end = end(extensions);
        tokio::spawn(async move {
            let tell = async {
                let mut told = None;
                loop {
                    let change = changes.borrow_and_update().of(&sees);
                    // A watcher that is behind gets the newest count once it has room.
                    if told.replace(change) != Some(change) && sender.send(Ok(message(change))).await.is_err() {
                        return;
                    }
                    if changes.changed().await.is_err() {
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
        let mut stream = watch.stream(&Extensions::new(), |_| true, |change| change);
        let first = stream.next().await.unwrap().unwrap();
        watch.changed(["paris"]);
        let second = stream.next().await.unwrap().unwrap();
        assert!(second > first);
        watch.changed_anywhere();
        assert!(stream.next().await.unwrap().unwrap() > second);
    }

    #[tokio::test]
    async fn a_watcher_learns_nothing_of_places_that_it_may_not_see() {
        let watch = Watch::default();
        let mut stream = watch.stream(&Extensions::new(), |place| *place == "paris", |change| change);
        let first = stream.next().await.unwrap().unwrap();
        watch.changed(["lyon"]);
        // Whatever there is to be told has been told by then.
        let quiet = tokio::time::timeout(std::time::Duration::from_millis(50), stream.next()).await;
        assert!(quiet.is_err());
        watch.changed(["lyon", "paris"]);
        assert_eq!(stream.next().await.unwrap().unwrap(), first + 1);
    }

    #[tokio::test]
    async fn a_stream_outlives_nobody() {
        let watch = Watch::<()>::default();
        let stream = watch.stream(&Extensions::new(), |()| true, |change| change);
        drop(stream);
        while watch.is_watched() {
            tokio::task::yield_now().await;
        }
    }
}
