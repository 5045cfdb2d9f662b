//! `PagerDuty`'s V3 webhooks: `X-PagerDuty-Signature: v1=…[,v1=…]`, the HMAC-SHA256 of the body by each of the
//! subscription's secrets (several while one is rotated).
//!
//! Format: <https://developer.pagerduty.com/docs/webhooks-overview>. An incident there carries the alert's `dedup_key` as
//! its `incident_key`.

use serde::Deserialize;
use tocsin_domain::{FloodId, IncidentId, Timestamp};
use tocsin_judge::page::{dedup_key, flood_key};

use super::{Answered, Taken, What, is_signed};

/// Whether one of the header's signatures is the body's by one of the secrets.
pub(crate) fn is_genuine<'a>(secrets: impl IntoIterator<Item = &'a str>, header: &str, body: &[u8]) -> bool {
    let signatures: Vec<&str> = header
        .split(',')
        .filter_map(|one| one.trim().strip_prefix("v1="))
        .collect();
    let mut secrets = secrets.into_iter();
    secrets.any(|secret| signatures.iter().any(|signature| is_signed(secret, &[body], signature)))
}

#[derive(Deserialize)]
struct Body {
    event: Event,
}

#[derive(Deserialize)]
struct Event {
    event_type: String,
    occurred_at: Option<String>,
    agent: Option<Agent>,
    #[serde(default)]
    data: Data,
}

#[derive(Deserialize)]
struct Agent {
    summary: Option<String>,
}

#[derive(Deserialize, Default)]
struct Data {
    incident_key: Option<String>,
}

/// What a genuine post says was taken: nothing when it is about something else, or about no incident of ours.
pub(crate) fn taken(body: &[u8]) -> Option<Taken> {
    let event = serde_json::from_slice::<Body>(body).ok()?.event;
    if event.event_type != "incident.acknowledged" {
        return None;
    }
    let key = event.data.incident_key?;
    let number = key.rsplit('-').next()?.parse().ok()?;
    let what = match (IncidentId(number), FloodId(number)) {
        (incident, _) if key == dedup_key(incident) => What::Incident(incident),
        (_, flood) if key == flood_key(flood) => What::Flood(flood),
        _ => return None,
    };
    let at = event
        .occurred_at
        .and_then(|at| Timestamp::parse("occurred_at", &at).ok());
    let who = event.agent.and_then(|agent| agent.summary);
    Some(Taken {
        what,
        by: format!("{} (PagerDuty)", who.as_deref().unwrap_or("somebody")),
        answered: at.map_or(Answered::Newest, Answered::DecidedBy),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::sign;

    fn body(event_type: &str, key: &str) -> Vec<u8> {
        let event = serde_json::json!({
            "id": "01BBYA47T0NPCVE5HPF1HKXB0J",
            "event_type": event_type,
            "resource_type": "incident",
            "occurred_at": "2026-03-01T12:00:00.000Z",
            "agent": { "id": "PLH1HKV", "summary": "Ana Lima", "type": "user_reference" },
            "data": { "id": "PGR0VU2", "type": "incident", "status": "acknowledged", "incident_key": key },
        });
        serde_json::to_vec(&serde_json::json!({ "event": event })).unwrap()
    }

    #[test]
    fn any_of_several_signatures_by_any_secret_will_do_and_no_other() {
        let body = body("incident.acknowledged", "tocsin-incident-7");
        let good = sign("new", &[&body]);
        let header = format!("v1={},v1={good}", "00".repeat(32));
        assert!(is_genuine(["old", "new"], &header, &body));
        assert!(!is_genuine(["old"], &header, &body));
        assert!(!is_genuine(["new"], &header, b"{}"));
        assert!(!is_genuine(["new"], &good, &body), "without its version");
        assert!(!is_genuine(["new"], "", &body));
        assert!(!is_genuine([], &header, &body));
    }

    #[test]
    fn an_acknowledgement_names_the_incident_who_and_when_and_nothing_else_takes_one() {
        let told = taken(&body("incident.acknowledged", "tocsin-incident-7")).unwrap();
        let at = Timestamp::parse("t", "2026-03-01T12:00:00Z").unwrap();
        assert_eq!(
            told,
            Taken {
                what: What::Incident(IncidentId(7)),
                by: "Ana Lima (PagerDuty)".to_owned(),
                answered: Answered::DecidedBy(at),
            }
        );
        let flood = taken(&body("incident.acknowledged", "tocsin-flood-7")).unwrap();
        assert_eq!(flood.what, What::Flood(FloodId(7)));
        assert_eq!(taken(&body("incident.triggered", "tocsin-incident-7")), None);
        for key in ["other-7", "7", "", "tocsin-incident-", "tocsin-incident-x"] {
            assert_eq!(taken(&body("incident.acknowledged", key)), None, "{key}");
        }
        assert_eq!(taken(b"nonsense"), None);
    }
}
