//! A webhook of the house: one `POST` of JSON per page and action, signed where a secret is shared.
//!
//! A receiver checks a signature so: take `t` and `v1` from `Tocsin-Signature: t=1767268800,v1=5257a8…`; compute the
//! HMAC-SHA256, keyed with the secret's bytes, of `t`, a full stop and the body as it came; compare it with `v1`
//! (hexadecimal) in constant time; and refuse a `t` (seconds since the epoch) more than five minutes from now. Fields it
//! doesn't know it skips: another version would come beside this one.

use std::path::PathBuf;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tocsin_domain::{Detector, Invalid, PageAction, Severity, Timestamp};
use tocsin_judge::page::{DetectorLevel, FloodNote, KeptBy, LineHint, NOTICE};
use tocsin_judge::{PageReason, TopBin};

use super::{Address, Route};
use crate::message::Page;
use crate::target::Sender;
use crate::{Error, secret};

/// The header under which a receiver can tell a repeat.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header that a receiver with the secret can hold the body against.
const SIGNATURE: &str = "tocsin-signature";

/// Settings of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The name in delivery histories. Pages are owed to names: another name is another receiver.
    pub name: String,
    /// Where to post.
    pub url: Address,
    /// File with a bearer token, if the receiver wants one.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// File with a secret shared with the receiver: with it, every post is signed.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Which pages it takes; with none, all of them.
    #[serde(default)]
    pub routes: Vec<Route>,
}

impl Webhook {
    /// One that takes every page, neither signed nor with a token.
    pub fn new(name: impl Into<String>, url: impl Into<Address>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            token_file: None,
            secret_file: None,
            routes: Vec::new(),
        }
    }

    pub(super) fn check_secrets(&self) -> Result<(), Invalid> {
        self.token_file.as_deref().map(secret::authorization).transpose()?;
        self.secret().map(drop)
    }

    fn secret(&self) -> Result<Option<String>, Invalid> {
        let path = self.secret_file.as_deref();
        path.map(|path| secret::read("secret_file", path)).transpose()
    }

    /// The post that tells of a page.
    pub(crate) fn request(&self, sender: &Sender, page: &Page) -> Result<RequestBuilder, Error> {
        let body = serde_json::to_vec(&Body::new(page, sender.console_url.as_deref()))
            .expect("names, times and numbers have a JSON form");
        self.post(sender, body, &page.idempotency_key())
    }

    /// The post of some JSON under an idempotency key.
    pub(crate) fn post(&self, sender: &Sender, body: Vec<u8>, key: &str) -> Result<RequestBuilder, Error> {
        let mut request = sender
            .client
            .post(self.url.parse().map_err(Error::Setting)?)
            .header(CONTENT_TYPE, "application/json")
            .header(IDEMPOTENCY_KEY, key);
        if let Some(path) = &self.token_file {
            request = request.header(AUTHORIZATION, secret::authorization(path).map_err(Error::Setting)?);
        }
        if let Some(secret) = self.secret().map_err(Error::Setting)? {
            request = request.header(SIGNATURE, signature(&secret, sender.clock.now(), &body));
        }
        Ok(request.body(body))
    }
}

/// The header's value: the time in seconds, and the HMAC-SHA256 of that time and the body.
fn signature(secret: &str, now: Timestamp, body: &[u8]) -> String {
    let seconds = now.as_micros().div_euclid(1_000_000);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length will do");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    format!("t={seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}

/// Version 1 of the body that a webhook gets.
#[derive(Debug, Serialize)]
struct Body<'a> {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledge_url: Option<&'a str>,
    /// A PNG.
    #[serde(skip_serializing_if = "Option::is_none")]
    picture_url: Option<&'a str>,
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
    /// With these at the baseline the reading would be below the page line.
    top_bins_decide: bool,
    /// What each detector said, the highest level first.
    detectors: &'a [DetectorLevel],
    /// Of ISO 20816, where the class has zones.
    #[serde(skip_serializing_if = "Option::is_none")]
    severity_zone: Option<&'static str>,
    /// Null in a class without alarm limits, where severity alone judges; so is the digest.
    threshold_set_id: Option<i32>,
    bundle_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline_id: Option<i32>,
    delayed_by_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    above_alert_since: Option<Timestamp>,
    /// In levels per 24 hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    growth_per_day: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line_hint: Option<&'a LineHint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_by: Option<&'a KeptBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flood: Option<&'a FloodNote>,
}

impl<'a> Body<'a> {
    fn new(page: &'a Page, console_url: Option<&str>) -> Self {
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
            summary: page.summary(),
            incident_id: payload.incident_id.0,
            evidence: Evidence {
                reason: payload.reason,
                step: payload.step,
                class: payload.class.as_str(),
                deciding_sensor: payload.deciding_sensor.as_str(),
                deciding_detector: payload.deciding_detector,
                level: payload.level,
                top_bins: &payload.top_bins,
                top_bins_decide: payload.top_bins_decide,
                detectors: &payload.detectors,
                severity_zone: payload.severity_zone(),
                threshold_set_id: payload.threshold_set_id.map(|set| set.0),
                bundle_digest: payload.bundle_digest.map(|digest| digest.to_string()),
                baseline_id: payload.baseline_id.map(|baseline| baseline.0),
                delayed_by_ms: payload.delayed_by_ms,
                above_alert_since: payload.above_alert_since,
                growth_per_day: payload.growth_per_day,
                line_hint: payload.line_hint.as_ref(),
                kept_by: payload.kept_by.as_ref(),
                flood: payload.flood.as_ref(),
            },
            replay: payload.replay,
            console_url: page.incident_url(console_url),
            acknowledge_url: page.acknowledge_url.as_deref(),
            picture_url: page.picture_url.as_deref(),
            notice: NOTICE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::page;

    #[test]
    fn the_webhook_body_is_fixed() {
        let mut page = page(PageReason::Opened, Severity::Page);
        page.payload.delayed_by_ms = Some(600_000);
        page.payload.replay = true;
        let body = serde_json::to_value(Body::new(&page, Some("https://tocsin.example.org/"))).unwrap();
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
                "top_bins_decide": false,
                "detectors": [],
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

    /// Made with `printf '1767268800.{"a":1}' | openssl dgst -sha256 -hmac hush`.
    #[test]
    fn a_signature_is_what_openssl_makes_of_it() {
        let now = Timestamp::from_micros(1_767_268_800_999_999);
        let expected = "t=1767268800,v1=5a3808f0fcccea88eefcecf3b41121e0ff4c1c9b93de08caccdcb60f2e6df5bf";
        assert_eq!(signature("hush", now, br#"{"a":1}"#), expected);
    }
}
