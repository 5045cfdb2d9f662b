//! A what-if over weeks of a fleet, most of them archived: other limits beside those in force, over every logged score.
//!
//! The readings are put into the store by `COPY`, as if they had been judged, and archived by the archiver. Limits by fleet
//! replay are proposed from the hot days and activated, and then a tighter set is tried over the whole period, by
//! the process that serves.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use tocsin_archive::{Archiver, Config};
use tocsin_contracts::recalibrator::v1::propose_request::{Method, Source};
use tocsin_contracts::recalibrator::v1::recalibrator_service_client::RecalibratorServiceClient;
use tocsin_contracts::recalibrator::v1::run_with_progress_request::Work;
use tocsin_contracts::recalibrator::v1::run_with_progress_response::Said;
use tocsin_contracts::recalibrator::v1::what_if_request::Limits;
use tocsin_contracts::recalibrator::v1::{
    ActivateRequest, ApproveRequest, FleetReplay, LoggedScores, ProposeRequest, RunWithProgressRequest, TestRequest,
    WhatIfRequest, WhatIfResponse,
};
use tocsin_contracts::time;
use tocsin_domain::{Clock, Timestamp};
use tocsin_models::Objects;
use tocsin_store::Store;
use tocsin_tests::Plant;
use tocsin_transport::Channel;

use crate::fill::{self, Filling};
use crate::fleet::CLASS;
use crate::platform::Platform;
use crate::report::Report;

/// Time between readings, and what the class decides by.
const INTERVAL: Duration = Duration::from_mins(1);
const STEPS_OF_A_DAY: u64 = 1_440;

/// Settings.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Options {
    /// Machines, of one sensor each
    #[arg(long, default_value_t = 600)]
    machines: usize,
    /// Days of a reading a minute
    #[arg(long, default_value_t = 30)]
    days: u64,
    /// Of which so many are hot
    #[arg(long, default_value_t = 2)]
    hot_days: u64,
    /// Machines that fail in the last tenth of the time
    #[arg(long, default_value_t = 28)]
    failing: usize,
    /// What-ifs, of which the median is told
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

impl Options {
    fn filling(self) -> Filling {
        Filling {
            sensors: self.machines,
            of_machine: 1,
            failing: self.failing,
            steps: self.days * STEPS_OF_A_DAY,
            interval: INTERVAL,
            from: Plant::start(),
        }
    }

    /// What limits are proposed from: the hot days.
    fn recent(self) -> Duration {
        INTERVAL * (self.hot_days * STEPS_OF_A_DAY) as u32
    }

    fn readings(self) -> u64 {
        self.days * STEPS_OF_A_DAY * self.machines as u64
    }
}

fn day(number: u64) -> Timestamp {
    Plant::start() + Duration::from_hours(24 * number)
}

/// Runs it.
pub(crate) async fn run(options: Options) -> Result<Report> {
    fill::check_sensors(options.machines)?;
    ensure!(
        options.hot_days >= 1 && options.hot_days < options.days,
        "--hot-days: {} of {} days would leave none hot or none archived",
        options.hot_days,
        options.days
    );
    ensure!(options.rounds > 0, "--rounds: at least one is needed");
    let platform = Platform::alone().await?;
    let fleet = fill::declare_with_step(&platform, options.machines, INTERVAL).await?;
    let store = platform.store().await?;
    eprintln!("{} readings are filled in", options.readings());
    fill::fill(&store, &fleet, options.filling()).await?;
    let mut report = Report::default();
    report.note("machines", options.machines);
    report.note("scores", options.readings());
    report.note("archived", archive(&store, &platform, options).await?);

    let operator = platform.operator()?;
    let active = proposed(&operator, options, 2.5).await?;
    activate(&operator, active).await?;
    let candidate = proposed(&operator, options, 2.0).await?;
    platform.forget_peak()?;
    let mut times = Vec::new();
    for _ in 0..options.rounds {
        let began = Instant::now();
        let answer = what_if(&operator, options, candidate).await?;
        times.push(began.elapsed().as_secs_f64());
        ensure!(
            answer.active_threshold_set_id == active,
            "{}",
            answer.not_compared_reason
        );
        told(&answer, options, &mut report)?;
    }
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    report.figure("whatif_s", median);
    report.figure("scores_per_second", (options.readings() as f64 / median).round());
    report.figure("server_mb peak", platform.memory("VmHWM")? as f64 / 1e6);
    store.close().await;
    platform.stop()?;
    Ok(report)
}

/// Archives all but the hot days; how many readings.
async fn archive(store: &Store, platform: &Platform, options: Options) -> Result<u64> {
    let objects = Objects::open(&platform.objects().display().to_string())?;
    let config = Config {
        hot_days: options.hot_days as u32,
        ..Config::default()
    };
    // A day is due when it ended so long ago.
    let clock = Clock::manual(day(options.days));
    let archiver = Archiver::new(config, store.clone(), objects, clock, "benchmark");
    let archived = archiver.round().await?.archived;
    Ok(archived.iter().map(|part| part.rows).sum())
}

/// Limits by fleet replay from the newest readings: the number of the set.
async fn proposed(operator: &Channel, options: Options, page_factor: f64) -> Result<i32> {
    let work = Work::Propose(ProposeRequest {
        class: CLASS.to_owned(),
        bundle: String::new(),
        source: Some(Source::Logged(LoggedScores {
            from: Some(time::to_wire(day(options.days) - options.recent())),
            to: Some(time::to_wire(day(options.days))),
        })),
        reason: "benchmark".to_owned(),
        method: Some(Method::FleetReplay(FleetReplay {
            page_factor,
            ..FleetReplay::default()
        })),
    });
    match worked(operator, work).await? {
        Said::ThresholdSet(set) => Ok(set.threshold_set_id),
        other => anyhow::bail!("a proposal was answered with {other:?}"),
    }
}

async fn activate(operator: &Channel, threshold_set_id: i32) -> Result<()> {
    let mut client = RecalibratorServiceClient::new(operator.clone());
    client.test(TestRequest { threshold_set_id }).await?;
    let reason = "benchmark".to_owned();
    let approve = ApproveRequest {
        threshold_set_id,
        reason: reason.clone(),
    };
    client.approve(approve).await?;
    let activate = ActivateRequest {
        threshold_set_id,
        reason,
    };
    client.activate(activate).await?;
    Ok(())
}

async fn what_if(operator: &Channel, options: Options, candidate: i32) -> Result<WhatIfResponse> {
    let work = Work::WhatIf(WhatIfRequest {
        limits: Some(Limits::ThresholdSetId(candidate)),
        period: Some(LoggedScores {
            from: Some(time::to_wire(Plant::start())),
            to: Some(time::to_wire(day(options.days))),
        }),
        ..WhatIfRequest::default()
    });
    match worked(operator, work).await? {
        Said::WhatIf(answer) => Ok(*answer),
        other => anyhow::bail!("a what-if was answered with {other:?}"),
    }
}

/// What long work ends with.
async fn worked(operator: &Channel, work: Work) -> Result<Said> {
    let mut client = RecalibratorServiceClient::new(operator.clone()).max_decoding_message_size(64 << 20);
    let request = RunWithProgressRequest { work: Some(work) };
    let mut answers = client.run_with_progress(request).await?.into_inner();
    while let Some(message) = answers.message().await? {
        match message.said.context("an answer says nothing")? {
            Said::Progress(_) => {}
            said => return Ok(said),
        }
    }
    anyhow::bail!("the answer has no end")
}

/// What the what-if found; that it took every score.
fn told(answer: &WhatIfResponse, options: Options, report: &mut Report) -> Result<()> {
    let expected = answer.expected.as_ref().context("nothing is expected")?;
    ensure!(
        expected.readings == options.readings(),
        "{} of {} scores were replayed",
        expected.readings,
        options.readings()
    );
    let in_force = answer.active_expected.as_ref().context("nothing was in force")?;
    let pages = |events: &tocsin_contracts::recalibrator::v1::ExpectedEvents| {
        events.pages.as_ref().map_or(0, |pages| pages.events)
    };
    report.note("pages", pages(expected));
    report.note("pages in_force", pages(in_force));
    report.note("changes", answer.changes.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hundredth_of_the_fleet_s_month_is_replayed_from_both_stores() {
        let options = Options {
            machines: 20,
            days: 9,
            hot_days: 2,
            failing: 2,
            rounds: 1,
        };
        let report = run(options).await.unwrap();
        let number = |name: &str| report.value(name).as_f64().unwrap();
        assert_eq!(number("scores"), 259_200.0);
        assert_eq!(number("archived"), 7.0 * 20.0 * 1_440.0);
        assert!(number("pages") >= 2.0 && number("pages in_force") >= 2.0);
    }
}
