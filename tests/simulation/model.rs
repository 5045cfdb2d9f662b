//! What should be: a machine's incidents and pages as they follow from its readings, in the order in which they were
//! committed, and from what people did. Written from the documentation, the plain and slow way, without the product's
//! own fold.

mod alarm;
mod people;

use std::collections::{BTreeMap, BTreeSet};

use alarm::Alarm;
pub(crate) use people::{OUT_OF_SERVICE, SHELVED, Service};

/// Microseconds of a step.
pub(crate) const STEP: i64 = 10_000_000;

const K: usize = 5;
const N: i64 = 8;
const CLEAR_STEPS: i64 = 20;
const ALERT: f32 = 1.0;
const PAGE: f32 = 2.0;

/// A reading that is in the database.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Row {
    /// Absent when unjudged.
    pub(crate) level: Option<f32>,
    /// Judged and stored, and nothing else.
    pub(crate) historical: bool,
    /// It may open, raise and clear; else it counts.
    pub(crate) acts: bool,
    /// Of its content.
    pub(crate) hash: i64,
}

impl Row {
    pub(crate) fn is_flagged(&self) -> bool {
        !self.historical && self.level.is_some_and(|level| level >= ALERT)
    }
}

/// Something that happened to an incident: its kind, the reason or severity where there is one, and the start of the step, none for
/// what people did.
pub(crate) type Event = (&'static str, &'static str, Option<i64>);

/// An incident that should be there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Incident {
    pub(crate) is_page: bool,
    pub(crate) is_acknowledged: bool,
    pub(crate) opened_at: i64,
    pub(crate) closed_at: Option<i64>,
    pub(crate) events: Vec<Event>,
    /// What its receivers are to be told: action and reason, and the start of the step.
    pub(crate) pages: Vec<Event>,
    alarm: Alarm,
    /// The newest page that was kept while the machine is suppressed, and is to go out if it is still so then.
    kept: Option<Event>,
    /// What is to be said of it once readings come from near now.
    pub(crate) untold: Option<&'static str>,
}

impl Incident {
    pub(crate) fn state(&self) -> &'static str {
        match (self.closed_at, self.is_acknowledged) {
            (None, false) => "active_unacknowledged",
            (None, true) => "active_acknowledged",
            (Some(_), false) => "returned_unacknowledged",
            (Some(_), true) => "normal",
        }
    }

    /// The alert becomes a page; a spool's past is told when it is near now.
    fn escalate(&mut self, step: i64, acts: bool, service: Option<Service>) {
        if acts {
            self.untold = None;
            self.trigger("escalated", "escalated", step, service);
            return;
        }
        self.events.push(("escalated", "", Some(step)));
        self.is_acknowledged = false;
        self.alarm.raise("escalated", step);
        self.untold = Some("escalated");
    }

    fn trigger(&mut self, kind: &'static str, reason: &'static str, step: i64, service: Option<Service>) {
        self.events
            .push((kind, if kind == "re_alarmed" { reason } else { "" }, Some(step)));
        self.is_acknowledged = false;
        self.alarm.raise(reason, step);
        self.tell(reason, step, service);
    }

    /// People were told of it.
    fn is_told(&self) -> bool {
        self.pages.iter().any(|(action, ..)| *action == "trigger")
    }

    /// Tells people, or keeps that while the machine is suppressed.
    fn tell(&mut self, reason: &'static str, step: i64, service: Option<Service>) {
        let page = ("trigger", reason, Some(step));
        if service.is_some() {
            self.events.push(("page_suppressed", reason, Some(step)));
            self.kept = Some(page);
        } else {
            self.pages.push(page);
            self.kept = None;
        }
    }
}

/// A machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    /// Its readings, by capture time and sensor.
    pub(crate) rows: BTreeMap<(i64, i32), Row>,
    /// Its incidents, oldest first.
    pub(crate) incidents: Vec<Incident>,
    hot_until: Option<i64>,
    /// What keeps its pages from people.
    service: Option<Service>,
}

/// The level of a step and its sensors' own.
#[derive(Debug, Clone, Default)]
struct Step {
    level: Option<f32>,
    sensors: BTreeMap<i32, f32>,
}

fn floor(at: i64) -> i64 {
    at.div_euclid(STEP) * STEP
}

fn median(levels: &mut [f32]) -> f32 {
    levels.sort_by(f32::total_cmp);
    let middle = levels.len() / 2;
    if levels.len() % 2 == 1 {
        levels[middle]
    } else {
        f32::midpoint(levels[middle - 1], levels[middle])
    }
}

impl Machine {
    /// The incident it has open.
    pub(crate) fn open(&self) -> Option<&Incident> {
        self.incidents.last().filter(|incident| incident.closed_at.is_none())
    }

    fn open_mut(&mut self) -> Option<&mut Incident> {
        self.incidents
            .last_mut()
            .filter(|incident| incident.closed_at.is_none())
    }

    /// Whether a reading captured at `at` is folded although nothing of its batch is flagged.
    pub(crate) fn is_folded(&self, at: i64) -> bool {
        self.open().is_some() || self.hot_until.is_some_and(|until| until >= at)
    }

    /// A transaction stored readings without folding them.
    pub(crate) fn store(&mut self, rows: &[((i64, i32), Row)]) {
        self.rows.extend(rows.iter().copied());
    }

    /// A transaction that held the machine's lock stored readings and folded them; how many transitions that made.
    pub(crate) fn fold(&mut self, rows: &[((i64, i32), Row)]) -> usize {
        let before = self
            .incidents
            .iter()
            .map(|incident| incident.events.len())
            .sum::<usize>();
        let live = self.rows.iter().filter(|(_, row)| !row.historical);
        let newest = live.map(|((at, _), _)| floor(*at)).max();
        let (late, mut current): (Vec<_>, Vec<_>) =
            rows.iter().copied().partition(|((at, _), _)| Some(floor(*at)) < newest);
        self.store(&late);
        for ((at, _), row) in &late {
            self.keep_hot(*at, *row);
        }
        current.sort_by_key(|(key, _)| *key);
        for (key, row) in current {
            self.store(&[(key, row)]);
            if !row.acts {
                self.keep_hot(key.0, row);
            }
            self.arrive(floor(key.0), row.acts);
        }
        self.incidents
            .iter()
            .map(|incident| incident.events.len())
            .sum::<usize>()
            - before
    }

    fn keep_hot(&mut self, at: i64, row: Row) {
        if row.is_flagged() {
            self.hot_until = self.hot_until.max(Some(at + 2 * N * STEP));
        }
    }

    /// A reading of the newest step has come.
    fn arrive(&mut self, step: i64, acts: bool) {
        let steps = self.steps(step);
        let last = |count: i64| {
            steps
                .iter()
                .rev()
                .filter(move |(start, _)| **start >= step - 2 * count * STEP)
        };
        let judged = |count: i64| last(count).filter_map(|(_, of)| of.level).take(count as usize);
        if steps.get(&step).and_then(|newest| newest.level).is_none() {
            return; // an unjudged step decides nothing
        }
        let at = |line: f32| judged(N).filter(|level| *level >= line).count() >= K;
        let quiet = |line: f32| judged(CLEAR_STEPS).take_while(|level| *level < line).count() as i64 >= CLEAR_STEPS;
        let service = self.service;
        match self.open_mut() {
            None if at(PAGE) => self.begin(true, step, acts),
            None if at(ALERT) => self.begin(false, step, acts),
            Some(open) if !open.is_page && at(PAGE) => {
                open.is_page = true;
                open.escalate(step, acts, service);
            }
            // What people were told of is not cleared by a spool's past.
            Some(open)
                if (acts || !open.is_page || open.untold.is_some()) && quiet(if open.is_page { 1.5 } else { 0.5 }) =>
            {
                open.events.push(("cleared", "", Some(step)));
                open.closed_at = Some(step);
                // Who was told of nothing is told of no end.
                if open.is_told() {
                    open.pages.push(("resolve", "cleared", Some(step)));
                }
                if service.is_some_and(|service| service.one_shot) {
                    open.events.push(("restored", "", None));
                    self.service = None;
                }
            }
            Some(open) if acts && at(PAGE) => {
                // What a spool kept back is still so.
                if let Some(reason) = open.untold.take() {
                    open.tell(reason, step, service);
                }
            }
            _ => {}
        }
        let kth = |levels: Vec<f32>| {
            let mut levels = levels;
            levels.sort_by(|a, b| b.total_cmp(a));
            levels.get(K - 1).copied()
        };
        let held = kth(judged(N).collect());
        let names: BTreeSet<i32> = steps.values().flat_map(|step| step.sensors.keys().copied()).collect();
        let at_page = names.into_iter().filter(|sensor| {
            let own = last(N)
                .filter_map(|(_, of)| of.sensors.get(sensor).copied())
                .take(N as usize);
            kth(own.collect()).is_some_and(|level| level >= PAGE)
        });
        let at_page: BTreeSet<i32> = at_page.collect();
        if let Some(open) = self.open_mut().filter(|open| open.is_page) {
            open.alarm.observe(step, held, at_page);
            if acts && let Some(reason) = open.alarm.due(step) {
                open.trigger("re_alarmed", reason, step, service);
            }
        }
    }

    fn begin(&mut self, is_page: bool, step: i64, acts: bool) {
        let mut incident = Incident {
            is_page,
            opened_at: step,
            events: vec![("opened", if is_page { "page" } else { "alert" }, Some(step))],
            ..Incident::default()
        };
        if is_page && acts {
            incident.tell("opened", step, self.service);
        } else if is_page {
            incident.untold = Some("opened");
        }
        self.incidents.push(incident);
    }

    /// The steps that can matter to one, that one last.
    fn steps(&self, newest: i64) -> BTreeMap<i64, Step> {
        let mut levels: BTreeMap<i64, BTreeMap<i32, Vec<f32>>> = BTreeMap::new();
        for ((at, sensor), row) in self.rows.range((newest - 2 * CLEAR_STEPS * STEP, i32::MIN)..) {
            if let Some(level) = row.level.filter(|_| !row.historical) {
                levels
                    .entry(floor(*at))
                    .or_default()
                    .entry(*sensor)
                    .or_default()
                    .push(level);
            }
        }
        let of = |sensors: BTreeMap<i32, Vec<f32>>| {
            let sensors = sensors
                .into_iter()
                .map(|(sensor, mut levels)| (sensor, median(&mut levels)));
            let sensors: BTreeMap<i32, f32> = sensors.collect();
            Step {
                level: sensors.values().copied().reduce(f32::max),
                sensors,
            }
        };
        levels
            .into_iter()
            .map(|(start, sensors)| (start, of(sensors)))
            .collect()
    }
}
