//! Champion and challenger: who judges a class, and who is tried beside.

use serde_json::json;
use tocsin_contracts::registry::v1::{PromoteRequest, SetChallengerRequest};
use tocsin_domain::lifecycle::{BundleState, ThresholdState};
use tocsin_domain::{Principal, Slug, ThresholdSetId};
use tocsin_store::access::NewAuditEntry;
use tocsin_store::binding::{Binding, NewBinding};
use tocsin_store::bundle::Bundle;
use tocsin_store::threshold::{Standing, ThresholdSetRecord};

use super::Bundles;
use crate::Error;

impl Bundles {
    /// Activates a threshold set made for the bundle, and with it the bundle: one row.
    pub(super) async fn make_champion(
        &self,
        principal: &Principal,
        request: &PromoteRequest,
    ) -> Result<Binding, Error> {
        let bundle = self.context.store.bundle_find(None, &request.bundle).await?;
        require_verified(&bundle)?;
        let set = match request.threshold_set_id {
            0 => self.newest_approved(&bundle).await?,
            number => self.set_made_for(&bundle, ThresholdSetId(number)).await?,
        };
        let (actor, now) = (principal.actor(), self.context.now());
        let audit = |binding: &Binding| {
            let detail = json!({
                "class": binding.class_name,
                "version": binding.version,
                "threshold_set_id": set,
                "reason": request.reason,
            });
            NewAuditEntry::new(&actor, "bundle.promote", bundle.digest, &detail)
        };
        let why = (actor.as_str(), request.reason.as_str());
        Ok(self.context.store.threshold_activate(set, why, now, audit).await?)
    }

    async fn newest_approved(&self, bundle: &Bundle) -> Result<ThresholdSetId, Error> {
        let sets = self.context.store.threshold_set_list(Some(bundle.class)).await?;
        let approved = |set: &ThresholdSetRecord| set.bundle == bundle.id && set.state == ThresholdState::Approved;
        let sets: Vec<ThresholdSetRecord> = sets.into_iter().filter(approved).collect();
        let standings = self.context.store.threshold_standings(&sets).await?;
        // One that waits for a person again, since a site came to ask for a second one, stands back; alone, it says so.
        let complete = standings.iter().position(Standing::is_complete).unwrap_or(0);
        sets.get(complete).map(|set| set.id).ok_or_else(|| {
            Error::precondition(format!(
                "bundle {} has no approved threshold set: propose, test and approve one, or name a retired one",
                bundle.id
            ))
        })
    }

    async fn set_made_for(&self, bundle: &Bundle, set: ThresholdSetId) -> Result<ThresholdSetId, Error> {
        let found = self.context.store.threshold_set_get(set).await?;
        if found.bundle != bundle.id {
            return Err(Error::precondition(format!(
                "threshold set {set} was made for bundle {}, not for bundle {}",
                found.bundle, bundle.id
            )));
        }
        Ok(set)
    }

    /// Names the bundle that is tried beside the champion, or none.
    pub(super) async fn make_challenger(
        &self,
        principal: &Principal,
        request: &SetChallengerRequest,
    ) -> Result<Binding, Error> {
        let name = Slug::parse("class", &request.class)?;
        let class = self.context.store.class_by_name(&name).await?.id;
        let challenger = match request.bundle.as_str() {
            "" => None,
            text => {
                let bundle = self.context.store.bundle_find(Some(class), text).await?;
                require_verified(&bundle)?;
                Some(bundle)
            }
        };
        let current = self.context.store.binding_current(class).await?;
        let champion = current.as_ref().and_then(|binding| binding.champion).map(|(id, _)| id);
        if let Some(bundle) = challenger.as_ref().filter(|bundle| Some(bundle.id) == champion) {
            return Err(Error::precondition(format!(
                "bundle {} is the champion of {name}",
                bundle.id
            )));
        }
        let reason = match &challenger {
            Some(bundle) => format!("challenger {}", bundle.digest.short()),
            None => "no challenger".to_owned(),
        };
        let new = NewBinding {
            class,
            expected_version: current.as_ref().map_or(0, |binding| binding.version),
            champion,
            challenger: challenger.as_ref().map(|bundle| bundle.id),
            threshold_set: current.and_then(|binding| binding.threshold_set),
            changed_by: principal.actor(),
            reason,
        };
        let audit = |binding: &Binding| {
            let detail = json!({ "version": binding.version, "bundle_id": new.challenger });
            NewAuditEntry::new(principal.actor(), "challenger.set", &name, &detail)
        };
        let store = &self.context.store;
        Ok(store.binding_append(&new, self.context.now(), audit).await?)
    }
}

fn require_verified(bundle: &Bundle) -> Result<(), Error> {
    match bundle.state {
        BundleState::Verified => Ok(()),
        BundleState::Pending | BundleState::Rejected => {
            let state = bundle.state.as_str();
            Err(Error::precondition(format!(
                "bundle {} is {state}: only a verified one may judge",
                bundle.id
            )))
        }
    }
}
