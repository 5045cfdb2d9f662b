//! Machine steps: what several sensors said in one decision interval.

use std::time::Duration;

use tocsin_domain::{Detector, Level, ReadingKey, SensorId, Timestamp, Verdict};

use crate::Judgement;

/// A reading as the fold sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JudgedReading {
    /// Sensor and capture time.
    pub key: ReadingKey,
    /// Its deciding level and detector; absent when unjudged.
    pub level: Option<(Level, Detector)>,
}

impl JudgedReading {
    /// A reading with its judgement.
    pub fn new(key: ReadingKey, judgement: &Judgement) -> Self {
        let by = match judgement.verdict {
            Verdict::Normal { by } | Verdict::Alert { by } | Verdict::Page { by } => Some(by),
            Verdict::Unjudged { .. } => None,
        };
        Self {
            key,
            level: judgement.level.zip(by),
        }
    }
}

/// One decision interval of a machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Start of the interval.
    pub start: Timestamp,
    /// Its level and whose it is; absent when none of its readings was judged.
    pub level: Option<StepLevel>,
}

/// The level of a step: the maximum over sensors of each sensor's median level in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepLevel {
    /// The level.
    pub level: Level,
    /// The sensor with the highest median.
    pub sensor: SensorId,
    /// The detector that decided that sensor's highest reading in the step.
    pub detector: Detector,
}

/// The steps that `readings` make, oldest first. A step without readings is not a step.
pub fn steps<'a>(readings: impl IntoIterator<Item = &'a JudgedReading>, step: Duration) -> Vec<Step> {
    let start = |reading: &JudgedReading| reading.key.captured_at.floor_to(step);
    let mut placed: Vec<_> = readings.into_iter().map(|reading| (start(reading), reading)).collect();
    placed.sort_by_key(|(start, reading)| (*start, reading.key.sensor));
    let of_steps = placed.chunk_by(|(one, _), (other, _)| one == other);
    of_steps
        .map(|of_step| Step {
            start: of_step[0].0,
            level: step_level(of_step),
        })
        .collect()
}

/// Of a step's readings, sensor by sensor.
fn step_level(of_step: &[(Timestamp, &JudgedReading)]) -> Option<StepLevel> {
    of_step
        .chunk_by(|(_, one), (_, other)| one.key.sensor == other.key.sensor)
        .filter_map(|of_sensor| {
            let mut levels: Vec<_> = of_sensor.iter().filter_map(|(_, reading)| reading.level).collect();
            levels.sort_by(|a, b| a.0.0.total_cmp(&b.0.0));
            let (_, detector) = *levels.last()?;
            Some(StepLevel {
                level: median(&levels),
                sensor: of_sensor[0].1.key.sensor,
                detector,
            })
        })
        .reduce(|best, next| if next.level > best.level { next } else { best })
}

/// Median of sorted levels; of an even number, the mean of the middle two.
fn median(sorted: &[(Level, Detector)]) -> Level {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        return sorted[middle].0;
    }
    Level(f32::midpoint(sorted[middle - 1].0.0, sorted[middle].0.0))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) const STEP: Duration = Duration::from_secs(10);

    pub(crate) fn reading(sensor: i32, second: i64, level: impl Into<Option<f32>>) -> JudgedReading {
        JudgedReading {
            key: ReadingKey {
                sensor: SensorId(sensor),
                captured_at: Timestamp::from_micros(second * 1_000_000),
            },
            level: level.into().map(|level| (Level(level), Detector::Residual)),
        }
    }

    #[test]
    fn a_step_is_the_loudest_sensor_by_its_median() {
        let readings = [
            reading(1, 0, 9.0),
            reading(1, 3, 0.2),
            reading(1, 6, 0.4),
            reading(2, 1, 1.0),
            reading(2, 2, 1.4),
        ];
        let steps = steps(&readings, STEP);
        let level = steps[0].level.unwrap();
        assert_eq!((steps.len(), level.sensor), (1, SensorId(2)));
        assert!((level.level.0 - 1.2).abs() < 1e-6);
    }

    #[test]
    fn an_unjudged_step_is_a_step_without_a_level() {
        let steps = steps(&[reading(1, 0, None), reading(1, 10, 1.0)], STEP);
        assert_eq!((steps[0].level, steps.len()), (None, 2));
        assert!(steps[1].level.is_some());
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_does_not_matter(
            readings in proptest::collection::vec((1i32..4, 0i64..100, 0f32..3.0), 1..40),
            seed in any::<u64>(),
        ) {
            let readings: Vec<_> = readings.into_iter().map(|(s, t, l)| reading(s, t, l)).collect();
            let mut shuffled = readings.clone();
            let len = shuffled.len();
            for i in 0..len {
                shuffled.swap(i, (seed.wrapping_mul(i as u64 + 1) % len as u64) as usize);
            }
            let levels = |readings: &[JudgedReading]| -> Vec<_> {
                steps(readings, STEP).into_iter().map(|s| (s.start, s.level.map(|l| l.level.0.to_bits()))).collect()
            };
            prop_assert_eq!(levels(&readings), levels(&shuffled));
        }
    }
}
