//! What the machine looked like, and its peers.

use serde::{Deserialize, Serialize};
use tocsin_domain::Timestamp;

use super::Phase;

/// What the deviations of bins are deviations from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// The sensor's own baseline, in the scales of each bin.
    Baseline,
    /// What the model makes of the reading: the root of each bin's squared error in the model's space, with its sign.
    Reconstruction,
    /// Neither is there.
    Nothing,
}

/// Spectra of one sensor over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spectra {
    /// The sensor.
    pub sensor: String,
    /// `Hz` or `orders`.
    pub axis_unit: String,
    /// Unit of the amplitudes.
    pub amplitude_unit: String,
    /// Centre of each bin, in the axis's unit.
    pub bin_centre: Vec<f64>,
    /// What the deviations are from.
    pub against: Against,
    /// Readings that were chosen, and whose spectra the archive has thinned away.
    pub not_kept: u32,
    /// In order of capture, chosen among the sensor's readings above.
    pub captures: Vec<Capture>,
}

/// One spectrum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    /// When it was taken.
    pub captured_at: Timestamp,
    /// When, seen from the incident.
    pub phase: Phase,
    /// The reading's level.
    pub level: Option<f32>,
    /// Shaft speed.
    pub rpm: Option<f32>,
    /// Load.
    pub load: Option<f32>,
    /// Amplitude of each bin.
    pub observed: Vec<f32>,
    /// What its baseline expects of each bin in its condition; empty without a baseline.
    pub baseline: Vec<f32>,
    /// What the model makes of it; empty where no scorer answered.
    pub reconstructed: Vec<f32>,
    /// How far each bin is from what [`Spectra::against`] says; empty where that is not there.
    pub deviation: Vec<f32>,
}

/// The other machines of the class on the site, at the same time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Peers {
    /// How many there are.
    pub machines: u32,
    /// The first reading of each sensor in each of some intervals; a machine has the highest level of its sensors.
    pub points: Vec<PeerPoint>,
    /// Those that were highest, highest first.
    pub worst: Vec<WorstPeer>,
}

/// The class in one interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerPoint {
    /// The start of the interval.
    pub at: Timestamp,
    /// The incident's machine, looked at in the same way; none without a judged reading.
    pub own: Option<f32>,
    /// Machines with a judged reading in it, the incident's not among them.
    pub machines: u32,
    /// The tenth percentile of their levels.
    pub low: Option<f32>,
    /// Their median.
    pub median: Option<f32>,
    /// The ninetieth percentile.
    pub high: Option<f32>,
}

/// A peer that was high.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorstPeer {
    /// The machine.
    pub machine: String,
    /// Its highest level.
    pub level: f32,
    /// When.
    pub at: Timestamp,
}
