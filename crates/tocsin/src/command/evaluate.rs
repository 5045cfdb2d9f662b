//! `tocsin evaluate`: how well the detectors and the ensemble part failing readings from healthy ones; and, in
//! `run-to-failure` and `inject`, what limits against each sensor's own baseline would have paged, and when.

mod lives;
mod run_to_failure;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tocsin_corpus::Row;
use tocsin_domain::{Slug, SpectrumSpec};
use tocsin_evaluate::{Figures, Parts, Report, measure, summarise};
use tocsin_models::{Bundle, BundleArchive, Variant};

use super::corpora::{Corpora, bar};
use super::train::{Fitting, fit};
use crate::output::{Format, Output, document};

/// Which bundles to evaluate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Variants {
    /// Dense and convolutional
    All,
    /// Fully connected alone
    Dense,
    /// Convolutional alone
    Conv,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Evaluate {
    #[command(subcommand)]
    kind: Option<Kind>,
    #[command(flatten)]
    corpora: Corpora,
    /// A bundle's folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["variants", "seeds"])]
    bundle: Option<PathBuf>,
    /// Kinds of autoencoder to train
    #[arg(long, value_enum, default_value = "all")]
    variants: Variants,
    /// Seeds to train each with
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// Judge machines that ran to failure, each under limits learned from the others
    RunToFailure(run_to_failure::RunToFailureArgs),
    /// Put steps and ramps into healthy stretches, and count what is alerted and paged
    Inject(lives::InjectArgs),
}

impl Evaluate {
    pub(super) fn run(self) -> Result<()> {
        match self.kind {
            Some(Kind::RunToFailure(args)) => return args.run(),
            Some(Kind::Inject(args)) => return args.run(),
            None => {}
        }
        if self.seeds == 0 {
            bail!("--seeds: at least one seed is needed");
        }
        let rows = self.corpora.read(None)?;
        let spec = self.corpora.spec(&rows)?;
        let parts = Parts::from_rows(&spec, &rows)?;
        let report = match &self.bundle {
            Some(folder) => {
                let archive =
                    BundleArchive::from_dir(folder).with_context(|| format!("--bundle {}", folder.display()))?;
                summarise(1, &[measure(&Bundle::from_archive(archive)?, &parts)?])
            }
            None => self.trained(&rows, &spec, &parts)?,
        };
        print(&report, self.output.format)
    }

    /// Trains every variant with every seed. What stands beside the network is the same in each bundle of a seed but for
    /// its own draws, so the first variant's are reported.
    fn trained(&self, rows: &[Row], spec: &SpectrumSpec, parts: &Parts) -> Result<Report> {
        let variants: &[Variant] = match self.variants {
            Variants::All => &[Variant::Dense, Variant::Conv],
            Variants::Dense => &[Variant::Dense],
            Variants::Conv => &[Variant::Conv],
        };
        let bar = bar(
            self.seeds * variants.len() as u64,
            "{pos}/{len} bundles trained, {eta} left",
        );
        let mut runs = Vec::new();
        for seed in 0..self.seeds {
            let mut of_seed = std::collections::BTreeMap::<String, Figures>::new();
            for variant in variants {
                let fitting = Fitting {
                    class: Slug::parse("class", "evaluation")?,
                    variant: *variant,
                    latent: None,
                    seed,
                    split: "train".to_owned(),
                    corpora: Vec::new(),
                };
                let bundle = Bundle::from_archive(fit(rows, spec, &fitting)?)?;
                for (name, figures) in measure(&bundle, parts)? {
                    of_seed.entry(name).or_insert(figures);
                }
                bar.inc(1);
            }
            runs.push(of_seed);
        }
        bar.finish_and_clear();
        Ok(summarise(self.seeds as usize, &runs))
    }
}

fn print(report: &Report, format: Format) -> Result<()> {
    if format == Format::Json {
        return document(&serde_json::to_value(report).context("the report")?);
    }
    let rows: Vec<Value> = report
        .detectors
        .iter()
        .map(|(name, row)| {
            let figure = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
            let marked = |value: Option<f64>, mark: bool| figure(value) + if mark { " *" } else { "" };
            json!({
                "detector": name,
                "auroc": figure(row.auroc),
                "sd": figure(row.auroc_sd),
                "average_precision": figure(row.average_precision),
                "recall_995": marked(row.recall_995, row.insufficient_995),
                "fpr_995": marked(row.fpr_995, row.insufficient_995),
                "recall_9995": marked(row.recall_9995, row.insufficient_9995),
                "fpr_9995": marked(row.fpr_9995, row.insufficient_9995),
                "auroc_incipient": figure(row.auroc_incipient),
            })
        })
        .collect();
    let columns = [
        "detector",
        "auroc",
        "sd",
        "average_precision",
        "recall_995",
        "fpr_995",
        "recall_9995",
        "fpr_9995",
        "auroc_incipient",
    ];
    Output { format }.list("detectors", rows, &columns)?;
    eprintln!("* too few calibration readings stand behind this line: it is extrapolated by the fitted tail");
    eprintln!(
        "best single detector: {}; the ensemble's area under the curve lies {:+.4} below it",
        report.best_member, report.ensemble_gap
    );
    Ok(())
}
