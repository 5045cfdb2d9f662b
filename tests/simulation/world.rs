//! The simulated world: what there is in it, and how an episode goes.
//!
//! A run is cut into episodes. Each begins with nothing remembered, goes on for some thousand steps under everything that
//! may go wrong, and ends in calm: receivers answer, nobody crashes, time goes by, and then all of it is checked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use tocsin::Running;
use tocsin_domain::Timestamp;
use tokio::sync::Notify;

use crate::Arguments;
use crate::calls::Call;
use crate::check::Taken;
use crate::database::Database;
use crate::gate::Gate;
use crate::model::{Machine, STEP};
use crate::plant::Plant;
use crate::proxy::Lines;
use crate::receivers::Receivers;
use crate::replica::{DESTINATIONS, Parts, Replica};
use crate::stage::{self, Fleet, MACHINES, Place, START};

/// Steps of an episode.
const EPISODE: u64 = 2_400;
/// Replicas.
const REPLICAS: usize = 2;
/// What was violated is told so often; the rest is only counted.
const TOLD: u64 = 20;

/// What a run says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// Machines' turns.
    pub(crate) steps: u64,
    /// Processes killed and connections cut.
    pub(crate) crashes: u64,
    /// Incidents opened.
    pub(crate) incidents: u64,
    /// Pages decided.
    pub(crate) pages: u64,
    /// Second faults of acknowledged incidents that held long enough and were never paged.
    pub(crate) missed_second_faults: u64,
    /// What must not be.
    pub(crate) violations: u64,
}

/// How a receiver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Nearly always at once.
    Well,
    /// It refuses.
    Refusing,
    /// It doesn't answer.
    Silent,
}

/// A machine in the world and as it should be in the database.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub(crate) place: Place,
    pub(crate) plant: Plant,
    pub(crate) model: Machine,
    /// Its stream's "now" is its own newest capture time.
    pub(crate) clock_is_capture: bool,
    /// Whatever keeps its pages from people does so until then, by the clock of who was asked.
    pub(crate) not_over_before: Timestamp,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) rng: StdRng,
    pub(crate) database: Database,
    pub(crate) gate: Gate,
    pub(crate) tick: Arc<Notify>,
    /// Connections whose statements wait for a lock: their processes in the database stand still.
    pub(crate) asleep: BTreeMap<u64, i32>,
    /// How many answers there had been when none of them had its lock.
    pub(crate) looked_for_locks: Option<u64>,
    pub(crate) parts: Parts,
    pub(crate) receivers: Receivers,
    pub(crate) moods: [Mood; DESTINATIONS.len()],
    pub(crate) replicas: [Option<Replica>; REPLICAS],
    /// Turns that a replica stays away.
    pub(crate) down: [u32; REPLICAS],
    starts: u64,
    fleet: Fleet,
    pub(crate) units: Vec<Unit>,
    pub(crate) calls: Vec<Call>,
    pub(crate) taken: Vec<Taken>,
    /// Steps since the episode began.
    pub(crate) step: i64,
    /// The world's time, microseconds.
    pub(crate) now: i64,
    /// What may go wrong does.
    pub(crate) is_rough: bool,
    /// Something was violated in this episode: what should be is not known any more.
    pub(crate) is_lost: bool,
    pub(crate) report: Report,
    is_traced: bool,
    registry: Running,
}

impl World {
    /// Makes it.
    pub(crate) async fn start(arguments: &Arguments, tick: Arc<Notify>) -> Result<Self> {
        let sabotage = arguments.sabotage;
        let mut database = Database::start().await?;
        tokio::time::pause();
        let gate = Gate::default();
        let lines = Lines {
            server: database.socket()?,
            gate: gate.clone(),
            sabotage,
        };
        gate.stand_open(true);
        let (running, registry) = stage::registry(&lines, &database.folder.path().join("registry")).await?;
        let fleet = stage::fleet(&mut database, registry.clone()).await?;
        if let Some(sabotage) = sabotage {
            database.sabotage(sabotage).await?;
        }
        gate.stand_open(false);
        let receivers = Receivers::start(DESTINATIONS.len(), gate.clone()).await?;
        Ok(Self {
            rng: StdRng::seed_from_u64(arguments.seed),
            database,
            gate,
            tick,
            asleep: BTreeMap::new(),
            looked_for_locks: None,
            parts: Parts {
                lines,
                registry,
                receivers: receivers.clone(),
            },
            receivers,
            moods: [Mood::Well; DESTINATIONS.len()],
            replicas: [None, None],
            down: [0; REPLICAS],
            starts: 0,
            fleet,
            units: Vec::new(),
            calls: Vec::new(),
            taken: Vec::new(),
            step: 0,
            now: START,
            is_rough: false,
            is_lost: false,
            report: Report::default(),
            is_traced: arguments.trace,
            registry: running,
        })
    }

    /// Runs so many steps.
    pub(crate) async fn run(&mut self, steps: u64) -> Result<()> {
        while self.report.steps < steps {
            let end = steps.min(self.report.steps + EPISODE);
            self.begin().await?;
            while self.report.steps < end && !self.is_lost {
                self.turn().await?;
                self.report.steps += 1;
            }
            if !self.is_lost {
                self.calm().await?;
                self.check_all().await?;
            }
            self.end().await?;
        }
        Ok(())
    }

    /// Ends it; what it has to say.
    pub(crate) async fn stop(mut self) -> Result<Report> {
        for place in 0..REPLICAS {
            self.kill(place);
        }
        self.settle().await?;
        self.registry.shutdown().await;
        self.database.stop().await?;
        Ok(self.report)
    }

    async fn begin(&mut self) -> Result<()> {
        (self.step, self.now) = (0, START);
        self.moods = [Mood::Well; DESTINATIONS.len()];
        (self.is_lost, self.is_rough) = (false, false);
        self.taken.clear();
        self.units.clear();
        for number in 0..MACHINES {
            let plant = Plant::new(&mut self.rng);
            self.units.push(Unit {
                place: self.fleet.machines[number].clone(),
                plant,
                model: Machine::default(),
                clock_is_capture: number % 3 == 2,
                not_over_before: Timestamp::from_micros(START),
            });
        }
        for place in 0..REPLICAS {
            self.bring_up(place).await?;
        }
        self.is_rough = true;
        Ok(())
    }

    async fn end(&mut self) -> Result<()> {
        self.is_rough = false;
        for place in 0..REPLICAS {
            self.kill(place);
        }
        self.calls.clear();
        self.settle().await?;
        drop(self.gate.commits());
        let counted = "select (select count(*) from incident) as incidents, (select count(*) from outbox) as pages";
        let counted = self.database.rows(counted, None).await?;
        let number = |name: &str| sqlx::Row::try_get::<i64, _>(&counted[0], name);
        self.report.incidents += number("incidents")? as u64;
        self.report.pages += number("pages")? as u64;
        self.database.forget().await
    }

    /// Starts a replica that is away. Its clock may go wrong by some seconds, either way.
    pub(crate) async fn bring_up(&mut self, place: usize) -> Result<()> {
        self.starts += 1;
        let folder = self.database.folder.path().join(format!("r{}", self.starts));
        let skew = if self.is_rough {
            self.rng.random_range(-20..=20)
        } else {
            0
        };
        let now = Timestamp::from_micros(self.now + skew * 1_000_000);
        let seed = self.rng.random();
        self.replicas[place] = Some(Replica::start(&self.parts, place, &folder, now, seed)?);
        self.quiet().await
    }

    /// Kills a replica; its calls are never answered.
    pub(crate) fn kill(&mut self, place: usize) {
        if let Some(replica) = self.replicas[place].take() {
            replica.kill();
        }
        self.drop_calls(place);
    }

    /// Lets time go by, and whatever follows from that alone.
    pub(crate) async fn pass(&mut self, time: Duration) -> Result<()> {
        self.move_time(time).await;
        self.quiet().await
    }

    /// Moves everybody's time.
    pub(crate) async fn move_time(&mut self, time: Duration) {
        self.now += time.as_micros() as i64;
        for replica in self.replicas.iter().flatten() {
            replica.clock.advance(time);
        }
        tokio::time::advance(time).await;
    }

    /// The start of the present step, microseconds.
    pub(crate) fn at(&self) -> i64 {
        START + self.step * STEP
    }

    /// Says what happens, when that is asked for.
    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        if self.is_traced {
            eprintln!("{} {}", self.report.steps, what());
        }
    }

    /// Takes down that something is as it must not be.
    pub(crate) fn violated(&mut self, what: impl FnOnce() -> String) {
        self.report.violations += 1;
        self.is_lost = true;
        if self.report.violations <= TOLD {
            eprintln!("step {}: {}", self.report.steps, what());
        }
    }

    pub(crate) fn class_and_spec(&self) -> (i32, i32) {
        (self.fleet.class, self.fleet.spec)
    }
}
