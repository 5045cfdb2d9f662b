//! What people found: the words for what a machine had in a time that was looked into.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// What a person says of an incident, or of a window of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// The machine was failing, as was said.
    TrueFailure,
    /// The machine was failing, and nothing was said.
    MissedFailure,
    /// The machine was well.
    FalseAlarm,
    /// The sensor, its mounting or its cable was at fault.
    SensorFault,
    /// The machine was well and did other work.
    ProcessChange,
    /// Takes back what was said of the window before.
    Withdrawn,
}

impl Label {
    /// All there are.
    pub const ALL: [Self; 6] = [
        Self::TrueFailure,
        Self::MissedFailure,
        Self::FalseAlarm,
        Self::SensorFault,
        Self::ProcessChange,
        Self::Withdrawn,
    ];

    /// The name in rows and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TrueFailure => "true_failure",
            Self::MissedFailure => "missed_failure",
            Self::FalseAlarm => "false_alarm",
            Self::SensorFault => "sensor_fault",
            Self::ProcessChange => "process_change",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Reads the name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|label| label.as_str() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Invalid::new("label", format!("{text:?} is not one of {names}"))
        })
    }

    /// Whether the machine was failing.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::TrueFailure | Self::MissedFailure)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_back_and_one_that_is_none_is_told_which_there_are() {
        for label in Label::ALL {
            assert_eq!(Label::parse(label.as_str()), Ok(label));
        }
        let wrong = Label::parse("broken").unwrap_err();
        assert!(wrong.reason.contains("true_failure, missed_failure"), "{wrong}");
        assert!(Label::MissedFailure.is_failure() && !Label::SensorFault.is_failure());
    }
}
