//! A steady fleet: every sensor reports once a second, and a batch's time runs from the moment it was due, whatever held
//! its sender up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use tocsin_domain::Clock;
use tocsin_transport::Channel;

use crate::fleet::{Fleet, Size};
use crate::platform::{Platform, Settings};
use crate::report::Report;
use crate::sender::{self, Outcome};

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
    #[arg(long, default_value_t = 600)]
    seconds: u64,
}

/// Runs it.
pub(crate) async fn run(options: Options) -> Result<Report> {
    let platform = Platform::start(&options.platform).await?;
    eprintln!("training and declaring the fleet");
    let fleet = Arc::new(Fleet::declare(&platform, options.size).await?);
    let (usage, started) = (platform.usage()?, Instant::now());
    let gateways = fleet.gateways.len() as u32;
    let senders: Vec<_> = fleet
        .gateways
        .iter()
        .enumerate()
        .map(|(place, channel)| {
            // Gateways are not in step with each other.
            let offset = Duration::from_secs(1) * place as u32 / gateways;
            let begins = started + Duration::from_secs(1) + offset;
            tokio::spawn(send(
                channel.clone(),
                Arc::clone(&fleet),
                options.batch,
                begins,
                options.seconds,
            ))
        })
        .collect();
    let mut outcome = Outcome::default();
    for sender in senders {
        outcome.merge(&sender.await??)?;
    }
    let mut report = Report::default();
    report.note(
        "sensors",
        (options.size.sites * options.size.machines * options.size.sensors) as u64,
    );
    report.note("bins", options.size.bins);
    report.note("stored", outcome.stored);
    report.note("rejected", outcome.rejected);
    report.note("refused_batches", outcome.refused);
    report.figure(
        "readings_per_second",
        (outcome.stored as f64 / started.elapsed().as_secs_f64()).round(),
    );
    report.latencies("ack", &outcome.latencies);
    for (name, micros) in platform.usage()?.per_reading(&usage, outcome.stored.max(1)) {
        report.figure(format!("cpu_us_per_reading {name}"), micros);
    }
    platform.stop()?;
    Ok(report)
}

async fn send(channel: Channel, fleet: Arc<Fleet>, batch: usize, begins: Instant, seconds: u64) -> Result<Outcome> {
    let (sender, mut answers) = sender::open(channel, false).await?;
    let parts = fleet.parts(batch);
    let apart = Duration::from_secs(1) / parts.len() as u32;
    let all = seconds * parts.len() as u64;
    let (clock, batches) = (Clock::system(), parts.len() as u64);
    let sending = tokio::spawn(async move {
        for number in 0..all {
            let due = begins + apart * number as u32;
            tokio::time::sleep_until(due.into()).await;
            let part = parts[(number % batches) as usize].clone();
            let readings = fleet.readings(part, number, clock.now());
            sender.send(number, due, readings).await?;
        }
        anyhow::Ok(sender)
    });
    let mut outcome = Outcome::default();
    for _ in 0..all {
        let answer = answers.next().await?.context("the stream ended early")?;
        outcome.count(&answer)?;
    }
    drop(sending.await??);
    Ok(outcome)
}
