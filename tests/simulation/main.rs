//! Incidents and pages under everything that goes wrong at once: the real ensembles and pagers, two replicas of them, on
//! a real Postgres; readings late, repeated, out of order and contradicted; people who acknowledge, comment, hand over,
//! shelve machines and take them out of service; floods; receivers that are slow, refuse and fall silent; clocks that
//! step; and crashes between any two statements.
//!
//! One thread runs all of it, on a clock that is moved by hand. Every statement of a replica waits at a [`gate`], every
//! request at its receiver, and one at a time is drawn by lot; the next is drawn when nobody can go on without it. Nothing
//! that decides anything goes by the machine's clock: not the timers of the replicas, not the patience of the server with
//! them. So a seed reproduces its run, however busy the machine is.
//!
//! What should be is held in a [`model`] of its own, and what is in the database is held against it.
//!
//! Prints one JSON document; what was violated goes to standard error.

mod calls;
mod check;
mod database;
mod gate;
mod model;
mod people;
mod plant;
mod proxy;
mod receivers;
mod replica;
mod sabotage;
mod schedule;
mod stage;
mod turns;
mod wire;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use tokio::sync::Notify;

use crate::sabotage::Sabotage;
use crate::world::{Report, World};

/// Simulates incidents and pages, with crashes, and checks them.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many steps: a machine's turn each
    #[arg(long, default_value_t = 200_000)]
    steps: u64,
    /// What is drawn by lot follows from this
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Breaks something, to see that it is noticed
    #[arg(long, value_enum)]
    sabotage: Option<Sabotage>,
    /// Says on standard error what happens, one thing a line
    #[arg(long)]
    trace: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run(arguments))?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn run(arguments: Arguments) -> Result<Report> {
    let (tick, over) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    // While a blocking task runs, tokio's paused clock stands still: it is moved by hand alone. This one tells the
    // world now and then that real time goes by, for where it waits on the database.
    let ticking = {
        let (tick, over) = (tick.clone(), over.clone());
        tokio::task::spawn_blocking(move || {
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
                tick.notify_one();
            }
        })
    };
    let done = simulate(&arguments, tick).await;
    over.store(true, Ordering::Relaxed);
    ticking.await?;
    done
}

async fn simulate(arguments: &Arguments, tick: Arc<Notify>) -> Result<Report> {
    let mut world = World::start(arguments, tick).await?;
    let done = world.run(arguments.steps).await;
    tokio::time::resume();
    let report = world.stop().await?;
    done.map(|()| report)
}
