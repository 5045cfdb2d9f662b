//! Rows drawn at random from more than are kept.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tocsin_domain::{Invalid, SpectrumSpec, Timestamp};

use super::{Budget, OnDiskError};
use crate::training_set::TrainingSet;

/// Draws of rows that come by one after the other so many, each row as likely as any other (Waterman's reservoir, Knuth
/// 1981): all of them where there are no more.
#[derive(Debug)]
pub struct Sample {
    /// Knows the sensors, also those of which no row is drawn.
    set: TrainingSet,
    most: usize,
    rng: StdRng,
    seen: u64,
    drawn: Vec<Drawn>,
    /// Codes of those drawn, one row after the other.
    codes: Vec<u8>,
}

/// A row that was drawn: its number among all, its sensor and time.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    number: u64,
    sensor: u32,
    captured_at: Timestamp,
}

impl Sample {
    /// As many rows as fit in their share of the budget, 50,000 at most.
    pub fn new(spec: &SpectrumSpec, budget: Budget, seed: u64) -> Result<Self, OnDiskError> {
        Ok(Self::of(spec, budget.sample(spec.bins.into())?, seed))
    }

    /// So many rows at most.
    pub fn of(spec: &SpectrumSpec, most: usize, seed: u64) -> Self {
        Self {
            set: TrainingSet::new(spec),
            most,
            rng: StdRng::seed_from_u64(seed),
            seen: 0,
            drawn: Vec::new(),
            codes: Vec::new(),
        }
    }

    /// Shows it a row, as [`TrainingSet::push`] takes them.
    pub fn push(&mut self, sensor: &str, captured_at: Timestamp, amplitudes: &[f32]) -> Result<(), Invalid> {
        let codes = self.set.encode(amplitudes)?;
        self.push_codes(sensor, captured_at, codes.codes());
        Ok(())
    }

    /// The same for a row in canonical form, of the spec's bins.
    pub(super) fn push_codes(&mut self, sensor: &str, captured_at: Timestamp, codes: &[u8]) {
        let drawn = Drawn {
            number: self.seen,
            sensor: self.set.sensor(sensor),
            captured_at,
        };
        self.seen += 1;
        if self.drawn.len() < self.most {
            self.drawn.push(drawn);
            self.codes.extend_from_slice(codes);
            return;
        }
        let place = self.rng.random_range(0..self.seen);
        if let Some(place) = usize::try_from(place).ok().filter(|place| *place < self.most) {
            self.drawn[place] = drawn;
            self.codes[place * codes.len()..][..codes.len()].copy_from_slice(codes);
        }
    }

    /// A row as the spec's codec keeps it.
    pub(super) fn encode(&self, amplitudes: &[f32]) -> Result<tocsin_domain::CanonicalSpectrum, Invalid> {
        self.set.encode(amplitudes)
    }

    /// Rows shown so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// The rows drawn, in the order they came.
    pub fn finish(self) -> TrainingSet {
        let Self {
            mut set, drawn, codes, ..
        } = self;
        let bins = set.bins();
        let mut order: Vec<usize> = (0..drawn.len()).collect();
        order.sort_unstable_by_key(|place| drawn[*place].number);
        for place in order {
            let row = drawn[place];
            set.push_row(row.sensor, row.captured_at, &codes[place * bins..][..bins]);
        }
        set.drawn_from(self.seen)
    }
}
