//! The role: takes jobs from the queue, one at a time, and holds their leases while it works.
//!
//! **Invariant:** a job ends with its bundle, with a reason, or in the queue again; one whose trainer dies is taken by
//! another when the lease has run out.

use std::time::Duration;

use serde_json::json;
use tocsin_domain::Clock;
use tocsin_store::Store;
use tocsin_store::access::NewAuditEntry;
use tocsin_store::training_job::{Attempt, TrainingJob};
use tocsin_transport::Channel;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::job::{Done, JobError, Workshop};

/// How often the progress is noted at most.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// What the trainer works with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Postgres.
    pub store: Store,
    /// The registry, which bundles are pushed to.
    pub registry: Channel,
    /// Now.
    pub clock: Clock,
}

/// The running side of the role.
#[derive(Debug)]
pub struct Trainer {
    workshop: Workshop,
    clock: Clock,
}

/// The role to run. It serves no calls.
pub fn build(config: Config, parts: Parts) -> Trainer {
    Trainer {
        workshop: Workshop {
            config,
            store: parts.store,
            registry: parts.registry,
        },
        clock: parts.clock,
    }
}

impl Trainer {
    /// Runs until `shutdown`; a job under way goes back into the queue then.
    pub async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let pause = match self.round(&shutdown).await {
                Ok(true) => continue,
                Ok(false) => self.workshop.config.poll_interval(),
                Err(error) => {
                    tracing::warn!(%error, "training jobs wait");
                    self.workshop.config.poll_interval()
                }
            };
            shutdown.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }

    /// Takes a job and does it; whether there was one.
    async fn round(&self, shutdown: &CancellationToken) -> tocsin_store::Result<bool> {
        let (config, store) = (&self.workshop.config, &self.workshop.store);
        let leased = store.training_job_lease(self.clock.now(), config.lease(), config.most_attempts, ended);
        let Some(job) = leased.await? else {
            return Ok(false);
        };
        tracing::info!(job = %job.id, class = %job.class_name, attempt = job.attempts, reason = job.reason, "training");
        let worked = self.work(&job, shutdown).await;
        self.end(&job, worked, shutdown).await?;
        Ok(true)
    }

    /// Works on a job and holds its lease meanwhile; a lost lease stops the work.
    async fn work(&self, job: &TrainingJob, shutdown: &CancellationToken) -> Result<tocsin_domain::BundleId, JobError> {
        let (done, stop) = (Done::default(), shutdown.child_token());
        let work = self.workshop.work(job, &done, &stop);
        tokio::pin!(work);
        let mut beat = tokio::time::interval(HEARTBEAT.min(self.workshop.config.lease() / 3));
        loop {
            tokio::select! {
                worked = &mut work => return worked,
                _ = beat.tick() => self.hold(job, &done, &stop).await,
            }
        }
    }

    async fn hold(&self, job: &TrainingJob, done: &Done, stop: &CancellationToken) {
        let until = self.clock.now() + self.workshop.config.lease();
        match self
            .workshop
            .store
            .training_job_progress(job, done.share(), until)
            .await
        {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(job = %job.id, "another has taken this job over");
                stop.cancel();
            }
            Err(error) => tracing::warn!(job = %job.id, %error, "the progress can't be noted now"),
        }
    }

    async fn end(
        &self,
        job: &TrainingJob,
        worked: Result<tocsin_domain::BundleId, JobError>,
        shutdown: &CancellationToken,
    ) -> tocsin_store::Result<()> {
        let (now, config) = (self.clock.now(), &self.workshop.config);
        let error = worked.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let how = match &worked {
            Ok(bundle) => Attempt::Done(*bundle),
            Err(_) if shutdown.is_cancelled() => Attempt::Postponed("its trainer was stopped", now),
            Err(failed) if failed.may_pass() => Attempt::Postponed(&error, now + Duration::from_secs(config.retry_s)),
            Err(_) => Attempt::Failed(&error),
        };
        match self.workshop.store.training_job_end(job, how, now, ended).await {
            Ok(ended) => {
                let (state, bundle) = (ended.state.as_str(), ended.bundle.map(|bundle| bundle.0));
                tracing::info!(job = %job.id, class = %job.class_name, state, bundle, error, "training ended");
                Ok(())
            }
            Err(tocsin_store::Error::Conflict { what }) => {
                tracing::warn!(job = %job.id, what, "this attempt counts for nothing");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// The entry of a job that ended.
fn ended(job: &TrainingJob) -> NewAuditEntry {
    let action = format!("training.{}", job.state.as_str());
    let detail = json!({ "training_job_id": job.id, "bundle_id": job.bundle, "error": job.error });
    NewAuditEntry::new("trainer", action, format!("class:{}", job.class_name), &detail)
}
