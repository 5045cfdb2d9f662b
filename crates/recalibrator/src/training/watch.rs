//! Asks for training when a class has left its model behind.
//!
//! Every replica looks; that a class has one unfinished job, and one in a cool-down, is held by the store.

use tocsin_detect::drift::FollowRule;
use tocsin_domain::{BundleDigest, BundleId, ClassId, Clock};
use tocsin_models::BundleStore;
use tocsin_store::Store;
use tocsin_store::binding::Binding;
use tocsin_store::training_job::NewTrainingJob;
use tokio_util::sync::CancellationToken;

use super::drift;
use super::rule::RetrainRule;
use crate::Error;

/// The fewest healthy readings of a sensor whose median residual is told.
const FEWEST_READINGS: u32 = 30;

/// Looks at classes.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) store: Store,
    pub(crate) bundles: BundleStore,
    pub(crate) clock: Clock,
    pub(crate) rule: RetrainRule,
    pub(crate) follow: FollowRule,
}

impl Watch {
    /// Looks at every class again and again, until shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        if !self.rule.on_drift {
            return shutdown.cancelled().await;
        }
        let work = async {
            loop {
                if let Err(error) = self.round().await {
                    tracing::warn!(%error, "classes wait to be looked at for drift");
                }
                tokio::time::sleep(self.rule.interval()).await;
            }
        };
        shutdown.run_until_cancelled(work).await;
    }

    /// Looks at every class that has a champion; one that can't be looked at keeps no other from its turn.
    async fn round(&self) -> Result<(), Error> {
        for binding in self.store.binding_current_all().await? {
            let Some(champion) = binding.champion else { continue };
            match self.reason(binding.class, champion).await {
                Ok(Some(reason)) => self.ask(&binding, reason).await?,
                Ok(None) => {}
                Err(error) => tracing::warn!(class = %binding.class_name, %error, "drift can't be told this time"),
            }
        }
        Ok(())
    }

    async fn reason(&self, class: ClassId, champion: (BundleId, BundleDigest)) -> Result<Option<String>, Error> {
        let since = self.clock.now() - self.rule.look_back();
        let departures = self.store.training_departures(class, since).await?;
        if let Some(reason) = drift::moved(&departures, self.follow) {
            return Ok(Some(reason));
        }
        let (id, digest) = champion;
        let lately = self.store.training_residuals(class, id, since, FEWEST_READINGS).await?;
        if lately.is_empty() {
            return Ok(None);
        }
        let bundle = self.bundles.get(&digest).await?;
        Ok(drift::residual_moved(&lately, bundle.held_out()))
    }

    async fn ask(&self, binding: &Binding, reason: String) -> Result<(), Error> {
        let now = self.clock.now();
        let new = NewTrainingJob {
            class: binding.class,
            reason,
            requested_by: "recalibrator".to_owned(),
            period: (now - self.rule.learn_period(), now),
        };
        let job = self
            .store
            .training_job_request_rarely(&new, self.rule.cool_down(), now, super::requested)
            .await?;
        if let Some(job) = job {
            tracing::info!(class = %binding.class_name, job = %job.id, reason = job.reason, "training is asked for");
        }
        Ok(())
    }
}
