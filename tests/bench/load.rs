//! Full load: every gateway keeps its machines' batches in flight, one for each part of the fleet, and sends the next as
//! soon as one is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use tocsin_tests::Plant;
use tocsin_transport::Channel;

use crate::fleet::{Fleet, Size};
use crate::platform::{Platform, Settings};
use crate::report::Report;
use crate::sender::{self, Outcome};

/// The rate of a Python stack of public libraries (gRPC, onnxruntime, scikit-learn, COPY) that merges waiting batches, as
/// measured by the project's authors on two cores: 49,000 to 60,000 readings a second.
const PYTHON_STACK: f64 = 60_000.0;

/// Settings.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    platform: Settings,
    #[command(flatten)]
    size: Size,
    /// Readings of a batch
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Seconds measured
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Seconds before
    #[arg(long, default_value_t = 5)]
    warm_up: u64,
}

/// What the gateways share.
struct Shared {
    fleet: Fleet,
    stored: AtomicU64,
    ends: Instant,
    batch: usize,
}

/// Runs it.
pub(crate) async fn run(options: Options) -> Result<Report> {
    let platform = Platform::start(&options.platform).await?;
    eprintln!("training and declaring the fleet");
    let fleet = Fleet::declare(&platform, options.size).await?;
    let gateways = fleet.gateways.clone();
    let measured = Duration::from_secs(options.seconds);
    let warm_up = Duration::from_secs(options.warm_up);
    let shared = Arc::new(Shared {
        fleet,
        stored: AtomicU64::new(0),
        ends: Instant::now() + warm_up + measured,
        batch: options.batch,
    });
    let senders: Vec<_> = gateways
        .into_iter()
        .map(|channel| tokio::spawn(send(channel, Arc::clone(&shared))))
        .collect();
    tokio::time::sleep(warm_up).await;
    let (stored, usage, started) = (shared.stored.load(Ordering::Relaxed), platform.usage()?, Instant::now());
    tokio::time::sleep(measured).await;
    let readings = shared.stored.load(Ordering::Relaxed) - stored;
    let (elapsed, usage_after) = (started.elapsed(), platform.usage()?);
    let mut outcome = Outcome::default();
    for sender in senders {
        outcome.merge(&sender.await??)?;
    }

    let mut report = Report::default();
    let rate = readings as f64 / elapsed.as_secs_f64();
    report.note("readings", readings);
    report.figure("readings_per_second", rate.round());
    report.figure("ratio_to_merged_python_stack", rate / PYTHON_STACK);
    report.note("rejected", outcome.rejected);
    report.note("refused_batches", outcome.refused);
    report.latencies("ack", &outcome.latencies);
    for (name, micros) in usage_after.per_reading(&usage, readings) {
        report.figure(format!("cpu_us_per_reading {name}"), micros);
    }
    sizes(&platform, &mut report).await?;
    platform.stop()?;
    Ok(report)
}

/// One gateway, until the time is over.
async fn send(channel: Channel, shared: Arc<Shared>) -> Result<Outcome> {
    let (sender, mut answers) = sender::open(channel, true).await?;
    let parts = shared.fleet.parts(shared.batch);
    let mut steps = vec![0; parts.len()];
    let batch = |part: usize, step: u64| {
        let at = Plant::start() + Duration::from_secs(10) * step as u32;
        shared.fleet.readings(parts[part].clone(), step, at)
    };
    for part in 0..parts.len() {
        sender.send(part as u64, Instant::now(), batch(part, 0)).await?;
    }
    let (mut outcome, mut in_flight) = (Outcome::default(), parts.len());
    while in_flight > 0 {
        let Some(answer) = answers.next().await? else { break };
        outcome.count(&answer)?;
        shared
            .stored
            .fetch_add(answer.ack.map_or(0, |(stored, _)| stored), Ordering::Relaxed);
        if Instant::now() > shared.ends {
            in_flight -= 1;
            continue;
        }
        let part = answer.batch_id as usize;
        steps[part] += 1;
        let readings = batch(part, steps[part]);
        sender.send(answer.batch_id, Instant::now(), readings).await?;
    }
    Ok(outcome)
}

/// Bytes a reading takes in the database.
pub(crate) async fn sizes(platform: &Platform, report: &mut Report) -> Result<()> {
    let database = platform.database().await?;
    let (rows, table, indexes): (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from reading), sum(pg_table_size(c.oid))::int8, sum(pg_indexes_size(c.oid))::int8
         from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'reading'::regclass",
    )
    .fetch_one(&database)
    .await?;
    report.note("rows", rows);
    report.figure("bytes_per_reading table", table as f64 / rows as f64);
    report.figure("bytes_per_reading indexes", indexes as f64 / rows as f64);
    let flagged: i64 = sqlx::query_scalar("select count(*) from reading where verdict & 255 in (1, 2)")
        .fetch_one(&database)
        .await?;
    report.figure("share_flagged", flagged as f64 / rows as f64);
    database.close().await;
    Ok(())
}
