//! Which limits are tried, for which bundle's scores, and what they are held against.

use tocsin_contracts::Malformed;
use tocsin_domain::fleet::MachineClass;
use tocsin_domain::lifecycle::ThresholdState;
use tocsin_domain::{BundleId, ClassId, Scope, ThresholdSetId};
use tocsin_judge::ThresholdSet;
use tocsin_store::bundle::Bundle;
use tocsin_store::threshold::ThresholdSetRecord;

use crate::service::class_name;
use crate::stored_set::definition;
use crate::wire::what_if::{Asked, Limits};
use crate::{Error, Service};

/// The bundle that is tried beside the champion, whichever that is.
const CHALLENGER: &str = "challenger";

/// The limits asked for.
pub(crate) struct Candidate {
    pub(crate) class: MachineClass,
    pub(crate) bundle: BundleId,
    pub(crate) id: Option<ThresholdSetId>,
    pub(crate) set: ThresholdSet,
}

/// The limits in force.
pub(crate) struct InForce {
    pub(crate) id: ThresholdSetId,
    pub(crate) bundle: BundleId,
    pub(crate) set: ThresholdSet,
}

impl Service {
    pub(super) async fn candidate(&self, scope: &Scope, asked: &Asked) -> Result<Candidate, Error> {
        match &asked.limits {
            Limits::Stored(id) => self.stored_candidate(*id, asked).await,
            Limits::NewestOfBundle => self.newest_of_bundle(asked).await,
            Limits::FleetReplay(method) => {
                let class = self.parts.store.class_by_name(&class_name(&asked.class)?).await?;
                let bundle = self.champion(&class.name).await?;
                let found = self.fleet_replay_set(scope, (&bundle, *method), asked.period).await?;
                Ok(Candidate {
                    class,
                    bundle: bundle.id,
                    id: None,
                    set: found.set,
                })
            }
        }
    }

    async fn stored_candidate(&self, id: ThresholdSetId, asked: &Asked) -> Result<Candidate, Error> {
        let record = self.parts.store.threshold_set_get(id).await?;
        if !asked.class.is_empty() && asked.class != record.class_name.as_str() {
            let reason = format!(
                "threshold set {id} is for class {}, not {}",
                record.class_name, asked.class
            );
            return Err(Malformed::new("class", reason).into());
        }
        if !asked.bundle.is_empty() {
            let bundle = self.bundle_asked(Some(record.class), &asked.bundle).await?;
            if bundle.id != record.bundle {
                let reason = format!(
                    "threshold set {id} has lines for the scores of bundle {}, not of bundle {}: name one of that bundle, or \
                     none for its newest",
                    record.bundle, bundle.id
                );
                return Err(Malformed::new("threshold_set_id", reason).into());
            }
        }
        self.of_record(&record).await
    }

    /// The newest set of the bundle asked for.
    async fn newest_of_bundle(&self, asked: &Asked) -> Result<Candidate, Error> {
        let store = &self.parts.store;
        let class = match asked.class.as_str() {
            "" if asked.bundle == CHALLENGER => {
                let reason = "is missing: every class has a challenger of its own";
                return Err(Malformed::new("class", reason).into());
            }
            "" => None,
            text => Some(store.class_by_name(&class_name(text)?).await?.id),
        };
        let bundle = self.bundle_asked(class, &asked.bundle).await?;
        let sets = store.threshold_set_list(Some(bundle.class)).await?;
        let is_candidate = |set: &&ThresholdSetRecord| set.bundle == bundle.id && set.state != ThresholdState::Rejected;
        let newest = sets.iter().find(is_candidate).ok_or_else(|| {
            let reason = format!(
                "bundle {} of class {} has no limits yet: propose some for it, and it can be tried",
                bundle.id, bundle.class_name
            );
            Malformed::new("bundle", reason)
        })?;
        self.of_record(newest).await
    }

    async fn of_record(&self, record: &ThresholdSetRecord) -> Result<Candidate, Error> {
        Ok(Candidate {
            class: self.parts.store.class_by_id(record.class).await?,
            bundle: record.bundle,
            id: Some(record.id),
            set: definition(record)?,
        })
    }

    async fn bundle_asked(&self, class: Option<ClassId>, text: &str) -> Result<Bundle, Error> {
        let store = &self.parts.store;
        let Some(class) = class.filter(|_| text == CHALLENGER) else {
            return Ok(store.bundle_find(class, text).await?);
        };
        let binding = store.binding_current(class).await?;
        match binding.and_then(|binding| binding.challenger) {
            Some((challenger, _)) => Ok(store.bundle_by_id(challenger).await?),
            None => Err(Error::NoChallenger(store.class_by_id(class).await?.name)),
        }
    }

    /// What is in force of the candidate's class, whatever bundle that is for, or why there is nothing.
    pub(super) async fn in_force_of_class(&self, candidate: &Candidate) -> Result<Result<InForce, String>, Error> {
        let store = &self.parts.store;
        let binding = store.binding_current(candidate.class.id).await?;
        let Some(id) = binding.and_then(|binding| binding.threshold_set) else {
            return Ok(Err(format!("class {} has no limits in force", candidate.class.name)));
        };
        let record = store.threshold_set_get(id).await?;
        Ok(Ok(InForce {
            id,
            bundle: record.bundle,
            set: definition(&record)?,
        }))
    }

    /// The same where its logged scores are the candidate's too, or why it can't be compared.
    pub(crate) async fn in_force(&self, candidate: &Candidate) -> Result<Result<InForce, String>, Error> {
        let found = self.in_force_of_class(candidate).await?;
        Ok(found.and_then(|in_force| {
            if in_force.bundle == candidate.bundle {
                return Ok(in_force);
            }
            Err(format!(
                "threshold set {}, in force, is for bundle {}, and these limits are for bundle {}: they judge other scores; \
                 name the bundle, and both are held against the spectra that are kept",
                in_force.id, in_force.bundle, candidate.bundle
            ))
        }))
    }
}
