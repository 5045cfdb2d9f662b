//! Long work over a class's history: how far it is, and what came of it, as a stream.
//!
//! A call must begin to answer within the server's deadline; a stream begins at once. Whoever hangs up stops the work.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tocsin_contracts::Malformed;
use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::run_with_progress_request::Work;
use tocsin_contracts::recalibrator::v1::run_with_progress_response::Said;
use tocsin_domain::ThresholdSetId;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::Instrument;

use crate::service::Caller;
use crate::{Error, Service};

/// How often it is said how far the work is.
const BEAT: Duration = Duration::from_secs(1);

/// How far work is, for whoever listens; clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Option<Arc<watch::Sender<v1::Progress>>>);

impl Progress {
    fn listened_to() -> (Self, watch::Receiver<v1::Progress>) {
        let (sender, receiver) = watch::channel(v1::Progress::default());
        (Self(Some(Arc::new(sender))), receiver)
    }

    /// So many machines more are to be read.
    pub(crate) fn expect(&self, machines: usize) {
        self.change(|progress| progress.machines += machines as u64);
    }

    /// So many of them have been read.
    pub(crate) fn read(&self, machines: usize) {
        self.change(|progress| progress.machines_read += machines as u64);
    }

    fn change(&self, change: impl FnOnce(&mut v1::Progress)) {
        if let Some(sender) = &self.0 {
            sender.send_modify(change);
        }
    }
}

/// What long work answers with.
pub(crate) type Answers = ReceiverStream<Result<v1::RunWithProgressResponse, Status>>;

impl Service {
    /// Starts the work that is asked for, if its caller may.
    pub(crate) fn work_with_progress(&self, by: &Caller, work: Option<Work>) -> Result<Answers, Error> {
        by.local_engineer("work on alarm limits")?;
        let work = work.ok_or_else(|| Malformed::new("work", "is missing"))?;
        let (progress, seen) = Progress::listened_to();
        let service = Self {
            progress,
            ..self.clone()
        };
        let by = match &work {
            Work::Propose(_) => by.engineer("propose alarm limits"),
            Work::Test(_) => by.engineer("test alarm limits"),
            Work::WhatIf(_) => by.local_engineer("try alarm limits"),
        }?;
        Ok(watched(
            async move {
                let set = match work {
                    Work::Propose(request) => service.do_propose(&by, request).await?,
                    Work::Test(request) => {
                        let id = ThresholdSetId(request.threshold_set_id);
                        service.do_test(&by, id).await?
                    }
                    Work::WhatIf(request) => {
                        let answer = service.do_what_if(&by, request).await;
                        return answer.map(|answer| Said::WhatIf(Box::new(answer)));
                    }
                };
                let shown = service.shown(&by.scope(), set).await?;
                Ok(Said::ThresholdSet(Box::new(shown)))
            },
            seen,
        ))
    }
}

/// Runs `work` beside whoever listens: what is seen of it every second, its answer at the end.
fn watched(
    work: impl Future<Output = Result<Said, Error>> + Send + 'static,
    seen: watch::Receiver<v1::Progress>,
) -> Answers {
    let (sender, receiver) = mpsc::channel(1);
    let say = |said| v1::RunWithProgressResponse { said: Some(said) };
    let task = async move {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => {
                    // Nobody may be there any more.
                    let _ = sender.send(done.map(say).map_err(Status::from)).await;
                    return;
                }
                () = sender.closed() => {
                    tracing::info!("whoever asked has hung up, the work stops");
                    return;
                }
                _ = beat.tick() => {
                    let progress = *seen.borrow();
                    // Whoever is slow to listen hears of the next second.
                    let _ = sender.try_send(Ok(say(Said::Progress(progress))));
                }
            }
        }
    };
    tokio::spawn(task.in_current_span());
    ReceiverStream::new(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_stream::StreamExt;

    #[tokio::test(start_paused = true)]
    async fn it_says_how_far_it_is_every_second_and_then_what_came_of_it() {
        let (progress, seen) = Progress::listened_to();
        let work = async move {
            progress.expect(3);
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(900)).await;
                progress.read(1);
            }
            Ok(Said::ThresholdSet(Box::default()))
        };
        let said: Vec<_> = watched(work, seen)
            .map(|said| said.unwrap().said.unwrap())
            .collect()
            .await;
        let (last, before) = said.split_last().unwrap();
        assert!(matches!(last, Said::ThresholdSet(_)));
        let counts = before.iter().map(|said| match said {
            Said::Progress(progress) => (progress.machines_read, progress.machines),
            other => panic!("{other:?}"),
        });
        assert_eq!(counts.collect::<Vec<_>>(), [(0, 3), (1, 3), (2, 3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_nobody_waits_for_stops() {
        struct Noted(Option<tokio::sync::oneshot::Sender<()>>);
        impl Drop for Noted {
            fn drop(&mut self) {
                let _ = self.0.take().unwrap().send(());
            }
        }
        let (dropped, gone) = tokio::sync::oneshot::channel();
        let noted = Noted(Some(dropped));
        let (_progress, seen) = Progress::listened_to();
        let work = async move {
            let _noted = noted;
            std::future::pending().await
        };
        let mut answers = watched(work, seen);
        assert!(answers.next().await.is_some());
        drop(answers);
        gone.await.unwrap();
    }
}
