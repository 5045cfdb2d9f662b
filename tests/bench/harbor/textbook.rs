//! The textbook's limits: percentiles of what a class's machines share, without a past of their own.
//!
//! The autoencoder alone, and with the energy's z-score beside it, where either may page. The page line stands at the
//! 99.95th percentile of the healthy scores of the day on which limits are set; or where the fewest of these lie beyond it
//! under which a replay of that day keeps to a page budget, the same share for either detector.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tocsin_domain::{Detector, MachineId, OperatingState, ReadingKey, Scores, SensorId, SiteId};
use tocsin_judge::machine_replay::MachineReplay;
use tocsin_judge::replay::ScoredReading;
use tocsin_judge::threshold_set::ALERT_ALPHA;
use tocsin_judge::{Member, PageBudget, Persistence, Role, Tally, ThresholdSet};
use tocsin_simulator::harbor::Class;

use super::fleet::{Known, in_parallel, step};
use super::lanes::Named;
use super::network::{SHARED, overlay};

/// The largest share of healthy readings beyond a page line that is tried: most of those beyond the alert line.
const MOST_BEYOND: f64 = 4e-3;
/// Shares that are tried after it, each the last one over the root of two; then a line beyond all readings.
const SHARES: i32 = 22;
/// How far beyond the greatest healthy score the last line lies.
const BEYOND_ALL: f64 = 1.001;

/// Who judges, and by which rule.
struct Kind {
    textbook: Option<&'static str>,
    by_budget: &'static str,
    detectors: &'static [Detector],
    k_of_n: (u32, u32),
}

const ALONE: &[Detector] = &[Detector::Residual];
const WITH_ENERGY: &[Detector] = &[Detector::Residual, Detector::OverallLevel];

const KINDS: [Kind; 4] = [
    Kind {
        textbook: Some("autoencoder, 99.95 %"),
        by_budget: "autoencoder by budget",
        detectors: ALONE,
        k_of_n: (1, 1),
    },
    Kind {
        textbook: None,
        by_budget: "autoencoder by budget, 5 of 8",
        detectors: ALONE,
        k_of_n: (5, 8),
    },
    Kind {
        textbook: Some("autoencoder and energy, 99.95 %"),
        by_budget: "autoencoder and energy by budget",
        detectors: WITH_ENERGY,
        k_of_n: (1, 1),
    },
    Kind {
        textbook: None,
        by_budget: "autoencoder and energy by budget, 5 of 8",
        detectors: WITH_ENERGY,
        k_of_n: (5, 8),
    },
];

/// All of the textbook's limits of a class.
pub(super) fn limits(known: &Known<'_>, class: Class, pages_per_day: f64) -> Result<Vec<Named>> {
    let places = known.places(class);
    let columns = Columns::of(known, &places);
    let mut named = Vec::new();
    for kind in &KINDS {
        if let Some(name) = kind.textbook {
            let at_percentiles =
                |of, healthy: &[f64]| -> Result<_> { Ok(Member::at_percentiles(of, Role::Page, healthy)?) };
            named.push((name, columns.set(kind, at_percentiles)?));
        }
        named.push((kind.by_budget, columns.by_budget(kind, known, &places, pages_per_day)?));
    }
    Ok(named)
}

/// Healthy scores of the shared detectors over all machines of a class, in ascending order.
struct Columns([Vec<f64>; SHARED.len()]);

impl Columns {
    fn of(known: &Known<'_>, places: &[usize]) -> Self {
        let column = |of: usize| {
            let readings = places.iter().flat_map(|at| &known.pasts[*at].shared);
            let mut scores: Vec<f64> = readings.map(|shared| f64::from(shared[of])).collect();
            scores.sort_by(f64::total_cmp);
            scores
        };
        Self(std::array::from_fn(column))
    }

    fn column(&self, detector: Detector) -> &[f64] {
        let place = SHARED.iter().position(|shared| *shared == detector);
        &self.0[place.expect("a shared detector")]
    }

    /// Limits of a kind, each member made from its healthy scores. Without the network the energy stands alone.
    fn set(&self, kind: &Kind, member: impl Fn(Detector, &[f64]) -> Result<Member>) -> Result<Arc<ThresholdSet>> {
        let member = |detector: Detector| member(detector, self.column(detector)).with_context(|| detector.to_string());
        let members = kind.detectors.iter().map(|detector| member(*detector));
        let (k, n) = kind.k_of_n;
        let persistence = Persistence {
            k,
            n,
            ..Persistence::default()
        };
        let energy = member(Detector::OverallLevel)?;
        let set = ThresholdSet::new(members.collect::<Result<_>>()?, vec![energy], persistence);
        Ok(Arc::new(set?))
    }

    /// Limits of a kind whose page lines have as many readings beyond them as the budget allows.
    fn by_budget(
        &self,
        kind: &Kind,
        known: &Known<'_>,
        places: &[usize],
        pages_per_day: f64,
    ) -> Result<Arc<ThresholdSet>> {
        let shares = (0..=SHARES).map(|step| Some(MOST_BEYOND * 2f64.powi(-step).sqrt()));
        let shares: Vec<Option<f64>> = shares.chain([None]).collect();
        let of_share =
            |share: &Option<f64>| self.set(kind, |detector, healthy| Ok(with_beyond(detector, healthy, *share)));
        let sets = shares.iter().map(of_share).collect::<Result<Vec<_>>>()?;
        let replayed = in_parallel(places, |at| Ok(replay(known, *at, &sets)))?;
        let budget = PageBudget::PagesPerSiteDay(pages_per_day / Class::ALL.len() as f64);
        for (place, set) in sets.iter().enumerate() {
            let mut tally = Tally::default();
            for machine in &replayed {
                tally.add(SiteId(1), &machine[place]);
            }
            let pages = tally.expected(1).pages;
            if budget.holds(&pages) {
                eprintln!(
                    "  {}: beyond {:?}, {} pages",
                    kind.by_budget, shares[place], pages.events
                );
                return Ok(Arc::clone(set));
            }
        }
        anyhow::bail!("{}: no line keeps to {budget}", kind.by_budget)
    }
}

/// A member whose alert line is the textbook's and whose page line has a share of the healthy scores beyond it, or none.
fn with_beyond(detector: Detector, sorted: &[f64], share: Option<f64>) -> Member {
    let line = |beyond: f64| {
        let rank = (beyond * sorted.len() as f64).floor() as usize;
        sorted[sorted.len() - 1 - rank.min(sorted.len() - 1)]
    };
    Member {
        detector,
        role: Role::Page,
        alert_line: line(ALERT_ALPHA),
        page_line: share.map_or(BEYOND_ALL * line(0.0), line),
        page_line_supported: share.is_some_and(|share| share * sorted.len() as f64 >= 1.0),
        tail: None,
    }
}

/// The day on which limits are set, of one machine under all candidates at once.
fn replay(known: &Known<'_>, at: usize, sets: &[Arc<ThresholdSet>]) -> Vec<MachineReplay> {
    let (config, machine) = (known.fleet.config(), MachineId(at as i32 + 1));
    let of_set = |set: &Arc<ThresholdSet>| MachineReplay::new(machine, Arc::clone(set), step(known.fleet));
    let mut replays: Vec<MachineReplay> = sets.iter().map(of_set).collect();
    for (number, shared) in known.pasts[at].shared.iter().enumerate() {
        let (step, sensor) = (number / config.sensors, number % config.sensors);
        let since = (known.steps.start + step as u64) * config.interval.as_micros() as u64;
        let mut scores = Scores::default();
        overlay(&mut scores, shared);
        let scored = ScoredReading {
            machine,
            key: ReadingKey {
                sensor: SensorId(sensor as i32 + 1),
                captured_at: config.start + Duration::from_micros(since),
            },
            scores,
            state: OperatingState::Known,
            degraded: false,
        };
        for replay in &mut replays {
            replay.take(&scored);
        }
    }
    replays
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_share_of_healthy_scores_beyond_it_and_the_last_one_none() {
        let sorted: Vec<f64> = (1..=10_000).map(f64::from).collect();
        let lines = |share| with_beyond(Detector::Residual, &sorted, share);
        let beyond = |line: f64| sorted.iter().filter(|score| **score > line).count();
        assert_eq!(beyond(lines(Some(MOST_BEYOND)).page_line), 40);
        assert_eq!(beyond(lines(Some(1e-3)).alert_line), 50);
        let last = lines(None);
        assert!(last.page_line > 10_000.0 && !last.page_line_supported);
    }
}
