//! Machines that run, fail, fail again and recover; and what their gateways have not got rid of yet.

use std::collections::{BTreeSet, VecDeque};

use rand::RngExt;
use rand::rngs::StdRng;
use tocsin_domain::overall::OverallQuantity;
use tocsin_domain::zones::{Boundaries, SeverityZone};

use crate::model::{Row, STEP};

/// Sensors of a machine.
pub(crate) const SENSORS: usize = 3;
/// Steps of a second fault after which it must have been paged: as many as a window has.
const LONG_ENOUGH: u32 = 8;

/// The zones of the machines' class.
pub(crate) fn zone() -> SeverityZone {
    SeverityZone {
        quantity: OverallQuantity::VelocityRms,
        name: None,
        boundaries: Boundaries {
            ab: 2.3,
            bc: 4.5,
            cd: 7.1,
        },
        stop: None,
    }
}

/// What a sensor sends at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    pub(crate) sensor: usize,
    /// Microseconds.
    pub(crate) at: i64,
    /// Velocity rms in mm/s.
    pub(crate) velocity: f32,
    /// The machine stands still: nothing is judged.
    pub(crate) is_stopped: bool,
}

impl Sample {
    /// Its level, as the class's zones have it.
    pub(crate) fn level(&self) -> Option<f32> {
        (!self.is_stopped).then(|| zone().level(self.velocity).0)
    }
}

/// What a machine's sensors send of one step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Batch {
    /// Its number at the machine.
    pub(crate) number: u64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) is_historical: bool,
    /// A second fault holds in it.
    pub(crate) is_second_fault: bool,
}

/// What goes further than people know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The level rises by a level and a quarter.
    Rise,
    /// Another sensor is at the page line.
    AnotherSensor,
    /// An alert becomes a page.
    AlertToPage,
}

impl Kind {
    /// What its page would give as its reason.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Rise => "level_rose",
            Self::AnotherSensor => "another_sensor",
            Self::AlertToPage => "escalated",
        }
    }
}

/// A second fault of an acknowledged incident.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Second {
    pub(crate) kind: Kind,
    sensor: usize,
    level: f32,
    /// Not before this may it be said.
    pub(crate) not_before: i64,
    /// Triggers of the incident before it began.
    pub(crate) pages_before: usize,
    /// Steps it has held that were acknowledged to the sender, in order and in time, and the newest of them.
    held: u32,
    newest: i64,
}

impl Second {
    /// By now it must have been paged.
    pub(crate) fn is_due(&self) -> bool {
        self.held >= LONG_ENOUGH
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Healthy,
    Fault { sensor: usize, level: f32 },
}

/// A machine and its gateway.
#[derive(Debug, Clone)]
pub(crate) struct Plant {
    phase: Phase,
    left: u32,
    batches: u64,
    /// The highest level of its faults while its incident is open, and the sensors that had them.
    highest: f32,
    used: BTreeSet<usize>,
    pub(crate) second: Option<Second>,
    /// Not sent, or not acknowledged: oldest first.
    pub(crate) spool: VecDeque<Batch>,
    /// Held up on the way; they come late.
    pub(crate) held_up: Vec<Batch>,
    /// Acknowledged lately.
    pub(crate) sent: VecDeque<Batch>,
    /// Turns for which nothing gets out.
    pub(crate) offline: u32,
}

impl Plant {
    pub(crate) fn new(rng: &mut StdRng) -> Self {
        Self {
            phase: Phase::Healthy,
            left: rng.random_range(2..20),
            batches: 0,
            highest: 0.0,
            used: BTreeSet::new(),
            second: None,
            spool: VecDeque::new(),
            held_up: Vec::new(),
            sent: VecDeque::new(),
            offline: 0,
        }
    }

    /// Whether a fault is at work to which a second may come.
    pub(crate) fn may_worsen(&self) -> bool {
        self.second.is_none() && self.left > 3 && matches!(self.phase, Phase::Fault { .. })
    }

    /// A second fault that an acknowledged incident of this severity does not know of; none when there is none left.
    pub(crate) fn second_fault(&self, is_page: bool, rng: &mut StdRng) -> Option<Second> {
        let Phase::Fault { sensor, .. } = self.phase else {
            return None;
        };
        let another = (0..SENSORS).find(|other| !self.used.contains(other));
        let (kind, sensor, level) = match (is_page, another) {
            (false, _) => (Kind::AlertToPage, sensor, 2.6),
            (true, Some(other)) if rng.random_bool(0.5) => (Kind::AnotherSensor, other, 2.5),
            _ => (Kind::Rise, sensor, 1.25 * self.highest + 1.3),
        };
        (level < 16.0).then_some(Second {
            kind,
            sensor,
            level,
            not_before: i64::MIN,
            pages_before: 0,
            held: 0,
            newest: i64::MIN,
        })
    }

    /// The second fault is what there is from now on, for a while.
    pub(crate) fn settle(&mut self) {
        let Some(second) = self.second.take() else { return };
        self.used.insert(second.sensor);
        self.highest = self.highest.max(second.level);
        self.left = 6 + self.left.min(10);
        if second.kind != Kind::AnotherSensor {
            self.phase = Phase::Fault {
                sensor: second.sensor,
                level: second.level,
            };
        }
    }

    /// A batch was acknowledged: it is kept as something to send again, and the second fault has held in it. Whether it
    /// has. `acts` says whether it came in time.
    pub(crate) fn is_rid_of(&mut self, number: u64, acts: bool) -> bool {
        self.held_up.retain(|batch| batch.number != number);
        let Some(place) = self.spool.iter().position(|batch| batch.number == number) else {
            return false;
        };
        let Some(batch) = self.spool.remove(place) else {
            return false;
        };
        while self.sent.len() > 40 {
            self.sent.pop_front();
        }
        self.sent.push_back(batch.clone());
        let step = batch
            .samples
            .first()
            .map_or(i64::MIN, |sample| sample.at.div_euclid(STEP) * STEP);
        let Some(second) = self.second.as_mut().filter(|_| batch.is_second_fault && acts) else {
            return false;
        };
        let counts = step >= second.not_before && step > second.newest;
        if counts {
            // Across a gap, what was before is out of the windows' reach.
            let is_gap = step > second.newest.saturating_add(3 * STEP);
            second.held = if is_gap { 1 } else { second.held + 1 };
            second.newest = step;
        }
        counts
    }

    /// What the machine sends at a step; `is_open` says whether it has an incident open.
    pub(crate) fn run(&mut self, step: i64, is_open: bool, rng: &mut StdRng) {
        if self.second.is_none() {
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                self.turn(is_open, rng);
            }
        }
        let samples = (0..SENSORS).filter_map(|sensor| self.sample(sensor, step, rng));
        let samples: Vec<Sample> = samples.collect();
        self.push(samples, false);
    }

    /// Something old, of long before a step, that is only to be kept.
    pub(crate) fn remember(&mut self, step: i64) {
        let sample = Sample {
            sensor: 0,
            at: step - 100 * STEP + 5_000,
            velocity: velocity(3.0),
            is_stopped: false,
        };
        self.push(vec![sample], true);
    }

    fn push(&mut self, samples: Vec<Sample>, is_historical: bool) {
        self.batches += 1;
        if !samples.is_empty() {
            self.spool.push_back(Batch {
                number: self.batches,
                samples,
                is_historical,
                is_second_fault: self.second.is_some() && !is_historical,
            });
        }
    }

    /// A load comes on that a healthy machine bears badly, at about this level.
    pub(crate) fn bear(&mut self, level: f32, is_open: bool, rng: &mut StdRng) {
        if self.phase == Phase::Healthy {
            self.fail(level + rng.random_range(0.0..0.3), is_open, rng);
            self.left = rng.random_range(12..30);
        }
    }

    fn fail(&mut self, level: f32, is_open: bool, rng: &mut StdRng) {
        let sensor = rng.random_range(0..SENSORS);
        self.phase = Phase::Fault { sensor, level };
        // What was before is of an incident that is over; of one that is still to come, where it waits to be sent.
        if !is_open && self.spool.is_empty() && self.held_up.is_empty() {
            (self.highest, self.used) = (0.0, BTreeSet::new());
        }
        self.highest = self.highest.max(level);
        self.used.insert(sensor);
        self.left = rng.random_range(4..45);
    }

    fn turn(&mut self, is_open: bool, rng: &mut StdRng) {
        if self.phase == Phase::Healthy {
            let level = if rng.random_bool(0.7) {
                rng.random_range(2.1..3.2)
            } else {
                rng.random_range(1.2..1.8)
            };
            self.fail(level, is_open, rng);
        } else {
            self.phase = Phase::Healthy;
            // Now and then it fails again before the incident is over.
            self.left = if rng.random_bool(0.8) {
                rng.random_range(22..40)
            } else {
                rng.random_range(3..20)
            };
        }
    }

    fn sample(&self, sensor: usize, step: i64, rng: &mut StdRng) -> Option<Sample> {
        let quiet = rng.random_range(-1.0..0.45);
        let (draw, strays) = (rng.random::<f32>(), rng.random_range(0.5..3.0));
        let mut level = quiet;
        match &self.phase {
            Phase::Fault {
                sensor: bad,
                level: worse,
            } if *bad == sensor => level = *worse,
            Phase::Healthy if draw > 0.96 => level = strays,
            _ => {}
        }
        // What went bad before stays so.
        if self.phase != Phase::Healthy && self.used.contains(&sensor) && level < 2.0 && self.used.len() > 1 {
            level = 2.2;
        }
        let mut is_stopped = false;
        match &self.second {
            Some(second) if second.sensor == sensor => level = second.level,
            Some(_) => {}
            None if draw < 0.02 => return None,
            None if draw < 0.06 => level = quiet,
            None => is_stopped = draw < 0.075,
        }
        Some(Sample {
            sensor,
            at: step + sensor as i64 * 1_000_000,
            velocity: velocity(level),
            is_stopped,
        })
    }
}

/// The velocity of a level.
fn velocity(level: f32) -> f32 {
    let Boundaries { bc, cd, .. } = zone().boundaries;
    bc * (cd / bc).powf(level - 1.0)
}

/// The row that a sample should become.
pub(crate) fn row(sample: &Sample, is_historical: bool, acts: bool, hash: i64) -> Row {
    Row {
        level: sample.level(),
        historical: is_historical,
        acts,
        hash,
    }
}
