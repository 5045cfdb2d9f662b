use super::*;
use crate::threshold_set::tests::set;
use proptest::prelude::*;
use tocsin_domain::Condition;

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
        ..Condition::default()
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

/// The percentile set with a member for growth beside it.
fn set_with_growth() -> ThresholdSet {
    let mut set = set();
    let growth = crate::FleetReplay::default().member(Detector::Growth, Role::Page, &[2.0; 3]);
    set.members.extend(growth);
    set
}

#[test]
fn a_sensor_without_a_baseline_is_held_to_alert_where_the_set_wants_one() {
    let set = set_with_growth();
    let mut scores = scores(500.0, 0.5, 500.0);
    let verdict = |scores: &Scores| set.judge(scores, Condition::default(), false).verdict;
    assert_eq!(verdict(&scores), Verdict::Alert { by: Detector::Residual });
    assert!(set.is_borrowed_by(&scores, false) && !set.is_borrowed_by(&scores, true));
    scores.set(Detector::Growth, 0.1);
    assert!(
        matches!(verdict(&scores), Verdict::Page { .. }),
        "commissioned, it may page"
    );
}

#[test]
fn while_a_sensor_is_commissioned_severity_pages_and_the_fleets_lines_alert() {
    let scores = scores(500.0, 900.0, 0.5);
    let judge = |scores: &Scores| set_with_growth().judge(scores, Condition::default(), false).verdict;
    assert!(matches!(judge(&scores), Verdict::Alert { .. }));
    let by = Detector::Severity;
    assert_eq!(judge(&with_severity(scores, 2.1)), Verdict::Page { by });
}

#[test]
fn in_an_unseen_condition_severity_pages_and_the_baseline_alerts() {
    let mut scores = scores(0.5, 0.5, 0.5);
    scores.set(Detector::Growth, 50.0);
    let judge = |scores: &Scores, state| set_with_growth().judge(scores, state, false).verdict;
    let by = Detector::Growth;
    assert_eq!(judge(&scores, OperatingState::Known), Verdict::Page { by });
    assert_eq!(judge(&scores, OperatingState::Unseen), Verdict::Alert { by });
    let by = Detector::Severity;
    assert_eq!(
        judge(&with_severity(scores, 2.1), OperatingState::Unseen),
        Verdict::Page { by }
    );
    let reason = UnjudgedReason::Transient;
    assert_eq!(judge(&scores, OperatingState::Transient), Verdict::Unjudged { reason });
}

fn with_severity(mut scores: Scores, level: f32) -> Scores {
    scores.set(Detector::Severity, level);
    scores
}

#[test]
fn what_corroborates_an_alert_makes_it_no_page() {
    let mut set = set_with_growth();
    for member in &mut set.members {
        if member.role == Role::Page && member.detector != Detector::Growth {
            member.role = Role::Alert;
        }
    }
    let mut scores = scores(500.0, 0.5, 500.0);
    scores.set(Detector::Growth, 0.1);
    let judge = |scores: &Scores| set.judge(scores, Condition::default(), false).verdict;
    assert!(matches!(judge(&scores), Verdict::Alert { .. }), "{:?}", judge(&scores));
    scores.set(Detector::Growth, 4.0);
    let by = Detector::Isolation;
    assert_eq!(
        judge(&scores),
        Verdict::Page { by },
        "growth stands at its own alert line"
    );
}

#[test]
fn severity_judges_in_every_set_by_the_same_lines_and_is_held_back_by_none() {
    let by = Detector::Severity;
    for set in [set(), set_with_growth()] {
        for degraded in [false, true] {
            let judge = |level| {
                let scores = with_severity(scores(0.5, 0.5, 0.5), level);
                set.judge(&scores, Condition::default(), degraded)
            };
            assert_eq!(judge(2.0).verdict, Verdict::Page { by });
            assert_eq!(judge(1.0).verdict, Verdict::Alert { by });
            assert_eq!(judge(2.0f32.next_down()).verdict, Verdict::Alert { by });
            assert_eq!(judge(2.5).level, Some(Level(2.5)));
            assert!(!judge(-40.0).verdict.is_flagged());
        }
    }
}

#[test]
fn a_reading_that_has_nothing_but_a_severity_is_judged_by_it() {
    let by = Detector::Severity;
    let alone = with_severity(Scores::default(), 2.26);
    let with_limits = set_with_growth().judge(&alone, Condition::default(), false);
    assert_eq!(with_limits.verdict, Verdict::Page { by });
    let without = Judgement::by_severity(&alone, Condition::default());
    assert_eq!(
        (without.verdict, without.level),
        (Verdict::Page { by }, Some(Level(2.26)))
    );
    let stopped = Condition {
        rpm: Some(0.0),
        load: None,
        ..Condition::default()
    };
    let reason = UnjudgedReason::Stopped;
    assert_eq!(
        Judgement::by_severity(&alone, stopped).verdict,
        Verdict::Unjudged { reason }
    );
    let reason = UnjudgedReason::Commissioning;
    let nothing = Judgement::by_severity(&scores(9.0, 9.0, 9.0), Condition::default());
    assert_eq!(nothing.verdict, Verdict::Unjudged { reason });
}

proptest! {
    #[test]
    fn a_higher_score_never_lowers_the_level(a in 0f32..100.0, b in 0f32..100.0, other in 0f32..10.0) {
        let set = set();
        let level = |x: f32| set.judge(&scores(x, other, other), Condition::default(), false).level.unwrap();
        prop_assert!(level(a.min(b)) <= level(a.max(b)));
    }

    #[test]
    fn the_level_alone_is_that_of_the_judgement(
        columns in prop::array::uniform9(prop::option::of(0f32..40.0)),
        state in prop::sample::select(vec![
            OperatingState::Known,
            OperatingState::Unseen,
            OperatingState::Transient,
            OperatingState::Stopped,
        ]),
        degraded in any::<bool>(),
    ) {
        let mut scores = Scores::default();
        for (detector, score) in Detector::ALL.into_iter().zip(columns) {
            if let Some(score) = score {
                scores.set(detector, score);
            }
        }
        for set in [set(), set_with_growth()] {
            let judgement = set.judge(&scores, state, degraded);
            let by = match judgement.verdict {
                Verdict::Normal { by } | Verdict::Alert { by } | Verdict::Page { by } => Some(by),
                Verdict::Unjudged { .. } => None,
            };
            prop_assert_eq!(set.level(&scores, state, degraded), judgement.level.zip(by));
        }
    }
}
