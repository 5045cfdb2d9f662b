//! What limits would have opened over a class's readings, beside those in force. Changes nothing.
//!
//! Under levels, persistence and roles alone, stored scores are replayed, archived days' from their files, by the code that
//! judges live ([`crate::replay`]). Under another bundle or other baselines, readings are scored anew from the spectra that
//! are kept, and beside them under what is in force ([`crate::rescore`]). Either replay begins with nothing open, and takes
//! every reading as if it had come in time.

mod candidate;
mod told;

use std::collections::BTreeMap;
use std::sync::Arc;

use tocsin_archive::Replayed;
use tocsin_contracts::recalibrator::v1;
use tocsin_domain::fleet::MachineClass;
use tocsin_domain::{BundleId, MachineId, Principal, Scope, ThresholdSetId};
use tocsin_judge::compare::{Comparison, compare};
use tocsin_judge::{Expected, MachineReplay, Tally, ThresholdSet};
use tocsin_models::Ready;
use tocsin_store::fleet::Machine;

pub(crate) use candidate::{Candidate, InForce};
pub(crate) use told::{LabelledOutcome, SiteOutcome};

use crate::rescore::{Baselines, Coverage, Rescored, Side};
use crate::wire::what_if::Asked;
use crate::{Error, Service, wire};

/// What a machine had under the limits asked for, and how that differs from those in force.
pub(crate) struct MachineOutcome {
    pub(crate) machine: Machine,
    pub(crate) replay: MachineReplay,
    /// Under the limits in force, where something is held against them.
    pub(crate) active: Option<MachineReplay>,
    pub(crate) comparison: Comparison,
    /// Its readings, and those of them that were scored anew; nothing where logged scores were replayed.
    pub(crate) coverage: Coverage,
}

impl MachineOutcome {
    pub(crate) fn is_judged(&self) -> bool {
        self.replay.machine_hours() > 0.0
    }
}

/// The answer, in the domain's words.
pub(crate) struct WhatIf {
    pub(crate) class: MachineClass,
    pub(crate) bundle: BundleId,
    pub(crate) set: Option<ThresholdSetId>,
    pub(crate) baselines: Baselines,
    /// Readings were scored anew.
    pub(crate) is_rescored: bool,
    pub(crate) expected: Expected,
    pub(crate) machines: Vec<MachineOutcome>,
    /// The set in force, its bundle and what it would have opened, or why nothing is held against it.
    pub(crate) active: Result<(ThresholdSetId, BundleId, Expected), String>,
}

/// What machines had on one side or both, the limits asked for first, and of how many of their readings that is.
type Sides = BTreeMap<MachineId, (Vec<MachineReplay>, Coverage)>;

impl Service {
    pub(crate) async fn do_what_if(
        &self,
        by: &Principal,
        request: v1::WhatIfRequest,
    ) -> Result<v1::WhatIfResponse, Error> {
        let asked = wire::what_if::asked(request)?;
        let scope = by.scope();
        let candidate = self.candidate(&scope, &asked).await?;
        let what_if = if asked.is_rescored() {
            self.rescore_fleet(&scope, candidate, &asked).await?
        } else {
            let active = self.in_force(&candidate).await?;
            let replayed = Replayed {
                bundle: Some(candidate.bundle),
                period: asked.period,
                active_baselines_only: false,
                historical: asked.historical,
            };
            let persons = asked.persons;
            self.replay_fleet(&scope, candidate, active, (&replayed, persons))
                .await?
        };
        if what_if.expected.readings == 0 {
            return Err(nothing(&what_if));
        }
        let labelled = self.labelled(&scope, &what_if, asked.period).await?;
        Ok(wire::what_if::response(what_if, labelled))
    }

    /// Replays logged scores.
    pub(crate) async fn replay_fleet(
        &self,
        scope: &Scope,
        candidate: Candidate,
        active: Result<InForce, String>,
        (replayed, persons): (&Replayed, u64),
    ) -> Result<WhatIf, Error> {
        let of_class = self.parts.store.machines_by_class(scope, candidate.class.id).await?;
        let ids: Vec<MachineId> = of_class.iter().map(|machine| machine.id).collect();
        let sets = [Some(&candidate.set), active.as_ref().ok().map(|active| &active.set)];
        let sets: Vec<Arc<ThresholdSet>> = sets.into_iter().flatten().cloned().map(Arc::new).collect();
        let replays = self
            .replay(scope, &ids, (*replayed, candidate.class.step), &sets)
            .await?;
        let without_coverage = |(machine, replays)| (machine, (replays, Coverage::default()));
        let sides = replays.into_iter().map(without_coverage).collect();
        let what_if = WhatIf::of(candidate, active, (of_class, sides), persons);
        Ok(what_if)
    }

    /// Scores what is kept anew, and replays it.
    async fn rescore_fleet(&self, scope: &Scope, candidate: Candidate, asked: &Asked) -> Result<WhatIf, Error> {
        let active = self.in_force_of_class(&candidate).await?;
        let of_class = self.parts.store.machines_by_class(scope, candidate.class.id).await?;
        let ids: Vec<MachineId> = of_class.iter().map(|machine| machine.id).collect();
        let proposed = Side {
            set: Arc::new(candidate.set.clone()),
            bundle: candidate.bundle,
            model: self.ready(candidate.bundle).await?,
            baselines: asked.baselines,
        };
        let mut sides = vec![proposed];
        if let Ok(active) = &active {
            let same = active.bundle == candidate.bundle;
            sides.push(Side {
                set: Arc::new(active.set.clone()),
                bundle: active.bundle,
                model: if same {
                    Arc::clone(&sides[0].model)
                } else {
                    self.ready(active.bundle).await?
                },
                baselines: Baselines::Judged,
            });
        }
        let rescored = Rescored {
            period: asked.period,
            historical: asked.historical,
            step: candidate.class.step,
        };
        let outcomes = self.rescore(scope, &ids, rescored, &sides).await?;
        Ok(WhatIf {
            is_rescored: true,
            baselines: asked.baselines,
            ..WhatIf::of(candidate, active, (of_class, outcomes), asked.persons)
        })
    }

    /// A bundle with its networks loaded.
    async fn ready(&self, id: BundleId) -> Result<Arc<Ready>, Error> {
        let digest = self.parts.store.bundle_by_id(id).await?.digest;
        let bundle = self.parts.bundles.get(&digest).await?;
        let ready = tokio::task::spawn_blocking(move || Ready::load(bundle)).await??;
        Ok(Arc::new(ready))
    }
}

impl WhatIf {
    /// Of machines and what each had.
    fn of(
        candidate: Candidate,
        active: Result<InForce, String>,
        (machines, mut sides): (Vec<Machine>, Sides),
        persons: u64,
    ) -> Self {
        let (mut tally, mut active_tally) = (Tally::default(), Tally::default());
        let mut outcomes = Vec::new();
        for machine in machines {
            let Some((replays, coverage)) = sides.remove(&machine.id) else {
                continue;
            };
            let mut replays = replays.into_iter();
            let Some(replay) = replays.next() else { continue };
            let active = replays.next();
            tally.add(machine.site, &replay);
            let comparison = active.as_ref().map_or_else(Comparison::default, |active| {
                active_tally.add(machine.site, active);
                compare(active.incidents(), replay.incidents())
            });
            outcomes.push(MachineOutcome {
                machine,
                replay,
                active,
                comparison,
                coverage,
            });
        }
        Self {
            class: candidate.class,
            bundle: candidate.bundle,
            set: candidate.id,
            baselines: Baselines::Judged,
            is_rescored: false,
            expected: tally.expected(persons),
            machines: outcomes,
            active: active.map(|active| (active.id, active.bundle, active_tally.expected(persons))),
        }
    }
}

/// Why there is no answer.
fn nothing(what_if: &WhatIf) -> Error {
    let stored = what_if.machines.iter().any(|outcome| outcome.coverage.readings > 0);
    match (what_if.is_rescored, stored) {
        (false, _) => Error::NothingLogged("that bundle scored no reading of that period"),
        (true, false) => Error::NothingKept("no reading of that period is stored"),
        (true, true) => Error::NothingKept("of no reading of that period a spectrum is kept that both sides need"),
    }
}
