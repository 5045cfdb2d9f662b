//! The other machines of the class on the site, at the same time.
//!
//! **Invariant:** only machines of the incident's own site are looked at: whoever may see the incident may see them, and a final
//! review tells nobody of another site.

use std::collections::BTreeMap;

use tocsin_contracts::incident_review::{PeerPoint, Peers, WorstPeer};
use tocsin_corpus::archive::Columns;
use tocsin_domain::{MachineId, ReadingKey, Scope, SensorId, Timestamp};
use tocsin_store::reading::{PeerSensor, StoredReading};

use super::Service;
use crate::Error;
use crate::period::Period;

/// Other machines that are looked at.
const MOST: u32 = 60;
/// Intervals of the window.
const INTERVALS: u32 = 60;
/// Those that are named.
const WORST: usize = 3;

/// The highest level of each machine in each interval, and when.
type Levels = BTreeMap<(i64, MachineId), (f32, Timestamp)>;

impl Service {
    pub(super) async fn peers_of(&self, scope: &Scope, machine: MachineId, period: Period) -> Result<Peers, Error> {
        let sensors = self.store.peer_sensors(scope, machine, MOST).await?;
        let ids: Vec<SensorId> = sensors.iter().map(|peer| peer.sensor).collect();
        let mut first: BTreeMap<(SensorId, i64), StoredReading> = BTreeMap::new();
        let mut take = |reading: StoredReading| {
            let ReadingKey { sensor, captured_at } = reading.key;
            let place = (sensor, period.rounded_interval(captured_at, INTERVALS));
            match first.get(&place) {
                Some(kept) if kept.key.captured_at <= captured_at => {}
                _ => drop(first.insert(place, reading)),
            }
        };
        let ends = (period.from, period.to);
        let hot = self.store.readings_sampled(scope, &ids, ends, INTERVALS).await?;
        hot.into_iter().for_each(&mut take);
        let mut cold = self.archive.readings(scope, ids, ends, Columns::Decisions).await?;
        while let Some(archived) = cold.next().await? {
            for reading in archived {
                take(reading.stored);
            }
        }
        let machine_of: BTreeMap<SensorId, MachineId> =
            sensors.iter().map(|peer| (peer.sensor, peer.machine)).collect();
        let mut levels = Levels::new();
        for ((sensor, interval), reading) in first {
            let at = reading.key.captured_at;
            if let (Some(level), Some(of)) = (self.judged(reading).await?.level(), machine_of.get(&sensor)) {
                let highest = levels.entry((interval, *of)).or_insert((level.0, at));
                if level.0 > highest.0 {
                    *highest = (level.0, at);
                }
            }
        }
        Ok(told(&levels, &sensors, machine, period))
    }
}

fn told(levels: &Levels, sensors: &[PeerSensor], own: MachineId, period: Period) -> Peers {
    let names: BTreeMap<MachineId, &PeerSensor> = sensors.iter().map(|peer| (peer.machine, peer)).collect();
    let width_us = (period.to.as_micros() - period.from.as_micros())
        .unsigned_abs()
        .div_ceil(INTERVALS.into());
    let mut by_interval: BTreeMap<i64, (Option<f32>, Vec<f32>)> = BTreeMap::new();
    let mut worst: BTreeMap<MachineId, (f32, Timestamp)> = BTreeMap::new();
    for ((interval, machine), (level, at)) in levels {
        let point = by_interval.entry(*interval).or_default();
        if *machine == own {
            point.0 = Some(*level);
            continue;
        }
        point.1.push(*level);
        let highest = worst.entry(*machine).or_insert((*level, *at));
        if *level > highest.0 {
            *highest = (*level, *at);
        }
    }
    let mut worst: Vec<WorstPeer> = worst
        .into_iter()
        .map(|(machine, (level, at))| WorstPeer {
            machine: names
                .get(&machine)
                .map(|peer| peer.name.to_string())
                .unwrap_or_default(),
            level,
            at,
        })
        .collect();
    worst.sort_by(|one, other| other.level.total_cmp(&one.level));
    worst.truncate(WORST);
    let point = |(interval, (own, mut peers)): (i64, (Option<f32>, Vec<f32>))| {
        peers.sort_by(f32::total_cmp);
        PeerPoint {
            at: Timestamp::from_micros(period.from.as_micros() + interval * width_us as i64),
            own,
            machines: peers.len() as u32,
            low: quantile(&peers, 0.1),
            median: quantile(&peers, 0.5),
            high: quantile(&peers, 0.9),
        }
    };
    Peers {
        machines: names.len().saturating_sub(1) as u32,
        points: by_interval.into_iter().map(point).collect(),
        worst,
    }
}

/// By straight lines between the sorted values; none of none.
fn quantile(sorted: &[f32], share: f32) -> Option<f32> {
    let place = share * sorted.len().checked_sub(1)? as f32;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(low + (high - low) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_domain::Slug;

    #[test]
    fn the_own_machine_stands_beside_the_band_of_the_others_and_the_worst_are_named() {
        let sensors: Vec<PeerSensor> = (1..=12)
            .map(|n| PeerSensor {
                sensor: SensorId(n),
                machine: MachineId(n),
                name: Slug::parse("name", &format!("p-{n}")).unwrap(),
            })
            .collect();
        let period = Period {
            from: Timestamp::from_micros(0),
            to: Timestamp::from_micros(60_000_000),
        };
        let at = |interval: i64| Timestamp::from_micros(interval * 1_000_000);
        let mut levels: Levels = (2..=12)
            .map(|n| ((5, MachineId(n)), ((n - 2) as f32 / 10.0, at(5))))
            .collect();
        levels.insert((5, MachineId(1)), (3.0, at(5)));
        levels.insert((7, MachineId(4)), (1.5, at(7)));
        let peers = told(&levels, &sensors, MachineId(1), period);
        assert_eq!((peers.machines, peers.points.len()), (11, 2));
        let point = &peers.points[0];
        assert_eq!((point.at, point.own, point.machines), (at(5), Some(3.0), 11));
        assert_eq!((point.low, point.median, point.high), (Some(0.1), Some(0.5), Some(0.9)));
        assert_eq!((peers.points[1].own, peers.points[1].median), (None, Some(1.5)));
        let worst: Vec<_> = peers
            .worst
            .iter()
            .map(|one| (one.machine.as_str(), one.level))
            .collect();
        assert_eq!(worst, [("p-4", 1.5), ("p-12", 1.0), ("p-11", 0.9)]);
        assert_eq!(quantile(&[], 0.5), None);
    }
}
