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
    /// What `readings` make, oldest first.
    steps: Vec<Step>,
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
        let readings: BTreeMap<_, _> = arrived.into_iter().map(|r| (order(r.key), r)).collect();
        Self {
            persistence,
            step,
            steps: steps(readings.values(), step),
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
        let newest = self.steps.last().map(|newest| newest.start);
        self.readings.insert(order(reading.key), reading);
        self.renew(start);
        if newest.is_some_and(|newest| start < newest) {
            return Arrival::Late;
        }
        self.forget(start);
        let window = self.window(&self.steps);
        let counts = effect == Effect::Counts;
        let stays = counts && self.open == Some(Severity::Page) && !self.untold;
        let transition = self
            .decide(&window, &self.steps)
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
        let Some(newest) = self.steps.last().map(|newest| newest.start) else {
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
        while let Some(first) = self.readings.first_entry().filter(|first| first.key().0 < oldest) {
            first.remove();
        }
        let gone = self.steps.partition_point(|step| step.start + self.step <= oldest);
        self.steps.drain(..gone);
        // The oldest may have lost some of its readings.
        if let Some(first) = self.steps.first().filter(|first| first.start < oldest) {
            self.renew(first.start);
        }
    }

    /// Makes a step anew from its readings.
    fn renew(&mut self, start: Timestamp) {
        let (from, to) = ((start, SensorId(i32::MIN)), (start + self.step, SensorId(i32::MIN)));
        let made = steps(self.readings.range(from..to).map(|(_, reading)| reading), self.step);
        let place = self.steps.partition_point(|step| step.start < start);
        let end = place + usize::from(self.steps.get(place).is_some_and(|step| step.start == start));
        self.steps.splice(place..end, made);
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
mod tests;
