//! What a machine's journal says: the payloads of its events, as JSON keeps them.

use serde::{Deserialize, Serialize};
use tocsin_domain::{Detector, SensorId, Severity, SuppressionKind, ThresholdSetId, Timestamp};

use crate::PageReason;
use crate::fold::Window;

/// One entry of a machine's journal. The kind is a column of its own; the rest is the payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// A judged step, as it stood when a reading of it arrived.
    Step(StepEvent),
    /// An incident opened.
    Opened {
        /// How bad.
        severity: Severity,
    },
    /// The open alert became a page.
    Escalated,
    /// The incident, which somebody had taken, was paged again.
    ReAlarmed {
        /// Why.
        reason: PageReason,
        /// The sensor that is about, unless it is the machine's level.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sensor: Option<SensorId>,
    },
    /// A person took the incident.
    Acknowledged {
        /// Who.
        by: String,
        /// Their note.
        note: String,
    },
    /// The incident cleared.
    Cleared,
    /// A person shelved the machine, or took it out of service.
    Suppressed {
        /// Which.
        suppression: SuppressionKind,
        /// When it ends by itself.
        until: Timestamp,
        /// It ends with the incident, where that is sooner.
        one_shot: bool,
        /// Who.
        by: String,
        /// Their reason.
        reason: String,
    },
    /// A page was decided, and kept from people.
    PageSuppressed {
        /// What it would have said.
        reason: PageReason,
        /// Its key.
        page_key: String,
    },
    /// People hear of the machine again.
    Restored {
        /// What is over.
        suppression: SuppressionKind,
        /// Who, or what: `time`, `incident` or `renewed`.
        by: String,
        /// The page that went out because what it says is still so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        released: Option<String>,
    },
    /// A person said something about the incident.
    Commented {
        /// Who.
        by: String,
        /// What.
        text: String,
    },
    /// Work was ordered in the maintenance system.
    WorkOrdered {
        /// Who did so.
        by: String,
        /// What the order is called there.
        reference: String,
        /// Their note.
        note: String,
    },
    /// Whoever had taken the incident handed it over.
    HandedOver {
        /// Who did so.
        by: String,
        /// Who has it now.
        to: String,
        /// Their note.
        note: String,
    },
}

/// A step with the rows it used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepEvent {
    /// Start of the step.
    pub step: Timestamp,
    /// The reading that arrived.
    pub sensor: SensorId,
    /// Its capture time.
    pub captured_at: Timestamp,
    /// The step's level; absent when unjudged.
    pub level: Option<f32>,
    /// Whose level it is.
    pub deciding_sensor: Option<SensorId>,
    /// Which detector decided.
    pub detector: Option<Detector>,
    /// Judged steps in the window.
    pub judged: u32,
    /// Those at or above the alert line.
    pub at_alert: u32,
    /// Those at or above the page line.
    pub at_page: u32,
    /// Quiet steps in a row towards clearing.
    pub quiet_run: u32,
    /// The threshold set whose persistence rules decided; none in a class without alarm limits, which has the default
    /// ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_set: Option<ThresholdSetId>,
}

impl StepEvent {
    /// The entry for a reading that was folded.
    pub fn new(
        sensor: SensorId,
        captured_at: Timestamp,
        window: &Window,
        threshold_set: Option<ThresholdSetId>,
    ) -> Self {
        let level = window.step.level;
        Self {
            step: window.step.start,
            sensor,
            captured_at,
            level: level.map(|l| l.level.0),
            deciding_sensor: level.map(|l| l.sensor),
            detector: level.map(|l| l.detector),
            judged: window.judged,
            at_alert: window.at_alert,
            at_page: window.at_page,
            quiet_run: window.quiet_run,
            threshold_set,
        }
    }
}

impl Event {
    /// The name in the journal's kind column.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Step(_) => "step",
            Self::Opened { .. } => "opened",
            Self::Escalated => "escalated",
            Self::ReAlarmed { .. } => "re_alarmed",
            Self::Acknowledged { .. } => "acknowledged",
            Self::Cleared => "cleared",
            Self::Suppressed { .. } => "suppressed",
            Self::PageSuppressed { .. } => "page_suppressed",
            Self::Restored { .. } => "restored",
            Self::Commented { .. } => "commented",
            Self::HandedOver { .. } => "handed_over",
            Self::WorkOrdered { .. } => "work_ordered",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_of_an_event_is_fixed() {
        let event = Event::Opened {
            severity: Severity::Page,
        };
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"kind":"opened","severity":"page"}"#
        );
        let step = Event::Step(StepEvent {
            step: Timestamp::from_micros(0),
            sensor: SensorId(3),
            captured_at: Timestamp::from_micros(4_000_000),
            level: Some(2.5),
            deciding_sensor: Some(SensorId(3)),
            detector: Some(Detector::Residual),
            judged: 8,
            at_alert: 6,
            at_page: 5,
            quiet_run: 0,
            threshold_set: Some(ThresholdSetId(1)),
        });
        let json = serde_json::to_string(&step).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), step);
        assert!(
            json.starts_with(r#"{"kind":"step","step":"1970-01-01T00:00:00Z","sensor":3"#),
            "{json}"
        );
    }
}
