//! Limits by fleet replay, and the pages that are expected of limits from logged scores.
//!
//! The class's own healthy machines are replayed under the lines once more, this time with all detectors and by the code
//! that judges live. With a budget instead of a page factor many candidates are replayed at once, in one reading of the scores.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tocsin_archive::Replayed;
use tocsin_contracts::Malformed;
use tocsin_domain::{MachineId, Scope, SiteId, Timestamp};
use tocsin_judge::budget::{Candidate, smallest_within};
use tocsin_judge::{Expected, FleetReplay, PageBudget, Tally, ThresholdSet};
use tocsin_store::bundle::Bundle;

use crate::reached::Reached;
use crate::replay::under;
use crate::scores::{Healthy, all_of};
use crate::{Error, Service, Source};

/// Limits by fleet replay, as they are asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FleetLimits {
    /// The factors; with a budget its page factor is not used.
    pub(crate) method: FleetReplay,
    /// What the page factor is chosen by.
    pub(crate) budget: Option<PageBudget>,
    /// Who share the pages.
    pub(crate) persons: u64,
}

/// What limits are expected to page, over the healthy machines of the very period their lines come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpectedPages {
    /// Always true: what these machines reached in this period is behind the lines, so it flatters them.
    pub in_sample: bool,
    /// Machines of the class that are not in it, as they had an incident in the period.
    pub machines_left_out: u64,
    /// Events and rates.
    pub expected: Expected,
    /// What the page factor was chosen by, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<PageBudget>,
    /// The page factors that were tried, with the pages of each; empty without a budget.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

/// A set by fleet replay, and what stands behind it.
pub(crate) struct FleetReplaySet {
    pub(crate) set: ThresholdSet,
    /// With the page factor that was chosen.
    pub(crate) method: FleetReplay,
    pub(crate) reached: Reached,
    pub(crate) held_out: Healthy,
    pub(crate) expected: ExpectedPages,
}

impl Service {
    /// The set that fleet replay makes of a period.
    pub(crate) async fn fleet_replay_set(
        &self,
        scope: &Scope,
        (bundle, limits): (&Bundle, FleetLimits),
        period: (Timestamp, Timestamp),
    ) -> Result<FleetReplaySet, Error> {
        let held_out = self.healthy(scope, bundle, Source::HeldOut).await?;
        let replayed = Replayed {
            active_baselines_only: true,
            ..all_of(bundle, period)
        };
        let reached = self.reached_or_borrowed(scope, bundle.class, replayed).await?;
        let methods = match limits.budget {
            Some(_) => limits.method.candidates().map_err(Malformed::from)?,
            None => vec![limits.method],
        };
        let persistence = self.config.persistence;
        let (mut found, reached, held_out) = tokio::task::spawn_blocking(move || {
            let percentiles = ThresholdSet::from_healthy_percentiles(&held_out.scores(), persistence)?;
            let set = |method: &FleetReplay| method.beside(&percentiles, |detector| reached.largest(detector));
            let sets = methods.iter().map(set).collect::<Result<Vec<_>, _>>()?;
            let found: Vec<_> = methods.into_iter().zip(sets.into_iter().map(Arc::new)).collect();
            Ok::<_, Error>((found, reached, held_out))
        })
        .await??;
        let sets: Vec<_> = found.iter().map(|(_, set)| Arc::clone(set)).collect();
        let (expected, machines_left_out) = self.expected(scope, bundle, &replayed, (&sets, limits.persons)).await?;
        let (place, candidates) = chosen(limits.budget, &found, &expected)?;
        let (method, set) = found.swap_remove(place);
        Ok(FleetReplaySet {
            set: ThresholdSet::clone(&set),
            method,
            reached,
            held_out,
            expected: ExpectedPages {
                in_sample: true,
                machines_left_out,
                expected: expected[place],
                budget: limits.budget,
                candidates,
            },
        })
    }

    /// What each set would have opened on the class's machines without an incident in the period, the day before a
    /// repair left out, and how many machines that leaves out.
    pub(crate) async fn expected(
        &self,
        scope: &Scope,
        bundle: &Bundle,
        replayed: &Replayed,
        (sets, persons): (&[Arc<ThresholdSet>], u64),
    ) -> Result<(Vec<Expected>, u64), Error> {
        let store = &self.parts.store;
        let healthy = store.machines_healthy(scope, bundle.class, replayed.period).await?;
        let of_class = store.machines_by_class(scope, bundle.class).await?;
        let sites: BTreeMap<MachineId, SiteId> = of_class.iter().map(|machine| (machine.id, machine.site)).collect();
        let step = store.class_by_id(bundle.class).await?.step;
        let replays = self
            .go_through_health(scope, &healthy, (*replayed, step), under(sets, step))
            .await?;
        let mut tallies = vec![Tally::default(); sets.len()];
        for (machine, replays) in &replays {
            let Some(site) = sites.get(machine) else { continue };
            for (tally, replay) in tallies.iter_mut().zip(replays) {
                tally.add(*site, replay);
            }
        }
        let left_out = (of_class.len() - healthy.len()) as u64;
        Ok((tallies.iter().map(|tally| tally.expected(persons)).collect(), left_out))
    }
}

/// The place of the set that is taken, and what was tried.
fn chosen(
    budget: Option<PageBudget>,
    found: &[(FleetReplay, Arc<ThresholdSet>)],
    expected: &[Expected],
) -> Result<(usize, Vec<Candidate>), Error> {
    let Some(budget) = budget else {
        return Ok((0, Vec::new()));
    };
    let tried = found.iter().zip(expected);
    let candidates: Vec<Candidate> = tried
        .map(|((method, _), expected)| Candidate::new(method, expected))
        .collect();
    let nothing = Error::NoScores("none of those logged in that period was judged under the candidates of the budget");
    let place = smallest_within(budget, &candidates).ok_or(nothing)??;
    Ok((place, candidates))
}
