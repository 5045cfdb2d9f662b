//! A fleet's kept spectra, scored anew and replayed: what another bundle or other baselines would have opened.
//!
//! Every reading is scored on each side of a comparison, under what is asked for and under what is in force, or on none:
//! one that can't be scored on both is left out, and counted ([`Coverage`]). Where nothing changes for a reading, its
//! stored scores stand; a reading that was judged without the network is so on both sides, and severity, which no bundle
//! gives, stays as it was. Scores come from the code that scored live ([`Ready`](tocsin_models::Ready)), and are judged and
//! folded as those of [`crate::replay`] are.
//!
//! In memory are a portion of spectra, and a day of scores of those machines.

mod baselines;
mod coverage;
mod past;
mod side;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use tocsin_archive::{FullReadings, Portion};
use tocsin_domain::{MachineId, ReadingFlags, Scope, SensorId, Timestamp};
use tocsin_judge::MachineReplay;
use tocsin_store::reading::{FullReading, LoggedScore};
use tokio::task::JoinSet;

pub(crate) use baselines::Baselines;
pub(crate) use coverage::{Coverage, note};
pub(crate) use side::Side;

use crate::replay::{at_once, take};
use crate::{Error, Service};
use baselines::Held;
use side::Scorer;

/// Machines that a processor reads at once: more of them make a day of scores too many beside the spectra, and progress
/// is told when all of them are done.
const MACHINES: usize = 16;

/// Which readings are scored anew.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rescored {
    /// Captured from the first up to but without the second.
    pub(crate) period: (Timestamp, Timestamp),
    /// History too.
    pub(crate) historical: bool,
    /// How often their class decides.
    pub(crate) step: Duration,
}

/// A machine's replays, in the order of the sides, and how many of its readings they are of.
pub(crate) type Outcomes = BTreeMap<MachineId, (Vec<MachineReplay>, Coverage)>;

impl Service {
    /// Scores the readings of some machines on some sides, and replays them.
    pub(crate) async fn rescore(
        &self,
        scope: &Scope,
        machines: &[MachineId],
        rescored: Rescored,
        sides: &[Side],
    ) -> Result<Outcomes, Error> {
        self.progress.expect(machines.len());
        let sensors = self.parts.store.sensors_of_machines(scope, machines).await?.len();
        let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
        let most = at_once(machines.len(), sensors, rescored.step, workers).min(MACHINES);
        let (mut at_work, mut done) = (JoinSet::new(), Outcomes::new());
        for some in machines.chunks(most) {
            if at_work.len() == workers {
                done.extend(self.next_rescored(&mut at_work).await?);
            }
            let (group, readings) = self.group(scope, some, rescored, sides).await?;
            at_work.spawn(group.run(readings));
        }
        while !at_work.is_empty() {
            done.extend(self.next_rescored(&mut at_work).await?);
        }
        Ok(done)
    }

    async fn next_rescored(&self, at_work: &mut JoinSet<Result<Outcomes, Error>>) -> Result<Outcomes, Error> {
        let Some(done) = at_work.join_next().await else {
            return Ok(Outcomes::new());
        };
        let done = done??;
        self.progress.read(done.len());
        Ok(done)
    }

    async fn group(
        &self,
        scope: &Scope,
        machines: &[MachineId],
        rescored: Rescored,
        sides: &[Side],
    ) -> Result<(Group, FullReadings), Error> {
        let machine_of = self.parts.store.sensors_of_machines(scope, machines).await?;
        let sensors: Vec<SensorId> = machine_of.keys().copied().collect();
        let (from, to) = rescored.period;
        // A window that ends with the first reading began earlier.
        let reach = sides.iter().map(Side::reach).max().unwrap_or_default();
        let archive = self.parts.archive();
        let readings = archive
            .full_readings(scope, sensors.clone(), (from - reach, to))
            .await?;
        let fresh = |machine: &MachineId| {
            let replay = |side: &Side| MachineReplay::new(*machine, Arc::clone(&side.set), rescored.step);
            let replays = sides.iter().map(replay).collect();
            (*machine, (replays, Coverage::default()))
        };
        let group = Group {
            held: Held::of(self.parts.store.clone(), scope, &sensors).await?,
            machine_of,
            scorers: sides.iter().cloned().map(Scorer::new).collect(),
            outcomes: machines.iter().map(fresh).collect(),
            day: Vec::new(),
            rescored,
        };
        Ok((group, readings))
    }
}

/// Some machines, one day after the other.
struct Group {
    machine_of: BTreeMap<SensorId, MachineId>,
    held: Held,
    scorers: Vec<Scorer>,
    outcomes: Outcomes,
    /// The readings of the day so far.
    day: Vec<Row>,
    rescored: Rescored,
}

/// A reading of a machine, and what it scores on each side; nothing where it can't be scored on all of them.
struct Row {
    machine: MachineId,
    at: (Timestamp, SensorId),
    scores: Option<Vec<LoggedScore>>,
}

impl Group {
    async fn run(mut self, mut readings: FullReadings) -> Result<Outcomes, Error> {
        while let Some(portion) = readings.next().await? {
            match portion {
                Portion::Readings(readings) => self.score(&readings).await?,
                Portion::EndOfDay => self = tokio::task::spawn_blocking(|| self.fold()).await?,
            }
        }
        Ok(self.outcomes)
    }

    async fn score(&mut self, readings: &[FullReading]) -> Result<(), Error> {
        let mut sides = Vec::with_capacity(self.scorers.len());
        for scorer in &mut self.scorers {
            sides.push(scorer.scores(&mut self.held, readings).await?);
        }
        for (place, reading) in readings.iter().enumerate() {
            let key = reading.stored.key;
            let Some(machine) = self
                .machine_of
                .get(&key.sensor)
                .filter(|_| self.rescored.takes(reading))
            else {
                continue;
            };
            self.day.push(Row {
                machine: *machine,
                at: (key.captured_at, key.sensor),
                scores: sides.iter().map(|scores| scores[place]).collect(),
            });
        }
        Ok(())
    }

    /// Replays the day in order of capture.
    fn fold(mut self) -> Self {
        let mut day = std::mem::take(&mut self.day);
        // Of a reading that was seen twice, hot and archived, the first stays.
        day.sort_by_key(|row| (row.machine, row.at));
        day.dedup_by_key(|row| (row.machine, row.at));
        for row in day {
            let Some((replays, coverage)) = self.outcomes.get_mut(&row.machine) else {
                continue;
            };
            coverage.count(row.scores.is_some());
            for (replay, score) in replays.iter_mut().zip(row.scores.iter().flatten()) {
                take(std::slice::from_mut(replay), row.machine, score);
            }
        }
        self
    }
}

impl Rescored {
    /// What lies before the period is read for the windows alone.
    fn takes(&self, reading: &FullReading) -> bool {
        let stored = &reading.stored;
        stored.key.captured_at >= self.period.0 && (self.historical || !stored.flags.contains(ReadingFlags::HISTORICAL))
    }
}
