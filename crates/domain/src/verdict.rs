//! What was decided about one reading.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Detector, Invalid};

/// A score relative to its own alert line (1) and page line (2). Windows mix levels, never raw scores.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Level(pub f32);

impl Level {
    /// The level of the alert line.
    pub const ALERT: Self = Self(1.0);
    /// The level of the page line.
    pub const PAGE: Self = Self(2.0);

    /// The larger of two levels, in a total order.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        if other.0.total_cmp(&self.0).is_gt() {
            other
        } else {
            self
        }
    }
}

/// Why a reading could not be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnjudgedReason {
    /// The class has no active model and threshold set yet, or the sensor is being commissioned without a borrowed line;
    /// and the reading has no severity.
    Commissioning,
    /// The machine stands still.
    Stopped,
    /// The machine is between two operating conditions.
    Transient,
}

/// The decision about one reading, with the detector that decided it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Below every alert line.
    Normal {
        /// The detector with the highest level.
        by: Detector,
    },
    /// At or above an alert line.
    Alert {
        /// The detector with the highest level.
        by: Detector,
    },
    /// At or above a page line.
    Page {
        /// The detector with the highest level.
        by: Detector,
    },
    /// Not judged.
    Unjudged {
        /// Why not.
        reason: UnjudgedReason,
    },
}

impl Verdict {
    /// At alert or page level: what may open or keep an incident.
    pub fn is_flagged(self) -> bool {
        matches!(self, Self::Alert { .. } | Self::Page { .. })
    }

    /// The two-byte form in a row: kind in the low byte, detector or reason in the high one.
    pub fn to_code(self) -> i16 {
        let (kind, detail) = match self {
            Self::Normal { by } => (0, by as i16),
            Self::Alert { by } => (1, by as i16),
            Self::Page { by } => (2, by as i16),
            Self::Unjudged { reason } => (3, reason as i16),
        };
        kind | detail << 8
    }

    /// Reads the two-byte form.
    pub fn from_code(code: i16) -> Result<Self, Invalid> {
        let bad = || Invalid::new("verdict", format!("{code} is not a verdict code"));
        let detail = u8::try_from(code >> 8).map_err(|_| bad())?;
        let detector = || Detector::from_number(detail).ok_or_else(bad);
        match code & 0xff {
            0 => Ok(Self::Normal { by: detector()? }),
            1 => Ok(Self::Alert { by: detector()? }),
            2 => Ok(Self::Page { by: detector()? }),
            3 => {
                let reason = match detail {
                    0 => UnjudgedReason::Commissioning,
                    1 => UnjudgedReason::Stopped,
                    2 => UnjudgedReason::Transient,
                    _ => return Err(bad()),
                };
                Ok(Self::Unjudged { reason })
            }
            _ => Err(bad()),
        }
    }

    /// The one-word form: `normal`, `alert`, `page` or `unjudged`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal { .. } => "normal",
            Self::Alert { .. } => "alert",
            Self::Page { .. } => "page",
            Self::Unjudged { .. } => "unjudged",
        }
    }
}

impl fmt::Display for UnjudgedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Commissioning => "commissioning",
            Self::Stopped => "stopped",
            Self::Transient => "transient",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_survives_its_code() {
        let reasons = [
            UnjudgedReason::Commissioning,
            UnjudgedReason::Stopped,
            UnjudgedReason::Transient,
        ];
        let judged = Detector::ALL
            .into_iter()
            .flat_map(|by| [Verdict::Normal { by }, Verdict::Alert { by }, Verdict::Page { by }]);
        for verdict in judged.chain(reasons.map(|reason| Verdict::Unjudged { reason })) {
            assert_eq!(Verdict::from_code(verdict.to_code()).unwrap(), verdict);
        }
        for bad in [4, 0x0903, 0x0300 | 3, -1, 0x0901] {
            assert_eq!(Verdict::from_code(bad).unwrap_err().field, "verdict", "{bad}");
        }
    }
}
