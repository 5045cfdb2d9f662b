//! One sensor's move held against the moves of its peers.

use super::Suspected;
use crate::baseline::median;
use crate::deviation::{growth, narrowband};

/// Fewest peers whose moves say what is usual.
const MIN_PEERS: usize = 4;
/// Makes a median absolute deviation the standard deviation of normal data.
const MAD_TO_SD: f32 = 1.4826;
/// Least spread of the peers' moves in a bin, in scales of the sensors' baselines.
const SPREAD_FLOOR: f32 = 0.05;
/// Robust standard deviations above the peers at which a move stands out by itself: the normal tail there, 1e-9, leaves
/// room for tails that are not normal and for as many sensors as a class can have.
const STANDS_OUT: f32 = 6.0;
/// Cosine between two sensors' moves from which they moved alike.
const ALIKE: f32 = 0.7;
/// Least share of a class that moves alike for a cause they share, and least count.
const SHARED: f32 = 0.1;
const SHARED_LEAST: usize = 3;
/// Root mean square of the common move, in scales, from which the class as a whole has moved.
const COMMON: f32 = 0.5;

/// What a sensor's move means, in the company of its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It stands where it stood.
    Steady,
    /// It moved as others did: a season, a load, a firmware.
    Drift,
    /// It moved alone.
    Suspicion,
}

impl Finding {
    /// Its name, as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Drift => "drift",
            Self::Suspicion => "suspicion",
        }
    }
}

/// The moves of one class's sensors: recent median minus commissioned, in scales per bin.
#[derive(Debug, Clone)]
pub struct Peers<'a> {
    moves: Vec<&'a [f32]>,
    centre: Vec<f32>,
    spread: Vec<f32>,
    growth: (f32, f32),
    fall: (f32, f32),
    narrowband: (f32, f32),
}

impl<'a> Peers<'a> {
    /// From the moves of all sensors of a class and spec, the judged one among them. Nothing from fewer than 4.
    ///
    /// # Panics
    /// If they differ in their number of bins.
    pub fn new(moves: Vec<&'a [f32]>) -> Option<Self> {
        if moves.len() < MIN_PEERS {
            return None;
        }
        let bins = moves[0].len();
        assert!(moves.iter().all(|m| m.len() == bins), "peers have one number of bins");
        let (mut centre, mut spread) = (Vec::with_capacity(bins), Vec::with_capacity(bins));
        for bin in 0..bins {
            let column: Vec<f32> = moves.iter().map(|m| m[bin]).collect();
            let (middle, sd) = robust(column);
            centre.push(middle);
            spread.push(sd.max(SPREAD_FLOOR));
        }
        let mut peers = Self {
            moves,
            centre,
            spread,
            growth: (0.0, 1.0),
            fall: (0.0, 1.0),
            narrowband: (0.0, 1.0),
        };
        let residuals: Vec<Vec<f32>> = peers.moves.iter().map(|m| peers.residual(m)).collect();
        peers.growth = robust(residuals.iter().map(|r| growth(r)).collect());
        peers.fall = robust(residuals.iter().map(|r| fall(r)).collect());
        peers.narrowband = robust(residuals.iter().map(|r| narrowband(r)).collect());
        Some(peers)
    }

    /// Per bin what the median sensor moved by, in scales.
    pub fn common(&self) -> &[f32] {
        &self.centre
    }

    /// How far a move stands out of the peers', in robust standard deviations: the greatest of its broad rise, its broad
    /// fall (a lost load and a loose sensor are quieter than healthy) and its narrow rise.
    pub fn standing(&self, own: &[f32]) -> f32 {
        let (risen, fallen) = self.standings(own);
        risen.max(fallen)
    }

    /// Which way a move stands out most.
    pub fn direction(&self, own: &[f32]) -> Suspected {
        let (risen, fallen) = self.standings(own);
        if fallen > risen {
            Suspected::Fallen
        } else {
            Suspected::Risen
        }
    }

    /// How far a move stands above the peers', and how far below.
    fn standings(&self, own: &[f32]) -> (f32, f32) {
        let residual = self.residual(own);
        let of = |score: f32, (middle, sd): (f32, f32)| (score - middle) / sd.max(SPREAD_FLOOR);
        let risen = of(growth(&residual), self.growth).max(of(narrowband(&residual), self.narrowband));
        (risen, of(fall(&residual), self.fall))
    }

    /// What a move means. Of a machine on which an incident is open (`disturbed`) less is asked: it is one that was pointed
    /// at, and not the wildest of many.
    pub fn finding(&self, own: &[f32], disturbed: bool) -> Finding {
        let stands_out = if disturbed { STANDS_OUT / 2.0 } else { STANDS_OUT };
        if self.standing(own) > stands_out {
            let alike = self.moves.iter().filter(|other| self.is_alike(own, other)).count();
            let shared = (SHARED * self.moves.len() as f32).max(SHARED_LEAST as f32);
            return if alike as f32 >= shared {
                Finding::Drift
            } else {
                Finding::Suspicion
            };
        }
        if rms(&self.centre) >= COMMON {
            return Finding::Drift;
        }
        Finding::Steady
    }

    /// Whether another stands out as well, and in the same bins.
    fn is_alike(&self, own: &[f32], other: &[f32]) -> bool {
        self.standing(other) > STANDS_OUT / 2.0 && cosine(&self.beyond(own), &self.beyond(other)) >= ALIKE
    }

    /// Beyond the common move, in scales.
    fn beyond(&self, own: &[f32]) -> Vec<f32> {
        own.iter().zip(&self.centre).map(|(own, centre)| own - centre).collect()
    }

    /// Beyond the common move, in spreads of the peers' moves.
    fn residual(&self, own: &[f32]) -> Vec<f32> {
        let beyond = self.beyond(own);
        beyond.iter().zip(&self.spread).map(|(value, sd)| value / sd).collect()
    }
}

/// How much a spectrum fell: growth the other way.
fn fall(residual: &[f32]) -> f32 {
    let turned: Vec<f32> = residual.iter().map(|value| -value).collect();
    growth(&turned)
}

/// Median and robust standard deviation.
fn robust(mut values: Vec<f32>) -> (f32, f32) {
    let middle = median(&mut values);
    for value in &mut values {
        *value = (*value - middle).abs();
    }
    (middle, MAD_TO_SD * median(&mut values))
}

fn rms(values: &[f32]) -> f32 {
    (values.iter().map(|v| v * v).sum::<f32>() / values.len().max(1) as f32).sqrt()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    dot / (rms(a) * rms(b) * a.len() as f32).max(f32::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// Moves of sensors that wander a little, each its own way.
    fn wandering(sensors: usize, seed: u64) -> Vec<Vec<f32>> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut one = || (0..64).map(|_| rng.random_range(-0.3..0.3)).collect();
        (0..sensors).map(|_| one()).collect()
    }

    fn raise(bins: &mut [f32], by: f32) {
        for bin in bins {
            *bin += by;
        }
    }

    fn finding(moves: &[Vec<f32>], at: usize) -> Finding {
        let peers = Peers::new(moves.iter().map(Vec::as_slice).collect()).unwrap();
        peers.finding(&moves[at], false)
    }

    #[test]
    fn what_moves_alone_is_suspected_broad_or_narrow() {
        for seed in 0..20 {
            let mut moves = wandering(20, seed);
            assert_eq!(finding(&moves, 3), Finding::Steady);
            moves[3][20] += 5.0;
            assert_eq!(finding(&moves, 3), Finding::Suspicion, "one line, seed {seed}");
            let mut moves = wandering(20, seed);
            raise(&mut moves[3][30..46], -1.5);
            assert_eq!(finding(&moves, 3), Finding::Suspicion, "a fall, seed {seed}");
            let mut moves = wandering(20, seed);
            raise(&mut moves[3][30..46], 1.5);
            assert_eq!(finding(&moves, 3), Finding::Suspicion, "a band, seed {seed}");
            assert_eq!(finding(&moves, 4), Finding::Steady);
        }
    }

    #[test]
    fn what_moves_with_its_class_or_a_third_of_it_is_drift() {
        for seed in 0..20 {
            let mut moves = wandering(21, seed);
            for sensor in &mut moves {
                raise(sensor, 2.0);
            }
            assert_eq!(finding(&moves, 3), Finding::Drift, "the class, seed {seed}");
            let mut moves = wandering(21, seed);
            for sensor in &mut moves[..7] {
                raise(sensor, 1.5);
            }
            assert_eq!(finding(&moves, 3), Finding::Drift, "a third, seed {seed}");
            assert_eq!(finding(&moves, 12), Finding::Steady, "seed {seed}");
        }
    }

    #[test]
    fn a_machine_that_fails_while_its_class_drifts_is_suspected() {
        let mut moves = wandering(20, 1);
        for sensor in &mut moves {
            raise(sensor, 2.0);
        }
        raise(&mut moves[5][10..20], 2.0);
        assert_eq!(
            (finding(&moves, 5), finding(&moves, 6)),
            (Finding::Suspicion, Finding::Drift)
        );
        assert!(Peers::new(moves[..3].iter().map(Vec::as_slice).collect()).is_none());
    }
}
