//! What a trial may do otherwise than the product, so that its parts can be weighed one by one.

use serde::Serialize;
use tocsin_detect::{Commissioned, FitError, Fleet, Reference, Rows};
use tocsin_domain::Detector;

use crate::rules::Rules;
use crate::trial::{Asset, TrialError};

/// Where the lines of the detectors against a sensor's own past come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lines {
    /// Multiples of what the other machines reached by the persistence rules.
    #[default]
    FleetReplay,
    /// The 99.5th and 99.95th percentile of the other machines' scores, read off them.
    Percentile,
    /// The same of a distribution fitted to them.
    Tail,
    /// The same of a distribution fitted to the machine's own scores while it was commissioned.
    OwnTail,
}

/// What a sensor is held against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Against {
    /// What it was itself.
    #[default]
    Own,
    /// What the other machines' sensors were: the median of theirs, and their energies.
    FleetMedian,
}

/// A trial's deviations from the product; by default none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Variation {
    /// Where the lines come from.
    pub lines: Lines,
    /// What sensors are held against.
    pub against: Against,
    /// Detectors that are left out.
    pub without: &'static [Detector],
}

impl Variation {
    /// What the sensors of `asset` are held against when `others` are the fleet; nothing for one with too few readings.
    pub(crate) fn references(
        self,
        asset: &Asset<'_>,
        others: &[&Asset<'_>],
        rules: &Rules,
    ) -> Result<Vec<Option<Reference>>, TrialError> {
        if self.against == Against::Own {
            return asset.references(others, rules);
        }
        let common = fleet_reference(others, rules).map_err(|source| TrialError::Commissioning {
            machine: asset.life.name.clone(),
            source,
        })?;
        let of = |own: &Option<Commissioned>| own.as_ref().and(common.clone());
        Ok(asset.commissioned.iter().map(of).collect())
    }
}

/// One reference for all: per bin the median of the sensors' medians, and the fleet's spread. Nothing without a sensor.
fn fleet_reference(others: &[&Asset<'_>], rules: &Rules) -> Result<Option<Reference>, FitError> {
    let sensors = others
        .iter()
        .flat_map(|other| other.life.sensors.iter().zip(&other.commissioned));
    let sensors: Vec<_> = sensors.filter_map(|(life, fit)| Some((life, fit.as_ref()?))).collect();
    let Some(fleet) = Fleet::of(sensors.iter().map(|(_, fit)| *fit)) else {
        return Ok(None);
    };
    let bins = fleet.spread().len();
    let mut column = vec![0.0_f32; sensors.len()];
    let median = (0..bins).map(|bin| {
        for (value, (_, fit)) in column.iter_mut().zip(&sensors) {
            *value = fit.median()[bin];
        }
        column.sort_by(f32::total_cmp);
        f32::midpoint(column[(column.len() - 1) / 2], column[column.len() / 2])
    });
    let common = Commissioned::from_parts(median.collect(), fleet.spread().to_vec(), rules.commission, None)
        .expect("medians of fits are a fit");
    let linear: Vec<f32> = sensors
        .iter()
        .flat_map(|(life, _)| life.linear_rows(rules.commissioning()))
        .copied()
        .collect();
    Reference::new(&common, Rows::new(&linear, bins)?, &[], Some(&fleet), rules.kappa).map(Some)
}
