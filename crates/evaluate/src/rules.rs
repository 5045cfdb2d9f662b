//! Every constant of a trial: how sensors are commissioned, how limits are set, how steps become incidents.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_domain::Invalid;
use tocsin_judge::{FleetReplay, Persistence};

/// The constants of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// Readings at the head of a sensor's life that are passed over.
    pub skip: usize,
    /// Readings a sensor is commissioned on.
    pub commission: usize,
    /// Readings at which a sensor's own spread weighs as much as the fleet's.
    pub kappa: f64,
    /// Share of another machine's life that counts as its healthy history.
    pub healthy_share: f64,
    /// Spectra of a sensor that are averaged before growth, shift and narrowband: 1 is single readings.
    pub smoothing: usize,
    /// How the lines follow from the fleet.
    pub limits: FleetReplay,
    /// k-of-n and clearing.
    pub persistence: Persistence,
    /// The decision interval in seconds.
    pub step_s: f64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            skip: 10,
            commission: 100,
            kappa: tocsin_detect::baseline::KAPPA,
            healthy_share: 0.35,
            smoothing: 1,
            limits: FleetReplay::default(),
            persistence: Persistence::default(),
            step_s: 10.0,
        }
    }
}

impl Rules {
    /// Checks the numbers against each other.
    pub fn parse(self) -> Result<Self, Invalid> {
        let least = tocsin_detect::baseline::MIN_READINGS;
        if self.commission < least {
            return Err(Invalid::new(
                "commission",
                format!("{} is below {least}", self.commission),
            ));
        }
        if self.smoothing == 0 {
            return Err(Invalid::new("smoothing", "must be at least 1"));
        }
        if !(self.healthy_share > 0.0 && self.healthy_share <= 1.0) {
            return Err(Invalid::new("healthy_share", "must be above 0 and at most 1"));
        }
        if !(self.step_s > 0.0 && self.step_s.is_finite()) {
            return Err(Invalid::new("step_s", "must be above 0"));
        }
        self.limits.parse()?;
        self.persistence.parse()?;
        Ok(self)
    }

    /// The decision interval.
    pub fn step(&self) -> Duration {
        Duration::from_secs_f64(self.step_s)
    }

    /// The readings of a sensor's life it is commissioned on.
    pub fn commissioning(&self) -> std::ops::Range<usize> {
        self.skip..self.skip + self.commission
    }
}
