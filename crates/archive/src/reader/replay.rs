//! Machines' scores in order of capture, hot and archived alike, as a what-if replays them.

use std::collections::{BTreeMap, VecDeque};

use tocsin_corpus::archive::Columns;
use tocsin_domain::{BundleId, MachineId, Scope, SensorId, Timestamp};
use tocsin_store::partition::Day;
use tocsin_store::reading::{LoggedScore, ReplayQuery};

use super::Reader;
use crate::Error;

/// Which scores are replayed.
#[derive(Debug, Clone, Copy)]
pub struct Replayed {
    /// Of this bundle; of whichever judged them when none is named, for scores against baselines need none.
    pub bundle: Option<BundleId>,
    /// Captured from the first up to but without the second.
    pub period: (Timestamp, Timestamp),
    /// Only those against the baselines active now, judged with the network.
    pub active_baselines_only: bool,
    /// History too.
    pub historical: bool,
}

/// The scores of some machines, a day at a time.
#[derive(Debug)]
pub struct Replay {
    reader: Reader,
    scope: Scope,
    machines: BTreeMap<SensorId, MachineId>,
    /// Of the whole period; days are cut out of it.
    query: ReplayQuery,
    days: VecDeque<Day>,
}

impl Reader {
    /// The scores of some machines, to be read in memory a day at a time: so many machines at once as that bears.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn replay(&self, scope: &Scope, machines: &[MachineId], replayed: Replayed) -> Result<Replay, Error> {
        let machines = self.store.sensors_of_machines(scope, machines).await?;
        let sensors: Vec<SensorId> = machines.keys().copied().collect();
        let (from, to) = replayed.period;
        let baselines = if replayed.active_baselines_only {
            Some(self.store.baselines_of_epochs(&sensors).await?)
        } else {
            None
        };
        let days = self.days(scope, &sensors, (from, to)).await?;
        Ok(Replay {
            reader: self.clone(),
            scope: scope.clone(),
            machines,
            query: ReplayQuery {
                sensors,
                bundle: replayed.bundle,
                from,
                to,
                baselines,
                historical: replayed.historical,
            },
            days,
        })
    }

    /// The days of a period that may hold something of some sensors, hot or archived, in order.
    pub(super) async fn days(
        &self,
        scope: &Scope,
        sensors: &[SensorId],
        (from, to): (Timestamp, Timestamp),
    ) -> Result<VecDeque<Day>, Error> {
        // First what is hot: a day that is archived meanwhile is listed twice, and not never.
        let mut days = self.store.partitions_list().await?;
        let archived = self.store.archive_files_between(scope, Some(sensors), (from, to));
        days.extend(archived.await?.into_iter().map(|(day, _)| day));
        days.retain(|day| day.next().start() > from && day.start() < to);
        days.sort_unstable();
        days.dedup();
        Ok(days.into())
    }
}

impl Replay {
    /// The next day's scores, machine after machine and each in order of capture; none at the end.
    ///
    /// # Errors
    /// If the database or the object storage fails.
    pub async fn next_day(&mut self) -> Result<Option<Vec<(MachineId, LoggedScore)>>, Error> {
        let Some(day) = self.days.pop_front() else {
            return Ok(None);
        };
        let period = (self.query.from.max(day.start()), self.query.to.min(day.next().start()));
        let of_day = ReplayQuery {
            from: period.0,
            to: period.1,
            ..self.query.clone()
        };
        // First what is hot: a day that is archived meanwhile is seen twice, and not never.
        let hot = self.reader.store.scores_to_replay(&of_day).await?;
        let mut scores = Vec::with_capacity(hot.len());
        let mut machine_of = machine_of(&self.machines);
        let mut take = |score: LoggedScore| {
            if of_day.takes(&score) {
                scores.extend(machine_of(score.key.sensor).map(|machine| (machine, score)));
            }
        };
        hot.into_iter().for_each(&mut take);
        let sensors = self.query.sensors.clone();
        let cold = self.reader.readings(&self.scope, sensors, period, Columns::Scores);
        let mut cold = cold.await?;
        while cold.next_scores(of_day.bundle, &mut take).await? {
            // Decoding holds a thread for as long as there is something to decode.
            tokio::task::yield_now().await;
        }
        scores.sort_by_key(|(machine, score)| (*machine, score.key.captured_at, score.key.sensor));
        scores.dedup_by_key(|(_, score)| score.key);
        Ok(Some(scores))
    }
}

/// The machine of a sensor; most readings are of the sensor of the one before.
fn machine_of(machines: &BTreeMap<SensorId, MachineId>) -> impl FnMut(SensorId) -> Option<MachineId> + '_ {
    let mut last = None;
    move |sensor| match last {
        Some((of, machine)) if of == sensor => machine,
        _ => {
            let machine = machines.get(&sensor).copied();
            last = Some((sensor, machine));
            machine
        }
    }
}
