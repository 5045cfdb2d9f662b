//! What a sensor's own spread is pooled with: the spread of the fleet's other machines.

use std::collections::{BTreeMap, BTreeSet};

use tocsin_detect::{Commissioned, Fleet, MalformedModel, Trend};
use tocsin_domain::MachineId;
use tocsin_store::baseline::{Profile, SensorSpread};

use super::Fitted;

/// Fewest other machines of the class whose spread counts as the fleet's.
const MIN_MACHINES: usize = 3;

/// Most fits of a round that its pool is made of: as many of each machine.
pub(super) const MOST_POOLED: usize = 256;

/// How the fleet scatters, sensor by sensor.
pub(super) type Pool = Vec<(MachineId, Commissioned)>;

/// What one machine's sensors are pooled with.
pub(super) struct OtherMachines {
    pub(super) machines: usize,
    /// Their spread and slopes per bin; nothing when they are too few.
    pub(super) fleet: Option<Fleet>,
}

/// The spreads of a round's fits and of those `before` it.
pub(super) fn pool(fits: &[Fitted], before: Vec<SensorSpread>) -> Pool {
    let mut pool: Pool = spread_over_machines(fits)
        .map(|fitted| (fitted.ready.machine, fitted.commissioned.clone()))
        .collect();
    for stored in before {
        match commissioned(stored.profile, stored.readings as usize) {
            Ok(commissioned) => pool.push((stored.machine, commissioned)),
            Err(error) => tracing::error!(machine = %stored.machine, %error, "a baseline can't be pooled with"),
        }
    }
    pool
}

/// What a sensor's stored baseline says to others: of its trend, what it was pooled with counts along, which moves no
/// median of slopes that are the sensor's own.
fn commissioned(profile: Profile, readings: usize) -> Result<Commissioned, MalformedModel> {
    let trend = profile.trend.as_deref().map(Trend::from_bytes).transpose()?;
    Commissioned::from_parts(profile.median, profile.spread, readings, trend)
}

/// At most [`MOST_POOLED`] of the fits, as many of each machine; of more machines than that every so-manieth.
fn spread_over_machines(fits: &[Fitted]) -> impl Iterator<Item = &Fitted> {
    let machines: BTreeSet<MachineId> = fits.iter().map(|fitted| fitted.ready.machine).collect();
    let every = machines.len().div_ceil(MOST_POOLED).max(1);
    let of_each = MOST_POOLED / machines.len().clamp(1, MOST_POOLED);
    let mut left: BTreeMap<MachineId, usize> = machines.into_iter().step_by(every).map(|m| (m, of_each)).collect();
    fits.iter().filter(move |fitted| {
        let left = left.get_mut(&fitted.ready.machine).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    })
}

impl OtherMachines {
    /// Those of the pool that are not the machine of `fitted`.
    pub(super) fn of(fitted: &Fitted, pool: &[(MachineId, Commissioned)]) -> Self {
        let bins = fitted.commissioned.median().len();
        let others = || {
            let other = |(machine, other): &&(MachineId, Commissioned)| {
                *machine != fitted.ready.machine && other.median().len() == bins
            };
            pool.iter().filter(other)
        };
        let machines = others().map(|(machine, _)| machine).collect::<BTreeSet<_>>().len();
        let enough = machines >= MIN_MACHINES;
        Self {
            machines,
            fleet: enough.then(|| Fleet::of(others().map(|(_, other)| other))).flatten(),
        }
    }
}
