//! The transaction that folds locked machines: their rows, their window, their journal, their incident, its page.
//!
//! The lock comes first and the window is read by a later statement, so that of two replicas with the fourth and the
//! fifth step at page level, the second sees the first's.

mod machine;
mod re_alarm;
mod suppression;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tocsin_domain::{
    MachineId, ReadingFlags, ReadingKey, Severity, ThresholdSetId, Timestamp, UnjudgedReason, Verdict,
};
use tocsin_judge::fold::Arrival;
use tocsin_judge::{JudgedReading, Judgement, MachineFold, ThresholdSet};
use tocsin_store::incident::{Incident, incidents_open};
use tocsin_store::machine::{MachineState, machines_lock, machines_try_lock};
use tocsin_store::reading::{InsertOutcome, NewReading, StoredReading, readings_newest_since, readings_windows};
use tocsin_store::{Result, Transaction};

use crate::assess::Assessed;
use crate::bindings::ActiveClass;
use crate::commit::{ByMachine, Committer};
use crate::write::Way;
use machine::FoldedMachine;
use suppression::Over;

/// Outcomes of the machines that were folded, in the order of their readings.
pub(crate) type Outcomes = BTreeMap<MachineId, Vec<InsertOutcome>>;

/// A locked machine and its readings that are new, in order of capture.
struct Arriving<'a> {
    state: MachineState,
    class: Arc<ActiveClass>,
    /// Older than the machine's newest step: they count in later windows, and open and close nothing.
    late: Vec<&'a Assessed>,
    /// The others.
    current: Vec<&'a Assessed>,
}

impl Committer {
    /// Folds the machines nobody else has locked, in one transaction; those locked are missing from the answer.
    pub(crate) async fn fold_unlocked(&self, machines: &ByMachine) -> Result<Outcomes> {
        let way = self.writer.likely();
        match self.fold_unlocked_by(way, machines).await {
            Err(error) if self.writer.is_resend(way, &error) => self.fold_unlocked_by(Way::Careful, machines).await,
            folded => folded,
        }
    }

    async fn fold_unlocked_by(&self, way: Way, machines: &ByMachine) -> Result<Outcomes> {
        let ids: Vec<MachineId> = machines.keys().copied().collect();
        let mut tx = self.store.begin().await?;
        let states = machines_try_lock(&mut tx, &ids).await?;
        let outcomes = self
            .fold_locked(&mut tx, way, states, |machine| &machines[&machine])
            .await?;
        tx.commit().await?;
        Ok(outcomes)
    }

    /// Waits for one machine's lock and folds it.
    pub(crate) async fn fold_waiting(&self, machine: MachineId, readings: &[Assessed]) -> Result<Vec<InsertOutcome>> {
        let mut tx = self.store.begin().await?;
        let states = machines_lock(&mut tx, &[machine]).await?;
        let mut outcomes = self.fold_locked(&mut tx, Way::Careful, states, |_| readings).await?;
        tx.commit().await?;
        Ok(outcomes.remove(&machine).unwrap_or_default())
    }

    /// Stores locked machines' readings and folds those that are new.
    async fn fold_locked<'a>(
        &self,
        tx: &mut Transaction,
        way: Way,
        states: Vec<MachineState>,
        readings_of: impl Fn(MachineId) -> &'a [Assessed],
    ) -> Result<Outcomes> {
        let rows: Vec<&NewReading> = states
            .iter()
            .flat_map(|state| readings_of(state.machine))
            .map(|assessed| &assessed.row)
            .collect();
        let arriving_since: Vec<(MachineId, Timestamp)> = states
            .iter()
            .filter_map(|state| Some((state.machine, readings_of(state.machine).first()?.row.key.captured_at)))
            .collect();
        let newest = readings_newest_since(tx, &arriving_since).await?;
        let mut written = way.write(tx, &rows).await?.into_iter();
        let (mut outcomes, mut arriving) = (Outcomes::new(), Vec::with_capacity(states.len()));
        for state in states {
            let readings = readings_of(state.machine);
            let of_machine: Vec<InsertOutcome> = written.by_ref().take(readings.len()).collect();
            arriving.extend(Arriving::new(state, newest.get(&state.machine), readings, &of_machine));
            outcomes.insert(state.machine, of_machine);
        }
        if !arriving.is_empty() {
            self.fold(tx, arriving).await?;
        }
        Ok(outcomes)
    }

    async fn fold(&self, tx: &mut Transaction, arriving: Vec<Arriving<'_>>) -> Result<()> {
        let mut open = open_incidents(tx, &arriving).await?;
        let windows: Vec<(MachineId, Timestamp)> = arriving
            .iter()
            .filter_map(|a| {
                let open = open.get(&a.state.machine).map(|incident| incident.severity);
                Some((a.state.machine, a.window_from(open)?))
            })
            .collect();
        let mut windows = readings_windows(tx, &windows).await?;
        let mut folded = Vec::with_capacity(arriving.len());
        for arriving in arriving {
            let Arriving {
                state,
                class,
                late,
                current,
            } = arriving;
            let window = windows.remove(&state.machine).unwrap_or_default();
            let before = self.judged_before(window, &current).await?;
            let (persistence, step) = (class.persistence(), class.step);
            let mut machine = FoldedMachine::new(state, class, open.remove(&state.machine), self.store.clone())?;
            for assessed in late {
                machine.take(tx, assessed, Arrival::Late, None).await?;
            }
            let mut fold = MachineFold::resume(persistence, step, machine.open_severity(), before)
                .untold(machine.alarm.untold().is_some());
            for assessed in current {
                let arrival = fold.arrive(assessed.judged, assessed.effect);
                let held = (fold.open() == Some(Severity::Page)).then(|| fold.held());
                machine.take(tx, assessed, arrival, held).await?;
            }
            folded.push(machine);
        }
        let over: Vec<Over> = folded.iter_mut().filter_map(|machine| machine.over.take()).collect();
        machine::save(tx, folded).await?;
        for over in over {
            over.put_on_record(tx).await?;
        }
        Ok(())
    }

    /// What a machine's window held before `current` arrived, judged again.
    async fn judged_before(&self, window: Vec<StoredReading>, current: &[&Assessed]) -> Result<Vec<JudgedReading>> {
        let arriving: HashSet<ReadingKey> = current.iter().map(|a| a.row.key).collect();
        let window: Vec<StoredReading> = window
            .into_iter()
            .filter(|r| !arriving.contains(&r.key) && !r.flags.contains(ReadingFlags::HISTORICAL))
            .collect();
        self.judged_again(&window).await
    }

    /// Levels of stored readings, derived from their scores by the set that judged each; where there was none, severity
    /// alone judged.
    async fn judged_again(&self, window: &[StoredReading]) -> Result<Vec<JudgedReading>> {
        let mut sets: HashMap<ThresholdSetId, Option<Arc<ThresholdSet>>> = HashMap::new();
        let mut judged = Vec::with_capacity(window.len());
        for reading in window {
            let set = match reading.threshold_set {
                None => None,
                Some(id) => match sets.get(&id) {
                    Some(set) => set.clone(),
                    None => sets.entry(id).or_insert(self.sets.get(id).await?).clone(),
                },
            };
            judged.push(judge_again(reading, set.as_deref()));
        }
        Ok(judged)
    }
}

impl<'a> Arriving<'a> {
    /// Nothing when no reading is new. `newest` is the newest stored before them, where that is not older than the first
    /// of them. A class that lost its model, and has no severity zones, keeps its incidents as they are: nothing judges,
    /// so nothing opens or clears.
    fn new(
        state: MachineState,
        newest: Option<&Timestamp>,
        readings: &'a [Assessed],
        outcomes: &[InsertOutcome],
    ) -> Option<Self> {
        let stored: Vec<&Assessed> = readings
            .iter()
            .zip(outcomes)
            .filter(|(_, outcome)| **outcome == InsertOutcome::Stored)
            .map(|(assessed, _)| assessed)
            .collect();
        let class = stored.first()?.class.clone()?;
        let newest_step = newest.map(|newest| newest.floor_to(class.step));
        let is_late = |a: &&Assessed| Some(a.row.key.captured_at.floor_to(class.step)) < newest_step;
        let (late, current) = stored.into_iter().partition(is_late);
        Some(Self {
            state,
            class,
            late,
            current,
        })
    }

    /// The oldest time that a fold of its readings can reach back to; nothing when all are late, however old they are.
    fn window_from(&self, open: Option<Severity>) -> Option<Timestamp> {
        let step = self.class.step;
        let oldest = self.current.first()?.row.key.captured_at.floor_to(step);
        Some(oldest - self.class.persistence().reach_back(open, step))
    }
}

/// The incidents that machines have open.
async fn open_incidents(tx: &mut Transaction, arriving: &[Arriving<'_>]) -> Result<HashMap<MachineId, Incident>> {
    let open = arriving.iter().filter(|a| a.state.open_incident.is_some());
    let machines: Vec<MachineId> = open.map(|a| a.state.machine).collect();
    if machines.is_empty() {
        return Ok(HashMap::new());
    }
    let incidents = incidents_open(tx, &machines).await?;
    Ok(incidents
        .into_iter()
        .map(|incident| (incident.machine, incident))
        .collect())
}

/// What was decided then: unjudged readings stay so, whatever their scores would say, and so does what was judged by a set
/// that can't be read.
fn judge_again(reading: &StoredReading, set: Option<&ThresholdSet>) -> JudgedReading {
    let judgement = match (reading.verdict, set) {
        (Verdict::Unjudged { reason }, _) => Judgement::unjudged(reason),
        (_, Some(set)) => {
            let degraded = reading.flags.contains(ReadingFlags::DEGRADED);
            set.judge(&reading.scores, reading.state, degraded)
        }
        (_, None) if reading.threshold_set.is_none() => Judgement::by_severity(&reading.scores, reading.state),
        (_, None) => Judgement::unjudged(UnjudgedReason::Commissioning),
    };
    JudgedReading::new(reading.key, &judgement)
}
