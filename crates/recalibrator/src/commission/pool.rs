//! What a sensor's own spread is pooled with: the spread of the fleet's other machines, of its class where they are
//! enough, and else of all classes with its spec.

use std::collections::{BTreeMap, BTreeSet};

use tocsin_detect::{Commissioned, Fleet, MalformedModel, Trend};
use tocsin_domain::MachineId;
use tocsin_store::baseline::{Profile, SensorSpread};

use super::Fitted;
use crate::lending::{self, MIN_MACHINES, WIDENED};

/// Most fits of a round that its pool is made of: as many of each machine.
pub(super) const MOST_POOLED: usize = 256;

/// How the fleet scatters, sensor by sensor.
pub(super) type Pool = Vec<(MachineId, Commissioned)>;

/// What one machine's sensors are pooled with.
pub(super) enum OtherMachines {
    /// So many others of its class.
    OfClass { machines: usize, fleet: Fleet },
    /// So many of all classes with its spec, its own with too few among them; their spread is [`WIDENED`].
    OfSpec {
        of_class: usize,
        machines: usize,
        fleet: Fleet,
    },
    /// Nothing: there are too few of either.
    TooFew { of_class: usize, machines: usize },
}

/// Whether a class has a machine that has too few others.
pub(super) fn is_small(fits: &[Fitted], before: &[SensorSpread]) -> bool {
    let all: BTreeSet<MachineId> = machines(fits)
        .chain(before.iter().map(|stored| stored.machine))
        .collect();
    lending::is_small(all.len())
}

/// The machine of each fit.
pub(super) fn machines(fits: &[Fitted]) -> impl Iterator<Item = MachineId> {
    fits.iter().map(|fitted| fitted.ready.machine)
}

/// The spreads of a round's fits and of those `before` it.
pub(super) fn pool(fits: &[&Fitted], before: Vec<SensorSpread>) -> Pool {
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
fn spread_over_machines<'a>(fits: &[&'a Fitted]) -> impl Iterator<Item = &'a Fitted> {
    let machines: BTreeSet<MachineId> = fits.iter().map(|fitted| fitted.ready.machine).collect();
    let every = machines.len().div_ceil(MOST_POOLED).max(1);
    let of_each = MOST_POOLED / machines.len().clamp(1, MOST_POOLED);
    let mut left: BTreeMap<MachineId, usize> = machines.into_iter().step_by(every).map(|m| (m, of_each)).collect();
    fits.iter().copied().filter(move |fitted| {
        let left = left.get_mut(&fitted.ready.machine).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    })
}

impl OtherMachines {
    /// Those that are not the machine of `fitted`: of its class, or where these are too few, of `elsewhere` too, the other
    /// classes with its spec.
    pub(super) fn of(
        fitted: &Fitted,
        class: &[(MachineId, Commissioned)],
        elsewhere: &[(MachineId, Commissioned)],
    ) -> Self {
        let mut others = others(fitted, class);
        let of_class = count(&others);
        if let Some(fleet) = fleet(&others) {
            let machines = of_class;
            return Self::OfClass { machines, fleet };
        }
        others.extend(self::others(fitted, elsewhere));
        let machines = count(&others);
        match fleet(&others) {
            Some(fleet) => Self::OfSpec {
                of_class,
                machines,
                fleet: fleet.lent(WIDENED),
            },
            None => Self::TooFew { of_class, machines },
        }
    }

    /// Their spread and slopes per bin; nothing when they are too few.
    pub(super) fn fleet(&self) -> Option<&Fleet> {
        match self {
            Self::OfClass { fleet, .. } | Self::OfSpec { fleet, .. } => Some(fleet),
            Self::TooFew { .. } => None,
        }
    }

    /// How many machines are behind the spread, 0 when the sensor's own stands alone, and in words for its record.
    pub(super) fn provenance(&self) -> (usize, String) {
        match self {
            Self::OfClass { machines, .. } => (
                *machines,
                format!("spread pooled with {machines} other machines of the class"),
            ),
            Self::OfSpec { of_class, machines, .. } => (
                *machines,
                format!(
                    "spread pooled with {machines} other machines, borrowed from all classes of the same specification, \
                     widened by {WIDENED}: {of_class} other machines of the class have a baseline"
                ),
            ),
            Self::TooFew { of_class, machines } => (
                0,
                format!(
                    "its own spread alone: {of_class} other machines of the class have a baseline, {machines} of the same \
                     specification"
                ),
            ),
        }
    }
}

/// The sensors of a pool that say something to a fit of another machine.
fn others<'a>(fitted: &Fitted, pool: &'a [(MachineId, Commissioned)]) -> Vec<&'a (MachineId, Commissioned)> {
    let bins = fitted.commissioned.median().len();
    let other = |(machine, other): &&(MachineId, Commissioned)| {
        *machine != fitted.ready.machine && other.median().len() == bins
    };
    pool.iter().filter(other).collect()
}

fn count(sensors: &[&(MachineId, Commissioned)]) -> usize {
    sensors
        .iter()
        .map(|(machine, _)| machine)
        .collect::<BTreeSet<_>>()
        .len()
}

/// Of enough machines.
fn fleet(sensors: &[&(MachineId, Commissioned)]) -> Option<Fleet> {
    let enough = count(sensors) >= MIN_MACHINES;
    enough
        .then(|| Fleet::of(sensors.iter().map(|(_, sensor)| sensor)))
        .flatten()
}
