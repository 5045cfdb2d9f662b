//! How a sensor's log spectrum goes with speed and load, and in which conditions that is known.
//!
//! Forces grow with a power of speed, and noise with load, so amplitudes on a log axis go along straight lines: per bin
//! one slope against ln(rpm) and one against the load. A line needs far fewer readings than a cell of its own for each
//! band of speed and load, and lends what is seen in one condition to its neighbours.
//!
//! A sensor's slopes are partially pooled with its fleet's: ridge regression towards the fleet's median slope, which is
//! the posterior mean under a normal prior (Hoerl and Kennard 1970; Lindley and Smith 1972). A machine that was
//! commissioned at one speed has its fleet's slopes, one that saw many has its own, and the jitter of a tachometer makes
//! none. Wild readings are drawn in to three deviations of their bin before they count (Huber 1964).
//!
//! **Invariant:** slopes are finite, and the condition at the centre moves no bin.

mod conditions;

use serde::{Deserialize, Serialize};
use tocsin_domain::Condition;

use crate::error::MalformedModel;
use crate::rows::Rows;

use conditions::StoredConditions;
pub use conditions::{AXES, Conditions, Offset};

/// Standard deviation of slopes about the fleet's, in ln(amplitude) per ln(rpm) and per relative change of load: unbalance
/// goes with the square of speed, and hardly anything with more than its cube.
const SLOPE_SD: f64 = 2.0;

/// Deviations to which a reading is drawn in before it counts.
const HUBER: f32 = 3.0;

/// Fits, each after drawing in what the one before left over.
const PASSES: usize = 3;

/// Share of a slope that must be the sensor's own before it tells the fleet's.
const OWN_SHARE: f64 = 0.8;

/// Least spread of a bin that slopes are weighed by.
const SPREAD_FLOOR: f64 = 1e-3;

/// Slopes per bin of a sensor, and the conditions they were learned in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredTrend")]
pub struct Trend {
    conditions: Conditions,
    /// All bins against speed, then all against load.
    slopes: Vec<f32>,
}

#[derive(Deserialize)]
struct StoredTrend {
    conditions: Conditions,
    slopes: Vec<f32>,
}

impl TryFrom<StoredTrend> for Trend {
    type Error = MalformedModel;

    fn try_from(StoredTrend { conditions, slopes }: StoredTrend) -> Result<Self, MalformedModel> {
        Self::new(conditions, slopes)
    }
}

impl Trend {
    /// From stored conditions and slopes: one a bin and axis, speed first, finite.
    pub fn new(conditions: Conditions, slopes: Vec<f32>) -> Result<Self, MalformedModel> {
        let whole = !slopes.is_empty() && slopes.len().is_multiple_of(AXES);
        MalformedModel::unless(whole, "slopes", "must be one per axis and bin")?;
        MalformedModel::unless(slopes.iter().all(|s| s.is_finite()), "slopes", "must be finite")?;
        Ok(Self { conditions, slopes })
    }

    /// Fits the slopes of log spectra, one row a reading, each in its condition; towards zero where readings say little.
    ///
    /// # Panics
    /// If there is not one condition a row.
    pub fn fit(rows: Rows<'_>, of: &[Condition], conditions: Conditions) -> Self {
        assert_eq!(rows.len(), of.len(), "a condition a row");
        let offsets: Vec<Offset> = of.iter().map(|condition| conditions.offset(*condition)).collect();
        let bins = rows.bins();
        let mut slopes = vec![0.0; AXES * bins];
        let mut column = vec![0.0; rows.len()];
        for bin in 0..bins {
            for (value, row) in column.iter_mut().zip(rows) {
                *value = row[bin];
            }
            let [speed, load] = fit_bin(&column, &offsets, &conditions);
            (slopes[bin], slopes[bins + bin]) = (speed as f32, load as f32);
        }
        Self { conditions, slopes }
    }

    /// The stored form: the conditions as eight little-endian float4 (centre of ln(rpm) and of load, NaN where none is
    /// known, load unit, three of the covariance, reach, readings), and the slopes after them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Conditions {
            centre,
            load_unit,
            covariance: [speed, both, load],
            reach,
            readings,
        } = self.conditions;
        let [centre_speed, centre_load] = centre.map(|centre| centre.unwrap_or(f32::NAN));
        let head = [
            centre_speed,
            centre_load,
            load_unit,
            speed,
            both,
            load,
            reach,
            readings as f32,
        ];
        head.iter()
            .chain(&self.slopes)
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    /// From the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MalformedModel> {
        let (values, rest) = bytes.as_chunks::<4>();
        let values: Vec<f32> = values.iter().copied().map(f32::from_le_bytes).collect();
        let (Some((head, slopes)), true) = (values.split_first_chunk::<8>(), rest.is_empty()) else {
            return Err(MalformedModel {
                field: "trend",
                reason: "is too short for one",
            });
        };
        let [centre_speed, centre_load, load_unit, speed, both, load, reach, readings] = *head;
        let conditions = Conditions::try_from(StoredConditions {
            centre: [centre_speed, centre_load].map(|centre| (!centre.is_nan()).then_some(centre)),
            load_unit,
            covariance: [speed, both, load],
            reach,
            readings: readings as u32,
        })?;
        Self::new(conditions, slopes.to_vec())
    }

    /// The conditions it was learned in.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// Slopes against ln(rpm), one a bin, then those against load.
    pub fn slopes(&self) -> &[f32] {
        &self.slopes
    }

    /// Number of bins.
    pub fn bins(&self) -> usize {
        self.slopes.len() / AXES
    }

    /// Takes from a log spectrum what its condition adds: what is left is what it would be at the centre.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn remove(&self, Offset([speed, load]): Offset, log: &mut [f32]) {
        self.add(Offset([-speed, -load]), log);
    }

    /// Adds to a log spectrum at the centre what a condition adds.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn add(&self, Offset([speed, load]): Offset, log: &mut [f32]) {
        assert_eq!(log.len(), self.bins(), "bins of the spectrum against bins of the trend");
        let (of_speed, of_load) = self.slopes.split_at(self.bins());
        for ((log, a), b) in log.iter_mut().zip(of_speed).zip(of_load) {
            *log += a * speed + b * load;
        }
    }

    /// Pools the slopes with the fleet's: `spread` is the sensor's own, per bin, and weighs what its readings say.
    ///
    /// # Panics
    /// If the lengths differ.
    #[must_use]
    pub fn pooled(&self, spread: &[f32], fleet: &[f32]) -> Self {
        let bins = self.bins();
        assert!(
            spread.len() == bins && fleet.len() == self.slopes.len(),
            "bins of the fleet against bins of the sensor"
        );
        let mut slopes = self.slopes.clone();
        for (bin, spread) in spread.iter().enumerate() {
            let fleet = [fleet[bin], fleet[bins + bin]].map(|slope| f64::from(slope) / SLOPE_SD.powi(2));
            let [speed, load] = solve(self.precision(*spread), fleet);
            slopes[bin] += speed as f32;
            slopes[bins + bin] += load as f32;
        }
        Self {
            slopes,
            conditions: self.conditions,
        }
    }

    /// Whether the slopes of an axis are the sensor's own more than what they were pooled with.
    pub fn tells(&self, axis: usize, spread: f32) -> bool {
        let [speed, both, load] = self.precision(spread);
        let own = [speed, load][axis] - SLOPE_SD.powi(-2);
        // What the other axis does not explain of it.
        let apart = own - both * both / [load, speed][axis];
        apart >= OWN_SHARE / (1.0 - OWN_SHARE) * SLOPE_SD.powi(-2)
    }

    fn precision(&self, spread: f32) -> [f64; 3] {
        precision(&self.conditions, f64::from(spread).max(SPREAD_FLOOR))
    }
}

/// The fleet's slopes: per axis and bin the median over the sensors that tell; zero where none does. `sensors` are trends
/// with their sensors' spread per bin.
pub fn fleet_slopes<'a>(sensors: impl IntoIterator<Item = (&'a Trend, &'a [f32])>, bins: usize) -> Vec<f32> {
    let sensors: Vec<(&Trend, &[f32])> = sensors.into_iter().collect();
    let slope = |at: usize| {
        let (axis, bin) = (at / bins, at % bins);
        let telling = sensors.iter().filter(|(trend, spread)| trend.tells(axis, spread[bin]));
        crate::baseline::median(&mut telling.map(|(trend, _)| trend.slopes[at]).collect::<Vec<f32>>())
    };
    (0..AXES * bins).map(slope).collect()
}

/// Precision of the two slopes of a bin: what its readings say, and the prior.
fn precision(conditions: &Conditions, spread: f64) -> [f64; 3] {
    let weight = f64::from(conditions.readings) / (spread * spread);
    let [speed, both, load] = conditions.covariance.map(|value| f64::from(value) * weight);
    let prior = SLOPE_SD.powi(-2);
    [speed + prior, both, load + prior]
}

/// Solves the symmetric system of two.
fn solve([speed, both, load]: [f64; 3], [x, y]: [f64; AXES]) -> [f64; AXES] {
    let determinant = speed * load - both * both;
    [
        (load * x - both * y) / determinant,
        (speed * y - both * x) / determinant,
    ]
}

/// Slopes of one bin.
fn fit_bin(column: &[f32], offsets: &[Offset], conditions: &Conditions) -> [f64; AXES] {
    let mut slopes = [0.0; AXES];
    let mut left = vec![0.0_f32; column.len()];
    for _ in 0..PASSES {
        let fitted = |Offset(offset): &Offset| slopes[0] * f64::from(offset[0]) + slopes[1] * f64::from(offset[1]);
        let rest = |(value, offset): (&f32, &Offset)| value - fitted(offset) as f32;
        let rests: Vec<f32> = column.iter().zip(offsets).map(rest).collect();
        left.copy_from_slice(&rests);
        let middle = crate::baseline::median(&mut left);
        for value in &mut left {
            *value = (*value - middle).abs();
        }
        let spread = (1.4826 * crate::baseline::median(&mut left)).max(SPREAD_FLOOR as f32);
        let weight = f64::from(spread).powi(-2);
        let mut right = [0.0; AXES];
        for (rest, Offset(offset)) in rests.iter().zip(offsets) {
            let drawn_in = f64::from((rest - middle).clamp(-HUBER * spread, HUBER * spread));
            for axis in 0..AXES {
                right[axis] += (drawn_in + slopes[0] * f64::from(offset[0]) + slopes[1] * f64::from(offset[1]))
                    * f64::from(offset[axis])
                    * weight;
            }
        }
        slopes = solve(precision(conditions, f64::from(spread)), right);
    }
    slopes
}

#[cfg(test)]
mod tests;
