//! A machine's readings around an incident, thinned, and the times without any.

use std::collections::BTreeMap;
use std::time::Duration;

use tocsin_contracts::incident_review::{DetectorLevel, Gap, Phase, Reading};
use tocsin_domain::{MachineId, Scope, SensorId, Timestamp};
use tocsin_store::fleet::SensorListing;

use super::Service;
use crate::Error;
use crate::levels::Judged;
use crate::period::Period;
use crate::record::{decided_by, state_word};
use crate::series::Thinned;

/// A gap is longer than so many of a sensor's usual intervals,
const USUAL: u32 = 5;
/// and than so many steps of its class.
const STEPS: u32 = 3;
/// The most that are told: the longest.
const MOST_GAPS: usize = 500;

/// What was read.
pub(super) struct Readings {
    /// Of each interval and sensor the reading with the highest level, in order of capture.
    pub(super) kept: BTreeMap<SensorId, Vec<Judged>>,
    /// When each sensor was read, in order, kept or not.
    pub(super) times: BTreeMap<SensorId, Vec<Timestamp>>,
}

impl Readings {
    pub(super) fn of(&self, sensor: SensorId) -> &[Judged] {
        self.kept.get(&sensor).map_or(&[], Vec::as_slice)
    }
}

impl Service {
    pub(super) async fn window_readings(
        &self,
        scope: &Scope,
        machine: (MachineId, &[SensorListing]),
        period: Period,
        intervals: u32,
    ) -> Result<Readings, Error> {
        let mut thinned = Thinned::new(period, intervals);
        let mut times: BTreeMap<SensorId, Vec<Timestamp>> = BTreeMap::new();
        let take = |judged: Judged, _: &[Option<f32>]| {
            let key = judged.reading.key;
            times.entry(key.sensor).or_default().push(key.captured_at);
            thinned.take(judged);
        };
        self.each_reading(scope, machine, period, take).await?;
        for times in times.values_mut() {
            // A day that was archived meanwhile was seen twice.
            times.sort_unstable();
            times.dedup();
        }
        Ok(Readings {
            kept: thinned.into(),
            times,
        })
    }
}

/// The times without readings of a sensor between the machine's first and its last reading.
pub(super) fn gaps(
    times: &BTreeMap<SensorId, Vec<Timestamp>>,
    step: Duration,
) -> Vec<(SensorId, Timestamp, Timestamp)> {
    let first = times.values().filter_map(|times| times.first()).min();
    let last = times.values().filter_map(|times| times.last()).max();
    let mut gaps = Vec::new();
    for (sensor, times) in times {
        let mut usual: Vec<Duration> = times.windows(2).map(|pair| pair[1].since(pair[0])).collect();
        usual.sort_unstable();
        let usual = usual.get(usual.len() / 2).copied().unwrap_or(step);
        let longest = (usual * USUAL).max(step * STEPS);
        let with_ends: Vec<Timestamp> = first.into_iter().chain(times).chain(last).copied().collect();
        let pairs = with_ends.windows(2).filter(|pair| pair[1].since(pair[0]) > longest);
        gaps.extend(pairs.map(|pair| (*sensor, pair[0], pair[1])));
    }
    gaps.sort_by_key(|(_, from, to)| std::cmp::Reverse(to.since(*from)));
    gaps.truncate(MOST_GAPS);
    gaps.sort_by_key(|(sensor, from, _)| (*from, *sensor));
    gaps
}

pub(super) fn named(gaps: Vec<(SensorId, Timestamp, Timestamp)>, sensors: &[SensorListing]) -> Vec<Gap> {
    let name = |id| {
        let found = sensors.iter().find(|listing| listing.sensor.id == id);
        found.map(|listing| listing.name.to_string()).unwrap_or_default()
    };
    let of = |(sensor, from, to)| Gap {
        sensor: name(sensor),
        from,
        to,
    };
    gaps.into_iter().map(of).collect()
}

/// As the document has it.
pub(super) fn reading(judged: &Judged, phase: Phase) -> Reading {
    let stored = &judged.reading;
    let detectors = judged.detectors().into_iter().map(|one| DetectorLevel {
        detector: one.detector,
        score: one.score,
        level: one.level,
        alert_line: one.alert_line,
        page_line: one.page_line,
        role: one.role,
    });
    Reading {
        captured_at: stored.key.captured_at,
        received_at: stored.received_at,
        phase,
        verdict: stored.verdict.as_str().to_owned(),
        decided_by: decided_by(stored.verdict),
        level: judged.level().map(|level| level.0),
        threshold_set_id: stored.threshold_set.map(|set| set.0),
        bundle_id: stored.bundle.map(|bundle| bundle.0),
        baseline_id: stored.baseline.map(|baseline| baseline.0),
        degraded: judged.is_degraded(),
        condition: state_word(stored.state).to_owned(),
        detectors: detectors.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_micros(second as i64 * 1_000_000)
    }

    #[test]
    fn a_gap_is_longer_than_usual_and_a_sensor_that_ends_before_the_others_has_one() {
        let regular = |range: std::ops::Range<u64>| range.map(|n| at(10 * n));
        let one: Vec<_> = regular(0..20).chain(regular(60..100)).collect();
        let two: Vec<_> = regular(0..50).collect();
        let times = BTreeMap::from([(SensorId(1), one), (SensorId(2), two)]);
        let found = gaps(&times, Duration::from_secs(10));
        assert_eq!(
            found,
            [(SensorId(1), at(190), at(600)), (SensorId(2), at(490), at(990))]
        );
        assert_eq!(gaps(&times, Duration::from_mins(10)), [], "shorter than three steps");
        assert_eq!(gaps(&BTreeMap::new(), Duration::from_secs(10)), []);
    }
}
