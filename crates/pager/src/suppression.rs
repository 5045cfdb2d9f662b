//! Machines that are shelved or out of service: begun and ended by people, ended by time, and listed with the pages that
//! were kept meanwhile.
//!
//! **Invariant:** beginning and ending one, whoever does, is one transaction under the machine's lock, with its entry in the journal
//! and in the audit. A page that was kept goes out when its suppression ends, if nobody has taken the incident and it is still
//! open; there is one such page at most, the newest, for it says the most.

use std::time::Duration;

use serde_json::json;
use tocsin_contracts::incidents::v1;
use tocsin_contracts::{Malformed, time};
use tocsin_domain::suppression::{Service as InService, Suppression, SuppressionKind, SuppressionOrder};
use tocsin_domain::{IncidentState, MachineId, Principal, Severity, Slug, SuppressionId, Timestamp};
use tocsin_judge::PagePayload;
use tocsin_judge::journal::Event;
use tocsin_judge::page::KeptBy;
use tocsin_store::Transaction;
use tocsin_store::access::{NewAuditEntry, audit_commit};
use tocsin_store::fleet::Machine;
use tocsin_store::incident::incidents_open;
use tocsin_store::machine::{EventKind, MachineChange, MachineState, NewEvent, machines_lock, machines_update};
use tocsin_store::outbox::{NewPage, page_insert};
use tocsin_store::suppression::{
    SuppressionListing, SuppressionQuery, machine_service, page_release, suppression_end, suppression_insert,
};

use crate::{Error, Service, wire};

mod timer;

pub(crate) use timer::Timer;

/// The longest reason kept, in characters.
const REASON_CHARS: usize = 500;

/// The most pages shown of one suppression.
const SHOWN: u32 = 1_000;

/// What ended a suppression whose time was over.
const BY_TIME: &str = "time";

/// What ended one that another took the place of.
const BY_RENEWAL: &str = "renewed";

/// A suppression that is over, and the page that went out with that.
pub(crate) struct Restored {
    pub(crate) suppression: SuppressionId,
    pub(crate) released: Option<String>,
}

impl Service {
    /// Shelves a machine, or takes it out of service.
    pub(crate) async fn suppress(
        &self,
        by: &Principal,
        asked: v1::SuppressMachineRequest,
    ) -> Result<v1::Suppression, Error> {
        let machine = self.machine(by, (&asked.site, &asked.machine)).await?;
        let site = self.store.site_by_name(&by.scope(), &machine.site_name).await?;
        let now = self.clock.now();
        let order = SuppressionOrder {
            kind: SuppressionKind::parse(&asked.kind).map_err(Malformed::from)?,
            from: now,
            until: now + Duration::from_secs(asked.for_s.min(u64::from(u32::MAX))),
            one_shot: asked.one_shot,
            by: by.actor(),
            reason: wire::text("reason", &asked.reason, REASON_CHARS)?,
        };
        let order = order.parse(site.longest_shelf).map_err(Malformed::from)?;
        let mut tx = self.store.begin().await?;
        let state = lock(&mut tx, machine.id).await?;
        let present = machine_service(&mut tx, machine.id).await?;
        present.suppress(&order)?;
        let mut events = Vec::new();
        if let InService::Suppressed(over) = present {
            suppression_end(&mut tx, over.id, BY_RENEWAL, now).await?;
            events.push(restored(&state, &over, BY_RENEWAL, None, now));
        }
        let id = suppression_insert(&mut tx, machine.id, &order).await?;
        events.push(begun(&state, &order));
        let state = MachineState {
            suppression: Some(id),
            ..state
        };
        machines_update(&mut tx, &[MachineChange { state, events }]).await?;
        let detail = json!({ "suppression_id": id, "kind": order.kind, "until": order.until, "one_shot": order.one_shot,
            "reason": order.reason });
        let entry = entry(&by.actor(), "machine.suppress", machine.id, &detail);
        audit_commit(tx, (), |()| entry, now).await?;
        Ok(to_wire(self.store.suppression_get(&by.scope(), id).await?))
    }

    /// Ends what keeps a machine's pages from people.
    pub(crate) async fn restore(
        &self,
        by: &Principal,
        asked: &v1::RestoreMachineRequest,
    ) -> Result<v1::RestoreMachineResponse, Error> {
        let machine = self.machine(by, (&asked.site, &asked.machine)).await?;
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let state = lock(&mut tx, machine.id).await?;
        let over = machine_service(&mut tx, machine.id).await?.restore()?;
        let restored = end(tx, state, &over, &by.actor(), now).await?;
        let listing = self.store.suppression_get(&by.scope(), restored.suppression).await?;
        Ok(v1::RestoreMachineResponse {
            suppression: Some(to_wire(listing)),
            released_page_key: restored.released.unwrap_or_default(),
        })
    }

    /// Machines that were or are suppressed, newest first.
    pub(crate) async fn suppressions(
        &self,
        by: &Principal,
        asked: &v1::ListSuppressionsRequest,
    ) -> Result<Vec<v1::Suppression>, Error> {
        let (site, machine) = wire::site_and_machine(&asked.site, &asked.machine)?;
        let query = SuppressionQuery {
            id: None,
            site,
            machine,
            in_force_only: asked.in_force_only,
            before: (asked.before_suppression_id != 0).then_some(SuppressionId(asked.before_suppression_id)),
            limit: wire::limit(asked.limit)?,
        };
        let listings = self.store.suppression_list(&by.scope(), &query).await?;
        Ok(listings.into_iter().map(to_wire).collect())
    }

    /// One suppression with the pages it kept.
    pub(crate) async fn suppression(
        &self,
        by: &Principal,
        id: SuppressionId,
    ) -> Result<v1::GetSuppressionResponse, Error> {
        let listing = self.store.suppression_get(&by.scope(), id).await?;
        let pages = self.store.suppressed_pages(&by.scope(), id, SHOWN).await?;
        let page = |page: tocsin_store::suppression::SuppressedPage| v1::SuppressedPage {
            page_key: page.page_key,
            incident_id: page.incident.0,
            action: page.action.as_str().to_owned(),
            decided_at: Some(time::to_wire(page.decided_at)),
            released_at: page.released_at.map(time::to_wire),
            payload_json: page.payload_json,
        };
        Ok(v1::GetSuppressionResponse {
            suppression: Some(to_wire(listing)),
            pages: pages.into_iter().map(page).collect(),
        })
    }

    async fn machine(&self, by: &Principal, (site, machine): (&str, &str)) -> Result<Machine, Error> {
        let name = |field, text| Slug::parse(field, text).map_err(Malformed::from);
        let (site, machine) = (name("site", site)?, name("machine", machine)?);
        Ok(self.store.machine_by_name(&by.scope(), &site, &machine).await?)
    }
}

async fn lock(tx: &mut Transaction, machine: MachineId) -> Result<MachineState, tocsin_store::Error> {
    let state = machines_lock(tx, &[machine]).await?.into_iter().next();
    state.ok_or_else(|| tocsin_store::Error::NotFound {
        what: format!("state of machine {machine}"),
    })
}

/// Ends the suppression of a locked machine, sends what was kept and is still so, and commits that with its audit entry.
async fn end(
    mut tx: Transaction,
    state: MachineState,
    over: &Suppression,
    by: &str,
    now: Timestamp,
) -> Result<Restored, Error> {
    suppression_end(&mut tx, over.id, by, now).await?;
    let released = release(&mut tx, state.machine, over, now).await?;
    let event = restored(&state, over, by, released.clone(), now);
    let state = MachineState {
        suppression: None,
        ..state
    };
    let events = vec![event];
    machines_update(&mut tx, &[MachineChange { state, events }]).await?;
    let restored = Restored {
        suppression: over.id,
        released,
    };
    let detail = json!({ "suppression_id": restored.suppression, "released": restored.released });
    let entry = entry(by, "machine.restore", state.machine, &detail);
    Ok(audit_commit(tx, restored, |_| entry, now).await?)
}

/// Sends the newest page that was kept, if its incident is open, at page level and nobody's; answers with its key.
async fn release(
    tx: &mut Transaction,
    machine: MachineId,
    over: &Suppression,
    now: Timestamp,
) -> Result<Option<String>, Error> {
    let open = incidents_open(tx, &[machine]).await?.into_iter().next();
    let waits = |incident: &tocsin_store::incident::Incident| {
        incident.severity == Severity::Page && incident.state == IncidentState::ActiveUnacknowledged
    };
    let Some(incident) = open.filter(waits) else {
        return Ok(None);
    };
    let Some(kept) = page_release(tx, incident.id, now).await? else {
        return Ok(None);
    };
    let said: PagePayload = serde_json::from_str(&kept.payload_json).map_err(|error| Error::UnreadablePage {
        key: kept.page_key.clone(),
        reason: error.to_string(),
    })?;
    let payload = PagePayload {
        kept_by: Some(KeptBy {
            suppression: over.order.kind,
            by: over.order.by.clone(),
            since: over.order.from,
        }),
        ..said
    };
    let page = NewPage {
        payload_json: serde_json::to_string(&payload).expect("names, times and numbers have a JSON form"),
        ..kept
    };
    page_insert(tx, &page, now).await?;
    Ok(Some(page.page_key))
}

fn begun(state: &MachineState, order: &SuppressionOrder) -> NewEvent {
    let event = Event::Suppressed {
        suppression: order.kind,
        until: order.until,
        one_shot: order.one_shot,
        by: order.by.clone(),
        reason: order.reason.clone(),
    };
    journaled(state, EventKind::Suppressed, &event, order.from)
}

fn restored(state: &MachineState, over: &Suppression, by: &str, released: Option<String>, now: Timestamp) -> NewEvent {
    let event = Event::Restored {
        suppression: over.order.kind,
        by: by.to_owned(),
        released,
    };
    journaled(state, EventKind::Restored, &event, now)
}

fn journaled(state: &MachineState, kind: EventKind, event: &Event, at: Timestamp) -> NewEvent {
    NewEvent {
        incident: state.open_incident,
        at,
        kind,
        payload_json: serde_json::to_string(event).expect("names, times and reasons have a JSON form"),
    }
}

fn entry(by: &str, action: &str, machine: MachineId, detail: &serde_json::Value) -> NewAuditEntry {
    NewAuditEntry::new(by, action, format!("machine:{machine}"), detail)
}

fn to_wire(listing: SuppressionListing) -> v1::Suppression {
    let Suppression { id, order } = listing.suppression;
    let (ended_at, ended_by) = listing.ended.unzip();
    v1::Suppression {
        suppression_id: id.0,
        site: listing.site_name.into(),
        machine: listing.machine_name.into(),
        kind: order.kind.as_str().to_owned(),
        from: Some(time::to_wire(order.from)),
        until: Some(time::to_wire(order.until)),
        one_shot: order.one_shot,
        by: order.by,
        reason: order.reason,
        ended_at: ended_at.map(time::to_wire),
        ended_by: ended_by.unwrap_or_default(),
        suppressed_pages: listing.suppressed_pages,
    }
}
