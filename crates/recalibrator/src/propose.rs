//! Proposing a threshold set: from healthy scores to a stored one.

use std::sync::Arc;

use tocsin_contracts::Malformed;
use tocsin_contracts::recalibrator::v1;
use tocsin_domain::{Principal, Slug, Timestamp};
use tocsin_judge::ThresholdSet;
use tocsin_store::bundle::Bundle;
use tocsin_store::threshold::{NewThresholdSet, ThresholdSetRecord};

use crate::fleet_limits::{ExpectedPages, FleetLimits};
use crate::provenance::{Lines, Proposal};
use crate::scores::all_of;
use crate::service::{class_name, set_entry};
use crate::wire::{self, Method};
use crate::{Error, Provenance, Service, Source};

/// A set, and where its numbers came from.
pub(crate) type Proposed = (ThresholdSet, Provenance);

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
            (Method::Percentiles(lines), _) => self.percentiles(by, (&bundle, lines), proposal).await?,
            (Method::FleetReplay(limits), Source::Logged { from, to }) => {
                self.fleet_replay(by, (&bundle, limits), (from, to), proposal).await?
            }
            (Method::Labels, Source::Logged { from, to }) => self.labels(by, &bundle, (proposal, (from, to))).await?,
            (Method::Labels, Source::HeldOut) => {
                let reason = "held_out scores have no labels: this method takes logged ones";
                return Err(Malformed::new("source", reason).into());
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
            by_person: matches!(by, Principal::Person(_)),
        };
        let audit = |record: &ThresholdSetRecord| set_entry(by, "threshold_set.propose", record);
        Ok(self.parts.store.threshold_set_insert(&new, now, audit).await?)
    }

    async fn percentiles(
        &self,
        by: &Principal,
        (bundle, lines): (&Bundle, Lines),
        proposal: Proposal,
    ) -> Result<Proposed, Error> {
        let healthy = self.healthy(&by.scope(), bundle, proposal.source).await?;
        let persistence = self.config.persistence;
        let (healthy, set) = tokio::task::spawn_blocking(move || {
            let set = match lines {
                Lines::ReadOff => ThresholdSet::from_order_statistics(&healthy.scores(), persistence),
                Lines::Fitted => ThresholdSet::from_healthy_percentiles(&healthy.scores(), persistence),
            };
            (healthy, set)
        })
        .await?;
        let set = set?;
        let expected = self.expected_of(by, bundle, &set, proposal.source).await?;
        let provenance = Provenance {
            expected,
            ..Provenance::percentiles(proposal, lines, &healthy, &set)
        };
        Ok((set, provenance))
    }

    /// What a set from logged scores is expected to page. Those that a bundle brings along name no site.
    pub(crate) async fn expected_of(
        &self,
        by: &Principal,
        bundle: &Bundle,
        set: &ThresholdSet,
        source: Source,
    ) -> Result<Option<ExpectedPages>, Error> {
        let Source::Logged { from, to } = source else {
            return Ok(None);
        };
        let replayed = all_of(bundle, (from, to));
        let sets = [Arc::new(set.clone())];
        let (expected, machines_left_out) = self.expected(&by.scope(), bundle, &replayed, (&sets, 1)).await?;
        Ok(expected.first().map(|expected| ExpectedPages {
            in_sample: true,
            machines_left_out,
            expected: *expected,
            budget: None,
            candidates: Vec::new(),
        }))
    }

    async fn fleet_replay(
        &self,
        by: &Principal,
        (bundle, limits): (&Bundle, FleetLimits),
        period: (Timestamp, Timestamp),
        proposal: Proposal,
    ) -> Result<Proposed, Error> {
        let found = self.fleet_replay_set(&by.scope(), (bundle, limits), period).await?;
        let provenance = Provenance::fleet_replay(proposal, &found, self.config.persistence);
        Ok((found.set, provenance))
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
