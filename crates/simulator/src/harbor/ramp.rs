//! Deviations of a known size.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use tocsin_domain::Timestamp;

use super::Config;
use super::failure::onset_after;
use crate::draws::Draws;

/// A rise in a few neighbouring bins of every sensor of a machine, on top of what it would read. It is linear in dB from
/// nothing at `onset` to `rise_db` when `complete`, and stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ramp {
    /// When it begins.
    pub onset: Timestamp,
    /// When it has its full size.
    pub complete: Timestamp,
    /// Its full size in dB.
    pub rise_db: f64,
    /// The bins.
    pub bins: Range<usize>,
}

impl Ramp {
    pub(super) fn draw(config: &Config, draws: &mut Draws) -> Self {
        let ramps = &config.ramps;
        let onset = config.start + onset_after(config.length, ramps.healthy, ramps.life, draws);
        let first = draws.below(usize::from(config.bins - ramps.bins) + 1);
        Self {
            onset,
            complete: onset + ramps.life,
            rise_db: ramps.rise_db,
            bins: first..first + usize::from(ramps.bins),
        }
    }

    /// Its size in dB at a time.
    pub fn db(&self, at: Timestamp) -> f64 {
        let passed = at.since(self.onset).div_duration_f64(self.complete.since(self.onset));
        self.rise_db * passed.min(1.0)
    }
}
