//! Kinds of limits that judge the same readings side by side.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use tocsin_domain::{Detector, Scores};
use tocsin_judge::{FleetReplay, Persistence, ThresholdSet};
use tocsin_simulator::harbor::Class;

use super::fleet::{Known, Procedure};
use super::network::{Training, overlay};
use super::textbook;

/// The most readings of a class that percentiles of the ensemble are taken from, evenly thinned.
const PERCENTILE_READINGS: usize = 200_000;

/// One kind of limits.
pub(super) struct Lane {
    pub(super) name: &'static str,
    limits: BTreeMap<Class, Arc<ThresholdSet>>,
}

/// Named limits of one class.
pub(super) type Named = (&'static str, Arc<ThresholdSet>);

impl Lane {
    /// The limits of a class.
    ///
    /// # Panics
    /// If it had no machine when limits were set.
    pub(super) fn of(&self, class: Class) -> Arc<ThresholdSet> {
        Arc::clone(&self.limits[&class])
    }
}

impl Known<'_> {
    /// All kinds of limits that a procedure asks for, that by which baselines follow first.
    pub(super) fn lanes(&self, procedure: &Procedure) -> Result<Vec<Lane>> {
        let mut lanes: Vec<Lane> = Vec::new();
        for class in Class::ALL {
            let limits = match (self.places(class).as_slice(), &procedure.network) {
                ([], _) => continue,
                (_, None) => self.against_baselines(class, procedure),
                (_, Some(training)) => self.with_network(class, procedure, training),
            };
            for (name, set) in limits.with_context(|| format!("limits of {}", class.name()))? {
                let place = lanes.iter().position(|lane| lane.name == name);
                let place = place.unwrap_or_else(|| {
                    let limits = BTreeMap::new();
                    lanes.push(Lane { name, limits });
                    lanes.len() - 1
                });
                lanes[place].limits.insert(class, set);
            }
        }
        Ok(lanes)
    }

    /// The machines of a class, by place.
    pub(super) fn places(&self, class: Class) -> Vec<usize> {
        let machines = self.fleet.machines().iter().enumerate();
        let of_class = machines.filter(|(_, machine)| machine.class() == class);
        of_class.map(|(at, _)| at).collect()
    }

    fn against_baselines(&self, class: Class, procedure: &Procedure) -> Result<Vec<Named>> {
        let limits = |method: &FleetReplay| -> Result<_> {
            let set = method.threshold_set(|detector| self.largest(class, detector), Persistence::default());
            Ok(Arc::new(set?))
        };
        let set = match procedure.pages_per_day {
            Some(pages) => self.within(pages, class, &procedure.method, limits)?,
            None => limits(&procedure.method)?,
        };
        Ok(vec![("detectors against baselines", set)])
    }

    fn with_network(&self, class: Class, procedure: &Procedure, training: &Training) -> Result<Vec<Named>> {
        let percentiles = ThresholdSet::from_healthy_percentiles(&self.healthy(class), Persistence::default())?;
        let ensemble = |method: &FleetReplay| -> Result<_> {
            let set = method.beside(&percentiles, |detector| self.largest(class, detector));
            Ok(Arc::new(set?))
        };
        let pages = training.network_pages_per_day;
        let mut limits = vec![
            ("ensemble", ensemble(&procedure.method)?),
            (
                "ensemble, factor by budget",
                self.within(pages, class, &procedure.method, ensemble)?,
            ),
        ];
        limits.extend(textbook::limits(self, class, pages)?);
        Ok(limits)
    }

    /// The largest k-th of n of a detector that each machine of a class reached.
    fn largest(&self, class: Class, detector: Detector) -> Vec<f32> {
        let machines = self.places(class).into_iter();
        machines
            .filter_map(|at| self.pasts[at].largest[detector as usize])
            .collect()
    }

    /// What the models of a class say of its healthy readings, evenly thinned.
    fn healthy(&self, class: Class) -> Vec<Scores> {
        let places = self.places(class);
        let all = || places.iter().flat_map(|at| &self.pasts[*at].shared);
        let stride = all().count().div_ceil(PERCENTILE_READINGS).max(1);
        let scores = all().step_by(stride).map(|shared| {
            let mut scores = Scores::default();
            overlay(&mut scores, shared);
            scores
        });
        scores.collect()
    }
}
