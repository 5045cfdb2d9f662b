//! The words of Tocsin as types: what a reading is, what a sensor declared about it, what was judged and who may see it.
//!
//! Nothing here does I/O or waits. Outside data becomes a domain value once, through a `parse` or `try_from`, and is
//! trusted from then on: a [`Spectrum`] is finite and non-negative, a [`Slug`] fits a URL, a [`Timestamp`] is UTC.
//!
//! **Invariant:** everything downstream of ingest computes from the [`CanonicalSpectrum`], so what was judged is what is
//! kept.

pub mod access;
pub mod clock;
pub mod codec;
pub mod detector;
pub mod fleet;
pub mod id;
pub mod incident;
pub mod instrument;
pub mod label;
pub mod lifecycle;
pub mod operating_state;
pub mod overall;
pub mod reading;
pub mod spec;
pub mod spectrum;
pub mod suppression;
pub mod time;
pub mod unit;
pub mod verdict;
pub mod zones;

pub use access::{PersonRole, Principal, Scope};
pub use clock::Clock;
pub use codec::{CanonicalSpectrum, Codec};
pub use detector::{Detector, DetectorMask, Scores};
pub use id::{
    AccountId, BaselineId, BundleDigest, BundleId, ClassId, FloodId, IncidentId, MachineId, ScorerBuildId, SensorId,
    SiteId, Slug, SpecId, SuppressionId, ThresholdSetId, TokenId, TrainingJobId,
};
pub use incident::{IncidentState, PageAction, Severity};
pub use instrument::{OpenSensorAlarm, SensorAlarmChange, SensorAlarmKind, SensorAlarmSubject, SensorSignal};
pub use label::Label;
pub use operating_state::{DeclaredState, OperatingState};
pub use overall::{OverallLevel, OverallSpec};
pub use reading::{Condition, ContentHash, Reading, ReadingFlags, ReadingKey};
pub use spec::SpectrumSpec;
pub use spectrum::Spectrum;
pub use suppression::{Suppression, SuppressionKind, SuppressionOrder};
pub use time::Timestamp;
pub use unit::Unit;
pub use verdict::{Level, UnjudgedReason, Verdict};
pub use zones::{SeverityZones, Zone};

/// A value from outside that can't become a domain value: the field and the reason, in words for the sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Invalid {
    /// Path of the field, as the sender names it.
    pub field: String,
    /// What is wrong with it, with the value where that helps.
    pub reason: String,
}

impl Invalid {
    /// An error about `field`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }
}
