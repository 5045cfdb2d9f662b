//! How improbable is a score on a healthy machine?
//!
//! Percentile ranks saturate: everything beyond the greatest healthy score has the same rank, and two
//! disasters of different size tie. Here the healthy scores up to a threshold u are described by
//! their own quantiles, and those beyond it by a generalised Pareto distribution (Pickands 1975;
//! peaks over threshold), fitted by probability-weighted moments (Hosking & Wallis 1987). The tail
//! score of x is -log10 P(X > x): 2 is one healthy reading in a hundred, 3 one in a thousand.
//!
//! The shape xi is held in [0, 0.5]. A negative shape would end the distribution at a finite point,
//! beyond which all scores tie at infinity; a shape above 0.5 (infinite variance) is an accident of a
//! small sample far more often than the truth.
//!
//! **Invariant:** the tail score is finite for every finite x, continuous, never decreasing, and
//! strictly increasing from u on.

use serde::{Deserialize, Serialize};

use crate::error::MalformedModel;

/// Fewest scores a tail is fitted on.
pub const MIN_SCORES: usize = 50;

/// Quantiles kept of the body, at most.
const KNOTS: usize = 64;

/// Fewest exceedances; with fewer, the moments say nothing about a tail.
const MIN_EXCEEDANCES: usize = 20;

/// Share of the scores in the tail when there are enough of them.
const TAIL_SHARE: f64 = 0.1;

/// Greatest shape.
const MAX_SHAPE: f64 = 0.5;

/// Below this shape the tail is computed as exponential, which it then is to the last digit.
const EXPONENTIAL_SHAPE: f64 = 1e-9;

/// Why a tail cannot be fitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TailError {
    /// Too few scores.
    #[error("scores: {have} scores, and at least {need} are needed")]
    TooFew {
        /// Scores given.
        have: usize,
        /// Scores needed.
        need: usize,
    },
    /// A score is NaN or infinite.
    #[error("scores: score {at} is not finite")]
    NotFinite {
        /// Place of the score, from 0.
        at: usize,
    },
    /// So many scores are equal that there is no body or no tail to measure.
    #[error("scores: too many are equal, there is no spread in the {part}")]
    Tied {
        /// `body` or `tail`.
        part: &'static str,
    },
}

/// Healthy distribution of one detector's score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Tail {
    support: usize,
    /// Scores of the body, strictly increasing; the last is the threshold u.
    knots: Vec<f64>,
    /// -log10 P(X > x) at each knot; starts at 0, strictly increasing.
    levels: Vec<f64>,
    shape: f64,
    scale: f64,
}

#[derive(Deserialize)]
struct Stored {
    support: usize,
    knots: Vec<f64>,
    levels: Vec<f64>,
    shape: f64,
    scale: f64,
}

impl TryFrom<Stored> for Tail {
    type Error = MalformedModel;

    fn try_from(
        Stored {
            support,
            knots,
            levels,
            shape,
            scale,
        }: Stored,
    ) -> Result<Self, MalformedModel> {
        let rising = |values: &[f64]| {
            values.iter().all(|value| value.is_finite()) && values.windows(2).all(|pair| pair[0] < pair[1])
        };
        MalformedModel::unless(knots.len() >= 2, "knots", "must be at least two")?;
        MalformedModel::unless(rising(&knots), "knots", "must be finite and rise")?;
        MalformedModel::unless(levels.len() == knots.len(), "levels", "must be one per knot")?;
        MalformedModel::unless(rising(&levels) && levels[0] == 0.0, "levels", "must rise from 0")?;
        MalformedModel::unless((0.0..=MAX_SHAPE).contains(&shape), "shape", "must be 0 to 0.5")?;
        MalformedModel::unless(
            scale.is_finite() && scale > 0.0,
            "scale",
            "must be finite and above zero",
        )?;
        Ok(Self {
            support,
            knots,
            levels,
            shape,
            scale,
        })
    }
}

impl Tail {
    /// Fits on healthy scores, in any order; at least [`MIN_SCORES`], all finite.
    pub fn fit(scores: &[f64]) -> Result<Self, TailError> {
        if scores.len() < MIN_SCORES {
            return Err(TailError::TooFew {
                have: scores.len(),
                need: MIN_SCORES,
            });
        }
        if let Some(at) = scores.iter().position(|score| !score.is_finite()) {
            return Err(TailError::NotFinite { at });
        }
        let mut sorted = scores.to_vec();
        sorted.sort_by(f64::total_cmp);
        let exceedances = ((TAIL_SHARE * sorted.len() as f64) as usize).max(MIN_EXCEEDANCES);
        let (body, beyond) = sorted.split_at(sorted.len() - exceedances);
        let (knots, levels) = body_knots(body, sorted.len());
        if knots.len() < 2 {
            return Err(TailError::Tied { part: "body" });
        }
        let threshold = knots[knots.len() - 1];
        let (shape, scale) = fit_pareto(beyond, threshold).ok_or(TailError::Tied { part: "tail" })?;
        Ok(Self {
            support: sorted.len(),
            knots,
            levels,
            shape,
            scale,
        })
    }

    /// Tail score of x: -log10 P(X > x), 0 at and below the least healthy score. An infinite x
    /// counts as the greatest finite one; NaN gives NaN.
    pub fn score(&self, x: f64) -> f64 {
        if x.is_nan() {
            return x;
        }
        let x = x.min(f64::MAX);
        if x > self.threshold() {
            return self.threshold_level() + self.pareto_log_survival(x) / std::f64::consts::LN_10;
        }
        interpolate(&self.knots, &self.levels, x)
    }

    /// The x whose tail score is `level`: the way back from [`Tail::score`]. Levels at and below 0
    /// give the least healthy score; a level beyond any finite x gives the greatest one.
    pub fn at_level(&self, level: f64) -> f64 {
        if level.is_nan() {
            return level;
        }
        let beyond = (level - self.threshold_level()) * std::f64::consts::LN_10;
        if beyond <= 0.0 {
            return interpolate(&self.levels, &self.knots, level);
        }
        let relative = if self.shape < EXPONENTIAL_SHAPE {
            beyond
        } else {
            (self.shape * beyond).exp_m1() / self.shape
        };
        (self.threshold() + self.scale * relative).min(f64::MAX)
    }

    /// The x that a share `q` of healthy scores does not exceed, `q` from 0 to 1. Beyond q = 1 - 1e-9
    /// [`Tail::at_level`] loses no digits.
    pub fn quantile(&self, q: f64) -> f64 {
        self.at_level(-(-q.clamp(0.0, 1.0)).ln_1p() / std::f64::consts::LN_10)
    }

    /// Number of scores the tail was fitted on.
    pub fn support(&self) -> usize {
        self.support
    }

    /// Whether a line exceeded by a share `alpha` of healthy readings rests on data: at least
    /// 1 / alpha scores, so that one of them is expected beyond it.
    pub fn sufficient_for(&self, alpha: f64) -> bool {
        // The slack forgives 1 / 0.005 not being 200 in binary.
        self.support as f64 * alpha >= 1.0 - 1e-9
    }

    /// The threshold u, where the Pareto tail starts.
    pub fn threshold(&self) -> f64 {
        self.knots[self.knots.len() - 1]
    }

    /// Shape xi and scale sigma of the Pareto tail.
    pub fn shape_and_scale(&self) -> (f64, f64) {
        (self.shape, self.scale)
    }

    fn threshold_level(&self) -> f64 {
        self.levels[self.levels.len() - 1]
    }

    /// -ln P(X > x | X > u) for x above u.
    fn pareto_log_survival(&self, x: f64) -> f64 {
        let relative = ((x - self.threshold()).min(f64::MAX) / self.scale).min(f64::MAX);
        if self.shape < EXPONENTIAL_SHAPE {
            // Divided later by ln 10, hence finite even here.
            return relative;
        }
        (self.shape * relative).ln_1p() / self.shape
    }
}

/// At most [`KNOTS`] order statistics of the body with the tail score of each. Equal scores make one
/// knot, at the score of the last of them, so that the curve has no step.
fn body_knots(body: &[f64], support: usize) -> (Vec<f64>, Vec<f64>) {
    let mut knots = vec![body[0]];
    let mut levels = vec![0.0];
    let last = body.len() - 1;
    for knot in 1..KNOTS {
        let at = knot * last / (KNOTS - 1);
        let level = -(1.0 - (at + 1) as f64 / support as f64).log10();
        let newest = knots.len() - 1;
        if body[at] > knots[newest] {
            knots.push(body[at]);
            levels.push(level);
        } else if newest > 0 {
            levels[newest] = level;
        }
    }
    (knots, levels)
}

/// Shape and scale by probability-weighted moments of the excesses over the threshold, in rising
/// order; none when they are all zero.
fn fit_pareto(beyond: &[f64], threshold: f64) -> Option<(f64, f64)> {
    let count = beyond.len() as f64;
    let mut mean = 0.0;
    let mut weighted = 0.0;
    for (at, &score) in beyond.iter().enumerate() {
        let excess = (score - threshold) / count;
        // Plotting position of Hosking & Wallis; the weight is the share above it.
        let position = (at as f64 + 1.0 - 0.35) / count;
        mean += excess;
        weighted += excess * (1.0 - position);
    }
    if !(mean > 0.0 && mean.is_finite()) {
        return None;
    }
    let spread = mean - 2.0 * weighted;
    let shape = if spread > 0.0 { 2.0 - mean / spread } else { 0.0 };
    let held = shape.clamp(0.0, MAX_SHAPE);
    // The mean excess of a Pareto tail is scale / (1 - shape): with the shape held, the mean still fits.
    let scale = mean * (1.0 - held);
    Some((held, scale))
}

/// Linear interpolation of rising `xs` to rising `ys`, held at the ends.
fn interpolate(xs: &[f64], ys: &[f64], x: f64) -> f64 {
    let after = xs.partition_point(|&knot| knot <= x);
    if after == 0 {
        return ys[0];
    }
    if after == xs.len() {
        return ys[after - 1];
    }
    let (x0, x1) = (xs[after - 1], xs[after]);
    let (y0, y1) = (ys[after - 1], ys[after]);
    // Halves keep the differences of huge scores finite.
    let share = (x / 2.0 - x0 / 2.0) / (x1 / 2.0 - x0 / 2.0);
    (y0 * (1.0 - share) + y1 * share).clamp(y0, y1)
}

#[cfg(test)]
mod tests;
