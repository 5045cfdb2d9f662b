//! What people do with an incident beside taking it: they say something about it, and hand it over.
//!
//! **Invariant:** the incident, its journal and the audit entry are one transaction under the machine's lock.

use serde_json::{Value, json};
use tocsin_contracts::Malformed;
use tocsin_contracts::incidents::v1;
use tocsin_domain::{IncidentId, PersonRole, Principal, SiteId};
use tocsin_judge::journal::Event;
use tocsin_store::access::{NewAuditEntry, audit_commit};
use tocsin_store::incident::{incident_lock, incident_update};
use tocsin_store::machine::{EventKind, MachineChange, NewEvent, machines_update};

use crate::service::NOTE_CHARS;
use crate::{Error, Service, wire};

impl Service {
    /// Puts a comment into the journal of an incident, open or not.
    pub(crate) async fn comment(&self, by: &Principal, asked: &v1::CommentIncidentRequest) -> Result<(), Error> {
        let text = wire::text("text", &asked.text, NOTE_CHARS)?;
        if text.is_empty() {
            return Err(Malformed::new("text", "is missing").into());
        }
        let id = IncidentId(asked.incident_id);
        let mut tx = self.store.begin().await?;
        let (state, _) = incident_lock(&mut tx, &by.scope(), id).await?;
        let entry = incident_entry(&by.actor(), "incident.comment", id, &json!({ "text": text }));
        let said = Event::Commented { by: by.actor(), text };
        let events = vec![self.journaled(id, EventKind::Commented, &said)];
        let machine = state.machine;
        machines_update(&mut tx, &[MachineChange { state, events }]).await?;
        tocsin_store::Channel::Incident.notify_of(&mut tx, machine).await?;
        audit_commit(tx, (), |()| entry, self.clock.now()).await?;
        Ok(())
    }

    /// Hands an incident that somebody has taken over to another account.
    pub(crate) async fn hand_over(
        &self,
        by: &Principal,
        asked: &v1::HandOverIncidentRequest,
    ) -> Result<v1::Incident, Error> {
        let note = wire::text("note", &asked.note, NOTE_CHARS)?;
        let id = IncidentId(asked.incident_id);
        let mut tx = self.store.begin().await?;
        let (state, mut listing) = incident_lock(&mut tx, &by.scope(), id).await?;
        let to = self.taker(&asked.to, listing.site).await?;
        let incident = &mut listing.incident;
        incident.state = incident.state.clone().hand_over(to.clone(), self.clock.now())?;
        incident.acknowledged_at = Some(self.clock.now());
        incident_update(&mut tx, incident).await?;
        let detail = json!({ "to": to, "note": note });
        let entry = incident_entry(&by.actor(), "incident.hand_over", id, &detail);
        let handed = Event::HandedOver {
            by: by.actor(),
            to,
            note,
        };
        let events = vec![self.journaled(id, EventKind::HandedOver, &handed)];
        machines_update(&mut tx, &[MachineChange { state, events }]).await?;
        let listing = audit_commit(tx, listing, |_| entry, self.clock.now()).await?;
        Ok(wire::incident(listing))
    }

    /// An account that could acknowledge incidents of the site itself, as the journal names it.
    async fn taker(&self, to: &str, site: SiteId) -> Result<String, Error> {
        let name = to.trim();
        let account = self.store.account_by_name(name).await?.map(|(account, _)| account);
        let fits = account.filter(|account| {
            account.disabled_at.is_none() && account.role >= PersonRole::Operator && account.scope.contains(site)
        });
        match fits {
            Some(account) => Ok(account.name),
            None => Err(Malformed::new("to", format!("{name:?} is no account of an operator of the site")).into()),
        }
    }

    fn journaled(&self, incident: IncidentId, kind: EventKind, event: &Event) -> NewEvent {
        NewEvent {
            incident: Some(incident),
            at: self.clock.now(),
            kind,
            payload_json: serde_json::to_string(event).expect("names and notes have a JSON form"),
        }
    }
}

/// The audit entry of what was done with an incident.
pub(crate) fn incident_entry(actor: &str, action: &str, id: IncidentId, detail: &Value) -> NewAuditEntry {
    NewAuditEntry::new(actor, action, format!("incident:{id}"), detail)
}
