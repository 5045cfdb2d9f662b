//! What happens next: one statement, or one answer of a receiver, drawn by lot among all that wait, and then nothing more
//! until everybody who can go on has done so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rand::RngExt;
use rustix::process::{Pid, Signal, kill_process};

use crate::gate::{Departed, Passage, Statement, UnderWay};
use crate::receivers::{Answer, Request};
use crate::world::{Mood, World};

/// Rounds of all that can run, without anything happening, after which nothing can: no two things that are counted are
/// further apart. The longest way is that of a page, from the answer of the database to its receiver.
const STILL: u32 = 12;
/// Ticks of real time, a millisecond each, after which the database is asked whether a statement waits for a lock. What it
/// says is exact; this only spares it the question.
const PATIENCE: u32 = 2;
/// Ticks after which something is wrong with the simulation itself.
const STUCK: u32 = 30_000;

/// One in so many statements crashes its replica, or loses its connection.
const CRASHES: u32 = 1_200;

impl World {
    /// Returns when everybody waits: for the gate, for a receiver, for time to go by, or for somebody else's lock.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        loop {
            self.database_answers().await?;
            self.still().await;
            let departed = self.gate.departed();
            if departed != Departed::default() {
                self.wake_departed(&departed)?;
                self.database.end(&departed.at_work).await?;
                self.database.end(&departed.idle).await?;
                self.looked_for_locks = None;
                continue;
            }
            if self.wake_one().await? {
                continue;
            }
            if !self.gate.let_idle_go() {
                return Ok(());
            }
        }
    }

    /// Lets the first of the statements that have the lock they waited for go on; whether there was one. The others stand
    /// still meanwhile: what it frees on its way they would race each other for, within the database.
    async fn wake_one(&mut self) -> Result<bool> {
        let answers = self.gate.answers();
        if self.asleep.is_empty() || self.looked_for_locks == Some(answers) {
            return Ok(false);
        }
        let asked: Vec<i32> = self.asleep.values().copied().collect();
        let blocked = self.database.blocked(&asked, &self.gate.processes()).await?;
        let under_way = self.gate.under_way();
        let free = self.asleep.iter().filter(|(_, process)| !blocked.contains(process));
        let first = free.min_by_key(|(connection, _)| under_way.get(connection).map(|of| &of.statement));
        let Some((connection, process)) = first.map(|(connection, process)| (*connection, *process)) else {
            self.looked_for_locks = Some(answers);
            return Ok(false);
        };
        self.asleep.remove(&connection);
        signal(process, Signal::CONT)?;
        Ok(true)
    }

    /// A process that stands still can't be ended.
    fn wake_departed(&mut self, departed: &Departed) -> Result<()> {
        for process in departed.at_work.iter().chain(&departed.idle) {
            if self.asleep.values().any(|asleep| asleep == process) {
                self.asleep.retain(|_, asleep| asleep != process);
                signal(*process, Signal::TERM)?;
                signal(*process, Signal::CONT)?;
            }
        }
        Ok(())
    }

    /// Returns when each statement that is under way has been answered, or waits for a lock that another connection has:
    /// then its process stands still until [`Self::wake_one`] finds that it has the lock.
    async fn database_answers(&mut self) -> Result<()> {
        let mut ticks = 0;
        loop {
            let awake = self.awake();
            if awake.is_empty() {
                return Ok(());
            }
            if ticks >= PATIENCE {
                let asked: Vec<i32> = awake.values().filter_map(|of| of.process).collect();
                let blocked = self.database.blocked(&asked, &self.gate.processes()).await?;
                if blocked.len() == awake.len() && self.awake() == awake {
                    for (connection, of) in awake {
                        let process = of.process.context("who waits for a lock has a process")?;
                        signal(process, Signal::STOP)?;
                        self.asleep.insert(connection, process);
                    }
                    return Ok(());
                }
            }
            tokio::select! {
                biased;
                () = self.gate.answer() => ticks = 0,
                () = self.tick.notified() => ticks += 1,
            }
            if ticks > STUCK {
                bail!(
                    "the database has not answered for half a minute: {awake:?} of {:?}",
                    self.gate
                );
            }
        }
    }

    /// What is under way and does not stand still, by connection.
    fn awake(&self) -> BTreeMap<u64, UnderWay> {
        let mut under_way = self.gate.under_way();
        under_way.retain(|connection, _| !self.asleep.contains_key(connection));
        under_way
    }

    async fn still(&self) {
        let (mut quiet, mut seen) = (0, self.gate.moved());
        while quiet < STILL {
            tokio::task::yield_now().await;
            let moved = self.gate.moved();
            quiet = if moved == seen { quiet + 1 } else { 0 };
            seen = moved;
        }
    }

    /// Goes on until nothing waits any more but for time.
    pub(crate) async fn quiet(&mut self) -> Result<()> {
        let mut waited = 0;
        loop {
            self.settle().await?;
            self.take_commits().await?;
            self.hear_arrivals().await?;
            self.finish_calls().await?;
            if self.go_on().await? {
                continue;
            }
            if self.calls.is_empty() {
                return Ok(());
            }
            // Whoever still waits, waits for time: a retry, or the patience of a start.
            self.move_time(Duration::from_millis(500)).await;
            waited += 1;
            if waited > 240 {
                bail!("calls are not answered in two minutes: {:?}", self.calls);
            }
        }
    }

    /// Lets one thing happen; whether there was any.
    async fn go_on(&mut self) -> Result<bool> {
        let statements = self.gate.waiting();
        let requests = self.requests();
        let all = statements.len() + requests.len();
        if all == 0 {
            return Ok(false);
        }
        let drawn = self.rng.random_range(0..all);
        self.trace(|| match statements.get(drawn) {
            Some((_, Statement { replica, text, .. })) => {
                format!("{replica} {all} {}", &text[..text.len().min(90)].replace('\n', " "))
            }
            None => format!("{all} {:?}", requests[drawn - statements.len()]),
        });
        match statements.get(drawn) {
            Some((connection, statement)) => self.let_go(*connection, statement).await?,
            None => self.answer(&requests[drawn - statements.len()]),
        }
        Ok(true)
    }

    async fn let_go(&mut self, connection: u64, statement: &Statement) -> Result<()> {
        let replica = statement.replica;
        let crashes = self.is_rough && self.rng.random_ratio(1, CRASHES);
        if !crashes {
            let looks = statement.text.contains("join machine_state s on");
            self.gate.let_go(connection, Passage::Through);
            if looks {
                self.note_look(replica);
            }
            return Ok(());
        }
        self.report.crashes += 1;
        let (after, kills) = (self.rng.random_bool(0.5), self.rng.random_bool(0.4));
        self.gate
            .let_go(connection, if after { Passage::CutAfter } else { Passage::CutBefore });
        if kills {
            if after {
                self.settle().await?;
                self.take_commits().await?;
            }
            self.down[replica] = self.rng.random_range(0..6);
            self.kill(replica);
        }
        Ok(())
    }

    /// Requests that may be answered now. A receiver that is silent answers none.
    fn requests(&mut self) -> Vec<Request> {
        let mut waiting = self.receivers.waiting();
        waiting.retain(|request| self.moods[request.destination] != Mood::Silent);
        waiting
    }

    fn answer(&mut self, request: &Request) {
        let draw: f64 = if self.is_rough { self.rng.random() } else { 1.0 };
        let answer = match (self.moods[request.destination], draw) {
            (Mood::Refusing, _) | (_, ..0.04) => Answer::NotNow,
            (_, ..0.05) => Answer::Wait(self.rng.random_range(1..100)),
            (_, ..0.07) => Answer::YesUnheard,
            (_, ..0.09) => Answer::Silence,
            _ => Answer::Yes,
        };
        if answer.takes() {
            self.page_taken(request);
        }
        self.receivers.answer(request, answer);
    }

    /// Receivers change their moods now and then.
    pub(crate) fn sway(&mut self) {
        for mood in &mut self.moods {
            let draw: f64 = self.rng.random();
            *mood = match (*mood, draw) {
                (Mood::Well, ..0.004) => Mood::Refusing,
                (Mood::Well, ..0.008) => Mood::Silent,
                (Mood::Refusing | Mood::Silent, ..0.04) => Mood::Well,
                (mood, _) => mood,
            };
        }
    }

    /// Replicas that are away.
    pub(crate) fn absent(&self) -> BTreeSet<usize> {
        (0..self.replicas.len())
            .filter(|place| self.replicas[*place].is_none())
            .collect()
    }
}

fn signal(process: i32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(process).context("a process of the database has a number")?;
    kill_process(pid, signal).with_context(|| format!("{signal:?} for the database's process {process}"))
}
