//! `PagerDuty` by its Events API v2: the incident's key is the alert's, so that what is acknowledged or clears here is
//! acknowledged or resolved there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tocsin_domain::{Invalid, PageAction, Severity};
use tocsin_judge::page::NOTICE;

use super::{Address, Route};
use crate::attempt::{Attempt, Outcome};
use crate::message::{Page, at_most};
use crate::target::Sender;
use crate::{Error, secret};

/// The most characters of a summary, by the API's documentation.
const SUMMARY_CHARS: usize = 1_024;

/// Settings of a `PagerDuty` service's integration "Events API v2".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PagerDuty {
    /// The name in delivery histories. Pages are owed to names: another name is another receiver.
    pub name: String,
    /// File with the integration key (`routing_key`).
    pub routing_key_file: PathBuf,
    /// Where to post: another region's address, or that of what speaks the same.
    #[serde(default = "default_url")]
    pub url: Address,
    /// File with the secret of the service's "Generic Webhooks (v3)" subscription, which posts to `/hooks/pagerduty` of the
    /// console: with it, what is acknowledged there is acknowledged here.
    #[serde(default)]
    pub webhook_secret_file: Option<PathBuf>,
    /// Which pages it takes; with none, all of them.
    #[serde(default)]
    pub routes: Vec<Route>,
}

fn default_url() -> Address {
    Address::from("https://events.pagerduty.com/v2/enqueue")
}

impl PagerDuty {
    /// One that takes every page, in `PagerDuty`'s own region.
    pub fn new(name: impl Into<String>, routing_key_file: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            routing_key_file: routing_key_file.into(),
            url: default_url(),
            webhook_secret_file: None,
            routes: Vec::new(),
        }
    }

    pub(super) fn check_secrets(&self) -> Result<(), Invalid> {
        let webhook = self.webhook_secret_file.as_deref();
        webhook
            .map(|path| secret::read("webhook_secret_file", path))
            .transpose()?;
        self.routing_key().map(drop)
    }

    fn routing_key(&self) -> Result<String, Invalid> {
        secret::read("routing_key_file", &self.routing_key_file)
    }

    /// Tells of a page. `PagerDuty` appends a trigger to the incident of the same key that is open there, and notifies
    /// nobody when that is acknowledged. So what is paged again is resolved there first, and opens anew.
    pub(crate) async fn send(&self, sender: &Sender, page: &Page) -> Result<Attempt, Error> {
        let routing_key = self.routing_key().map_err(Error::Setting)?;
        let url = self.url.parse().map_err(Error::Setting)?;
        if page.payload.reason.is_re_alarm() {
            let over = keyed(PageAction::Resolve, page, &routing_key);
            let attempt = sender.post(sender.client.post(url.clone()).json(&over)).await;
            if attempt.outcome != Outcome::Delivered {
                return Ok(attempt);
            }
        }
        let event = event(page, &routing_key, sender.console_url.as_deref());
        Ok(sender.post(sender.client.post(url).json(&event)).await)
    }
}

/// An event that says no more than its key.
fn keyed(of: PageAction, page: &Page, routing_key: &str) -> Value {
    json!({
        "routing_key": routing_key,
        "event_action": action(of),
        "dedup_key": page.payload.dedup_key,
    })
}

/// The event of a page. What an acknowledgement or an end says beyond its key is not read, so it says no more.
fn event(page: &Page, routing_key: &str, console_url: Option<&str>) -> Value {
    let payload = &page.payload;
    let mut event = keyed(page.action, page, routing_key);
    if page.action != PageAction::Trigger {
        return event;
    }
    let site_and_machine = format!("{}/{}", payload.site, payload.machine);
    event["client"] = "Tocsin".into();
    event["payload"] = json!({
        "summary": at_most(&page.summary(), SUMMARY_CHARS),
        "source": site_and_machine,
        "severity": severity(payload.severity),
        "timestamp": page.created_at,
        "component": payload.deciding_sensor,
        "group": payload.site,
        "class": payload.class,
        "custom_details": {
            "incident_id": payload.incident_id,
            "opened_at": payload.opened_at,
            "detector": payload.deciding_detector,
            "sensor": payload.deciding_sensor,
            "level": payload.level,
            "top_bins": page.top_bins(),
            "explained": page.explained().into_iter().collect::<BTreeMap<_, _>>(),
            "threshold_set_id": payload.threshold_set_id,
            "bundle_digest": payload.bundle_digest.map(|digest| digest.to_string()),
            "baseline_id": payload.baseline_id,
            "delayed_by_ms": payload.delayed_by_ms,
            "above_alert_since": payload.above_alert_since,
            "growth_per_day": payload.growth_per_day,
            "replay": payload.replay,
            "notice": NOTICE,
        },
    });
    if let Some(url) = page.incident_url(console_url) {
        event["client_url"] = url.as_str().into();
        event["links"] = json!([{ "href": url, "text": format!("incident {}", payload.incident_id) }]);
    }
    if let Some(url) = &page.acknowledge_url
        && let Some(links) = event["links"].as_array_mut()
    {
        links.push(json!({ "href": url, "text": "acknowledge without signing in" }));
    }
    // By the API's documentation an image must be served over HTTPS.
    if let Some(url) = page.picture_url.as_ref().filter(|url| url.starts_with("https://")) {
        event["images"] = json!([{ "src": url, "alt": page.picture_text() }]);
    }
    event
}

fn action(action: PageAction) -> &'static str {
    match action {
        PageAction::Trigger => "trigger",
        PageAction::Acknowledge => "acknowledge",
        PageAction::Resolve => "resolve",
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Page => "critical",
        Severity::Alert => "warning",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::page;
    use tocsin_domain::Slug;
    use tocsin_judge::PageReason;

    /// The documented form of an event: required fields, enums, limits. The error says what does not keep to it.
    fn check(event: &Value) -> Result<(), String> {
        let text = |object: &Value, field: &str, most: usize| match object[field].as_str() {
            Some(text) if !text.is_empty() && text.chars().count() <= most => Ok(()),
            _ => Err(format!("{field}: {}", object[field])),
        };
        let one_of = |object: &Value, field: &str, names: &[&str]| match object[field].as_str() {
            Some(name) if names.contains(&name) => Ok(()),
            _ => Err(format!("{field}: {}", object[field])),
        };
        text(event, "routing_key", 32)?;
        text(event, "dedup_key", 255)?;
        one_of(event, "event_action", &["trigger", "acknowledge", "resolve"])?;
        if event.to_string().len() > 512 * 1024 {
            return Err("it is larger than 512 KB".to_owned());
        }
        if event["event_action"] == "trigger" {
            let payload = &event["payload"];
            text(payload, "summary", 1_024)?;
            text(payload, "source", usize::MAX)?;
            one_of(payload, "severity", &["critical", "warning", "error", "info"])?;
            for image in event["images"].as_array().into_iter().flatten() {
                text(image, "src", usize::MAX)?;
            }
            for link in event["links"].as_array().into_iter().flatten() {
                text(link, "href", usize::MAX)?;
            }
        }
        Ok(())
    }

    #[test]
    fn an_event_keeps_to_the_documented_form_whatever_the_page() {
        let key = "k".repeat(32);
        for reason in [
            PageReason::Opened,
            PageReason::Escalated,
            PageReason::Acknowledged,
            PageReason::Cleared,
        ] {
            for severity in [Severity::Alert, Severity::Page] {
                let mut page = page(reason, severity);
                for console_url in [None, Some("https://tocsin.example.org/")] {
                    check(&event(&page, &key, console_url)).unwrap();
                }
                let longest = "x".repeat(63);
                page.payload.machine = Slug::parse("machine", &longest).unwrap();
                page.payload.deciding_sensor = Slug::parse("sensor", &longest).unwrap();
                check(&event(&page, &key, None)).unwrap();
            }
        }
    }

    #[test]
    fn a_picture_is_an_image_where_it_is_served_over_https() {
        let mut page = page(PageReason::Opened, Severity::Page);
        page.picture_url = Some("https://t.example.org/pictures/x".to_owned());
        let told = event(&page, "key", None);
        assert_eq!(told["images"][0]["src"], "https://t.example.org/pictures/x");
        assert_eq!(
            told["images"][0]["alt"],
            "spectrum of lisbon/cnc-1 spindle against its baseline"
        );
        page.picture_url = Some("http://t.example.org/pictures/x".to_owned());
        assert_eq!(event(&page, "key", None)["images"], Value::Null);
    }

    #[test]
    fn a_trigger_says_who_what_and_how_bad_and_what_follows_only_names_it() {
        let told = event(
            &page(PageReason::Opened, Severity::Alert),
            "key",
            Some("https://t.example.org"),
        );
        assert_eq!(told["payload"]["severity"], "warning");
        assert_eq!(told["payload"]["source"], "lisbon/cnc-1");
        assert_eq!(told["payload"]["custom_details"]["detector"], "overall_level");
        assert_eq!(told["links"][0]["href"], "https://t.example.org/incidents/7");
        assert_eq!(told["images"], Value::Null, "an image without an address is none");
        let raised = event(&page(PageReason::Escalated, Severity::Page), "key", None);
        assert_eq!(raised["payload"]["severity"], "critical");
        assert_eq!(raised["dedup_key"], told["dedup_key"]);
        let over = event(&page(PageReason::Cleared, Severity::Page), "key", None);
        let expected = json!({ "routing_key": "key", "event_action": "resolve", "dedup_key": told["dedup_key"] });
        assert_eq!(over, expected);
    }
}
