//! The page factor from a page budget: candidates replayed over the day on which limits are set.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result};
use tocsin_detect::Reference;
use tocsin_domain::{MachineId, ReadingKey, SensorId, SiteId};
use tocsin_evaluate::Watch;
use tocsin_judge::budget::{Candidate, PageBudget, smallest_within};
use tocsin_judge::machine_replay::MachineReplay;
use tocsin_judge::replay::ScoredReading;
use tocsin_judge::{FleetReplay, Tally, ThresholdSet};
use tocsin_simulator::harbor::{Class, Fleet, Machine};

use super::fleet::{Largest, in_parallel, limits, step};
use super::watched::Canonical;

/// The limits of a class with the smallest page factor whose replay over `steps` keeps to so many pages a day.
pub(super) fn within(
    pages_per_day: f64,
    (fleet, class): (&Fleet, Class),
    (largest, references): (&[Largest], &[Vec<Reference>]),
    method: &FleetReplay,
    steps: &Range<u64>,
) -> Result<Arc<ThresholdSet>> {
    let methods = method.candidates()?;
    let sets = methods.iter().map(|method| limits(fleet, class, largest, method));
    let sets = sets.collect::<Result<Vec<_>>>()?;
    let of_class: Vec<usize> = (0..references.len())
        .filter(|at| fleet.machines()[*at].class() == class)
        .collect();
    let replayed = in_parallel(&of_class, |at| {
        Ok(replay(
            fleet,
            &fleet.machines()[*at],
            &references[*at],
            &sets,
            steps.clone(),
        ))
    })?;
    let mut tallies = vec![Tally::default(); sets.len()];
    for machine in &replayed {
        for (tally, replay) in tallies.iter_mut().zip(machine) {
            tally.add(SiteId(1), replay);
        }
    }
    let candidates = methods
        .iter()
        .zip(&tallies)
        .map(|(method, tally)| Candidate::new(method, &tally.expected(1)));
    let candidates: Vec<Candidate> = candidates.collect();
    let budget = PageBudget::PagesPerSiteDay(pages_per_day);
    let place = smallest_within(budget, &candidates).context("nothing was judged on the day of the limits")??;
    eprintln!("  {}: page factor {}", class.name(), candidates[place].page_factor);
    Ok(Arc::clone(&sets[place]))
}

/// A machine's steps under every candidate at once.
fn replay(
    fleet: &Fleet,
    machine: &Machine,
    references: &[Reference],
    sets: &[Arc<ThresholdSet>],
    steps: Range<u64>,
) -> Vec<MachineReplay> {
    let id = MachineId(machine.index() as i32 + 1);
    let of_set = |set: &Arc<ThresholdSet>| MachineReplay::new(id, Arc::clone(set), step(fleet));
    let mut replays: Vec<MachineReplay> = sets.iter().map(of_set).collect();
    let s0 = fleet.spec().canonical_s0();
    let mut scorer = Watch::new(references.to_vec(), Arc::clone(&sets[0]), step(fleet), s0);
    let mut row = Canonical::new(fleet);
    let bins = usize::from(fleet.spec().bins);
    let mut stream = machine.stream_steps(steps);
    while let Some(reading) = stream.next_into(&mut row.bins) {
        row.quantise();
        for (sensor, linear) in row.bins.chunks_exact(bins).enumerate() {
            let scored = ScoredReading {
                machine: id,
                key: ReadingKey {
                    sensor: SensorId(sensor as i32 + 1),
                    captured_at: reading.captured_at,
                },
                scores: scorer.score(sensor, linear, reading.condition),
                state: references[sensor].baseline.state(reading.condition),
                degraded: false,
            };
            for replay in &mut replays {
                replay.take(&scored);
            }
        }
    }
    replays
}
