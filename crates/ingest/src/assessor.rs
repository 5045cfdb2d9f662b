//! The way to the ensembles: any of them, another one if it fails, again after a pause, until the deadline.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tocsin_contracts::Malformed;
use tocsin_contracts::ensemble::ReadingOutcome;
use tocsin_contracts::ensemble::v1::AssessRequest;
use tocsin_contracts::ensemble::v1::ensemble_service_client::EnsembleServiceClient;
use tocsin_contracts::ingest::v1::{Refusal, RefusalCode};
use tocsin_transport::{Replicas, retry};
use tonic::{Code, Status};

use crate::Config;

/// Calls ensembles.
#[derive(Debug)]
pub(crate) struct Assessor {
    ensembles: Replicas,
    policy: retry::Policy,
    /// Each batch gets its own jitter, or those that failed together come back together.
    jitter: AtomicU64,
    deadline: Duration,
    /// One ensemble's share of it: a call that hangs leaves time for another.
    attempt: Duration,
    retry_after_ms: u32,
}

impl Assessor {
    pub(crate) fn new(config: &Config, ensembles: Replicas) -> Self {
        let deadline = Duration::from_millis(config.assess_deadline_ms.get());
        let attempts = if ensembles.count() > 1 { 2 } else { 1 };
        Self {
            ensembles,
            policy: config.assess_retry.clone(),
            jitter: AtomicU64::new(config.assess_retry.jitter_seed),
            deadline,
            attempt: deadline / attempts,
            retry_after_ms: config.retry_after_ms,
        }
    }

    /// Has readings assessed and committed: one outcome each, in order. Or why the batch as a whole was not.
    pub(crate) async fn assess(&self, request: AssessRequest) -> Result<Vec<ReadingOutcome>, Refusal> {
        let asked = request.readings.len();
        let policy = retry::Policy {
            jitter_seed: self.jitter.fetch_add(1, Ordering::Relaxed),
            ..self.policy.clone()
        };
        // Sending the same readings twice changes nothing, so the call may be repeated.
        let last = Mutex::new(None);
        let call = retry::retry(&policy, || {
            let answer = self.ensembles.first_available(|ensemble| {
                let request = request.clone();
                let ensemble = ensemble.with_deadline(Some(self.attempt));
                async move { EnsembleServiceClient::new(ensemble).assess(request).await }
            });
            let note = |status: &Status| *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(status.clone());
            async move { answer.await.inspect_err(note) }
        });
        let ended = tokio::time::timeout(self.deadline, call).await;
        let answer = ended.unwrap_or_else(|_| {
            // Out of time: the last failure says why.
            let silent = || Status::unavailable(format!("no answer within {} ms", self.deadline.as_millis()));
            let last = last.lock().unwrap_or_else(PoisonError::into_inner).take();
            Err(last.unwrap_or_else(silent))
        });
        let answer = answer.map_err(|status| self.refusal(&status))?;
        let outcomes: Result<Vec<ReadingOutcome>, Malformed> = answer
            .value
            .into_inner()
            .outcomes
            .into_iter()
            .map(ReadingOutcome::try_from)
            .collect();
        match outcomes {
            Ok(outcomes) if outcomes.len() == asked => Ok(outcomes),
            Ok(outcomes) => {
                tracing::error!(asked, answered = outcomes.len(), from = %answer.from, "ensemble's answer does not fit");
                Err(self.unavailable("the ensemble's answer does not fit the batch".to_owned()))
            }
            Err(error) => {
                tracing::error!(%error, from = %answer.from, "ensemble's answer can't be read");
                Err(self.unavailable("the ensemble's answer can't be read".to_owned()))
            }
        }
    }

    pub(crate) fn unavailable(&self, reason: String) -> Refusal {
        Refusal {
            code: RefusalCode::Unavailable.into(),
            reason,
            retry_after_ms: self.retry_after_ms,
        }
    }

    /// An ensemble's status in the words of the contract.
    fn refusal(&self, status: &Status) -> Refusal {
        let hint = retry::after(status).map(|wait| wait.as_millis() as u32);
        tracing::warn!(code = ?status.code(), message = status.message(), "batch was not assessed");
        match (status.code(), hint) {
            (Code::ResourceExhausted, Some(retry_after_ms)) => Refusal {
                code: RefusalCode::Overloaded.into(),
                reason: "the ensembles have too much to do".to_owned(),
                retry_after_ms,
            },
            (Code::ResourceExhausted, None) => Refusal {
                code: RefusalCode::TooLarge.into(),
                reason: "the batch is too large for an ensemble: send fewer readings at a time".to_owned(),
                retry_after_ms: 0,
            },
            // It will never be taken: sending the same again would not help.
            (Code::InvalidArgument, _) => Refusal {
                retry_after_ms: 0,
                ..self.unavailable(format!("the ensemble can't take the batch: {}", status.message()))
            },
            (_, hint) => Refusal {
                retry_after_ms: hint.unwrap_or(self.retry_after_ms),
                ..self.unavailable("no ensemble can take the batch at the moment".to_owned())
            },
        }
    }
}
