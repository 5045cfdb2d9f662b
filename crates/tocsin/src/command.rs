//! The command line: one file per command, and the short match that starts it.
//!
//! Exit codes: 0 done, 1 failed (one line on standard error says what, why and what to do), 2 wrong usage.

mod accounts;
mod archive;
mod audit;
mod cadence;
mod choice;
mod config;
mod corpora;
#[cfg(feature = "trainer")]
mod demo;
mod duration;
#[cfg(feature = "trainer")]
mod evaluate;
mod export;
mod fleet;
mod health;
mod import;
mod incidents;
mod labels;
mod migrate;
mod models;
mod pages;
mod replay;
mod serve;
#[cfg(feature = "trainer")]
mod simulate;
mod suppressions;
mod thresholds;
mod tokens;
#[cfg(feature = "trainer")]
mod train;
mod up;
mod verdict;

use std::io;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use prost_types::Timestamp as WireTimestamp;
use serde_json::Value;
use tocsin_contracts::time;

use crate::client::Target;
use crate::output::Output;
use crate::telemetry;

pub(crate) use models::push as push_bundle;

/// Fleet monitoring through vibration spectra: readings in, verdicts stored, pages out.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "tocsin", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process, on a private Postgres and a local object folder
    Up(up::Up),
    /// Run some roles, by a configuration file
    Serve(serve::Serve),
    /// Bring the database's schema up to date
    Migrate(migrate::Migrate),
    /// Print the configuration in force, secrets left out
    Config(config::ConfigCommand),
    /// Show it all on two simulated plants: train, stream, inject faults, page
    #[cfg(feature = "trainer")]
    Demo(demo::Demo),
    /// Fit a class's models on a corpus
    #[cfg(feature = "trainer")]
    Train(train::Train),
    /// Tell how well the detectors part failing from healthy, on a corpus
    ///
    /// Trains on split `train`, sets lines on `cal`, and tests `test_healthy` against `end` (or `test_fault`) and
    /// `incipient`. Given a bundle, trains nothing.
    #[cfg(feature = "trainer")]
    Evaluate(evaluate::Evaluate),
    /// Write a corpus of a simulated fleet
    ///
    /// Writes the readings of a simulated fleet of pumps, fans and hoists: acceleration in g, peak, 0 to 12.8 kHz. Faults
    /// begin in the middle third of the time and end in failure; labels say what is healthy.
    #[cfg(feature = "trainer")]
    Simulate(simulate::Simulate),
    /// Publish a corpus in time order, as the plant would have
    ///
    /// Publishes the rows of a corpus whose site the gateway's token is for.
    ///
    /// Without --token-file, a gateway token is made for the corpus's site with the credential of the data folder, and
    /// revoked at the end.
    Replay(replay::Replay),
    /// Ask a process whether it serves; exits with 1 when it doesn't
    Health(health::Health),
    /// Publish the readings of a CSV file
    ///
    /// The first line names the columns: `sensor` (machine/sensor), `captured_at` (RFC 3339), `bin_0` to `bin_N`, and, where
    /// wanted, `rpm`, `load` and `overall.NAME` for overall levels by their declared names, in their declared units. A cell
    /// left empty is a level or condition the reading does not have. Readings are sent in capture order, whatever their
    /// order in the file.
    Import(import::Import),
    /// Sites: plants, each with its own gateways and people
    Sites(fleet::Sites),
    /// Machines, those that need attention first
    Machines(fleet::Machines),
    /// Machine classes: same construction, same measuring set-up
    Classes(fleet::Classes),
    /// Spectrum specifications
    Specs(fleet::Specs),
    /// Sensors: one channel each
    Sensors(fleet::Sensors),
    /// Gateway tokens
    Tokens(tokens::Tokens),
    /// People's accounts
    Accounts(accounts::Accounts),
    /// The record of what was done by whom
    Audit(audit::Audit),
    /// Old days of readings in object storage
    Archive(archive::Archive),
    /// Write everything in open formats: Parquet, JSON lines and ONNX
    Export(export::Export),
    /// Model versions, and which judges a class
    Models(models::Models),
    /// Threshold sets: alarm limits
    Thresholds(thresholds::Thresholds),
    /// Incidents
    Incidents(incidents::Incidents),
    /// Deliveries of pages
    Pages(pages::Pages),
    /// Verdicts: what they were made from, and made again
    Verdict(verdict::VerdictCommand),
    /// Try one bundle within limits; the registry starts this
    #[command(hide = true)]
    VerifyBundle,
}

/// Parses the arguments and does what they say.
pub fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tocsin: {}", format!("{error:#}").trim_end().replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        // Before anything is set up: the child's limits count from here.
        Command::VerifyBundle => {
            tocsin_registry::verify::child(io::stdin().lock(), io::stdout().lock()).context("verifying the bundle")
        }
        // These install their own telemetry, by their configuration.
        Command::Up(up) => block_on(up.run()),
        #[cfg(feature = "trainer")]
        Command::Demo(demo) => block_on(demo.run()),
        Command::Serve(serve) => block_on(serve.run()),
        Command::Config(config) => config.run(),
        #[cfg(feature = "trainer")]
        Command::Evaluate(evaluate) => {
            telemetry::install_logs()?;
            evaluate.run()
        }
        #[cfg(feature = "trainer")]
        Command::Simulate(simulate) => {
            telemetry::install_logs()?;
            simulate.run()
        }
        other => {
            telemetry::install_logs()?;
            block_on(ask(other))
        }
    }
}

async fn ask(command: Command) -> Result<()> {
    match command {
        Command::Migrate(command) => command.run().await,
        Command::Archive(command) => command.run().await,
        Command::Export(command) => command.run().await,
        #[cfg(feature = "trainer")]
        Command::Train(command) => command.run().await,
        Command::Replay(command) => command.run().await,
        Command::Health(command) => command.run().await,
        Command::Import(command) => command.run().await,
        Command::Sites(command) => command.run().await,
        Command::Machines(command) => command.run().await,
        Command::Classes(command) => command.run().await,
        Command::Specs(command) => command.run().await,
        Command::Sensors(command) => command.run().await,
        Command::Tokens(command) => command.run().await,
        Command::Accounts(command) => command.run().await,
        Command::Audit(command) => command.run().await,
        Command::Models(command) => command.run().await,
        Command::Thresholds(command) => command.run().await,
        Command::Incidents(command) => command.run().await,
        Command::Pages(command) => command.run().await,
        Command::Verdict(command) => command.run().await,
        #[cfg(feature = "trainer")]
        Command::Evaluate(_) | Command::Simulate(_) | Command::Demo(_) => {
            unreachable!("these are run without asking anybody")
        }
        Command::Up(_) | Command::Serve(_) | Command::Config(_) | Command::VerifyBundle => {
            unreachable!("these are run without asking anybody")
        }
    }
}

fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("starting the runtime")?.block_on(work)
}

/// Whom to ask, and how to print the answer.
#[derive(Debug, Clone, Args)]
struct Ask {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    target: Target,
}

/// A time of an answer as text; nothing when it isn't set.
fn when(at: Option<WireTimestamp>) -> Result<Value> {
    let at = time::optional("time", at).context("the answer")?;
    Ok(at.map_or(Value::Null, |at| at.to_string().into()))
}

/// A JSON text of an answer as JSON; the text itself when it is none.
fn nested(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|_| json.into())
}

/// A number or name that is 0 or empty when there is none.
fn given<T: Default + PartialEq + Into<Value>>(value: T) -> Value {
    if value == T::default() {
        Value::Null
    } else {
        value.into()
    }
}

#[cfg(test)]
mod tests;
