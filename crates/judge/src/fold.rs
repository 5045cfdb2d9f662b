//! The fold of a machine's readings into incidents: k of the last n judged steps open one, a quiet run clears it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tocsin_domain::{Level, ReadingKey, SensorId, Severity, Timestamp};

use crate::re_alarm::Held;
use crate::step::{StepLevel, steps};
use crate::{JudgedReading, Persistence, Step};

/// What a step did to the machine's incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// A new incident.
    Opened(Severity),
    /// The open alert became a page.
    Escalated,
    /// The open incident cleared.
    Cleared,
}

/// What the window said when a reading arrived: the evidence of a decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// The step the reading fell into, as far as it had arrived.
    pub step: Step,
    /// Judged steps among the last n, none older than 2n intervals.
    pub judged: u32,
    /// Those at or above the alert line.
    pub at_alert: u32,
    /// Those at or above the page line.
    pub at_page: u32,
    /// Judged steps in a row, up to this one, below the clearing level of the open incident; 0 when none is open.
    pub quiet_run: u32,
}

/// What became of one reading in the fold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrival {
    /// Older than the machine's newest step: it counts in later windows, and opens and closes nothing.
    Late,
    /// It was folded.
    Folded {
        /// The evidence.
        window: Window,
        /// What it did.
        transition: Option<Transition>,
    },
}

/// Whether people hear of what a reading does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// They do.
    Acts,
    /// They don't yet: a spool catching up, still far from now. It opens, raises and clears what nobody was told of. A
    /// page that people were told of is not cleared by what was long ago: near now it may be as bad as ever.
    Counts,
}

/// A machine's recent readings and its open incident, to which readings arrive one by one.
#[derive(Debug, Clone)]
pub struct MachineFold {
    persistence: Persistence,
    step: Duration,
    readings: BTreeMap<(Timestamp, SensorId), JudgedReading>,
    open: Option<Severity>,
    untold: bool,
}

impl MachineFold {
    /// A fold that continues after `arrived` readings, in any order, with the incident open then. Readings that are older
    /// than [`Persistence::reach_back`] before the step of the next arrival change nothing, and need not be given.
    pub fn resume(
        persistence: Persistence,
        step: Duration,
        open: Option<Severity>,
        arrived: impl IntoIterator<Item = JudgedReading>,
    ) -> Self {
        let readings = arrived.into_iter().map(|r| (order(r.key), r)).collect();
        Self {
            persistence,
            step,
            readings,
            open,
            untold: false,
        }
    }

    /// The same, where people may not have been told yet that the open incident is at page level.
    #[must_use]
    pub fn untold(self, untold: bool) -> Self {
        Self { untold, ..self }
    }

    /// The severity of the open incident.
    pub fn open(&self) -> Option<Severity> {
        self.open
    }

    /// Takes the next reading.
    pub fn arrive(&mut self, reading: JudgedReading, effect: Effect) -> Arrival {
        let start = reading.key.captured_at.floor_to(self.step);
        let newest = self
            .readings
            .last_key_value()
            .map(|((at, _), _)| at.floor_to(self.step));
        self.readings.insert(order(reading.key), reading);
        if newest.is_some_and(|newest| start < newest) {
            return Arrival::Late;
        }
        self.forget(start);
        let steps = steps(self.readings.values(), self.step);
        let window = self.window(&steps);
        let counts = effect == Effect::Counts;
        let stays = counts && self.open == Some(Severity::Page) && !self.untold;
        let transition = self
            .decide(&window, &steps)
            .filter(|transition| !(stays && *transition == Transition::Cleared));
        let reached_page = matches!(
            transition,
            Some(Transition::Opened(Severity::Page) | Transition::Escalated)
        );
        if reached_page {
            self.untold = counts;
        }
        self.open = match transition {
            Some(Transition::Opened(severity)) => Some(severity),
            Some(Transition::Escalated) => Some(Severity::Page),
            Some(Transition::Cleared) => None,
            None => self.open,
        };
        Arrival::Folded { window, transition }
    }

    /// How far the trouble goes by the last steps.
    pub fn held(&self) -> Held {
        let steps_of = |sensor: Option<SensorId>| {
            let of_sensor = move |reading: &&JudgedReading| sensor.is_none_or(|sensor| reading.key.sensor == sensor);
            steps(self.readings.values().filter(of_sensor), self.step)
        };
        let Some(newest) = self
            .readings
            .last_key_value()
            .map(|((at, _), _)| at.floor_to(self.step))
        else {
            return Held::default();
        };
        let kth = |sensor: Option<SensorId>| {
            let steps = steps_of(sensor);
            let last_n = judged(&steps, newest, self.persistence.n, self.step);
            let mut last_n = last_n.peekable();
            let newest = last_n.peek()?.detector;
            let mut levels: Vec<Level> = last_n.map(|judged| judged.level).collect();
            levels.sort_by(|a, b| b.0.total_cmp(&a.0));
            let level = levels.get(self.persistence.k as usize - 1)?;
            Some((*level, newest))
        };
        let sensors: BTreeSet<SensorId> = self.readings.keys().map(|(_, sensor)| *sensor).collect();
        let at_page = |sensor: SensorId| {
            let held = kth(Some(sensor)).filter(|(level, _)| *level >= Level::PAGE);
            held.map(|held| (sensor, held))
        };
        Held {
            level: kth(None).map(|(level, _)| level),
            sensors: sensors.into_iter().filter_map(at_page).collect(),
        }
    }

    /// Drops what no window can reach any more.
    fn forget(&mut self, newest: Timestamp) {
        // What opens now may clear later: all that can matter to that is kept.
        let oldest = newest - self.persistence.reach_back(Some(Severity::Page), self.step);
        self.readings = self.readings.split_off(&(oldest, SensorId(i32::MIN)));
    }

    fn window(&self, steps: &[Step]) -> Window {
        let step = *steps.last().expect("the reading that arrived is in it");
        let rules = &self.persistence;
        let last_n = || judged(steps, step.start, rules.n, self.step);
        let at = |line: Level| last_n().filter(|judged| judged.level >= line).count() as u32;
        let quiet_run = self.open.map_or(0, |severity| {
            judged(steps, step.start, rules.clear_steps, self.step)
                .take_while(|judged| judged.level.0 < rules.clear_level(severity))
                .count() as u32
        });
        Window {
            step,
            judged: last_n().count() as u32,
            at_alert: at(Level::ALERT),
            at_page: at(Level::PAGE),
            quiet_run,
        }
    }

    fn decide(&self, window: &Window, steps: &[Step]) -> Option<Transition> {
        window.step.level?; // an unjudged step neither opens nor clears
        let rules = &self.persistence;
        let opens = |count: u32, line: Level| count >= rules.k && self.has_held(steps, line);
        let clears = |severity| {
            window.quiet_run >= rules.clear_steps && self.has_been_quiet(steps, Level(rules.clear_level(severity)))
        };
        match self.open {
            None if opens(window.at_page, Level::PAGE) => Some(Transition::Opened(Severity::Page)),
            None if opens(window.at_alert, Level::ALERT) => Some(Transition::Opened(Severity::Alert)),
            Some(Severity::Alert) if opens(window.at_page, Level::PAGE) => Some(Transition::Escalated),
            Some(severity) if clears(severity) => Some(Transition::Cleared),
            _ => None,
        }
    }

    /// Whether the share of k in n judged steps has stood at or above a line for the least time.
    fn has_held(&self, steps: &[Step], line: Level) -> bool {
        let (k, n) = (self.persistence.k as usize, self.persistence.n as usize);
        self.for_at_least(steps, self.persistence.open_min(), |levels| {
            let at = levels.iter().filter(|level| **level >= line).count();
            at * n >= k * levels.len()
        })
    }

    /// Whether every judged step has been below a level for the least time.
    fn has_been_quiet(&self, steps: &[Step], below: Level) -> bool {
        self.for_at_least(steps, self.persistence.clear_min(), |levels| {
            levels.iter().all(|level| *level < below)
        })
    }

    /// Whether the judged steps of some last time, which must reach back that far, are as they should be.
    fn for_at_least(&self, steps: &[Step], least: Duration, holds: impl Fn(&[Level]) -> bool) -> bool {
        let Some(newest) = steps.last().filter(|_| !least.is_zero()) else {
            return true;
        };
        let from = newest.start - least;
        let in_time = steps.iter().filter(|step| step.start >= from && step.level.is_some());
        let reaches_back = in_time
            .clone()
            .next()
            .is_some_and(|first| first.start < from + self.step);
        let levels: Vec<Level> = in_time.filter_map(|step| Some(step.level?.level)).collect();
        reaches_back && holds(&levels)
    }
}

fn order(key: ReadingKey) -> (Timestamp, SensorId) {
    (key.captured_at, key.sensor)
}

/// Levels of the last `count` judged steps, newest first, none older than twice that many intervals.
pub(crate) fn judged(
    steps: &[Step],
    newest: Timestamp,
    count: u32,
    step: Duration,
) -> impl Iterator<Item = StepLevel> + '_ {
    let oldest = newest - Persistence::reach(count, step);
    steps
        .iter()
        .rev()
        .take_while(move |s| s.start >= oldest)
        .filter_map(|s| s.level)
        .take(count as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::{STEP, reading};
    use proptest::prelude::*;

    fn fold() -> MachineFold {
        MachineFold::resume(Persistence::default(), STEP, None, [])
    }

    fn run(fold: &mut MachineFold, levels: &[f32]) -> Vec<(usize, Transition)> {
        let mut transitions = Vec::new();
        for (i, level) in levels.iter().enumerate() {
            let arrival = fold.arrive(reading(1, i as i64 * 10, *level), Effect::Acts);
            if let Arrival::Folded {
                transition: Some(transition),
                ..
            } = arrival
            {
                transitions.push((i, transition));
            }
        }
        transitions
    }

    #[test]
    fn five_of_eight_steps_open_and_four_do_not() {
        assert_eq!(run(&mut fold(), &[2.5, 0.0, 2.5, 0.0, 2.5, 0.0, 2.5, 0.0]), []);
        let opened = run(&mut fold(), &[2.5, 0.0, 2.5, 0.0, 2.5, 2.5, 0.0, 2.5]);
        assert_eq!(opened, [(7, Transition::Opened(Severity::Page))]);
    }

    #[test]
    fn an_alert_rises_to_a_page_and_clears_after_a_quiet_run() {
        let mut levels = vec![1.2; 5];
        levels.extend([2.2; 5]);
        levels.extend([1.4; 20]);
        let expected = [
            (4, Transition::Opened(Severity::Alert)),
            (9, Transition::Escalated),
            (29, Transition::Cleared),
        ];
        assert_eq!(run(&mut fold(), &levels), expected);
    }

    #[test]
    fn a_least_time_holds_back_what_the_steps_alone_would_open_and_clear() {
        let rules = Persistence {
            open_min_s: 120,
            clear_min_s: 300,
            ..Persistence::default()
        };
        let mut fold = MachineFold::resume(rules, STEP, None, []);
        let mut levels = vec![0.0; 5];
        levels.extend([2.2; 20]);
        levels.extend([0.0; 40]);
        // The share of 5 in 8 of the thirteen steps of two minutes is reached with the ninth; every step of five minutes is
        // quiet with the thirty-first.
        let expected = [
            (5 + 8, Transition::Opened(Severity::Page)),
            (25 + 30, Transition::Cleared),
        ];
        assert_eq!(run(&mut fold, &levels), expected);

        // A burst as long as five steps opens nothing, and a gap that long proves nothing.
        let mut fold = MachineFold::resume(rules, STEP, None, []);
        let mut burst = vec![0.0; 12];
        burst.extend([2.2; 8]);
        burst.extend([0.0; 12]);
        assert_eq!(run(&mut fold, &burst), []);
        let mut fold = MachineFold::resume(rules, STEP, None, []);
        assert_eq!(run(&mut fold, &[2.5; 12]), [], "nothing is known of two minutes ago");
    }

    #[test]
    fn one_loud_step_starts_the_quiet_run_again() {
        let mut levels = vec![2.2; 5];
        levels.extend([0.0; 19]);
        levels.push(1.5);
        levels.extend([0.0; 19]);
        assert_eq!(run(&mut fold(), &levels).len(), 1);
    }

    #[test]
    fn what_holds_is_what_five_of_the_last_eight_steps_reached_and_each_sensor_s_own() {
        let mut fold = fold();
        assert_eq!(fold.held(), Held::default());
        for (nth, level) in [2.5, 3.0, 0.0, 3.5, 2.2, 4.0, 2.1].into_iter().enumerate() {
            let second = nth as i64 * 10;
            fold.arrive(reading(1, second, level), Effect::Acts);
            // The other sensor is behind: at the page line in four steps only.
            fold.arrive(reading(2, second, if nth < 3 { 0.0 } else { 2.4 }), Effect::Acts);
        }
        let held = fold.held();
        assert_eq!(held.level, Some(Level(2.4)), "of 2.5 3.0 0.0 3.5 2.4 4.0 2.4");
        let at_page = |held: &Held| -> Vec<(i32, f32)> {
            held.sensors
                .iter()
                .map(|(sensor, (level, _))| (sensor.0, level.0))
                .collect()
        };
        assert_eq!(at_page(&held), [(1, 2.2)], "of 2.5 3.0 0.0 3.5 2.2 4.0 2.1");
        fold.arrive(reading(2, 70, 2.4), Effect::Acts);
        assert_eq!(at_page(&fold.held()), [(1, 2.2), (2, 2.4)]);
    }

    #[test]
    fn steps_older_than_twice_the_window_do_not_count() {
        let mut fold = fold();
        run(&mut fold, &[2.5; 4]);
        let after_gap = fold.arrive(reading(1, 30 + 171, 2.5), Effect::Acts);
        assert!(
            matches!(after_gap, Arrival::Folded { transition: None, window } if window.at_page == 1),
            "{after_gap:?}"
        );
    }

    #[test]
    fn a_late_reading_opens_nothing_but_counts_later() {
        let mut fold = fold();
        for second in [0, 10, 20, 50] {
            fold.arrive(reading(1, second, 2.5), Effect::Acts);
        }
        assert_eq!(fold.arrive(reading(1, 30, 2.5), Effect::Acts), Arrival::Late);
        assert_eq!(fold.open(), None);
        fold.arrive(reading(1, 60, 2.5), Effect::Acts);
        assert_eq!(fold.open(), Some(Severity::Page));
    }

    #[test]
    fn unjudged_steps_neither_open_nor_clear_nor_break_the_window() {
        let mut fold = fold();
        run(&mut fold, &[2.5; 4]);
        fold.arrive(reading(1, 40, None), Effect::Acts);
        assert_eq!(fold.open(), None);
        fold.arrive(reading(1, 50, 2.5), Effect::Acts);
        assert_eq!(fold.open(), Some(Severity::Page));
    }

    #[test]
    fn a_spool_opens_and_clears_what_nobody_was_told_of_and_clears_nothing_else() {
        let opened = |effect| {
            let mut fold = fold();
            for i in 0..7 {
                fold.arrive(reading(1, i * 10, 2.5), effect);
            }
            assert_eq!(fold.open(), Some(Severity::Page));
            fold
        };
        let goes_quiet = |mut fold: MachineFold, effect| {
            for i in 7..40 {
                fold.arrive(reading(1, i * 10, 0.3), effect);
            }
            fold.open()
        };
        assert_eq!(goes_quiet(opened(Effect::Counts), Effect::Counts), None);
        let told = goes_quiet(opened(Effect::Acts), Effect::Counts);
        assert_eq!(told, Some(Severity::Page));
        assert_eq!(goes_quiet(opened(Effect::Acts), Effect::Acts), None);
    }

    proptest! {
        #[test]
        fn resuming_anywhere_gives_the_same_transitions(
            levels in proptest::collection::vec((0f32..3.0, 0i64..4), 1..120),
            cut in 0usize..120,
        ) {
            let readings: Vec<_> = levels
                .iter()
                .enumerate()
                .map(|(i, (level, jitter))| reading(i as i32 % 2, i as i64 * 5 - jitter * 7 + 100, *level))
                .collect();
            let cut = cut.min(readings.len());
            let mut whole = fold();
            let expected: Vec<_> = readings.iter().map(|r| whole.arrive(*r, Effect::Acts)).collect();
            let mut first = fold();
            let mut got: Vec<_> = readings[..cut].iter().map(|r| first.arrive(*r, Effect::Acts)).collect();
            let rules = Persistence::default();
            let next = readings[cut..].iter().map(|r| r.key.captured_at).min();
            let reach = rules.reach_back(first.open(), STEP);
            let recent = |r: &&JudgedReading| next.is_none_or(|next| r.key.captured_at >= next.floor_to(STEP) - reach);
            let before = readings[..cut].iter().filter(recent).copied();
            let mut second = MachineFold::resume(rules, STEP, first.open(), before);
            got.extend(readings[cut..].iter().map(|r| second.arrive(*r, Effect::Acts)));
            prop_assert_eq!(got, expected);
        }
    }
}
