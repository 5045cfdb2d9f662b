//! A fleet judged for months while its baselines follow it, period by period, and nobody signs anything.
//!
//! Time goes by each machine's own clock: from its first reading it is commissioned, then its fleet's limits are learned
//! over a settling time, then it is judged. After each period a recalibrator looks at what the period's healthy readings
//! say (those of a machine with an incident in it say nothing) and gives every sensor its next baseline.
//!
//! **Invariant:** strictly causal. A period is judged under what was known at its start.

use std::time::Duration;

use serde::Serialize;
use tocsin_detect::drift::{Cusum, Finding, FollowRule, Standing, follow_class};
use tocsin_detect::{Commissioned, Reference, Rows};
use tocsin_domain::{Detector, OperatingState, Scores, Timestamp};
use tocsin_judge::fleet_replay::{History, largest_kth_of_n};
use tocsin_judge::{JudgedReading, ThresholdSet, Transition, Vigil};

use crate::life::MachineLife;
use crate::rules::Rules;
use crate::trial::{Asset, Scratch, TrialError, score, state};

/// Fewest readings of a period that say where a sensor stands.
const MIN_READINGS: usize = tocsin_detect::baseline::MIN_READINGS;

/// What the recalibrator may activate by itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Recalibration {
    /// Nothing: what was commissioned judges for good.
    Frozen,
    /// What the rule lets a baseline follow.
    Guarded(FollowRule),
    /// Whatever the last period looked like, up as well as down, incidents or not: shown for comparison.
    Symmetric,
}

impl Recalibration {
    /// By the rule's own bounds.
    pub fn guarded() -> Self {
        Self::Guarded(FollowRule::default())
    }
}

/// When what happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Time after commissioning over which limits are learned.
    pub settle: Duration,
    /// Time between rounds of the recalibrator.
    pub period: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            settle: Duration::from_hours(7 * 24),
            period: Duration::from_hours(24),
        }
    }
}

/// What a round made of one machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    /// Time since the machine's first reading.
    pub since: Duration,
    /// The gravest finding of its sensors.
    pub finding: Finding,
    /// Whether one of its baselines was replaced.
    pub activated: bool,
}

/// One machine's story.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Story {
    /// What its incidents did, and when.
    pub transitions: Vec<(Timestamp, Transition)>,
    /// Round by round.
    pub rounds: Vec<Round>,
    /// Time it was judged.
    pub judged: Duration,
}

/// A machine on its way through time.
struct Machine<'a> {
    life: &'a MachineLife,
    began: Timestamp,
    commissioned: Vec<Reference>,
    references: Vec<Reference>,
    /// Median log spectra of the settling time.
    usual: Vec<Option<Vec<f32>>>,
    cusums: Vec<Cusum>,
    vigil: Option<Vigil>,
    /// The next arrival to be judged, and the first of the period that is judged now.
    next: usize,
    period_from: usize,
    disturbed: bool,
    story: Story,
}

/// Judges every machine of one class.
pub fn judge_following(
    lives: &[MachineLife],
    rules: &Rules,
    schedule: Schedule,
    recalibration: Recalibration,
) -> Result<Vec<Story>, TrialError> {
    let assets = lives
        .iter()
        .map(|life| Asset::new(life, rules))
        .collect::<Result<Vec<_>, _>>()?;
    let mut machines = Vec::with_capacity(assets.len());
    for (at, asset) in assets.iter().enumerate() {
        let others: Vec<&Asset<'_>> = assets[..at].iter().chain(&assets[at + 1..]).collect();
        machines.extend(Machine::new(asset, &others, rules)?);
    }
    let settled = machines
        .iter()
        .map(Machine::commissioned_after)
        .max()
        .unwrap_or_default()
        + schedule.settle;
    let limits = limits(&mut machines, settled, rules)?;
    let end = machines.iter().map(Machine::length).max().unwrap_or_default();
    let mut until = settled + schedule.period;
    while until <= end + schedule.period {
        for machine in &mut machines {
            machine.judge_until(until, &limits, rules);
        }
        recalibrate(&mut machines, until, recalibration)?;
        until += schedule.period;
    }
    Ok(machines.into_iter().map(|machine| machine.story).collect())
}

/// Limits from what each machine reached until the end of the settling time.
fn limits(machines: &mut [Machine<'_>], settled: Duration, rules: &Rules) -> Result<ThresholdSet, TrialError> {
    let largest: Vec<_> = machines
        .iter_mut()
        .map(|machine| machine.largest_until(settled, rules))
        .collect();
    let of = |detector: Detector| {
        largest
            .iter()
            .filter_map(|of| of[detector as usize])
            .collect::<Vec<f32>>()
    };
    if of(Detector::Growth).is_empty() {
        return Err(TrialError::NoFleet(rules.persistence.n));
    }
    let limits = rules.limits.threshold_set(of, rules.persistence)?;
    for machine in machines {
        machine.settle()?;
        machine.vigil = Some(Vigil::new(limits.persistence, rules.step()));
    }
    Ok(limits)
}

/// Gives every sensor its next baseline.
fn recalibrate(machines: &mut [Machine<'_>], now: Duration, recalibration: Recalibration) -> Result<(), TrialError> {
    let rule = match recalibration {
        Recalibration::Guarded(rule) => rule,
        Recalibration::Frozen | Recalibration::Symmetric => FollowRule::default(),
    };
    let mut standings = Vec::new();
    for (at, machine) in machines.iter().enumerate() {
        for sensor in 0..machine.references.len() {
            standings.push(Standing {
                machine: at as i64,
                commissioned: &machine.commissioned[sensor].baseline,
                active: machine.references[sensor].baseline.median(),
                recent: machine.recent(sensor)?,
                disturbed: machine.disturbed,
                usual: machine.usual[sensor].as_deref(),
                cusum: machine.cusums[sensor],
            });
        }
    }
    let recents: Vec<Option<Vec<f32>>> = standings.iter().map(|standing| standing.recent.clone()).collect();
    let mut followed = follow_class(&standings, rule).into_iter().zip(recents);
    for machine in machines {
        let mut round = Round {
            since: now,
            finding: Finding::Steady,
            activated: false,
        };
        for sensor in 0..machine.references.len() {
            let (of, recent) = followed.next().expect("one of each sensor");
            machine.cusums[sensor] = of.cusum;
            round.finding = graver(round.finding, of.finding);
            let median = match recalibration {
                Recalibration::Frozen => continue,
                Recalibration::Guarded(_) => of.median,
                Recalibration::Symmetric => match recent {
                    Some(recent) => recent,
                    None => continue,
                },
            };
            round.activated |= machine.follow(sensor, median)?;
        }
        machine.end_period(round);
    }
    Ok(())
}

fn graver(one: Finding, other: Finding) -> Finding {
    match (one, other) {
        (Finding::Suspicion, _) | (_, Finding::Suspicion) => Finding::Suspicion,
        (Finding::Drift, _) | (_, Finding::Drift) => Finding::Drift,
        _ => Finding::Steady,
    }
}

impl<'a> Machine<'a> {
    /// Nothing for a machine of which a sensor has too few readings.
    fn new(asset: &Asset<'a>, others: &[&Asset<'_>], rules: &Rules) -> Result<Option<Self>, TrialError> {
        let references: Option<Vec<Reference>> = asset.references(others, rules)?.into_iter().collect();
        let (Some(commissioned), Some(first)) = (references, asset.life.arrivals.first()) else {
            return Ok(None);
        };
        let life = asset.life;
        let last_commissioning = rules.commissioning().end - 1;
        let next = life
            .arrivals
            .iter()
            .rposition(|(_, reading)| *reading == last_commissioning);
        let next = next.map_or(life.arrivals.len(), |at| at + 1);
        Ok(Some(Self {
            life,
            began: life.at(*first),
            references: commissioned.clone(),
            usual: vec![None; commissioned.len()],
            cusums: vec![Cusum::default(); commissioned.len()],
            commissioned,
            vigil: None,
            next,
            period_from: next,
            disturbed: false,
            story: Story::default(),
        }))
    }

    fn since_start(&self, arrival: usize) -> Duration {
        self.life.at(self.life.arrivals[arrival]).since(self.began)
    }

    fn commissioned_after(&self) -> Duration {
        let last = self.next.min(self.life.arrivals.len() - 1);
        self.since_start(last)
    }

    fn length(&self) -> Duration {
        self.since_start(self.life.arrivals.len() - 1)
    }

    /// Largest k-th of n of each detector over the readings until then.
    fn largest_until(&mut self, until: Duration, rules: &Rules) -> [Option<f32>; Detector::COUNT] {
        let mut histories: [History; Detector::COUNT] = Default::default();
        let mut scratch = Scratch::default();
        while self.next < self.life.arrivals.len() && self.since_start(self.next) < until {
            let (sensor, reading) = self.life.arrivals[self.next];
            self.next += 1;
            let of = &self.life.sensors[sensor];
            if state(&self.references[sensor], of, reading) != OperatingState::Known {
                continue;
            }
            let mut scores = Scores::default();
            score(&self.references[sensor], of, reading, rules, &mut scratch, &mut scores);
            for (detector, score) in scores.iter() {
                histories[detector as usize].push((of.key(reading), score));
            }
        }
        histories.map(|history| largest_kth_of_n(&history, &rules.persistence, rules.step()))
    }

    /// Takes what it read since commissioning for where its sensors usually stand.
    fn settle(&mut self) -> Result<(), TrialError> {
        for sensor in 0..self.references.len() {
            self.usual[sensor] = self.recent(sensor)?;
        }
        self.period_from = self.next;
        Ok(())
    }

    fn judge_until(&mut self, until: Duration, limits: &ThresholdSet, rules: &Rules) {
        let Some(vigil) = &mut self.vigil else { return };
        let mut scratch = Scratch::default();
        let from = self.next;
        self.disturbed = vigil.open().is_some();
        while self.next < self.life.arrivals.len()
            && self.life.at(self.life.arrivals[self.next]).since(self.began) < until
        {
            let (sensor, reading) = self.life.arrivals[self.next];
            let of = &self.life.sensors[sensor];
            let mut scores = Scores::default();
            score(&self.references[sensor], of, reading, rules, &mut scratch, &mut scores);
            let state = state(&self.references[sensor], of, reading);
            let judged = JudgedReading::new(of.key(reading), &limits.judge(&scores, state, false));
            if let Some(transition) = vigil.arrive(judged) {
                self.disturbed = true;
                self.story.transitions.push(transition);
            }
            self.next += 1;
        }
        if self.next > from {
            let (first, last) = (
                self.life.at(self.life.arrivals[from]),
                self.life.at(self.life.arrivals[self.next - 1]),
            );
            self.story.judged += last.since(first);
        }
    }

    /// Median log spectrum of a sensor's readings of the period, at the centre of its conditions; nothing when there are too
    /// few.
    fn recent(&self, sensor: usize) -> Result<Option<Vec<f32>>, TrialError> {
        let mut of_sensor = self.life.arrivals[self.period_from..self.next]
            .iter()
            .filter(|(s, _)| *s == sensor);
        let (first, last) = (of_sensor.next(), of_sensor.next_back());
        let (Some((_, first)), Some((_, last))) = (first, last) else {
            return Ok(None);
        };
        if last + 1 - first < MIN_READINGS {
            return Ok(None);
        }
        let life = &self.life.sensors[sensor];
        let baseline = &self.commissioned[sensor].baseline;
        let mut at_centre = life.log_rows(*first..last + 1).to_vec();
        for (row, condition) in at_centre
            .chunks_exact_mut(life.bins)
            .zip(&life.conditions[*first..=*last])
        {
            baseline.remove_trend(*condition, row);
        }
        let fit = Rows::new(&at_centre, life.bins).and_then(|rows| Commissioned::fit(rows, &[]));
        let fit = fit.map_err(|source| TrialError::Commissioning {
            machine: self.life.name.clone(),
            source,
        })?;
        Ok(Some(fit.median().to_vec()))
    }

    /// Replaces a sensor's baseline; whether it is another one.
    fn follow(&mut self, sensor: usize, median: Vec<f32>) -> Result<bool, TrialError> {
        if median == self.references[sensor].baseline.median() {
            return Ok(false);
        }
        let followed = self.commissioned[sensor].followed(median);
        self.references[sensor] = followed.map_err(|source| TrialError::Following {
            machine: self.life.name.clone(),
            source,
        })?;
        Ok(true)
    }

    fn end_period(&mut self, round: Round) {
        self.period_from = self.next;
        self.story.rounds.push(round);
    }
}
