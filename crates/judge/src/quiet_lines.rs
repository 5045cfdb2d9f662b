//! What is surely below the alert line, told without computing a level: for replays of millions.
//!
//! A level needs a logarithm or a tail; a healthy reading is told from its raw scores alone. The lines here lie a little
//! below those of the set, so that rounding can't make a level of 1 of a score that is quiet.

use tocsin_domain::{Detector, Level, OperatingState, Scores};

use crate::replay::ScoredReading;
use crate::{Member, Role, ThresholdSet};

/// How far below an alert line a quiet score lies at least, as a share of the line.
const MARGIN: f64 = 1e-4;

/// For every detector the score below which it is quiet: infinite for one that decides nothing alone.
///
/// **Invariant:** a reading that lies below them is judged, and its level is below the alert line.
#[derive(Debug, Clone)]
pub(crate) struct QuietLines {
    with_network: [f32; Detector::COUNT],
    without_network: [f32; Detector::COUNT],
}

impl QuietLines {
    pub(crate) fn of(set: &ThresholdSet) -> Self {
        Self {
            with_network: lines(&set.members),
            without_network: lines(&set.without_network),
        }
    }

    /// Whether the reading is surely judged and below the alert line.
    pub(crate) fn are_above(&self, reading: &ScoredReading) -> bool {
        let is_judged = matches!(reading.state, OperatingState::Known | OperatingState::Unseen);
        let lines = if reading.degraded {
            &self.without_network
        } else {
            &self.with_network
        };
        is_judged && lie_above(lines, &reading.scores)
    }
}

fn lie_above(lines: &[f32; Detector::COUNT], scores: &Scores) -> bool {
    let mut decides = false;
    for (detector, score) in scores.iter() {
        let line = lines[detector as usize];
        if score >= line {
            return false;
        }
        decides |= line < f32::INFINITY;
    }
    decides
}

fn lines(members: &[Member]) -> [f32; Detector::COUNT] {
    let mut lines = [f32::INFINITY; Detector::COUNT];
    for member in members {
        if matches!(member.role, Role::Page | Role::Alert) {
            lines[member.detector as usize] = line(member);
        }
    }
    lines[Detector::Severity as usize] = Level::ALERT.0;
    lines
}

/// A score whose level is below the alert line; none is, where the line is too flat to tell.
fn line(member: &Member) -> f32 {
    let below = (member.alert_line - member.alert_line.abs() * MARGIN) as f32;
    if member.level(below) < Level::ALERT {
        below
    } else {
        f32::NEG_INFINITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threshold_set::tests::set;
    use proptest::prelude::*;
    use tocsin_domain::{MachineId, ReadingKey, SensorId, Timestamp};

    fn reading(scores: &[(usize, f32)], state: OperatingState, degraded: bool) -> ScoredReading {
        let mut of_reading = Scores::default();
        for (detector, score) in scores {
            of_reading.set(Detector::ALL[*detector], *score);
        }
        ScoredReading {
            machine: MachineId(1),
            key: ReadingKey {
                sensor: SensorId(1),
                captured_at: Timestamp::MIN,
            },
            scores: of_reading,
            state,
            degraded,
        }
    }

    fn states() -> impl Strategy<Value = OperatingState> {
        prop::sample::select(vec![
            OperatingState::Known,
            OperatingState::Unseen,
            OperatingState::Transient,
            OperatingState::Stopped,
        ])
    }

    #[test]
    fn a_healthy_reading_lies_below_the_lines_and_one_that_nothing_decides_does_not() {
        let lines = QuietLines::of(&set());
        assert!(lines.are_above(&reading(&[(0, 0.5), (1, 0.5)], OperatingState::Known, false)));
        assert!(!lines.are_above(&reading(&[], OperatingState::Known, false)));
        let forest = Detector::Isolation as usize;
        assert!(!lines.are_above(&reading(&[(forest, 0.5)], OperatingState::Known, false)));
    }

    proptest! {
        #[test]
        fn what_lies_below_the_lines_is_judged_and_below_the_alert_line(
            scores in prop::collection::vec((0..Detector::COUNT, -2.0_f32..9.0), 0..9),
            state in states(), degraded in any::<bool>(),
        ) {
            let set = set();
            let reading = reading(&scores, state, degraded);
            let level = set.level(&reading.scores, state, degraded);
            if QuietLines::of(&set).are_above(&reading) {
                prop_assert!(level.is_some_and(|(level, _)| level < Level::ALERT), "{level:?}");
            } else {
                prop_assert!(level.is_none_or(|(level, _)| level > Level(0.99)), "{level:?}");
            }
        }
    }
}
