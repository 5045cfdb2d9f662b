//! A fleet's stored scores, gone through some machines at a time on each processor, a day at a time: for what they reached,
//! or replayed under limits on trial.
//!
//! A day of those machines' scores, and what their windows can reach, is in memory.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use tocsin_archive::{Replay, Replayed};
use tocsin_domain::{MachineId, Scope, Timestamp, UnjudgedReason, Verdict};
use tocsin_judge::{MachineReplay, ThresholdSet};
use tocsin_store::reading::LoggedScore;
use tokio::task::JoinSet;

use crate::scores::scored;
use crate::{Error, Service};

/// Scores of a day that are held at once on a processor, about 100 bytes each, if every sensor reports once a step.
const ROWS: u64 = 500_000;

/// Each machine's replays, in the order of the sets.
pub(crate) type Replays = BTreeMap<MachineId, Vec<MachineReplay>>;

/// What is made of a machine's scores, one after the other in order of capture.
pub(crate) trait Taking: Send + 'static {
    fn take(&mut self, machine: MachineId, score: &LoggedScore);
}

impl Service {
    /// Replays some machines, whose class decides once a `step`, under some sets at once.
    pub(crate) async fn replay(
        &self,
        scope: &Scope,
        machines: &[MachineId],
        (replayed, step): (Replayed, Duration),
        sets: &[Arc<ThresholdSet>],
    ) -> Result<Replays, Error> {
        self.go_through(scope, machines, (replayed, step), under(sets, step))
            .await
    }

    /// Has every machine's scores taken by what is `fresh` for it.
    pub(crate) async fn go_through<T: Taking>(
        &self,
        scope: &Scope,
        machines: &[MachineId],
        (replayed, step): (Replayed, Duration),
        fresh: impl Fn(MachineId) -> T,
    ) -> Result<BTreeMap<MachineId, T>, Error> {
        self.progress.expect(machines.len());
        let archive = self.parts.archive();
        let sensors = self.parts.store.sensors_of_machines(scope, machines).await?.len();
        let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
        let (mut at_work, mut done) = (JoinSet::new(), BTreeMap::new());
        for some in machines.chunks(at_once(machines.len(), sensors, step, workers)) {
            if at_work.len() == workers {
                done.extend(self.next_done(&mut at_work).await?);
            }
            let fresh: BTreeMap<MachineId, T> = some.iter().map(|machine| (*machine, fresh(*machine))).collect();
            let scores = archive.replay(scope, some, replayed).await?;
            at_work.spawn(run(fresh, scores));
        }
        while !at_work.is_empty() {
            done.extend(self.next_done(&mut at_work).await?);
        }
        Ok(done)
    }

    /// The same of machines that were healthy, without the day before a repair.
    pub(crate) async fn go_through_health<T: Taking>(
        &self,
        scope: &Scope,
        machines: &[MachineId],
        over: (Replayed, Duration),
        fresh: impl Fn(MachineId) -> T,
    ) -> Result<BTreeMap<MachineId, T>, Error> {
        let before_repair = self.parts.store.machines_before_repair(machines).await?;
        let outside = |machine: MachineId| OutsideOf {
            stretches: before_repair.get(&machine).cloned().unwrap_or_default(),
            inner: fresh(machine),
        };
        let taken = self.go_through(scope, machines, over, outside).await?;
        Ok(taken
            .into_iter()
            .map(|(machine, taken)| (machine, taken.inner))
            .collect())
    }

    /// As [`Self::go_through`], on this task alone, of what may have enough before the end.
    pub(crate) async fn read_scores(
        &self,
        scope: &Scope,
        machines: &[MachineId],
        (replayed, step): (Replayed, Duration),
        mut take: impl FnMut(MachineId, &LoggedScore) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let archive = self.parts.archive();
        let sensors = self.parts.store.sensors_of_machines(scope, machines).await?.len();
        for some in machines.chunks(at_once(machines.len(), sensors, step, 1)) {
            let mut scores = archive.replay(scope, some, replayed).await?;
            while let Some(day) = scores.next_day().await? {
                day.iter().try_for_each(|(machine, score)| take(*machine, score))?;
            }
        }
        Ok(())
    }

    async fn next_done<T: 'static>(
        &self,
        at_work: &mut JoinSet<Result<BTreeMap<MachineId, T>, Error>>,
    ) -> Result<BTreeMap<MachineId, T>, Error> {
        let Some(done) = at_work.join_next().await else {
            return Ok(BTreeMap::new());
        };
        let done = done??;
        self.progress.read(done.len());
        Ok(done)
    }
}

/// A machine's replay under each of some sets.
pub(crate) fn under(sets: &[Arc<ThresholdSet>], step: Duration) -> impl Fn(MachineId) -> Vec<MachineReplay> {
    move |machine| {
        let replay = |set: &Arc<ThresholdSet>| MachineReplay::new(machine, Arc::clone(set), step);
        sets.iter().map(replay).collect()
    }
}

/// How many machines are replayed at once on a processor: few enough for memory, and enough for every processor.
pub(crate) fn at_once(machines: usize, sensors: usize, step: Duration, workers: usize) -> usize {
    let of_a_sensor = (86_400.0 / step.as_secs_f64().max(1.0)).ceil() as u64;
    let of_a_machine = of_a_sensor * sensors.div_ceil(machines.max(1)).max(1) as u64;
    let fit = (ROWS / of_a_machine).max(1) as usize;
    fit.min(machines.div_ceil(workers).max(1))
}

async fn run<T: Taking>(
    mut takers: BTreeMap<MachineId, T>,
    mut scores: Replay,
) -> Result<BTreeMap<MachineId, T>, Error> {
    while let Some(day) = scores.next_day().await? {
        takers = tokio::task::spawn_blocking(move || {
            for of_machine in day.chunk_by(|(one, _), (other, _)| one == other) {
                let machine = of_machine[0].0;
                if let Some(taker) = takers.get_mut(&machine) {
                    for (_, score) in of_machine {
                        taker.take(machine, score);
                    }
                }
            }
            takers
        })
        .await?;
    }
    Ok(takers)
}

/// What takes a machine's scores but those of some stretches.
struct OutsideOf<T> {
    stretches: Vec<(Timestamp, Timestamp)>,
    inner: T,
}

impl<T: Taking> Taking for OutsideOf<T> {
    fn take(&mut self, machine: MachineId, score: &LoggedScore) {
        if !is_within(&self.stretches, score) {
            self.inner.take(machine, score);
        }
    }
}

/// Whether a score lies in one of some stretches, each up to but without its end.
pub(crate) fn is_within(stretches: &[(Timestamp, Timestamp)], score: &LoggedScore) -> bool {
    let at = score.key.captured_at;
    stretches.iter().any(|(from, to)| (*from..*to).contains(&at))
}

impl Taking for Vec<MachineReplay> {
    fn take(&mut self, machine: MachineId, score: &LoggedScore) {
        take(self, machine, score);
    }
}

/// Whether a machine stood still or was in transit was told from its condition then; that it had no limits was not.
pub(crate) fn take(replays: &mut [MachineReplay], machine: MachineId, score: &LoggedScore) {
    if let Verdict::Unjudged {
        reason: UnjudgedReason::Stopped | UnjudgedReason::Transient,
    } = score.verdict
    {
        for replay in replays {
            replay.take_unjudged(score.key);
        }
        return;
    }
    let scored = scored(machine, score);
    for replay in replays {
        replay.take(&scored);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_machines_are_read_at_once_as_memory_bears_and_processors_share() {
        let at =
            |machines, sensors, seconds, workers| at_once(machines, sensors, Duration::from_secs(seconds), workers);
        assert_eq!(at(600, 600, 60, 2), 300, "each processor has its half");
        assert_eq!(at(600, 2_400, 10, 2), 14, "of 34,560 scores a day each");
        assert_eq!(at(3, 300, 1, 8), 1, "never none");
        assert_eq!(at(0, 0, 60, 2), 1);
    }
}
