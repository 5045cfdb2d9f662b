//! Work orders: an incident is put into the maintenance system (CMMS) by a post, and the reference it gets there is kept.
//!
//! Systems differ, so the post is plain: one JSON object with what a page says, signed as webhooks are, under an
//! idempotency key that is the incident's. The answer is JSON with the reference, and perhaps an address, at places (JSON
//! pointers, RFC 6901) that are settings. A person who ordered the work by other means enters the reference themselves.
//!
//! **Invariant:** asking again repeats the post under the same key; a reference is kept only after an answer that has it.

use std::path::PathBuf;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tocsin_contracts::incidents::v1;
use tocsin_contracts::{Malformed, time};
use tocsin_domain::{IncidentId, Invalid, Principal};
use tocsin_judge::journal::Event;
use tocsin_judge::page::{NOTICE, dedup_key};
use tocsin_store::access::audit_commit;
use tocsin_store::incident::{IncidentListing, WorkOrder, incident_lock, work_order_set};
use tocsin_store::machine::{EventKind, MachineChange, NewEvent, machines_update};

use crate::destination::{Address, Webhook};
use crate::people::incident_entry;
use crate::service::NOTE_CHARS;
use crate::target::Sender;
use crate::{Error, Service, wire};

/// The longest reference kept, in characters.
const REFERENCE_CHARS: usize = 200;

/// The longest answer read, in bytes.
const ANSWER_BYTES: usize = 64 << 10;

/// The maintenance system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkOrders {
    /// Where to post.
    pub url: Address,
    /// File with a bearer token, if the system wants one.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// File with a secret shared with the system: with it, every post is signed as webhooks are.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Where the answer has the work order's reference: a JSON pointer.
    #[serde(default = "reference")]
    pub reference: String,
    /// Where it has the work order's address, if it has one: a JSON pointer.
    #[serde(default = "address")]
    pub reference_url: String,
}

fn reference() -> String {
    "/reference".to_owned()
}

fn address() -> String {
    "/url".to_owned()
}

impl WorkOrders {
    /// Checks the settings; the error names the field within them.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        self.url.parse()?;
        for (field, pointer) in [("reference", &self.reference), ("reference_url", &self.reference_url)] {
            if !pointer.starts_with('/') {
                let reason = format!("{pointer:?} is no JSON pointer such as /reference");
                return Err(Invalid::new(field, reason));
            }
        }
        Ok(())
    }

    async fn order(
        &self,
        sender: &Sender,
        listing: &IncidentListing,
        note: &str,
    ) -> Result<(String, Option<String>), Error> {
        let id = listing.incident.id;
        let webhook = Webhook {
            token_file: self.token_file.clone(),
            secret_file: self.secret_file.clone(),
            ..Webhook::new("work orders", self.url.clone())
        };
        let body = serde_json::to_vec(&body(sender, listing, note)).expect("names and times have a JSON form");
        let request = webhook.post(sender, body, &format!("{}-work-order", dedup_key(id)))?;
        let answer = request.send().await;
        let answer = answer.map_err(|error| Error::WorkOrders(error.without_url().to_string()))?;
        let status = answer.status();
        let bytes = answer.bytes().await;
        let bytes = bytes.map_err(|error| Error::WorkOrders(error.without_url().to_string()))?;
        if !status.is_success() {
            let said = String::from_utf8_lossy(&bytes[..bytes.len().min(500)]).into_owned();
            return Err(Error::WorkOrders(format!("it answered {status}: {said}")));
        }
        self.read(&bytes)
    }

    /// The reference, and the address where there is one.
    fn read(&self, answer: &[u8]) -> Result<(String, Option<String>), Error> {
        let refuse = |reason: String| Error::WorkOrders(reason);
        if answer.len() > ANSWER_BYTES {
            return Err(refuse(format!("its answer of {} bytes is too long", answer.len())));
        }
        let answer: Value =
            serde_json::from_slice(answer).map_err(|error| refuse(format!("its answer is no JSON: {error}")))?;
        let reference = match answer.pointer(&self.reference) {
            Some(Value::String(text)) if !text.trim().is_empty() => text.trim().to_owned(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return Err(refuse(format!("its answer has no reference at {}", self.reference))),
        };
        let url = answer.pointer(&self.reference_url).and_then(Value::as_str);
        let url = url.filter(|url| Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")));
        let reference = reference.chars().take(REFERENCE_CHARS).collect();
        Ok((reference, url.map(str::to_owned)))
    }
}

fn body(sender: &Sender, listing: &IncidentListing, note: &str) -> Value {
    let incident = &listing.incident;
    let console = sender.console_url.as_ref();
    json!({
        "version": 1,
        "incident_id": incident.id,
        "site": listing.site_name,
        "machine": listing.machine_name,
        "class": listing.class_name,
        "severity": incident.severity,
        "opened_at": incident.opened_at,
        "deciding_sensor": listing.deciding_sensor_name,
        "deciding_detector": incident.deciding_detector,
        "peak_level": incident.peak_level.0,
        "note": note,
        "console_url": console.map(|url| format!("{}/incidents/{}", url.trim_end_matches('/'), incident.id)),
        "notice": NOTICE,
    })
}

impl Service {
    /// Orders work for an incident, or keeps the reference that a person gives.
    pub(crate) async fn order_work(
        &self,
        by: &Principal,
        asked: &v1::OrderWorkRequest,
    ) -> Result<v1::WorkOrder, Error> {
        let id = IncidentId(asked.incident_id);
        let note = wire::text("note", &asked.note, NOTE_CHARS)?;
        let given = wire::text("reference", &asked.reference, REFERENCE_CHARS)?;
        let listing = self.store.incident_get(&by.scope(), id).await?;
        let (reference, url) = match (&self.config.work_orders, given.is_empty()) {
            (_, false) => (given, None),
            (Some(system), true) => system.order(&self.sender, &listing, &note).await?,
            (None, true) => {
                let reason = "is missing: no maintenance system is configured that would give one (pager.work_orders)";
                return Err(Malformed::new("reference", reason).into());
            }
        };
        let order = WorkOrder {
            reference,
            url,
            at: self.clock.now(),
            by: by.actor(),
        };
        self.keep_order(by, id, &order, note).await?;
        Ok(to_wire(order))
    }

    async fn keep_order(&self, by: &Principal, id: IncidentId, order: &WorkOrder, note: String) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        let (state, _) = incident_lock(&mut tx, &by.scope(), id).await?;
        work_order_set(&mut tx, id, order).await?;
        let detail = json!({ "reference": order.reference, "note": note });
        let entry = incident_entry(&order.by, "incident.order_work", id, &detail);
        let event = Event::WorkOrdered {
            by: order.by.clone(),
            reference: order.reference.clone(),
            note,
        };
        let event = NewEvent {
            incident: Some(id),
            at: order.at,
            kind: EventKind::WorkOrdered,
            payload_json: serde_json::to_string(&event).expect("names and notes have a JSON form"),
        };
        let events = vec![event];
        machines_update(&mut tx, &[MachineChange { state, events }]).await?;
        audit_commit(tx, (), |()| entry, order.at).await?;
        Ok(())
    }
}

/// Writes a work order.
pub(crate) fn to_wire(order: WorkOrder) -> v1::WorkOrder {
    v1::WorkOrder {
        reference: order.reference,
        url: order.url.unwrap_or_default(),
        ordered_at: Some(time::to_wire(order.at)),
        ordered_by: order.by,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system() -> WorkOrders {
        WorkOrders {
            url: "http://x".into(),
            token_file: None,
            secret_file: None,
            reference: "/data/number".into(),
            reference_url: "/links/0".into(),
        }
    }

    #[test]
    fn the_reference_is_where_the_settings_say_or_the_answer_is_refused_in_words() {
        let read = |answer: &str| system().read(answer.as_bytes());
        let whole = r#"{"data": {"number": 4711}, "links": ["https://cmms.example/4711"]}"#;
        assert_eq!(
            read(whole).unwrap(),
            ("4711".to_owned(), Some("https://cmms.example/4711".to_owned()))
        );
        let odd_link = r#"{"data": {"number": " WO-1 "}, "links": ["javascript:alert(1)"]}"#;
        assert_eq!(read(odd_link).unwrap(), ("WO-1".to_owned(), None));
        for (answer, says) in [
            ("<html>", "no JSON"),
            (r#"{"data": {}}"#, "no reference at /data/number"),
        ] {
            let refused = read(answer).unwrap_err().to_string();
            assert!(refused.contains(says), "{refused}");
        }
        let pointer = WorkOrders {
            reference: "data".into(),
            ..system()
        };
        assert_eq!(pointer.check().unwrap_err().field, "reference");
        assert!(system().check().is_ok());
    }
}
