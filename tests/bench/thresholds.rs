//! Setting limits for a large class by fleet replay: wall time, memory and disk.
//!
//! The readings of days are put into the store by `COPY`, in the order in which a plant would have sent them, as if they
//! had been judged; what is measured is one `thresholds propose --method fleet-replay` over all of them, by the process
//! that serves, and one `thresholds test` of what came of it. Each machine is read twice to propose: for what it reached,
//! and for the pages that are expected of the new limits; and once more to test.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;
use tocsin_contracts::recalibrator::v1::propose_request::{Method, Source};
use tocsin_contracts::recalibrator::v1::recalibrator_service_client::RecalibratorServiceClient;
use tocsin_contracts::recalibrator::v1::run_with_progress_request::Work;
use tocsin_contracts::recalibrator::v1::run_with_progress_response::Said;
use tocsin_contracts::recalibrator::v1::{
    FleetReplay, LoggedScores, ProposeRequest, RunWithProgressRequest, RunWithProgressResponse, TestRequest,
    ThresholdSet,
};
use tocsin_contracts::time;
use tocsin_tests::Plant;

use crate::fill::{self, Filling, OF_MACHINE};
use crate::fleet::CLASS;
use crate::load;
use crate::platform::Platform;
use crate::report::Report;

/// Time between readings.
const INTERVAL: Duration = Duration::from_secs(10);
/// What a reading takes on disk, with room to spare for the write-ahead log.
const BYTES: u64 = 300;

/// Settings.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Options {
    /// Sensors, four on each machine
    #[arg(long, default_value_t = 48)]
    sensors: usize,
    /// Days of a reading every ten seconds
    #[arg(long, default_value_t = 1.0)]
    days: f64,
}

impl Options {
    fn steps(self) -> u64 {
        (self.days * 86_400.0 / INTERVAL.as_secs_f64()) as u64
    }

    fn readings(self) -> u64 {
        self.steps() * self.sensors as u64
    }

    /// Refuses what does not fit on the disk, before anything is begun.
    fn check(self, free: u64) -> Result<()> {
        fill::check_sensors(self.sensors)?;
        ensure!(self.steps() >= 60, "--days: at least ten minutes are needed");
        let needed = self.readings() * BYTES;
        eprintln!(
            "{} readings, about {:.1} GB on disk, of which {:.1} GB are free",
            self.readings(),
            needed as f64 / 1e9,
            free as f64 / 1e9
        );
        ensure!(
            needed < free,
            "--sensors, --days: {} readings take about {:.1} GB, and {:.1} GB are free in {}",
            self.readings(),
            needed as f64 / 1e9,
            free as f64 / 1e9,
            std::env::temp_dir().display()
        );
        Ok(())
    }
}

/// Runs it.
pub(crate) async fn run(options: Options) -> Result<Report> {
    options.check(free(&std::env::temp_dir())?)?;
    let platform = Platform::alone().await?;
    let fleet = fill::declare(&platform, options.sensors).await?;
    let store = platform.store().await?;
    let began = Instant::now();
    let filling = Filling {
        sensors: options.sensors,
        of_machine: fill::OF_MACHINE,
        failing: 0,
        steps: options.steps(),
        interval: INTERVAL,
        from: Plant::start(),
    };
    fill::fill(&store, &fleet, filling).await?;
    let filled = began.elapsed();

    let mut report = Report::default();
    report.note("sensors", options.sensors);
    report.note("readings", options.readings());
    report.figure("fill_s", filled.as_secs_f64());
    propose_and_test(&platform, options, &mut report).await?;
    load::sizes(&platform, &mut report).await?;
    store.close().await;
    platform.stop()?;
    Ok(report)
}

/// The set that a stream ends with; how far the work is goes to standard error, ten times in all.
async fn last(mut answers: tonic::Streaming<RunWithProgressResponse>) -> Result<ThresholdSet> {
    let mut tenths = 0;
    while let Some(message) = answers.message().await? {
        match message.said {
            Some(Said::ThresholdSet(set)) => return Ok(*set),
            Some(Said::Progress(progress))
                if 10 * progress.machines_read >= (tenths + 1) * progress.machines.max(1) =>
            {
                tenths += 1;
                eprintln!("  {} of {} machines", progress.machines_read, progress.machines);
            }
            _ => {}
        }
    }
    anyhow::bail!("the answer holds no threshold set")
}

/// Asks for limits over all that was filled in, and tests them over the same.
async fn propose_and_test(platform: &Platform, options: Options, report: &mut Report) -> Result<()> {
    let end = Plant::start() + INTERVAL * options.steps() as u32;
    let request = ProposeRequest {
        class: CLASS.to_owned(),
        bundle: String::new(),
        source: Some(Source::Logged(LoggedScores {
            from: Some(time::to_wire(Plant::start())),
            to: Some(time::to_wire(end)),
        })),
        reason: "benchmark".to_owned(),
        method: Some(Method::FleetReplay(FleetReplay::default())),
    };
    let (readings, before) = (options.readings() as f64, platform.memory("VmRSS")?);
    let (set, took) = timed(platform, Work::Propose(request)).await?;
    report.figure("propose_s", took);
    report.figure("readings_per_second", (readings / took).round());
    report.figure("server_mb before", before as f64 / 1e6);
    report.figure("server_mb peak", platform.memory("VmHWM")? as f64 / 1e6);
    report.note("machines", options.sensors / OF_MACHINE);
    let provenance: Value = serde_json::from_str(&set.provenance_json)?;
    let expected = &provenance["expected"]["expected"]["pages"]["events"];
    report.note("expected_pages", expected.clone());
    let definition: Value = serde_json::from_str(&set.definition_json)?;
    let members = definition["members"].as_array().map_or(0, Vec::len);
    report.note("members", members);

    let threshold_set_id = set.threshold_set_id;
    let (tested, took) = timed(platform, Work::Test(TestRequest { threshold_set_id })).await?;
    report.figure("test_s", took);
    report.figure("server_mb peak of the test", platform.memory("VmHWM")? as f64 / 1e6);
    let provenance: Value = serde_json::from_str(&tested.provenance_json)?;
    report.note("tested_readings", provenance["trial"]["readings"].clone());
    Ok(())
}

/// What came of some work, and how many seconds it took; the server's peak is this work's.
async fn timed(platform: &Platform, work: Work) -> Result<(ThresholdSet, f64)> {
    platform.forget_peak()?;
    let mut client = RecalibratorServiceClient::new(platform.operator()?).max_decoding_message_size(64 << 20);
    let started = Instant::now();
    let answers = client
        .run_with_progress(RunWithProgressRequest { work: Some(work) })
        .await?;
    let set = last(answers.into_inner()).await?;
    Ok((set, started.elapsed().as_secs_f64()))
}

/// Bytes free in a folder.
pub(crate) fn free(folder: &Path) -> Result<u64> {
    let output = std::process::Command::new("df")
        .args(["--output=avail", "--block-size=1"])
        .arg(folder)
        .output()
        .context("asking df for the free disk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = text.lines().nth(1).and_then(|line| line.trim().parse().ok());
    number.with_context(|| format!("df does not say what is free in {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_on_the_disk_is_refused_before_anything_is_begun() {
        let full = Options {
            sensors: 2_400,
            days: 7.0,
        };
        assert_eq!(full.readings(), 145_152_000);
        let error = full.check(10_000_000_000).unwrap_err().to_string();
        assert!(
            error.contains("145152000 readings take about 43.5 GB, and 10.0 GB are free"),
            "{error}"
        );
        full.check(50_000_000_000).unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn limits_of_a_tiny_class_are_proposed_from_all_its_readings() {
        let options = Options {
            sensors: 12,
            days: 0.01,
        };
        let report = run(options).await.unwrap();
        assert_eq!(report.value("rows"), &Value::from(options.readings()));
        assert_eq!(report.value("expected_pages"), &Value::from(0));
        assert_eq!(report.value("tested_readings"), &Value::from(options.readings()));
        let members = report.value("members").as_u64().unwrap();
        assert!(members >= 3, "growth, shift and narrowband at least: {members}");
    }
}
