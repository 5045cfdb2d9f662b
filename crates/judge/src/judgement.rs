//! One reading's scores held against a threshold set, or, where its class has none, its severity alone.

use tocsin_domain::{Detector, Level, OperatingState, Scores, UnjudgedReason, Verdict};

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
    /// Every member that scored, in the set's order; the severity, which is in no set, comes last.
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

    /// Judges a reading by its scores: by the alarm limits that were in force, or, without any, by its severity. One that
    /// nothing scored is unjudged, whatever its machine was doing. `degraded` selects the lines for "without the network".
    ///
    /// What is judged live and what is judged again from a stored row both come through here.
    pub fn of_scores(
        limits: Option<&ThresholdSet>,
        scores: &Scores,
        state: impl Into<OperatingState>,
        degraded: bool,
    ) -> Self {
        match limits {
            _ if scores.mask().0 == 0 => Self::unjudged(UnjudgedReason::Commissioning),
            Some(set) => set.judge(scores, state, degraded),
            None => Self::by_severity(scores, state),
        }
    }

    /// Judges a reading of a class without alarm limits: by its severity, whose lines are the same everywhere.
    pub fn by_severity(scores: &Scores, state: impl Into<OperatingState>) -> Self {
        Self::of(severity(scores).into_iter().collect(), state.into(), false)
    }

    fn of(members: Vec<MemberLevel>, state: OperatingState, borrowed: bool) -> Self {
        let held = match state {
            OperatingState::Known => borrowed,
            OperatingState::Unseen => true,
            OperatingState::Transient | OperatingState::Stopped => {
                let reason = match state {
                    OperatingState::Stopped => UnjudgedReason::Stopped,
                    _ => UnjudgedReason::Transient,
                };
                return Self {
                    members,
                    ..Self::unjudged(reason)
                };
            }
        };
        match deciding(members.iter(), held) {
            Some((by, level)) => Self {
                verdict: verdict(by, level),
                level: Some(level),
                members,
            },
            None => Self {
                members,
                ..Self::unjudged(UnjudgedReason::Commissioning)
            },
        }
    }
}

/// The severity as a member: no set names it, and every set has it. Its score is its level, so its lines are the alert
/// line and the page line themselves.
fn severity(scores: &Scores) -> Option<MemberLevel> {
    let score = scores.get(Detector::Severity)?;
    Some(MemberLevel {
        detector: Detector::Severity,
        role: Role::Page,
        score,
        level: Level(score),
    })
}

impl ThresholdSet {
    /// Judges one reading. `degraded` selects the lines for "without the network".
    ///
    /// A reading that the set wants held against a baseline, and that has no such score, comes from a sensor that is
    /// being commissioned: it borrows the fleet's lines, and those may alert and no more. Severity keeps its
    /// word: a machine that is much too loud is so whatever it sounded like before. A reading in a condition its sensor was
    /// never seen in is held to alert in the same way.
    pub fn judge(&self, scores: &Scores, state: impl Into<OperatingState>, degraded: bool) -> Judgement {
        let members = self.member_levels(scores, degraded).collect();
        Judgement::of(members, state.into(), self.is_borrowed_by(scores, degraded))
    }

    /// The deciding detector and its level alone, as [`ThresholdSet::judge`] finds them: for replays of millions.
    pub fn level(&self, scores: &Scores, state: OperatingState, degraded: bool) -> Option<(Level, Detector)> {
        let held = match state {
            OperatingState::Known => self.is_borrowed_by(scores, degraded),
            OperatingState::Unseen => true,
            OperatingState::Transient | OperatingState::Stopped => return None,
        };
        let mut members = [None; Detector::COUNT + 1];
        for (place, member) in members.iter_mut().zip(self.member_levels(scores, degraded)) {
            *place = Some(member);
        }
        let (by, level) = deciding(members.iter().flatten(), held)?;
        Some((level, by))
    }

    fn member_levels(&self, scores: &Scores, degraded: bool) -> impl Iterator<Item = MemberLevel> {
        let of_set = self.members(degraded).iter().filter_map(|member| {
            let score = scores.get(member.detector)?;
            let (detector, role) = (member.detector, member.role);
            Some(MemberLevel {
                detector,
                role,
                score,
                level: member.level(score),
            })
        });
        of_set.chain(severity(scores))
    }

    /// Whether the set judges against baselines and these scores were made without one. Told from the scores alone, so
    /// that it is told again from a stored row.
    pub fn is_borrowed_by(&self, scores: &Scores, degraded: bool) -> bool {
        let mut wanted = self.members(degraded).iter().map(|member| member.detector);
        wanted.any(Detector::needs_baseline) && !scores.iter().any(|(detector, _)| detector.needs_baseline())
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

/// The detector with the highest level that counts. The first of equals wins, so that the order of the set decides. What
/// corroborates an alert makes it no page: that takes a member that may page, at its own alert line at least.
fn deciding<'a>(members: impl Iterator<Item = &'a MemberLevel> + Clone, held: bool) -> Option<(Detector, Level)> {
    let highest = |roles: &[Role]| highest(members.clone().filter(|m| roles.contains(&m.role)), held);
    let alone = highest(&[Role::Page, Role::Alert])?;
    if alone.1 < Level::ALERT {
        return Some(alone);
    }
    let may_page = highest(&[Role::Page]).is_some_and(|(_, level)| level >= Level::ALERT);
    let most = if may_page { Level(f32::MAX) } else { BELOW_PAGE };
    let corroborated = highest(&[Role::Corroborate]).map(|(by, level)| (by, Level(level.0.min(most.0))));
    Some(match corroborated {
        Some(other) if other.1 > alone.1 => other,
        _ => alone,
    })
}

/// The highest level that is no page.
const BELOW_PAGE: Level = Level(Level::PAGE.0.next_down());

fn highest<'a>(members: impl Iterator<Item = &'a MemberLevel>, held: bool) -> Option<(Detector, Level)> {
    members
        .map(|m| (m.detector, effective(m, held)))
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
}

/// A member that may only alert is held below the page line, and so is every other whose lines are borrowed or extrapolated.
/// Nobody's are those of severity.
fn effective(member: &MemberLevel, held: bool) -> Level {
    let held = held && member.detector != Detector::Severity;
    if member.role == Role::Alert || held {
        Level(member.level.0.min(BELOW_PAGE.0))
    } else {
        member.level
    }
}

#[cfg(test)]
mod tests;
