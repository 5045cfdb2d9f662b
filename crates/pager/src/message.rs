//! What receivers are told: the webhook's body and Alertmanager's alerts, both made from the page alone.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tocsin_domain::{Detector, PageAction, Severity, Timestamp};
use tocsin_judge::page::NOTICE;
use tocsin_judge::{PagePayload, PageReason, TopBin};

/// A page with the key it is repeated under.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Page {
    pub(crate) key: String,
    pub(crate) action: PageAction,
    pub(crate) created_at: Timestamp,
    pub(crate) payload: PagePayload,
}

/// Version 1 of the body that a webhook gets.
#[derive(Debug, Serialize)]
pub(crate) struct WebhookBody<'a> {
    version: u32,
    page_key: &'a str,
    action: PageAction,
    dedup_key: &'a str,
    site: &'a str,
    machine: &'a str,
    severity: Severity,
    opened_at: Timestamp,
    summary: String,
    incident_id: i64,
    evidence: Evidence<'a>,
    replay: bool,
    console_url: Option<String>,
    notice: &'static str,
}

#[derive(Debug, Serialize)]
struct Evidence<'a> {
    reason: PageReason,
    step: Timestamp,
    class: &'a str,
    deciding_sensor: &'a str,
    deciding_detector: Detector,
    level: f32,
    top_bins: &'a [TopBin],
    /// Null in a class without alarm limits, where severity alone judges; so is the digest.
    threshold_set_id: Option<i32>,
    bundle_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline_id: Option<i32>,
    delayed_by_ms: Option<u64>,
}

impl<'a> WebhookBody<'a> {
    pub(crate) fn new(page: &'a Page, console_url: Option<&str>) -> Self {
        let payload = &page.payload;
        Self {
            version: 1,
            page_key: &page.key,
            action: page.action,
            dedup_key: &payload.dedup_key,
            site: payload.site.as_str(),
            machine: payload.machine.as_str(),
            severity: payload.severity,
            opened_at: payload.opened_at,
            summary: summary(payload),
            incident_id: payload.incident_id.0,
            evidence: Evidence {
                reason: payload.reason,
                step: payload.step,
                class: payload.class.as_str(),
                deciding_sensor: payload.deciding_sensor.as_str(),
                deciding_detector: payload.deciding_detector,
                level: payload.level,
                top_bins: &payload.top_bins,
                threshold_set_id: payload.threshold_set_id.map(|set| set.0),
                bundle_digest: payload.bundle_digest.map(|digest| digest.to_string()),
                baseline_id: payload.baseline_id.map(|baseline| baseline.0),
                delayed_by_ms: payload.delayed_by_ms,
            },
            replay: payload.replay,
            console_url: incident_url(console_url, payload),
            notice: NOTICE,
        }
    }
}

fn incident_url(console_url: Option<&str>, payload: &PagePayload) -> Option<String> {
    console_url.map(|url| format!("{}/incidents/{}", url.trim_end_matches('/'), payload.incident_id))
}

/// One line for a person who reads nothing else.
fn summary(payload: &PagePayload) -> String {
    let PagePayload {
        site,
        machine,
        severity,
        opened_at,
        deciding_sensor,
        deciding_detector,
        level,
        ..
    } = payload;
    let deviation = format!("{deciding_detector} of {deciding_sensor} at level {level:.1}");
    let what = match payload.reason {
        PageReason::Opened => format!("{severity}: {deviation}"),
        PageReason::Escalated => format!("raised to {severity}: {deviation}"),
        PageReason::LevelRose => format!("{severity} again, risen since it was acknowledged: {deviation}"),
        PageReason::AnotherSensor => format!("{severity} again, another sensor: {deviation}"),
        PageReason::OtherBins => format!("{severity} again, other bins: {deviation}"),
        PageReason::Acknowledged => format!("{severity} of {opened_at} acknowledged"),
        PageReason::Cleared => format!("{severity} of {opened_at} cleared"),
    };
    let delayed = payload
        .delayed_by_ms
        .map(|ms| format!(", delayed by {}", rough(Duration::from_millis(ms))));
    let replay = if payload.replay { " [replay]" } else { "" };
    format!("{site}/{machine} {what}{}{replay}", delayed.unwrap_or_default())
}

/// A duration to two digits or so, for people.
fn rough(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// One alert of Alertmanager's v2 API. Its labels are its identity there: they stay the same from firing to resolved.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Alert {
    labels: BTreeMap<&'static str, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<String>,
}

impl Alert {
    /// The alert of a trigger: firing while `ends_at` lies ahead, resolved when it does not.
    fn of(trigger: &Page, console_url: Option<&str>, ends_at: Timestamp) -> Self {
        let payload = &trigger.payload;
        let labels = BTreeMap::from([
            ("alertname", "TocsinIncident".to_owned()),
            ("site", payload.site.to_string()),
            ("machine", payload.machine.to_string()),
            ("class", payload.class.to_string()),
            ("severity", payload.severity.to_string()),
            ("incident", payload.dedup_key.clone()),
            ("replay", payload.replay.to_string()),
        ]);
        let annotations = BTreeMap::from([
            ("summary", summary(payload)),
            ("sensor", payload.deciding_sensor.to_string()),
            ("detector", payload.deciding_detector.to_string()),
            ("level", format!("{:.2}", payload.level)),
            ("opened_at", payload.opened_at.to_string()),
            ("notice", NOTICE.to_owned()),
        ]);
        Self {
            labels,
            annotations,
            // Not `opened_at`: that is capture time, which a gateway's clock or a replay can put anywhere. Alertmanager
            // refuses an alert that ends before it starts.
            starts_at: trigger.created_at.min(ends_at - Duration::from_millis(1)),
            ends_at,
            generator_url: incident_url(console_url, payload),
        }
    }
}

/// The alerts that tell Alertmanager of `page`, given the triggers of its incident up to it, oldest first. `ahead` is
/// how far an open alert's end lies in the future. An acknowledgement changes nothing there.
pub(crate) fn alerts_of(
    page: &Page,
    triggers: &[Page],
    console_url: Option<&str>,
    now: Timestamp,
    ahead: Duration,
) -> Vec<Alert> {
    let newest = match page.action {
        PageAction::Trigger => return raised(triggers, console_url, now, ahead),
        PageAction::Acknowledge => None,
        PageAction::Resolve => triggers.last(),
    };
    newest
        .map(|trigger| Alert::of(trigger, console_url, now))
        .into_iter()
        .collect()
}

/// The newest trigger fires; what it rose from is over.
fn raised(triggers: &[Page], console_url: Option<&str>, now: Timestamp, ahead: Duration) -> Vec<Alert> {
    let Some((newest, earlier)) = triggers.split_last() else {
        return Vec::new();
    };
    let over = earlier
        .iter()
        .filter(|trigger| trigger.payload.severity != newest.payload.severity)
        .map(|trigger| Alert::of(trigger, console_url, now));
    over.chain([Alert::of(newest, console_url, now + ahead)]).collect()
}

/// An open incident's alert, to be posted again.
pub(crate) fn still_firing(newest: &Page, console_url: Option<&str>, now: Timestamp, ahead: Duration) -> Alert {
    Alert::of(newest, console_url, now + ahead)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tocsin_domain::{BaselineId, BundleDigest, IncidentId, Slug, ThresholdSetId};
    use tocsin_judge::page::{dedup_key, page_key};

    pub(crate) fn page(reason: PageReason, severity: Severity) -> Page {
        let slug = |text: &str| Slug::parse("name", text).unwrap();
        let incident = IncidentId(7);
        Page {
            key: page_key(incident, reason, Timestamp::from_micros(10_000_000)),
            action: reason.action(),
            created_at: Timestamp::from_micros(60_000_000),
            payload: PagePayload {
                incident_id: incident,
                site: slug("lisbon"),
                machine: slug("cnc-1"),
                class: slug("cnc"),
                severity,
                opened_at: Timestamp::from_micros(0),
                reason,
                step: Timestamp::from_micros(10_000_000),
                deciding_sensor: slug("spindle"),
                deciding_detector: Detector::OverallLevel,
                level: 2.54,
                top_bins: Vec::new(),
                threshold_set_id: Some(ThresholdSetId(2)),
                bundle_digest: Some(BundleDigest([1; 32])),
                baseline_id: Some(BaselineId(9)),
                replay: false,
                delayed_by_ms: None,
                dedup_key: dedup_key(incident),
            },
        }
    }

    #[test]
    fn the_webhook_body_is_fixed() {
        let mut page = page(PageReason::Opened, Severity::Page);
        page.payload.delayed_by_ms = Some(600_000);
        page.payload.replay = true;
        let body = serde_json::to_value(WebhookBody::new(&page, Some("https://tocsin.example.org/"))).unwrap();
        let expected = serde_json::json!({
            "version": 1,
            "page_key": "tocsin-incident-7-opened-10000",
            "action": "trigger",
            "dedup_key": "tocsin-incident-7",
            "site": "lisbon",
            "machine": "cnc-1",
            "severity": "page",
            "opened_at": "1970-01-01T00:00:00Z",
            "summary": "lisbon/cnc-1 page: overall_level of spindle at level 2.5, delayed by 10 min [replay]",
            "incident_id": 7,
            "evidence": {
                "reason": "opened",
                "step": "1970-01-01T00:00:10Z",
                "class": "cnc",
                "deciding_sensor": "spindle",
                "deciding_detector": "overall_level",
                "level": 2.54f32,
                "top_bins": [],
                "threshold_set_id": 2,
                "bundle_digest": "01".repeat(32),
                "baseline_id": 9,
                "delayed_by_ms": 600_000,
            },
            "replay": true,
            "console_url": "https://tocsin.example.org/incidents/7",
            "notice": "a high score is a correlation, not a diagnosis",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn an_alert_keeps_its_labels_from_firing_to_resolved() {
        let now = Timestamp::from_micros(100_000_000);
        let ahead = Duration::from_secs(90);
        let trigger = page(PageReason::Opened, Severity::Page);
        let fired = alerts_of(&trigger, std::slice::from_ref(&trigger), None, now, ahead);
        let mut over = page(PageReason::Cleared, Severity::Page);
        over.payload.level = 0.1;
        let resolved = alerts_of(&over, std::slice::from_ref(&trigger), None, now + ahead, ahead);
        assert_eq!((fired.len(), resolved.len()), (1, 1));
        assert_eq!(fired[0].labels, resolved[0].labels);
        assert_eq!(fired[0].starts_at, resolved[0].starts_at);
        assert_eq!((fired[0].ends_at, resolved[0].ends_at), (now + ahead, now + ahead));
        assert_eq!(still_firing(&trigger, None, now, ahead), fired[0]);
    }

    #[test]
    fn an_escalation_ends_the_alert_it_rose_from() {
        let now = Timestamp::from_micros(100_000_000);
        let triggers = [
            page(PageReason::Opened, Severity::Alert),
            page(PageReason::Escalated, Severity::Page),
        ];
        let alerts = alerts_of(&triggers[1], &triggers, None, now, Duration::from_secs(90));
        let said: Vec<_> = alerts
            .iter()
            .map(|a| (a.labels["severity"].as_str(), a.ends_at > now))
            .collect();
        assert_eq!(said, [("alert", false), ("page", true)]);
        let acknowledged = page(PageReason::Acknowledged, Severity::Page);
        assert_eq!(alerts_of(&acknowledged, &triggers, None, now, Duration::ZERO), []);
    }

    #[test]
    fn an_alert_never_ends_before_it_starts() {
        let trigger = page(PageReason::Opened, Severity::Page);
        let before = Timestamp::from_micros(0);
        let over = page(PageReason::Cleared, Severity::Page);
        let alerts = alerts_of(&over, &[trigger], None, before, Duration::ZERO);
        assert!(alerts[0].starts_at < alerts[0].ends_at);
    }
}
