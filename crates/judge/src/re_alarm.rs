//! Never deaf to the second fault: when an incident that somebody has taken must be heard of again (re-alarming, in the
//! words of ISA-18.2).
//!
//! Whoever acknowledges an incident knows how far it went then: the level that held, the sensors at the page line, the
//! bins that stood out. What goes beyond that is news: a level one (and a quarter) higher, another sensor, other bins. A single step is
//! none: levels and sensors need k of the last n, bins as many readings. Each reason is said at most once in
//! [`Persistence::re_alarm`]; what is held back by that is said when the time is over, if it is still true. That an alert
//! becomes a page is a transition of its own, and nothing holds it back.
//!
//! **Invariant:** nothing is due while nobody has acknowledged: the page that is out says enough.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use tocsin_domain::{Detector, Level, SensorId, Timestamp};

use crate::{PageReason, Persistence};

/// A rise by this much over what was acknowledged is news…
const RISE: f32 = 1.0;

/// …and by this share of it: levels of fitted tails go into the tens, where a level more is nothing.
const RISE_SHARE: f32 = 0.25;

/// What stands out has changed when so much of it is in other bins.
const MOVED: f32 = 0.5;

/// How far from a known bin a bin still is the same line: speed moves lines a little.
const SAME_LINE: u16 = 1;

/// Shares below this are not kept: they are no part of half of the whole.
const LEAST_SHARE: f32 = 0.005;

/// How far a machine's trouble goes by its last steps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Held {
    /// The level that k of the last n judged steps reached; none with fewer than k of them.
    pub level: Option<Level>,
    /// Sensors that were at the page line in k of the last n judged steps themselves: the level that k of them reached,
    /// and the detector of the newest.
    pub sensors: BTreeMap<SensorId, (Level, Detector)>,
}

/// What there is to know of an incident.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Extent {
    /// The highest level that held in the last steps, as many as clear an incident.
    level: f32,
    /// Sensors that have been at the page line since it was taken last.
    sensors: BTreeSet<SensorId>,
    /// Where it stood out at each of them, to each kind of detector.
    bins: BTreeMap<Look, BTreeMap<SensorId, Bins>>,
}

/// What a detector's bins mean. Those of one kind say nothing of another's: when the network is gone, others decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Look {
    /// Squared error of the network.
    Model,
    /// Squared rise over the baseline.
    Rise,
    /// Squared deviation from it, either way.
    Shift,
}

impl Look {
    fn of(detector: Detector) -> Self {
        match detector {
            Detector::Shift => Self::Shift,
            other if other.needs_baseline() => Self::Rise,
            _ => Self::Model,
        }
    }
}

/// Share of each bin in what a sensor's readings at page level showed, the newest weighing most.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Bins {
    shares: BTreeMap<u16, f32>,
    readings: u32,
}

impl Bins {
    /// Takes in what each bin adds to one reading; the weight of those before goes down by 1/n.
    fn see(&mut self, bin_error: &[f32], rules: &Persistence) {
        let total: f32 = bin_error.iter().sum();
        if total <= 0.0 {
            return;
        }
        let weight = if self.readings == 0 { 1.0 } else { 1.0 / rules.n as f32 };
        let blend = |(bin, error): (usize, &f32)| {
            let before = self.shares.get(&(bin as u16)).copied().unwrap_or(0.0);
            let share = before + weight * (error / total - before);
            (share >= LEAST_SHARE).then_some((bin as u16, share))
        };
        self.shares = bin_error.iter().enumerate().filter_map(blend).collect();
        self.readings = self.readings.saturating_add(1);
    }

    /// Share of what stands out, 0 to 1, that is in bins where `before` had less.
    fn moved_from(&self, before: &Self) -> f32 {
        let near = |bin: u16| {
            let same_line = bin.saturating_sub(SAME_LINE)..=bin.saturating_add(SAME_LINE);
            before
                .shares
                .range(same_line)
                .map(|(_, share)| *share)
                .fold(0.0, f32::max)
        };
        let new: f32 = self
            .shares
            .iter()
            .map(|(bin, share)| (share - near(*bin)).max(0.0))
            .sum();
        let whole: f32 = self.shares.values().sum();
        if whole > 0.0 { new / whole } else { 0.0 }
    }
}

/// Why an acknowledged incident is paged again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// The level that holds is one above what held around the acknowledgement, and a quarter above it.
    LevelRose,
    /// A sensor that was not at the page line is.
    AnotherSensor(SensorId),
    /// Half of what stands out at a sensor, or more, is in bins where it was not; the sensor is still at the page line.
    OtherBins(SensorId),
}

impl Cause {
    /// What its page says.
    pub fn reason(&self) -> PageReason {
        match self {
            Self::LevelRose => PageReason::LevelRose,
            Self::AnotherSensor(_) => PageReason::AnotherSensor,
            Self::OtherBins(_) => PageReason::OtherBins,
        }
    }

    /// The sensor it is about; none where it is the machine's level.
    pub fn sensor(&self) -> Option<SensorId> {
        match self {
            Self::LevelRose => None,
            Self::AnotherSensor(sensor) | Self::OtherBins(sensor) => Some(*sensor),
        }
    }
}

/// What an open incident has shown, and what of it people know. Kept with the incident, as JSON.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReAlarm {
    now: Extent,
    /// Sensors at the page line now.
    at_page: BTreeSet<SensorId>,
    /// The level that held at each of the last steps, oldest first, and when the newest of them began.
    levels: VecDeque<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    newest_step: Option<Timestamp>,
    /// As it was when somebody took it; none while nobody has.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<Extent>,
    /// When each reason was last said.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    said: BTreeMap<PageReason, Timestamp>,
    /// What is to be said once readings come from near now; none when nothing is kept back.
    #[serde(skip_serializing_if = "Option::is_none")]
    untold: Option<PageReason>,
}

impl ReAlarm {
    /// It reached page level by readings from far before now: nobody is told until those from near now say the same.
    pub fn keep_back(&mut self, reason: PageReason) {
        self.untold = Some(reason);
    }

    /// What nobody was told yet.
    pub fn untold(&self) -> Option<PageReason> {
        self.untold
    }

    /// Nothing is kept back any more: answers what was.
    pub fn tell(&mut self) -> Option<PageReason> {
        self.untold.take()
    }

    /// Takes note of what each bin adds to what a detector saw of a reading at page level. Where an incident was taken
    /// before there were k such readings of a sensor, those up to the kth are what was known.
    pub fn see(&mut self, sensor: SensorId, by: Detector, bin_error: &[f32], rules: &Persistence) {
        fn of(extent: &mut Extent, look: Look, sensor: SensorId) -> &mut Bins {
            extent.bins.entry(look).or_default().entry(sensor).or_default()
        }
        let look = Look::of(by);
        let now = of(&mut self.now, look, sensor);
        now.see(bin_error, rules);
        let known = self.known.as_mut().map(|known| of(known, look, sensor));
        if let Some(known) = known.filter(|known| known.readings < rules.k) {
            known.clone_from(now);
        }
    }

    /// Takes note of how far the trouble goes at the step that begins at `step`.
    pub fn observe(&mut self, step: Timestamp, held: &Held, rules: &Persistence) {
        if let Some(Level(level)) = held.level {
            if self.newest_step == Some(step) {
                self.levels.pop_back();
            }
            self.levels.push_back(level);
            while self.levels.len() > rules.clear_steps as usize {
                self.levels.pop_front();
            }
            self.newest_step = Some(step);
            self.now.level = self.levels.iter().copied().fold(0.0, f32::max);
        }
        self.at_page = held.sensors.keys().copied().collect();
        self.now.sensors.extend(&self.at_page);
    }

    /// Somebody has taken it, and has not been told of more since.
    pub fn is_taken(&self) -> bool {
        self.known.is_some()
    }

    /// Somebody took the incident as it stands.
    pub fn acknowledge(&mut self) {
        self.untold = None;
        self.known = Some(self.now.clone());
        self.now.sensors.clone_from(&self.at_page);
    }

    /// What is to be said at the step that begins at `at`: the first of the causes that are true and not held back.
    pub fn due(&self, at: Timestamp, rules: &Persistence) -> Option<Cause> {
        let known = self.known.as_ref()?;
        let may_be_said = |cause: &Cause| {
            let last = self.said.get(&cause.reason());
            last.is_none_or(|last| at >= *last + rules.re_alarm())
        };
        self.causes(known).find(may_be_said)
    }

    /// It was paged again: nobody has acknowledged that yet.
    pub fn raise(&mut self, reason: PageReason, at: Timestamp) {
        self.said.insert(reason, at);
        self.known = None;
    }

    fn causes<'a>(&'a self, known: &'a Extent) -> impl Iterator<Item = Cause> + 'a {
        let level = self.levels.back().copied().unwrap_or(0.0);
        let news = known.level + RISE.max(RISE_SHARE * known.level);
        let rose = (level >= news).then_some(Cause::LevelRose);
        let others = self.at_page.difference(&known.sensors);
        let still = self.at_page.intersection(&known.sensors);
        let changed = still.filter(|sensor| self.has_other_bins(known, **sensor));
        rose.into_iter()
            .chain(others.map(|sensor| Cause::AnotherSensor(*sensor)))
            .chain(changed.map(|sensor| Cause::OtherBins(*sensor)))
    }

    fn has_other_bins(&self, known: &Extent, sensor: SensorId) -> bool {
        let moved = |(look, sensors): (&Look, &BTreeMap<SensorId, Bins>)| {
            let before = known.bins.get(look).and_then(|sensors| sensors.get(&sensor));
            let moved = sensors
                .get(&sensor)
                .zip(before)
                .map(|(now, before)| now.moved_from(before));
            moved.is_some_and(|moved| moved >= MOVED)
        };
        self.now.bins.iter().any(moved)
    }
}

#[cfg(test)]
mod tests;
