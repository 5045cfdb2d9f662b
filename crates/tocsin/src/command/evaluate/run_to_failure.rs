//! `tocsin evaluate run-to-failure`.

mod method;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use tocsin_evaluate::{
    ABLATIONS, Draws, MachineLife, Method, Outcome, RunToFailure, Setting, Summary, ablation, class_sizes,
    run_to_failure,
};

use super::lives::{HEALTHY_SHARE, Lives};
use crate::command::corpora::bar;
use crate::output::{Format, Output, document};
use method::{MethodArg, Training};

/// Judges every machine of the corpus in time order, strictly causally, through the code of the services. A machine is
/// taken to have failed at its last reading. Limits come from the other machines' healthy histories.
#[derive(Debug, Args)]
pub(super) struct RunToFailureArgs {
    #[command(flatten)]
    lives: Lives,
    /// Learn every machine's limits from the others alone; this is always done, and the flag says so
    #[arg(long)]
    leave_one_machine_out: bool,
    /// Choose every constant on the other machines as well, fold by fold
    #[arg(long)]
    nested: bool,
    /// Where the limits come from
    #[arg(long, value_enum, default_value = "fleet-replay", conflicts_with = "nested")]
    method: MethodArg,
    #[command(flatten)]
    training: Training,
    /// Learn limits from only so many of the other machines, in several draws, and tell how the summary suffers
    #[arg(long, value_name = "N", value_delimiter = ',', conflicts_with_all = ["nested", "ablation"])]
    class_size: Vec<usize>,
    /// Draws of each class size
    #[arg(long, value_name = "N", default_value_t = 5, requires = "class_size")]
    draws: u64,
    /// Weigh the parts of the default by leaving one out, or doing it otherwise, at a time
    #[arg(long, conflicts_with_all = ["nested", "method"])]
    ablation: bool,
    #[command(flatten)]
    output: Output,
}

impl RunToFailureArgs {
    pub(super) fn run(self) -> Result<()> {
        if self.class_size.contains(&0) || self.draws == 0 {
            bail!("--class-size, --draws: must be at least 1");
        }
        let rules = self.method.rules(self.lives.rules(HEALTHY_SHARE)?);
        let (lives, fleet, spec) = self.lives.load()?;
        if self.ablation {
            let bar = bar(ABLATIONS as u64, "{pos}/{len} variants judged, {eta} left");
            let rows = ablation(&lives, &fleet, &rules, || bar.inc(1))?;
            bar.finish_and_clear();
            return rows_of("ablation", serde_json::to_value(&rows)?, &ABLATED, self.output);
        }
        let train = self.training.with(&spec);
        let setting = Setting {
            method: match self.method.lines() {
                Some(variation) => Method::Baselines(variation),
                None => Method::Textbook(&train),
            },
            nested: self.nested,
            ..Setting::new(rules)
        };
        if !self.class_size.is_empty() {
            return self.by_class_size((&lives, &fleet), &setting);
        }
        let bar = bar(lives.len() as u64, "{pos}/{len} machines judged, {eta} left");
        let report = run_to_failure(&lives, &fleet, &setting, || bar.inc(1))?;
        bar.finish_and_clear();
        if self.output.format == Format::Json {
            let mut told = serde_json::to_value(&report).context("the report")?;
            told["method"] = self.method.name().into();
            return document(&told);
        }
        table(&report, self.output)
    }

    fn by_class_size(&self, (lives, fleet): (&[MachineLife], &[MachineLife]), setting: &Setting<'_>) -> Result<()> {
        let draws = Draws {
            count: self.draws,
            seed: self.training.seed,
        };
        let total = self.draws * self.class_size.len() as u64;
        let bar = bar(total, "{pos}/{len} draws judged, {eta} left");
        let rows = class_sizes(lives, fleet, setting, &self.class_size, draws, || bar.inc(1))?;
        bar.finish_and_clear();
        rows_of("class_sizes", serde_json::to_value(&rows)?, &CLASS_SIZE, self.output)
    }
}

const ABLATED: [&str; 6] = [
    "variant",
    "valid",
    "false_pages_before_35",
    "false_pages_before_50",
    "false_page_share",
    "median_lead_readings",
];

const CLASS_SIZE: [&str; 8] = [
    "learned_from",
    "valid",
    "valid_least",
    "false_pages_before_35",
    "false_pages_before_50",
    "false_pages_before_50_most",
    "false_page_share",
    "median_lead_readings",
];

/// A document with one list, or a table of it.
fn rows_of(name: &str, rows: Value, columns: &[&str], output: Output) -> Result<()> {
    if output.format == Format::Json {
        return document(&json!({ name: rows }));
    }
    let Value::Array(rows) = rows else {
        bail!("{name}: not a list");
    };
    output.list(name, rows, columns)
}

fn table(report: &RunToFailure, output: Output) -> Result<()> {
    let row = |machine: &Outcome| {
        json!({
            "machine": machine.machine,
            "steps": machine.readings,
            "detected": machine.detected,
            "valid": machine.valid,
            "first_page": machine.first_page,
            "lead": machine.lead_readings,
            "false_before_35": machine.false_pages_before_35,
            "false_before_50": machine.false_pages_before_50,
            "false_steps": machine.false_page_readings,
            "re_pages": machine.re_pages,
            "pages": machine.pages,
            "explained": machine.pages_explained,
            "at_end": machine.incidents_at_end,
            "alert_lead": machine.alert.lead_readings,
            "false_alerts_before_50": machine.alert.false_alerts_before_50,
        })
    };
    let rows: Vec<Value> = report.machines.iter().map(row).collect();
    let columns = [
        "machine",
        "steps",
        "detected",
        "valid",
        "first_page",
        "lead",
        "false_before_35",
        "false_before_50",
        "false_steps",
        "at_end",
        "pages",
        "re_pages",
        "explained",
        "alert_lead",
        "false_alerts_before_50",
    ];
    output.list("machines", rows, &columns)?;
    told(&report.summary);
    Ok(())
}

/// The summary, for a reader.
fn told(summary: &Summary) {
    eprintln!(
        "{} of {} valid, median lead {} steps; false pages before half of life: {}, {:.2} % of the time there",
        summary.valid,
        summary.machines,
        summary.median_lead_readings,
        summary.false_pages_before_50,
        100.0 * summary.false_page_share
    );
    if let Some(rate) = &summary.false_pages_per_machine_hour {
        eprintln!(
            "{} in {:.1} machine-hours: {:.4} an hour, 95 % interval {:.4} to {:.4}",
            rate.events, rate.exposure, rate.rate, rate.lower, rate.upper
        );
    }
}
