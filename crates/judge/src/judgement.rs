//! One reading's scores held against a threshold set.

use tocsin_domain::{Condition, Detector, Level, Scores, UnjudgedReason, Verdict};

use crate::{Role, ThresholdSet};

/// A member's level for one reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemberLevel {
    /// The detector.
    pub detector: Detector,
    /// Its role in the set that judged.
    pub role: Role,
    /// Its raw score.
    pub score: f32,
    /// Its level.
    pub level: Level,
}

/// What was decided about one reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The decision.
    pub verdict: Verdict,
    /// The deciding level; absent when the reading is unjudged.
    pub level: Option<Level>,
    /// Every member that scored, in the set's order.
    pub members: Vec<MemberLevel>,
}

impl Judgement {
    /// A reading that can't be judged.
    pub fn unjudged(reason: UnjudgedReason) -> Self {
        Self {
            verdict: Verdict::Unjudged { reason },
            level: None,
            members: Vec::new(),
        }
    }
}

impl ThresholdSet {
    /// Judges one reading. `degraded` selects the lines for "without the network".
    pub fn judge(&self, scores: &Scores, condition: Condition, degraded: bool) -> Judgement {
        let members: Vec<MemberLevel> = self
            .members(degraded)
            .iter()
            .filter_map(|member| {
                let score = scores.get(member.detector)?;
                let (detector, role) = (member.detector, member.role);
                Some(MemberLevel {
                    detector,
                    role,
                    score,
                    level: member.level(score),
                })
            })
            .collect();
        if condition.is_stopped() {
            return Judgement {
                members,
                ..Judgement::unjudged(UnjudgedReason::Stopped)
            };
        }
        match deciding(&members) {
            Some((by, level)) => Judgement {
                verdict: verdict(by, level),
                level: Some(level),
                members,
            },
            None => Judgement {
                members,
                ..Judgement::unjudged(UnjudgedReason::Commissioning)
            },
        }
    }
}

fn verdict(by: Detector, level: Level) -> Verdict {
    if level >= Level::PAGE {
        Verdict::Page { by }
    } else if level >= Level::ALERT {
        Verdict::Alert { by }
    } else {
        Verdict::Normal { by }
    }
}

/// The detector with the highest level that counts. The first of equals wins, so that the order of the set decides.
fn deciding(members: &[MemberLevel]) -> Option<(Detector, Level)> {
    let alone = highest(members.iter().filter(|m| matches!(m.role, Role::Page | Role::Alert)))?;
    if alone.1 < Level::ALERT {
        return Some(alone);
    }
    let corroborated = highest(members.iter().filter(|m| m.role == Role::Corroborate));
    Some(match corroborated {
        Some(other) if other.1 > alone.1 => other,
        _ => alone,
    })
}

fn highest<'a>(members: impl Iterator<Item = &'a MemberLevel>) -> Option<(Detector, Level)> {
    members
        .map(|m| (m.detector, effective(m)))
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
}

/// A member that may only alert is held below the page line.
fn effective(member: &MemberLevel) -> Level {
    match member.role {
        Role::Alert => Level(member.level.0.min(Level::PAGE.0.next_down())),
        _ => member.level,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threshold_set::tests::set;
    use proptest::prelude::*;

    fn scores(residual: f32, energy: f32, forest: f32) -> Scores {
        let mut scores = Scores::default();
        scores.set(Detector::Residual, residual);
        scores.set(Detector::OverallLevel, energy);
        scores.set(Detector::Isolation, forest);
        scores
    }

    #[test]
    fn the_deciding_detector_is_the_one_with_the_highest_level() {
        let judgement = set().judge(&scores(0.5, 9.0, 0.5), Condition::default(), false);
        assert_eq!(
            judgement.verdict,
            Verdict::Page {
                by: Detector::OverallLevel
            }
        );
        assert_eq!(judgement.members.len(), 3);
    }

    #[test]
    fn a_corroborating_member_decides_nothing_alone() {
        let alone = set().judge(&scores(0.5, 0.5, 50.0), Condition::default(), false);
        assert!(matches!(alone.verdict, Verdict::Normal { .. }), "{alone:?}");
        let supported = set().judge(&scores(6.0, 0.5, 50.0), Condition::default(), false);
        assert_eq!(
            supported.verdict,
            Verdict::Page {
                by: Detector::Isolation
            }
        );
    }

    #[test]
    fn a_member_that_may_only_alert_never_pages() {
        let mut set = set();
        for member in &mut set.members {
            member.role = Role::Alert;
        }
        let judgement = set.judge(&scores(500.0, 0.5, 0.5), Condition::default(), false);
        assert_eq!(judgement.verdict, Verdict::Alert { by: Detector::Residual });
    }

    #[test]
    fn a_stopped_machine_is_unjudged_but_its_levels_are_shown() {
        let stopped = Condition {
            rpm: Some(0.0),
            load: None,
        };
        let judgement = set().judge(&scores(9.0, 9.0, 9.0), stopped, false);
        assert_eq!(
            judgement.verdict,
            Verdict::Unjudged {
                reason: UnjudgedReason::Stopped
            }
        );
        assert_eq!((judgement.level, judgement.members.len()), (None, 3));
    }

    #[test]
    fn without_the_network_the_principal_components_may_page() {
        let mut scores = Scores::default();
        scores.set(Detector::OverallLevel, 0.5);
        scores.set(Detector::Pca, 12.0);
        let judgement = set().judge(&scores, Condition::default(), true);
        assert_eq!(judgement.verdict, Verdict::Page { by: Detector::Pca });
    }

    proptest! {
        #[test]
        fn a_higher_score_never_lowers_the_level(a in 0f32..100.0, b in 0f32..100.0, other in 0f32..10.0) {
            let set = set();
            let level = |x: f32| set.judge(&scores(x, other, other), Condition::default(), false).level.unwrap();
            prop_assert!(level(a.min(b)) <= level(a.max(b)));
        }
    }
}
