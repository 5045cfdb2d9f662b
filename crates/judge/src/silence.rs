//! Which sensors are silent or stuck, and which gateways: decided from what was heard and the time alone.
//!
//! A sensor is silent when nothing was received of it for five of its own intervals, and for a minute at least: five, as
//! a lost packet or two are no fault and persistence can do without them; a minute, as a gateway that starts anew, or a
//! network that is laid anew, takes that long. Time in which nobody watched, and time in which its gateway was silent,
//! does not count.
//!
//! A gateway is silent when one of its sensors is and none of the others comes any more either. Sensors that are not due
//! yet tell nothing: until one of them is, or comes, nothing is said of those that are silent.
//!
//! **Invariant:** what stands still by design is never raised: a machine whose newest word is that its shaft stands still.
//!
//! **Invariant:** no alarm returns but by a reading.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tocsin_domain::{
    MachineId, OpenSensorAlarm, SensorAlarmChange, SensorAlarmSubject, SensorId, SensorSignal, Timestamp, TokenId,
};

use crate::signal::interval;

/// Intervals of its own that a sensor may miss.
pub const SILENT_INTERVALS: u32 = 5;
/// How long every sensor may say nothing.
pub const SILENT_AT_LEAST: Duration = Duration::from_mins(1);
/// From so many of its own intervals on it is certain that a sensor has missed one.
const LATE_INTERVALS: u32 = 2;
/// Equal spectra in a row from which on a sensor may be stuck.
pub const STUCK_READINGS: i32 = 20;
/// How long they must have been equal. Canonical spectra have 64 bins or more of a third of a decibel: noise alone moves
/// some of them in each.
pub const STUCK_AT_LEAST: Duration = Duration::from_mins(10);
/// A gateway of fewer sensors is told from its sensors by nothing.
const GATEWAY_SENSORS: usize = 2;

/// A sensor under watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedSensor {
    /// What was heard of it.
    pub signal: SensorSignal,
    /// The machine it watches.
    pub machine: MachineId,
    /// How often the class says that something comes.
    pub declared: Duration,
}

/// How a sensor stands at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    sensor: SensorId,
    received_at: Timestamp,
    interval: Duration,
    silent: bool,
    late: bool,
    suspended: bool,
}

/// How long a sensor of this interval may say nothing.
pub fn allowed_silence(interval: Duration) -> Duration {
    (interval * SILENT_INTERVALS).max(SILENT_AT_LEAST)
}

/// What a round of watching does at `now`, given that somebody has watched since `listening_since` without a break, and
/// the alarms that are active or not acknowledged.
pub fn round(
    sensors: &[WatchedSensor],
    open: &[OpenSensorAlarm],
    listening_since: Timestamp,
    now: Timestamp,
) -> Vec<SensorAlarmChange> {
    let open: BTreeMap<SensorAlarmSubject, &OpenSensorAlarm> =
        open.iter().map(|alarm| (alarm.subject, alarm)).collect();
    let stopped = stopped_machines(sensors);
    let mut changes = returns(sensors, open.values().copied());
    let returning: BTreeSet<i64> = changes.iter().filter_map(returned).collect();
    let mut found = silences(sensors, &open, &returning, &stopped, listening_since, now);
    let stuck = sensors.iter().filter(|watched| is_stuck(watched, &stopped));
    found.extend(stuck.map(|watched| {
        let subject = SensorAlarmSubject::Stuck(watched.signal.sensor);
        (subject, watched.signal.same_since)
    }));
    for (subject, since) in found {
        match open.get(&subject) {
            None => changes.push(SensorAlarmChange::Raise { subject, since }),
            Some(alarm) if alarm.returned_at.is_some() => {
                changes.push(SensorAlarmChange::RaiseAgain { id: alarm.id, since });
            }
            Some(_) => {}
        }
    }
    changes
}

fn returned(change: &SensorAlarmChange) -> Option<i64> {
    match change {
        SensorAlarmChange::Return { id } => Some(*id),
        SensorAlarmChange::Raise { .. } | SensorAlarmChange::RaiseAgain { .. } => None,
    }
}

/// Active alarms that a reading has ended since.
fn returns<'a>(sensors: &[WatchedSensor], open: impl Iterator<Item = &'a OpenSensorAlarm>) -> Vec<SensorAlarmChange> {
    let by_sensor: BTreeMap<SensorId, &SensorSignal> = sensors.iter().map(|w| (w.signal.sensor, &w.signal)).collect();
    let of_sensor =
        |sensor, is_over: &dyn Fn(&SensorSignal) -> bool| by_sensor.get(&sensor).is_some_and(|s| is_over(s));
    let active = open.filter(|alarm| alarm.returned_at.is_none());
    let over = active.filter(|alarm| match alarm.subject {
        SensorAlarmSubject::Silent(sensor) => of_sensor(sensor, &|signal| signal.received_at > alarm.raised_at),
        SensorAlarmSubject::Stuck(sensor) => of_sensor(sensor, &|signal| signal.same_since > alarm.since),
        // Its sensors may be heard through it, or have moved to another.
        SensorAlarmSubject::Gateway(gateway) => {
            let mut its = sensors.iter().filter(|w| w.signal.gateway == Some(gateway)).peekable();
            its.peek().is_none() || its.any(|w| w.signal.received_at > alarm.raised_at)
        }
    });
    over.map(|alarm| SensorAlarmChange::Return { id: alarm.id }).collect()
}

/// Machines whose newest word about it is that the shaft stands still.
fn stopped_machines(sensors: &[WatchedSensor]) -> BTreeSet<MachineId> {
    let mut newest: BTreeMap<MachineId, (Timestamp, bool)> = BTreeMap::new();
    for WatchedSensor { signal, machine, .. } in sensors {
        if let Some(stopped) = signal.stopped {
            let said = newest.entry(*machine).or_insert((signal.captured_at, stopped));
            *said = (*said).max((signal.captured_at, stopped));
        }
    }
    let stopped = newest.into_iter().filter(|(_, (_, stopped))| *stopped);
    stopped.map(|(machine, _)| machine).collect()
}

fn is_stuck(watched: &WatchedSensor, stopped: &BTreeSet<MachineId>) -> bool {
    let signal = &watched.signal;
    signal.same_count >= STUCK_READINGS
        && signal.captured_at.since(signal.same_since) >= STUCK_AT_LEAST
        && !stopped.contains(&watched.machine)
}

/// The silent sensors and gateways, with when each was last heard.
fn silences(
    sensors: &[WatchedSensor],
    open: &BTreeMap<SensorAlarmSubject, &OpenSensorAlarm>,
    returning: &BTreeSet<i64>,
    stopped: &BTreeSet<MachineId>,
    listening_since: Timestamp,
    now: Timestamp,
) -> Vec<(SensorAlarmSubject, Timestamp)> {
    let mut gateways: BTreeMap<Option<TokenId>, Vec<Standing>> = BTreeMap::new();
    for watched in sensors {
        let gateway = watched.signal.gateway;
        let alarm = gateway.and_then(|gateway| open.get(&SensorAlarmSubject::Gateway(gateway)));
        let back_at = alarm.and_then(|alarm| {
            if returning.contains(&alarm.id) {
                Some(now)
            } else {
                alarm.returned_at
            }
        });
        let from = back_at.map_or(listening_since, |back_at| back_at.max(listening_since));
        let is_stopped = stopped.contains(&watched.machine);
        gateways
            .entry(gateway)
            .or_default()
            .push(standing(watched, is_stopped, from, now));
    }
    let mut found = Vec::new();
    for (gateway, its) in gateways {
        match gateway {
            Some(gateway) if its.len() >= GATEWAY_SENSORS => found.extend(of_gateway(gateway, &its)),
            _ => found.extend(its.iter().filter(|s| is_raised(s)).map(silent)),
        }
    }
    found
}

fn standing(watched: &WatchedSensor, suspended: bool, from: Timestamp, now: Timestamp) -> Standing {
    let interval = interval(&watched.signal, watched.declared);
    let quiet = now.since(watched.signal.received_at.max(from));
    Standing {
        sensor: watched.signal.sensor,
        received_at: watched.signal.received_at,
        interval,
        silent: quiet > allowed_silence(interval),
        late: quiet > interval * LATE_INTERVALS,
        suspended,
    }
}

fn is_raised(standing: &Standing) -> bool {
    standing.silent && !standing.suspended
}

fn silent(standing: &Standing) -> (SensorAlarmSubject, Timestamp) {
    (SensorAlarmSubject::Silent(standing.sensor), standing.received_at)
}

/// One alarm for the gateway when none of its sensors comes any more; else one for each that is silent while others
/// still come.
fn of_gateway(gateway: TokenId, its: &[Standing]) -> Vec<(SensorAlarmSubject, Timestamp)> {
    if !its.iter().any(is_raised) {
        return Vec::new();
    }
    let newest = its.iter().map(|standing| standing.received_at).max();
    if its.iter().all(|standing| standing.late) {
        let since = newest.expect("a sensor of it is silent");
        return vec![(SensorAlarmSubject::Gateway(gateway), since)];
    }
    let others_came = |missing: &&Standing| newest > Some(missing.received_at + missing.interval);
    its.iter()
        .filter(|s| is_raised(s))
        .filter(others_came)
        .map(silent)
        .collect()
}

#[cfg(test)]
mod tests;
