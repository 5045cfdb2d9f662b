//! The page factor from a page budget: candidates replayed over the day on which limits are set.

use std::sync::Arc;

use anyhow::{Context, Result};
use tocsin_domain::{MachineId, ReadingKey, SensorId, SiteId};
use tocsin_evaluate::Scorer;
use tocsin_judge::budget::{Candidate, PageBudget, smallest_within};
use tocsin_judge::machine_replay::MachineReplay;
use tocsin_judge::replay::ScoredReading;
use tocsin_judge::{FleetReplay, Tally, ThresholdSet};
use tocsin_simulator::harbor::Class;

use super::feed::Feed;
use super::fleet::{Known, in_parallel, step};
use super::network::overlay;

impl Known<'_> {
    /// The limits of a class with the smallest page factor whose replay keeps to the class's share of so many pages a day.
    pub(super) fn within(
        &self,
        pages_per_day: f64,
        class: Class,
        method: &FleetReplay,
        limits: impl Fn(&FleetReplay) -> Result<Arc<ThresholdSet>>,
    ) -> Result<Arc<ThresholdSet>> {
        let methods = method.candidates()?;
        let sets = methods.iter().map(limits).collect::<Result<Vec<_>>>()?;
        let replayed = in_parallel(&self.places(class), |at| self.replay(*at, &sets))?;
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
        let budget = PageBudget::PagesPerSiteDay(pages_per_day / Class::ALL.len() as f64);
        let place = smallest_within(budget, &candidates).context("nothing was judged on the day of the limits")??;
        eprintln!("  {}: page factor {}", class.name(), candidates[place].page_factor);
        Ok(Arc::clone(&sets[place]))
    }

    /// The day on which limits are set, of one machine under every candidate at once.
    fn replay(&self, at: usize, sets: &[Arc<ThresholdSet>]) -> Result<Vec<MachineReplay>> {
        let (fleet, references) = (self.fleet, &self.references[at]);
        let id = MachineId(at as i32 + 1);
        let of_set = |set: &Arc<ThresholdSet>| MachineReplay::new(id, Arc::clone(set), step(fleet));
        let mut replays: Vec<MachineReplay> = sets.iter().map(of_set).collect();
        let mut scorer = Scorer::new(references.clone(), fleet.spec().canonical_s0());
        let bins = usize::from(fleet.spec().bins);
        let mut shared = self.pasts[at].shared.iter();
        let mut feed = Feed::new(fleet, &fleet.machines()[at], self.steps.clone(), None)?;
        while let Some(step) = feed.step()? {
            let condition = step.reading.condition;
            for (sensor, linear) in step.bins.chunks_exact(bins).enumerate() {
                let mut scores = scorer.score(sensor, linear, condition);
                if let Some(shared) = shared.next() {
                    overlay(&mut scores, shared);
                }
                let scored = ScoredReading {
                    machine: id,
                    key: ReadingKey {
                        sensor: SensorId(sensor as i32 + 1),
                        captured_at: step.reading.captured_at,
                    },
                    scores,
                    state: references[sensor].baseline.state(condition),
                    degraded: false,
                };
                for replay in &mut replays {
                    replay.take(&scored);
                }
            }
        }
        Ok(replays)
    }
}
