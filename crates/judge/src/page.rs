//! What a page says: the payload that is written in the transaction that decided it, and that every destination is
//! told from. It is complete, so that a page can be delivered when nothing else can be read any more.

use serde::{Deserialize, Serialize};
use tocsin_domain::{
    BaselineId, BundleDigest, Detector, FloodId, IncidentId, Level, PageAction, SensorId, Severity, Slug,
    SuppressionKind, ThresholdSetId, Timestamp,
};

use crate::Role;
use crate::flood::CommonCause;

/// What goes with every page: a score can say that a machine is unlike itself, not why.
pub const NOTICE: &str = "a high score is a correlation, not a diagnosis";

/// What happened to the incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageReason {
    /// It opened.
    Opened,
    /// It rose from alert to page level.
    Escalated,
    /// It was acknowledged, and its level rose by one since.
    LevelRose,
    /// It was acknowledged, and another sensor reached the page line since.
    AnotherSensor,
    /// It was acknowledged, and half of what stands out, or more, stands out in other bins since.
    OtherBins,
    /// It cleared.
    Cleared,
    /// Somebody took it.
    Acknowledged,
    /// It is the first of many that came at once.
    Flood,
    /// Those that came at once have stopped coming.
    FloodOver,
}

impl PageReason {
    /// What the receiver is to do.
    pub fn action(self) -> PageAction {
        match self {
            Self::Opened | Self::Escalated | Self::LevelRose | Self::AnotherSensor | Self::OtherBins | Self::Flood => {
                PageAction::Trigger
            }
            Self::Acknowledged => PageAction::Acknowledge,
            Self::Cleared | Self::FloodOver => PageAction::Resolve,
        }
    }

    /// Whether it says more of an incident that somebody had acknowledged.
    pub fn is_re_alarm(self) -> bool {
        matches!(self, Self::LevelRose | Self::AnotherSensor | Self::OtherBins)
    }

    /// The one-word form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Escalated => "escalated",
            Self::LevelRose => "level_rose",
            Self::AnotherSensor => "another_sensor",
            Self::OtherBins => "other_bins",
            Self::Cleared => "cleared",
            Self::Acknowledged => "acknowledged",
            Self::Flood => "flood",
            Self::FloodOver => "flood_over",
        }
    }
}

/// A bin that stands out in the deciding reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopBin {
    /// Its place in the spectrum.
    pub index: u16,
    /// Its centre, in `axis_unit`.
    pub centre: f64,
    /// `Hz` or `orders`.
    pub axis_unit: String,
    /// Its share, 0 to 1, of what the deciding detector saw: of the squared deviation from the sensor's baseline where that
    /// was growth, shift or narrowband, else of the squared error of the network.
    pub error_share: f32,
}

/// Bins that a page names where no more are needed to explain it.
pub const TOP_BINS: usize = 5;

/// What a detector said of the reading that a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DetectorLevel {
    /// The detector.
    pub detector: Detector,
    /// What its word counts for under the limits that judged.
    pub role: Role,
    /// Its level: 1 is its alert line, 2 its page line.
    pub level: f32,
}

/// The reading that a page shows, by what it is stored under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownReading {
    /// The number of its sensor.
    pub sensor_id: SensorId,
    /// When it was taken.
    pub captured_at: Timestamp,
}

/// The bins with the greatest values, greatest first, the lower bin of equals, each with its share of the sum: at most
/// `most`.
pub fn top_bins(bin_error: &[f32], most: usize) -> Vec<(usize, f32)> {
    let total: f32 = bin_error.iter().sum();
    if total <= 0.0 {
        return Vec::new();
    }
    let mut order: Vec<usize> = (0..bin_error.len()).collect();
    order.sort_by(|a, b| bin_error[*b].total_cmp(&bin_error[*a]));
    let top = order.into_iter().take(most);
    top.map(|bin| (bin, bin_error[bin] / total)).collect()
}

/// Which known line of a machine the bins that stand out could be: a hint, not a diagnosis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineHint {
    /// So many harmonics of this line stand out.
    Named {
        /// `shaft`, `FTF`, `BPFO`, `BPFI` or `BSF`.
        line: String,
        /// Of its first five.
        harmonics: u8,
    },
    /// The bins are too wide to tell the known lines apart.
    ResolutionTooLow,
    /// No known line has three harmonics that stand out.
    NoneMatches,
}

/// What kept a page from people when it was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptBy {
    /// The machine was shelved, or out of service.
    pub suppression: SuppressionKind,
    /// Who had it so.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
}

/// What a page about a flood says beside its first incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FloodNote {
    /// The flood.
    pub flood_id: FloodId,
    /// How many incidents were in it when the page was written.
    pub incidents: u32,
    /// Their machines, `site/machine`, those that joined first; at most fifty.
    pub machines: Vec<String>,
    /// What most of them have in common.
    pub common: CommonCause,
    /// The median of their levels.
    pub median_level: f32,
}

/// A page about an incident, as the outbox keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PagePayload {
    /// The incident.
    pub incident_id: IncidentId,
    /// The site's name.
    pub site: Slug,
    /// The machine's name in its site.
    pub machine: Slug,
    /// The machine's class.
    pub class: Slug,
    /// How bad the incident is.
    pub severity: Severity,
    /// Start of the step the incident opened with.
    pub opened_at: Timestamp,
    /// What happened.
    pub reason: PageReason,
    /// Start of the step that decided; of the newest one when a person acted.
    pub step: Timestamp,
    /// Name of the sensor that decided, on the machine.
    pub deciding_sensor: Slug,
    /// The detector that decided.
    pub deciding_detector: Detector,
    /// The step's level: 1 is the alert line, 2 the page line.
    pub level: f32,
    /// The reading shown, of the deciding sensor; none where none is at hand, and in what says that it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<ShownReading>,
    /// The bins that stand out, most first; empty when none are known, as without the network.
    pub top_bins: Vec<TopBin>,
    /// With every one of `top_bins` at its baseline the reading would be below the page line, by every member of the limits.
    /// False where they are not enough, and of a detector without bins of its own, which sees the spectrum as a whole.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub top_bins_decide: bool,
    /// What each detector said of the reading shown, the highest level first; empty when that is not at hand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detectors: Vec<DetectorLevel>,
    /// Which known line the bins could be; none where nothing is known of any, as without a speed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_hint: Option<LineHint>,
    /// The threshold set that judged; none in a class without alarm limits, where severity alone judges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_set_id: Option<ThresholdSetId>,
    /// The model version that judged, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_digest: Option<BundleDigest>,
    /// The baseline that the deciding sensor was held against, when it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_id: Option<BaselineId>,
    /// Came from a stream whose clock is the capture time.
    pub replay: bool,
    /// How late the page is, when a spool was catching up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delayed_by_ms: Option<u64>,
    /// Since when the machine has been above the alert line: from the first of the steps that led up to the incident. Of
    /// what calls somebody alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above_alert_since: Option<Timestamp>,
    /// How much the level rose in the last 24 hours, or how fast since the beginning where that is later, in levels per 24
    /// hours; none of less than an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub growth_per_day: Option<f32>,
    /// What kept it from people until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_by: Option<KeptBy>,
    /// It is about a flood, of which the incident is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flood: Option<FloodNote>,
    /// One key for everything about the incident, or the flood, for receivers that group.
    pub dedup_key: String,
}

impl PagePayload {
    /// The zone of ISO 20816 in which the overall levels of the reading shown stand, where its class has zones: `D`, `C`, or
    /// `A or B`.
    pub fn severity_zone(&self) -> Option<&'static str> {
        let said = self.detectors.iter().find(|said| said.detector == Detector::Severity)?;
        Some(match said.level {
            level if level >= Level::PAGE.0 => "D",
            level if level >= Level::ALERT.0 => "C",
            _ => "A or B",
        })
    }
}

/// The key under which everything about a flood can be grouped.
pub fn flood_key(flood: FloodId) -> String {
    format!("tocsin-flood-{flood}")
}

/// The key of the page about a flood: the same on every repeat, and another for each recipient's flood.
pub fn flood_page_key(flood: FloodId) -> String {
    format!("{}-{}", flood_key(flood), PageReason::Flood.as_str())
}

/// The key under which everything about an incident can be grouped.
pub fn dedup_key(incident: IncidentId) -> String {
    format!("tocsin-incident-{incident}")
}

/// The key of the page that says of an incident, for a reason, what began with a step: the same on every repeat.
pub fn page_key(incident: IncidentId, reason: PageReason, step: Timestamp) -> String {
    let step_ms = step.as_micros().div_euclid(1_000);
    format!("{}-{}-{step_ms}", dedup_key(incident), reason.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_of_a_payload_is_fixed() {
        let payload = PagePayload {
            incident_id: IncidentId(7),
            site: Slug::parse("site", "lisbon").unwrap(),
            machine: Slug::parse("machine", "cnc-1").unwrap(),
            class: Slug::parse("class", "cnc").unwrap(),
            severity: Severity::Page,
            opened_at: Timestamp::from_micros(0),
            reason: PageReason::Escalated,
            step: Timestamp::from_micros(10_000_000),
            deciding_sensor: Slug::parse("sensor", "spindle").unwrap(),
            deciding_detector: Detector::OverallLevel,
            level: 2.5,
            top_bins: vec![TopBin {
                index: 3,
                centre: 700.0,
                axis_unit: "Hz".into(),
                error_share: 0.5,
            }],
            top_bins_decide: false,
            detectors: Vec::new(),
            threshold_set_id: Some(ThresholdSetId(2)),
            bundle_digest: Some(BundleDigest([1; 32])),
            baseline_id: None,
            replay: false,
            delayed_by_ms: None,
            growth_per_day: None,
            above_alert_since: None,
            shown: None,
            line_hint: None,
            kept_by: None,
            flood: None,
            dedup_key: dedup_key(IncidentId(7)),
        };
        let json = serde_json::to_string(&payload).unwrap();
        let digest = "01".repeat(32);
        let expected = format!(
            concat!(
                r#"{{"incident_id":7,"site":"lisbon","machine":"cnc-1","class":"cnc","severity":"page","#,
                r#""opened_at":"1970-01-01T00:00:00Z","reason":"escalated","step":"1970-01-01T00:00:10Z","#,
                r#""deciding_sensor":"spindle","deciding_detector":"overall_level","level":2.5,"#,
                r#""top_bins":[{{"index":3,"centre":700.0,"axis_unit":"Hz","error_share":0.5}}],"#,
                r#""threshold_set_id":2,"bundle_digest":"{}","replay":false,"dedup_key":"tocsin-incident-7"}}"#
            ),
            digest
        );
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<PagePayload>(&json).unwrap(), payload);
        let against = PagePayload {
            baseline_id: Some(BaselineId(9)),
            ..payload
        };
        let json = serde_json::to_string(&against).unwrap();
        assert!(json.contains(r#""baseline_id":9,"replay""#), "{json}");
        let said = |detector, level| DetectorLevel {
            detector,
            role: Role::Page,
            level,
        };
        let told = PagePayload {
            top_bins_decide: true,
            detectors: vec![said(Detector::Growth, 2.5), said(Detector::Severity, 1.5)],
            ..against
        };
        let json = serde_json::to_string(&told).unwrap();
        let expected = r#""top_bins_decide":true,"detectors":[{"detector":"growth","role":"page","level":2.5},"#;
        assert!(json.contains(expected), "{json}");
        assert_eq!(serde_json::from_str::<PagePayload>(&json).unwrap(), told);
        assert_eq!(told.severity_zone(), Some("C"));
    }

    #[test]
    fn an_incident_has_one_page_key_per_reason_and_step_under_one_key() {
        let key = |reason, second: i64| page_key(IncidentId(7), reason, Timestamp::from_micros(second * 1_000_000));
        assert_eq!(key(PageReason::Opened, 10), "tocsin-incident-7-opened-10000");
        assert_ne!(key(PageReason::LevelRose, 10), key(PageReason::LevelRose, 20));
        assert_ne!(key(PageReason::LevelRose, 10), key(PageReason::OtherBins, 10));
        assert!(key(PageReason::Opened, 10).starts_with(&dedup_key(IncidentId(7))));
        assert_eq!(PageReason::Escalated.action(), PageAction::Trigger);
    }
}
