//! The one error of the road from wire to domain.

use tocsin_domain::Invalid;
use tonic::Status;

/// A message that says something the domain has no value for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Malformed {
    /// Path of the field in the message.
    pub field: String,
    /// What is wrong with it, in words for the sender.
    pub reason: String,
}

impl Malformed {
    /// An error about `field`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// The same error about a field inside `parent`, such as `readings[3]`.
    #[must_use]
    pub fn within(self, parent: impl AsRef<str>) -> Self {
        Self {
            field: format!("{}.{}", parent.as_ref(), self.field),
            reason: self.reason,
        }
    }
}

impl From<Invalid> for Malformed {
    fn from(invalid: Invalid) -> Self {
        Self {
            field: invalid.field,
            reason: invalid.reason,
        }
    }
}

impl From<Malformed> for Status {
    fn from(malformed: Malformed) -> Self {
        Self::invalid_argument(malformed.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_names_the_field_and_the_reason() {
        let invalid = Invalid::new("bins", "got 3, the sensor's spec has 64");
        let status = Status::from(Malformed::from(invalid).within("readings[2]"));
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert_eq!(status.message(), "readings[2].bins: got 3, the sensor's spec has 64");
    }
}
