//! A threshold set on its way: tested, approved, activated, and taken back.

use tocsin_contracts::recalibrator::v1;
use tocsin_domain::lifecycle::ThresholdState;
use tocsin_domain::{Principal, ThresholdSetId};
use tocsin_store::binding::Binding;
use tocsin_store::threshold::ThresholdSetRecord;

use crate::service::{class_name, in_force_entry, set_entry};
use crate::stored_set::{definition, expect_state, provenance};
use crate::{Approval, Error, Provenance, Service, Trial};

impl Service {
    pub(crate) async fn do_test(&self, by: &Principal, id: ThresholdSetId) -> Result<ThresholdSetRecord, Error> {
        let record = self.parts.store.threshold_set_get(id).await?;
        expect_state(&record, ThresholdState::Proposed)?;
        let provenance = self.tried(by, &record).await?;
        self.advance(by, &record, ThresholdState::Tested, &provenance).await
    }

    /// The provenance of a set with a trial over the scores it may see.
    pub(crate) async fn tried(&self, by: &Principal, record: &ThresholdSetRecord) -> Result<Provenance, Error> {
        let (set, mut provenance) = (definition(record)?, provenance(record)?);
        let bundle = self.parts.store.bundle_by_id(record.bundle).await?;
        let step = self.parts.store.class_by_id(record.class).await?.step;
        let healthy = self.healthy(&by.scope(), &bundle, provenance.source).await?;
        let who_when = (by.actor(), self.parts.clock.now());
        let trial = tokio::task::spawn_blocking(move || Trial::run(&set, step, &healthy.readings, who_when)).await?;
        provenance.trial = Some(trial);
        Ok(provenance)
    }

    pub(crate) async fn do_approve(
        &self,
        by: &Principal,
        request: v1::ApproveRequest,
    ) -> Result<ThresholdSetRecord, Error> {
        let record = self
            .parts
            .store
            .threshold_set_get(ThresholdSetId(request.threshold_set_id))
            .await?;
        expect_state(&record, ThresholdState::Tested)?;
        let mut provenance = provenance(&record)?;
        provenance.approval = Some(Approval {
            by: by.actor(),
            at: self.parts.clock.now(),
            reason: request.reason,
        });
        self.advance(by, &record, ThresholdState::Approved, &provenance).await
    }

    pub(crate) async fn advance(
        &self,
        by: &Principal,
        record: &ThresholdSetRecord,
        to: ThresholdState,
        provenance: &Provenance,
    ) -> Result<ThresholdSetRecord, Error> {
        let audit = |moved: &ThresholdSetRecord| {
            let action = format!("threshold_set.{}", moved.state.as_str());
            set_entry(by, &action, moved)
        };
        let (json, step, now) = (provenance.to_json(), (record.state, to), self.parts.clock.now());
        let store = &self.parts.store;
        Ok(store
            .threshold_set_set_state(record.id, step, Some(&json), now, audit)
            .await?)
    }

    pub(crate) async fn do_activate(
        &self,
        by: &Principal,
        request: v1::ActivateRequest,
    ) -> Result<ThresholdSetRecord, Error> {
        let store = &self.parts.store;
        let set = ThresholdSetId(request.threshold_set_id);
        let (actor, now) = (by.actor(), self.parts.clock.now());
        let audit = |binding: &Binding| in_force_entry(by, "threshold_set.activate", binding, &request.reason);
        store
            .threshold_activate(set, (&actor, &request.reason), now, audit)
            .await?;
        Ok(store.threshold_set_get(set).await?)
    }

    pub(crate) async fn do_rollback(
        &self,
        by: &Principal,
        request: v1::RollbackRequest,
    ) -> Result<ThresholdSetRecord, Error> {
        let store = &self.parts.store;
        let class = store.class_by_name(&class_name(&request.class)?).await?;
        let history = store.binding_history(Some(class.id), None).await?;
        let judges = |binding: &Binding| (binding.champion, binding.threshold_set);
        let before = history
            .first()
            .and_then(|present| history.iter().find(|b| judges(b) != judges(present)));
        // Going back to a time without limits would leave the class unjudged; that is nobody's wish here.
        before
            .and_then(|binding| binding.threshold_set)
            .ok_or_else(|| Error::NothingBefore(class.name.clone()))?;
        let (actor, now) = (by.actor(), self.parts.clock.now());
        let audit = |binding: &Binding| in_force_entry(by, "threshold_set.rollback", binding, &request.reason);
        let binding = store
            .binding_rollback(class.id, (&actor, &request.reason), now, audit)
            .await?;
        let set = binding.threshold_set.ok_or(Error::NothingBefore(class.name))?;
        Ok(store.threshold_set_get(set).await?)
    }
}
