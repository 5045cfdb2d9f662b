//! The life of an incident, in the words of ISA-18.2 and OPC UA Part 9.
//!
//! **Invariant:** at most one incident is open per machine. A transition consumes the state; one that is not legal says
//! so instead of happening.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Invalid, Timestamp};

/// How bad an incident has been; it only rises while the incident is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth a look: API 670 alert.
    Alert,
    /// Worth waking somebody: API 670 danger.
    Page,
}

impl Severity {
    /// The number kept in rows.
    pub fn to_code(self) -> i16 {
        match self {
            Self::Alert => 1,
            Self::Page => 2,
        }
    }

    /// Reads the number kept in rows.
    pub fn from_code(code: i16) -> Result<Self, Invalid> {
        match code {
            1 => Ok(Self::Alert),
            2 => Ok(Self::Page),
            _ => Err(Invalid::new("severity", format!("{code} is not a severity code"))),
        }
    }

    /// The one-word form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Page => "page",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an incident stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum IncidentState {
    /// The condition holds and nobody has taken it.
    ActiveUnacknowledged,
    /// The condition holds and somebody has taken it.
    ActiveAcknowledged {
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// The condition cleared before anybody took it: closed for paging, still unseen.
    ReturnedUnacknowledged {
        /// When it cleared.
        at: Timestamp,
    },
    /// Cleared and seen.
    Normal {
        /// When it cleared.
        at: Timestamp,
        /// Who acknowledged it.
        by: String,
    },
}

/// A transition that the state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject} that is {from} can't be {transition}")]
pub struct InvalidTransition {
    /// What it was asked of, with its article.
    pub subject: &'static str,
    /// The state it was in.
    pub from: &'static str,
    /// What was asked of it.
    pub transition: &'static str,
}

impl IncidentState {
    /// The condition still holds.
    pub fn is_active(&self) -> bool {
        matches!(self, Self::ActiveUnacknowledged | Self::ActiveAcknowledged { .. })
    }

    /// Somebody takes it.
    pub fn acknowledge(self, by: String, now: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::ActiveUnacknowledged => Ok(Self::ActiveAcknowledged { by, at: now }),
            Self::ReturnedUnacknowledged { at } => Ok(Self::Normal { at, by }),
            other => Err(InvalidTransition {
                subject: "an incident",
                from: other.as_str(),
                transition: "acknowledged",
            }),
        }
    }

    /// Something new is to be said of what somebody had taken.
    pub fn re_alarm(self) -> Result<Self, InvalidTransition> {
        match self {
            Self::ActiveAcknowledged { .. } => Ok(Self::ActiveUnacknowledged),
            other => Err(InvalidTransition {
                subject: "an incident",
                from: other.as_str(),
                transition: "paged again",
            }),
        }
    }

    /// Whoever had taken it hands it over to `to`.
    pub fn hand_over(self, to: String, now: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::ActiveAcknowledged { .. } => Ok(Self::ActiveAcknowledged { by: to, at: now }),
            other => Err(InvalidTransition {
                subject: "an incident",
                from: other.as_str(),
                transition: "handed over",
            }),
        }
    }

    /// The condition no longer holds.
    pub fn clear(self, now: Timestamp) -> Result<Self, InvalidTransition> {
        match self {
            Self::ActiveUnacknowledged => Ok(Self::ReturnedUnacknowledged { at: now }),
            Self::ActiveAcknowledged { by, .. } => Ok(Self::Normal { at: now, by }),
            other => Err(InvalidTransition {
                subject: "an incident",
                from: other.as_str(),
                transition: "cleared",
            }),
        }
    }

    /// The name of the state.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::ActiveUnacknowledged => "active_unacknowledged",
            Self::ActiveAcknowledged { .. } => "active_acknowledged",
            Self::ReturnedUnacknowledged { .. } => "returned_unacknowledged",
            Self::Normal { .. } => "normal",
        }
    }
}

/// What a page tells its receiver to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageAction {
    /// Start, or raise, an alarm.
    Trigger,
    /// Somebody took it.
    Acknowledge,
    /// The condition has gone.
    Resolve,
}

impl PageAction {
    /// The name in rows and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Acknowledge => "acknowledge",
            Self::Resolve => "resolve",
        }
    }

    /// Reads the name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "trigger" => Ok(Self::Trigger),
            "acknowledge" => Ok(Self::Acknowledge),
            "resolve" => Ok(Self::Resolve),
            _ => Err(Invalid::new("action", format!("{text:?} is not a page action"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::MIN;

    #[test]
    fn what_a_page_asks_for_survives_its_name() {
        for action in [PageAction::Trigger, PageAction::Acknowledge, PageAction::Resolve] {
            assert_eq!(PageAction::parse(action.as_str()).unwrap(), action);
        }
        assert_eq!(PageAction::parse("shelve").unwrap_err().field, "action");
    }

    #[test]
    fn an_incident_walks_only_the_legal_paths() {
        let taken = IncidentState::ActiveUnacknowledged
            .acknowledge("ana".into(), NOW)
            .unwrap();
        assert!(taken.is_active());
        assert_eq!(
            taken.clone().acknowledge("bo".into(), NOW).unwrap_err().from,
            "active_acknowledged"
        );
        assert_eq!(
            taken.clear(NOW).unwrap(),
            IncidentState::Normal {
                at: NOW,
                by: "ana".into()
            }
        );

        let taken = IncidentState::ActiveUnacknowledged
            .acknowledge("ana".into(), NOW)
            .unwrap();
        let handed = taken.hand_over("bo".into(), NOW).unwrap();
        assert!(matches!(&handed, IncidentState::ActiveAcknowledged { by, .. } if by == "bo"));
        let again = handed.re_alarm().unwrap();
        assert_eq!(
            again.clone().hand_over("ana".into(), NOW).unwrap_err().to_string(),
            "an incident that is active_unacknowledged can't be handed over"
        );
        assert_eq!(again, IncidentState::ActiveUnacknowledged);
        assert_eq!(again.re_alarm().unwrap_err().transition, "paged again");

        let returned = IncidentState::ActiveUnacknowledged.clear(NOW).unwrap();
        assert_eq!(returned.clone().clear(NOW).unwrap_err().transition, "cleared");
        let seen = returned.acknowledge("bo".into(), NOW).unwrap();
        assert!(!seen.is_active());
        assert!(seen.clone().clear(NOW).is_err() && seen.acknowledge("bo".into(), NOW).is_err());
    }
}
