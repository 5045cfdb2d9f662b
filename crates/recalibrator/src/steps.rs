//! A threshold set on its way: tested, approved, activated, and taken back.

use std::sync::Arc;

use serde_json::json;
use tocsin_archive::Replayed;
use tocsin_contracts::recalibrator::v1;
use tocsin_domain::lifecycle::ThresholdState;
use tocsin_domain::{PersonRole, Principal, Scope, ThresholdSetId};
use tocsin_store::access::NewAuditEntry;
use tocsin_store::binding::Binding;
use tocsin_store::threshold::{Agreed, Standing, ThresholdSetRecord};

use crate::scores::all_of;
use crate::service::{class_name, in_force_entry, set_entry};
use crate::stored_set::{definition, expect_state, provenance};
use crate::{Approval, Error, MethodKind, Provenance, Service, Source, Trial, wire};

/// What it is that a person does who agrees.
pub(crate) const APPROVE: &str = "approve alarm limits";

/// The entry of a person's agreement: that the set is approved, or that it waits, and for whom.
fn agreed_entry(by: &Principal, agreed: &Agreed, reason: &str) -> NewAuditEntry {
    let Agreed { record, standing } = agreed;
    let action = match record.state {
        ThresholdState::Approved if standing.is_complete() => "threshold_set.approved",
        _ if standing.approvals.is_empty() => "threshold_set.asked",
        _ => "threshold_set.agreed",
    };
    let detail = json!({
        "class": record.class_name, "state": record.state, "bundle": record.bundle, "reason": reason,
        "asked_by": standing.asked.as_ref().map(|asked| &asked.by), "waits_for": standing.waits_for(&Scope::All),
    });
    NewAuditEntry::new(by.actor(), action, format!("threshold_set:{}", record.id), &detail)
}

impl Service {
    pub(crate) async fn do_test(&self, by: &Principal, id: ThresholdSetId) -> Result<ThresholdSetRecord, Error> {
        let record = self.parts.store.threshold_set_get(id).await?;
        expect_state(&record, ThresholdState::Proposed)?;
        let provenance = self.tried(by, &record).await?;
        self.advance(by, &record, ThresholdState::Tested, &provenance).await
    }

    /// The provenance of a set with a trial over the scores it may see.
    pub(crate) async fn tried(&self, by: &Principal, record: &ThresholdSetRecord) -> Result<Provenance, Error> {
        let (set, mut provenance) = (Arc::new(definition(record)?), provenance(record)?);
        let bundle = self.parts.store.bundle_by_id(record.bundle).await?;
        let who_when = (by.actor(), self.parts.clock.now());
        let trial = match provenance.source {
            Source::Logged { from, to } => {
                // What an earlier epoch reached said nothing to these limits, and says nothing of them.
                let replayed = Replayed {
                    active_baselines_only: provenance.found_by() == MethodKind::FleetReplay,
                    ..all_of(&bundle, (from, to))
                };
                self.trial_over(&by.scope(), (&bundle, set), replayed, who_when).await?
            }
            Source::HeldOut => {
                let step = self.parts.store.class_by_id(record.class).await?.step;
                let healthy = self.healthy(&by.scope(), &bundle, provenance.source).await?;
                tokio::task::spawn_blocking(move || Trial::run(&set, step, &healthy.readings, who_when)).await?
            }
        };
        provenance.trial = Some(trial);
        Ok(provenance)
    }

    /// A person agrees: asks for a set that nobody asked for, or approves it. Limits are a class's at every site, so that takes an
    /// engineer who sees them all; but where a site of the class asks for a second person, one who sees that site will do.
    pub(crate) async fn do_approve(
        &self,
        by: &Principal,
        request: v1::ApproveRequest,
    ) -> Result<ThresholdSetRecord, Error> {
        let store = &self.parts.store;
        let record = store
            .threshold_set_get(ThresholdSetId(request.threshold_set_id))
            .await?;
        let standing = self.standing(&record).await?;
        if !standing.takes_local(&by.scope()) {
            by.require_everywhere(PersonRole::Engineer, APPROVE)?;
        }
        // The trial that a test is about to write would be lost under what was read before it.
        if record.state == ThresholdState::Proposed {
            expect_state(&record, ThresholdState::Tested)?;
        }
        let mut provenance = provenance(&record)?;
        let now = self.parts.clock.now();
        provenance.approval = Some(Approval {
            by: by.actor(),
            at: now,
            reason: request.reason.clone(),
        });
        let Principal::Person(person) = by else {
            expect_state(&record, ThresholdState::Tested)?;
            if !standing.asking.is_empty() {
                let sites: Vec<&str> = standing.asking.iter().map(|(_, name)| name.as_str()).collect();
                return Err(Error::NoPerson {
                    set: record.id,
                    sites: sites.join(", "),
                });
            }
            return self.advance(by, &record, ThresholdState::Approved, &provenance).await;
        };
        let who_why = (person.name.as_str(), request.reason.as_str(), &person.scope);
        let audit = |agreed: &Agreed| agreed_entry(by, agreed, &request.reason);
        let agreed = store
            .threshold_agree(record.id, who_why, &provenance.to_json(), now, audit)
            .await?;
        Ok(agreed.record)
    }

    async fn standing(&self, record: &ThresholdSetRecord) -> Result<Standing, Error> {
        let standings = self
            .parts
            .store
            .threshold_standings(std::slice::from_ref(record))
            .await?;
        Ok(standings.into_iter().next().unwrap_or_default())
    }

    /// A set as who sees the sites of `scope` is shown it.
    pub(crate) async fn shown(&self, scope: &Scope, record: ThresholdSetRecord) -> Result<v1::ThresholdSet, Error> {
        let standing = self.standing(&record).await?;
        Ok(wire::threshold_set(record, standing, scope))
    }

    /// The same of many.
    pub(crate) async fn all_shown(
        &self,
        scope: &Scope,
        records: Vec<ThresholdSetRecord>,
    ) -> Result<Vec<v1::ThresholdSet>, Error> {
        let standings = self.parts.store.threshold_standings(&records).await?;
        let shown = records.into_iter().zip(standings);
        Ok(shown
            .map(|(record, standing)| wire::threshold_set(record, standing, scope))
            .collect())
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
