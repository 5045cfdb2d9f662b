//! One locked machine while its readings arrive: the journal entries to append and the incident to keep.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use half::f16;
use tocsin_domain::{Detector, IncidentState, Level, ReadingFlags, SensorId, Severity, Timestamp};
use tocsin_judge::ReAlarm;
use tocsin_judge::course::StepLevelAt;
use tocsin_judge::fold::{Arrival, Effect, Transition, Window};
use tocsin_judge::journal::{Event, StepEvent};
use tocsin_judge::page::{PageReason, page_key};
use tocsin_judge::re_alarm::Held;
use tocsin_store::incident::{
    Incident, NewEvidence, NewIncident, evidence_attach, evidence_insert, incident_insert, incident_update,
};
use tocsin_store::machine::{EventKind, MachineChange, MachineState, NewEvent, machines_update};
use tocsin_store::outbox::NewPage;
use tocsin_store::{Result, Store, Transaction};

use super::suppression::Over;
use crate::assess::Assessed;
use crate::bindings::ActiveClass;
use crate::page::{self, Draft, Shown};

/// Readings of an incident whose evidence is all kept; from then on one a minute.
const EVIDENCE_IN_FULL: i32 = 200;
const EVIDENCE_AFTERWARDS: Duration = Duration::from_mins(1);

/// A machine whose row is locked.
#[derive(Debug)]
pub(crate) struct FoldedMachine {
    pub(crate) state: MachineState,
    pub(crate) class: Arc<ActiveClass>,
    store: Store,
    pub(super) incident: Option<Incident>,
    /// What the incident has shown, and what of it people know.
    pub(crate) alarm: ReAlarm,
    /// The incident has changed since it was read.
    pub(super) changed: bool,
    events: Vec<NewEvent>,
    /// Levels of the steps among `events`.
    unwritten: Vec<StepLevelAt>,
    evidence: Vec<NewEvidence>,
    /// The suppression that its incident ended.
    pub(super) over: Option<Over>,
    /// What each sensor's readings show, of those at hand.
    shown: BTreeMap<SensorId, Shown>,
}

/// The level of a step, whose it is, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decision {
    pub(super) step: Timestamp,
    pub(super) level: Level,
    pub(super) sensor: SensorId,
    pub(super) detector: Detector,
}

impl FoldedMachine {
    /// A locked machine with the incident it has open.
    pub(crate) fn new(
        state: MachineState,
        class: Arc<ActiveClass>,
        incident: Option<Incident>,
        store: Store,
    ) -> Result<Self> {
        let alarm = incident.as_ref().map(Incident::re_alarm).transpose()?;
        Ok(Self {
            state,
            class,
            store,
            incident,
            alarm: alarm.unwrap_or_default(),
            changed: false,
            events: Vec::new(),
            over: None,
            unwritten: Vec::new(),
            evidence: Vec::new(),
            shown: BTreeMap::new(),
        })
    }

    pub(crate) fn open_severity(&self) -> Option<Severity> {
        self.incident.as_ref().map(|incident| incident.severity)
    }

    /// Writes down what one arrival did; `held` is how far the trouble goes after it, while an incident of page level is
    /// open.
    pub(crate) async fn take(
        &mut self,
        tx: &mut Transaction,
        assessed: &Assessed,
        arrival: Arrival,
        held: Option<Held>,
    ) -> Result<()> {
        self.keep_hot(assessed, &arrival);
        self.see(assessed);
        let Arrival::Folded { window, transition } = arrival else {
            self.keep_evidence(assessed);
            return Ok(());
        };
        let decision = window.step.level.map(|level| Decision {
            step: window.step.start,
            level: level.level,
            sensor: level.sensor,
            detector: level.detector,
        });
        self.state.newest_step = self.state.newest_step.max(Some(window.step.start));
        match (transition, decision) {
            (Some(Transition::Opened(severity)), Some(decision)) => {
                self.open(tx, assessed, severity, decision, &window).await?;
            }
            (Some(Transition::Escalated), Some(decision)) => self.escalate(tx, assessed, decision, &window).await?,
            (Some(Transition::Cleared), Some(decision)) => self.clear(tx, assessed, decision, &window).await?,
            (_, decision) => {
                self.note_level(decision);
                // A quiet step of a quiet machine is no event, whatever else its batch brought: how readings were cut
                // into batches changes no journal.
                if self.incident.is_some() || assessed.is_flagged() {
                    self.journal_step(assessed, &window);
                }
                self.tell(tx, assessed, decision, &window).await?;
            }
        }
        if let (Some(held), Some(decision)) = (held, decision) {
            self.watch(tx, assessed, &held, decision).await?;
        }
        self.keep_evidence(assessed);
        Ok(())
    }

    /// A flagged reading that decides nothing itself, late or of a spool that is catching up, counts in the windows of those
    /// that come: the next ones are folded, flagged or not.
    fn keep_hot(&mut self, assessed: &Assessed, arrival: &Arrival) {
        let decides = matches!(arrival, Arrival::Folded { .. }) && assessed.effect == Effect::Acts;
        if !decides && assessed.row.verdict.is_flagged() {
            let until = assessed.row.key.captured_at + self.class.persistence().reach_back(None, self.class.step);
            self.state.hot_until = self.state.hot_until.max(Some(until));
        }
    }

    fn see(&mut self, assessed: &Assessed) {
        let shown = Shown::of(assessed);
        let sensor = assessed.row.key.sensor;
        if self.shown.get(&sensor).is_none_or(|before| shown.outranks(before)) {
            self.shown.insert(sensor, shown);
        }
    }

    async fn open(
        &mut self,
        tx: &mut Transaction,
        assessed: &Assessed,
        severity: Severity,
        decision: Decision,
        window: &Window,
    ) -> Result<()> {
        let new = NewIncident {
            machine: self.state.machine,
            severity,
            opened_at: decision.step,
            paged_at: (severity == Severity::Page).then_some(decision.step),
            deciding_sensor: decision.sensor,
            deciding_detector: decision.detector,
            level: decision.level,
            threshold_set: self.class.threshold_set_id(),
            bundle: self.class.bundle_id(),
            replay: is_replay(assessed),
        };
        let mut incident = incident_insert(tx, &new).await?;
        // The steps that opened it are evidence too: those kept so far, in this batch and before.
        let from = decision.step - self.class.persistence().reach_back(None, self.class.step);
        incident.evidence_count += evidence_attach(tx, self.state.machine, from, incident.id).await? as i32;
        for piece in self.evidence.iter_mut().filter(|piece| piece.incident.is_none()) {
            piece.incident = Some(incident.id);
            incident.evidence_count += 1;
        }
        self.state.open_incident = Some(incident.id);
        self.incident = Some(incident);
        // What the machine's incident before it showed is not this one's.
        self.alarm = ReAlarm::default();
        self.changed = true;
        self.journal_step(assessed, window);
        self.journal(decision.step, &Event::Opened { severity });
        if severity == Severity::Page {
            self.say(tx, assessed, PageReason::Opened, decision).await?;
        }
        Ok(())
    }

    async fn escalate(
        &mut self,
        tx: &mut Transaction,
        assessed: &Assessed,
        decision: Decision,
        window: &Window,
    ) -> Result<()> {
        self.note_level(Some(decision));
        if let Some(incident) = &mut self.incident {
            incident.severity = Severity::Page;
            incident.paged_at = Some(decision.step);
            self.changed = true;
        }
        self.untake(PageReason::Escalated, decision.step);
        self.journal_step(assessed, window);
        self.journal(decision.step, &Event::Escalated);
        self.say(tx, assessed, PageReason::Escalated, decision).await
    }

    async fn clear(
        &mut self,
        tx: &mut Transaction,
        assessed: &Assessed,
        decision: Decision,
        window: &Window,
    ) -> Result<()> {
        self.note_level(Some(decision));
        self.journal_step(assessed, window);
        self.journal(decision.step, &Event::Cleared);
        let Some(mut incident) = self.incident.take() else {
            return Ok(());
        };
        // An incident the machine has open is active, so it can clear.
        incident.state = match incident.state.clone().clear(decision.step) {
            Ok(state) => state,
            Err(error) => {
                tracing::error!(incident = %incident.id, %error, "an open incident was not active");
                IncidentState::ReturnedUnacknowledged { at: decision.step }
            }
        };
        let paged = incident.paged_at.is_some() && self.alarm.untold().is_none();
        incident.set_re_alarm(&self.alarm);
        incident_update(tx, &incident).await?;
        self.incident = Some(incident);
        if paged {
            self.page(tx, assessed, PageReason::Cleared, decision).await?;
        }
        self.end_one_shot(tx, decision.step, assessed.row.received_at).await?;
        self.incident = None;
        self.changed = false;
        self.state.open_incident = None;
        Ok(())
    }

    fn note_level(&mut self, decision: Option<Decision>) {
        if let (Some(incident), Some(decision)) = (&mut self.incident, decision) {
            incident.latest_level = decision.level;
            incident.peak_level = incident.peak_level.max(decision.level);
            self.changed = true;
        }
    }

    fn journal_step(&mut self, assessed: &Assessed, window: &Window) {
        let key = assessed.row.key;
        let level = window.step.level.map(|level| (window.step.start, level.level));
        self.unwritten.extend(level);
        let step = StepEvent::new(key.sensor, key.captured_at, window, self.class.threshold_set_id());
        self.journal(key.captured_at, &Event::Step(step));
    }

    pub(super) fn journal(&mut self, at: Timestamp, event: &Event) {
        self.events.push(NewEvent {
            incident: self.incident.as_ref().map(|incident| incident.id),
            at,
            kind: kind_of(event),
            payload_json: serde_json::to_string(event).expect("an event is plain data"),
        });
    }

    /// Keeps the bins of a flagged reading, in full at first, then one a minute.
    fn keep_evidence(&mut self, assessed: &Assessed) {
        if !assessed.row.verdict.is_flagged() {
            return;
        }
        let at = assessed.row.key.captured_at;
        if let Some(incident) = &mut self.incident {
            let recent = incident
                .last_evidence_at
                .is_some_and(|last| at < last + EVIDENCE_AFTERWARDS);
            if incident.evidence_count >= EVIDENCE_IN_FULL && recent {
                return;
            }
            incident.evidence_count += 1;
            incident.last_evidence_at = Some(at);
            self.changed = true;
        }
        self.evidence.push(NewEvidence {
            key: assessed.row.key,
            machine: self.state.machine,
            incident: self.incident.as_ref().map(|incident| incident.id),
            bin_error: half_floats(&assessed.bin_error),
        });
    }

    pub(super) async fn page(
        &mut self,
        tx: &mut Transaction,
        assessed: &Assessed,
        reason: PageReason,
        decision: Decision,
    ) -> Result<()> {
        let known_since = assessed.row.key.captured_at;
        self.page_late(tx, assessed, reason, (decision, known_since)).await
    }

    /// Pages about what could have been known at `since`.
    pub(super) async fn page_late(
        &mut self,
        tx: &mut Transaction,
        assessed: &Assessed,
        reason: PageReason,
        (decision, since): (Decision, Timestamp),
    ) -> Result<()> {
        let Some(incident) = &self.incident else { return Ok(()) };
        let draft = Draft {
            machine: self.state.machine,
            incident: incident.id,
            severity: incident.severity,
            reason,
            opened_at: incident.opened_at,
            step: decision.step,
            deciding_sensor: decision.sensor,
            deciding_detector: decision.detector,
            level: decision.level.0,
            shown: self.shown.get(&decision.sensor),
            unwritten: self.unwritten.clone(),
            arrived: assessed.row.key.captured_at,
            class: &self.class,
            replay: is_replay(assessed),
            delayed_by_ms: delay(assessed, since, self.class.step),
        };
        let payload = page::complete(&self.store, draft).await?;
        let payload_json = serde_json::to_string(&payload).expect("a payload is plain data");
        let page = NewPage {
            page_key: page_key(incident.id, reason, decision.step),
            incident: incident.id,
            action: reason.action(),
            payload_json,
        };
        self.send(tx, &page, reason, (decision.step, assessed.row.received_at))
            .await
    }
}

/// Writes what has gathered at some machines: their incidents, evidence, journals and states.
pub(crate) async fn save(tx: &mut Transaction, machines: Vec<FoldedMachine>) -> Result<()> {
    let (mut evidence, mut changes) = (Vec::new(), Vec::with_capacity(machines.len()));
    for machine in machines {
        if let Some(mut incident) = machine.incident.filter(|_| machine.changed) {
            incident.set_re_alarm(&machine.alarm);
            incident_update(tx, &incident).await?;
        }
        evidence.extend(machine.evidence);
        changes.push(MachineChange {
            state: machine.state,
            events: machine.events,
        });
    }
    evidence_insert(tx, &evidence).await?;
    machines_update(tx, &changes).await
}

/// Little-endian half floats; nothing when no bins are known.
fn half_floats(values: &[f32]) -> Option<Vec<u8>> {
    let bytes = values
        .iter()
        .flat_map(|value| f16::from_f32(*value).to_le_bytes())
        .collect();
    (!values.is_empty()).then_some(bytes)
}

fn kind_of(event: &Event) -> EventKind {
    match event {
        Event::Step(_) => EventKind::Step,
        Event::Opened { .. } => EventKind::Opened,
        Event::Escalated => EventKind::Escalated,
        Event::ReAlarmed { .. } => EventKind::ReAlarmed,
        Event::Acknowledged { .. } => EventKind::Acknowledged,
        Event::Cleared => EventKind::Cleared,
        Event::Suppressed { .. } => EventKind::Suppressed,
        Event::PageSuppressed { .. } => EventKind::PageSuppressed,
        Event::Restored { .. } => EventKind::Restored,
        Event::Commented { .. } => EventKind::Commented,
        Event::HandedOver { .. } => EventKind::HandedOver,
        Event::WorkOrdered { .. } => EventKind::WorkOrdered,
    }
}

fn is_replay(assessed: &Assessed) -> bool {
    assessed.row.flags.contains(ReadingFlags::REPLAY)
}

/// How late a page of a wall-clock stream is, when that is more than a step.
fn delay(assessed: &Assessed, since: Timestamp, step: Duration) -> Option<u64> {
    let late = assessed.row.received_at.since(since);
    (!is_replay(assessed) && late > step).then_some(late.as_millis() as u64)
}
