//! Never deaf to the second fault: what an acknowledged incident shows beyond what was acknowledged is paged again, and
//! the incident is nobody's until somebody takes it anew.

use tocsin_domain::{IncidentState, Timestamp, Verdict};
use tocsin_judge::PageReason;
use tocsin_judge::fold::{Effect, Window};
use tocsin_judge::journal::Event;
use tocsin_judge::re_alarm::{Cause, Held};
use tocsin_store::{Result, Transaction};

use super::machine::{Decision, FoldedMachine};
use crate::assess::Assessed;

impl FoldedMachine {
    /// Pages, unless the reading is a spool's from far before now: then nobody is told yet.
    pub(super) async fn say(
        &mut self,
        tx: &mut Transaction,
        assessed: &Assessed,
        reason: PageReason,
        decision: Decision,
    ) -> Result<()> {
        match assessed.effect {
            Effect::Acts => {
                self.alarm.tell();
                self.page(tx, assessed, reason, decision).await
            }
            Effect::Counts => {
                self.alarm.keep_back(reason);
                Ok(())
            }
        }
    }

    /// Says what was kept back while a spool caught up, when readings from near now say the same.
    pub(super) async fn tell(
        &mut self,
        tx: &mut Transaction,
        assessed: &Assessed,
        decision: Option<Decision>,
        window: &Window,
    ) -> Result<()> {
        let is_so = assessed.effect == Effect::Acts && window.at_page >= self.class.persistence().k;
        let Some(decision) = decision.filter(|_| is_so) else {
            return Ok(());
        };
        let Some(reason) = self.alarm.tell() else {
            return Ok(());
        };
        self.changed = true;
        let reached = self.incident.as_ref().and_then(|incident| incident.paged_at);
        let since = reached.unwrap_or(decision.step);
        self.page_late(tx, assessed, reason, (decision, since)).await
    }

    /// Takes note of how far the open incident goes, and pages again where that is due.
    pub(super) async fn watch(
        &mut self,
        tx: &mut Transaction,
        assessed: &Assessed,
        held: &Held,
        decision: Decision,
    ) -> Result<()> {
        let rules = self.class.persistence();
        if let Verdict::Page { by } = assessed.row.verdict
            && !assessed.bin_error.is_empty()
        {
            self.alarm.see(assessed.row.key.sensor, by, &assessed.bin_error, &rules);
        }
        self.alarm.observe(decision.step, held, &rules);
        self.changed = true;
        let state = self.incident.as_ref().map(|incident| &incident.state);
        if matches!(state, Some(IncidentState::ActiveAcknowledged { .. })) && !self.alarm.is_taken() {
            // Taken before there was a record of what was known: what it shows now.
            self.alarm.acknowledge();
        }
        match self.alarm.due(decision.step, &rules) {
            Some(cause) if assessed.effect == Effect::Acts => {
                self.re_alarm(tx, assessed, &cause, (held, decision)).await
            }
            _ => Ok(()),
        }
    }

    async fn re_alarm(
        &mut self,
        tx: &mut Transaction,
        assessed: &Assessed,
        cause: &Cause,
        (held, decision): (&Held, Decision),
    ) -> Result<()> {
        let (reason, sensor) = (cause.reason(), cause.sensor());
        self.untake(reason, decision.step);
        self.journal(decision.step, &Event::ReAlarmed { reason, sensor });
        let of_sensor = sensor.and_then(|sensor| Some((sensor, *held.sensors.get(&sensor)?)));
        let decision = match of_sensor {
            Some((sensor, (level, detector))) => Decision {
                level,
                sensor,
                detector,
                ..decision
            },
            None => decision,
        };
        self.page(tx, assessed, reason, decision).await
    }

    /// Something new is about to be said: whoever had taken the incident has not taken that.
    pub(super) fn untake(&mut self, reason: PageReason, step: Timestamp) {
        self.alarm.raise(reason, step);
        let Some(incident) = &mut self.incident else { return };
        if let Ok(state) = incident.state.clone().re_alarm() {
            (incident.state, incident.acknowledged_at) = (state, None);
        }
        self.changed = true;
    }
}
