//! `tocsin replay`: publishes a corpus in time order, as the plant would have, and tells what the platform made of it.
//!
//! The stream's clock is the capture time, so that incidents open and close as they would have then. A machine's readings
//! of one step travel together; machines are shared out among a few streams. The place reached is kept in a cursor file
//! after every window, so that an interrupted replay goes on where it stopped; sending twice changes nothing anyway.

mod cursor;
mod gateway;
mod outcome;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;
use tocsin_contracts::ingest::StreamProperties;
use tocsin_contracts::ingest::v1::{Condition, Reading};
use tocsin_contracts::time;
use tocsin_corpus::{Cursor, MachineStep, Row, Timeline};
use tocsin_domain::{Slug, Timestamp};
use tocsin_transport::Channel;

use self::cursor::CursorFile;
use super::Ask;
use super::corpora::{Corpora, bar};
use crate::client::explain_sending;
use crate::output::{Format, document};
use crate::publish::Publisher;

/// The decision interval that rows of a machine are gathered by.
const STEP: Duration = Duration::from_secs(10);
/// Readings between two notes of the cursor.
const WINDOW: usize = 4_096;
/// Readings in a batch, unless one machine's step has more.
const BATCH: usize = 512;
/// Streams, each with a batch in flight.
const STREAMS: usize = 4;

/// How fast.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Speed {
    /// As fast as the platform acknowledges.
    Max,
    /// This many seconds of capture time per second.
    Times(f64),
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse::<f64>() {
            Ok(times) if times.is_finite() && times > 0.0 => Ok(Self::Times(times)),
            _ => Err(format!("{text:?} is neither max nor a number above 0")),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    #[command(flatten)]
    corpora: Corpora,
    /// Class of the machines, for --register
    #[arg(long, value_name = "NAME", default_value = "corpus", requires = "register")]
    class: String,
    /// Make the site, class, specification and sensors that don't exist yet
    #[arg(long)]
    register: bool,
    /// `max`, or how many times real time
    #[arg(long, default_value = "max")]
    speed: Speed,
    /// Judge and store, but never page
    #[arg(long)]
    historical: bool,
    /// Wait until every page has been delivered or given up
    #[arg(long)]
    wait: bool,
    /// File that keeps the place reached [default: one in the temporary folder, by corpus and target]
    #[arg(long, value_name = "FILE")]
    cursor: Option<PathBuf>,
    #[command(flatten)]
    ask: Ask,
}

/// What became of the rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) stored: u64,
    pub(super) duplicates: u64,
    pub(super) rejections: BTreeMap<String, u64>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.stored += other.stored;
        self.duplicates += other.duplicates;
        for (reason, count) in other.rejections {
            *self.rejections.entry(reason).or_default() += count;
        }
    }

    fn rejected(&self) -> u64 {
        self.rejections.values().sum()
    }
}

impl Replay {
    pub(super) async fn run(self) -> Result<()> {
        let rows = self.corpora.read(None)?;
        let site = one_site(&rows)?;
        let spec = self.corpora.spec(&rows)?;
        let channel = self.ask.target.channel()?;
        if self.register {
            gateway::register(&channel, &site, &self.class, &spec, &rows).await?;
        }
        let gateway = gateway::open(&channel, &self.ask.target, &site, self.historical).await?;
        let timeline = Timeline::of(rows, STEP);
        let cursor = CursorFile::open(self.cursor.clone(), &self.corpora, &self.ask.target.url()?)?;
        let started = Instant::now();
        let tally = self.publish(&gateway.channel, &timeline, &cursor).await;
        let elapsed = started.elapsed();
        // Why the sending failed is worth more than that its token could not be revoked either.
        let closed = gateway.close().await;
        let tally = tally?;
        closed?;
        cursor.remove()?;
        let machines = outcome::machines(&channel, &site, &timeline, self.wait).await?;
        self.tell(&tally, elapsed, machines)
    }

    async fn publish(&self, channel: &Channel, timeline: &Timeline, cursor: &CursorFile) -> Result<Tally> {
        let properties = StreamProperties {
            clock_is_capture: true,
            historical: self.historical,
        };
        let mut streams: Vec<Publisher> = (0..STREAMS)
            .map(|_| Publisher::new(channel.clone(), properties))
            .collect();
        let bar = bar(
            timeline.rows() as u64,
            "{pos}/{len} readings, {per_sec}, {eta} left {msg}",
        );
        let mut pace = Pace::new(self.speed);
        let mut tally = Tally::default();
        let reached = cursor.read()?;
        let mut steps = timeline.after(reached.as_ref()).peekable();
        if reached.is_some() {
            let left: u64 = timeline
                .after(reached.as_ref())
                .map(|step| step.rows.len() as u64)
                .sum();
            bar.set_position(timeline.rows() as u64 - left);
        }
        while steps.peek().is_some() {
            let window = window(&mut steps, self.speed);
            let Some(last) = window.last().map(|step| step.cursor.clone()) else {
                break;
            };
            pace.wait_for(last.step()).await;
            let sent = send(&mut streams, window).await?;
            bar.inc(sent.sent);
            bar.set_message(format!("at {}", last.step()));
            tally.add(sent);
            cursor.write(&last)?;
        }
        bar.finish_and_clear();
        Ok(tally)
    }

    fn tell(&self, tally: &Tally, elapsed: Duration, machines: Vec<serde_json::Value>) -> Result<()> {
        let acked = tally.stored + tally.duplicates;
        let told = json!({
            "sent": tally.sent,
            "acked": acked,
            "stored": tally.stored,
            "duplicates": tally.duplicates,
            "rejected": tally.rejected(),
            "rejections": tally.rejections,
            "seconds": elapsed.as_secs_f64(),
            "readings_per_second": tally.sent as f64 / elapsed.as_secs_f64().max(1e-9),
            "machines": machines,
        });
        if self.ask.output.format == Format::Json {
            return document(&told);
        }
        eprintln!(
            "{} sent in {:.1} s: {} stored, {} were there before, {} rejected",
            tally.sent,
            elapsed.as_secs_f64(),
            tally.stored,
            tally.duplicates,
            tally.rejected()
        );
        for (reason, count) in &tally.rejections {
            eprintln!("rejected {count}: {reason}");
        }
        let machines = told["machines"].as_array().cloned().unwrap_or_default();
        self.ask.output.list(
            "machines",
            machines,
            &["machine", "first_alert", "first_page", "incident_count"],
        )
    }
}

/// The corpus's one site: a gateway speaks for no other.
fn one_site(rows: &[Row]) -> Result<Slug> {
    let site = rows[0].sensor.site.clone();
    if let Some(other) = rows.iter().find(|row| row.sensor.site != site) {
        let other = &other.sensor.site;
        bail!("--corpus: rows of two sites, {site} and {other}; replay one site at a time with --sensors '{site}/*'");
    }
    Ok(site)
}

/// The next steps: a windowful, or at a limited speed those of one moment.
fn window<'a>(
    steps: &mut std::iter::Peekable<impl Iterator<Item = MachineStep<'a>>>,
    speed: Speed,
) -> Vec<MachineStep<'a>> {
    let mut window: Vec<MachineStep<'a>> = Vec::new();
    let mut readings = 0;
    while let Some(next) = steps.peek() {
        let other_moment = window
            .first()
            .is_some_and(|first| first.cursor.step() != next.cursor.step());
        if readings >= WINDOW || (other_moment && speed != Speed::Max) {
            break;
        }
        readings += next.rows.len();
        window.extend(steps.next());
    }
    window
}

/// Shares a window out among the streams by machine, and waits for every ack.
async fn send(streams: &mut [Publisher], window: Vec<MachineStep<'_>>) -> Result<Tally> {
    let mut shares: Vec<Vec<Vec<Reading>>> = vec![Vec::new(); streams.len()];
    let mut numbers: BTreeMap<Slug, usize> = BTreeMap::new();
    for step in window {
        let next = numbers.len();
        let number = *numbers.entry(step.cursor.machine().clone()).or_insert(next);
        shares[number % streams.len()].push(step.rows.iter().map(reading).collect());
    }
    let mut tally = Tally::default();
    let mut sending = tokio::task::JoinSet::new();
    // The publishers are lent to the tasks and come back, so that their streams stay open.
    for (place, share) in shares.into_iter().enumerate().filter(|(_, share)| !share.is_empty()) {
        let publisher = streams[place].take();
        sending.spawn(async move { (place, publish_share(publisher, share).await) });
    }
    let mut failure = None;
    while let Some(done) = sending.join_next().await {
        let (place, (publisher, sent)) = done.context("sending")?;
        streams[place] = publisher;
        match sent {
            Ok(sent) => tally.add(sent),
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(tally), Err)
}

async fn publish_share(mut publisher: Publisher, steps: Vec<Vec<Reading>>) -> (Publisher, Result<Tally>) {
    let mut tally = Tally::default();
    let mut batch: Vec<Reading> = Vec::new();
    let mut steps = steps.into_iter().peekable();
    while let Some(step) = steps.next() {
        batch.extend(step);
        if batch.len() < BATCH && steps.peek().is_some() {
            continue;
        }
        let readings = std::mem::take(&mut batch);
        tally.sent += readings.len() as u64;
        match publisher.publish(readings).await {
            Ok(ack) => {
                tally.stored += u64::from(ack.stored);
                tally.duplicates += u64::from(ack.duplicates);
                for rejection in ack.rejections {
                    *tally
                        .rejections
                        .entry(format!("{}: {}", rejection.field, rejection.reason))
                        .or_default() += 1;
                }
            }
            Err(status) => {
                let then = "run the same replay again: it goes on where it stopped";
                return (publisher, Err(explain_sending("publishing", &status, then)));
            }
        }
    }
    (publisher, Ok(tally))
}

fn reading(row: &Row) -> Reading {
    Reading {
        sensor: format!("{}/{}", row.sensor.machine, row.sensor.sensor),
        captured_at: Some(time::to_wire(row.captured_at)),
        bins: row.bins.clone(),
        db_reference: None,
        condition: Some(Condition {
            rpm: row.rpm,
            load: row.load,
            ..Condition::default()
        }),
        overall: Vec::new(),
    }
}

/// Holds capture time to a multiple of real time.
struct Pace {
    speed: Speed,
    start: Option<(Instant, Timestamp)>,
}

impl Pace {
    fn new(speed: Speed) -> Self {
        Self { speed, start: None }
    }

    async fn wait_for(&mut self, captured_at: Timestamp) {
        let Speed::Times(times) = self.speed else { return };
        let (began, first) = *self.start.get_or_insert_with(|| (Instant::now(), captured_at));
        let due = began + captured_at.since(first).div_f64(times);
        tokio::time::sleep_until(due.into()).await;
    }
}

/// A place in a timeline, as the cursor file keeps it.
type Reached = Option<Cursor>;
