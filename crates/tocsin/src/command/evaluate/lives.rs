//! `tocsin evaluate run-to-failure` and `inject`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tocsin_corpus::{Row, read_all};
use tocsin_domain::SpectrumSpec;
use tocsin_evaluate::{InjectReport, Injection, MachineLife, Outcome, Rules, RunToFailure, inject, run_to_failure};
use tocsin_judge::{FleetReplay, Role};

use crate::command::corpora::{Corpora, bar};
use crate::output::{Format, Output, document};

/// What a line that stands out of its neighbours may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Narrowband {
    /// Alert at most
    Alert,
    /// Page
    Page,
}

/// Whose readings, and the constants that judge them.
#[derive(Debug, Args)]
struct Lives {
    #[command(flatten)]
    corpora: Corpora,
    /// Parquet files of machines that limits may be learned from and that are not judged themselves
    #[arg(long, num_args = 1.., value_name = "FILE")]
    fleet: Vec<PathBuf>,
    /// Readings a sensor is commissioned on
    #[arg(long, value_name = "N", default_value_t = 100)]
    commission: usize,
    /// Readings at the head of a sensor's life that are passed over
    #[arg(long, value_name = "N", default_value_t = 10)]
    skip: usize,
    /// Least time that commissioning spans; only 0 is known here, where it goes by count alone
    #[arg(long, value_name = "HOURS", default_value_t = 0)]
    commission_span: u32,
    /// What a line that stands out of its neighbours may do
    #[arg(long, value_enum, default_value = "page")]
    narrowband: Narrowband,
    /// Spectra of a sensor averaged before they are held against its baseline
    #[arg(long, value_name = "N", default_value_t = 1)]
    smoothing: usize,
    /// The page line over what healthy machines reach
    #[arg(long, value_name = "FACTOR", default_value_t = 2.5)]
    page_factor: f64,
    /// The alert line over what healthy machines reach
    #[arg(long, value_name = "FACTOR", default_value_t = 1.75)]
    alert_factor: f64,
    /// The alert line over what healthy machines reach of shift and overall level, which look both ways
    #[arg(long, value_name = "FACTOR", default_value_t = 2.5)]
    two_sided_factor: f64,
    /// Share of a machine's life that is its healthy history
    #[arg(long, value_name = "SHARE", default_value_t = 0.35)]
    healthy_share: f64,
    /// The decision interval in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    step: f64,
}

impl Lives {
    fn rules(&self) -> Result<Rules> {
        if self.commission_span != 0 {
            bail!("--commission-span: a run to failure is commissioned by count alone, 0 is the only span");
        }
        let rules = Rules {
            skip: self.skip,
            commission: self.commission,
            healthy_share: self.healthy_share,
            smoothing: self.smoothing,
            limits: FleetReplay {
                alert_factor: self.alert_factor,
                page_factor: self.page_factor,
                two_sided_factor: self.two_sided_factor,
                narrowband: match self.narrowband {
                    Narrowband::Alert => Role::Alert,
                    Narrowband::Page => Role::Page,
                },
            },
            step_s: self.step,
            ..Rules::default()
        };
        Ok(rules.parse()?)
    }

    /// The machines to judge, those of the fleet alone, and the specification of all.
    fn load(&self) -> Result<(Vec<MachineLife>, Vec<MachineLife>, SpectrumSpec)> {
        let rows = self.corpora.read(None)?;
        let spec = self.corpora.spec(&rows)?;
        let lives = MachineLife::from_rows(&spec, &rows)?;
        let fleet: Vec<Row> = match self.fleet.as_slice() {
            [] => Vec::new(),
            files => read_all(files, &self.corpora.filter(None)?, |_| {}).context("--fleet")?,
        };
        let fleet = MachineLife::from_rows(&spec, &fleet).context("--fleet")?;
        Ok((lives, fleet, spec))
    }
}

/// Judges every machine of the corpus in time order, strictly causally, through the code of the services. A machine is
/// taken to have failed at its last reading. Limits come from the other machines' healthy histories, by fleet replay.
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
    #[command(flatten)]
    output: Output,
}

impl RunToFailureArgs {
    pub(super) fn run(self) -> Result<()> {
        let rules = self.lives.rules()?;
        let (lives, fleet, _) = self.lives.load()?;
        let bar = bar(lives.len() as u64, "{pos}/{len} machines judged, {eta} left");
        let report = run_to_failure(&lives, &fleet, &rules, self.nested, || bar.inc(1))?;
        bar.finish_and_clear();
        if self.output.format == Format::Json {
            return document(&serde_json::to_value(&report).context("the report")?);
        }
        table(&report, &self.output)
    }
}

fn table(report: &RunToFailure, output: &Output) -> Result<()> {
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
        "alert_lead",
        "false_alerts_before_50",
    ];
    output.list("machines", rows, &columns)?;
    let summary = &report.summary;
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
    Ok(())
}

/// Raises neighbouring bins of all of a machine's sensors on its healthy stretch. A case counts when a page (alert) is
/// open inside it that was not open then in the untouched run.
#[derive(Debug, Args)]
pub(super) struct InjectArgs {
    #[command(flatten)]
    lives: Lives,
    /// How many neighbouring bins rise
    #[arg(long, value_name = "N", value_delimiter = ',', required = true)]
    bins: Vec<usize>,
    /// By how many decibels of amplitude
    #[arg(long, value_name = "DB", value_delimiter = ',', required = true)]
    db: Vec<f64>,
    /// Grow to that over so many days, instead of at once
    #[arg(long, value_name = "DAYS", value_delimiter = ',')]
    ramp_days: Vec<f64>,
    /// Readings that a step lasts
    #[arg(long, value_name = "N", default_value_t = 100)]
    readings: usize,
    /// Places along each machine's healthy stretch
    #[arg(long, value_name = "N", default_value_t = 4)]
    places: usize,
    /// Draws of each
    #[arg(long, value_name = "N", default_value_t = 5)]
    seeds: u64,
    #[command(flatten)]
    output: Output,
}

impl InjectArgs {
    pub(super) fn run(self) -> Result<()> {
        let rules = self.lives.rules()?;
        let injections = self.injections()?;
        let (lives, fleet, spec) = self.lives.load()?;
        let bar = bar(injections.len() as u64, "{pos}/{len} injections, {eta} left");
        let mut reports = Vec::with_capacity(injections.len());
        for injection in &injections {
            reports.push(inject(&lives, &fleet, &spec, &rules, injection)?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        if self.output.format == Format::Json {
            return document(&json(&reports)?);
        }
        let rows: Vec<Value> = reports.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        self.output.list(
            "injections",
            rows,
            &["bins", "rise_db", "ramp_days", "cases", "alerted", "paged"],
        )
    }

    fn injections(&self) -> Result<Vec<Injection>> {
        if let Some(days) = self.ramp_days.iter().find(|days| !(**days > 0.0 && **days <= 36_500.0)) {
            bail!("--ramp-days: {days} is not a length of time above 0");
        }
        let ramps: Vec<Option<Duration>> = match self.ramp_days.as_slice() {
            [] => vec![None],
            days => days
                .iter()
                .map(|days| Some(Duration::from_secs_f64(days * 86_400.0)))
                .collect(),
        };
        let mut injections = Vec::new();
        for &bins in &self.bins {
            for &rise_db in &self.db {
                injections.extend(ramps.iter().map(|&ramp| Injection {
                    bins,
                    rise_db,
                    ramp,
                    step_readings: self.readings,
                    places: self.places,
                    seeds: self.seeds,
                }));
            }
        }
        if self.bins.contains(&0) || self.readings == 0 {
            bail!("--bins, --readings: must be at least 1");
        }
        Ok(injections)
    }
}

/// One document: the sums over all injections, and each by itself.
fn json(reports: &[InjectReport]) -> Result<Value> {
    let sum = |of: fn(&InjectReport) -> usize| reports.iter().map(of).sum::<usize>();
    let db_at_page: Vec<f64> = reports.iter().flat_map(|report| report.db_at_page.clone()).collect();
    Ok(json!({
        "cases": sum(|r| r.cases),
        "alerted": sum(|r| r.alerted),
        "paged": sum(|r| r.paged),
        "activations": sum(|r| r.activations),
        "db_at_page": db_at_page,
        "injections": serde_json::to_value(reports).context("the report")?,
    }))
}
