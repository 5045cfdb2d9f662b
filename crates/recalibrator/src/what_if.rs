//! What limits would have opened over a class's stored scores, beside those in force. Changes nothing.
//!
//! Stored scores, archived days' from their files, are replayed by the code that judges live ([`crate::replay`]). The
//! replay begins with nothing open, and takes every reading as if it had come in time.

use std::sync::Arc;

use tocsin_archive::Replayed;
use tocsin_contracts::Malformed;
use tocsin_contracts::recalibrator::v1;
use tocsin_domain::fleet::MachineClass;
use tocsin_domain::{BundleId, MachineId, Principal, Scope, ThresholdSetId};
use tocsin_judge::compare::{Comparison, compare};
use tocsin_judge::{Expected, MachineReplay, Tally, ThresholdSet};
use tocsin_store::fleet::Machine;

use crate::service::class_name;
use crate::stored_set::definition;
use crate::wire::what_if::{Asked, Limits};
use crate::{Error, Service, wire};

/// What a machine had under the limits asked for, and how that differs from those in force.
pub(crate) struct MachineOutcome {
    pub(crate) machine: Machine,
    pub(crate) replay: MachineReplay,
    pub(crate) comparison: Comparison,
}

/// The answer, in the domain's words.
pub(crate) struct WhatIf {
    pub(crate) class: MachineClass,
    pub(crate) bundle: BundleId,
    pub(crate) set: Option<ThresholdSetId>,
    pub(crate) expected: Expected,
    pub(crate) machines: Vec<MachineOutcome>,
    /// The set in force and what it would have opened, or why nothing is held against it.
    pub(crate) active: Result<(ThresholdSetId, Expected), String>,
}

/// The limits asked for.
pub(crate) struct Candidate {
    pub(crate) class: MachineClass,
    pub(crate) bundle: BundleId,
    pub(crate) id: Option<ThresholdSetId>,
    pub(crate) set: ThresholdSet,
}

impl Service {
    pub(crate) async fn do_what_if(
        &self,
        by: &Principal,
        request: v1::WhatIfRequest,
    ) -> Result<v1::WhatIfResponse, Error> {
        let asked = wire::what_if::asked(request)?;
        let candidate = self.candidate(&by.scope(), &asked).await?;
        let active = self.in_force(&candidate).await?;
        let replayed = Replayed {
            bundle: candidate.bundle,
            period: asked.period,
            active_baselines_only: false,
            historical: asked.historical,
        };
        let what_if = self
            .replay_fleet(&by.scope(), candidate, active, (&replayed, asked.persons))
            .await?;
        if what_if.expected.readings == 0 {
            return Err(Error::NoScores("none were logged in that period under that bundle"));
        }
        Ok(wire::what_if::response(what_if))
    }

    async fn candidate(&self, scope: &Scope, asked: &Asked) -> Result<Candidate, Error> {
        let store = &self.parts.store;
        match &asked.limits {
            Limits::Stored(id) => {
                let record = store.threshold_set_get(*id).await?;
                if !asked.class.is_empty() && asked.class != record.class_name.as_str() {
                    let reason = format!(
                        "threshold set {id} is for class {}, not {}",
                        record.class_name, asked.class
                    );
                    return Err(Malformed::new("class", reason).into());
                }
                Ok(Candidate {
                    class: store.class_by_id(record.class).await?,
                    bundle: record.bundle,
                    id: Some(*id),
                    set: definition(&record)?,
                })
            }
            Limits::FleetReplay(method) => {
                let class = store.class_by_name(&class_name(&asked.class)?).await?;
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

    /// The set in force of the candidate's class, or why it can't be compared.
    pub(crate) async fn in_force(
        &self,
        candidate: &Candidate,
    ) -> Result<Result<(ThresholdSetId, ThresholdSet), String>, Error> {
        let store = &self.parts.store;
        let binding = store.binding_current(candidate.class.id).await?;
        let Some(id) = binding.and_then(|binding| binding.threshold_set) else {
            return Ok(Err(format!("class {} has no limits in force", candidate.class.name)));
        };
        let record = store.threshold_set_get(id).await?;
        if record.bundle != candidate.bundle {
            return Ok(Err(format!(
                "threshold set {id}, in force, is for bundle {}, and these limits are for bundle {}: they judge other scores",
                record.bundle, candidate.bundle
            )));
        }
        Ok(Ok((id, definition(&record)?)))
    }

    pub(crate) async fn replay_fleet(
        &self,
        scope: &Scope,
        candidate: Candidate,
        active: Result<(ThresholdSetId, ThresholdSet), String>,
        (replayed, persons): (&Replayed, u64),
    ) -> Result<WhatIf, Error> {
        let (active_id, active_set) = match active {
            Ok((id, set)) => (Ok(id), Some(set)),
            Err(reason) => (Err(reason), None),
        };
        let sets: Vec<Arc<ThresholdSet>> = [Some(candidate.set), active_set]
            .into_iter()
            .flatten()
            .map(Arc::new)
            .collect();
        let (mut tally, mut active_tally) = (Tally::default(), Tally::default());
        let mut machines = Vec::new();
        let of_class = self.parts.store.machines_by_class(scope, candidate.class.id).await?;
        let ids: Vec<MachineId> = of_class.iter().map(|machine| machine.id).collect();
        let mut replays = self
            .replay(scope, &ids, (*replayed, candidate.class.step), &sets)
            .await?;
        for machine in of_class {
            let mut replays = replays.remove(&machine.id).unwrap_or_default().into_iter();
            let Some(replay) = replays.next() else { continue };
            tally.add(machine.site, &replay);
            let comparison = replays.next().map_or_else(Comparison::default, |active| {
                active_tally.add(machine.site, &active);
                compare(active.incidents(), replay.incidents())
            });
            machines.push(MachineOutcome {
                machine,
                replay,
                comparison,
            });
        }
        Ok(WhatIf {
            class: candidate.class,
            bundle: candidate.bundle,
            set: candidate.id,
            expected: tally.expected(persons),
            machines,
            active: active_id.map(|id| (id, active_tally.expected(persons))),
        })
    }
}
