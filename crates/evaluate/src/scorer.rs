//! One machine scored as its readings stream by: for fleets too large to hold.

use tocsin_detect::{Reference, log_spectrum_into};
use tocsin_domain::{Condition, Scores};

/// Scores spectra of one machine against the references of its sensors.
#[derive(Debug)]
pub struct Scorer {
    references: Vec<Reference>,
    s0: f32,
    log: Vec<f32>,
    z: Vec<f32>,
}

impl Scorer {
    /// A machine of sensors with their references, in this order; `s0` in canonical units.
    pub fn new(references: Vec<Reference>, s0: f32) -> Self {
        let bins = references.first().map_or(0, |reference| reference.baseline.bins());
        Self {
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

    /// The raw scores of one sensor's canonical spectrum.
    pub fn score(&mut self, sensor: usize, linear: &[f32], condition: Condition) -> Scores {
        log_spectrum_into(linear, self.s0, &mut self.log);
        let mut scores = Scores::default();
        let reference = &self.references[sensor];
        let log = (self.log.as_slice(), reference.baseline.offset(condition));
        reference.score_into((linear, condition), log, &mut self.z, &mut scores);
        scores
    }
}
