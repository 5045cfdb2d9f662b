//! Batches that wait are taken together: the cheaper the group, the shorter the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tocsin_contracts::ensemble::Assessment;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::error::Failure;
use crate::ticket::Ticket;

/// A batch on its way.
#[derive(Debug)]
pub(crate) struct Job {
    /// The readings.
    pub(crate) assessment: Assessment,
    /// Where their outcomes go.
    pub(crate) ticket: Ticket,
}

/// The door: what waits is counted here.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    jobs: mpsc::UnboundedSender<Job>,
    waiting: Arc<AtomicUsize>,
    limit: usize,
}

/// The other end of the [`Queue`].
#[derive(Debug)]
pub(crate) struct Gatherer {
    jobs: mpsc::UnboundedReceiver<Job>,
    waiting: Arc<AtomicUsize>,
    group_readings: usize,
    groups_in_flight: usize,
}

/// A queue and its end.
pub(crate) fn queue(config: &Config) -> (Queue, Gatherer) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let queue = Queue {
        jobs: sender,
        waiting: waiting.clone(),
        limit: config.waiting_readings,
    };
    let gatherer = Gatherer {
        jobs: receiver,
        waiting,
        group_readings: config.group_readings,
        groups_in_flight: config.groups_in_flight.max(1),
    };
    (queue, gatherer)
}

impl Queue {
    /// Puts a batch in line, or says why not. A batch is let in when the line is short, however large it is itself.
    pub(crate) fn put(&self, job: Job) -> Result<(), Failure> {
        let readings = job.assessment.readings.len();
        let waiting = self.waiting.fetch_add(readings, Ordering::Relaxed);
        if waiting >= self.limit {
            self.waiting.fetch_sub(readings, Ordering::Relaxed);
            return Err(Failure::Overloaded { waiting });
        }
        self.jobs.send(job).map_err(|_| Failure::Closing)
    }
}

impl Gatherer {
    /// Hands groups to `assess` until the role is shut down and the line is empty; returns when the last group is done.
    pub(crate) async fn run<F>(
        mut self,
        assess: impl Fn(Vec<Job>, OwnedSemaphorePermit) -> F,
        shutdown: CancellationToken,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let permits = Arc::new(Semaphore::new(self.groups_in_flight));
        let groups = tokio_util::task::TaskTracker::new();
        loop {
            let permit = permits
                .clone()
                .acquire_owned()
                .await
                .expect("this semaphore is never closed");
            let first = tokio::select! {
                biased;
                first = self.jobs.recv() => first,
                () = shutdown.cancelled() => None,
            };
            let Some(first) = first else { break };
            groups.spawn(assess(self.group_with(first), permit));
        }
        groups.close();
        groups.wait().await;
    }

    fn group_with(&mut self, first: Job) -> Vec<Job> {
        let mut readings = first.assessment.readings.len();
        let mut group = vec![first];
        while readings < self.group_readings {
            let Ok(job) = self.jobs.try_recv() else { break };
            readings += job.assessment.readings.len();
            group.push(job);
        }
        self.waiting.fetch_sub(readings, Ordering::Relaxed);
        group
    }
}
