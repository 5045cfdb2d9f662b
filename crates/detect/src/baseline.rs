//! What a sensor looked like when it was commissioned: the reference that growth is measured against.
//!
//! Two machines of one construction differ by more than a young fault changes either, so a limit for the whole fleet
//! either sleeps or never stops ringing. A baseline is a sensor's own: per bin the median of its log spectra
//! (ln(1 + s/s0)) and their spread, the median absolute deviation scaled to a standard deviation.
//!
//! A hundred readings give a fair median and a poor spread. So the spread is partially pooled with the fleet's (empirical
//! Bayes shrinkage; Efron and Morris 1975): w = n / (n + kappa) of it is the sensor's own.
//!
//! **Invariant:** medians are finite and scales above zero, one of each per bin; a baseline never changes once made.

use serde::{Deserialize, Serialize};
use tocsin_domain::{Detector, Scores};

use crate::deviation::{growth, narrowband, shift};
use crate::error::{FitError, MalformedModel};
use crate::rows::Rows;

/// Fewest readings a sensor can be commissioned on.
pub const MIN_READINGS: usize = 20;

/// Readings at which a sensor's own spread weighs as much as the fleet's.
pub const KAPPA: f64 = 100.0;

/// Makes a median absolute deviation the standard deviation of normal data.
const MAD_TO_SD: f32 = 1.4826;

/// Least scale of a bin, in units of ln(1 + s/s0): about a hundredth of a decibel. A bin that never moved would
/// otherwise make the first change of a code infinitely unlikely.
const SCALE_FLOOR: f32 = 1e-3;

/// Median and own spread per bin of the log spectra a sensor was commissioned on.
#[derive(Debug, Clone, PartialEq)]
pub struct Commissioned {
    median: Vec<f32>,
    spread: Vec<f32>,
    readings: usize,
}

impl Commissioned {
    /// Fits on log spectra, one row a reading; at least [`MIN_READINGS`].
    pub fn fit(rows: Rows<'_>) -> Result<Self, FitError> {
        rows.at_least(MIN_READINGS)?;
        let mut column = vec![0.0_f32; rows.len()];
        let (mut medians, mut spreads) = (Vec::with_capacity(rows.bins()), Vec::with_capacity(rows.bins()));
        for bin in 0..rows.bins() {
            for (value, row) in column.iter_mut().zip(rows) {
                *value = row[bin];
            }
            let middle = median(&mut column);
            for value in &mut column {
                *value = (*value - middle).abs();
            }
            medians.push(middle);
            spreads.push(MAD_TO_SD * median(&mut column));
        }
        Ok(Self {
            median: medians,
            spread: spreads,
            readings: rows.len(),
        })
    }

    /// From a stored fit: a median and a spread of zero or more per bin, finite.
    pub fn from_parts(median: Vec<f32>, spread: Vec<f32>, readings: usize) -> Result<Self, MalformedModel> {
        MalformedModel::unless(median.iter().all(|m| m.is_finite()), "median", "must be finite")?;
        MalformedModel::unless(spread.len() == median.len(), "spread", "must be one per bin")?;
        let usable = |spread: &f32| spread.is_finite() && *spread >= 0.0;
        MalformedModel::unless(spread.iter().all(usable), "spread", "must be finite and not negative")?;
        Ok(Self {
            median,
            spread,
            readings,
        })
    }

    /// Median log spectrum.
    pub fn median(&self) -> &[f32] {
        &self.median
    }

    /// Robust standard deviation of each bin, before pooling.
    pub fn spread(&self) -> &[f32] {
        &self.spread
    }

    /// Readings behind it.
    pub fn readings(&self) -> usize {
        self.readings
    }

    /// The sensor's baseline. `fleet` is the fleet's spread per bin ([`fleet_spread`]); without one the sensor's own
    /// stands alone.
    ///
    /// # Panics
    /// If `fleet` has another number of bins.
    pub fn baseline(&self, fleet: Option<&[f32]>, kappa: f64) -> Baseline {
        let own = match fleet {
            Some(_) => self.readings as f64 / (self.readings as f64 + kappa),
            None => 1.0,
        } as f32;
        let fleet = fleet.unwrap_or(&self.spread);
        assert_eq!(
            fleet.len(),
            self.spread.len(),
            "bins of the fleet against bins of the sensor"
        );
        let pooled = |(own_spread, fleet_spread): (&f32, &f32)| own * own_spread + (1.0 - own) * fleet_spread;
        Baseline {
            median: self.median.clone(),
            scale: self
                .spread
                .iter()
                .zip(fleet)
                .map(|pair| pooled(pair).max(SCALE_FLOOR))
                .collect(),
        }
    }
}

/// The fleet's spread: per bin the median over sensors, so that one restless sensor widens nobody's limits. Nothing
/// without sensors.
///
/// # Panics
/// If the sensors differ in their number of bins.
pub fn fleet_spread<'a>(sensors: impl IntoIterator<Item = &'a Commissioned>) -> Option<Vec<f32>> {
    let sensors: Vec<&Commissioned> = sensors.into_iter().collect();
    let bins = sensors.first()?.spread.len();
    let mut column = vec![0.0; sensors.len()];
    let spread = (0..bins).map(|bin| {
        for (value, sensor) in column.iter_mut().zip(&sensors) {
            assert_eq!(
                sensor.spread.len(),
                bins,
                "sensors of one fleet have one number of bins"
            );
            *value = sensor.spread[bin];
        }
        median(&mut column)
    });
    Some(spread.collect())
}

/// Median log spectrum and scale per bin of one sensor in one commissioning epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Baseline {
    median: Vec<f32>,
    scale: Vec<f32>,
}

#[derive(Deserialize)]
struct Stored {
    median: Vec<f32>,
    scale: Vec<f32>,
}

impl TryFrom<Stored> for Baseline {
    type Error = MalformedModel;

    fn try_from(Stored { median, scale }: Stored) -> Result<Self, MalformedModel> {
        Self::new(median, scale)
    }
}

impl Baseline {
    /// From stored medians and scales: one of each per bin, finite, scales above zero.
    pub fn new(median: Vec<f32>, scale: Vec<f32>) -> Result<Self, MalformedModel> {
        MalformedModel::unless(!median.is_empty(), "median", "must have at least one bin")?;
        MalformedModel::unless(median.iter().all(|m| m.is_finite()), "median", "must be finite")?;
        MalformedModel::unless(scale.len() == median.len(), "scale", "must be one per bin")?;
        let usable = |scale: &f32| scale.is_finite() && *scale > 0.0;
        MalformedModel::unless(scale.iter().all(usable), "scale", "must be finite and above zero")?;
        Ok(Self { median, scale })
    }

    /// Number of bins.
    pub fn bins(&self) -> usize {
        self.median.len()
    }

    /// Median log spectrum.
    pub fn median(&self) -> &[f32] {
        &self.median
    }

    /// Scale of each bin.
    pub fn scale(&self) -> &[f32] {
        &self.scale
    }

    /// Fills `z` with how far each bin stands from the baseline, in scales: (ln(1 + s/s0) - median) / scale.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn deviations_into(&self, log: &[f32], z: &mut [f32]) {
        assert!(
            log.len() == self.bins() && z.len() == self.bins(),
            "bins of the spectrum against bins of the baseline"
        );
        for (((z, log), median), scale) in z.iter_mut().zip(log).zip(&self.median).zip(&self.scale) {
            *z = (log - median) / scale;
        }
    }

    /// Scores one log spectrum: growth, shift and narrowband. `z` is working space of one value a bin, and holds the
    /// deviations after.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn score_into(&self, log: &[f32], z: &mut [f32], scores: &mut Scores) {
        self.deviations_into(log, z);
        scores.set(Detector::Growth, growth(z));
        scores.set(Detector::Shift, shift(z));
        scores.set(Detector::Narrowband, narrowband(z));
    }
}

/// Median; of an even number, the mean of the middle two. Orders the values; 0 without any.
pub(crate) fn median(values: &mut [f32]) -> f32 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return 0.0;
    }
    let even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
    let upper = *upper;
    match below.iter().copied().max_by(f32::total_cmp) {
        Some(lower) if even => f32::midpoint(lower, upper),
        _ => upper,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Rows of two bins: one that climbs from 0 to 1, one that stands at 3.
    fn climbing(count: usize) -> Vec<f32> {
        (0..count)
            .flat_map(|at| [at as f32 / (count - 1) as f32, 3.0])
            .collect()
    }

    fn fit(values: &[f32]) -> Commissioned {
        Commissioned::fit(Rows::new(values, 2).unwrap()).unwrap()
    }

    #[test]
    fn a_baseline_is_the_median_and_the_spread_of_each_bin() {
        let sensor = fit(&climbing(101));
        assert_eq!((sensor.median(), sensor.readings()), ([0.5, 3.0].as_slice(), 101));
        assert!(
            (sensor.spread()[0] - 0.25 * 1.4826).abs() < 1e-3,
            "{:?}",
            sensor.spread()
        );
        let baseline = sensor.baseline(None, KAPPA);
        assert_eq!(baseline.scale()[1], SCALE_FLOOR, "a bin that never moved keeps a scale");
    }

    #[test]
    fn one_wild_reading_in_ten_moves_neither_median_nor_spread_by_much() {
        let mut values = climbing(101);
        let clean = fit(&values).baseline(None, KAPPA);
        for row in values.chunks_mut(2).step_by(10) {
            row[0] = 1e6;
        }
        let wild = fit(&values).baseline(None, KAPPA);
        assert!((wild.median()[0] - clean.median()[0]).abs() < 0.1);
        assert!(wild.scale()[0] < 1.3 * clean.scale()[0]);
    }

    #[test]
    fn few_readings_lean_on_the_fleet_and_many_on_themselves() {
        let fleet = fleet_spread([&fit(&climbing(101))]).unwrap();
        let quiet = |count: usize| {
            let values: Vec<f32> = climbing(count).iter().map(|v| v * 0.1).collect();
            fit(&values).baseline(Some(&fleet), KAPPA).scale()[0] / fleet[0]
        };
        assert!((quiet(101) - 0.55).abs() < 0.02, "{}", quiet(101));
        assert!(quiet(20) > 0.8 && quiet(5_000) < 0.13);
    }

    #[test]
    fn the_fleets_spread_is_the_median_sensors() {
        let sensors: Vec<Commissioned> = [1.0, 2.0, 50.0]
            .map(|gain| fit(&climbing(101).iter().map(|v| v * gain).collect::<Vec<_>>()))
            .into();
        let spread = fleet_spread(&sensors).unwrap();
        assert!((spread[0] - 2.0 * sensors[0].spread()[0]).abs() < 1e-5);
        assert_eq!(fleet_spread([]), None);
    }

    #[test]
    fn too_few_readings_and_broken_numbers_are_refused() {
        let few = climbing(19);
        let error = Commissioned::fit(Rows::new(&few, 2).unwrap()).unwrap_err();
        assert_eq!(
            error,
            FitError::TooFewRows {
                have: 19,
                need: MIN_READINGS
            }
        );
        assert_eq!(Baseline::new(vec![], vec![]).unwrap_err().field, "median");
        assert_eq!(Baseline::new(vec![f32::NAN], vec![1.0]).unwrap_err().field, "median");
        assert_eq!(Baseline::new(vec![1.0], vec![]).unwrap_err().field, "scale");
        assert_eq!(Baseline::new(vec![1.0], vec![0.0]).unwrap_err().field, "scale");
        let parts = |spread: f32| Commissioned::from_parts(vec![1.0], vec![spread], 100);
        assert_eq!(parts(-0.1).unwrap_err().field, "spread");
        assert_eq!(parts(0.0).unwrap().readings(), 100);
        let json = r#"{"median": [1.0, 2.0], "scale": [0.1, 0.2]}"#;
        assert_eq!(serde_json::from_str::<Baseline>(json).unwrap().bins(), 2);
    }

    proptest! {
        #[test]
        fn the_median_has_as_many_values_below_as_above(mut values in prop::collection::vec(-1e3_f32..1e3, 1..60)) {
            let all = values.clone();
            let middle = median(&mut values);
            let below = all.iter().filter(|v| **v < middle).count();
            let above = all.iter().filter(|v| **v > middle).count();
            prop_assert!(below <= all.len() / 2 && above <= all.len() / 2);
        }

        #[test]
        fn a_spectrum_at_its_baseline_deviates_nowhere(
            (median, scale) in (1_usize..40).prop_flat_map(|bins| (
                prop::collection::vec(0.0_f32..10.0, bins),
                prop::collection::vec(0.01_f32..2.0, bins),
            )),
        ) {
            let baseline = Baseline::new(median.clone(), scale.clone()).unwrap();
            let mut z = vec![9.0; median.len()];
            baseline.deviations_into(&median, &mut z);
            prop_assert!(z.iter().all(|z| *z == 0.0));
            let one_up: Vec<f32> = median.iter().zip(&scale).map(|(m, s)| m + s).collect();
            baseline.deviations_into(&one_up, &mut z);
            prop_assert!(z.iter().all(|z| (z - 1.0).abs() < 1e-3));
        }
    }
}
