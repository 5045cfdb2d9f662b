//! What a machine was doing when a reading was taken, as far as judging it goes.

use serde::{Deserialize, Serialize};

use crate::{Condition, Invalid};

/// How a reading's operating condition stands to those its sensor is known in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperatingState {
    /// Among those it was commissioned in; or nobody knows any, and then one is as good as another.
    Known,
    /// Outside of them: what the baseline says there is extrapolated, so the reading may alert and no more.
    Unseen,
    /// Between two conditions: the reading is not judged.
    Transient,
    /// The shaft stands still: the reading is not judged.
    Stopped,
}

/// What whoever sends a reading says its machine was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeclaredState {
    /// It ran steadily.
    Running,
    /// It stood still.
    Stopped,
    /// It ran up, ran down or changed its load.
    Transient,
}

impl DeclaredState {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Running, Self::Stopped, Self::Transient];

    /// Reads `running`, `stopped` or `transient`.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        match text {
            "running" => Ok(Self::Running),
            "stopped" => Ok(Self::Stopped),
            "transient" => Ok(Self::Transient),
            _ => Err(Invalid::new(
                field,
                format!("{text:?} is not running, stopped or transient"),
            )),
        }
    }
}

impl OperatingState {
    /// The condition cell of a row.
    pub fn to_cell(self) -> i16 {
        match self {
            Self::Known => 0,
            Self::Unseen => 1,
            Self::Transient => 2,
            Self::Stopped => 3,
        }
    }

    /// From the cell of a row and its condition: rows of before the cells were told have none but 0, and say by their speed
    /// that a shaft stood still.
    pub fn from_row(cell: i16, condition: Condition) -> Result<Self, Invalid> {
        match cell {
            _ if condition.is_stopped() => Ok(Self::Stopped),
            0 => Ok(Self::Known),
            1 => Ok(Self::Unseen),
            2 => Ok(Self::Transient),
            3 => Ok(Self::Stopped),
            other => Err(Invalid::new("condition_cell", format!("{other} is none that is known"))),
        }
    }
}

impl From<Condition> for OperatingState {
    /// Where nothing is known of the conditions a sensor was commissioned in.
    fn from(condition: Condition) -> Self {
        match condition.state {
            _ if condition.is_stopped() => Self::Stopped,
            Some(DeclaredState::Transient) => Self::Transient,
            _ => Self::Known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_comes_back_as_the_state_it_was() {
        let running = Condition::default();
        for state in [
            OperatingState::Known,
            OperatingState::Unseen,
            OperatingState::Transient,
            OperatingState::Stopped,
        ] {
            assert_eq!(OperatingState::from_row(state.to_cell(), running), Ok(state));
        }
        assert_eq!(
            OperatingState::from_row(4, running).unwrap_err().field,
            "condition_cell"
        );
    }

    #[test]
    fn what_is_said_of_a_machine_goes_before_what_its_numbers_leave_open() {
        let turning = Condition {
            rpm: Some(900.0),
            ..Condition::default()
        };
        for (declared, state) in [
            (None, OperatingState::Known),
            (Some(DeclaredState::Running), OperatingState::Known),
            (Some(DeclaredState::Transient), OperatingState::Transient),
            (Some(DeclaredState::Stopped), OperatingState::Stopped),
        ] {
            assert_eq!(OperatingState::from(turning.in_state(declared)), state);
        }
        let still = Condition {
            rpm: Some(0.0),
            state: Some(DeclaredState::Transient),
            ..Condition::default()
        };
        assert_eq!(OperatingState::from(still), OperatingState::Stopped);
        assert_eq!(DeclaredState::parse("state", "off").unwrap_err().field, "state");
    }

    #[test]
    fn an_older_row_says_by_its_speed_that_the_shaft_stood_still() {
        let stopped = Condition {
            rpm: Some(0.0),
            load: None,
            ..Condition::default()
        };
        assert_eq!(OperatingState::from_row(0, stopped), Ok(OperatingState::Stopped));
        assert_eq!(OperatingState::from(stopped), OperatingState::Stopped);
    }
}
