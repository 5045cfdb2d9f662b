//! What the textbook does: one network and one energy for the whole fleet, and lines at percentiles of their scores.
//!
//! The autoencoder learns the first half of the other machines' healthy stretches, and the 99.5th and 99.95th percentile
//! of its reconstruction error over the second half are the lines; beside it stands the energy's z-score with lines of its
//! own, and either may page. No sensor has a past of its own here. The readings that are judged are those that a method
//! with baselines judges, so that they can be compared: none until its sensor would have been commissioned.

use std::ops::Range;

use tocsin_domain::{Detector, Scores, Timestamp};
use tocsin_judge::threshold_set::{LinesError, Member};
use tocsin_judge::{JudgedReading, Role, ThresholdSet};
use tocsin_models::{Bundle, Network};

use crate::life::{MachineLife, SensorLife};
use crate::measure::score;
use crate::rules::Rules;
use crate::trial::TrialError;

/// Healthy readings of one sensor, in order of capture.
#[derive(Debug, Clone)]
pub struct Stretch<'a> {
    /// Machine and number of the sensor.
    pub sensor: String,
    /// When each was taken.
    pub captured_at: &'a [Timestamp],
    /// Linear amplitudes in canonical units, readings x bins.
    pub linear: &'a [f32],
    /// Bins of a spectrum.
    pub bins: usize,
}

/// What a trainer says when it fails.
pub type TrainingError = Box<dyn std::error::Error + Send + Sync>;

/// Trains a network and the detectors beside it on healthy readings.
pub type Train<'a> = dyn Fn(&[Stretch<'_>]) -> Result<Bundle, TrainingError> + Sync + 'a;

/// Judges each of a machine's readings, in order of arrival, by what was learned from `others`.
pub(crate) fn judge(
    life: &MachineLife,
    others: &[&MachineLife],
    rules: &Rules,
    train: &Train<'_>,
) -> Result<(Vec<JudgedReading>, ThresholdSet), TrialError> {
    let sensors = || {
        others
            .iter()
            .flat_map(|&other| other.sensors.iter().map(move |sensor| (other, sensor)))
    };
    let stretches: Vec<Stretch<'_>> = sensors()
        .map(|(machine, sensor)| stretch(machine, sensor, halves(sensor, rules)[0].clone()))
        .collect();
    let bundle = train(&stretches).map_err(|source| TrialError::Training {
        machine: life.name.clone(),
        source,
    })?;
    let network = Network::load(&bundle)?;
    let mut healthy = Vec::new();
    for (_, sensor) in sensors() {
        let rows = sensor.linear_rows(halves(sensor, rules)[1].clone());
        healthy.extend(score(&bundle, &network, rows)?);
    }
    let limits = limits(&healthy, rules)?;
    let scores = life
        .sensors
        .iter()
        .map(|sensor| score(&bundle, &network, &sensor.linear));
    let scores = scores.collect::<Result<Vec<_>, _>>()?;
    let judged = life.arrivals.iter().map(|(sensor, reading)| {
        let of = &life.sensors[*sensor];
        let scores = if *reading < rules.commissioning().end {
            Scores::default()
        } else {
            scores[*sensor][*reading]
        };
        JudgedReading::new(of.key(*reading), &limits.judge(&scores, of.conditions[*reading], false))
    });
    Ok((judged.collect(), limits))
}

/// The readings that are learned from, and those that set the lines.
fn halves(sensor: &SensorLife, rules: &Rules) -> [Range<usize>; 2] {
    let end = (rules.healthy_share * sensor.readings() as f64) as usize;
    let begin = rules.skip.min(end);
    let middle = usize::midpoint(begin, end);
    [begin..middle, middle..end]
}

fn stretch<'a>(machine: &MachineLife, sensor: &'a SensorLife, readings: Range<usize>) -> Stretch<'a> {
    Stretch {
        sensor: format!("{}/{}", machine.name, sensor.id.0),
        captured_at: &sensor.captured_at[readings.clone()],
        linear: sensor.linear_rows(readings),
        bins: sensor.bins,
    }
}

fn limits(healthy: &[Scores], rules: &Rules) -> Result<ThresholdSet, TrialError> {
    let member = |detector: Detector| {
        let scores: Vec<f64> = healthy
            .iter()
            .filter_map(|of| of.get(detector))
            .map(f64::from)
            .collect();
        Member::at_percentiles(detector, Role::Page, &scores).map_err(|source| LinesError::Tail { detector, source })
    };
    let (residual, energy) = (member(Detector::Residual)?, member(Detector::OverallLevel)?);
    let set = ThresholdSet::new(vec![residual, energy.clone()], vec![energy], rules.persistence);
    Ok(set.map_err(LinesError::Set)?)
}
