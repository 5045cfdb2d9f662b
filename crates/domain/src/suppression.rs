//! What keeps a machine's pages from people for a time: shelved by an operator, or out of service for maintenance, in the
//! words of ISA-18.2. A machine that stands still needs neither: its readings are unjudged, which ISA-18.2 calls suppressed
//! by design.
//!
//! **Invariant:** at most one suppression is in force per machine, and each ends by itself: a silence that was forgotten
//! is over when its time is.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Invalid, SuppressionId, Timestamp, incident::InvalidTransition};

/// Why a machine's pages are kept from people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuppressionKind {
    /// An operator does not want to hear of it for a while.
    Shelved,
    /// The machine is being worked on: its readings say nothing about its health either.
    OutOfService,
}

impl SuppressionKind {
    /// The name in rows, messages and on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shelved => "shelved",
            Self::OutOfService => "out_of_service",
        }
    }

    /// Reads the name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "shelved" => Ok(Self::Shelved),
            "out_of_service" => Ok(Self::OutOfService),
            _ => Err(Invalid::new(
                "kind",
                format!("{text:?} is not a kind of suppression: shelved or out_of_service"),
            )),
        }
    }
}

impl fmt::Display for SuppressionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shelved => "shelved",
            Self::OutOfService => "out of service",
        })
    }
}

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuppressionOrder {
    /// Why.
    pub kind: SuppressionKind,
    /// When it began.
    pub from: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
    /// It ends with the incident that is open, or else with the next, where that is sooner.
    pub one_shot: bool,
    /// Who.
    pub by: String,
    /// Their reason.
    pub reason: String,
}

impl SuppressionOrder {
    /// The longest a machine can be out of service at once.
    pub const LONGEST_OUT_OF_SERVICE: Duration = Duration::from_hours(24 * 366);

    /// Checks how long it lasts against the longest time the site lets a machine be shelved, and that it has a reason.
    ///
    /// # Errors
    /// Names `for_s`, `one_shot` or `reason`.
    pub fn parse(self, longest_shelf: Duration) -> Result<Self, Invalid> {
        let asked = self.until.since(self.from);
        let (longest, whose) = match self.kind {
            SuppressionKind::Shelved => (longest_shelf, "of this site"),
            SuppressionKind::OutOfService => (Self::LONGEST_OUT_OF_SERVICE, "there is"),
        };
        if asked.is_zero() || asked > longest {
            let (asked_s, longest_s) = (asked.as_secs(), longest.as_secs());
            let reason = format!("{asked_s} s is not between 1 s and {longest_s} s, the longest {whose}");
            return Err(Invalid::new("for_s", reason));
        }
        if self.one_shot && self.kind == SuppressionKind::OutOfService {
            return Err(Invalid::new(
                "one_shot",
                "only a shelved machine can come back with its incident",
            ));
        }
        if self.reason.is_empty() {
            return Err(Invalid::new(
                "reason",
                "is missing: whoever asks why nobody was paged reads it",
            ));
        }
        Ok(self)
    }
}

/// A suppression in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Its number.
    pub id: SuppressionId,
    /// What was asked for.
    pub order: SuppressionOrder,
}

/// Whether people hear of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// They do.
    InService,
    /// They don't, for a time.
    Suppressed(Suppression),
}

impl Service {
    /// Whether `order` may come into force. A shelf may be renewed, and become an outage; a machine that is out of
    /// service is nobody's to shelve.
    ///
    /// # Errors
    /// If it may not.
    pub fn suppress(&self, order: &SuppressionOrder) -> Result<(), InvalidTransition> {
        match self {
            Self::Suppressed(present)
                if present.order.kind == SuppressionKind::OutOfService && order.kind == SuppressionKind::Shelved =>
            {
                Err(InvalidTransition {
                    subject: "a machine",
                    from: SuppressionKind::OutOfService.as_str(),
                    transition: SuppressionKind::Shelved.as_str(),
                })
            }
            Self::InService | Self::Suppressed(_) => Ok(()),
        }
    }

    /// The machine is back; answers with the suppression that is over.
    ///
    /// # Errors
    /// If it was in service.
    pub fn restore(self) -> Result<Suppression, InvalidTransition> {
        match self {
            Self::Suppressed(suppression) => Ok(suppression),
            Self::InService => Err(InvalidTransition {
                subject: "a machine",
                from: "in service",
                transition: "returned to service",
            }),
        }
    }

    /// The suppression whose time is over.
    pub fn overdue(&self, now: Timestamp) -> Option<&Suppression> {
        match self {
            Self::Suppressed(suppression) if suppression.order.until <= now => Some(suppression),
            Self::InService | Self::Suppressed(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn order(kind: SuppressionKind, lasting: Duration) -> SuppressionOrder {
        let from = Timestamp::from_micros(0);
        SuppressionOrder {
            kind,
            from,
            until: from + lasting,
            one_shot: false,
            by: "ana".into(),
            reason: "bearing ordered".into(),
        }
    }

    fn suppressed(kind: SuppressionKind) -> Service {
        Service::Suppressed(Suppression {
            id: SuppressionId(1),
            order: order(kind, DAY),
        })
    }

    #[test]
    fn a_shelf_ends_within_the_sites_longest_time_and_has_a_reason() {
        use SuppressionKind::{OutOfService, Shelved};
        assert!(order(Shelved, DAY).parse(DAY).is_ok());
        assert_eq!(order(Shelved, DAY * 2).parse(DAY).unwrap_err().field, "for_s");
        assert_eq!(order(Shelved, Duration::ZERO).parse(DAY).unwrap_err().field, "for_s");
        assert!(order(OutOfService, DAY * 30).parse(DAY).is_ok());
        assert_eq!(order(OutOfService, DAY * 400).parse(DAY).unwrap_err().field, "for_s");
        let silent = SuppressionOrder {
            reason: String::new(),
            ..order(Shelved, DAY)
        };
        assert_eq!(silent.parse(DAY).unwrap_err().field, "reason");
        let one_shot = SuppressionOrder {
            one_shot: true,
            ..order(OutOfService, DAY)
        };
        assert_eq!(one_shot.parse(DAY).unwrap_err().field, "one_shot");
    }

    #[test]
    fn a_machine_out_of_service_is_not_shelved_and_one_in_service_does_not_return() {
        use SuppressionKind::{OutOfService, Shelved};
        let shelf = order(Shelved, DAY);
        assert!(Service::InService.suppress(&shelf).is_ok() && suppressed(Shelved).suppress(&shelf).is_ok());
        assert!(suppressed(Shelved).suppress(&order(OutOfService, DAY)).is_ok());
        assert_eq!(
            suppressed(OutOfService).suppress(&shelf).unwrap_err().from,
            "out_of_service"
        );
        assert_eq!(
            Service::InService.restore().unwrap_err().to_string(),
            "a machine that is in service can't be returned to service"
        );
        assert_eq!(suppressed(Shelved).restore().unwrap().id, SuppressionId(1));
    }

    #[test]
    fn a_suppression_is_overdue_when_its_time_is_over() {
        let service = suppressed(SuppressionKind::Shelved);
        let end = Timestamp::from_micros(0) + DAY;
        assert!(service.overdue(end - Duration::from_secs(1)).is_none() && service.overdue(end).is_some());
        assert!(Service::InService.overdue(end).is_none());
    }
}
