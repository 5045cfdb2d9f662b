//! Changes that are no fault, and that a detector should get over.

use std::f64::consts::TAU;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_domain::Invalid;

use super::config::{refuse, within};
use super::{Class, Machine};

/// A change of the whole fleet or of many machines. Gains are exact: they multiply whole spectra, the sensor's floor
/// included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Benign {
    /// All machines become louder and quieter together: a sine about the state at the start.
    Season {
        /// Largest gain in dB to either side, 0 to 20; it is reached after a quarter of the period.
        swing_db: f64,
        /// Length of the season; at least an hour.
        period: Duration,
    },
    /// All machines of a class at a time carry another load from then on.
    LoadSteps {
        /// Time from the start until the first class's step.
        first: Duration,
        /// Time between classes, in the order of [`Class::ALL`].
        gap: Duration,
        /// What is added to the load, in shares of rated power, -1 to 1. Load stays within 0.05 and 1.2.
        by: f64,
    },
    /// The gain of a part of the fleet at a time is another from then on, as when transducers are changed.
    GainSteps {
        /// Time from the start until the first part's step.
        first: Duration,
        /// Time between parts.
        gap: Duration,
        /// The new gain against the old one, in dB, -20 to 20.
        db: f64,
        /// Number of parts, 1 or more. Each holds machines of every class.
        parts: usize,
    },
}

impl Benign {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        match self {
            Self::Season { swing_db, period } => refuse(&[
                ("benign.season.swing_db", within(*swing_db, 20.0), "must be 0 to 20"),
                (
                    "benign.season.period",
                    *period >= Duration::from_hours(1),
                    "must be at least an hour",
                ),
            ]),
            Self::LoadSteps { by, .. } => refuse(&[("benign.load_steps.by", within(by.abs(), 1.0), "must be -1 to 1")]),
            Self::GainSteps { db, parts, .. } => refuse(&[
                ("benign.gain_steps.db", within(db.abs(), 20.0), "must be -20 to 20"),
                ("benign.gain_steps.parts", *parts > 0, "must be at least 1"),
            ]),
        }
    }

    /// Gain in dB of a machine, so long after the start.
    pub(super) fn gain_db(&self, machine: &Machine, since: Duration) -> f64 {
        match self {
            Self::Season { swing_db, period } => swing_db * (TAU * since.div_duration_f64(*period)).sin(),
            Self::LoadSteps { .. } => 0.0,
            Self::GainSteps { first, gap, db, parts } => {
                let part = machine.index() / Class::ALL.len() % parts;
                if since >= *first + *gap * part as u32 { *db } else { 0.0 }
            }
        }
    }

    /// What is added to a machine's load, so long after the start.
    pub(super) fn load(&self, machine: &Machine, since: Duration) -> f64 {
        match self {
            Self::LoadSteps { first, gap, by } if since >= *first + *gap * machine.class() as u32 => *by,
            _ => 0.0,
        }
    }
}
