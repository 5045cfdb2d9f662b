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
use crate::plant::{Batch, Sample, row};
use crate::stage::BINS;
use crate::world::World;

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
    Acknowledge {
        unit: usize,
        nth: usize,
        done: JoinHandle<Result<(), String>>,
    },
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

    /// Somebody acknowledges an incident of a machine, by its place among those it has had. One at a time.
    pub(crate) fn acknowledge(&mut self, place: usize, unit: usize, nth: usize, incident: i64) {
        let busy = |call: &Call| matches!(call.kind, CallKind::Acknowledge { .. });
        if self.calls.iter().any(busy) {
            return;
        }
        let Some(replica) = &self.replicas[place] else { return };
        let done = replica.acknowledge(incident);
        self.calls.push(Call {
            replica: place,
            kind: CallKind::Acknowledge { unit, nth, done },
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
            } else if deeds.journal {
                self.acknowledgement_committed(replica).await?;
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

    async fn acknowledgement_committed(&mut self, replica: usize) -> Result<()> {
        let found = self.calls.iter().find_map(|call| match call.kind {
            CallKind::Acknowledge { unit, nth, .. } if call.replica == replica => Some((unit, nth)),
            _ => None,
        });
        match found {
            Some((unit, nth)) if self.units[unit].model.acknowledge(nth) => self.check(unit).await,
            _ => {
                self.violated(|| "something was acknowledged that could not be".to_owned());
                Ok(())
            }
        }
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
                CallKind::Acknowledge { unit, nth, done } => {
                    // Who is told yes has acknowledged it, though something new may have been said since.
                    let incident = self.units[unit].model.incidents.get(nth);
                    let was =
                        incident.is_some_and(|incident| incident.events.iter().any(|event| event.0 == "acknowledged"));
                    if done.await?.is_ok() && !was {
                        self.violated(|| "an acknowledgement was confirmed and is not there".to_owned());
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
                CallKind::Acknowledge { done, .. } if is_lost => done.abort(),
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
            CallKind::Acknowledge { .. } => None,
        }
    }

    fn is_finished(&self) -> bool {
        match &self.kind {
            CallKind::Assess(assess) => assess.done.is_finished(),
            CallKind::Acknowledge { done, .. } => done.is_finished(),
        }
    }
}
