//! The constants a nested evaluation chooses from, and how it chooses.

use tocsin_judge::{FleetReplay, Persistence, Role};

use super::{Outcome, Setting, judge, summarise};
use crate::life::MachineLife;
use crate::rules::Rules;
use crate::trial::TrialError;

const PAGE_FACTORS: [f64; 3] = [2.0, 2.5, 3.0];
const PERSISTENCE: [(u32, u32); 3] = [(3, 5), (5, 8), (8, 12)];
const SMOOTHING: [usize; 2] = [1, 6];

/// Every combination, the others' constants as in `base`.
fn candidates(base: &Rules) -> impl Iterator<Item = Rules> {
    let base = *base;
    let narrowband = [Role::Alert, Role::Page];
    let factors = PAGE_FACTORS
        .into_iter()
        .flat_map(move |page| narrowband.map(|role| (page, role)));
    let shapes = PERSISTENCE
        .into_iter()
        .flat_map(|shape| SMOOTHING.map(|smoothing| (shape, smoothing)));
    factors.flat_map(move |(page_factor, narrowband)| {
        shapes.clone().map(move |((k, n), smoothing)| Rules {
            smoothing,
            limits: FleetReplay {
                page_factor,
                narrowband,
                ..base.limits
            },
            persistence: Persistence {
                k,
                n,
                ..base.persistence
            },
            ..base
        })
    })
}

/// The candidate that did best when the machines were judged by each other: the most valid pages; then the fewest false
/// ones; then the least time under them; then the longest lead. Of equals the first.
pub(super) fn choose(machines: &[&MachineLife], setting: &Setting<'_>) -> Result<Rules, TrialError> {
    let (base, mut best) = (&setting.rules, None::<(Merit, Rules)>);
    for rules in candidates(base) {
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(machines.len());
        for (at, life) in machines.iter().enumerate() {
            let others = [&machines[..at], &machines[at + 1..]].concat();
            outcomes.push(judge(life, &others, &rules, setting.method)?.0);
        }
        let merit = Merit::of(&outcomes, &rules);
        if best.as_ref().is_none_or(|(best, _)| merit.beats(best)) {
            best = Some((merit, rules));
        }
    }
    Ok(best.map_or(*base, |(_, rules)| rules))
}

struct Merit {
    valid: usize,
    false_pages: usize,
    false_share: f64,
    lead: f64,
}

impl Merit {
    fn of(outcomes: &[Outcome], rules: &Rules) -> Self {
        let summary = summarise(outcomes, rules);
        Self {
            valid: summary.valid,
            false_pages: summary.false_pages_before_50,
            false_share: summary.false_page_share,
            lead: summary.median_lead_readings,
        }
    }

    fn beats(&self, other: &Self) -> bool {
        let by_pages = self
            .valid
            .cmp(&other.valid)
            .then(other.false_pages.cmp(&self.false_pages));
        let by_time = by_pages.then(other.false_share.total_cmp(&self.false_share));
        by_time.then(self.lead.total_cmp(&other.lead)).is_gt()
    }
}
