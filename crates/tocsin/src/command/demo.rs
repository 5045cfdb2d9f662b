//! `tocsin demo`: two simulated plants from an empty platform to pages that arrive.
//!
//! Everything is the real thing: the roles of `tocsin up` on a private Postgres, a model trained on a healthy past,
//! alarm limits from its held-out part, readings published over gRPC, pages posted to an HTTP receiver. Only the machines
//! are simulated, and the faults that will befall them are written to a file before the first reading is sent.

mod plant;
mod receiver;
mod summary;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use tocsin_domain::Timestamp;
use tocsin_pager::Destination;
use tocsin_pager::destination::Webhook;
use tocsin_simulator::{Fleet, FleetConfig, Schedule};

use self::plant::{CLASS, Plant};
use self::receiver::Receiver;
use self::summary::Summary;
use crate::command::train::{Fitting, fit};
use crate::data_dir::DataDir;
use crate::local::{ADMIN, Local, Options};
use crate::output::{Format, Output, document};
use crate::telemetry::Telemetry;
use crate::{Config, rollout, signals};

/// Healthy time before the first fault may begin, and the time that is streamed.
const PAST: Duration = Duration::from_hours(8);
const STREAMED: Duration = Duration::from_hours(16);
/// One reading of each sensor every ten seconds; the past is trained on more thinly.
const STEP: Duration = Duration::from_secs(10);
const TRAINING_STEP: Duration = Duration::from_secs(40);
/// Share of the past kept for alarm limits.
const CALIBRATION: f64 = 0.25;
/// Faults injected, each of another kind.
const FAULTS: usize = 5;
/// How long to wait for the last pages.
const LAST_PAGES: Duration = Duration::from_mins(1);
/// Steps streamed per second of watching, unless `--once`.
const WATCHED_STEPS_PER_SECOND: f64 = 60.0;

/// Starts everything in a folder of its own, trains, and streams sixteen hours of 24 machines at many times real speed.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// End when the faults have run their course, with a summary; streams as fast as it can
    #[arg(long)]
    once: bool,
    /// Seed of the fleet and of its faults
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Address of the web pages
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7780")]
    console: SocketAddr,
    /// Where everything is kept [default: a folder in the temporary folder, removed at the end]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

impl Demo {
    pub(super) async fn run(self) -> Result<()> {
        let began = Instant::now();
        let scratch = Scratch::new(self.data_dir.clone(), self.seed)?;
        let receiver = Receiver::start().await?;
        let config = self.config(&receiver)?;
        let telemetry = Telemetry::install(&config.telemetry, "demo")?;
        let shutdown = signals::shutdown()?;

        say(began, "starting a private Postgres and every role");
        let options = Options {
            data_dir: DataDir::find(Some(&scratch.folder))?,
            config,
            metrics: telemetry.metrics().clone(),
        };
        let local = Local::start(options).await?;
        let outcome = tokio::select! {
            outcome = self.show(began, &local, &receiver, &scratch) => outcome,
            () = shutdown.cancelled() => Ok(None),
        };
        if let Ok(Some(summary)) = &outcome
            && !self.once
        {
            self.tell(summary)?;
            say(began, "done; the console stays up until ctrl-c");
            shutdown.cancelled().await;
        }
        local.stop().await;
        receiver.stop().await;
        tokio::task::spawn_blocking(move || telemetry.shut_down()).await?;
        scratch.remove()?;
        match outcome? {
            Some(summary) if self.once => self.tell(&summary),
            _ => Ok(()),
        }
    }

    fn config(&self, receiver: &Receiver) -> Result<Config> {
        let mut config = Config::load(None, |_| None)?;
        config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.telemetry.metrics_listen = None;
        // What the demo says is the story; the roles speak up when something is wrong.
        config.telemetry.log = std::env::var("TOCSIN_LOG").unwrap_or_else(|_| "warn".to_owned());
        config.console.listen = if self.once {
            SocketAddr::from(([127, 0, 0, 1], 0))
        } else {
            self.console
        };
        config.pager.destinations = vec![Destination::Webhook(Webhook::new("demo", receiver.url()))];
        Ok(config)
    }

    /// Trains, registers and streams.
    async fn show(
        &self,
        began: Instant,
        local: &Local,
        receiver: &Receiver,
        scratch: &Scratch,
    ) -> Result<Option<Summary>> {
        let fleet = Fleet::generate(FleetConfig::with_seed(self.seed).compressed(PAST))?;
        let start = Timestamp::parse("start", "2026-03-02T00:00:00Z")?;
        let live = start + PAST;
        let schedule = Schedule::draw(self.seed, &fleet, FAULTS, live, live + STREAMED)?;
        scratch.write_schedule(&schedule)?;
        say(
            began,
            &format!(
                "{} machines in {} sites; the faults to come are in {}",
                fleet.machines().len(),
                fleet.config().sites,
                scratch.schedule().display()
            ),
        );

        let channel = local.running.service_channel();
        let plant = Plant::register(&channel, local, &fleet).await?;
        say(
            began,
            "training a dense autoencoder and its companions on eight healthy hours",
        );
        let rows = plant::training_corpus(&fleet, start, live)?;
        let spec = fleet.config().spec.clone();
        let fitting = Fitting {
            class: CLASS.parse()?,
            variant: tocsin_models::Variant::Dense,
            foreign: None,
            options: tocsin_trainer::FitOptions::of(tocsin_models::Variant::Dense),
            latent: None,
            seed: self.seed,
            split: "train".to_owned(),
            corpora: Vec::new(),
            selection: None,
            checkpoints: None,
        };
        let archive = tokio::task::spawn_blocking(move || fit(&rows, &spec, &fitting))
            .await
            .context("training")??
            .archive;
        let rollout = rollout::register(&channel, CLASS, &archive).await?;
        say(
            began,
            &format!(
                "bundle {} judges class {CLASS} under alarm limits {}",
                archive.digest().short(),
                rollout.threshold_set_id
            ),
        );
        if let Some(console) = local.console().filter(|_| !self.once) {
            let password = local
                .new_admin_password
                .as_deref()
                .unwrap_or("the password in admin.password");
            say(
                began,
                &format!("console: http://{console}  sign in as {ADMIN} with {password}"),
            );
        }

        let pace = (!self.once).then_some(WATCHED_STEPS_PER_SECOND);
        say(
            began,
            &format!(
                "streaming {} hours, a spectrum of each of {} sensors every 10 s",
                STREAMED.as_secs() / 3600,
                fleet.sensors().len()
            ),
        );
        let readings = plant.stream(&fleet, &schedule, live, STREAMED, pace).await?;
        summary::delivered(&channel, LAST_PAGES).await?;
        let pages = receiver.pages();
        Ok(Some(Summary::of(&schedule, &pages, readings, fleet.machines().len())))
    }

    fn tell(&self, summary: &Summary) -> Result<()> {
        match self.output.format {
            Format::Json => document(&serde_json::to_value(summary).context("the summary")?),
            Format::Table => {
                eprintln!("{summary}");
                Ok(())
            }
        }
    }
}

/// Tells how far the demo is.
fn say(began: Instant, what: &str) {
    eprintln!("[{:6.1} s] {what}", began.elapsed().as_secs_f64());
}

/// The folder the demo works in.
#[derive(Debug)]
struct Scratch {
    folder: PathBuf,
    keep: bool,
    schedule: PathBuf,
}

impl Scratch {
    fn new(given: Option<PathBuf>, seed: u64) -> Result<Self> {
        let keep = given.is_some();
        let name = format!("tocsin-demo-{}", std::process::id());
        let folder = given.unwrap_or_else(|| std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        // Beside the folder, which is removed at the end: what was injected can be compared with what was found.
        let schedule = if keep {
            folder.join("faults.json")
        } else {
            std::env::temp_dir().join(format!("tocsin-demo-faults-{seed}.json"))
        };
        Ok(Self { folder, keep, schedule })
    }

    fn schedule(&self) -> &std::path::Path {
        &self.schedule
    }

    fn write_schedule(&self, schedule: &Schedule) -> Result<()> {
        let text = serde_json::to_string_pretty(schedule).context("the schedule")?;
        std::fs::write(&self.schedule, text).with_context(|| format!("writing {}", self.schedule.display()))
    }

    fn remove(&self) -> Result<()> {
        if self.keep {
            return Ok(());
        }
        std::fs::remove_dir_all(&self.folder).with_context(|| format!("removing {}", self.folder.display()))
    }
}
