//! An incident's review as a document: what its JSON export holds, word for word, and what the other exports are made from.
//!
//! The document travels as text, in `IncidentReview.content_json`, for a final one is known by the digest of its bytes.
//!
//! **Invariant:** a document that was written is read back to the same bits by every later version; what is added to it has a
//! default.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tocsin_domain::Timestamp;

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

/// Another threshold set, or another model, came into force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// `threshold_set` or `bundle`.
    pub kind: String,
    /// The number of what was in force before.
    pub from: Option<i32>,
    /// The number of what is since.
    pub to: Option<i32>,
    /// Who changed it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A time without readings of a sensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The sensor.
    pub sensor: String,
    /// The last reading before it.
    pub from: Timestamp,
    /// The first after it.
    pub to: Timestamp,
}

/// An entry of the machine's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the journal.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Such as `opened`, `acknowledged` or `commented`.
    pub kind: String,
    /// The entry.
    pub payload: Value,
}

/// A page, and every attempt to deliver it to one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Stable over every repeat.
    pub page_key: String,
    /// When it was decided.
    pub created_at: Timestamp,
    /// `trigger`, `acknowledge` or `resolve`.
    pub action: String,
    /// To whom; none when no destination was owed it.
    pub destination: Option<String>,
    /// `waiting`, `delivered`, `dead`, `joined` or `unsent`.
    pub state: String,
    /// In order.
    pub attempts: Vec<Attempt>,
}

/// An attempt to deliver a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it ended.
    pub at: Timestamp,
    /// `delivered`, `refused` or `unknown`.
    pub outcome: String,
    /// The receiver's answer, or the error.
    pub answer: String,
}

/// A time in which the machine's pages were kept from people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// `shelved` or `out_of_service`.
    pub kind: String,
    /// When it began.
    pub from: Timestamp,
    /// When it would have ended by itself.
    pub until: Timestamp,
    /// When it ended; none while it is in force.
    pub ended_at: Option<Timestamp>,
    /// Who or what ended it.
    pub ended_by: Option<String>,
    /// Who began it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What a person found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Such as `true_failure` or `false_alarm`.
    pub label: String,
    /// How it failed; empty when that was not said.
    pub mode: String,
    /// A note.
    pub note: String,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// No later label stands for it.
    pub in_force: bool,
}

/// A work order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkOrder {
    /// What it is called in the maintenance system.
    pub reference: String,
    /// Where it can be looked at.
    pub url: Option<String>,
    /// When it was ordered.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
}

/// What the deviations of bins are deviations from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// The sensor's own baseline, in the scales of each bin.
    Baseline,
    /// What the model makes of the reading: the root of each bin's squared error in the model's space, with its sign.
    Reconstruction,
    /// Neither is there.
    Nothing,
}

/// Spectra of one sensor over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spectra {
    /// The sensor.
    pub sensor: String,
    /// `Hz` or `orders`.
    pub axis_unit: String,
    /// Unit of the amplitudes.
    pub amplitude_unit: String,
    /// Centre of each bin, in the axis's unit.
    pub bin_centre: Vec<f64>,
    /// What the deviations are from.
    pub against: Against,
    /// Readings that were chosen, and whose spectra the archive has thinned away.
    pub not_kept: u32,
    /// In order of capture, chosen among the sensor's readings above.
    pub captures: Vec<Capture>,
}

/// One spectrum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    /// When it was taken.
    pub captured_at: Timestamp,
    /// When, seen from the incident.
    pub phase: Phase,
    /// The reading's level.
    pub level: Option<f32>,
    /// Shaft speed.
    pub rpm: Option<f32>,
    /// Load.
    pub load: Option<f32>,
    /// Amplitude of each bin.
    pub observed: Vec<f32>,
    /// What its baseline expects of each bin in its condition; empty without a baseline.
    pub baseline: Vec<f32>,
    /// What the model makes of it; empty where no scorer answered.
    pub reconstructed: Vec<f32>,
    /// How far each bin is from what [`Spectra::against`] says; empty where that is not there.
    pub deviation: Vec<f32>,
}

/// The other machines of the class on the site, at the same time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Peers {
    /// How many there are.
    pub machines: u32,
    /// The first reading of each sensor in each of some intervals; a machine has the highest level of its sensors.
    pub points: Vec<PeerPoint>,
    /// Those that were highest, highest first.
    pub worst: Vec<WorstPeer>,
}

/// The class in one interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerPoint {
    /// The start of the interval.
    pub at: Timestamp,
    /// The incident's machine, looked at in the same way; none without a judged reading.
    pub own: Option<f32>,
    /// Machines with a judged reading in it, the incident's not among them.
    pub machines: u32,
    /// The tenth percentile of their levels.
    pub low: Option<f32>,
    /// Their median.
    pub median: Option<f32>,
    /// The ninetieth percentile.
    pub high: Option<f32>,
}

/// A peer that was high.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorstPeer {
    /// The machine.
    pub machine: String,
    /// Its highest level.
    pub level: f32,
    /// When.
    pub at: Timestamp,
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
