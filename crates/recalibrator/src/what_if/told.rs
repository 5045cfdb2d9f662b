//! What is told of a what-if beside its machines: site by site, and of what people labelled.

use std::collections::BTreeMap;

use tocsin_domain::{Scope, Slug, Timestamp};
use tocsin_judge::compare::{IncidentChange, PageChanges, difference, within};
use tocsin_judge::replay::ReplayedIncident;
use tocsin_judge::{Expected, Tally};
use tocsin_store::label::LabelledWindow;

use super::{MachineOutcome, WhatIf};
use crate::rescore::Coverage;
use crate::{Error, Service};

/// What a site would have had.
pub(crate) struct SiteOutcome {
    pub(crate) site: Slug,
    pub(crate) expected: Expected,
    /// Under the set in force, where something is held against it.
    pub(crate) active: Option<Expected>,
    pub(crate) pages: PageChanges,
}

/// What a labelled window would have had.
pub(crate) struct LabelledOutcome {
    pub(crate) site: Slug,
    pub(crate) machine: Slug,
    pub(crate) window: LabelledWindow,
    pub(crate) proposed: Option<ReplayedIncident>,
    /// Under the set in force.
    pub(crate) active: Option<ReplayedIncident>,
    /// How the two differ; none where they don't, or nothing is held against it.
    pub(crate) change: Option<IncidentChange>,
}

impl WhatIf {
    /// Site by site, those of machines that were judged.
    pub(crate) fn sites(&self) -> Vec<SiteOutcome> {
        let mut machines: BTreeMap<&Slug, Vec<&MachineOutcome>> = BTreeMap::new();
        for outcome in self.machines.iter().filter(|outcome| outcome.is_judged()) {
            machines.entry(&outcome.machine.site_name).or_default().push(outcome);
        }
        let persons = self.expected.persons;
        let sites = machines.into_iter().map(|(site, machines)| {
            let (mut tally, mut active, mut pages) = (Tally::default(), Tally::default(), PageChanges::default());
            for outcome in machines {
                tally.add(outcome.machine.site, &outcome.replay);
                if let Some(replay) = &outcome.active {
                    active.add(outcome.machine.site, replay);
                }
                for change in &outcome.comparison.changes {
                    pages.take(change);
                }
            }
            SiteOutcome {
                site: site.clone(),
                expected: tally.expected(persons),
                active: self.active.is_ok().then(|| active.expected(persons)),
                pages,
            }
        });
        sites.collect()
    }

    /// Coverage site by site, where readings were scored anew.
    pub(crate) fn coverage(&self) -> Option<BTreeMap<Slug, Coverage>> {
        self.is_rescored.then(|| {
            let mut sites: BTreeMap<Slug, Coverage> = BTreeMap::new();
            for outcome in &self.machines {
                let site = sites.entry(outcome.machine.site_name.clone()).or_default();
                site.add(outcome.coverage);
            }
            sites.retain(|_, coverage| coverage.readings > 0);
            sites
        })
    }
}

impl Service {
    /// What the windows of a period that people labelled would have had.
    pub(super) async fn labelled(
        &self,
        scope: &Scope,
        what_if: &WhatIf,
        period: (Timestamp, Timestamp),
    ) -> Result<Vec<LabelledOutcome>, Error> {
        let windows = self.parts.store.labels_between(scope, what_if.class.id, period).await?;
        let mut told = Vec::with_capacity(windows.len());
        for window in windows {
            let is_its = |outcome: &&MachineOutcome| outcome.machine.id == window.machine;
            if let Some(outcome) = what_if.machines.iter().find(is_its) {
                told.push(labelled(outcome, window));
            }
        }
        told.sort_by(|a, b| (&a.site, &a.machine, a.window.from).cmp(&(&b.site, &b.machine, b.window.from)));
        Ok(told)
    }
}

fn labelled(outcome: &MachineOutcome, window: LabelledWindow) -> LabelledOutcome {
    let seen = |incidents| within(incidents, (window.from, window.to));
    let proposed = seen(outcome.replay.incidents());
    let active = outcome.active.as_ref().and_then(|active| seen(active.incidents()));
    let change = outcome
        .active
        .as_ref()
        .and_then(|_| difference(active.as_ref(), proposed.as_ref()));
    LabelledOutcome {
        site: outcome.machine.site_name.clone(),
        machine: outcome.machine.name.clone(),
        window,
        proposed,
        active,
        change,
    }
}
