//! A machine's readings as the services would have them: through the codec, and scored by its class's models in batches.

use std::ops::Range;

use anyhow::Result;
use tocsin_domain::Codec;
use tocsin_simulator::harbor::{Fleet, Machine, Reading, Stream};

use super::network::{Model, Scorer, Shared};

/// Steps scored at a time.
const BLOCK: usize = 256;

/// Some steps of a machine, in order.
#[derive(Debug)]
pub(super) struct Feed<'a> {
    stream: Stream<'a>,
    codec: Codec,
    scorer: Option<Scorer<'a>>,
    /// The block at hand: its readings, their amplitudes, and the scores of each spectrum where there is a model.
    readings: Vec<Reading>,
    bins: Vec<f32>,
    shared: Vec<Shared>,
    next: usize,
    row_length: usize,
    sensors: usize,
}

/// One step of a machine.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) reading: Reading,
    /// Canonical amplitudes, sensor after sensor.
    pub(super) bins: &'a [f32],
    /// What the class's models say of each sensor's spectrum; empty without a model.
    pub(super) shared: &'a [Shared],
}

impl<'a> Feed<'a> {
    /// A machine's readings of some steps, scored by `model` where there is one.
    pub(super) fn new(
        fleet: &Fleet,
        machine: &'a Machine,
        steps: Range<u64>,
        model: Option<&'a Model>,
    ) -> Result<Self> {
        let block = (steps.end.saturating_sub(steps.start) as usize).clamp(1, BLOCK);
        Ok(Self {
            stream: machine.stream_steps(steps),
            codec: Codec::for_spec(fleet.spec()),
            scorer: model.map(Model::scorer).transpose()?,
            readings: Vec::with_capacity(block),
            bins: vec![0.0; block * fleet.row_length()],
            shared: Vec::new(),
            next: 0,
            row_length: fleet.row_length(),
            sensors: fleet.config().sensors,
        })
    }

    /// The next step, none after the last.
    pub(super) fn step(&mut self) -> Result<Option<Step<'_>>> {
        if self.next == self.readings.len() {
            self.fill()?;
        }
        let Some(reading) = self.readings.get(self.next) else {
            return Ok(None);
        };
        let at = self.next;
        self.next += 1;
        let scored = at * self.sensors..(at + 1) * self.sensors;
        Ok(Some(Step {
            reading: *reading,
            bins: &self.bins[at * self.row_length..(at + 1) * self.row_length],
            shared: self.shared.get(scored).unwrap_or_default(),
        }))
    }

    fn fill(&mut self) -> Result<()> {
        self.readings.clear();
        self.next = 0;
        for bins in self.bins.chunks_exact_mut(self.row_length) {
            let Some(reading) = self.stream.next_into(bins) else {
                break;
            };
            for amplitude in bins.iter_mut() {
                *amplitude = self.codec.requantise(*amplitude);
            }
            self.readings.push(reading);
        }
        if let Some(scorer) = &mut self.scorer {
            self.shared = scorer.score(&self.bins[..self.readings.len() * self.row_length])?;
        }
        Ok(())
    }
}
