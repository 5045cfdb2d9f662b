//! Thinning a series to a number of points by keeping maxima: what was highest stays in sight.

use std::collections::BTreeMap;

use tocsin_contracts::review::v1;
use tocsin_contracts::time;
use tocsin_domain::{Level, ReadingKey, SensorId};
use tocsin_store::reading::OverallPoint;

use crate::levels::Judged;
use crate::period::Period;

/// A machine's series while it is being thinned.
#[derive(Debug)]
pub(crate) struct Thinned {
    period: Period,
    points: u32,
    kept: BTreeMap<SensorId, BTreeMap<u32, Judged>>,
}

impl Thinned {
    pub(crate) fn new(period: Period, points: u32) -> Self {
        Self {
            period,
            points,
            kept: BTreeMap::new(),
        }
    }

    /// Takes a reading: of each interval the one with the highest level stays, the first of equals; one that was judged
    /// goes before one that was not.
    pub(crate) fn take(&mut self, judged: Judged) {
        let key = judged.reading.key;
        let interval = self.period.interval(key.captured_at, self.points);
        let kept = self.kept.entry(key.sensor).or_default();
        let rank = |judged: &Judged| judged.level().map_or(f32::NEG_INFINITY, |Level(level)| level);
        if kept.get(&interval).is_none_or(|best| rank(&judged) > rank(best)) {
            kept.insert(interval, judged);
        }
    }

    /// The points of a sensor, oldest first.
    pub(crate) fn points(&self, sensor: SensorId) -> Vec<v1::SeriesPoint> {
        self.kept
            .get(&sensor)
            .into_iter()
            .flat_map(BTreeMap::values)
            .map(point)
            .collect()
    }
}

/// What was kept of each sensor, oldest first.
impl From<Thinned> for BTreeMap<SensorId, Vec<Judged>> {
    fn from(thinned: Thinned) -> Self {
        let kept = thinned.kept.into_iter();
        kept.map(|(sensor, kept)| (sensor, kept.into_values().collect()))
            .collect()
    }
}

/// The highest of each overall level in each interval, while more are taken.
#[derive(Debug)]
pub(crate) struct HighestLevels {
    period: Period,
    points: u32,
    kept: BTreeMap<(SensorId, usize, i64), OverallPoint>,
}

impl HighestLevels {
    /// With those that are known already.
    pub(crate) fn new(period: Period, points: u32, known: Vec<OverallPoint>) -> Self {
        let mut levels = Self {
            period,
            points,
            kept: BTreeMap::new(),
        };
        for point in known {
            levels.take_one(point);
        }
        levels
    }

    /// Takes a reading's levels, in its spec's order.
    pub(crate) fn take(&mut self, key: ReadingKey, levels: &[Option<f32>]) {
        for (place, value) in levels.iter().enumerate() {
            if let Some(value) = *value {
                self.take_one(OverallPoint {
                    sensor: key.sensor,
                    place,
                    captured_at: key.captured_at,
                    value,
                });
            }
        }
    }

    /// As the database thins: the highest value, at the time of the interval's first.
    fn take_one(&mut self, point: OverallPoint) {
        let interval = self.period.rounded_interval(point.captured_at, self.points);
        let kept = self.kept.entry((point.sensor, point.place, interval)).or_insert(point);
        kept.value = kept.value.max(point.value);
        kept.captured_at = kept.captured_at.min(point.captured_at);
    }

    /// By sensor, place and time.
    pub(crate) fn points(self) -> Vec<OverallPoint> {
        self.kept.into_values().collect()
    }
}

fn point(judged: &Judged) -> v1::SeriesPoint {
    v1::SeriesPoint {
        at: Some(time::to_wire(judged.reading.key.captured_at)),
        level: judged.level().map(|level| level.0),
        detectors: judged.detectors(),
        verdict: judged.reading.verdict.as_str().to_owned(),
        threshold_set_id: judged.threshold_set_id(),
        degraded: judged.is_degraded(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::levels::tests::{reading, set};
    use proptest::prelude::*;
    use tocsin_domain::{Timestamp, UnjudgedReason, Verdict};

    fn period(seconds: i64) -> Period {
        Period {
            from: Timestamp::from_micros(0),
            to: Timestamp::from_micros(seconds * 1_000_000),
        }
    }

    #[test]
    fn what_was_judged_goes_before_what_was_not() {
        let mut thinned = Thinned::new(period(10), 1);
        let mut stopped = reading(1, 0, 50.0);
        stopped.verdict = Verdict::Unjudged {
            reason: UnjudgedReason::Stopped,
        };
        thinned.take(Judged::new(stopped, Some(set())));
        assert_eq!(thinned.points(SensorId(1))[0].level, None);
        thinned.take(Judged::new(reading(1, 1, 0.1), Some(set())));
        assert!(thinned.points(SensorId(1))[0].level.is_some());
        assert_eq!(thinned.points(SensorId(2)), []);
    }

    proptest! {
        #[test]
        fn the_highest_level_survives_and_there_are_no_more_points_than_asked_for(
            residuals in proptest::collection::vec(0.1f32..20.0, 1..60),
            points in 1u32..20,
        ) {
            let set = set();
            let mut thinned = Thinned::new(period(residuals.len() as i64), points);
            for (second, residual) in residuals.iter().enumerate() {
                thinned.take(Judged::new(reading(1, second as i64, *residual), Some(set.clone())));
            }
            let shown = thinned.points(SensorId(1));
            prop_assert!(shown.len() <= points as usize);
            let highest = residuals.iter().copied().fold(0.0, f32::max);
            let expected = Judged::new(reading(1, 0, highest), Some(set)).level().unwrap().0;
            let best = shown.iter().filter_map(|point| point.level).fold(f32::NEG_INFINITY, f32::max);
            prop_assert_eq!(best.to_bits(), expected.to_bits());
        }
    }
}
