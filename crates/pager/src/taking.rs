//! Taking an incident, whoever does and by what road: a person in the console, a link, a receiver's own button.
//!
//! **Invariant:** the incident, its journal, the page that says so and the audit entry are one transaction under the machine's lock.

use std::collections::BTreeMap;

use serde_json::json;
use tocsin_domain::{IncidentId, PageAction, Principal, Scope};
use tocsin_judge::journal::Event;
use tocsin_judge::{PagePayload, PageReason, ReAlarm};
use tocsin_store::access::audit_commit;
use tocsin_store::incident::{IncidentListing, incident_lock, incident_update};
use tocsin_store::machine::{EventKind, MachineChange, MachineState, NewEvent, machines_update};
use tocsin_store::outbox::{NewPage, PageDelivery, page_insert};

use crate::acknowledge::is_current;
use crate::hook::Answered;
use crate::message::Page;
use crate::people::incident_entry;
use crate::service::NOTE_CHARS;
use crate::{Error, Service};

/// Who takes an incident.
#[derive(Debug)]
pub(crate) struct Taker {
    /// The sites they see.
    pub(crate) scope: Scope,
    /// Their name in the journal.
    pub(crate) actor: String,
    /// Which of its pages they answer.
    pub(crate) answered: Answered,
}

impl Service {
    /// One transaction: the machine's lock, the incident, its journal, the page that says so and the audit entry.
    pub(crate) async fn acknowledge(
        &self,
        by: &Principal,
        id: IncidentId,
        note: String,
    ) -> Result<IncidentListing, Error> {
        let taker = Taker {
            scope: by.scope(),
            actor: by.actor(),
            answered: Answered::Newest,
        };
        self.acknowledge_as(taker, id, note).await
    }

    /// The same for whoever takes it, if what they answer is the newest page.
    pub(crate) async fn acknowledge_as(
        &self,
        taker: Taker,
        id: IncidentId,
        note: String,
    ) -> Result<IncidentListing, Error> {
        let Taker { scope, actor, answered } = taker;
        let note: String = note.chars().filter(|c| *c != '\0').take(NOTE_CHARS).collect();
        let now = self.clock.now();
        let mut transaction = self.store.begin().await?;
        let (machine, mut listing) = incident_lock(&mut transaction, &scope, id).await?;
        // Pages are written under the machine's lock, so none is newer than the newest that is found.
        let pages = self.store.pages_by_incident(&scope, id).await?;
        let trigger = newest_trigger(&pages);
        if !is_current(answered, trigger) {
            return Err(Error::Overtaken);
        }
        let incident = &mut listing.incident;
        incident.state = incident.state.clone().acknowledge(actor.clone(), now)?;
        incident.acknowledged_at = Some(now);
        let mut alarm: ReAlarm = incident.re_alarm()?;
        alarm.acknowledge();
        incident.set_re_alarm(&alarm);
        incident_update(&mut transaction, incident).await?;
        let entry = incident_entry(&actor, "incident.acknowledge", id, &json!({ "note": note }));
        let event = NewEvent {
            incident: Some(id),
            at: now,
            kind: EventKind::Acknowledged,
            payload_json: serde_json::to_string(&Event::Acknowledged { by: actor, note })
                .expect("names and notes have a JSON form"),
        };
        let change = MachineChange {
            state: machine,
            events: vec![event],
        };
        machines_update(&mut transaction, &[change]).await?;
        if incident.state.is_active()
            && let Some(page) = acknowledged_page(trigger, &machine, &listing)?
        {
            page_insert(&mut transaction, &page, now).await?;
        }
        Ok(audit_commit(transaction, listing, |_| entry, now).await?)
    }
}

/// The page that says an open incident was taken: to whoever was paged about it, in the words of that page.
fn acknowledged_page(
    trigger: Option<&tocsin_store::outbox::Page>,
    machine: &MachineState,
    listing: &IncidentListing,
) -> Result<Option<NewPage>, Error> {
    let incident = &listing.incident;
    let Some(trigger) = trigger else {
        return Ok(None);
    };
    let said = Page::parse(trigger)?;
    let payload = PagePayload {
        reason: PageReason::Acknowledged,
        step: machine.newest_step.unwrap_or(said.payload.step),
        level: incident.latest_level.0,
        delayed_by_ms: None,
        growth_per_day: None,
        above_alert_since: None,
        shown: None,
        kept_by: None,
        flood: None,
        ..said.payload
    };
    Ok(Some(NewPage {
        page_key: said.key,
        incident: incident.id,
        action: PageAction::Acknowledge,
        payload_json: serde_json::to_string(&payload).expect("names, times and numbers have a JSON form"),
    }))
}

/// The newest page that called somebody.
pub(crate) fn newest_trigger(pages: &[PageDelivery]) -> Option<&tocsin_store::outbox::Page> {
    let triggers = pages
        .iter()
        .map(|delivery| &delivery.page)
        .filter(|page| page.action == PageAction::Trigger && page.flood.is_none());
    triggers
        .map(|page| (page.id, page))
        .collect::<BTreeMap<_, _>>()
        .into_values()
        .next_back()
}
