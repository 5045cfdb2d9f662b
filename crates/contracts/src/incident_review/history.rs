//! What happened around an incident.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tocsin_domain::Timestamp;

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
