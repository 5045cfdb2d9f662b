//! Calls to the replicas, and what came of them: what a transaction committed goes into the model, what a caller was
//! told is held against it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use sqlx::Row as _;
use sqlx::types::chrono::{DateTime, Utc};
use tocsin_contracts::ensemble::{Assessment, PlacedReading, ReadingOutcome};
use tocsin_domain::{
    CanonicalSpectrum, ClassId, Condition, MachineId, Reading, ReadingKey, SensorId, SpecId, Timestamp,
};
use tokio::task::JoinHandle;

use crate::gate::{Commit, Deeds};
use crate::model::{Row, STEP};
use crate::people::Deed;
use crate::plant::{Batch, Sample, row};
use crate::stage::{BINS, machine_name};
use crate::world::{Unit, World};

/// What the journal's entry says of a suppression that nobody ended.
const BY_TIME: &str = r#""by":"time""#;

/// A reading's place: the machine's among the units, capture time and sensor.
type Key = (usize, i64, i32);

/// Readings of a machine, by capture time and sensor.
type Rows = Vec<((i64, i32), Row)>;

/// A call under way.
#[derive(Debug)]
pub(crate) struct Call {
    replica: usize,
    kind: CallKind,
}

#[derive(Debug)]
enum CallKind {
    Assess(Assess),
    Person(Person),
}

#[derive(Debug)]
struct Person {
    unit: usize,
    deed: Deed,
    /// Of a suppression: when its time is over.
    until: Option<Timestamp>,
    /// It is in the database.
    is_committed: bool,
    done: JoinHandle<Result<(), String>>,
}

#[derive(Debug)]
struct Assess {
    /// In the order they were sent, with the number of their batch.
    sent: Vec<(Key, Row, u64)>,
    /// Machines that had to be folded when the ensemble looked.
    folded: BTreeSet<usize>,
    done: JoinHandle<Result<Vec<ReadingOutcome>, String>>,
}

impl World {
    /// Whether a replica is there and has no readings to judge already.
    pub(crate) fn is_free(&self, place: usize) -> bool {
        let busy = |call: &Call| call.replica == place && matches!(call.kind, CallKind::Assess(_));
        self.replicas[place].is_some() && !self.calls.iter().any(busy)
    }

    /// Sends batches of machines to a replica. `received_at` is what its ingest says, microseconds.
    pub(crate) fn send(&mut self, place: usize, batches: &[(usize, Batch)], received_at: i64) {
        let Some((_, first)) = batches.first() else { return };
        let is_historical = first.is_historical;
        let clock_is_capture = self.units[batches[0].0].clock_is_capture;
        let (mut sent, mut readings) = (Vec::new(), Vec::new());
        for (unit, batch) in batches {
            for sample in &batch.samples {
                let placed = self.placed(*unit, sample);
                let acts = clock_is_capture || sample.at + 5 * STEP >= received_at;
                let hash = placed.reading.content_hash().0;
                let key = (*unit, sample.at, placed.reading.key.sensor.0);
                sent.push((key, row(sample, is_historical, acts, hash), batch.number));
                readings.push(placed);
            }
        }
        let assessment = Assessment {
            readings,
            received_at: Timestamp::from_micros(received_at),
            clock_is_capture,
            historical: is_historical,
            gateway: None,
        };
        let Some(replica) = &self.replicas[place] else { return };
        let assess = Assess {
            sent,
            folded: BTreeSet::new(),
            done: replica.assess(assessment),
        };
        self.calls.push(Call {
            replica: place,
            kind: CallKind::Assess(assess),
        });
    }

    fn placed(&self, unit: usize, sample: &Sample) -> PlacedReading {
        let ((class, spec), place) = (self.class_and_spec(), &self.units[unit].place);
        PlacedReading {
            reading: Reading {
                key: ReadingKey {
                    sensor: SensorId(place.sensors[sample.sensor]),
                    captured_at: Timestamp::from_micros(sample.at),
                },
                spectrum: CanonicalSpectrum::from_codes(vec![7; usize::from(BINS)]),
                clipped: false,
                condition: Condition {
                    rpm: sample.is_stopped.then_some(0.0),
                    load: None,
                    ..Condition::default()
                },
                overall: vec![Some(sample.velocity)],
            },
            machine: MachineId(place.machine),
            class: ClassId(class),
            spec: Some(SpecId(spec)),
            full_scale: 10.0,
        }
    }

    /// Somebody does something to a machine or an incident of it. One at a time.
    pub(crate) fn ask(&mut self, place: usize, unit: usize, deed: Deed) {
        let busy = |call: &Call| matches!(call.kind, CallKind::Person(_));
        if self.calls.iter().any(busy) {
            return;
        }
        let Some(replica) = &self.replicas[place] else { return };
        let done = replica.ask(machine_name(unit), deed.clone());
        let until = match &deed {
            Deed::Suppress(shelf) => Some(replica.clock.now() + shelf.time),
            _ => None,
        };
        self.calls.push(Call {
            replica: place,
            kind: CallKind::Person(Person {
                unit,
                deed,
                until,
                is_committed: false,
                done,
            }),
        });
    }

    /// An ensemble looks which machines it has to fold, flagged or not: what it should find.
    pub(crate) fn note_look(&mut self, replica: usize) {
        let mut calls = self.calls.iter_mut().filter(|call| call.replica == replica);
        let Some(assess) = calls.find_map(Call::assess) else {
            return;
        };
        let mut oldest: BTreeMap<usize, i64> = BTreeMap::new();
        for ((unit, at, _), _, _) in &assess.sent {
            let oldest = oldest.entry(*unit).or_insert(*at);
            *oldest = (*oldest).min(*at);
        }
        let folded = oldest
            .into_iter()
            .filter(|(unit, at)| self.units[*unit].model.is_folded(*at));
        assess.folded = folded.map(|(unit, _)| unit).collect();
    }

    /// Takes what was committed into the model.
    pub(crate) async fn take_commits(&mut self) -> Result<()> {
        for Commit { replica, deeds } in self.gate.commits() {
            if let Some(commit_seq) = deeds.commit_seq {
                self.readings_committed(replica, commit_seq, &deeds).await?;
            } else if deeds.says(BY_TIME) {
                self.time_is_over(replica, &deeds).await?;
            } else if !deeds.journal.is_empty() {
                self.person_committed(replica).await?;
            }
        }
        Ok(())
    }

    async fn readings_committed(&mut self, replica: usize, commit_seq: i64, deeds: &Deeds) -> Result<()> {
        let mut calls = self.calls.iter_mut().filter(|call| call.replica == replica);
        let Some(assess) = calls.find_map(Call::assess) else {
            self.violated(|| format!("readings were committed that nobody sent, as {commit_seq}"));
            return Ok(());
        };
        let sent: Vec<(Key, Row, u64)> = assess.sent.clone();
        let looked = assess.folded.clone();
        let mut by_machine: BTreeMap<usize, Rows> = BTreeMap::new();
        for (at, sensor) in self.stored_as(commit_seq, &sent).await? {
            let found = sent.iter().find(|((_, of, by), _, _)| (*of, *by) == (at, sensor));
            if let Some(((unit, ..), row, _)) = found {
                by_machine.entry(*unit).or_default().push(((at, sensor), *row));
            }
        }
        for (unit, rows) in by_machine {
            let machine = self.units[unit].place.machine;
            let again = rows
                .iter()
                .any(|(key, _)| self.units[unit].model.rows.contains_key(key));
            if again {
                self.violated(|| format!("machine {machine}: a reading was stored twice"));
            }
            if deeds.locked.contains(&machine) && !rows[0].1.historical {
                let transitions = self.units[unit].model.fold(&rows);
                if transitions > 0 {
                    self.check(unit).await?;
                }
                continue;
            }
            let flagged = sent.iter().any(|((of, ..), row, _)| *of == unit && row.is_flagged());
            if !rows[0].1.historical && (flagged || looked.contains(&unit)) {
                self.violated(|| format!("machine {machine}: readings that had to be folded were not"));
            }
            self.units[unit].model.store(&rows);
        }
        Ok(())
    }

    /// Those of the readings sent that bear a commit's number.
    async fn stored_as(&mut self, commit_seq: i64, sent: &[(Key, Row, u64)]) -> Result<Vec<(i64, i32)>> {
        let (at, sensors): (Vec<i64>, Vec<i32>) = sent.iter().map(|((_, at, sensor), _, _)| (*at, *sensor)).unzip();
        let query = "select k.at, k.sensor_id
                     from unnest($1::int8[], $2::int4[], $4::timestamptz[]) k(at, sensor_id, captured_at)
                     cross join lateral (select from reading r where r.sensor_id = k.sensor_id
                                         and r.captured_at = k.captured_at and r.commit_seq = $3 limit 1) r
                     order by 1, 2";
        let times: Vec<DateTime<Utc>> = at
            .iter()
            .filter_map(|at| DateTime::from_timestamp_micros(*at))
            .collect();
        let rows = sqlx::query(query).bind(&at).bind(&sensors).bind(commit_seq).bind(times);
        let rows = rows.fetch_all(self.database.admin()).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    async fn person_committed(&mut self, replica: usize) -> Result<()> {
        let mut calls = self.calls.iter_mut().filter(|call| call.replica == replica);
        let found = calls.find_map(Call::person).map(|person| {
            person.is_committed = true;
            (person.unit, person.deed.clone(), person.until)
        });
        match found {
            Some((unit, deed, until)) if self.is_done(unit, &deed) => {
                let not_over_before = &mut self.units[unit].not_over_before;
                *not_over_before = until.unwrap_or(*not_over_before);
                self.check(unit).await
            }
            found => {
                self.violated(|| format!("something was done that could not be: {found:?}"));
                Ok(())
            }
        }
    }

    /// A pager ended a suppression because its time is over.
    async fn time_is_over(&mut self, replica: usize, deeds: &Deeds) -> Result<()> {
        let of = |unit: &Unit| deeds.locked.contains(&unit.place.machine);
        let Some(unit) = self.units.iter().position(of) else {
            self.violated(|| "a suppression ended without its machine's lock".to_owned());
            return Ok(());
        };
        let now = self.replicas[replica].as_ref().map(|replica| replica.clock.now());
        let was_early = now.is_some_and(|now| now < self.units[unit].not_over_before);
        if was_early || !self.units[unit].model.restore() {
            self.violated(|| format!("a suppression of unit {unit} ended at {now:?}, before its time or twice"));
        }
        self.check(unit).await
    }

    /// Hears what callers were told.
    pub(crate) async fn finish_calls(&mut self) -> Result<()> {
        let (done, under_way) = std::mem::take(&mut self.calls).into_iter().partition(Call::is_finished);
        self.calls = under_way;
        let done: Vec<Call> = done;
        for call in done {
            match call.kind {
                CallKind::Assess(Assess { sent, done, .. }) => {
                    if let Ok(outcomes) = done.await? {
                        for unit in self.answered(&sent, &outcomes) {
                            self.watch_second_fault(unit).await?;
                        }
                    }
                }
                CallKind::Person(person) => {
                    if person.done.await?.is_ok() && !person.is_committed {
                        self.violated(|| format!("{:?} was confirmed and is not there", person.deed));
                    }
                }
            }
        }
        Ok(())
    }

    /// What was acknowledged is stored, once and with its first content. Answers at which machines a second fault held.
    fn answered(&mut self, sent: &[(Key, Row, u64)], outcomes: &[ReadingOutcome]) -> BTreeSet<usize> {
        let (mut refused, mut held) = (BTreeSet::new(), BTreeSet::new());
        for (((unit, at, sensor), row, batch), outcome) in sent.iter().zip(outcomes) {
            let stored = self.units[*unit]
                .model
                .rows
                .get(&(*at, *sensor))
                .map(|stored| stored.hash);
            let holds = match outcome {
                ReadingOutcome::Stored { .. } | ReadingOutcome::Duplicate => stored == Some(row.hash),
                ReadingOutcome::Conflict => stored.is_some_and(|hash| hash != row.hash),
                ReadingOutcome::NotStored { .. } => {
                    refused.insert((*unit, *batch));
                    true
                }
            };
            if !holds {
                self.violated(|| format!("{outcome:?} was answered of a reading stored as {stored:?}"));
            }
        }
        for ((unit, ..), row, batch) in sent {
            if !refused.contains(&(*unit, *batch)) && self.units[*unit].plant.is_rid_of(*batch, row.acts) {
                held.insert(*unit);
            }
        }
        held
    }

    /// Nobody hears any more what came of a replica's calls.
    pub(crate) fn drop_calls(&mut self, place: usize) {
        self.calls.retain(|call| {
            let is_lost = call.replica == place;
            match &call.kind {
                CallKind::Assess(Assess { done, .. }) if is_lost => done.abort(),
                CallKind::Person(Person { done, .. }) if is_lost => done.abort(),
                _ => {}
            }
            !is_lost
        });
    }
}

impl Call {
    fn assess(&mut self) -> Option<&mut Assess> {
        match &mut self.kind {
            CallKind::Assess(assess) => Some(assess),
            CallKind::Person(_) => None,
        }
    }

    fn person(&mut self) -> Option<&mut Person> {
        match &mut self.kind {
            CallKind::Assess(_) => None,
            CallKind::Person(person) => Some(person),
        }
    }

    fn is_finished(&self) -> bool {
        match &self.kind {
            CallKind::Assess(assess) => assess.done.is_finished(),
            CallKind::Person(person) => person.done.is_finished(),
        }
    }
}
