//! The healthy scores that limits are computed from and tested over.

use std::collections::{BTreeSet, HashMap};

use tocsin_domain::{
    BundleId, ClassId, MachineId, OperatingState, ReadingFlags, ReadingKey, Scope, Scores, SensorId, Verdict,
};
use tocsin_judge::replay::ScoredReading;
use tocsin_models::HeldOut;
use tocsin_store::Store;
use tocsin_store::reading::LoggedScoresQuery;

use crate::{Config, Error, Source};

/// Rows asked of the database at once.
const PAGE_ROWS: u32 = 20_000;

/// Scores of readings that nothing says are unhealthy, in order of capture.
#[derive(Debug)]
pub(crate) struct Healthy {
    pub(crate) readings: Vec<ScoredReading>,
}

impl Healthy {
    fn new(mut readings: Vec<ScoredReading>) -> Self {
        readings.sort_by_key(|reading| (reading.key.captured_at, reading.key.sensor));
        Self { readings }
    }

    /// The scores a bundle brings along. Its sensors are known by path alone, and are numbered here.
    pub(crate) fn held_out(held_out: &HeldOut) -> Self {
        let machine_of: Vec<&str> = held_out.sensors.iter().map(|path| machine_path(path)).collect();
        let machines: Vec<&str> = machine_of
            .iter()
            .copied()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let number = |machine: &str| machines.partition_point(|other| *other < machine) as i32;
        let readings = held_out.rows.iter().map(|row| ScoredReading {
            machine: MachineId(number(machine_of[row.sensor as usize])),
            key: ReadingKey {
                sensor: SensorId(row.sensor as i32),
                captured_at: row.captured_at,
            },
            scores: row.scores,
            state: OperatingState::Known,
            degraded: false,
        });
        Self::new(readings.collect())
    }

    /// The scores logged for a class under a bundle. Readings that were not judged then say nothing about health.
    pub(crate) async fn logged(
        store: &Store,
        scope: &Scope,
        (class, bundle): (ClassId, BundleId),
        source: Source,
        config: &Config,
    ) -> Result<Self, Error> {
        let Source::Logged { from, to } = source else {
            return Ok(Self { readings: Vec::new() });
        };
        let limit = config.logged_readings_limit;
        let mut query = LoggedScoresQuery {
            class,
            bundle,
            from,
            to,
            after: None,
            limit: PAGE_ROWS,
        };
        let mut readings: Vec<ScoredReading> = Vec::new();
        let mut machine_of: HashMap<SensorId, MachineId> = HashMap::new();
        loop {
            let page = store.scores_logged(scope, &query).await?;
            let new: BTreeSet<SensorId> = page
                .readings
                .iter()
                .map(|r| r.key.sensor)
                .filter(|sensor| !machine_of.contains_key(sensor))
                .collect();
            let listings = store.sensors_by_id(scope, &new.into_iter().collect::<Vec<_>>()).await?;
            machine_of.extend(
                listings
                    .into_iter()
                    .map(|(sensor, listing)| (sensor, listing.sensor.machine)),
            );
            readings.extend(page.readings.iter().filter_map(|reading| {
                let judged = !matches!(reading.verdict, Verdict::Unjudged { .. });
                judged.then_some(())?;
                Some(ScoredReading {
                    machine: *machine_of.get(&reading.key.sensor)?,
                    key: reading.key,
                    scores: reading.scores,
                    state: reading.state,
                    degraded: reading.flags.contains(ReadingFlags::DEGRADED),
                })
            }));
            if readings.len() > limit as usize {
                return Err(Error::TooManyScores { limit });
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(Self::new(readings)),
            }
        }
    }

    pub(crate) fn scores(&self) -> Vec<Scores> {
        self.readings.iter().map(|reading| reading.scores).collect()
    }

    pub(crate) fn machines(&self) -> usize {
        self.readings
            .iter()
            .map(|reading| reading.machine)
            .collect::<BTreeSet<_>>()
            .len()
    }

    pub(crate) fn sensors(&self) -> usize {
        self.readings
            .iter()
            .map(|reading| reading.key.sensor)
            .collect::<BTreeSet<_>>()
            .len()
    }
}

/// `site/machine` of `site/machine/sensor`.
fn machine_path(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(machine, _)| machine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_domain::{Detector, Timestamp};
    use tocsin_models::HeldOutRow;

    #[test]
    fn held_out_sensors_of_one_machine_are_replayed_together_and_in_order() {
        let row = |sensor: u32, second: i64| {
            let mut scores = Scores::default();
            scores.set(Detector::Residual, second as f32);
            HeldOutRow {
                sensor,
                captured_at: Timestamp::from_micros(second * 1_000_000),
                scores,
            }
        };
        let sensors = ["a/m2/x", "a/m1/x", "a/m2/y"].map(str::to_owned).to_vec();
        let healthy = Healthy::held_out(&HeldOut::new(sensors, vec![row(2, 3), row(1, 2), row(0, 1)]));
        let seen: Vec<_> = healthy.readings.iter().map(|r| (r.machine.0, r.key.sensor.0)).collect();
        assert_eq!(seen, [(1, 0), (0, 1), (1, 2)]);
        assert_eq!((healthy.machines(), healthy.sensors()), (2, 3));
    }
}
