//! One machine on its way through the days, and its class following it.

use std::ops::Range;
use std::sync::{Arc, MutexGuard};

use anyhow::Result;
use tocsin_detect::drift::{Cusum, FollowRule, Standing, follow_class};
use tocsin_detect::{Commissioned, Reference, Rows, log_spectrum_into};
use tocsin_domain::{Condition, Detector, OperatingState, ReadingKey, Scores, SensorId, Severity, Timestamp};
use tocsin_evaluate::Scorer;
use tocsin_judge::{JudgedReading, ThresholdSet, Transition, Vigil};
use tocsin_simulator::harbor::{Class, Fleet, Machine};

use super::feed::Feed;
use super::fleet::step;
use super::network::{Model, overlay};

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
    /// A page was open when it failed.
    pub(crate) open_at_end: bool,
}

/// A machine under watch.
pub(super) struct Watched<'a> {
    fleet: &'a Fleet,
    machine: &'a Machine,
    scorer: Scorer,
    /// What its class's bundle scores with.
    model: Option<&'a Model>,
    /// The limits it is judged by, side by side; the recalibrator goes by the incidents of the first.
    trials: Vec<Trial>,
    commissioned: Vec<Reference>,
    /// Median log spectra, at the centre of their conditions, of the day on which limits were set, and of the day past.
    usual: Vec<Vec<f32>>,
    recent: Option<Vec<Vec<f32>>>,
    disturbed: bool,
    cusums: Vec<Cusum>,
}

/// A machine under one set of limits.
struct Trial {
    limits: Arc<ThresholdSet>,
    vigil: Vigil,
    outcome: Outcome,
}

impl<'a> Watched<'a> {
    pub(super) fn new(
        fleet: &'a Fleet,
        machine: &'a Machine,
        references: Vec<Reference>,
        limits: impl Iterator<Item = Arc<ThresholdSet>>,
        model: Option<&'a Model>,
    ) -> Self {
        let trial = |limits: Arc<ThresholdSet>| Trial {
            vigil: Vigil::new(limits.persistence, step(fleet)),
            limits,
            outcome: Outcome::of(machine),
        };
        Self {
            fleet,
            machine,
            scorer: Scorer::new(references.clone(), fleet.spec().canonical_s0()),
            model,
            trials: limits.map(trial).collect(),
            usual: Vec::new(),
            recent: None,
            disturbed: false,
            cusums: vec![Cusum::default(); references.len()],
            commissioned: references,
        }
    }

    pub(super) fn class(&self) -> Class {
        self.machine.class()
    }

    /// What became of it under each set of limits.
    pub(super) fn into_outcomes(self) -> Vec<Outcome> {
        self.trials.into_iter().map(Trial::end).collect()
    }

    /// Takes what it read in some steps for where its sensors usually stand.
    pub(super) fn settle(&mut self, steps: Range<u64>) -> Result<()> {
        self.usual = self.medians(steps)?;
        Ok(())
    }

    /// Judges some steps, to the end of its life at most.
    pub(super) fn judge(&mut self, steps: Range<u64>) -> Result<()> {
        let steps = steps.start..steps.end.min(self.fleet.config().steps());
        self.disturbed = self.trials.first().is_some_and(|first| first.vigil.open().is_some());
        let bins = usize::from(self.fleet.spec().bins);
        let mut feed = Feed::new(self.fleet, self.machine, steps.clone(), self.model)?;
        while let Some(step) = feed.step()? {
            let at = step.reading.captured_at;
            if self.machine.failure().is_some_and(|failure| at > failure.failure) {
                self.recent = None;
                return Ok(());
            }
            self.exist(at);
            for (sensor, linear) in step.bins.chunks_exact(bins).enumerate() {
                let mut scores = self.scorer.score(sensor, linear, step.reading.condition);
                if let Some(shared) = step.shared.get(sensor) {
                    overlay(&mut scores, shared);
                }
                self.arrive((sensor, at), step.reading.condition, &scores);
            }
        }
        self.recent = Some(self.medians(steps)?);
        Ok(())
    }

    /// Counts a reading, and the healthy time.
    fn exist(&mut self, at: Timestamp) {
        let healthy = self.is_healthy(at);
        for Trial { outcome, .. } in &mut self.trials {
            outcome.readings += 1;
            if healthy {
                outcome.healthy_hours += self.fleet.config().interval.as_secs_f64() / 3600.0;
            }
        }
    }

    fn is_healthy(&self, at: Timestamp) -> bool {
        self.machine.failure().is_none_or(|failure| at < failure.onset)
    }

    /// Judges one spectrum's scores by each set of limits.
    fn arrive(&mut self, (sensor, at): (usize, Timestamp), condition: Condition, scores: &Scores) {
        let key = ReadingKey {
            sensor: SensorId(sensor as i32 + 1),
            captured_at: at,
        };
        let known = self.scorer.reference(sensor).baseline.state(condition);
        let healthy = self.is_healthy(at);
        let along = self.machine.failure().map(|failure| {
            let life = failure.failure.since(failure.onset).as_secs_f64();
            at.since(failure.onset).as_secs_f64() / life
        });
        for (place, trial) in self.trials.iter_mut().enumerate() {
            let state: OperatingState = if trial.needs_baseline() {
                known
            } else {
                condition.into()
            };
            let level = trial.limits.level(scores, state, false);
            if let Some((_, transition)) = trial.vigil.arrive(JudgedReading { key, level }) {
                self.disturbed |= place == 0;
                trial.outcome.note(transition, healthy, along);
            }
        }
    }

    /// Each sensor's median log spectrum over evenly spread readings of some steps.
    fn medians(&self, steps: Range<u64>) -> Result<Vec<Vec<f32>>> {
        let bins = usize::from(self.fleet.spec().bins);
        let mut logs = vec![Vec::new(); self.commissioned.len()];
        let mut log = vec![0.0; bins];
        let stride = ((steps.end - steps.start) / RECENT).max(1);
        for at in steps.step_by(stride as usize) {
            let mut feed = Feed::new(self.fleet, self.machine, at..at + 1, None)?;
            let Some(step) = feed.step()? else { continue };
            for (sensor, linear) in step.bins.chunks_exact(bins).enumerate() {
                log_spectrum_into(linear, self.fleet.spec().canonical_s0(), &mut log);
                self.commissioned[sensor]
                    .baseline
                    .remove_trend(step.reading.condition, &mut log);
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
                active: machine.scorer.reference(sensor).baseline.median(),
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
            machine.scorer.follow(sensor, next);
            machine.cusums[sensor] = of.cusum;
        }
    }
    Ok(())
}

impl Trial {
    /// Whether its limits hold a reading against its sensor's own past; what the fleet shares knows no conditions.
    fn needs_baseline(&self) -> bool {
        let mut detectors = self.limits.members.iter().map(|member| member.detector);
        detectors.any(Detector::needs_baseline)
    }

    /// Nothing arrives after a failure: what is open now was open then.
    fn end(mut self) -> Outcome {
        if let Some(fate) = &mut self.outcome.fate {
            fate.open_at_end = self.vigil.open() == Some(Severity::Page);
        }
        self.outcome
    }
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
                open_at_end: false,
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
