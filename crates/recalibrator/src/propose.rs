//! Proposing a threshold set: from healthy scores to a stored one.

use tocsin_contracts::Malformed;
use tocsin_contracts::recalibrator::v1;
use tocsin_domain::{Principal, Scope, Slug, Timestamp};
use tocsin_judge::{FleetReplay, ThresholdSet};
use tocsin_store::bundle::Bundle;
use tocsin_store::threshold::{NewThresholdSet, ThresholdSetRecord};

use crate::provenance::Proposal;
use crate::reached::Reached;
use crate::scores::Healthy;
use crate::service::class_name;
use crate::wire::{self, Method};
use crate::{Error, Provenance, Service, Source};

/// A set, and where its numbers came from.
type Proposed = (ThresholdSet, Provenance);

/// A set by fleet replay, and the scores behind it.
pub(crate) struct FleetReplaySet {
    pub(crate) set: ThresholdSet,
    pub(crate) reached: Reached,
    pub(crate) held_out: Healthy,
}

impl Service {
    pub(crate) async fn do_propose(
        &self,
        by: &Principal,
        request: v1::ProposeRequest,
    ) -> Result<ThresholdSetRecord, Error> {
        let (source, method) = (wire::source(request.source)?, wire::method(request.method)?);
        let class = self.parts.store.class_by_name(&class_name(&request.class)?).await?;
        let bundle = match request.bundle.as_str() {
            "" => self.champion(&class.name).await?,
            text => self.parts.store.bundle_find(Some(class.id), text).await?,
        };
        let now = self.parts.clock.now();
        let proposal = Proposal {
            source,
            bundle_id: bundle.id,
            bundle_digest: bundle.digest,
            by: by.actor(),
            at: now,
            reason: request.reason.clone(),
        };
        let (set, provenance) = match (method, source) {
            (Method::Percentiles, _) => self.percentiles(by, &bundle, proposal).await?,
            (Method::FleetReplay(method), Source::Logged { from, to }) => {
                self.fleet_replay(by, (&bundle, method), (from, to), proposal).await?
            }
            (Method::FleetReplay(_), Source::HeldOut) => {
                let reason = "held_out scores know no baseline: fleet replay takes logged ones";
                return Err(Malformed::new("source", reason).into());
            }
        };
        let new = NewThresholdSet {
            class: class.id,
            bundle: bundle.id,
            definition_json: serde_json::to_string(&set).expect("finite numbers and names have a JSON form"),
            provenance_json: provenance.to_json(),
            reason: request.reason,
            created_by: by.actor(),
        };
        let record = self.parts.store.threshold_set_insert(&new, now).await?;
        self.audit(by, "threshold_set.propose", &record).await;
        Ok(record)
    }

    async fn percentiles(&self, by: &Principal, bundle: &Bundle, proposal: Proposal) -> Result<Proposed, Error> {
        let healthy = self.healthy(&by.scope(), bundle, proposal.source).await?;
        let persistence = self.config.persistence;
        let (healthy, set) = tokio::task::spawn_blocking(move || {
            let set = ThresholdSet::from_healthy_percentiles(&healthy.scores(), persistence);
            (healthy, set)
        })
        .await?;
        let set = set?;
        let provenance = Provenance::percentiles(proposal, &healthy, &set);
        Ok((set, provenance))
    }

    async fn fleet_replay(
        &self,
        by: &Principal,
        (bundle, method): (&Bundle, FleetReplay),
        period: (Timestamp, Timestamp),
        proposal: Proposal,
    ) -> Result<Proposed, Error> {
        let found = self.fleet_replay_set(&by.scope(), (bundle, method), period).await?;
        let persistence = self.config.persistence;
        let behind = (&found.reached, &found.held_out);
        let provenance = Provenance::fleet_replay(proposal, (&method, persistence), behind, &found.set);
        Ok((found.set, provenance))
    }

    /// The set that fleet replay makes of a period.
    pub(crate) async fn fleet_replay_set(
        &self,
        scope: &Scope,
        (bundle, method): (&Bundle, FleetReplay),
        period: (Timestamp, Timestamp),
    ) -> Result<FleetReplaySet, Error> {
        let held_out = self.healthy(scope, bundle, Source::HeldOut).await?;
        let step = self.parts.store.class_by_id(bundle.class).await?.step;
        let settings = (&self.config, step);
        let reached = Reached::in_period(&self.parts.store, scope, bundle, period, settings).await?;
        if reached.readings == 0 {
            return Err(Error::NoScores(
                "none were logged in that period under that bundle against the active baselines, on machines without an \
                 incident",
            ));
        }
        let persistence = self.config.persistence;
        tokio::task::spawn_blocking(move || {
            let largest = |detector| reached.largest(detector).to_vec();
            let set = method.beside_percentiles(&held_out.scores(), largest, persistence)?;
            Ok(FleetReplaySet { set, reached, held_out })
        })
        .await?
    }

    pub(crate) async fn champion(&self, class: &Slug) -> Result<Bundle, Error> {
        let found = self.parts.store.class_by_name(class).await?;
        let binding = self.parts.store.binding_current(found.id).await?;
        let (champion, _) = binding
            .and_then(|binding| binding.champion)
            .ok_or_else(|| Error::NoChampion(class.clone()))?;
        Ok(self.parts.store.bundle_by_id(champion).await?)
    }
}
