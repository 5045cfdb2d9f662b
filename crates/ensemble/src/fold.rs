//! The transaction that folds locked machines: their rows, their window, their journal, their incident, its page.
//!
//! The lock comes first and the window is read by a later statement, so that of two replicas with the fourth and the
//! fifth step at page level, the second sees the first's.

mod machine;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tocsin_domain::{
    Condition, MachineId, ReadingFlags, ReadingKey, ThresholdSetId, Timestamp, UnjudgedReason, Verdict,
};
use tocsin_judge::{JudgedReading, Judgement, MachineFold, ThresholdSet};
use tocsin_store::machine::{MachineState, machines_lock, machines_try_lock};
use tocsin_store::reading::{InsertOutcome, NewReading, StoredReading, readings_insert, readings_window};
use tocsin_store::{Result, Transaction};

use crate::assess::Assessed;
use crate::commit::{ByMachine, Committer};
use machine::FoldedMachine;

/// Outcomes of the machines that were folded, in the order of their readings.
pub(crate) type Outcomes = BTreeMap<MachineId, Vec<InsertOutcome>>;

impl Committer {
    /// Folds the machines nobody else has locked, in one transaction; those locked are missing from the answer.
    pub(crate) async fn fold_unlocked(&self, machines: &ByMachine) -> Result<Outcomes> {
        let ids: Vec<MachineId> = machines.keys().copied().collect();
        let mut tx = self.store.begin().await?;
        let states = machines_try_lock(&mut tx, &ids).await?;
        let outcomes = self.fold_locked(&mut tx, states, machines).await?;
        tx.commit().await?;
        Ok(outcomes)
    }

    /// Waits for one machine's lock and folds it.
    pub(crate) async fn fold_waiting(&self, machine: MachineId, readings: &[Assessed]) -> Result<Vec<InsertOutcome>> {
        let mut tx = self.store.begin().await?;
        let states = machines_lock(&mut tx, &[machine]).await?;
        let mut outcomes = Vec::new();
        for state in states {
            outcomes = self.fold_machine(&mut tx, state, readings).await?;
        }
        tx.commit().await?;
        Ok(outcomes)
    }

    async fn fold_locked(
        &self,
        tx: &mut Transaction,
        states: Vec<MachineState>,
        machines: &ByMachine,
    ) -> Result<Outcomes> {
        let mut outcomes = Outcomes::new();
        for state in states {
            let machine = state.machine;
            outcomes.insert(machine, self.fold_machine(tx, state, &machines[&machine]).await?);
        }
        Ok(outcomes)
    }

    /// Stores one locked machine's readings and folds those that are new.
    async fn fold_machine(
        &self,
        tx: &mut Transaction,
        state: MachineState,
        readings: &[Assessed],
    ) -> Result<Vec<InsertOutcome>> {
        let rows: Vec<&NewReading> = readings.iter().map(|assessed| &assessed.row).collect();
        let outcomes = readings_insert(tx, &rows).await?;
        let stored: Vec<&Assessed> = readings
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| **outcome == InsertOutcome::Stored)
            .map(|(assessed, _)| assessed)
            .collect();
        // A class that lost its model keeps its incidents as they are: nothing judges, so nothing opens or clears.
        if let Some(class) = stored.first().and_then(|assessed| assessed.class.clone()) {
            let mut machine = FoldedMachine::load(tx, &self.store, state, class).await?;
            let mut fold = self.resume(tx, &machine, &stored).await?;
            for assessed in stored {
                let arrival = fold.arrive(assessed.judged, assessed.effect);
                machine.take(tx, assessed, arrival).await?;
            }
            machine.save(tx).await?;
        }
        Ok(outcomes)
    }

    /// The machine's fold as it stood before `stored` arrived.
    async fn resume(&self, tx: &mut Transaction, machine: &FoldedMachine, stored: &[&Assessed]) -> Result<MachineFold> {
        let persistence = machine.class.set.persistence;
        let step = machine.class.step;
        let oldest = stored
            .iter()
            .map(|a| a.row.key.captured_at)
            .min()
            .expect("there is a stored reading");
        let from = oldest.floor_to(step) - persistence.longest_reach(step);
        let arriving: HashSet<ReadingKey> = stored.iter().map(|a| a.row.key).collect();
        let window = readings_window(tx, machine.state.machine, from, Timestamp::MAX).await?;
        let window: Vec<StoredReading> = window
            .into_iter()
            .filter(|r| !arriving.contains(&r.key) && !r.flags.contains(ReadingFlags::HISTORICAL))
            .collect();
        let arrived = self.judged_again(&window).await;
        Ok(MachineFold::resume(persistence, step, machine.open_severity(), arrived))
    }

    /// Levels of stored readings, derived from their scores by the set that judged each.
    async fn judged_again(&self, window: &[StoredReading]) -> Vec<JudgedReading> {
        let mut sets: HashMap<ThresholdSetId, Option<Arc<ThresholdSet>>> = HashMap::new();
        let mut judged = Vec::with_capacity(window.len());
        for reading in window {
            let set = match reading.threshold_set {
                None => None,
                Some(id) => match sets.get(&id) {
                    Some(set) => set.clone(),
                    None => sets.entry(id).or_insert(self.sets.get(id).await).clone(),
                },
            };
            judged.push(judge_again(reading, set.as_deref()));
        }
        judged
    }
}

/// What was decided then: unjudged readings stay so, whatever their scores would say.
fn judge_again(reading: &StoredReading, set: Option<&ThresholdSet>) -> JudgedReading {
    let judgement = match (reading.verdict, set) {
        (Verdict::Unjudged { reason }, _) => Judgement::unjudged(reason),
        (_, Some(set)) => {
            let degraded = reading.flags.contains(ReadingFlags::DEGRADED);
            set.judge(&reading.scores, Condition::default(), degraded)
        }
        (_, None) => Judgement::unjudged(UnjudgedReason::Commissioning),
    };
    JudgedReading::new(reading.key, &judgement)
}
