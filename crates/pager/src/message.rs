//! What receivers are told, whatever their kind: the page, its summary and its link.

use std::time::Duration;

use tocsin_domain::{PageAction, Timestamp};
use tocsin_judge::{PagePayload, PageReason};

use crate::Error;

/// A page with the key it is repeated under.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Page {
    pub(crate) key: String,
    pub(crate) action: PageAction,
    pub(crate) created_at: Timestamp,
    pub(crate) payload: PagePayload,
    /// Attempts that had been made when a person sent it again; 0 when nobody did.
    pub(crate) resent_after: i32,
}

impl Page {
    /// Reads a page out of the outbox.
    pub(crate) fn parse(stored: &tocsin_store::outbox::Page) -> Result<Self, Error> {
        let payload = serde_json::from_str(&stored.payload_json).map_err(|error| Error::UnreadablePage {
            key: stored.page_key.clone(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            key: stored.page_key.clone(),
            action: stored.action,
            created_at: stored.created_at,
            payload,
            resent_after: 0,
        })
    }

    /// What a receiver can tell a repeat of this page and action by. What a person sends again is none: a receiver that
    /// drops repeats must take it.
    pub(crate) fn idempotency_key(&self) -> String {
        format!("{}:{}{}", self.key, self.action.as_str(), self.resend_mark(':'))
    }

    /// What tells a page that was sent again from the one before; empty when it was not.
    pub(crate) fn resend_mark(&self, separator: char) -> String {
        match self.resent_after {
            0 => String::new(),
            attempts => format!("{separator}resent-{attempts}"),
        }
    }

    /// The console's page of the incident, where there is a console.
    pub(crate) fn incident_url(&self, console_url: Option<&str>) -> Option<String> {
        let id = self.payload.incident_id;
        console_url.map(|url| format!("{}/incidents/{id}", url.trim_end_matches('/')))
    }

    /// One line for a person who reads nothing else.
    pub(crate) fn summary(&self) -> String {
        summary(&self.payload)
    }

    /// The bins that stand out, for a person: `120 Hz (40 %)`.
    pub(crate) fn top_bins(&self) -> Vec<String> {
        let bins = self.payload.top_bins.iter();
        bins.map(|bin| format!("{:.1} {} ({:.0} %)", bin.centre, bin.axis_unit, bin.error_share * 100.0))
            .collect()
    }
}

/// The beginning of a text, at most `most` characters, with an ellipsis where something was left out.
pub(crate) fn at_most(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most - 1).collect();
    cut.push('…');
    cut
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
    let kept = payload
        .kept_by
        .as_ref()
        .map(|kept| format!(", kept while the machine was {} by {}", kept.suppression, kept.by));
    let replay = if payload.replay { " [replay]" } else { "" };
    let (delayed, kept) = (delayed.unwrap_or_default(), kept.unwrap_or_default());
    format!("{site}/{machine} {what}{delayed}{kept}{replay}")
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tocsin_domain::{BaselineId, BundleDigest, Detector, IncidentId, Severity, Slug, ThresholdSetId};
    use tocsin_judge::page::{dedup_key, page_key};

    pub(crate) fn page(reason: PageReason, severity: Severity) -> Page {
        let slug = |text: &str| Slug::parse("name", text).unwrap();
        let incident = IncidentId(7);
        Page {
            resent_after: 0,
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
                kept_by: None,
                dedup_key: dedup_key(incident),
            },
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_between_characters_and_says_so() {
        assert_eq!(at_most("äöü", 3), "äöü");
        assert_eq!(at_most("äöüß", 3), "äö…");
    }
}
