//! Models fitted anew: the call that asks for it, the watch that asks for it by itself ([`watch`]), and the comparison that
//! a person promotes by ([`compare`]).

mod compare;
mod drift;
mod rank;
mod rule;
pub(crate) mod watch;

use std::time::Duration;

use serde_json::json;
use tocsin_contracts::training::v1;
use tocsin_contracts::training::v1::training_service_server::{TrainingService, TrainingServiceServer};
use tocsin_contracts::{Malformed, time};
use tocsin_domain::{PersonRole, Principal, Timestamp};
use tocsin_store::access::NewAuditEntry;
use tocsin_store::training_job::{NewTrainingJob, TrainingJob};
use tonic::{Request, Response, Status};

use crate::service::{caller, class_name};
use crate::{Config, Error, Parts};

pub use rule::RetrainRule;

/// The longest reason that is kept.
const MAX_REASON: usize = 500;

/// Most jobs that one answer lists.
const MOST_JOBS: u32 = 200;

/// The service to register beside the recalibrator's own.
pub fn training(config: &Config, parts: Parts) -> TrainingServiceServer<Training> {
    TrainingServiceServer::new(Training {
        rule: config.retrain,
        parts,
    })
}

/// The gRPC service.
#[derive(Debug, Clone)]
pub struct Training {
    rule: RetrainRule,
    parts: Parts,
}

impl Training {
    async fn do_request(&self, by: &Principal, request: v1::RequestTrainingRequest) -> Result<TrainingJob, Error> {
        let (store, now) = (&self.parts.store, self.parts.clock.now());
        let class = store.class_by_name(&class_name(&request.class)?).await?;
        let reason = request.reason.trim();
        if reason.is_empty() || reason.len() > MAX_REASON {
            let wrong = format!("must say why, in at most {MAX_REASON} bytes");
            return Err(Malformed::new("reason", wrong).into());
        }
        let new = NewTrainingJob {
            class: class.id,
            reason: reason.to_owned(),
            requested_by: by.actor(),
            period: period(&request, now, self.rule.learn_period())?,
        };
        Ok(store.training_job_request(&new, now, requested).await?)
    }

    async fn do_list(&self, class: &str) -> Result<Vec<v1::TrainingJob>, Error> {
        let store = &self.parts.store;
        let class = match class {
            "" => None,
            text => Some(store.class_by_name(&class_name(text)?).await?.id),
        };
        let jobs = store.training_job_list(class, MOST_JOBS).await?;
        Ok(jobs.iter().map(wire).collect())
    }
}

/// The entry of a job that was asked for, by whomever.
fn requested(job: &TrainingJob) -> NewAuditEntry {
    let detail = json!({ "training_job_id": job.id, "reason": job.reason });
    let subject = format!("class:{}", job.class_name);
    NewAuditEntry::new(&job.requested_by, "training.request", subject, &detail)
}

/// What a person asks to learn from.
fn period(
    request: &v1::RequestTrainingRequest,
    now: Timestamp,
    usual: Duration,
) -> Result<(Timestamp, Timestamp), Malformed> {
    let until = time::optional("until", request.until)?.unwrap_or(now);
    let since = time::optional("since", request.since)?.unwrap_or(until - usual);
    if since >= until {
        return Err(Malformed::new("until", format!("{until} is not after since {since}")));
    }
    Ok((since, until))
}

fn wire(job: &TrainingJob) -> v1::TrainingJob {
    v1::TrainingJob {
        training_job_id: job.id.0,
        class: job.class_name.to_string(),
        reason: job.reason.clone(),
        requested_by: job.requested_by.clone(),
        requested_at: Some(time::to_wire(job.requested_at)),
        since: Some(time::to_wire(job.period.0)),
        until: Some(time::to_wire(job.period.1)),
        state: job.state.as_str().to_owned(),
        attempts: job.attempts,
        progress: job.progress,
        bundle_id: job.bundle.map_or(0, |bundle| bundle.0),
        error: job.error.clone(),
        finished_at: job.finished_at.map(time::to_wire),
    }
}

#[tonic::async_trait]
impl TrainingService for Training {
    #[tracing::instrument(skip_all, fields(class = request.get_ref().class))]
    async fn request_training(
        &self,
        request: Request<v1::RequestTrainingRequest>,
    ) -> Result<Response<v1::RequestTrainingResponse>, Status> {
        let by = caller(&request)?.clone();
        by.require_everywhere(PersonRole::Engineer, "ask for training")
            .map_err(Error::from)?;
        let job = self.do_request(&by, request.into_inner()).await?;
        Ok(Response::new(v1::RequestTrainingResponse { job: Some(wire(&job)) }))
    }

    async fn list_training_jobs(
        &self,
        request: Request<v1::ListTrainingJobsRequest>,
    ) -> Result<Response<v1::ListTrainingJobsResponse>, Status> {
        let by = caller(&request)?;
        by.require(PersonRole::Viewer, "list training jobs")
            .map_err(Error::from)?;
        let jobs = self.do_list(&request.into_inner().class).await?;
        Ok(Response::new(v1::ListTrainingJobsResponse { jobs }))
    }

    #[tracing::instrument(skip_all, fields(class = request.get_ref().class))]
    async fn compare_models(
        &self,
        request: Request<v1::CompareModelsRequest>,
    ) -> Result<Response<v1::CompareModelsResponse>, Status> {
        let by = caller(&request)?.clone();
        by.require(PersonRole::Viewer, "compare models").map_err(Error::from)?;
        Ok(Response::new(self.do_compare(&by, request.into_inner()).await?))
    }
}
