//! A harbor's fleet: hundreds of pumps, fans and hoists whose readings stream by at a million a second.
//!
//! A [`Fleet`] is drawn from a [`Config`]; each [`Machine`] then streams its readings by itself, in any order or on any
//! thread, into a buffer of the caller's. What befalls it is known beforehand: [`Machine::failure`] and
//! [`Machine::ramp`].
//!
//! ```
//! use tocsin_simulator::harbor::{Config, Fleet};
//!
//! let fleet = Fleet::generate(Config { machines: 3, ..Config::with_seed(1) })?;
//! let mut bins = vec![0.0; fleet.row_length()];
//! for machine in fleet.machines() {
//!     let mut stream = machine.stream_steps(0..10);
//!     while let Some(reading) = stream.next_into(&mut bins) {
//!         assert!(reading.condition.rpm > Some(0.0) && bins[0] > 0.0);
//!     }
//! }
//! # Ok::<(), tocsin_domain::Invalid>(())
//! ```
//!
//! # What is modelled
//! - **Machines** of three classes ([`Class`]) with their own bearing, speed, gain, transfer path and resonances.
//! - **Duty:** stretches of minutes to hours at their own speed and load. Every source's amplitude grows with the square
//!   of the speed, as the forces of unbalance and the pressures of pumps and fans do (affinity laws).
//! - **Weather:** a slow wander of gain and tilt, short transients of broadband noise, and unrest from reading to reading.
//! - **Benign changes** ([`Benign`]) that a detector should get over: a season, steps of load, steps of gain.
//! - **Failures** ([`Failure`]) that grow exponentially over their days, and **ramps** ([`Ramp`]), deviations of an exact
//!   size in a few neighbouring bins.
//! - **Noise** of an averaged spectrum: the power of a bin scatters like a chi-squared with two degrees of freedom for
//!   each independent line and average in it, and less where a steady line stands out of the noise (a non-central
//!   chi-squared, matched in mean and variance: Patnaik, Biometrika, 1949). Bins are independent of each other.
//! - **Axis** ([`Config::axis`]): hertz, where lines wander through the bins with the speed and the structure stands still; or
//!   orders, as computed order tracking gives them (a record sampled anew along the shaft's turns; Fyfe & Munck, Mechanical
//!   Systems and Signal Processing, 1997), where lines locked to the shaft stand still and the structure wanders. A record
//!   over orders has as many lines as one over hertz, and its noise a line is that of its width.
//!
//! # What is not
//! Shafts never stop, nothing is repaired, and a reading is complete or late never. Slow quantities (wander, season, steps,
//! ramps and severities) are held for ten minutes, speed and load for a stretch of the duty. The chi-squared is that of
//! Wilson & Hilferty (1931): with the 13 pairs of 64 bins its 1 and 99.9 % points are passed as often as they should be
//! within a tenth; with the single pair of 1024 bins loud amplitudes are right within a quarter, and the quietest come
//! twice too often.
//!
//! **Invariant:** a reading is a function of config, machine and step alone. Any part of a stream, made in any order and
//! by any number of threads, has the same bits on one host; and a machine's healthy part is the same whether or not
//! it fails, so that runs with and without can be compared reading by reading.

mod benign;
mod config;
mod failure;
mod machine;
mod ramp;
mod stream;
mod weather;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tocsin_domain::{Invalid, SpectrumSpec};

pub use self::benign::Benign;
pub use self::config::{Config, Duty, Failures, Ramps, Transients};
pub use self::failure::Failure;
pub use self::machine::Machine;
pub use self::ramp::Ramp;
pub use self::stream::{Reading, Stream};
use crate::construction::{Construction, FAN, HOIST, PUMP};

/// What draws of a harbor are for: the first part of their path, after those of [`crate::Fleet`].
mod purpose {
    pub(super) const MACHINE: u64 = 16;
    pub(super) const CHANNEL: u64 = 17;
    pub(super) const DUTY: u64 = 18;
    pub(super) const NOISE: u64 = 19;
    pub(super) const WANDER: u64 = 20;
    pub(super) const TRANSIENT: u64 = 21;
    pub(super) const FATES: u64 = 22;
}

/// What kind of machine it is. Models are trained per class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A centrifugal pump on a two-pole motor.
    Pump,
    /// A belt-driven fan on a four-pole motor.
    Fan,
    /// A crane's hoist drive on a six-pole motor.
    Hoist,
}

impl Class {
    /// All classes, in the order in which machines take turns.
    pub const ALL: [Self; 3] = [Self::Pump, Self::Fan, Self::Hoist];

    /// The name in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pump => "pump",
            Self::Fan => "fan",
            Self::Hoist => "hoist",
        }
    }

    fn construction(self) -> &'static Construction {
        match self {
            Self::Pump => &PUMP,
            Self::Fan => &FAN,
            Self::Hoist => &HOIST,
        }
    }
}

/// The machines drawn from a [`Config`].
#[derive(Debug, Clone)]
pub struct Fleet {
    config: Arc<Config>,
    spec: Arc<SpectrumSpec>,
    machines: Vec<Machine>,
}

impl Fleet {
    /// Draws a fleet; the error names the field of the config.
    pub fn generate(config: Config) -> Result<Self, Invalid> {
        config.check()?;
        let spec = Arc::new(config.spec());
        let config = Arc::new(config);
        let mut machines = (0..config.machines)
            .map(|index| Machine::draw(index, Arc::clone(&config), Arc::clone(&spec)))
            .collect::<Result<Vec<_>, _>>()?;
        machine::draw_fates(&mut machines, &config);
        Ok(Self { config, spec, machines })
    }

    /// What the fleet was drawn from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What every sensor declares: acceleration in g peak, from 0 to 12.8 kHz or 128 orders.
    pub fn spec(&self) -> &SpectrumSpec {
        &self.spec
    }

    /// The machines; classes take turns.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// Amplitudes in a buffer of one step of one machine: sensors times bins.
    pub fn row_length(&self) -> usize {
        self.config.sensors * usize::from(self.config.bins)
    }
}

#[cfg(test)]
mod tests;
