//! Fifty machines, each with a batch of its own at every tick, in three phases of equal length: quiet; with one machine
//! that fails and is locked by somebody else for the first half, its batches queueing behind the lock; with one machine
//! whose batches the database refuses. What counts is how long the other forty-nine wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use sqlx::PgPool;
use tocsin_domain::Timestamp;
use tocsin_tests::Plant;
use tocsin_transport::Channel;

use crate::fleet::{Fleet, Model, Size};
use crate::platform::{Platform, Settings};
use crate::report::{Report, histogram};
use crate::sender;

/// Machines, and so batches at a tick.
const MACHINES: usize = 50;
/// The one that is disturbed.
const DISTURBED: usize = 17;
/// Readings of each machine come so often.
const TICK: Duration = Duration::from_millis(400);

/// Settings.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    platform: Settings,
    /// Seconds of each phase; in half of them a stream must not run out of room for a machine's waiting batches
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(2..=24))]
    seconds: u64,
}

/// What is done to the disturbed machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Quiet,
    Locked,
    Poisoned,
}

/// What a phase showed.
struct Seen {
    others: hdrhistogram::Histogram<u64>,
    others_rejected: u64,
    disturbed_slowest: Duration,
    disturbed_rejected: u64,
}

/// Runs it.
pub(crate) async fn run(options: Options) -> Result<Report> {
    let platform = Platform::start(&options.platform).await?;
    eprintln!("training and declaring the fleet");
    let size = Size {
        sites: 1,
        machines: MACHINES,
        sensors: 4,
        bins: 64,
        model: Model::Dense,
        step_ms: 10_000,
    };
    let fleet = Arc::new(Fleet::declare(&platform, size).await?);
    let channel = fleet.gateways.first().context("a gateway")?.clone();
    let database = platform.database().await?;
    let ticks = (Duration::from_secs(options.seconds).as_millis() / TICK.as_millis()) as u64;
    // Sensors are registered and plans are made before anything is measured.
    play(&channel, &fleet, Phase::Quiet, 0..5).await?;

    let mut report = Report::default();
    let mut quiet_p99 = 0.0;
    for (place, phase) in [Phase::Quiet, Phase::Locked, Phase::Poisoned].into_iter().enumerate() {
        let first = 5 + place as u64 * ticks;
        let disturbance = Disturbance::begin(&database, phase).await?;
        let seen = play(&channel, &fleet, phase, first..first + ticks);
        let seen = tokio::join!(seen, disturbance.end_after(Duration::from_secs(options.seconds)));
        let (seen, ended) = seen;
        ended?;
        let seen = seen?;
        ensure!(seen.others_rejected == 0, "readings of other machines were rejected");
        check(phase, &seen, options.seconds)?;
        let p99 = seen.others.value_at_quantile(0.99) as f64;
        if phase == Phase::Quiet {
            quiet_p99 = p99;
        } else {
            report.figure(format!("p99_ratio_to_quiet {phase:?}"), p99 / quiet_p99);
        }
        report.latencies(&format!("others {phase:?}"), &seen.others);
        report.figure(
            format!("disturbed_slowest_ms {phase:?}"),
            seen.disturbed_slowest.as_secs_f64() * 1e3,
        );
        report.note(format!("disturbed_rejected {phase:?}"), seen.disturbed_rejected);
    }
    database.close().await;
    platform.stop()?;
    Ok(report)
}

/// Says so when the disturbance did not disturb: its figures would mean nothing.
fn check(phase: Phase, seen: &Seen, seconds: u64) -> Result<()> {
    match phase {
        Phase::Quiet => ensure!(seen.disturbed_rejected == 0, "a quiet phase has no rejections"),
        Phase::Locked => ensure!(
            seen.disturbed_slowest >= Duration::from_secs(seconds) / 4,
            "the locked machine was not waited for"
        ),
        Phase::Poisoned => ensure!(seen.disturbed_rejected > 0, "the poisoned batch was taken"),
    }
    Ok(())
}

/// A lock held, or a constraint that refuses the disturbed machine's readings.
struct Disturbance {
    phase: Phase,
    database: PgPool,
    lock: Option<sqlx::Transaction<'static, sqlx::Postgres>>,
}

impl Disturbance {
    async fn begin(database: &PgPool, phase: Phase) -> Result<Self> {
        let machine: i32 = sqlx::query_scalar("select machine_id from machine where name = $1")
            .bind(format!("m{DISTURBED}"))
            .fetch_one(database)
            .await?;
        let mut lock = None;
        match phase {
            Phase::Quiet => {}
            Phase::Locked => {
                sqlx::query("insert into machine_state (machine_id) values ($1) on conflict do nothing")
                    .bind(machine)
                    .execute(database)
                    .await?;
                let mut held = database.begin().await?;
                sqlx::query("select 1 from machine_state where machine_id = $1 for update")
                    .bind(machine)
                    .execute(&mut *held)
                    .await?;
                lock = Some(held);
            }
            Phase::Poisoned => {
                let sensor: i32 = sqlx::query_scalar("select min(sensor_id) from sensor where machine_id = $1")
                    .bind(machine)
                    .fetch_one(database)
                    .await?;
                let statement =
                    format!("alter table reading add constraint poisoned check (sensor_id <> {sensor}) not valid");
                sqlx::query(sqlx::AssertSqlSafe(statement)).execute(database).await?;
            }
        }
        Ok(Self {
            phase,
            database: database.clone(),
            lock,
        })
    }

    async fn end_after(self, time: Duration) -> Result<()> {
        tokio::time::sleep(time / 2).await;
        if let Some(lock) = self.lock {
            lock.rollback().await?;
        }
        tokio::time::sleep(time / 2).await;
        if self.phase == Phase::Poisoned {
            sqlx::query("alter table reading drop constraint poisoned")
                .execute(&self.database)
                .await?;
        }
        Ok(())
    }
}

/// Plays some ticks over one stream: a batch of every machine at each, whatever was answered.
async fn play(channel: &Channel, fleet: &Arc<Fleet>, phase: Phase, ticks: std::ops::Range<u64>) -> Result<Seen> {
    let (sender, mut answers) = sender::open(channel.clone(), true).await?;
    let begins = Instant::now() + TICK;
    let first = ticks.start;
    let fleet = Arc::clone(fleet);
    let sending = tokio::spawn(async move {
        let mut sent = 0_u64;
        for tick in ticks {
            let due = begins + TICK * (tick - first) as u32;
            tokio::time::sleep_until(due.into()).await;
            for machine in 0..MACHINES {
                let failing = machine == DISTURBED && phase == Phase::Locked;
                let readings = batch(&fleet, machine, tick, failing);
                sender
                    .send(tick * MACHINES as u64 + machine as u64, due, readings)
                    .await?;
                sent += 1;
            }
        }
        // The stream ends when its sender is dropped, and then every batch has its answer.
        anyhow::Ok(sent)
    });
    let mut seen = Seen {
        others: histogram(),
        others_rejected: 0,
        disturbed_slowest: Duration::ZERO,
        disturbed_rejected: 0,
    };
    let mut answered = 0;
    while let Some(answer) = answers.next().await? {
        answered += 1;
        let (_, rejected) = answer.ack.context("a batch was refused")?;
        if answer.batch_id as usize % MACHINES == DISTURBED {
            seen.disturbed_slowest = seen.disturbed_slowest.max(answer.latency);
            seen.disturbed_rejected += rejected;
        } else {
            seen.others.record(answer.latency.as_micros() as u64)?;
            seen.others_rejected += rejected;
        }
    }
    ensure!(sending.await?? == answered, "a batch went without an answer");
    Ok(seen)
}

fn batch(fleet: &Fleet, machine: usize, tick: u64, failing: bool) -> Vec<tocsin_contracts::ingest::v1::Reading> {
    let at: Timestamp = Plant::start() + Duration::from_secs(10) * tick as u32;
    let mut readings = fleet.readings(machine..machine + 1, tick, at);
    if failing {
        for reading in &mut readings {
            for amplitude in &mut reading.bins[30..44] {
                *amplitude *= 10.0;
            }
        }
    }
    readings
}
