//! An incident's review as a document: what its JSON export holds, word for word, and what the other exports are made from.
//!
//! The document travels as text, in `IncidentReview.content_json`, for a final one is known by the digest of its bytes.
//!
//! **Invariant:** a document that was written is read back to the same bits by every later version; what is added to it has a
//! default.

mod history;
mod spectra;

use serde::{Deserialize, Serialize};
use tocsin_domain::Timestamp;

pub use history::{Attempt, Change, Event, Gap, Label, Page, Suppression, WorkOrder};
pub use spectra::{Against, Capture, PeerPoint, Peers, Rebuilding, Rebuilt, Spectra, WorstPeer};

/// What the field `format` says.
pub const FORMAT: &str = "tocsin-incident-review-1";

/// The whole review.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// [`FORMAT`].
    pub format: String,
    /// What people wrote.
    pub review: Text,
    /// The incident.
    pub incident: Facts,
    /// The time that is looked at, and how much of what was read in it is here.
    pub window: Window,
    /// The machine's sensors.
    pub sensors: Vec<Sensor>,
    /// What judged the class changed, in the window.
    pub changes: Vec<Change>,
    /// Times without readings, in the window.
    pub gaps: Vec<Gap>,
    /// The machine's journal while the incident was open: all that happened, and its newest steps.
    pub journal: Vec<Event>,
    /// Steps of the incident before those in the journal.
    pub earlier_steps: u64,
    /// The pages about it.
    pub pages: Vec<Page>,
    /// Times in which the machine's pages were kept from people, that meet the window.
    pub suppressions: Vec<Suppression>,
    /// What was said of it, newest first.
    pub labels: Vec<Label>,
    /// Its work order in the maintenance system.
    pub work_order: Option<WorkOrder>,
    /// Spectra of the sensor that decided; none where none are kept.
    pub spectra: Option<Spectra>,
    /// The other machines of its class on its site.
    pub peers: Peers,
}

/// Where a review stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nobody has begun one.
    #[default]
    None,
    /// It is being written.
    Draft,
    /// It never changes again.
    Final,
}

impl State {
    /// The name in messages and on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Draft => "draft",
            Self::Final => "final",
        }
    }
}

/// What people wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// From 1; 0 while nobody has begun.
    pub version: u32,
    /// Where it stands.
    pub state: State,
    /// What was found.
    pub findings: String,
    /// What follows from it.
    pub conclusion: String,
    /// Why the version before this one was corrected; empty for the first.
    pub correction: String,
    /// Who wrote it last.
    pub saved_by: Option<String>,
    /// And when.
    pub saved_at: Option<Timestamp>,
    /// Who made it final.
    pub finalised_by: Option<String>,
    /// And when: all that follows is as it was known then.
    pub finalised_at: Option<Timestamp>,
    /// Why that was done while the incident was open; empty when it was over.
    pub open_because: String,
}

/// The incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Its number.
    pub incident_id: i64,
    /// The site.
    pub site: String,
    /// IANA time zone of the site.
    pub time_zone: String,
    /// The machine.
    pub machine: String,
    /// The machine's class.
    pub class: String,
    /// `alert` or `page`: the worst it has been.
    pub severity: String,
    /// `active_unacknowledged`, `active_acknowledged`, `returned_unacknowledged` or `normal`.
    pub state: String,
    /// Start of the step it opened with.
    pub opened_at: Timestamp,
    /// When it first reached page level.
    pub paged_at: Option<Timestamp>,
    /// When it was over.
    pub closed_at: Option<Timestamp>,
    /// Who took it.
    pub acknowledged_by: Option<String>,
    /// And when.
    pub acknowledged_at: Option<Timestamp>,
    /// The sensor that decided the step it opened with.
    pub deciding_sensor: String,
    /// The detector that decided it.
    pub deciding_detector: String,
    /// The highest level any step of it had.
    pub peak_level: f32,
    /// The limits it opened under; none in a class that severity alone judged.
    pub threshold_set_id: Option<i32>,
    /// The bundle it opened under.
    pub bundle_id: Option<i32>,
    /// Came from a stream whose clock is the capture time.
    pub replay: bool,
    /// The incident that the machine had before.
    pub previous_incident_id: Option<i64>,
}

/// The time that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// From this capture time on.
    pub from: Timestamp,
    /// Up to but without this one.
    pub to: Timestamp,
    /// Readings of the machine in it.
    pub readings: u64,
    /// Those of them that are here: of each of [`Window::intervals`] equal intervals and each sensor the one with the highest
    /// level.
    pub kept: u64,
    /// How many intervals there are.
    pub intervals: u32,
}

/// A sensor's readings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sensor {
    /// Its name.
    pub sensor: String,
    /// In order of capture.
    pub readings: Vec<Reading>,
}

/// When, seen from the incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It had not opened.
    Before,
    /// It was open.
    During,
    /// It was over.
    After,
}

impl Phase {
    /// The name in exports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::During => "during",
            Self::After => "after",
        }
    }
}

/// A reading as it was judged: 1 is the alert line, 2 the page line, whatever limits were in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// When it was taken.
    pub captured_at: Timestamp,
    /// When it came in.
    pub received_at: Timestamp,
    /// When, seen from the incident.
    pub phase: Phase,
    /// `normal`, `alert`, `page` or `unjudged`.
    pub verdict: String,
    /// The deciding detector, or the reason it was not judged.
    pub decided_by: String,
    /// The deciding level; none when it was not judged.
    pub level: Option<f32>,
    /// The limits that judged it; none where there were none.
    pub threshold_set_id: Option<i32>,
    /// The bundle that judged it.
    pub bundle_id: Option<i32>,
    /// The baseline it was held against.
    pub baseline_id: Option<i32>,
    /// Judged by the lines for "without the network".
    pub degraded: bool,
    /// `known`, `unseen`, `transient` or `stopped`.
    pub condition: String,
    /// Each detector that scored.
    pub detectors: Vec<DetectorLevel>,
}

/// What a detector said of a reading, with its lines then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetectorLevel {
    /// Its name.
    pub detector: String,
    /// The stored score.
    pub score: f32,
    /// Its level.
    pub level: f32,
    /// The score at level 1.
    pub alert_line: f32,
    /// The score at level 2.
    pub page_line: f32,
    /// `page`, `alert`, `corroborate` or `evidence`.
    pub role: String,
}

impl Document {
    /// The text that a final review's digest is of: JSON, compact, in the order of the fields here.
    ///
    /// # Panics
    /// Never: all of it has a JSON form.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a document has a JSON form")
    }

    /// Reads that text.
    ///
    /// # Errors
    /// If it is none.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// When a time is, seen from the incident.
    pub fn phase(&self, at: Timestamp) -> Phase {
        Phase::of(at, self.incident.opened_at, self.incident.closed_at)
    }

    /// The label that holds, if it was not taken back.
    pub fn label(&self) -> Option<&Label> {
        self.labels
            .iter()
            .find(|label| label.in_force && label.label != "withdrawn")
    }
}

impl Phase {
    /// When a time is, seen from what opened and closed then.
    pub fn of(at: Timestamp, opened_at: Timestamp, closed_at: Option<Timestamp>) -> Self {
        if at < opened_at {
            Self::Before
        } else if closed_at.is_some_and(|closed_at| at > closed_at) {
            Self::After
        } else {
            Self::During
        }
    }
}
