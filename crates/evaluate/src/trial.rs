//! One machine judged, strictly causally, under limits that other machines' healthy histories set.
//!
//! Commissioning, scores, levels and incidents are the code that serves; nothing of the machine itself but its first
//! readings goes into its reference, and nothing of it at all into its limits.

mod explained;
mod limits;

use std::ops::Range;
use std::time::Duration;

use tocsin_detect::{Commissioned, FitError, Fleet, MalformedModel, Offset, Reference, Rows};
use tocsin_domain::{Detector, OperatingState, Scores, SensorId, Severity, Timestamp};
use tocsin_judge::threshold_set::LinesError;
use tocsin_judge::{JudgedReading, ThresholdSet, Transition, Vigil};
use tocsin_models::NetworkError;

use crate::life::{MachineLife, SensorLife};
use crate::rules::Rules;
use crate::textbook::TrainingError;
use crate::variation::Variation;

/// Why a machine has no trial.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// There is nobody to learn limits from.
    #[error("fleet: no other machine has a healthy history of {0} readings after commissioning")]
    NoFleet(u32),
    /// A sensor can't be commissioned.
    #[error("{machine}: {source}")]
    Commissioning {
        /// The machine.
        machine: String,
        /// What is wrong with its readings.
        source: FitError,
    },
    /// No machine has a healthy stretch that is long enough.
    #[error("ramp-days: no machine has {days} healthy days after commissioning and settling")]
    TooShort {
        /// Days asked for.
        days: f64,
    },
    /// A baseline can't follow its sensor.
    #[error("{machine}: {source}")]
    Following {
        /// The machine.
        machine: String,
        /// What is wrong with the median it would follow to.
        source: MalformedModel,
    },
    /// The lines make no threshold set.
    #[error(transparent)]
    Lines(#[from] LinesError),
    /// The class is asked to be larger than it is.
    #[error("class-size: {asked} machines, and the smallest fold has {there} others")]
    ClassSize {
        /// Machines to learn from.
        asked: usize,
        /// Those there are.
        there: usize,
    },
    /// No network could be trained on the other machines.
    #[error("{machine}: training on the others: {source}")]
    Training {
        /// The machine.
        machine: String,
        /// What the trainer says.
        source: TrainingError,
    },
    /// The network that was trained can't be run.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// A machine whose sensors have been commissioned: what each adds to the fleet's spread. Sensors with too few readings
/// have nothing.
#[derive(Debug)]
pub struct Asset<'a> {
    /// Its readings.
    pub life: &'a MachineLife,
    pub(crate) commissioned: Vec<Option<Commissioned>>,
}

impl<'a> Asset<'a> {
    /// Commissions every sensor that has the readings for it.
    pub fn new(life: &'a MachineLife, rules: &Rules) -> Result<Self, TrialError> {
        let commission = |sensor: &SensorLife| {
            let readings = rules.commissioning();
            if sensor.readings() < readings.end {
                return Ok(None);
            }
            let rows = Rows::new(sensor.log_rows(readings.clone()), sensor.bins)?;
            Commissioned::fit(rows, &sensor.conditions[readings]).map(Some)
        };
        let commissioned = life.sensors.iter().map(commission).collect::<Result<_, FitError>>();
        Ok(Self {
            life,
            commissioned: commissioned.map_err(|source| TrialError::Commissioning {
                machine: life.name.clone(),
                source,
            })?,
        })
    }

    /// What its sensors are judged against when `others` are the fleet.
    pub(crate) fn references(
        &self,
        others: &[&Asset<'_>],
        rules: &Rules,
    ) -> Result<Vec<Option<Reference>>, TrialError> {
        let fleet = Fleet::of(others.iter().flat_map(|other| other.commissioned.iter().flatten()));
        let reference = |(sensor, commissioned): (&SensorLife, &Option<Commissioned>)| {
            let Some(commissioned) = commissioned else {
                return Ok(None);
            };
            let readings = rules.commissioning();
            let linear = Rows::new(sensor.linear_rows(readings.clone()), sensor.bins)?;
            let conditions = &sensor.conditions[readings];
            Reference::new(commissioned, linear, conditions, fleet.as_ref(), rules.kappa).map(Some)
        };
        let references = self.life.sensors.iter().zip(&self.commissioned).map(reference);
        references
            .collect::<Result<_, FitError>>()
            .map_err(|source| TrialError::Commissioning {
                machine: self.life.name.clone(),
                source,
            })
    }
}

/// A machine under trial: its references and its limits.
#[derive(Debug)]
pub struct Trial {
    references: Vec<Option<Reference>>,
    /// The limits, one set for the whole life.
    pub limits: ThresholdSet,
    rules: Rules,
}

/// Working space of scoring.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    log: Vec<f32>,
    z: Vec<f32>,
}

/// Scores one reading; growth, shift and narrowband on the mean of the sensor's last spectra where that is asked for.
pub(crate) fn score(
    reference: &Reference,
    life: &SensorLife,
    reading: usize,
    rules: &Rules,
    scratch: &mut Scratch,
    scores: &mut Scores,
) {
    let Scratch { log, z } = scratch;
    z.resize(life.bins, 0.0);
    let oldest = (reading + 1).saturating_sub(rules.smoothing);
    let condition = life.conditions[reading];
    let now = (life.linear_rows(reading..reading + 1), condition);
    if oldest == reading {
        let log = life.log_rows(reading..reading + 1);
        return reference.score_into(now, (log, reference.baseline.offset(condition)), z, scores);
    }
    log.clear();
    log.resize(life.bins, 0.0);
    for row in life.log_rows(oldest..reading + 1).chunks_exact(life.bins) {
        for (sum, value) in log.iter_mut().zip(row) {
            *sum += value;
        }
    }
    let count = (reading + 1 - oldest) as f32;
    for sum in log.iter_mut() {
        *sum /= count;
    }
    let offsets = life.conditions[oldest..=reading]
        .iter()
        .map(|of| reference.baseline.offset(*of).0);
    let [speed, load] = offsets.fold([0.0, 0.0], |sum, [speed, load]| [sum[0] + speed, sum[1] + load]);
    reference.score_into(now, (log, Offset([speed / count, load / count])), z, scores);
}

/// What a machine was doing when a reading was taken, as its sensor's reference knows it.
pub(crate) fn state(reference: &Reference, life: &SensorLife, reading: usize) -> OperatingState {
    reference.baseline.state(life.conditions[reading])
}

/// An incident of a trial, in machine steps from the first of its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incident {
    /// The step that opened it.
    pub opened: usize,
    /// The step at which it became a page, if it did.
    pub paged: Option<usize>,
    /// The step that cleared it, if any did.
    pub closed: Option<usize>,
}

/// What became of a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Its machine steps.
    pub steps: usize,
    /// Its incidents, in order.
    pub incidents: Vec<Incident>,
    /// What brought each of its pages about, in order.
    pub pages: Vec<Deciding>,
}

/// What decided that an incident is a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deciding {
    /// The arrival that completed it.
    pub arrival: usize,
    /// The sensor with the highest level in its step.
    pub sensor: SensorId,
    /// The detector that decided that.
    pub detector: Detector,
}

impl Course {
    /// The step at which a page opened that is open somewhere in `steps`.
    pub fn page_in(&self, steps: &Range<usize>) -> Option<usize> {
        let open = |incident: &Incident| incident.paged.filter(|opened| incident.is_open_in(*opened, steps));
        self.incidents.iter().find_map(open)
    }

    /// The step at which an alert or a page opened that is open somewhere in `steps`.
    pub fn alert_in(&self, steps: &Range<usize>) -> Option<usize> {
        let open = |incident: &Incident| incident.is_open_in(incident.opened, steps).then_some(incident.opened);
        self.incidents.iter().find_map(open)
    }
}

impl Incident {
    fn is_open_in(&self, opened: usize, steps: &Range<usize>) -> bool {
        opened < steps.end && self.closed.is_none_or(|closed| closed > steps.start)
    }
}

/// Counts the machine steps that readings begin.
struct Steps {
    step: Duration,
    newest: Timestamp,
    count: usize,
}

impl Steps {
    fn new(rules: &Rules) -> Self {
        Self {
            step: rules.step(),
            newest: Timestamp::MIN,
            count: 0,
        }
    }

    fn arrive(&mut self, reading: &JudgedReading) {
        let start = reading.key.captured_at.floor_to(self.step);
        if start > self.newest {
            (self.newest, self.count) = (start, self.count + 1);
        }
    }
}

impl Trial {
    /// Learns from `fleet`, which must not hold the machine itself.
    pub fn new(asset: &Asset<'_>, fleet: &[&Asset<'_>], rules: &Rules) -> Result<Self, TrialError> {
        Self::varied(asset, fleet, rules, Variation::default())
    }

    /// The same with something done otherwise.
    pub fn varied(
        asset: &Asset<'_>,
        fleet: &[&Asset<'_>],
        rules: &Rules,
        variation: Variation,
    ) -> Result<Self, TrialError> {
        let references = variation.references(asset, fleet, rules)?;
        let limits = limits::learn((asset, &references), fleet, rules, variation)?;
        Ok(Self::under(references, limits, rules))
    }

    /// A machine whose sensors are held against `references`, under given limits.
    pub(crate) fn under(references: Vec<Option<Reference>>, limits: ThresholdSet, rules: &Rules) -> Self {
        Self {
            references,
            limits,
            rules: *rules,
        }
    }

    /// Scores of a reading; none before its sensor is commissioned.
    fn scores(&self, sensor: usize, life: &SensorLife, reading: usize, scratch: &mut Scratch) -> Scores {
        let mut scores = Scores::default();
        if let Some(reference) = &self.references[sensor]
            && reading >= self.rules.commissioning().end
        {
            score(reference, life, reading, &self.rules, scratch, &mut scores);
        }
        scores
    }

    /// Judges each of a machine's readings, in order of arrival.
    pub fn judge(&self, life: &MachineLife) -> Vec<JudgedReading> {
        let mut scratch = Scratch::default();
        let judged = life
            .arrivals
            .iter()
            .map(|arrival| self.judge_one(life, *arrival, &mut scratch));
        judged.collect()
    }

    /// Judges some arrivals of a machine whose readings were changed, in place of what was judged before.
    pub fn judge_again(&self, life: &MachineLife, arrivals: Range<usize>, judged: &mut [JudgedReading]) {
        let mut scratch = Scratch::default();
        for at in arrivals {
            judged[at] = self.judge_one(life, life.arrivals[at], &mut scratch);
        }
    }

    fn judge_one(&self, life: &MachineLife, (sensor, reading): (usize, usize), scratch: &mut Scratch) -> JudgedReading {
        let of = &life.sensors[sensor];
        let scores = self.scores(sensor, of, reading, scratch);
        let state = match &self.references[sensor] {
            Some(reference) => state(reference, of, reading),
            None => of.conditions[reading].into(),
        };
        JudgedReading::new(of.key(reading), &self.limits.judge(&scores, state, false))
    }

    /// Machine steps that readings in order of arrival make.
    pub fn steps_of(&self, readings: &[JudgedReading]) -> usize {
        let mut steps = Steps::new(&self.rules);
        for reading in readings {
            steps.arrive(reading);
        }
        steps.count
    }

    /// Machine steps of a machine, judged in order of arrival, until the last of its sensors had been commissioned. Sensors
    /// that never are don't count.
    pub fn commissioning_steps(&self, life: &MachineLife, judged: &[JudgedReading]) -> usize {
        let end = self.rules.commissioning().end;
        let learns = |(sensor, reading): &(usize, usize)| self.references[*sensor].is_some() && *reading < end;
        let last = life.arrivals.iter().rposition(learns);
        last.map_or(0, |last| self.steps_of(&judged[..=last]))
    }

    /// Folds judged readings, in order of arrival, into incidents.
    pub fn fold(&self, readings: &[JudgedReading]) -> Course {
        let mut vigil = Vigil::new(self.rules.persistence, self.rules.step());
        let mut steps = Steps::new(&self.rules);
        let (mut incidents, mut pages): (Vec<Incident>, Vec<Deciding>) = (Vec::new(), Vec::new());
        for (arrival, reading) in readings.iter().enumerate() {
            steps.arrive(reading);
            let at = steps.count - 1;
            let Some((window, transition)) = vigil.fold(*reading) else {
                continue;
            };
            if let (Transition::Opened(Severity::Page) | Transition::Escalated, Some(step)) =
                (transition, window.step.level)
            {
                pages.push(Deciding {
                    arrival,
                    sensor: step.sensor,
                    detector: step.detector,
                });
            }
            match transition {
                Transition::Opened(severity) => incidents.push(Incident {
                    opened: at,
                    paged: (severity == Severity::Page).then_some(at),
                    closed: None,
                }),
                Transition::Escalated => incidents.last_mut().expect("one is open").paged = Some(at),
                Transition::Cleared => incidents.last_mut().expect("one is open").closed = Some(at),
            }
        }
        Course {
            steps: steps.count,
            incidents,
            pages,
        }
    }
}

#[cfg(test)]
mod tests;
