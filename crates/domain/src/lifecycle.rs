//! The lives of bundles, threshold sets, training jobs and sensors' commissioning epochs.

use serde::{Deserialize, Serialize};

use crate::Invalid;
use crate::incident::InvalidTransition;

macro_rules! states {
    ($(#[$doc:meta])* $name:ident, $field:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// The name in rows, messages and on screen.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Reads the name.
            pub fn parse(text: &str) -> Result<Self, Invalid> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(Invalid::new($field, format!("{text:?} is not a state"))),
                }
            }
        }
    };
}

states! {
    /// Where a pushed bundle stands.
    BundleState, "bundle_state" {
        /// Stored, not yet verified.
        Pending = "pending",
        /// Loaded and run by the verifier: scorers may load it.
        Verified = "verified",
        /// Refused by the verifier; kept with the reason.
        Rejected = "rejected",
    }
}

states! {
    /// Where a threshold set stands.
    ThresholdState, "threshold_state" {
        /// Computed, judged nothing yet.
        Proposed = "proposed",
        /// Replayed over logged or held-out scores, with what it would have done on record.
        Tested = "tested",
        /// A person or a policy agreed.
        Approved = "approved",
        /// Judges the class now.
        Active = "active",
        /// Was active once; can be rolled back to.
        Retired = "retired",
        /// Could not be tested; nothing follows.
        Rejected = "rejected",
    }
}

states! {
    /// Where a sensor stands in its commissioning epoch.
    CommissioningState, "commissioning_state" {
        /// Its baseline is being learned; until then it borrows the fleet's limits.
        Commissioning = "commissioning",
        /// Judged against its own baseline.
        Commissioned = "commissioned",
    }
}

states! {
    /// Where a training job stands.
    TrainingState, "training_state" {
        /// Waits for a trainer, for the first time or after an attempt that may be repeated.
        Queued = "queued",
        /// A trainer holds its lease.
        Running = "running",
        /// Its bundle is in the registry.
        Done = "done",
        /// Given up, with the reason on record.
        Failed = "failed",
    }
}

impl TrainingState {
    /// The state after `next`, if the way there is legal: queued, running, done or failed. A running job goes back into
    /// the queue when its attempt may be repeated, and is running anew when another takes over an expired lease.
    pub fn advance(self, next: Self) -> Result<Self, InvalidTransition> {
        let legal = matches!(
            (self, next),
            (Self::Queued, Self::Running) | (Self::Running, Self::Running | Self::Queued | Self::Done | Self::Failed)
        );
        if legal {
            Ok(next)
        } else {
            Err(InvalidTransition {
                subject: "a training job",
                from: self.as_str(),
                transition: next.as_str(),
            })
        }
    }

    /// Whether nothing follows.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

impl ThresholdState {
    /// The state after `next`, if the way there is legal: proposed, tested, approved, active, retired; a retired set
    /// may become active again (roll back), and a proposed one be rejected.
    pub fn advance(self, next: Self) -> Result<Self, InvalidTransition> {
        let legal = matches!(
            (self, next),
            (Self::Proposed, Self::Tested | Self::Rejected)
                | (Self::Tested, Self::Approved)
                | (Self::Approved | Self::Retired, Self::Active)
                | (Self::Active, Self::Retired)
        );
        if legal {
            Ok(next)
        } else {
            Err(InvalidTransition {
                subject: "a threshold set",
                from: self.as_str(),
                transition: next.as_str(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_set_cannot_become_active_untested() {
        use ThresholdState::{Active, Approved, Proposed, Rejected, Retired, Tested};
        assert!(Proposed.advance(Active).is_err() && Tested.advance(Active).is_err());
        let mut state = Proposed;
        for next in [Tested, Approved, Active, Retired, Active] {
            state = state.advance(next).unwrap();
        }
        let all = [Proposed, Tested, Approved, Active, Retired, Rejected];
        assert!(all.iter().all(|next| Rejected.advance(*next).is_err()), "it ends there");
        assert!(
            all.iter()
                .all(|from| from.advance(Rejected).is_ok() == (*from == Proposed))
        );
        assert_eq!(ThresholdState::parse("approved").unwrap(), Approved);
        assert_eq!(BundleState::parse("x").unwrap_err().field, "bundle_state");
    }

    #[test]
    fn a_training_job_that_ended_stays_ended() {
        use TrainingState::{Done, Failed, Queued, Running};
        let mut state = Queued;
        for next in [Running, Running, Queued, Running, Done] {
            state = state.advance(next).unwrap();
        }
        for ended in [Done, Failed] {
            assert!(ended.is_finished());
            for next in [Queued, Running, Done, Failed] {
                assert!(ended.advance(next).is_err());
            }
        }
        assert!(Queued.advance(Done).is_err() && !Queued.is_finished() && !Running.is_finished());
    }
}
