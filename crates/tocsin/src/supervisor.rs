//! Background tasks, none of which may end by itself.
//!
//! A process that lost one of its tasks looks alive and isn't: the first that ends, by a panic, an error or simply, fails
//! the whole process, which is then started anew by whoever keeps it.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Error, Result, anyhow};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Tasks that run until they are told to stop, all together.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    tasks: JoinSet<Result<()>>,
    names: HashMap<Id, &'static str>,
    stop: CancellationToken,
}

impl Supervisor {
    /// Starts a task. It is given the token that tells it to stop.
    pub(crate) fn spawn<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let handle = self.tasks.spawn(task(self.stop.clone()));
        self.names.insert(handle.id(), name);
    }

    /// Returns when a task ended that nobody told to stop, and how. Cancelling it loses nothing.
    pub(crate) async fn failed(&mut self) -> Error {
        match self.tasks.join_next_with_id().await {
            Some(ended) => explain(&self.names, ended),
            // Without tasks nothing fails.
            None => std::future::pending().await,
        }
    }

    /// Tells all tasks to stop, waits for them, and after `patience` cuts off those that are left.
    pub(crate) async fn stop(&mut self, patience: Duration) {
        self.stop.cancel();
        let wait = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                if !matches!(ended, Ok((_, Ok(())))) {
                    tracing::error!("while stopping: {:#}", explain(&self.names, ended));
                }
            }
        };
        if timeout(patience, wait).await.is_err() {
            let patience_ms = patience.as_millis() as u64;
            tracing::warn!(
                tasks = self.tasks.len(),
                patience_ms,
                "tasks don't stop, cutting them off"
            );
            self.tasks.shutdown().await;
        }
    }
}

fn explain(names: &HashMap<Id, &'static str>, ended: Result<(Id, Result<()>), JoinError>) -> Error {
    let id = match &ended {
        Ok((id, _)) => *id,
        Err(error) => error.id(),
    };
    let name = names.get(&id).copied().unwrap_or("a task");
    match ended {
        Ok((_, Ok(()))) => anyhow!("{name} ended by itself; this is a bug"),
        Ok((_, Err(error))) => error.context(format!("{name} failed")),
        Err(_) => anyhow!("{name} panicked; this is a bug, its message is on standard error above"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_task_that_ends_fails_them_all_by_name() {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("the patient one", |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        supervisor.spawn("the pager", |_| async { panic!("a bug") });
        let error = supervisor.failed().await.to_string();
        assert!(error.contains("the pager panicked"), "{error}");
        supervisor.stop(Duration::from_mins(1)).await;

        let mut supervisor = Supervisor::default();
        supervisor.spawn("the watch", |_| async { Err(anyhow!("lost")) });
        assert_eq!(format!("{:#}", supervisor.failed().await), "the watch failed: lost");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_stop_is_cut_off() {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("the deaf one", |_| std::future::pending());
        supervisor.stop(Duration::from_secs(5)).await;
        assert!(supervisor.tasks.is_empty());
    }
}
