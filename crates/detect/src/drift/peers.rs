//! One sensor's move held against the moves of its peers.
//!
//! What is usual is told over machines: the sensors of one machine share its load, its foundation and its failures, so
//! however many it has, they are one witness. A failing machine with four channels is no class that drifts.

use std::collections::BTreeSet;

use super::Suspected;
use super::machines::Machines;
use crate::deviation::{growth, narrowband};

/// Fewest machines whose moves say what is usual.
const MIN_PEERS: usize = 4;
/// Makes a median absolute deviation the standard deviation of normal data.
const MAD_TO_SD: f32 = 1.4826;
/// Least spread of the peers' moves in a bin, in scales of the sensors' baselines.
const SPREAD_FLOOR: f32 = 0.05;
/// Robust standard deviations above the peers at which a move stands out by itself: the normal tail there, 1e-9, leaves
/// room for tails that are not normal and for as many sensors as a class can have.
const STANDS_OUT: f32 = 6.0;
/// Robust standard deviations from which a move may be what somebody else's stands out by.
const MAY_BE_ALIKE: f32 = STANDS_OUT / 2.0;
/// Cosine between two sensors' moves from which they moved alike.
const ALIKE: f32 = 0.7;
/// Least share of a class's machines that move alike for a cause they share, and least count; the judged one among them.
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

/// The sensors of one class, each held against the others.
#[derive(Debug, Clone)]
pub struct Peers {
    machines: usize,
    centre: Vec<f32>,
    compared: Vec<Compared>,
}

/// A sensor's move held against those of its peers.
#[derive(Debug, Clone)]
pub struct Compared {
    machine: i64,
    /// How far it stands above them and how far below, in robust standard deviations.
    risen: f32,
    fallen: f32,
    /// Its move beyond the common one, in scales per bin; nothing where none can be alike to it.
    beyond: Vec<f32>,
}

impl Compared {
    fn new(machine: i64, (risen, fallen): (f32, f32), beyond: Vec<f32>) -> Self {
        let mut compared = Self {
            machine,
            risen,
            fallen,
            beyond,
        };
        if !compared.may_be_alike() {
            compared.beyond = Vec::new();
        }
        compared
    }

    /// How far the move stands out of the peers', in robust standard deviations: the greatest of its broad rise, its broad
    /// fall (a lost load and a loose sensor are quieter than healthy) and its narrow rise.
    pub fn standing(&self) -> f32 {
        self.risen.max(self.fallen)
    }

    /// Which way the move stands out most.
    pub fn direction(&self) -> Suspected {
        if self.fallen > self.risen {
            Suspected::Fallen
        } else {
            Suspected::Risen
        }
    }

    fn may_be_alike(&self) -> bool {
        self.standing() > MAY_BE_ALIKE
    }
}

impl Peers {
    /// From the moves of all sensors of a class and spec: each one's machine, and its recent median minus where it usually
    /// stands, in scales per bin. Nothing from fewer than 4 machines, whatever their sensors.
    ///
    /// # Panics
    /// If they differ in their number of bins.
    pub fn new(moves: &[(i64, &[f32])]) -> Option<Self> {
        let machines = Machines::of(moves.iter().map(|(machine, _)| *machine));
        if machines.count() < MIN_PEERS {
            return None;
        }
        let bins = moves[0].1.len();
        assert!(
            moves.iter().all(|(_, own)| own.len() == bins),
            "peers have one number of bins"
        );
        let (centre, spread): (Vec<f32>, Vec<f32>) = (0..bins)
            .map(|bin| {
                let (middle, sd) = robust(&machines, |sensor| moves[sensor].1[bin]);
                (middle, sd.max(SPREAD_FLOOR))
            })
            .unzip();
        let scores: Vec<[f32; 3]> = moves
            .iter()
            .map(|(_, own)| {
                let mut residual = beyond(own, &centre);
                for (value, sd) in residual.iter_mut().zip(&spread) {
                    *value /= sd;
                }
                [growth(&residual), narrowband(&residual), fall(&residual)]
            })
            .collect();
        let usual = [0, 1, 2].map(|kind| robust(&machines, |sensor| scores[sensor][kind]));
        let compared = moves.iter().zip(&scores).map(|((machine, own), scores)| {
            let of = |kind: usize| (scores[kind] - usual[kind].0) / usual[kind].1.max(SPREAD_FLOOR);
            Compared::new(*machine, (of(0).max(of(1)), of(2)), beyond(own, &centre))
        });
        Some(Self {
            machines: machines.count(),
            compared: compared.collect(),
            centre,
        })
    }

    /// The sensors, in the order of their moves.
    pub fn compared(&self) -> &[Compared] {
        &self.compared
    }

    /// What a move means. Of a machine on which an incident is open (`disturbed`) less is asked: it is one that was pointed
    /// at, and not the wildest of many.
    pub fn finding(&self, own: &Compared, disturbed: bool) -> Finding {
        let stands_out = if disturbed { STANDS_OUT / 2.0 } else { STANDS_OUT };
        if own.standing() > stands_out {
            let with_itself = 1 + self.alike(own);
            let shared = (SHARED * self.machines as f32).max(SHARED_LEAST as f32);
            return if with_itself as f32 >= shared {
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

    /// Other machines of which a sensor stands out as well, and in the same bins.
    fn alike(&self, own: &Compared) -> usize {
        let others = self.compared.iter().filter(|other| other.machine != own.machine);
        let alike = others.filter(|other| other.may_be_alike() && cosine(&own.beyond, &other.beyond) >= ALIKE);
        alike.map(|other| other.machine).collect::<BTreeSet<i64>>().len()
    }
}

/// Beyond the common move, in scales.
fn beyond(own: &[f32], centre: &[f32]) -> Vec<f32> {
    own.iter().zip(centre).map(|(own, centre)| own - centre).collect()
}

/// How much a spectrum fell: growth the other way.
fn fall(residual: &[f32]) -> f32 {
    let turned: Vec<f32> = residual.iter().map(|value| -value).collect();
    growth(&turned)
}

/// Median and robust standard deviation of what sensors say, each machine with one voice in either.
fn robust(machines: &Machines, said: impl Fn(usize) -> f32) -> (f32, f32) {
    let middle = machines.median(&said);
    (
        middle,
        MAD_TO_SD * machines.median(|sensor| (said(sensor) - middle).abs()),
    )
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

    /// What a sensor's move means where each machine has so many sensors, one after the other.
    fn finding_of(moves: &[Vec<f32>], on_each: usize, at: usize) -> Finding {
        let peers = Peers::new(&moved(moves, on_each)).unwrap();
        peers.finding(&peers.compared()[at], false)
    }

    fn moved(moves: &[Vec<f32>], on_each: usize) -> Vec<(i64, &[f32])> {
        let machines = (0..).map(|sensor| sensor / on_each as i64);
        machines.zip(moves.iter().map(Vec::as_slice)).collect()
    }

    fn finding(moves: &[Vec<f32>], at: usize) -> Finding {
        finding_of(moves, 1, at)
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
    }

    #[test]
    fn fewer_than_four_machines_are_no_peers_however_many_sensors_they_have() {
        let moves = wandering(12, 1);
        for (sensors, on_each) in [(3, 1), (4, 4), (4, 2), (12, 4)] {
            let peers = Peers::new(&moved(&moves[..sensors], on_each));
            assert!(peers.is_none(), "{sensors} sensors, {on_each} on each machine");
        }
        assert!(Peers::new(&moved(&moves, 3)).is_some());
    }

    #[test]
    fn all_channels_of_one_machine_that_rise_in_the_same_bins_are_one_machine_that_rises() {
        for seed in 0..20 {
            let mut moves = wandering(24, seed);
            for channel in &mut moves[8..12] {
                raise(&mut channel[30..46], 1.5);
            }
            for channel in 8..12 {
                let found = finding_of(&moves, 4, channel);
                assert_eq!(found, Finding::Suspicion, "channel {channel}, seed {seed}");
            }
            assert_eq!(finding_of(&moves, 4, 0), Finding::Steady, "seed {seed}");
        }
    }

    #[test]
    fn channels_that_move_with_those_of_two_other_machines_drift() {
        for seed in 0..20 {
            let mut moves = wandering(40, seed);
            // One channel of each of three machines of ten.
            for channel in [0, 5, 10] {
                raise(&mut moves[channel][30..46], 1.5);
            }
            assert_eq!(finding_of(&moves, 4, 5), Finding::Drift, "seed {seed}");
        }
    }

    #[test]
    fn a_machine_of_many_channels_does_not_say_what_its_class_does() {
        let mut moves = wandering(16, 2);
        let machines = [0, 1, 2, 3, 4].into_iter().chain([5; 11]);
        for channel in &mut moves[5..] {
            raise(channel, 3.0);
        }
        let moved: Vec<(i64, &[f32])> = machines.zip(moves.iter().map(Vec::as_slice)).collect();
        let peers = Peers::new(&moved).unwrap();
        let found = |at: usize| peers.finding(&peers.compared()[at], false);
        assert_eq!((found(0), found(9)), (Finding::Steady, Finding::Suspicion));
    }
}
