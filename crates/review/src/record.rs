//! Stored verdicts made again, to show how they came about and that nobody has changed them since.
//!
//! Two derivations. The decision comes from the scores of the row, by the alarm limits that it names: exactly, for every
//! row. The scores come from the canonical spectrum, by the bundle and the baseline that it names: within [`TOLERANCE`],
//! for the rows whose spectrum is kept. Both run the code that judged live. Severity, which comes from overall levels, is
//! made again by the zones that the class had then.
//!
//! **Invariant:** nothing that was decided since then bears on what comes out.

mod derive;
mod material;

use std::sync::Arc;

use tocsin_domain::{ContentHash, Detector, OperatingState, ReadingFlags, Scores, Verdict};
use tocsin_judge::{Judgement, ThresholdSet};
use tocsin_store::reading::{FullReading, Rescored};

pub(crate) use material::Material;

/// How far a score made again may be from the stored one, as a share of the greater of the two: another processor adds in
/// another order.
pub(crate) const TOLERANCE: f32 = 1e-5;

/// Scores this near to each other are the same, however small they are.
const FLOOR: f32 = 1e-6;

/// A stored reading, and what comes out when its verdict is made again.
#[derive(Debug, Clone)]
pub(crate) struct Rederived {
    pub(crate) reading: FullReading,
    /// The alarm limits it names.
    pub(crate) set: Option<Arc<ThresholdSet>>,
    /// What its stored scores give.
    pub(crate) judgement: Judgement,
    /// What its stored spectrum gives; none where that is not kept.
    pub(crate) again: Option<Again>,
    /// What the row names as its predecessors is kept, or it names none.
    pub(crate) has_predecessors: bool,
    pub(crate) later: Vec<Later>,
}

/// What a stored spectrum gives.
#[derive(Debug, Clone)]
pub(crate) struct Again {
    pub(crate) scores: Scores,
    pub(crate) state: OperatingState,
    pub(crate) content_hash: ContentHash,
}

/// What the network said later of a reading that was judged without it, and what it says now.
#[derive(Debug, Clone)]
pub(crate) struct Later {
    pub(crate) said: Rescored,
    pub(crate) residual: Option<f32>,
}

impl Rederived {
    pub(crate) fn new(reading: FullReading, set: Option<Arc<ThresholdSet>>) -> Self {
        let degraded = reading.stored.flags.contains(ReadingFlags::DEGRADED);
        let judgement = Judgement::of_scores(set.as_deref(), &reading.stored.scores, state(&reading), degraded);
        Self {
            reading,
            set,
            judgement,
            again: None,
            has_predecessors: true,
            later: Vec::new(),
        }
    }

    pub(crate) fn is_degraded(&self) -> bool {
        self.reading.stored.flags.contains(ReadingFlags::DEGRADED)
    }

    /// The stored scores give the stored verdict.
    pub(crate) fn decision_matches(&self) -> bool {
        self.judgement.verdict == self.reading.stored.verdict
    }

    /// The stored spectrum gives the stored scores; none where it is not kept. Where its predecessors are not, all scores but
    /// the residual are held against it: that they agree is not enough then, that one differs is.
    pub(crate) fn scores_match(&self) -> Option<bool> {
        let agree = self.score_differences(self.again.as_ref()?).is_empty();
        (self.has_predecessors || !agree).then_some(agree)
    }

    /// All that differs, in words.
    pub(crate) fn differences(&self) -> Vec<String> {
        let (stored, derived) = (self.reading.stored.verdict, self.judgement.verdict);
        let decision = (stored != derived).then(|| {
            format!(
                "verdict: {} is stored, the stored scores give {}",
                words(stored),
                words(derived)
            )
        });
        let scores = self.again.iter().flat_map(|again| self.score_differences(again));
        decision.into_iter().chain(scores).collect()
    }

    fn score_differences(&self, again: &Again) -> Vec<String> {
        let mut found = Vec::new();
        if again.content_hash != self.reading.content_hash {
            found.push("content: the stored spectrum, condition and levels are not what was received".to_owned());
        }
        let stored = state(&self.reading);
        if again.state != stored {
            found.push(format!(
                "condition cell: {} is stored, the condition gives {}",
                state_word(stored),
                state_word(again.state)
            ));
        }
        let known = |detector: &Detector| self.has_predecessors || *detector != Detector::Residual;
        for detector in Detector::ALL.into_iter().filter(known) {
            let (stored, derived) = (self.reading.stored.scores.get(detector), again.scores.get(detector));
            if !agree(stored, derived) {
                found.push(difference(detector.as_str(), stored, derived));
            }
        }
        for later in &self.later {
            if !agree(Some(later.said.residual), later.residual) {
                found.push(difference("later residual", Some(later.said.residual), later.residual));
            }
        }
        found
    }
}

/// What the machine was doing, by the row: those of before the cells were told say by their speed that it stood still.
pub(crate) fn state(reading: &FullReading) -> OperatingState {
    if reading.condition.is_stopped() {
        OperatingState::Stopped
    } else {
        reading.stored.state
    }
}

pub(crate) fn state_word(state: OperatingState) -> &'static str {
    match state {
        OperatingState::Known => "known",
        OperatingState::Unseen => "unseen",
        OperatingState::Transient => "transient",
        OperatingState::Stopped => "stopped",
    }
}

/// Two scores are the same but for rounding; two that are both missing are.
pub(crate) fn agree(stored: Option<f32>, derived: Option<f32>) -> bool {
    match (stored, derived) {
        (Some(stored), Some(derived)) => {
            let most = stored.abs().max(derived.abs());
            (stored - derived).abs() <= (TOLERANCE * most).max(FLOOR)
        }
        (None, None) => true,
        _ => false,
    }
}

/// What decided: a detector's name, or the reason why a reading is not judged.
pub(crate) fn decided_by(verdict: Verdict) -> String {
    match verdict {
        Verdict::Normal { by } | Verdict::Alert { by } | Verdict::Page { by } => by.as_str().to_owned(),
        Verdict::Unjudged { reason } => reason.to_string(),
    }
}

fn words(verdict: Verdict) -> String {
    let joint = match verdict {
        Verdict::Unjudged { .. } => "for",
        _ => "by",
    };
    format!("{} {joint} {}", verdict.as_str(), decided_by(verdict))
}

fn difference(what: &str, stored: Option<f32>, derived: Option<f32>) -> String {
    let number = |score: Option<f32>| score.map_or("nothing".to_owned(), |score| score.to_string());
    format!(
        "{what}: {} is stored, the spectrum gives {}",
        number(stored),
        number(derived)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_domain::{CanonicalSpectrum, Condition, UnjudgedReason};

    use crate::levels::tests::{reading, set};

    fn full(residual: f32) -> FullReading {
        FullReading {
            stored: reading(1, 0, residual),
            content_hash: ContentHash(1),
            condition: Condition::default(),
            scorer_build: None,
            predecessors: None,
            overall: Vec::new(),
            latent: Vec::new(),
            spectrum: Some(CanonicalSpectrum::from_codes(vec![0; 64])),
        }
    }

    fn again(reading: &FullReading) -> Again {
        Again {
            scores: reading.stored.scores,
            state: OperatingState::Known,
            content_hash: reading.content_hash,
        }
    }

    #[test]
    fn an_untouched_row_gives_itself_again_and_says_nothing_differs() {
        let reading = full(0.5);
        let mut made = Rederived::new(reading.clone(), Some(set()));
        assert_eq!((made.decision_matches(), made.scores_match()), (true, None));
        made.again = Some(again(&reading));
        assert_eq!((made.scores_match(), made.differences()), (Some(true), Vec::new()));
    }

    #[test]
    fn a_changed_score_is_found_by_its_spectrum_and_where_it_crosses_a_line_by_the_decision_too() {
        let (changed, whole) = (full(30.0), full(0.5));
        let mut made = Rederived::new(changed, Some(set()));
        made.again = Some(again(&whole));
        assert_eq!((made.decision_matches(), made.scores_match()), (false, Some(false)));
        let differences = made.differences();
        assert_eq!(
            differences[0],
            "verdict: normal by residual is stored, the stored scores give page by residual"
        );
        assert!(differences[1].starts_with("residual: 30 is stored"), "{differences:?}");
    }

    #[test]
    fn changed_content_a_changed_cell_and_a_missing_score_are_found() {
        let reading = full(0.5);
        let mut made = Rederived::new(reading.clone(), Some(set()));
        let mut again = again(&reading);
        (again.content_hash, again.state) = (ContentHash(2), OperatingState::Unseen);
        again.scores.set(Detector::Growth, 1.0);
        made.again = Some(again);
        let differences = made.differences();
        assert_eq!(differences.len(), 3, "{differences:?}");
        assert!(
            differences[2].starts_with("growth: nothing is stored"),
            "{differences:?}"
        );
    }

    #[test]
    fn scores_agree_within_a_share_of_themselves_and_nothing_agrees_with_nothing() {
        assert!(agree(Some(1_000.0), Some(1_000.005)) && !agree(Some(1_000.0), Some(1_000.02)));
        assert!(agree(Some(0.001), Some(0.001 + 5e-7)) && !agree(Some(0.001), Some(0.001 + 5e-6)));
        assert!(agree(None, None) && !agree(None, Some(0.0)) && !agree(Some(0.0), None));
    }

    #[test]
    fn a_row_of_before_the_cells_is_judged_again_by_its_speed() {
        let mut stopped = full(30.0);
        stopped.condition.rpm = Some(0.0);
        let reason = UnjudgedReason::Stopped;
        stopped.stored.verdict = Verdict::Unjudged { reason };
        assert!(Rederived::new(stopped, Some(set())).decision_matches());
    }
}
