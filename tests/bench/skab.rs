//! SKAB, the Skoltech Anomaly Benchmark: a water loop of which eight channels are read each second, 34 experiments with
//! labelled anomalies. Not spectra; eight seconds of eight channels make one vector of 64 values, and everything behind
//! that is what the platform does with a spectrum of 64 bins.
//!
//! The protocol, with one rule for all files: learn from the first 400 rows of a file, judge the rest causally, set lines
//! from training rows alone (here the last 100 of them, which nothing is fitted on), never look at a label, and add up the
//! four counts over all files. Published rows stand beside ours.

mod data;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use tocsin_domain::{Condition, Detector, Scores, Slug, SpectrumSpec, Timestamp};
use tocsin_evaluate::{detectors, score};
use tocsin_judge::threshold_set::Member;
use tocsin_judge::{Persistence, Role, ThresholdSet};
use tocsin_models::{Bundle, Network, Objective, Variant};
use tocsin_trainer::{FitOptions, TrainRequest, TrainingSet, train};

use crate::report::Report;
use data::{CHANNELS, Experiment, TRAINING_ROWS};

/// Seconds in a vector.
const WINDOW: usize = 8;
/// Training rows that are learned from; the others set the lines.
const LEARNING_ROWS: usize = TRAINING_ROWS - 100;
/// A channel at its training mean is this far along the logarithm, and its training deviation is that long: 18 deviations
/// lie between silence and full scale.
const MIDDLE: f64 = 4.6;
const DEVIATION: f64 = 0.5;

/// Settings.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Folder with skab.parquet and leaderboard.csv
    #[arg(long)]
    data: PathBuf,
    /// The first so many experiments, instead of all
    #[arg(long)]
    files: Option<usize>,
    /// Seed of every random choice
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Most epochs of a network [default: what the kind usually gets]
    #[arg(long)]
    epochs: Option<u32>,
}

/// Verdicts against labels, over rows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Counts {
    true_positive: u64,
    false_positive: u64,
    true_negative: u64,
    false_negative: u64,
}

/// Runs it.
pub(crate) fn run(options: &Options) -> Result<Report> {
    let mut experiments = data::read(&options.data.join("skab.parquet"))?;
    experiments.truncate(options.files.unwrap_or(usize::MAX));
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    for (at, experiment) in experiments.iter().enumerate() {
        eprintln!("{} of {}: {}", at + 1, experiments.len(), experiment.file);
        for recipe in recipes() {
            let bundle = options.fit(experiment, recipe)?;
            for (name, verdicts) in judge(&bundle, experiment)? {
                let labels = &experiment.anomalous[TRAINING_ROWS..];
                counts.entry(name).or_default().add(&verdicts, labels);
            }
        }
    }
    report(options, &experiments, &counts)
}

/// What is trained: the networks, and the linear ones that may take their place. The first one's companions are counted.
fn recipes() -> Vec<(Variant, Objective)> {
    let dense = Objective::ALL.map(|objective| (Variant::Dense, objective));
    let conv = [Objective::default(), Objective::Plain].map(|objective| (Variant::Conv, objective));
    let linear = [Variant::Pca, Variant::Mahalanobis].map(|variant| (variant, Objective::Plain));
    dense.into_iter().chain(conv).chain(linear).collect()
}

impl Options {
    fn fit(&self, experiment: &Experiment, (variant, objective): (Variant, Objective)) -> Result<Bundle> {
        let spec = SpectrumSpec::corpus_default((WINDOW * CHANNELS) as u16);
        let vectors = vectors(experiment);
        let mut sets = [TrainingSet::new(&spec), TrainingSet::new(&spec)];
        for (at, vector) in vectors[..=TRAINING_ROWS - WINDOW].iter().enumerate() {
            // A vector with rows of both parts is of neither.
            let set = match at {
                _ if at + WINDOW <= LEARNING_ROWS => 0,
                _ if at >= LEARNING_ROWS => 1,
                _ => continue,
            };
            sets[set].push("skab/loop/all", Timestamp::from_micros(at as i64 * 1_000_000), vector)?;
        }
        let usual = FitOptions::of(variant);
        let request = TrainRequest {
            class: Slug::parse("class", "loop")?,
            train: &sets[0],
            calibration: &sets[1],
            variant,
            foreign: None,
            latent: None,
            seed: self.seed,
            options: Some(FitOptions {
                objective,
                epochs: self.epochs.unwrap_or(usual.epochs),
                ..usual
            }),
            corpora: Vec::new(),
            created_at: Timestamp::from_micros(0),
        };
        let archive = train(&request, |_| {}).with_context(|| format!("{} on {}", variant, experiment.file))?;
        Ok(Bundle::from_archive(archive)?)
    }
}

/// Vectors that end at each row from the eighth on: linear amplitudes whose logarithm is linear in the channels'
/// deviations from the means of the rows learned from.
fn vectors(experiment: &Experiment) -> Vec<Vec<f32>> {
    let s0 = f64::from(SpectrumSpec::corpus_default(64).canonical_s0());
    let learned = &experiment.rows[..LEARNING_ROWS];
    let mut scale = [(0.0, 1.0); CHANNELS];
    for (channel, (mean, deviation)) in scale.iter_mut().enumerate() {
        let values = || learned.iter().map(|row| row[channel]);
        *mean = values().sum::<f64>() / LEARNING_ROWS as f64;
        let squares: f64 = values().map(|value| (value - *mean).powi(2)).sum();
        *deviation = (squares / LEARNING_ROWS as f64).sqrt().max(f64::MIN_POSITIVE);
    }
    let amplitude = |value: f64, (mean, deviation): (f64, f64)| {
        let log = MIDDLE + DEVIATION * ((value - mean) / deviation).clamp(-1e3, 1e3);
        (s0 * log.clamp(0.0, 2.0 * MIDDLE).exp_m1()) as f32
    };
    let of_window = |window: &[[f64; CHANNELS]]| -> Vec<f32> {
        let values = window.iter().flat_map(|row| row.iter().zip(scale));
        values.map(|(value, scale)| amplitude(*value, scale)).collect()
    };
    experiment.rows.windows(WINDOW).map(of_window).collect()
}

/// Whether each row after the training ones is above the 99.5 % line: by detector, and by the ensemble.
fn judge(bundle: &Bundle, experiment: &Experiment) -> Result<Vec<(String, Vec<bool>)>> {
    let vectors = vectors(experiment).split_off(TRAINING_ROWS - WINDOW + 1);
    let scores = score(bundle, &Network::load(bundle)?, &vectors.concat())?;
    let calibration: Vec<Scores> = bundle.held_out().rows.iter().map(|row| row.scores).collect();
    let mut judged = Vec::new();
    for (detector, name) in detectors(bundle) {
        if detector != Detector::Residual && !is_first(bundle) {
            continue;
        }
        let of = |scores: &[Scores]| -> Vec<f64> {
            scores
                .iter()
                .filter_map(|row| row.get(detector))
                .map(f64::from)
                .collect()
        };
        let line = Member::fit(detector, Role::Page, &of(&calibration))?.alert_line;
        judged.push((name, of(&scores).iter().map(|score| *score > line).collect()));
    }
    if is_first(bundle) {
        let set = ThresholdSet::from_healthy_percentiles(&calibration, Persistence::default())?;
        let alerts = |row: &Scores| {
            let level = set.judge(row, Condition::default(), false).level;
            level.is_some_and(|level| level.0 >= 1.0)
        };
        judged.push(("ensemble".to_owned(), scores.iter().map(alerts).collect()));
    }
    Ok(judged)
}

/// What stands beside the network is the same in every bundle of a file, but for its seed.
fn is_first(bundle: &Bundle) -> bool {
    let manifest = bundle.manifest();
    (manifest.variant, manifest.objective) == (Variant::Dense, Objective::default())
}

impl Counts {
    fn add(&mut self, verdicts: &[bool], labels: &[bool]) {
        for (verdict, label) in verdicts.iter().zip(labels) {
            match (verdict, label) {
                (true, true) => self.true_positive += 1,
                (true, false) => self.false_positive += 1,
                (false, false) => self.true_negative += 1,
                (false, true) => self.false_negative += 1,
            }
        }
    }

    /// F1, and the rates of false and of missed alarms in percent, by the protocol.
    fn figures(self) -> (f64, f64, f64) {
        let [tp, fp, tn, fn_] = [
            self.true_positive,
            self.false_positive,
            self.true_negative,
            self.false_negative,
        ]
        .map(|count| count as f64);
        (
            tp / (tp + f64::midpoint(fn_, fp)),
            100.0 * fp / (fp + tn),
            100.0 * fn_ / (fn_ + tp),
        )
    }
}

fn report(options: &Options, experiments: &[Experiment], counts: &BTreeMap<String, Counts>) -> Result<Report> {
    let mut report = Report::default();
    let judged: usize = experiments
        .iter()
        .map(|experiment| experiment.rows.len() - TRAINING_ROWS)
        .sum();
    let anomalous = experiments
        .iter()
        .flat_map(|experiment| &experiment.anomalous[TRAINING_ROWS..]);
    report.note("files", experiments.len());
    report.note("rows", judged);
    report.note("anomalous", anomalous.filter(|anomalous| **anomalous).count());
    let mut rows: Vec<(String, f64, f64, f64)> = counts
        .iter()
        .map(|(name, counts)| {
            let (f1, far, mar) = counts.figures();
            (format!("tocsin: {name}"), f1, far, mar)
        })
        .collect();
    for row in data::published(&options.data.join("leaderboard.csv"))? {
        rows.push((format!("published: {}", row.algorithm), row.f1, row.far, row.mar));
    }
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    for (name, f1, far, mar) in rows {
        let rounded = |value: f64, decimals: f64| (value * decimals).round() / decimals;
        report.note(
            name,
            json!({ "f1": rounded(f1, 1e3), "far_percent": rounded(far, 10.0), "mar_percent": rounded(mar, 10.0) }),
        );
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_experiments_are_judged_beside_the_published_rows() {
        let Some(parquet) = tocsin_tests::data::file("skab/skab.parquet") else {
            return;
        };
        let options = Options {
            data: parquet.parent().unwrap().to_owned(),
            files: Some(2),
            seed: 0,
            epochs: Some(3),
        };
        let report = run(&options).unwrap();
        assert_eq!(report.value("files"), 2);
        for name in [
            "tocsin: dense_sparse",
            "tocsin: residual_mahalanobis",
            "tocsin: ensemble",
            "tocsin: pca",
        ] {
            let rate = report.value(name)["far_percent"].as_f64().unwrap();
            assert!((0.0..=100.0).contains(&rate), "{name}: {rate}");
        }
        assert_eq!(report.value("published: Conv-AE")["f1"], 0.78);
    }

    #[test]
    fn flagging_everything_scores_what_the_protocol_says_of_it() {
        let mut counts = Counts::default();
        counts.add(&[true; 23_801], &[[true; 12_771].as_slice(), &[false; 11_030]].concat());
        let (f1, far, mar) = counts.figures();
        assert!(
            (f1 - 0.70).abs() < 0.005 && far == 100.0 && mar == 0.0,
            "{f1} {far} {mar}"
        );
    }
}
