//! Slack's buttons: `X-Slack-Signature: v0=…`, the HMAC-SHA256 of `v0:`, the timestamp, a colon and the body, by the app's
//! signing secret; the body is a form whose `payload` is JSON.
//!
//! Format: <https://api.slack.com/authentication/verifying-requests-from-slack> and
//! <https://api.slack.com/reference/interaction-payloads/block-actions>.

use reqwest::Url;
use serde::Deserialize;
use tocsin_domain::{IncidentId, Timestamp};

use super::{Answered, Taken, What, is_signed};

/// The name of the button that takes an incident.
pub(crate) const ACTION: &str = "tocsin_acknowledge";

/// How far a post's timestamp may lie from now, in seconds: an older one may be somebody's copy.
const FRESH_S: i64 = 300;

/// Whether the signature is that of the body by one of the secrets, made within five minutes of now.
pub(crate) fn is_genuine<'a>(
    secrets: impl IntoIterator<Item = &'a str>,
    (header, timestamp): (&str, &str),
    body: &[u8],
    now: Timestamp,
) -> bool {
    let (Some(signature), Ok(seconds)) = (header.strip_prefix("v0="), timestamp.parse::<i64>()) else {
        return false;
    };
    let now_s = now.as_micros().div_euclid(1_000_000);
    let signed = |secret: &str| is_signed(secret, &[b"v0:", timestamp.as_bytes(), b":", body], signature);
    now_s.abs_diff(seconds) <= FRESH_S.unsigned_abs() && secrets.into_iter().any(signed)
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    user: User,
    #[serde(default)]
    actions: Vec<Action>,
}

#[derive(Deserialize, Default)]
struct User {
    username: Option<String>,
    name: Option<String>,
    id: Option<String>,
}

#[derive(Deserialize)]
struct Action {
    action_id: String,
    #[serde(default)]
    value: String,
}

/// What a button of a page carries: the incident and the page's place in the outbox.
pub(crate) fn value(incident: IncidentId, outbox_id: i64) -> String {
    format!("{incident}.{outbox_id}")
}

/// What a genuine post says was taken: nothing when it is no press of our button.
pub(crate) fn taken(body: &[u8]) -> Option<Taken> {
    let form = Url::parse(&format!("form:?{}", std::str::from_utf8(body).ok()?)).ok()?;
    let (_, payload) = form.query_pairs().find(|(name, _)| name == "payload")?;
    let Payload { user, actions } = serde_json::from_str(&payload).ok()?;
    let pressed = actions.iter().find(|action| action.action_id == ACTION)?;
    let (incident, outbox_id) = pressed.value.split_once('.')?;
    let who = user.username.or(user.name).or(user.id);
    Some(Taken {
        what: What::Incident(IncidentId(incident.parse().ok()?)),
        by: format!("{} (Slack)", who.as_deref().unwrap_or("somebody")),
        answered: Answered::Page(outbox_id.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::sign;

    const BODY: &[u8] = b"payload=%7B%22type%22%3A%22block_actions%22%2C%22user%22%3A%7B%22id%22%3A%22U1%22%2C%22username%22%3A%22ana%22%7D%2C%22actions%22%3A%5B%7B%22action_id%22%3A%22tocsin_acknowledge%22%2C%22value%22%3A%227.12%22%7D%5D%7D";

    #[test]
    fn a_post_is_genuine_for_five_minutes() {
        let signature = |seconds: &str| {
            let parts: [&[u8]; 4] = [b"v0:", seconds.as_bytes(), b":", BODY];
            format!("v0={}", sign("hush", &parts))
        };
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let good = signature("1000");
        for (now, genuine) in [(1_000, true), (1_300, true), (1_301, false), (700, true), (699, false)] {
            assert_eq!(is_genuine(["hush"], (&good, "1000"), BODY, at(now)), genuine, "{now}");
        }
        assert!(!is_genuine(["hash"], (&good, "1000"), BODY, at(1_000)));
        assert!(!is_genuine(["hush"], (&good, "1001"), BODY, at(1_000)), "another time");
        assert!(!is_genuine(["hush"], (&good, "1000"), b"payload=", at(1_000)));
        assert!(!is_genuine(["hush"], ("", ""), BODY, at(1_000)));
    }

    #[test]
    fn a_press_of_our_button_names_the_incident_the_page_and_who() {
        let expected = Taken {
            what: What::Incident(IncidentId(7)),
            by: "ana (Slack)".to_owned(),
            answered: Answered::Page(12),
        };
        assert_eq!(taken(BODY), Some(expected));
        assert_eq!(value(IncidentId(7), 12), "7.12");
        for body in [&b""[..], b"payload=x", b"payload=%7B%7D", b"\xff"] {
            assert_eq!(taken(body), None);
        }
    }
}
