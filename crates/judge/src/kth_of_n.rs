//! The largest k-th greatest of the last n step scores: the line at which a k-of-n rule would just have fired.

use std::collections::VecDeque;
use std::time::Duration;

use tocsin_domain::{Detector, Level, ReadingKey, Timestamp};

use crate::step::steps;
use crate::{JudgedReading, Persistence};

/// One detector's scores of one machine, reading by reading. A step's score is the maximum over sensors of each one's
/// median.
///
/// **Invariant:** the same as looking at every n steps of the whole history, in the memory of n steps.
#[derive(Debug, Clone)]
pub struct LargestKthOfN {
    k: usize,
    n: usize,
    /// Length of a step.
    step: Duration,
    /// Readings of the newest step.
    open: Vec<(ReadingKey, f32)>,
    /// Start and score of the last n whole steps. A score that is no larger than `largest` may be an upper bound of it: a
    /// k-th of n above `largest` is one of those above it.
    last: VecDeque<(Timestamp, f32)>,
    largest: Option<f32>,
}

impl LargestKthOfN {
    /// Nothing yet, of steps that are `step` long.
    pub fn new(rules: &Persistence, step: Duration) -> Self {
        Self {
            k: rules.k as usize,
            n: rules.n as usize,
            step,
            open: Vec::new(),
            last: VecDeque::with_capacity(rules.n as usize),
            largest: None,
        }
    }

    /// The next reading: of any sensor, in the newest step or after it.
    pub fn take(&mut self, key: ReadingKey, score: f32) {
        if self
            .open
            .first()
            .is_some_and(|(first, _)| self.start(*first) != self.start(key))
        {
            self.close();
        }
        self.open.push((key, score));
    }

    /// The line, once there is nothing more to come. Nothing with fewer than n steps.
    pub fn largest(mut self) -> Option<f32> {
        self.close();
        self.largest
    }

    fn start(&self, key: ReadingKey) -> Timestamp {
        key.captured_at.floor_to(self.step)
    }

    /// The newest step is whole.
    fn close(&mut self) {
        let Some((first, _)) = self.open.first() else { return };
        let start = self.start(*first);
        let highest = self.open.iter().map(|(_, score)| *score).fold(f32::MIN, f32::max);
        let can_matter = self.largest.is_none_or(|largest| highest > largest);
        let score = if can_matter { self.step_score() } else { highest };
        self.open.clear();
        if self.last.len() == self.n {
            self.last.pop_front();
        }
        self.last.push_back((start, score));
        // The first n steps are looked at whatever they are.
        if self.last.len() == self.n && self.largest.is_none_or(|largest| score > largest) {
            self.largest = self.largest.into_iter().chain(self.kth(start)).reduce(f32::max);
        }
    }

    fn step_score(&self) -> f32 {
        let readings: Vec<JudgedReading> = self
            .open
            .iter()
            .map(|(key, score)| JudgedReading {
                key: *key,
                level: Some((Level(*score), Detector::Growth)), // the rule looks at no name
            })
            .collect();
        let levels = steps(&readings, self.step).into_iter().filter_map(|step| step.level);
        levels.map(|of_step| of_step.level.0).fold(f32::MIN, f32::max)
    }

    /// The k-th of those steps that the rule can reach.
    fn kth(&self, newest: Timestamp) -> Option<f32> {
        let oldest = newest - Persistence::reach(self.n as u32, self.step);
        let within = self.last.iter().filter(|(start, _)| *start >= oldest);
        let mut scores: Vec<f32> = within.map(|(_, score)| *score).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        scores.get(self.k - 1).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tocsin_domain::SensorId;

    use super::*;
    use crate::fold::judged;
    use crate::step::tests::STEP;

    fn key(sensor: i32, second: i64) -> ReadingKey {
        ReadingKey {
            sensor: SensorId(sensor),
            captured_at: Timestamp::from_micros(second * 1_000_000),
        }
    }

    /// By its definition: every n steps of the whole.
    fn by_definition(history: &[(ReadingKey, f32)], rules: &Persistence) -> Option<f32> {
        let reading = |(key, score): &(ReadingKey, f32)| JudgedReading {
            key: *key,
            level: Some((Level(*score), Detector::Growth)),
        };
        let readings: Vec<JudgedReading> = history.iter().map(reading).collect();
        let steps = steps(&readings, STEP);
        let (k, n) = (rules.k as usize, rules.n as usize);
        let kth = |last: &[crate::Step]| {
            let newest = last.last()?.start;
            let mut scores: Vec<f32> = judged(last, newest, rules.n, STEP)
                .map(|judged| judged.level.0)
                .collect();
            scores.sort_by(|a, b| b.total_cmp(a));
            scores.get(k - 1).copied()
        };
        (n..=steps.len())
            .filter_map(|end| kth(&steps[end - n..end]))
            .reduce(f32::max)
    }

    proptest! {
        #[test]
        fn reading_by_reading_it_is_what_the_whole_says(
            readings in proptest::collection::vec(
                (1_i32..4, prop_oneof![9 => 0_i64..13, 1 => 100_i64..400], 0_f32..3.0),
                1..200,
            ),
        ) {
            let mut second = 0;
            let in_order = readings.into_iter().map(|(sensor, wait, score)| {
                second += wait;
                (key(sensor, second), score)
            });
            let history: Vec<(ReadingKey, f32)> = in_order.collect();
            let rules = Persistence::default();
            let mut largest = LargestKthOfN::new(&rules, STEP);
            for (key, score) in &history {
                largest.take(*key, *score);
            }
            prop_assert_eq!(largest.largest(), by_definition(&history, &rules));
        }
    }
}
