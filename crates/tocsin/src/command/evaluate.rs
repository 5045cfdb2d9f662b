//! `tocsin evaluate`: how well the detectors and the ensemble part failing readings from healthy ones; and, in
//! `run-to-failure` and `inject`, what limits against each sensor's own baseline would have paged, and when.

mod contamination;
mod lives;
mod networks;
mod run_to_failure;
mod taught;
mod training;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tocsin_evaluate::{Parts, Report, Row, measure, summarise};
use tocsin_models::{Bundle, BundleArchive};

use self::contamination::Told;
use self::networks::Recipes;
use self::taught::Tested;
use self::training::Trial;
use super::choice::Choice;
use super::corpora::Corpora;
use crate::output::{Format, Output, Section};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Evaluate {
    #[command(subcommand)]
    kind: Option<Kind>,
    #[command(flatten)]
    corpora: Corpora,
    #[command(flatten)]
    choice: Choice,
    /// A bundle's folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["variants", "seeds"])]
    bundle: Option<PathBuf>,
    /// Networks to train: dense, conv, `temporal_conv`, `temporal_lstm`, pca or mahalanobis; with an objective or "all"
    /// after an underscore; or "all" alone
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_value = "dense,conv")]
    variants: Vec<Recipes>,
    /// Seeds to train each with
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
    /// Train and set the lines on all machines but one, test on that one, and do so for each
    #[arg(long, conflicts_with = "bundle")]
    leave_one_machine_out: bool,
    /// Share of rows that may be faults, of which at most so many are left out
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, conflicts_with = "bundle")]
    trim: f64,
    /// Train each network also with this share of faulty rows among the healthy ones, without and with --trim
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["bundle", "leave_one_machine_out"])]
    contaminate: Option<f64>,
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
        if !(0.0..0.5).contains(&self.trim) {
            bail!("--trim: {} is not between 0 and below 0.5", self.trim);
        }
        let rows = self.corpora.read(None)?;
        let (rows, selection) = self.choice.apply(&self.corpora, rows, "train")?;
        let spec = self.corpora.spec(&rows)?;
        let recipes = networks::chosen(&self.variants);
        let trial = Trial {
            rows: &rows,
            spec: &spec,
            recipes: &recipes,
            seeds: self.seeds,
            trim: self.trim,
        };
        let (report, told) = match (&self.bundle, self.contaminate) {
            (Some(folder), _) => {
                let archive =
                    BundleArchive::from_dir(folder).with_context(|| format!("--bundle {}", folder.display()))?;
                let bundle = Bundle::from_archive(archive)?;
                let tested = Tested {
                    corpora: &self.corpora.digests()?,
                    selection: &selection,
                    rows: &rows,
                };
                tested.check(&bundle.manifest().lineage)?;
                let parts = Parts::from_rows(&spec, &rows)?;
                (summarise(1, &[measure(&bundle, &parts)?]), Vec::new())
            }
            (None, Some(share)) => trial.contaminated(share)?,
            (None, None) if self.leave_one_machine_out => (trial.leave_one_out()?, Vec::new()),
            (None, None) => (trial.together()?, Vec::new()),
        };
        print(&report, &told, self.output)
    }
}

/// The figures of each detector, and what was told of faults that were planted.
fn print(report: &Report, told: &[Told], output: Output) -> Result<()> {
    if output.format == Format::Json {
        let mut document = serde_json::to_value(report).context("the report")?;
        if !told.is_empty() {
            document["planted"] = serde_json::to_value(told).context("the report")?;
        }
        return crate::output::document(&document);
    }
    let rows: Vec<Value> = report.detectors.iter().map(|(name, row)| cells(name, row)).collect();
    let columns: Vec<&str> = COLUMNS
        .into_iter()
        .filter(|column| !column.ends_with("interval") || !report.machines.is_empty())
        .collect();
    let mut head = json!({ "verdict": report.verdict });
    if !report.machines.is_empty() {
        head["left_out_in_turn"] = report.machines.join(", ").into();
    }
    let planted = told.iter().map(|told| json!(told)).collect();
    let sections = [
        Section {
            title: format!("detectors, {} seeds", report.seeds),
            items: rows,
            columns: &columns,
        },
        Section {
            title: "faults planted among rows taken for healthy".to_owned(),
            items: planted,
            columns: &["network", "seed", "planted", "suspects", "planted_suspects"],
        },
    ];
    output.report("evaluation", &Value::Null, &head, &sections)?;
    let extrapolated = |row: &Row| row.insufficient_995 || row.insufficient_9995;
    if report.detectors.values().any(extrapolated) {
        eprintln!("* too few calibration readings stand behind this line: it is extrapolated by the fitted tail");
    }
    if let (Some(best), Some(gap)) = (&report.best_member, report.ensemble_gap) {
        let side = if gap < 0.0 { "above" } else { "below" };
        let gap = gap.abs();
        eprintln!("best single detector: {best}; the ensemble's area under the curve lies {gap:.4} {side} it");
    }
    Ok(())
}

const COLUMNS: [&str; 11] = [
    "detector",
    "auroc",
    "sd",
    "auroc_interval",
    "average_precision",
    "recall_995",
    "fpr_995",
    "fpr_995_interval",
    "recall_9995",
    "fpr_9995",
    "auroc_incipient",
];

/// A detector's row, by [`COLUMNS`].
fn cells(name: &str, row: &Row) -> Value {
    let figure = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let interval =
        |value: Option<[f64; 2]>| value.map_or("-".to_owned(), |[low, high]| format!("{low:.3} to {high:.3}"));
    let marked = |value: Option<f64>, mark: bool| figure(value) + if mark { " *" } else { "" };
    json!({
        "detector": name,
        "auroc": figure(row.auroc),
        "sd": figure(row.auroc_sd),
        "auroc_interval": interval(row.auroc_interval),
        "average_precision": figure(row.average_precision),
        "recall_995": marked(row.recall_995, row.insufficient_995),
        "fpr_995": marked(row.fpr_995, row.insufficient_995),
        "fpr_995_interval": interval(row.fpr_995_interval),
        "recall_9995": marked(row.recall_9995, row.insufficient_9995),
        "fpr_9995": marked(row.fpr_9995, row.insufficient_9995),
        "auroc_incipient": figure(row.auroc_incipient),
    })
}
