//! What a class of few machines borrows from all classes with its spectrum specifications: one rule for the spread that
//! baselines are pooled with ([`crate::commission`]) and for what limits by fleet replay are multiples of.
//!
//! Statistics against a baseline know no bundle: growth, shift and narrowband compare a spectrum with what its own sensor
//! was. So they are comparable across classes with one specification, and those of the bundles' own detectors are not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use tocsin_archive::Replayed;
use tocsin_domain::{ClassId, MachineId, Scope, SensorId, Slug};

pub(crate) use tocsin_judge::fleet_replay::MIN_MACHINES;

use crate::reached::Reached;
use crate::{Error, Service};

/// How many times wider is taken what comes from other classes: a spread, or what machines reached. Chosen: a class up to
/// half as restless again as those has no narrower limits than its own machines would give it. It costs sight: lines
/// stand half as high again (docs/evaluation.md tells what that does on bearings); and on a hundred readings, when half of
/// a scale is the fleet's, the limits of a class that is like them stand a quarter further out for its baselines alone.
pub(crate) const WIDENED: f32 = 1.5;

/// Most machines of other classes whose scores are read: the median of so many is well known. Of more, every so-manieth.
const MOST_LENDERS: usize = 64;

/// Whether each of so many machines of a class has fewer than [`MIN_MACHINES`] others.
pub(crate) fn is_small(machines: usize) -> bool {
    machines <= MIN_MACHINES
}

/// What limits rest on beside the class's own machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Borrowed {
    /// Machines of the class itself among those the lines are multiples of.
    pub of_class: u64,
    /// The other classes, by name.
    pub classes: Vec<Lender>,
    /// How many times higher the lines are at least than the multiples would be: more where the class's own machines alone
    /// would have them higher.
    pub widened: f64,
}

/// A class that others borrowed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lender {
    /// Its name.
    pub class: Slug,
    /// Its machines among those the lines are multiples of.
    pub machines: u64,
}

impl fmt::Display for Borrowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machines: u64 = self.classes.iter().map(|lender| lender.machines).sum();
        let classes: Vec<String> = self
            .classes
            .iter()
            .map(|lender| format!("{} {}", lender.class, lender.machines))
            .collect();
        write!(
            f,
            "borrowed from all classes of the same specification, widened by at least {}: {machines} of these machines are of others \
             ({}), {} of the class",
            self.widened,
            classes.join(", "),
            self.of_class
        )
    }
}

/// What the machines of one class reached.
type OfClass = (Slug, Vec<Reached>);

impl Service {
    /// What a class reached; where it has too few machines, with what those of all classes with its specifications did.
    ///
    /// # Errors
    /// [`Error::NoScores`] when the class logged nothing: limits that nothing can test are none.
    pub(crate) async fn reached_or_borrowed(
        &self,
        scope: &Scope,
        class: ClassId,
        replayed: Replayed,
    ) -> Result<Reached, Error> {
        let own = self.reached(scope, class, replayed).await?;
        if own.readings == 0 {
            return Err(Error::NoScores(
                "none were logged in that period under that bundle against the active baselines, on machines without an \
                 incident",
            ));
        }
        // However few of them somebody sees, or were healthy lately: a class is small or it is not.
        if !is_small(self.parts.store.machines_commissioned(class).await?) {
            return Ok(own);
        }
        let lenders = self.reached_elsewhere(scope, class, replayed).await?;
        let elsewhere: usize = lenders.iter().map(|(_, machines)| machines.len()).sum();
        if elsewhere > 0 && own.reaching() + elsewhere >= MIN_MACHINES {
            return Ok(own.borrowing(lenders));
        }
        Ok(own)
    }

    /// What the healthy machines of the other classes reached, whatever bundles judged them, on sensors of the specifications
    /// that the class has. Each class decides once a step of its own.
    async fn reached_elsewhere(
        &self,
        scope: &Scope,
        class: ClassId,
        replayed: Replayed,
    ) -> Result<Vec<OfClass>, Error> {
        let store = &self.parts.store;
        let found = store.machines_healthy_elsewhere(scope, class, replayed.period).await?;
        let replayed = Replayed {
            bundle: None,
            ..replayed
        };
        let mut lenders = Vec::new();
        for (class, (machines, sensors)) in spread_over_machines(&found) {
            let class = store.class_by_id(class).await?;
            let machines: Vec<MachineId> = machines.into_iter().collect();
            let mut reached = self
                .reached_by(scope, (&machines, Some(sensors)), (replayed, class.step))
                .await?;
            reached.retain(|machine| machine.reaching() > 0);
            if !reached.is_empty() {
                lenders.push((class.name, reached));
            }
        }
        lenders.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(lenders)
    }
}

impl Reached {
    fn borrowing(self, lenders: Vec<OfClass>) -> Self {
        let lender = |(class, machines): &OfClass| Lender {
            class: class.clone(),
            machines: machines.len() as u64,
        };
        let borrowed = Borrowed {
            of_class: self.reaching() as u64,
            classes: lenders.iter().map(lender).collect(),
            widened: f64::from(WIDENED),
        };
        let mut all = self.borrowing_as(borrowed);
        for machine in lenders.into_iter().flat_map(|(_, machines)| machines) {
            all.add(machine);
        }
        all
    }
}

/// Class by class at most [`MOST_LENDERS`] machines in all, with their sensors.
fn spread_over_machines(
    found: &[(ClassId, MachineId, SensorId)],
) -> BTreeMap<ClassId, (BTreeSet<MachineId>, BTreeSet<SensorId>)> {
    let machines: BTreeSet<MachineId> = found.iter().map(|(_, machine, _)| *machine).collect();
    let every = machines.len().div_ceil(MOST_LENDERS).max(1);
    let taken: BTreeSet<MachineId> = machines.into_iter().step_by(every).collect();
    let mut classes: BTreeMap<ClassId, (BTreeSet<MachineId>, BTreeSet<SensorId>)> = BTreeMap::new();
    for (class, machine, sensor) in found.iter().filter(|(_, machine, _)| taken.contains(machine)) {
        let (machines, sensors) = classes.entry(*class).or_default();
        machines.insert(*machine);
        sensors.insert(*sensor);
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_machines_every_so_manieth_lends_with_all_its_sensors() {
        let found: Vec<_> = (0..300)
            .map(|n| (ClassId(n / 150), MachineId(n / 2), SensorId(n)))
            .collect();
        let spread = spread_over_machines(&found);
        let counts: Vec<_> = spread
            .values()
            .map(|(machines, sensors)| (machines.len(), sensors.len()))
            .collect();
        assert_eq!(counts, [(25, 50), (25, 50)], "of 150 machines every third");
        assert_eq!(spread_over_machines(&found[..4])[&ClassId(0)].0.len(), 2, "of few all");
    }

    #[test]
    fn what_was_borrowed_is_told_by_class() {
        let lender = |class: &str, machines| Lender {
            class: class.parse().unwrap(),
            machines,
        };
        let borrowed = Borrowed {
            of_class: 2,
            classes: vec![lender("fan", 4), lender("mill", 1)],
            widened: 1.5,
        };
        assert_eq!(
            borrowed.to_string(),
            "borrowed from all classes of the same specification, widened by at least 1.5: 5 of these machines are of others (fan 4, \
             mill 1), 2 of the class"
        );
    }
}
