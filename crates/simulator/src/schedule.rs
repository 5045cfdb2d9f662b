//! Which faults will happen, decided and written down before anything is streamed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_domain::{Invalid, Slug, Timestamp};

use crate::draws::Draws;
use crate::{Fault, FaultKind, Fleet};

/// Faults to come. Serialises as a plain document, so that it can be kept beside what was detected.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Schedule {
    /// The faults, by onset.
    pub faults: Vec<Fault>,
}

impl Schedule {
    /// A fleet that stays healthy.
    pub fn healthy() -> Self {
        Self::default()
    }

    /// Draws `count` faults on distinct machines between `from` and `to`, of as many kinds as there are (7) before one
    /// comes twice. Onsets lie at 10 to 30 % of the window; onset to failure takes 45 to 65 % of it.
    pub fn draw(seed: u64, fleet: &Fleet, count: usize, from: Timestamp, to: Timestamp) -> Result<Self, Invalid> {
        let machines = fleet.machines();
        if count > machines.len() {
            return Err(Invalid::new(
                "count",
                format!("{count} faults on {} machines", machines.len()),
            ));
        }
        let window = to.since(from);
        if window < Duration::from_mins(10) {
            return Err(Invalid::new("to", "must be at least ten minutes after from"));
        }
        let mut draws = Draws::new(seed, &[6]);
        let mut places: Vec<usize> = (0..machines.len()).collect();
        draws.shuffle(&mut places);
        let mut kinds = FaultKind::SPINDLE;
        draws.shuffle(&mut kinds);
        let mut faults: Vec<Fault> = places[..count]
            .iter()
            .zip(kinds.iter().cycle())
            .map(|(place, kind)| {
                let onset = from + window.mul_f64(draws.between(0.1, 0.3));
                Fault {
                    kind: *kind,
                    site: machines[*place].site.clone(),
                    machine: machines[*place].name.clone(),
                    onset,
                    failure: onset + window.mul_f64(draws.between(0.45, 0.65)),
                    growth: draws.between(1.5, 2.5),
                }
            })
            .collect();
        faults.sort_by_key(|fault| fault.onset);
        Ok(Self { faults })
    }

    /// Kinds and severities of the faults a machine has at `at`.
    pub(crate) fn active<'a>(
        &'a self,
        site: &'a Slug,
        machine: &'a Slug,
        at: Timestamp,
    ) -> impl Iterator<Item = (FaultKind, f64)> + Clone + 'a {
        let begun = self.faults.iter().filter(move |fault| fault.onset < at);
        let here = begun.filter(move |fault| fault.machine == *machine && fault.site == *site);
        here.map(move |fault| (fault.kind, fault.severity(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FleetConfig;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn window() -> (Timestamp, Timestamp) {
        let from = Timestamp::parse("from", "2026-03-02T06:00:00Z").unwrap();
        (from, from + Duration::from_hours(6))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_seed_draws_distinct_machines_and_kinds_that_fail_within_the_window(seed: u64, count in 3usize..=7) {
            let fleet = Fleet::generate(FleetConfig::with_seed(5)).unwrap();
            let (from, to) = window();
            let schedule = Schedule::draw(seed, &fleet, count, from, to).unwrap();
            prop_assert_eq!(&schedule, &Schedule::draw(seed, &fleet, count, from, to).unwrap());
            prop_assert_eq!(schedule.faults.len(), count);
            prop_assert_eq!(schedule.faults.iter().map(|f| f.kind).collect::<BTreeSet<_>>().len(), count);
            let machines: BTreeSet<_> = schedule.faults.iter().map(|f| (&f.site, &f.machine)).collect();
            prop_assert_eq!(machines.len(), count);
            for fault in &schedule.faults {
                prop_assert!(from < fault.onset && fault.onset < fault.failure && fault.failure < to);
            }
            let text = serde_json::to_string(&schedule).unwrap();
            prop_assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule);
        }

        #[test]
        fn severity_grows_from_nothing_at_onset_to_one_at_failure(growth in -1.0f64..4.0, steps in 2u32..50) {
            let (onset, failure) = window();
            let name = Slug::parse("machine", "m").unwrap();
            let fault = Fault { kind: FaultKind::Looseness, site: name.clone(), machine: name, onset, failure, growth };
            let severities: Vec<f64> =
                (0..=steps).map(|step| fault.severity(onset + failure.since(onset) * step / steps)).collect();
            prop_assert!(severities.is_sorted_by(|a, b| a < b), "{severities:?}");
            let ends = [onset - Duration::from_secs(1), onset, failure, failure + Duration::from_secs(1)];
            prop_assert_eq!(ends.map(|at| fault.severity(at).to_bits()), [0.0, 0.0, 1.0, 1.0].map(f64::to_bits));
        }
    }

    #[test]
    fn more_faults_than_machines_and_a_window_without_length_are_refused() {
        let fleet = Fleet::generate(FleetConfig::with_seed(5)).unwrap();
        let (from, to) = window();
        assert_eq!(Schedule::draw(1, &fleet, 25, from, to).unwrap_err().field, "count");
        assert_eq!(Schedule::draw(1, &fleet, 3, to, from).unwrap_err().field, "to");
    }
}
