//! Whose lives `tocsin evaluate run-to-failure` and `inject` judge, and by what constants; and `inject` itself.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tocsin_corpus::{Row, read_all};
use tocsin_domain::SpectrumSpec;
use tocsin_evaluate::{
    InjectReport, Injection, MachineLife, Recalibration, Rules, Schedule, SlowFailures, inject, inject_slowly,
};
use tocsin_judge::{FleetReplay, Role};

use crate::command::corpora::{Corpora, bar};
use crate::output::{Format, Output, document};

/// Share of a run to failure that is taken for healthy.
pub(super) const HEALTHY_SHARE: f64 = 0.35;

/// What a detector's level may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Most {
    /// Alert at most
    Alert,
    /// Page
    Page,
}

impl From<Most> for Role {
    fn from(most: Most) -> Self {
        match most {
            Most::Alert => Self::Alert,
            Most::Page => Self::Page,
        }
    }
}

/// Whose readings, and the constants that judge them.
#[derive(Debug, Args)]
pub(super) struct Lives {
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
    narrowband: Most,
    /// What a shift in either direction may do
    #[arg(long, value_enum, default_value = "page")]
    shift: Most,
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
    #[arg(long, value_name = "FACTOR", default_value_t = 2.0)]
    two_sided_factor: f64,
    /// Share of a machine's life that is its healthy history; 0.35, or all of it where ramps are recalibrated
    #[arg(long, value_name = "SHARE")]
    healthy_share: Option<f64>,
    /// The decision interval in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    step: f64,
}

impl Lives {
    /// The constants; `healthy_share` where none was given.
    pub(super) fn rules(&self, healthy_share: f64) -> Result<Rules> {
        if self.commission_span != 0 {
            bail!("--commission-span: a run to failure is commissioned by count alone, 0 is the only span");
        }
        let rules = Rules {
            skip: self.skip,
            commission: self.commission,
            healthy_share: self.healthy_share.unwrap_or(healthy_share),
            smoothing: self.smoothing,
            limits: FleetReplay {
                alert_factor: self.alert_factor,
                page_factor: self.page_factor,
                two_sided_factor: self.two_sided_factor,
                narrowband: self.narrowband.into(),
                shift: self.shift.into(),
            },
            step_s: self.step,
            ..Rules::default()
        };
        Ok(rules.parse()?)
    }

    /// The machines to judge, those of the fleet alone, and the specification of all.
    pub(super) fn load(&self) -> Result<(Vec<MachineLife>, Vec<MachineLife>, SpectrumSpec)> {
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
    /// Judge the whole fleet day by day while its baselines follow it by this policy, with ramps in some machines at once
    #[arg(long, value_enum, value_name = "POLICY", requires = "ramp_days")]
    recalibrate: Option<Policy>,
    /// Machines that get a ramp, where the fleet is recalibrated
    #[arg(long, value_name = "N", default_value_t = 15)]
    cases: usize,
    /// Draws those machines, their bins and times
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Days after commissioning over which the fleet's limits are learned, where it is recalibrated
    #[arg(long, value_name = "DAYS", default_value_t = 7.0)]
    settle_days: f64,
    #[command(flatten)]
    output: Output,
}

/// What the recalibrator may activate by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Policy {
    /// Nothing: what was commissioned judges for good
    Frozen,
    /// Down, back up to what was commissioned, and up with the class by 3 dB in all
    Guarded,
    /// Whatever the last day looked like: shown for comparison, it learns failures as normal
    Symmetric,
}

impl From<Policy> for Recalibration {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Frozen => Self::Frozen,
            Policy::Guarded => Self::guarded(),
            Policy::Symmetric => Self::Symmetric,
        }
    }
}

impl InjectArgs {
    pub(super) fn run(self) -> Result<()> {
        let slow = self.recalibrate.map(|policy| self.slow(policy)).transpose()?;
        let rules = self.lives.rules(if slow.is_some() { 1.0 } else { HEALTHY_SHARE })?;
        let injections = self.injections()?;
        let (lives, fleet, spec) = self.lives.load()?;
        let bar = bar(injections.len() as u64, "{pos}/{len} injections, {eta} left");
        let mut reports = Vec::with_capacity(injections.len());
        for injection in &injections {
            reports.push(match &slow {
                Some(slow) => inject_slowly(&lives, &spec, &rules, injection, slow)?,
                None => inject(&lives, &fleet, &spec, &rules, injection)?,
            });
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
            &[
                "bins",
                "rise_db",
                "ramp_days",
                "cases",
                "alerted",
                "paged",
                "activations",
                "false_pages",
            ],
        )
    }

    fn slow(&self, policy: Policy) -> Result<SlowFailures> {
        if !(self.settle_days > 0.0 && self.settle_days <= 3_650.0) {
            bail!("--settle-days: {} is not a length of time above 0", self.settle_days);
        }
        if !self.lives.fleet.is_empty() {
            bail!("--fleet: a fleet that is recalibrated is judged as a whole, by limits of its own");
        }
        Ok(SlowFailures {
            machines: self.cases,
            seed: self.seed,
            schedule: Schedule {
                settle: Duration::from_secs_f64(self.settle_days * 86_400.0),
                ..Schedule::default()
            },
            recalibration: policy.into(),
        })
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
    let all = |of: fn(&InjectReport) -> &Vec<f64>| reports.iter().flat_map(of).copied().collect::<Vec<f64>>();
    Ok(json!({
        "cases": sum(|r| r.cases),
        "alerted": sum(|r| r.alerted),
        "paged": sum(|r| r.paged),
        "activations": sum(|r| r.activations),
        "db_at_page": all(|r| &r.db_at_page),
        "db_at_alert": all(|r| &r.db_at_alert),
        "false_pages": sum(|r| r.false_pages),
        "injections": serde_json::to_value(reports).context("the report")?,
    }))
}
