//! What the machine looked like, and its peers.

use serde::{Deserialize, Serialize};
use tocsin_domain::Timestamp;

use super::Phase;
use crate::review::v1;

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
    /// Of those, what could be made of their latents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rebuilding: Vec<Rebuilding>,
    /// In order of capture, chosen among the sensor's readings above.
    pub captures: Vec<Capture>,
}

/// Spectra that are not kept, by what could be made of their latents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rebuilding {
    /// The bundle that scored them; none where none did.
    pub bundle_id: Option<i32>,
    /// Kind of its autoencoder; empty where it can't be had.
    pub model: String,
    /// How many spectra.
    pub spectra: u32,
    /// The mean squared error that its manifest gives for healthy readings it was not trained on.
    pub usual_error: Option<f64>,
    /// The space of the errors: `standardised_log` or `own`.
    pub error_space: String,
    /// Why their error is not known; empty where it is.
    pub error_unknown: String,
    /// Why they could not be rebuilt; empty where they could.
    pub not_rebuilt: String,
}

impl From<Rebuilding> for v1::Rebuilding {
    fn from(rebuilding: Rebuilding) -> Self {
        Self {
            bundle_id: rebuilding.bundle_id.unwrap_or_default(),
            model: rebuilding.model,
            spectra: rebuilding.spectra,
            usual_error: rebuilding.usual_error,
            error_space: rebuilding.error_space,
            error_unknown: rebuilding.error_unknown,
            not_rebuilt: rebuilding.not_rebuilt,
        }
    }
}

impl From<v1::Rebuilding> for Rebuilding {
    fn from(rebuilding: v1::Rebuilding) -> Self {
        Self {
            bundle_id: (rebuilding.bundle_id != 0).then_some(rebuilding.bundle_id),
            model: rebuilding.model,
            spectra: rebuilding.spectra,
            usual_error: rebuilding.usual_error,
            error_space: rebuilding.error_space,
            error_unknown: rebuilding.error_unknown,
            not_rebuilt: rebuilding.not_rebuilt,
        }
    }
}

/// A spectrum that is not kept, rebuilt from its latent by the decoder of the bundle that scored it. What the model could
/// not hold is not in it: it is never evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rebuilt {
    /// Amplitude of each bin.
    pub amplitude: Vec<f32>,
    /// How far each bin is from the baseline, in its scales; empty without a baseline.
    pub deviation: Vec<f32>,
    /// Mean squared error of the reconstruction when the reading was scored; none where it is not known.
    pub error: Option<f32>,
}

/// One spectrum: observed, or rebuilt.
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
    /// Amplitude of each bin; empty of one that is rebuilt.
    pub observed: Vec<f32>,
    /// What its baseline expects of each bin in its condition; empty without a baseline.
    pub baseline: Vec<f32>,
    /// What the model makes of it; empty where no scorer answered.
    pub reconstructed: Vec<f32>,
    /// How far each bin is from what [`Spectra::against`] says; empty where that is not there, and of one that is rebuilt.
    pub deviation: Vec<f32>,
    /// In place of an observed spectrum that is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuilt: Option<Rebuilt>,
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
