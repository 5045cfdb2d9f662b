//! The conditions a sensor was commissioned in: their centre, how they scatter, and how far they reach.
//!
//! What lies outside of them is told by the Mahalanobis distance from their centre: beyond the furthest reading that was
//! learned on, a regression extrapolates (the leverage of Cook 1977).

use serde::{Deserialize, Serialize};
use tocsin_domain::Condition;

use crate::error::MalformedModel;

/// Speed and load.
pub const AXES: usize = 2;

/// What counts as the same condition whatever was seen: 3 % of speed and 5 % of load, as standard deviations.
const SAME: [f64; AXES] = [0.03, 0.05];

/// Squared Mahalanobis distance that is always near enough: three deviations.
const NEAR: f64 = 9.0;

/// Where a machine runs, seen from the centre of the conditions its sensor was commissioned in: the difference in ln(rpm),
/// and that in load as a part of the usual load. Zero where nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Offset(pub [f32; AXES]);

/// The conditions a sensor was commissioned in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredConditions")]
pub struct Conditions {
    /// Mean ln(rpm) and mean load; none where readings don't tell.
    pub(super) centre: [Option<f32>; AXES],
    /// Load that a relative change of one is.
    pub(super) load_unit: f32,
    /// Covariance of the offsets: speed, both, load.
    pub(super) covariance: [f32; 3],
    /// Squared distance of the furthest of them.
    pub(super) reach: f32,
    pub(super) readings: u32,
}

#[derive(Deserialize)]
pub(super) struct StoredConditions {
    pub(super) centre: [Option<f32>; AXES],
    pub(super) load_unit: f32,
    pub(super) covariance: [f32; 3],
    pub(super) reach: f32,
    pub(super) readings: u32,
}

impl TryFrom<StoredConditions> for Conditions {
    type Error = MalformedModel;

    fn try_from(stored: StoredConditions) -> Result<Self, MalformedModel> {
        let StoredConditions {
            centre,
            load_unit,
            covariance,
            reach,
            readings,
        } = stored;
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        let centres: Vec<f32> = centre.into_iter().flatten().collect();
        MalformedModel::unless(finite(&centres), "centre", "must be finite")?;
        MalformedModel::unless(
            load_unit.is_finite() && load_unit > 0.0,
            "load_unit",
            "must be finite and above zero",
        )?;
        let positive = covariance[0] >= 0.0 && covariance[2] >= 0.0;
        MalformedModel::unless(
            finite(&covariance) && positive,
            "covariance",
            "must be finite, with variances of zero or more",
        )?;
        MalformedModel::unless(
            reach.is_finite() && reach >= 0.0,
            "reach",
            "must be finite and not negative",
        )?;
        Ok(Self {
            centre,
            load_unit,
            covariance,
            reach,
            readings,
        })
    }
}

impl Conditions {
    /// Of the readings a sensor was commissioned on. An axis counts where at least half of them tell it; nothing where none
    /// does.
    pub fn of(conditions: &[Condition]) -> Option<Self> {
        let told = |axis: usize| -> Vec<f64> { conditions.iter().filter_map(|c| raw(*c)[axis]).collect() };
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let axes: [Vec<f64>; AXES] = [told(0), told(1)];
        let centre: [Option<f32>; AXES] = [0, 1].map(|axis| {
            let values = &axes[axis];
            (2 * values.len() >= conditions.len().max(1)).then(|| mean(values) as f32)
        });
        if centre == [None; AXES] {
            return None;
        }
        let usual = centre[1].map_or(1.0, |load| f64::from(load.abs()));
        let spread = mean(
            &axes[1]
                .iter()
                .map(|load| (load - mean(&axes[1])).abs())
                .collect::<Vec<_>>(),
        );
        let load_unit = usual.max(if spread.is_finite() { spread } else { 0.0 }).max(1e-6) as f32;
        let mut seen = Self {
            centre,
            load_unit,
            covariance: [0.0; 3],
            reach: 0.0,
            readings: conditions.len() as u32,
        };
        let offsets: Vec<Offset> = conditions.iter().map(|condition| seen.offset(*condition)).collect();
        seen.covariance = covariance(&offsets);
        let furthest = offsets.iter().map(|offset| seen.distance(*offset)).fold(0.0, f64::max);
        seen.reach = furthest as f32;
        Some(seen)
    }

    /// Usual speed in rpm and usual load; none where readings don't tell.
    pub fn usual(&self) -> Condition {
        Condition {
            rpm: self.centre[0].map(f32::exp),
            load: self.centre[1],
            ..Condition::default()
        }
    }

    /// Where a condition lies; what it does not tell lies at the centre.
    pub fn offset(&self, condition: Condition) -> Offset {
        let raw = raw(condition);
        let from = |axis: usize, unit: f64| match (raw[axis], self.centre[axis]) {
            (Some(value), Some(centre)) => ((value - f64::from(centre)) / unit) as f32,
            _ => 0.0,
        };
        Offset([from(0, 1.0), from(1, f64::from(self.load_unit))])
    }

    /// Whether a condition is among those seen, or as near to them as the furthest of them. One that does not tell what
    /// they told is not.
    pub fn know(&self, condition: Condition) -> bool {
        let raw = raw(condition);
        let told = (0..AXES).all(|axis| self.centre[axis].is_none() || raw[axis].is_some());
        // A reach is kept in single precision.
        told && self.distance(self.offset(condition)) <= (1.0 + 1e-5) * f64::from(self.reach).max(NEAR)
    }

    /// Squared Mahalanobis distance from the centre.
    fn distance(&self, Offset(offset): Offset) -> f64 {
        let [speed, both, load] = self.covariance.map(f64::from);
        let (speed, load) = (speed + SAME[0].powi(2), load + SAME[1].powi(2));
        let [x, y] = offset.map(f64::from);
        (load * x * x - 2.0 * both * x * y + speed * y * y) / (speed * load - both * both)
    }
}

/// ln(rpm) and load, as far as a condition tells them.
fn raw(condition: Condition) -> [Option<f64>; AXES] {
    let speed = condition.rpm.filter(|rpm| *rpm > 0.0);
    [speed.map(|rpm| f64::from(rpm).ln()), condition.load.map(f64::from)]
}

fn covariance(offsets: &[Offset]) -> [f32; 3] {
    let mut sums = [0.0_f64; 3];
    for Offset(offset) in offsets {
        let [x, y] = offset.map(f64::from);
        for (sum, product) in sums.iter_mut().zip([x * x, x * y, y * y]) {
            *sum += product;
        }
    }
    sums.map(|sum| (sum / offsets.len().max(1) as f64) as f32)
}
