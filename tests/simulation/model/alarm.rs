//! When an acknowledged incident should be heard of again, by its levels and its sensors.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::CLEAR_STEPS;

/// Microseconds in which a reason is said at most once.
const HELD_BACK: i64 = 4 * 3_600 * 1_000_000;

/// What an incident has shown, and what of it people know.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Alarm {
    /// The level that held at each of the last steps.
    levels: VecDeque<(i64, f32)>,
    at_page: BTreeSet<i32>,
    /// Sensors that have been at the page line since it was taken last.
    seen: BTreeSet<i32>,
    known: Option<(f32, BTreeSet<i32>)>,
    said: BTreeMap<&'static str, i64>,
}

impl Alarm {
    pub(crate) fn observe(&mut self, step: i64, held: Option<f32>, at_page: BTreeSet<i32>) {
        if let Some(level) = held {
            self.levels.retain(|(start, _)| *start != step);
            self.levels.push_back((step, level));
            while self.levels.len() as i64 > CLEAR_STEPS {
                self.levels.pop_front();
            }
        }
        self.seen.extend(&at_page);
        self.at_page = at_page;
    }

    fn highest(&self) -> f32 {
        self.levels.iter().map(|(_, level)| *level).fold(0.0, f32::max)
    }

    pub(crate) fn acknowledge(&mut self) {
        self.known = Some((self.highest(), self.seen.clone()));
        self.seen.clone_from(&self.at_page);
    }

    pub(crate) fn raise(&mut self, reason: &'static str, step: i64) {
        self.known = None;
        self.said.insert(reason, step);
    }

    /// The reason to say more, if there is one that may be said now.
    pub(crate) fn due(&self, step: i64) -> Option<&'static str> {
        let (level, sensors) = self.known.as_ref()?;
        let now = self.levels.back().map_or(0.0, |(_, level)| *level);
        let rose = now >= level + f32::max(1.0, 0.25 * level);
        let another = self.at_page.difference(sensors).next().is_some();
        let causes = [("level_rose", rose), ("another_sensor", another)];
        let may = |reason: &str| self.said.get(reason).is_none_or(|last| step >= last + HELD_BACK);
        causes
            .into_iter()
            .find(|(reason, holds)| *holds && may(reason))
            .map(|(reason, _)| reason)
    }
}
