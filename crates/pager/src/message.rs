//! What receivers are told, whatever their kind: the page, its summary and its link.

use std::time::Duration;

use tocsin_domain::{PageAction, Slug, Timestamp};
use tocsin_judge::page::{FloodNote, LineHint, TOP_BINS};
use tocsin_judge::{PagePayload, PageReason};

use crate::Error;

/// A page with the key it is repeated under.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Page {
    /// Its place in the outbox.
    pub(crate) outbox_id: i64,
    pub(crate) key: String,
    pub(crate) action: PageAction,
    pub(crate) created_at: Timestamp,
    pub(crate) payload: PagePayload,
    /// Attempts that had been made when a person sent it again; 0 when nobody did.
    pub(crate) resent_after: i32,
    /// Those of the destination's receivers that it is still owed to; empty for all of them.
    pub(crate) remaining: Vec<String>,
    /// What takes its incident without signing in, for whoever it is sent to.
    pub(crate) acknowledge_url: Option<String>,
    /// Where its picture can be seen without signing in.
    pub(crate) picture_url: Option<String>,
}

impl Page {
    /// Reads a page out of the outbox.
    pub(crate) fn parse(stored: &tocsin_store::outbox::Page) -> Result<Self, Error> {
        let payload = serde_json::from_str(&stored.payload_json).map_err(|error| Error::UnreadablePage {
            key: stored.page_key.clone(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            outbox_id: stored.id,
            acknowledge_url: None,
            picture_url: None,
            key: stored.page_key.clone(),
            action: stored.action,
            created_at: stored.created_at,
            payload,
            resent_after: 0,
            remaining: Vec::new(),
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

    /// Whether there is a picture to it: it calls somebody, about one machine. What a flood's first machine shows is not
    /// what the flood is about.
    pub(crate) fn has_picture(&self) -> bool {
        self.action == PageAction::Trigger && self.payload.flood.is_none() && self.payload.shown.is_some()
    }

    /// What its picture shows, for those who don't see it.
    pub(crate) fn picture_text(&self) -> String {
        let PagePayload {
            site,
            machine,
            deciding_sensor,
            ..
        } = &self.payload;
        format!("spectrum of {site}/{machine} {deciding_sensor} against its baseline")
    }

    /// One line for a person who reads nothing else.
    pub(crate) fn summary(&self) -> String {
        summary(&self.payload)
    }

    /// The bins that stand out most, for a person: `120 Hz (40 %)`, and how many more there are.
    pub(crate) fn top_bins(&self) -> Vec<String> {
        let bins = &self.payload.top_bins;
        let said = bins.iter().take(TOP_BINS);
        let mut said: Vec<String> = said
            .map(|bin| format!("{:.1} {} ({:.0} %)", bin.centre, bin.axis_unit, bin.error_share * 100.0))
            .collect();
        if bins.len() > TOP_BINS {
            said.push(format!("and {} more", bins.len() - TOP_BINS));
        }
        said
    }

    /// What a trigger says beyond who and how bad, by name, for a person.
    pub(crate) fn explained(&self) -> Vec<(&'static str, String)> {
        let payload = &self.payload;
        let mut told = Vec::new();
        if payload.flood.is_some() {
            // What its first machine shows is not what the flood is about.
            return told;
        }
        told.extend(payload.above_alert_since.map(|since| ("trend", trend(since, payload))));
        let bins = self.top_bins();
        if !bins.is_empty() {
            told.push((
                "stands out",
                format!("{}; {}", bins.join(", "), bearing_of_bins(payload)),
            ));
        }
        told.extend(payload.line_hint.as_ref().map(|hint| ("known lines", in_words(hint))));
        let by = payload.deciding_detector;
        let others = payload.detectors.iter().filter(|said| said.detector != by);
        let others: Vec<String> = others
            .map(|said| format!("{} {:.1}", said.detector, said.level))
            .collect();
        if !others.is_empty() {
            told.push(("other detectors", others.join(", ")));
        }
        if let Some(zone) = payload.severity_zone() {
            told.push(("severity zone", zone.to_owned()));
        }
        let limits = payload.threshold_set_id.map(|set| format!("limits {set}"));
        let model = payload
            .bundle_digest
            .map(|digest| format!("model {}", at_most_hex(&digest.to_string())));
        let judged: Vec<String> = limits.into_iter().chain(model).collect();
        if !judged.is_empty() {
            told.push(("judged by", judged.join(", ")));
        }
        told
    }
}

/// Since when it has been so, and where it goes.
fn trend(since: Timestamp, payload: &PagePayload) -> String {
    let lasts = rough(payload.step.since(since));
    let growth = payload.growth_per_day.map(|growth| match growth {
        rising if rising >= STEADY => format!(", rising by {rising:.1} levels a day"),
        falling if falling <= -STEADY => format!(", falling by {:.1} levels a day", -falling),
        _ => ", steady".to_owned(),
    });
    format!(
        "above the alert line since {since} (for {lasts}){}",
        growth.unwrap_or_default()
    )
}

/// Levels a day that are told as a change.
const STEADY: f32 = 0.05;

/// Which known line the bins could be, for a person.
fn in_words(hint: &LineHint) -> String {
    match hint {
        LineHint::Named { line, harmonics } => {
            format!("{harmonics} harmonics of {line} stand out: a hint, not a diagnosis")
        }
        LineHint::ResolutionTooLow => "resolution too low to name a line".to_owned(),
        LineHint::NoneMatches => "none has three harmonics that stand out".to_owned(),
    }
}

/// What the bins that a page names mean for its decision.
fn bearing_of_bins(payload: &PagePayload) -> &'static str {
    if payload.top_bins_decide {
        "without these it would be below the page line"
    } else if payload.deciding_detector.needs_baseline() {
        "not known to decide alone"
    } else {
        "decided on the spectrum as a whole"
    }
}

/// The beginning of a digest, as people tell digests apart.
fn at_most_hex(digest: &str) -> &str {
    &digest[..digest.len().min(12)]
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

/// The most characters of a name in a summary: what and where are said in the first 120 of them.
const NAME_CHARS: usize = 36;

/// One line for a person who reads nothing else: where, what, then what decided.
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
    if let Some(flood) = &payload.flood {
        return flood_summary(payload, flood);
    }
    let name = |name: &Slug| at_most(name.as_str(), NAME_CHARS);
    let (site, machine, deciding_sensor) = (name(site), name(machine), name(deciding_sensor));
    let deviation = format!("{deciding_detector} of {deciding_sensor} at level {level:.1}");
    let what = match payload.reason {
        PageReason::Opened => format!("{severity}: {deviation}"),
        PageReason::Escalated => format!("raised to {severity}: {deviation}"),
        PageReason::LevelRose => format!("{severity} again, risen since it was acknowledged: {deviation}"),
        PageReason::AnotherSensor => format!("{severity} again, another sensor: {deviation}"),
        PageReason::OtherBins => format!("{severity} again, other bins: {deviation}"),
        PageReason::Acknowledged => format!("{severity} of {opened_at} acknowledged"),
        PageReason::Cleared => format!("{severity} of {opened_at} cleared"),
        PageReason::Flood | PageReason::FloodOver => format!("{severity} in a flood: {deviation}"),
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

/// The same of many machines at once.
fn flood_summary(payload: &PagePayload, flood: &FloodNote) -> String {
    let FloodNote {
        incidents,
        machines,
        common,
        ..
    } = flood;
    let replay = if payload.replay { " [replay]" } else { "" };
    match payload.reason {
        PageReason::Acknowledged => return format!("flood of {incidents} machines acknowledged{replay}"),
        PageReason::FloodOver => return format!("flood of {incidents} machines is over{replay}"),
        _ => {}
    }
    let class = common.class.as_ref().map(|class| format!(", most of class {class}"));
    let minute = common.minute.map(|minute| format!(", most in the minute of {minute}"));
    let gateway = common
        .gateway
        .as_ref()
        .map(|gateway| format!(", all through gateway {gateway}"));
    let (class, minute, gateway) = (
        class.unwrap_or_default(),
        minute.unwrap_or_default(),
        gateway.unwrap_or_default(),
    );
    let more = if machines.len() < *incidents as usize {
        ", and more"
    } else {
        ""
    };
    let named = machines.join(", ");
    format!("flood: {incidents} machines at page level at once{class}{minute}{gateway}: {named}{more}{replay}")
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
pub(crate) mod tests;
