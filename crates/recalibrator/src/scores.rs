//! The healthy scores that limits are computed from and tested over.

use std::collections::BTreeSet;

use tocsin_archive::Replayed;
use tocsin_domain::{MachineId, OperatingState, ReadingFlags, ReadingKey, Scope, Scores, SensorId, Timestamp, Verdict};
use tocsin_judge::replay::ScoredReading;
use tocsin_models::HeldOut;
use tocsin_store::bundle::Bundle;
use tocsin_store::reading::LoggedScore;

use crate::replay::is_within;
use crate::{Error, Service};

/// Why there is nothing to learn limits from, or to test them over.
pub(crate) const NONE_LOGGED: &str = "none were logged in that period under that bundle, on machines without an incident or a \
                                     labelled failure, the day before a repair left out";

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

impl Service {
    /// The scores logged for a class under a bundle in a period, hot and archived, by machines that nothing says were
    /// unhealthy. Readings that were not judged then, or without the network, say nothing about health; nor do those in a
    /// condition that was not seen before, whose scores are extrapolated, and those of the stretch before a repair.
    pub(crate) async fn logged(
        &self,
        scope: &Scope,
        bundle: &Bundle,
        period: (Timestamp, Timestamp),
    ) -> Result<Healthy, Error> {
        let store = &self.parts.store;
        let machines = store.machines_healthy(scope, bundle.class, period).await?;
        let before_repair = store.machines_before_repair(&machines).await?;
        let step = store.class_by_id(bundle.class).await?.step;
        let limit = self.config.logged_readings_limit;
        let mut readings = Vec::new();
        let take = |machine: MachineId, score: &LoggedScore| {
            let stretches = before_repair.get(&machine).map_or(&[][..], Vec::as_slice);
            if is_judged(score) && score.state == OperatingState::Known && !is_within(stretches, score) {
                readings.push(scored(machine, score));
            }
            if readings.len() > limit as usize {
                return Err(Error::TooManyScores { limit });
            }
            Ok(())
        };
        let replayed = all_of(bundle, period);
        self.read_scores(scope, &machines, (replayed, step), take).await?;
        Ok(Healthy::new(readings))
    }
}

/// All that a bundle scored in a period.
pub(crate) fn all_of(bundle: &Bundle, period: (Timestamp, Timestamp)) -> Replayed {
    Replayed {
        bundle: Some(bundle.id),
        period,
        active_baselines_only: false,
        historical: true,
    }
}

/// Whether a reading was judged, with the network.
pub(crate) fn is_judged(score: &LoggedScore) -> bool {
    !matches!(score.verdict, Verdict::Unjudged { .. }) && !score.flags.contains(ReadingFlags::DEGRADED)
}

/// A logged score as limits judge it.
pub(crate) fn scored(machine: MachineId, score: &LoggedScore) -> ScoredReading {
    ScoredReading {
        machine,
        key: score.key,
        scores: score.scores,
        state: score.state,
        degraded: score.flags.contains(ReadingFlags::DEGRADED),
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
