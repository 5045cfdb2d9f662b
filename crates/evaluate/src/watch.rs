//! One machine judged as its readings stream by: for fleets too large to hold.

use std::sync::Arc;
use std::time::Duration;

use tocsin_detect::{Reference, log_spectrum_into};
use tocsin_domain::{Condition, ReadingKey, Scores, SensorId, Timestamp};
use tocsin_judge::{JudgedReading, ThresholdSet, Transition, Vigil};

/// A machine under watch: the references of its sensors, its limits and its fold.
#[derive(Debug)]
pub struct Watch {
    references: Vec<Reference>,
    limits: Arc<ThresholdSet>,
    vigil: Vigil,
    s0: f32,
    log: Vec<f32>,
    z: Vec<f32>,
}

impl Watch {
    /// Watches sensors with their references, in this order.
    pub fn new(references: Vec<Reference>, limits: Arc<ThresholdSet>, step: Duration, s0: f32) -> Self {
        let bins = references.first().map_or(0, |reference| reference.baseline.bins());
        Self {
            vigil: Vigil::new(limits.persistence, step),
            limits,
            references,
            s0,
            log: vec![0.0; bins],
            z: vec![0.0; bins],
        }
    }

    /// What a sensor is held against.
    pub fn reference(&self, sensor: usize) -> &Reference {
        &self.references[sensor]
    }

    /// Holds a sensor against another reference from now on.
    pub fn follow(&mut self, sensor: usize, reference: Reference) {
        self.references[sensor] = reference;
    }

    /// Whether an incident is open.
    pub fn is_open(&self) -> bool {
        self.vigil.open().is_some()
    }

    /// The raw scores of one sensor's canonical spectrum.
    pub fn score(&mut self, sensor: usize, linear: &[f32], condition: Condition) -> Scores {
        log_spectrum_into(linear, self.s0, &mut self.log);
        let mut scores = Scores::default();
        let reference = &self.references[sensor];
        let log = (self.log.as_slice(), reference.baseline.offset(condition));
        reference.score_into((linear, condition), log, &mut self.z, &mut scores);
        scores
    }

    /// Judges all sensors' spectra of one capture time, sensor after sensor; answers with what they did to the machine's
    /// incident.
    pub fn arrive(&mut self, at: Timestamp, condition: Condition, spectra: &[f32]) -> Vec<(Timestamp, Transition)> {
        let bins = self.z.len();
        let mut done = Vec::new();
        for (sensor, linear) in spectra.chunks_exact(bins).enumerate() {
            let scores = self.score(sensor, linear, condition);
            let state = self.references[sensor].baseline.state(condition);
            let key = ReadingKey {
                sensor: SensorId(sensor as i32 + 1),
                captured_at: at,
            };
            let judgement = self.limits.judge(&scores, state, false);
            done.extend(self.vigil.arrive(JudgedReading::new(key, &judgement)));
        }
        done
    }
}
