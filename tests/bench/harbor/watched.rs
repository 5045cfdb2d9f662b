//! One machine on its way through the days, and its class following it.

use std::ops::Range;
use std::sync::{Arc, MutexGuard};

use anyhow::Result;
use tocsin_detect::drift::{Cusum, FollowRule, Standing, follow_class};
use tocsin_detect::{Commissioned, Reference, Rows, log_spectrum_into};
use tocsin_domain::{Codec, Severity};
use tocsin_evaluate::Watch;
use tocsin_judge::{ThresholdSet, Transition};
use tocsin_simulator::harbor::{Class, Fleet, Machine};

use super::fleet::step;

/// Readings of a day that say where a sensor stands.
const RECENT: u64 = 200;

/// What became of a machine.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    /// Readings judged.
    pub(crate) readings: u64,
    /// Time judged before any failure began.
    pub(crate) healthy_hours: f64,
    pub(crate) false_pages: usize,
    pub(crate) false_alerts: usize,
    pub(crate) fate: Option<Fate>,
}

/// How a failing machine was noticed: shares of the way from onset to failure.
#[derive(Debug)]
pub(crate) struct Fate {
    pub(crate) kind: String,
    pub(crate) change_db: f64,
    pub(crate) alerted_at: Option<f64>,
    pub(crate) paged_at: Option<f64>,
}

/// A machine under watch.
pub(super) struct Watched<'a> {
    fleet: &'a Fleet,
    machine: &'a Machine,
    watch: Watch,
    commissioned: Vec<Reference>,
    /// Median log spectra, at the centre of their conditions, of the day on which limits were set, and of the day past.
    usual: Vec<Vec<f32>>,
    recent: Option<Vec<Vec<f32>>>,
    disturbed: bool,
    cusums: Vec<Cusum>,
    pub(super) outcome: Outcome,
}

impl<'a> Watched<'a> {
    pub(super) fn new(
        fleet: &'a Fleet,
        machine: &'a Machine,
        references: Vec<Reference>,
        limits: &Arc<ThresholdSet>,
    ) -> Self {
        let s0 = fleet.spec().canonical_s0();
        Self {
            fleet,
            machine,
            watch: Watch::new(references.clone(), Arc::clone(limits), step(fleet), s0),
            usual: Vec::new(),
            recent: None,
            disturbed: false,
            cusums: vec![Cusum::default(); references.len()],
            commissioned: references,
            outcome: Outcome::of(machine),
        }
    }

    pub(super) fn class(&self) -> Class {
        self.machine.class()
    }

    /// Takes what it read in some steps for where its sensors usually stand.
    pub(super) fn settle(&mut self, steps: Range<u64>) -> Result<()> {
        self.usual = self.medians(steps)?;
        Ok(())
    }

    /// Judges some steps, to the end of its life at most.
    pub(super) fn judge(&mut self, steps: Range<u64>) -> Result<()> {
        let steps = steps.start..steps.end.min(self.fleet.config().steps());
        self.disturbed = self.watch.is_open();
        let mut row = Canonical::new(self.fleet);
        let mut stream = self.machine.stream_steps(steps.clone());
        while let Some(reading) = stream.next_into(&mut row.bins) {
            let failure = self.machine.failure();
            if failure.is_some_and(|failure| reading.captured_at > failure.failure) {
                self.recent = None;
                return Ok(());
            }
            row.quantise();
            self.outcome.readings += 1;
            let healthy = failure.is_none_or(|failure| reading.captured_at < failure.onset);
            if healthy {
                self.outcome.healthy_hours += self.fleet.config().interval.as_secs_f64() / 3600.0;
            }
            for (_, transition) in self.watch.arrive(reading.captured_at, reading.condition, &row.bins) {
                self.disturbed = true;
                let along = failure.map(|f| {
                    let life = f.failure.since(f.onset).as_secs_f64();
                    reading.captured_at.since(f.onset).as_secs_f64() / life
                });
                self.outcome.note(transition, healthy, along);
            }
        }
        self.recent = Some(self.medians(steps)?);
        Ok(())
    }

    /// Each sensor's median log spectrum over evenly spread readings of some steps.
    fn medians(&self, steps: Range<u64>) -> Result<Vec<Vec<f32>>> {
        let bins = usize::from(self.fleet.spec().bins);
        let mut logs = vec![Vec::new(); self.commissioned.len()];
        let mut row = Canonical::new(self.fleet);
        let mut log = vec![0.0; bins];
        let stride = ((steps.end - steps.start) / RECENT).max(1);
        for at in steps.step_by(stride as usize) {
            let mut stream = self.machine.stream_steps(at..at + 1);
            let Some(reading) = stream.next_into(&mut row.bins) else {
                continue;
            };
            row.quantise();
            for (sensor, linear) in row.bins.chunks_exact(bins).enumerate() {
                log_spectrum_into(linear, self.fleet.spec().canonical_s0(), &mut log);
                self.commissioned[sensor]
                    .baseline
                    .remove_trend(reading.condition, &mut log);
                logs[sensor].extend_from_slice(&log);
            }
        }
        let median = |log: &Vec<f32>| Ok(Commissioned::fit(Rows::new(log, bins)?, &[])?.median().to_vec());
        logs.iter().map(median).collect()
    }
}

/// One round of the recalibrator for the machines of a class.
pub(super) fn follow_together(machines: &mut [MutexGuard<'_, Watched<'_>>], rule: FollowRule) -> Result<()> {
    let mut standings = Vec::new();
    for (at, machine) in machines.iter().enumerate() {
        for sensor in 0..machine.commissioned.len() {
            standings.push(Standing {
                machine: at as i64,
                commissioned: &machine.commissioned[sensor].baseline,
                active: machine.watch.reference(sensor).baseline.median(),
                recent: machine.recent.as_ref().map(|recent| recent[sensor].clone()),
                disturbed: machine.disturbed,
                usual: Some(&machine.usual[sensor]),
                cusum: machine.cusums[sensor],
            });
        }
    }
    let mut followed = follow_class(&standings, rule).into_iter();
    for machine in machines {
        for sensor in 0..machine.commissioned.len() {
            let of = followed.next().expect("one of each sensor");
            let next = machine.commissioned[sensor].followed(of.median)?;
            machine.watch.follow(sensor, next);
            machine.cusums[sensor] = of.cusum;
        }
    }
    Ok(())
}

impl Outcome {
    fn of(machine: &Machine) -> Self {
        Self {
            name: machine.name().to_string(),
            readings: 0,
            healthy_hours: 0.0,
            false_pages: 0,
            false_alerts: 0,
            fate: machine.failure().map(|failure| Fate {
                kind: format!("{:?}", failure.kind),
                change_db: failure.change_db,
                alerted_at: None,
                paged_at: None,
            }),
        }
    }

    fn note(&mut self, transition: Transition, healthy: bool, along: Option<f64>) {
        let page = matches!(transition, Transition::Opened(Severity::Page) | Transition::Escalated);
        let alert = matches!(transition, Transition::Opened(_));
        if healthy {
            self.false_pages += usize::from(page);
            self.false_alerts += usize::from(alert);
        } else if let Some(fate) = &mut self.fate {
            if page {
                fate.paged_at = fate.paged_at.or(along);
            }
            if alert {
                fate.alerted_at = fate.alerted_at.or(along);
            }
        }
    }
}

/// A machine's spectra of one step, as the store would keep them.
pub(super) struct Canonical {
    codec: Codec,
    pub(super) bins: Vec<f32>,
}

impl Canonical {
    pub(super) fn new(fleet: &Fleet) -> Self {
        Self {
            codec: Codec::for_spec(fleet.spec()),
            bins: vec![0.0; fleet.row_length()],
        }
    }

    pub(super) fn quantise(&mut self) {
        for amplitude in &mut self.bins {
            *amplitude = self.codec.requantise(*amplitude);
        }
    }
}
