//! Benchmarks of the running platform: a real `tocsin up` on a private Postgres, and senders in this process, all on one
//! machine. Each prints one JSON document with `--format json`, a table otherwise; progress goes to standard error.
//!
//! `make bench-load`, `make bench-latency`, `make bench-disturbance` and `make bench-stages` run them with their full
//! settings.

mod archive;
mod console;
mod cpu;
mod disturbance;
mod drift;
mod fill;
mod fleet;
mod harbor;
mod latency;
mod load;
mod platform;
mod report;
mod sender;
mod skab;
mod stages;
mod streaming;
mod thresholds;
mod training;
mod watchdog;
mod whatif;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::report::Format;

/// Benchmarks of Tocsin.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
    /// How to print what was measured.
    #[arg(long, global = true, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// Readings per second at full load, CPU time per reading, bytes per reading
    Load(load::Options),
    /// Time from a reading's due moment to its ack, at a steady rate
    Latency(latency::Options),
    /// Time to each page of the console for a fleet of thousands of sensors
    Console(console::Options),
    /// Other batches' acks while one machine is locked and one batch is poisoned
    Disturbance(disturbance::Options),
    /// Bytes of a reading in the archive, and readings per second there and back
    Archive(archive::Options),
    /// The Skoltech Anomaly Benchmark: our detectors beside the published rows
    Skab(skab::Options),
    /// CPU time of each stage of a reading's path, each alone on one thread
    Stages(stages::Options),
    /// False pages of benign changes, and failures told from them, while baselines follow the fleet
    Drift(drift::Options),
    /// Failures caught and false pages of a simulated fleet, judged in process
    Harbor(harbor::Options),
    /// Memory, disk and rows per second of a training on more rows than memory holds
    Streaming(streaming::Options),
    /// Time, memory and disk of setting limits by fleet replay over days of readings
    Thresholds(thresholds::Options),
    /// The isolation forest and the convolutional training beside scikit-learn's and `PyTorch`'s
    Training(training::Options),
    /// How long the heartbeat goes on after a part of the platform is killed
    Watchdog(watchdog::Options),
    /// Time of a what-if over weeks of a fleet's scores, most of them archived
    Whatif(whatif::Options),
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { benchmark, format } = Arguments::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let report = match benchmark {
        Benchmark::Load(options) => load::run(options).await?,
        Benchmark::Latency(options) => latency::run(options).await?,
        Benchmark::Console(options) => console::run(options).await?,
        Benchmark::Disturbance(options) => disturbance::run(options).await?,
        Benchmark::Archive(options) => archive::run(options).await?,
        Benchmark::Skab(options) => skab::run(&options)?,
        Benchmark::Stages(options) => stages::run(options).await?,
        Benchmark::Drift(options) => drift::run(&options)?,
        Benchmark::Harbor(options) => harbor::run(&options)?,
        Benchmark::Streaming(options) => streaming::run(&options)?,
        Benchmark::Thresholds(options) => thresholds::run(options).await?,
        Benchmark::Training(options) => training::run(&options)?,
        Benchmark::Watchdog(options) => watchdog::run(options).await?,
        Benchmark::Whatif(options) => whatif::run(options).await?,
    };
    report.print(format)
}
