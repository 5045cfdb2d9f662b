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
use tocsin_domain::{Condition, OperatingState, Scores};

use crate::deviation;
use crate::error::{FitError, MalformedModel};
use crate::rows::Rows;
use crate::trend::{Conditions, Offset, Trend, fleet_slopes};

/// Fewest readings a sensor can be commissioned on.
pub const MIN_READINGS: usize = 20;

/// Readings at which a sensor's own spread weighs as much as the fleet's.
pub const KAPPA: f64 = 100.0;

/// Makes a median absolute deviation the standard deviation of normal data.
const MAD_TO_SD: f32 = 1.4826;

/// Least scale of a bin, in units of ln(1 + s/s0): about a hundredth of a decibel. A bin that never moved would
/// otherwise make the first change of a code infinitely unlikely.
const SCALE_FLOOR: f32 = 1e-3;

/// Median and own spread per bin of the log spectra a sensor was commissioned on, and how they went with its machine's
/// speed and load.
#[derive(Debug, Clone, PartialEq)]
pub struct Commissioned {
    median: Vec<f32>,
    spread: Vec<f32>,
    readings: usize,
    trend: Option<Trend>,
}

impl Commissioned {
    /// Fits on log spectra, one row a reading; at least [`MIN_READINGS`]. With the conditions they were taken in, median and
    /// spread are those about the sensor's trend, at the centre of the conditions.
    ///
    /// # Panics
    /// If there are conditions, and not one a row.
    pub fn fit(rows: Rows<'_>, conditions: &[Condition]) -> Result<Self, FitError> {
        rows.at_least(MIN_READINGS)?;
        let trend = Conditions::of(conditions).map(|seen| Trend::fit(rows, conditions, seen));
        let Some(trend) = &trend else {
            return Ok(Self::about(rows, trend));
        };
        let mut level = rows.values().to_vec();
        for (row, condition) in level.chunks_exact_mut(rows.bins()).zip(conditions) {
            trend.remove(trend.conditions().offset(*condition), row);
        }
        let level = Rows::new(&level, rows.bins())?;
        Ok(Self::about(level, Some(trend.clone())))
    }

    /// Median and spread of rows from which the trend was taken.
    fn about(rows: Rows<'_>, trend: Option<Trend>) -> Self {
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
        Self {
            median: medians,
            spread: spreads,
            readings: rows.len(),
            trend,
        }
    }

    /// From a stored fit: a median and a spread of zero or more per bin, finite; slopes for as many, where there are any.
    pub fn from_parts(
        median: Vec<f32>,
        spread: Vec<f32>,
        readings: usize,
        trend: Option<Trend>,
    ) -> Result<Self, MalformedModel> {
        MalformedModel::unless(median.iter().all(|m| m.is_finite()), "median", "must be finite")?;
        MalformedModel::unless(spread.len() == median.len(), "spread", "must be one per bin")?;
        let usable = |spread: &f32| spread.is_finite() && *spread >= 0.0;
        MalformedModel::unless(spread.iter().all(usable), "spread", "must be finite and not negative")?;
        let fits = trend.as_ref().is_none_or(|trend| trend.bins() == median.len());
        MalformedModel::unless(fits, "slopes", "must be one per axis and bin")?;
        Ok(Self {
            median,
            spread,
            readings,
            trend,
        })
    }

    /// Median log spectrum, at the centre of the conditions.
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

    /// The sensor's own slopes, where its readings tell their conditions.
    pub fn trend(&self) -> Option<&Trend> {
        self.trend.as_ref()
    }

    /// The sensor's baseline. Without a fleet the sensor's own spread and slopes stand alone; of a [lent](Fleet::lent) one it
    /// takes no slopes.
    ///
    /// # Panics
    /// If the fleet has another number of bins.
    pub fn baseline(&self, fleet: Option<&Fleet>, kappa: f64) -> Baseline {
        let own = match fleet {
            Some(_) => self.readings as f64 / (self.readings as f64 + kappa),
            None => 1.0,
        } as f32;
        let spread = fleet.map_or(self.spread.as_slice(), |fleet| &fleet.spread);
        assert_eq!(
            spread.len(),
            self.spread.len(),
            "bins of the fleet against bins of the sensor"
        );
        let pooled = |(own_spread, fleet_spread): (&f32, &f32)| own * own_spread + (1.0 - own) * fleet_spread;
        let slopes = fleet.and_then(|fleet| fleet.slopes.as_deref());
        let trend = self.trend.as_ref().map(|trend| match slopes {
            Some(slopes) => trend.pooled(&self.spread, slopes),
            None => trend.clone(),
        });
        let scale: Vec<f32> = self
            .spread
            .iter()
            .zip(spread)
            .map(|pair| pooled(pair).max(SCALE_FLOOR))
            .collect();
        Baseline {
            median: self.median.clone(),
            line_weights: deviation::line_weights(&scale),
            scale,
            trend,
        }
    }
}

/// What a sensor's fit is pooled with.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    spread: Vec<f32>,
    slopes: Option<Vec<f32>>,
}

impl Fleet {
    /// Of a fleet's sensors: per bin the median over sensors of their spread, so that one restless sensor widens nobody's
    /// limits, and of their slopes. Nothing without sensors.
    ///
    /// # Panics
    /// If the sensors differ in their number of bins.
    pub fn of<'a>(sensors: impl IntoIterator<Item = &'a Commissioned>) -> Option<Self> {
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
        let trends = sensors
            .iter()
            .filter_map(|sensor| Some((sensor.trend()?, sensor.spread())));
        Some(Self {
            spread: spread.collect(),
            slopes: Some(fleet_slopes(trends, bins)),
        })
    }

    /// What it lends to a sensor of machines that are built otherwise: its spread, so many times as wide. How a machine goes
    /// with speed and load is its construction's, and is not lent.
    #[must_use]
    pub fn lent(mut self, widened: f32) -> Self {
        for spread in &mut self.spread {
            *spread *= widened;
        }
        self.slopes = None;
        self
    }

    /// Spread per bin.
    pub fn spread(&self) -> &[f32] {
        &self.spread
    }
}

/// Median log spectrum and scale per bin of one sensor in one commissioning epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Baseline {
    median: Vec<f32>,
    scale: Vec<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trend: Option<Trend>,
    /// Follows from the scale.
    #[serde(skip)]
    line_weights: Vec<f32>,
}

#[derive(Deserialize)]
struct Stored {
    median: Vec<f32>,
    scale: Vec<f32>,
    trend: Option<Trend>,
}

impl TryFrom<Stored> for Baseline {
    type Error = MalformedModel;

    fn try_from(Stored { median, scale, trend }: Stored) -> Result<Self, MalformedModel> {
        Self::new(median, scale, trend)
    }
}

impl Baseline {
    /// From stored medians and scales: one of each per bin, finite, scales above zero; and slopes for as many bins, where it
    /// has any.
    pub fn new(median: Vec<f32>, scale: Vec<f32>, trend: Option<Trend>) -> Result<Self, MalformedModel> {
        MalformedModel::unless(!median.is_empty(), "median", "must have at least one bin")?;
        MalformedModel::unless(median.iter().all(|m| m.is_finite()), "median", "must be finite")?;
        MalformedModel::unless(scale.len() == median.len(), "scale", "must be one per bin")?;
        let usable = |scale: &f32| scale.is_finite() && *scale > 0.0;
        MalformedModel::unless(scale.iter().all(usable), "scale", "must be finite and above zero")?;
        let fits = trend.as_ref().is_none_or(|trend| trend.bins() == median.len());
        MalformedModel::unless(fits, "slopes", "must be one per axis and bin")?;
        Ok(Self {
            line_weights: deviation::line_weights(&scale),
            median,
            scale,
            trend,
        })
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

    /// What each bin's deviation weighs as a line: see [`line_weights`](deviation::line_weights).
    pub fn line_weights(&self) -> &[f32] {
        &self.line_weights
    }

    /// How the median goes with speed and load.
    pub fn trend(&self) -> Option<&Trend> {
        self.trend.as_ref()
    }

    /// This baseline about another median, finite.
    pub fn moved(&self, median: Vec<f32>) -> Result<Self, MalformedModel> {
        Self::new(median, self.scale.clone(), self.trend.clone())
    }

    /// Where a condition lies from the centre of those it was commissioned in.
    pub fn offset(&self, condition: Condition) -> Offset {
        let trend = self.trend.as_ref();
        trend.map_or_else(Offset::default, |trend| trend.conditions().offset(condition))
    }

    /// Whether a condition is among those it was commissioned in; without any, whatever it is.
    pub fn knows(&self, condition: Condition) -> bool {
        self.trend
            .as_ref()
            .is_none_or(|trend| trend.conditions().know(condition))
    }

    /// What a condition means for judging a reading taken in it.
    pub fn state(&self, condition: Condition) -> OperatingState {
        match OperatingState::from(condition) {
            OperatingState::Known if !self.knows(condition) => OperatingState::Unseen,
            state => state,
        }
    }

    /// Takes from a log spectrum what its condition adds.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn remove_trend(&self, condition: Condition, log: &mut [f32]) {
        if let Some(trend) = &self.trend {
            trend.remove(trend.conditions().offset(condition), log);
        }
    }

    /// Fills `expected` with the median log spectrum at an offset.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn expected_into(&self, offset: Offset, expected: &mut [f32]) {
        expected.copy_from_slice(&self.median);
        if let Some(trend) = &self.trend {
            trend.add(offset, expected);
        }
    }

    /// Fills `z` with how far each bin stands from the baseline at an offset, in scales:
    /// (ln(1 + s/s0) - expected) / scale.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn deviations_into(&self, log: &[f32], offset: Offset, z: &mut [f32]) {
        assert!(
            log.len() == self.bins() && z.len() == self.bins(),
            "bins of the spectrum against bins of the baseline"
        );
        self.expected_into(offset, z);
        for ((z, log), scale) in z.iter_mut().zip(log).zip(&self.scale) {
            *z = (log - *z) / scale;
        }
    }

    /// Scores one log spectrum: growth, shift and narrowband. `z` is working space of one value a bin, and holds the
    /// deviations after.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn score_into(&self, log: &[f32], offset: Offset, z: &mut [f32], scores: &mut Scores) {
        self.deviations_into(log, offset, z);
        deviation::score_into(z, &self.line_weights, scores);
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
mod tests;
