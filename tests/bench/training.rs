//! What is fitted in Rust beside what a Python team would use, both in one run and in turn: the isolation forest against
//! scikit-learn's, and the training of the convolutional autoencoder against `PyTorch`'s, where that is installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use tocsin_corpus::{Filter, Glob, Row, read_all};
use tocsin_detect::metrics::auroc;
use tocsin_detect::{ForestParameters, IsolationForest, Rows, log_spectrum_into};
use tocsin_domain::{Slug, SpectrumSpec, Timestamp};
use tocsin_models::{Objective, Variant};
use tocsin_tests::tools;
use tocsin_trainer::{FitOptions, TrainRequest, TrainingSet, train};

use crate::report::Report;

/// Rows scored at a time.
const BATCH: usize = 4_096;
/// Forests of either side whose areas are averaged in a round: from one seed to the next they are .02 apart.
const FORESTS: usize = 20;
/// The other side, in Python: what it is asked for is its first argument.
const SCRIPT: &str = include_str!("training/python.py");

/// Settings.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// FEMTO's spectra of 64 bins
    #[arg(long)]
    corpus: PathBuf,
    /// Times that each side has its turn; the middle one counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Epochs of each training
    #[arg(long, default_value_t = 20)]
    epochs: u32,
}

/// One side's forest.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Forest {
    rows_per_second: f64,
    auroc: f64,
}

/// Log spectra of the parts, row after row.
struct Corpus {
    bins: usize,
    train: Vec<f32>,
    healthy: Vec<f32>,
    end: Vec<f32>,
}

/// Runs it.
pub(crate) fn run(options: &Options) -> Result<Report> {
    ensure!(options.rounds > 0, "--rounds: at least one is needed");
    let filter = Filter {
        sensors: Some(Glob::parse("sensors", "*/horizontal")?),
        splits: None,
    };
    let rows = read_all(std::slice::from_ref(&options.corpus), &filter, |_| {})?;
    let corpus = Corpus::of(&rows)?;
    let python = tools::python_with(&["numpy", "duckdb", "sklearn"]).context("a Python with scikit-learn is needed")?;
    let script = tempfile::NamedTempFile::with_suffix(".py")?;
    std::fs::write(script.path(), SCRIPT)?;
    let theirs = |what: &str, seed: u64| -> Result<Value> { ask(&python, script.path(), what, seed, options) };

    let (mut ours, mut sklearn) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        eprintln!("isolation forest, round {} of {}", round + 1, options.rounds);
        let seed = (round * FORESTS) as u64;
        ours.push(corpus.forests(seed)?);
        let said = theirs("forest", seed)?;
        sklearn.push(Forest {
            rows_per_second: number(&said, "rows_per_second")?,
            auroc: number(&said, "auroc")?,
        });
    }
    let mut report = Report::default();
    compare(&mut report, &ours, &sklearn);

    let (mut conv, mut torch) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        eprintln!("training of conv64, round {} of {}", round + 1, options.rounds);
        conv.push(trained(&rows, options.epochs)?);
        if let Some(rate) = theirs("conv", round as u64)?["rows_per_second"].as_f64() {
            torch.push(rate);
        }
    }
    report.figure("conv64_rows_per_second", middle(&conv));
    if torch.is_empty() {
        report.note("torch_conv64", "PyTorch is not installed");
    } else {
        report.figure("torch_conv64_rows_per_second", middle(&torch));
        report.figure("conv64_ratio", middle(&conv) / middle(&torch));
    }
    Ok(report)
}

fn compare(report: &mut Report, ours: &[Forest], sklearn: &[Forest]) {
    let speed = |forests: &[Forest]| middle(&forests.iter().map(|forest| forest.rows_per_second).collect::<Vec<_>>());
    let area = |forests: &[Forest]| forests.iter().map(|forest| forest.auroc).sum::<f64>() / forests.len() as f64;
    report.figure("forest_rows_per_second", speed(ours));
    report.figure("sklearn_forest_rows_per_second", speed(sklearn));
    report.figure("forest_ratio", speed(ours) / speed(sklearn));
    report.note("forest_auroc", area(ours));
    report.note("sklearn_forest_auroc", area(sklearn));
    report.note("forest_auroc_difference", area(ours) - area(sklearn));
}

impl Corpus {
    fn of(rows: &[Row]) -> Result<Self> {
        let bins = rows
            .first()
            .context("--corpus: no row of a horizontal sensor")?
            .bins
            .len();
        let s0 = SpectrumSpec::corpus_default(bins as u16).canonical_s0();
        let part = |split: &str| {
            let wanted = rows.iter().filter(|row| row.split.as_deref() == Some(split));
            let linear: Vec<f32> = wanted.flat_map(|row| &row.bins).copied().collect();
            let mut log = vec![0.0; linear.len()];
            log_spectrum_into(&linear, s0, &mut log);
            log
        };
        let corpus = Self {
            bins,
            train: part("train"),
            healthy: part("test_healthy"),
            end: part("end"),
        };
        ensure!(
            !corpus.train.is_empty() && !corpus.end.is_empty(),
            "--corpus: splits train and end are needed"
        );
        Ok(corpus)
    }

    /// Ours: fitted on the training rows with this seed and those that follow; one is timed over all rows on one
    /// thread.
    fn forests(&self, seed: u64) -> Result<Forest> {
        let mut areas = Vec::with_capacity(FORESTS);
        for seed in seed..seed + FORESTS as u64 {
            let forest = self.fitted(seed)?;
            let (healthy, end) = (self.scores(&forest, &self.healthy), self.scores(&forest, &self.end));
            areas.push(auroc(&healthy, &end).context("no row to test on")?);
        }
        let forest = self.fitted(seed)?;
        let whole = self.whole();
        let started = Instant::now();
        let scored = self.scores(&forest, &whole).len();
        Ok(Forest {
            rows_per_second: scored as f64 / started.elapsed().as_secs_f64(),
            auroc: areas.iter().sum::<f64>() / areas.len() as f64,
        })
    }

    fn fitted(&self, seed: u64) -> Result<IsolationForest> {
        let rows = Rows::new(&self.train, self.bins)?;
        let mut rng = StdRng::seed_from_u64(seed);
        Ok(IsolationForest::fit(rows, ForestParameters::default(), &mut rng)?)
    }

    fn scores(&self, forest: &IsolationForest, log: &[f32]) -> Vec<f64> {
        let mut scores = vec![0.0; log.len() / self.bins];
        for (rows, scores) in log.chunks(BATCH * self.bins).zip(scores.chunks_mut(BATCH)) {
            forest.score_batch(rows, self.bins, scores);
        }
        scores.into_iter().map(f64::from).collect()
    }

    /// Whole batches of what there is, over and over: at least 100,000 rows.
    fn whole(&self) -> Vec<f32> {
        let rows = self.train.iter().chain(&self.healthy).chain(&self.end).copied();
        rows.cycle().take(25 * BATCH * self.bins).collect()
    }
}

/// Rows trained on per second by the convolutional autoencoder, in batches of 256.
fn trained(rows: &[Row], epochs: u32) -> Result<f64> {
    let spec = SpectrumSpec::corpus_default(rows[0].bins.len() as u16);
    let mut set = TrainingSet::new(&spec);
    for row in rows.iter().filter(|row| row.split.as_deref() == Some("train")) {
        set.push(&row.sensor.to_string(), row.captured_at, &row.bins)?;
    }
    let request = TrainRequest {
        class: Slug::parse("class", "bearing")?,
        train: &set,
        calibration: &TrainingSet::new(&spec),
        variant: Variant::Conv,
        foreign: None,
        latent: None,
        seed: 0,
        options: Some(FitOptions {
            epochs,
            patience: epochs,
            batch: 256,
            objective: Objective::Plain,
            ..FitOptions::of(Variant::Conv)
        }),
        corpora: Vec::new(),
        created_at: Timestamp::from_micros(0),
    };
    let mut rate = 0.0;
    train(&request, |progress| rate = progress.rows_per_second)?;
    Ok(rate)
}

fn ask(python: &Path, script: &Path, what: &str, seed: u64, options: &Options) -> Result<Value> {
    let output = Command::new(python)
        .arg(script)
        .args([
            what,
            &seed.to_string(),
            &FORESTS.to_string(),
            &options.epochs.to_string(),
        ])
        .arg(&options.corpus)
        .env("OMP_NUM_THREADS", if what == "forest" { "1" } else { "2" })
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("what Python printed")
}

fn number(said: &Value, name: &str) -> Result<f64> {
    said[name].as_f64().with_context(|| format!("{name}: {said}"))
}

fn middle(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forests_part_the_same_rows_about_as_well() {
        let Some(corpus) = tocsin_tests::data::file("femto/spectra64.parquet") else {
            return;
        };
        if tools::python_with(&["numpy", "duckdb", "sklearn"]).is_none() {
            return;
        }
        let options = Options {
            corpus,
            rounds: 1,
            epochs: 1,
        };
        let report = run(&options).unwrap();
        let difference = report.value("forest_auroc_difference").as_f64().unwrap();
        assert!(difference.abs() < 0.03, "{difference}");
        assert!(report.value("conv64_rows_per_second").as_f64().unwrap() > 0.0);
    }
}
