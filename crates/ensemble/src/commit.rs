//! Stores what was judged. Machines with nothing flagged and nothing open commit apart from those that are locked and
//! folded, and a group that fails is split until only the bad batch is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tocsin_contracts::ensemble::ReadingOutcome;
use tocsin_domain::{MachineId, ReadingKey, Timestamp};
use tocsin_store::machine::machines_to_fold;
use tocsin_store::outbox::canary::canaries_insert;
use tocsin_store::partition::Day;
use tocsin_store::reading::{InsertOutcome, NewReading};
use tocsin_store::{Error, Store};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::assess::Assessed;
use crate::bindings::SetCache;
use crate::error::Failure;
use crate::signals::Signals;
use crate::write::{Way, Writer};

/// Writes groups.
#[derive(Debug, Clone)]
pub(crate) struct Committer {
    pub(crate) store: Store,
    pub(crate) sets: SetCache,
    pub(crate) writer: Writer,
    /// What is heard of each sensor.
    pub(crate) signals: Signals,
    /// Machines locked by somebody else that may be waited for, each on a connection of its own.
    pub(crate) blocked: Arc<Semaphore>,
    /// Those waits, so that a shutdown can let them finish.
    pub(crate) waits: TaskTracker,
}

/// The readings of one machine, in order of capture.
pub(crate) type ByMachine = BTreeMap<MachineId, Vec<Assessed>>;

impl Committer {
    /// Stores and folds a group; every reading in it is settled, now or when a locked machine becomes free.
    pub(crate) async fn commit(&self, group: Vec<Assessed>) {
        match self.prepare(&group).await {
            Ok(open) => {
                let (free, folded) = divide(group, &open);
                tokio::join!(self.commit_free(free), self.commit_folded(folded));
            }
            Err(error) => self.fail(&group, error),
        }
    }

    /// Makes the partitions and finds the machines whose readings are folded though none is flagged.
    async fn prepare(&self, group: &[Assessed]) -> tocsin_store::Result<BTreeSet<MachineId>> {
        let days: BTreeSet<Day> = group
            .iter()
            .map(|assessed| Day::of(assessed.row.key.captured_at))
            .collect();
        self.store.partitions_ensure(days).await?;
        let mut oldest: BTreeMap<MachineId, Timestamp> = BTreeMap::new();
        for assessed in group {
            let at = assessed.row.key.captured_at;
            let oldest = oldest.entry(assessed.machine).or_insert(at);
            *oldest = at.min(*oldest);
        }
        let oldest: Vec<(MachineId, Timestamp)> = oldest.into_iter().collect();
        let mut connection = self.store.acquire().await?;
        let folded = machines_to_fold(&mut connection, &oldest).await?;
        Ok(folded.into_iter().collect())
    }

    async fn commit_free(&self, readings: Vec<Assessed>) {
        let mut groups = vec![readings];
        while let Some(group) = groups.pop().filter(|group| !group.is_empty()) {
            match self.insert(&group).await {
                Ok(outcomes) => self.settle(group, outcomes),
                Err(error @ Error::Unavailable { .. }) => {
                    let error = Arc::new(error);
                    groups.push(group);
                    for group in groups.drain(..) {
                        self.fail_shared(&group, &error);
                    }
                }
                Err(error) => match split_batches(group) {
                    Ok((one, other)) => groups.extend([other, one]),
                    Err(batch) => refuse(&batch, &error),
                },
            }
        }
    }

    async fn insert(&self, group: &[Assessed]) -> tocsin_store::Result<Vec<InsertOutcome>> {
        let way = self.writer.likely();
        let outcomes = match self.insert_by(way, group).await {
            Err(error) if self.writer.is_resend(way, &error) => self.insert_by(Way::Careful, group).await?,
            written => written?,
        };
        self.writer.note(way, &outcomes);
        Ok(outcomes)
    }

    async fn insert_by(&self, way: Way, group: &[Assessed]) -> tocsin_store::Result<Vec<InsertOutcome>> {
        let rows: Vec<&NewReading> = group.iter().map(|assessed| &assessed.row).collect();
        let mut tx = self.store.begin().await?;
        let outcomes = way.write(&mut tx, &rows).await?;
        let stored = group.iter().zip(&outcomes);
        let canaries: Vec<(ReadingKey, Timestamp)> = stored
            .filter(|(assessed, outcome)| assessed.is_judged_canary() && **outcome == InsertOutcome::Stored)
            .map(|(assessed, _)| (assessed.row.key, assessed.row.received_at))
            .collect();
        canaries_insert(&mut tx, &canaries).await?;
        tx.commit().await?;
        Ok(outcomes)
    }

    async fn commit_folded(&self, machines: ByMachine) {
        if machines.is_empty() {
            return;
        }
        match self.fold_unlocked(&machines).await {
            Ok(mut outcomes) => {
                for (machine, readings) in machines {
                    match outcomes.remove(&machine) {
                        Some(outcomes) => self.settle(readings, outcomes),
                        None => self.wait_for(machine, readings),
                    }
                }
            }
            Err(error @ Error::Unavailable { .. }) => {
                let error = Arc::new(error);
                for readings in machines.values() {
                    self.fail_shared(readings, &error);
                }
            }
            Err(error) => {
                tracing::warn!(machines = machines.len(), %error, "a group of machines can't be folded together, one by one");
                for (machine, readings) in machines {
                    self.fold_alone(machine, readings).await;
                }
            }
        }
    }

    /// Folds a machine that somebody else has locked when its turn comes, without holding anybody up.
    fn wait_for(&self, machine: MachineId, readings: Vec<Assessed>) {
        let this = self.clone();
        let fold = async move {
            let _connection = this.blocked.acquire().await.expect("this semaphore is never closed");
            this.fold_alone(machine, readings).await;
        };
        self.waits.spawn(fold.in_current_span());
    }

    async fn fold_alone(&self, machine: MachineId, readings: Vec<Assessed>) {
        match self.fold_waiting(machine, &readings).await {
            Ok(outcomes) => self.settle(readings, outcomes),
            Err(error @ Error::Unavailable { .. }) => self.fail(&readings, error),
            Err(error) => refuse(&readings, &error),
        }
    }

    /// The store is out of reach: the whole batch is the sender's to send again.
    fn fail(&self, readings: &[Assessed], error: Error) {
        self.fail_shared(readings, &Arc::new(error));
    }

    fn fail_shared(&self, readings: &[Assessed], error: &Arc<Error>) {
        tracing::warn!(readings = readings.len(), %error, "readings can't be stored now");
        // Perhaps the partition of a day that this process knows was archived.
        self.store.days_forget();
        for assessed in readings {
            assessed.place.fail_batch(Failure::Unavailable(error.clone()));
        }
    }

    fn settle(&self, readings: Vec<Assessed>, outcomes: Vec<InsertOutcome>) {
        let stored = readings.iter().zip(&outcomes);
        let stored = stored.filter(|(_, outcome)| **outcome == InsertOutcome::Stored);
        self.signals.note(stored.map(|(assessed, _)| assessed));
        for (assessed, outcome) in readings.into_iter().zip(outcomes) {
            assessed.place.settle(match outcome {
                InsertOutcome::Stored => ReadingOutcome::Stored {
                    verdict: assessed.row.verdict,
                },
                InsertOutcome::Duplicate => ReadingOutcome::Duplicate,
                InsertOutcome::Conflict => ReadingOutcome::Conflict,
            });
        }
    }
}

/// Parts a group into readings that need no lock, and machines that do.
fn divide(group: Vec<Assessed>, open: &BTreeSet<MachineId>) -> (Vec<Assessed>, ByMachine) {
    let flagged: BTreeSet<MachineId> = group.iter().filter(|a| a.is_flagged()).map(|a| a.machine).collect();
    let mut free = Vec::new();
    let mut folded = ByMachine::new();
    for assessed in group {
        let machine = assessed.machine;
        if assessed.folds && (flagged.contains(&machine) || open.contains(&machine)) {
            folded.entry(machine).or_default().push(assessed);
        } else {
            free.push(assessed);
        }
    }
    for readings in folded.values_mut() {
        readings.sort_by_key(|assessed| (assessed.row.key.captured_at, assessed.row.key.sensor));
    }
    (free, folded)
}

/// Halves a group between two batches, or gives it back when it is one batch.
fn split_batches(mut group: Vec<Assessed>) -> Result<(Vec<Assessed>, Vec<Assessed>), Vec<Assessed>> {
    let boundary = |at: &usize| !group[*at].place.same_batch(&group[*at - 1].place);
    let boundaries: Vec<usize> = (1..group.len()).filter(boundary).collect();
    match boundaries.get(boundaries.len() / 2) {
        Some(at) => {
            let second = group.split_off(*at);
            Ok((group, second))
        }
        None => Err(group),
    }
}

/// The store refuses just these readings.
fn refuse(readings: &[Assessed], error: &tocsin_store::Error) {
    tracing::error!(readings = readings.len(), %error, "readings are refused");
    for assessed in readings {
        assessed.place.settle(ReadingOutcome::NotStored {
            reason: error.to_string(),
        });
    }
}
