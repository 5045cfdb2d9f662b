//! From when on a sensor's rows are held out, as [`TrainingSet::split_in_time`](crate::TrainingSet) has it, where rows are
//! not in memory together.

use std::collections::HashMap;

use tocsin_domain::Timestamp;

/// Finds the moments, sensor by sensor.
#[derive(Debug)]
pub struct HoldOut {
    share: f64,
    cuts: HashMap<u32, Timestamp>,
    /// The moments of all rows so far, while no sensor has enough rows of its own: few of each.
    few: Vec<Timestamp>,
}

/// From when on rows are held out.
#[derive(Debug, Clone, PartialEq)]
pub enum Cuts {
    /// Each sensor's own moment.
    BySensor(HashMap<u32, Timestamp>),
    /// One for all: no sensor has enough rows of its own.
    ForAll(Option<Timestamp>),
}

impl HoldOut {
    /// The last `share` of each sensor's rows are to be held out.
    pub fn new(share: f64) -> Self {
        Self {
            share,
            cuts: HashMap::new(),
            few: Vec::new(),
        }
    }

    /// Adds a sensor: the times of all its rows, in order.
    pub fn add(&mut self, sensor: u32, times: &[Timestamp]) {
        match cut(times, self.share) {
            Some(cut) => {
                self.cuts.insert(sensor, cut);
                self.few = Vec::new();
            }
            None if self.cuts.is_empty() => self.few.extend(times),
            None => {}
        }
    }

    /// The moments of all sensors that were added.
    pub fn finish(mut self) -> Cuts {
        if self.cuts.is_empty() {
            self.few.sort_unstable();
            return Cuts::ForAll(cut(&self.few, self.share));
        }
        Cuts::BySensor(self.cuts)
    }
}

impl Cuts {
    /// Whether a row is held out. Rows of one sensor and moment stand on one side.
    pub fn holds_out(&self, sensor: u32, at: Timestamp) -> bool {
        let cut = match self {
            Self::BySensor(cuts) => cuts.get(&sensor),
            Self::ForAll(cut) => cut.as_ref(),
        };
        cut.is_some_and(|cut| at >= *cut)
    }
}

/// The time of the first row of the last `share`, of times in order.
fn cut(times: &[Timestamp], share: f64) -> Option<Timestamp> {
    let last = (times.len() as f64 * share).round() as usize;
    (last > 0).then(|| times[times.len() - last])
}
