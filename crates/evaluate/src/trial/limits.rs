//! A machine's limits, from what the detectors against a sensor's own past said of healthy readings.

use std::ops::Range;

use tocsin_detect::Reference;
use tocsin_detect::tail::TailError;
use tocsin_domain::{Detector, OperatingState, Scores};
use tocsin_judge::fleet_replay::{History, OWN, largest_kth_of_n};
use tocsin_judge::threshold_set::{LinesError, Member};
use tocsin_judge::{Role, ThresholdSet};

use super::{Asset, Scratch, TrialError, score, state};
use crate::life::SensorLife;
use crate::rules::Rules;
use crate::variation::{Lines, Variation};

/// Scores of every detector.
type Histories = [History; Detector::COUNT];

/// How a member follows from a detector's healthy scores.
type Fit = fn(Detector, Role, &[f64]) -> Result<Member, TailError>;

/// Limits of `asset`, whose sensors are held against these references, from the healthy histories of `fleet`.
pub(super) fn learn(
    (asset, references): (&Asset<'_>, &[Option<Reference>]),
    fleet: &[&Asset<'_>],
    rules: &Rules,
    variation: Variation,
) -> Result<ThresholdSet, TrialError> {
    let wanted = |detector: Detector| !variation.without.contains(&detector);
    let histories = match variation.lines {
        Lines::OwnTail => vec![histories(asset, references, rules, |_| rules.commissioning())],
        Lines::FleetReplay | Lines::Percentile | Lines::Tail => of_fleet(fleet, rules, variation)?,
    };
    let pooled = |detector: Detector| -> Vec<f64> {
        let scores = histories.iter().flat_map(|of| &of[detector as usize]);
        scores.map(|(_, score)| f64::from(*score)).collect()
    };
    let fit: Fit = match variation.lines {
        Lines::FleetReplay => {
            let largest: Vec<[Option<f32>; Detector::COUNT]> = histories
                .iter()
                .map(|of| std::array::from_fn(|at| largest_kth_of_n(&of[at], &rules.persistence, rules.step())))
                .collect();
            let of = |detector: Detector| -> Vec<f32> {
                let each = largest.iter().filter(|_| wanted(detector));
                each.filter_map(|of| of[detector as usize]).collect()
            };
            if of(Detector::Growth).is_empty() {
                return Err(TrialError::NoFleet(rules.persistence.n));
            }
            return Ok(rules.limits.threshold_set(of, rules.persistence)?);
        }
        Lines::Percentile => Member::at_percentiles,
        Lines::Tail | Lines::OwnTail => Member::fit,
    };
    let mut members = Vec::new();
    for detector in OWN.into_iter().filter(|detector| wanted(*detector)) {
        let scores = pooled(detector);
        if scores.is_empty() {
            return Err(TrialError::NoFleet(1));
        }
        let member = fit(detector, rules.limits.role_of(detector), &scores);
        members.push(member.map_err(|source| LinesError::Tail { detector, source })?);
    }
    let set = ThresholdSet::new(members.clone(), members, rules.persistence);
    Ok(set.map_err(LinesError::Set)?)
}

/// Every machine's scores over its healthy stretch after commissioning, held against the others'.
fn of_fleet(fleet: &[&Asset<'_>], rules: &Rules, variation: Variation) -> Result<Vec<Histories>, TrialError> {
    let healthy =
        |life: &SensorLife| rules.commissioning().end..(rules.healthy_share * life.readings() as f64) as usize;
    let mut found = Vec::with_capacity(fleet.len());
    for (at, other) in fleet.iter().enumerate() {
        let others: Vec<&Asset<'_>> = [&fleet[..at], &fleet[at + 1..]].concat();
        let references = variation.references(other, &others, rules)?;
        found.push(histories(other, &references, rules, healthy));
    }
    Ok(found)
}

/// Scores of a machine's readings in conditions that its sensors know.
fn histories(
    asset: &Asset<'_>,
    references: &[Option<Reference>],
    rules: &Rules,
    readings: impl Fn(&SensorLife) -> Range<usize>,
) -> Histories {
    let mut histories = Histories::default();
    let mut scratch = Scratch::default();
    for (life, reference) in asset.life.sensors.iter().zip(references) {
        let Some(reference) = reference else { continue };
        let known = |reading: &usize| state(reference, life, *reading) == OperatingState::Known;
        for reading in readings(life).filter(known) {
            let mut scores = Scores::default();
            score(reference, life, reading, rules, &mut scratch, &mut scores);
            for (detector, score) in scores.iter() {
                histories[detector as usize].push((life.key(reading), score));
            }
        }
    }
    histories
}
