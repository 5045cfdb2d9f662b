//! Failures: what goes wrong with a machine, when, and how far it goes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_domain::Timestamp;

use super::{Config, Machine};
use crate::FaultKind;
use crate::draws::Draws;
use crate::fault::grown;

/// A fault of a machine, from onset to failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// What goes wrong.
    pub kind: FaultKind,
    /// When it begins: the machine is healthy before.
    pub onset: Timestamp,
    /// When the machine would break down. It stays as bad as then, should it run on.
    pub failure: Timestamp,
    /// Exponent of the growth: 0 is linear.
    pub growth: f64,
    /// Amplitude of the fault's signature at failure, against that of a severity of 1.
    pub strength: f64,
    /// The bins it shows in: of the first sensor at nominal speed, those that change at least half as much in dB as the
    /// one that changes most, at a severity of 1.
    pub bins: Vec<usize>,
    /// Change of the power in those bins at failure, in dB, at nominal speed and usual load. It is drawn from the config,
    /// but for two kinds: a lost load can only take away what it excited, and a loose sensor still has its floor.
    pub change_db: f64,
}

impl Failure {
    pub(super) fn draw(config: &Config, machine: &Machine, kind: FaultKind, draws: &mut Draws) -> Self {
        let failures = &config.failures;
        let onset = config.start + onset_after(config.length, failures.healthy, failures.life, draws);
        let growth = draws.between(failures.growth[0], failures.growth[1]);
        let wanted_db = draws.between(failures.change_db[0], failures.change_db[1]);
        let mark = Mark::of(machine, kind);
        let strength = match kind {
            FaultKind::LossOfLoad => 1.0,
            _ => mark.strength_for(wanted_db),
        };
        Self {
            kind,
            onset,
            failure: onset + failures.life,
            growth,
            strength,
            change_db: mark.change_db(strength),
            bins: mark.bins,
        }
    }

    /// Share of its final amplitude that the signature has at a time, 0 (healthy) to 1 (failed).
    pub fn severity(&self, at: Timestamp) -> f64 {
        grown(self.onset, self.failure, self.growth, at)
    }
}

/// Draws when something of a `life` begins, after a healthy time and early enough to end within `length`.
pub(super) fn onset_after(length: Duration, healthy: Duration, life: Duration, draws: &mut Draws) -> Duration {
    healthy + length.saturating_sub(healthy + life).mul_f64(draws.unit())
}

/// Where and how much a kind of fault shows on a machine.
struct Mark<'a> {
    machine: &'a Machine,
    kind: FaultKind,
    healthy: Vec<f64>,
    bins: Vec<usize>,
}

impl<'a> Mark<'a> {
    fn of(machine: &'a Machine, kind: FaultKind) -> Self {
        let (healthy, failed) = (machine.nominal_powers(kind, 0.0), machine.nominal_powers(kind, 1.0));
        let changes: Vec<f64> = failed
            .iter()
            .zip(&healthy)
            .map(|(a, b)| (a / b).log10().abs())
            .collect();
        let most = changes.iter().copied().fold(0.0, f64::max);
        let bins = (0..changes.len()).filter(|bin| changes[*bin] >= most / 2.0).collect();
        Self {
            machine,
            kind,
            healthy,
            bins,
        }
    }

    /// Change of power in the bins, in dB, at a strength.
    fn change_db(&self, strength: f64) -> f64 {
        let powers = self.machine.nominal_powers(self.kind, strength);
        let sum = |powers: &[f64]| self.bins.iter().map(|bin| powers[*bin]).sum::<f64>();
        10.0 * (sum(&powers) / sum(&self.healthy)).log10()
    }

    /// The strength whose change has a size in dB, or the greatest tried when none has. Size only grows with strength.
    fn strength_for(&self, wanted_db: f64) -> f64 {
        let (mut low, mut high) = (-4.0_f64, 2.0_f64);
        for _ in 0..40 {
            let middle = low.midpoint(high);
            if self.change_db(10f64.powf(middle)).abs() < wanted_db {
                low = middle;
            } else {
                high = middle;
            }
        }
        10f64.powf(high)
    }
}
