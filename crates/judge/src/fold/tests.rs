use super::*;
use crate::step::tests::{STEP, reading};
use proptest::prelude::*;

fn fold() -> MachineFold {
    MachineFold::resume(Persistence::default(), STEP, None, [])
}

fn run(fold: &mut MachineFold, levels: &[f32]) -> Vec<(usize, Transition)> {
    let mut transitions = Vec::new();
    for (i, level) in levels.iter().enumerate() {
        let arrival = fold.arrive(reading(1, i as i64 * 10, *level), Effect::Acts);
        if let Arrival::Folded {
            transition: Some(transition),
            ..
        } = arrival
        {
            transitions.push((i, transition));
        }
    }
    transitions
}

#[test]
fn five_of_eight_steps_open_and_four_do_not() {
    assert_eq!(run(&mut fold(), &[2.5, 0.0, 2.5, 0.0, 2.5, 0.0, 2.5, 0.0]), []);
    let opened = run(&mut fold(), &[2.5, 0.0, 2.5, 0.0, 2.5, 2.5, 0.0, 2.5]);
    assert_eq!(opened, [(7, Transition::Opened(Severity::Page))]);
}

#[test]
fn an_alert_rises_to_a_page_and_clears_after_a_quiet_run() {
    let mut levels = vec![1.2; 5];
    levels.extend([2.2; 5]);
    levels.extend([1.4; 20]);
    let expected = [
        (4, Transition::Opened(Severity::Alert)),
        (9, Transition::Escalated),
        (29, Transition::Cleared),
    ];
    assert_eq!(run(&mut fold(), &levels), expected);
}

#[test]
fn a_least_time_holds_back_what_the_steps_alone_would_open_and_clear() {
    let rules = Persistence {
        open_min_s: 120,
        clear_min_s: 300,
        ..Persistence::default()
    };
    let mut fold = MachineFold::resume(rules, STEP, None, []);
    let mut levels = vec![0.0; 5];
    levels.extend([2.2; 20]);
    levels.extend([0.0; 40]);
    // The share of 5 in 8 of the thirteen steps of two minutes is reached with the ninth; every step of five minutes is
    // quiet with the thirty-first.
    let expected = [
        (5 + 8, Transition::Opened(Severity::Page)),
        (25 + 30, Transition::Cleared),
    ];
    assert_eq!(run(&mut fold, &levels), expected);

    // A burst as long as five steps opens nothing, and a gap that long proves nothing.
    let mut fold = MachineFold::resume(rules, STEP, None, []);
    let mut burst = vec![0.0; 12];
    burst.extend([2.2; 8]);
    burst.extend([0.0; 12]);
    assert_eq!(run(&mut fold, &burst), []);
    let mut fold = MachineFold::resume(rules, STEP, None, []);
    assert_eq!(run(&mut fold, &[2.5; 12]), [], "nothing is known of two minutes ago");
}

#[test]
fn one_loud_step_starts_the_quiet_run_again() {
    let mut levels = vec![2.2; 5];
    levels.extend([0.0; 19]);
    levels.push(1.5);
    levels.extend([0.0; 19]);
    assert_eq!(run(&mut fold(), &levels).len(), 1);
}

#[test]
fn what_holds_is_what_five_of_the_last_eight_steps_reached_and_each_sensor_s_own() {
    let mut fold = fold();
    assert_eq!(fold.held(), Held::default());
    for (nth, level) in [2.5, 3.0, 0.0, 3.5, 2.2, 4.0, 2.1].into_iter().enumerate() {
        let second = nth as i64 * 10;
        fold.arrive(reading(1, second, level), Effect::Acts);
        // The other sensor is behind: at the page line in four steps only.
        fold.arrive(reading(2, second, if nth < 3 { 0.0 } else { 2.4 }), Effect::Acts);
    }
    let held = fold.held();
    assert_eq!(held.level, Some(Level(2.4)), "of 2.5 3.0 0.0 3.5 2.4 4.0 2.4");
    let at_page = |held: &Held| -> Vec<(i32, f32)> {
        held.sensors
            .iter()
            .map(|(sensor, (level, _))| (sensor.0, level.0))
            .collect()
    };
    assert_eq!(at_page(&held), [(1, 2.2)], "of 2.5 3.0 0.0 3.5 2.2 4.0 2.1");
    fold.arrive(reading(2, 70, 2.4), Effect::Acts);
    assert_eq!(at_page(&fold.held()), [(1, 2.2), (2, 2.4)]);
}

#[test]
fn steps_older_than_twice_the_window_do_not_count() {
    let mut fold = fold();
    run(&mut fold, &[2.5; 4]);
    let after_gap = fold.arrive(reading(1, 30 + 171, 2.5), Effect::Acts);
    assert!(
        matches!(after_gap, Arrival::Folded { transition: None, window } if window.at_page == 1),
        "{after_gap:?}"
    );
}

#[test]
fn a_late_reading_opens_nothing_but_counts_later() {
    let mut fold = fold();
    for second in [0, 10, 20, 50] {
        fold.arrive(reading(1, second, 2.5), Effect::Acts);
    }
    assert_eq!(fold.arrive(reading(1, 30, 2.5), Effect::Acts), Arrival::Late);
    assert_eq!(fold.open(), None);
    fold.arrive(reading(1, 60, 2.5), Effect::Acts);
    assert_eq!(fold.open(), Some(Severity::Page));
}

#[test]
fn unjudged_steps_neither_open_nor_clear_nor_break_the_window() {
    let mut fold = fold();
    run(&mut fold, &[2.5; 4]);
    fold.arrive(reading(1, 40, None), Effect::Acts);
    assert_eq!(fold.open(), None);
    fold.arrive(reading(1, 50, 2.5), Effect::Acts);
    assert_eq!(fold.open(), Some(Severity::Page));
}

#[test]
fn a_spool_opens_and_clears_what_nobody_was_told_of_and_clears_nothing_else() {
    let opened = |effect| {
        let mut fold = fold();
        for i in 0..7 {
            fold.arrive(reading(1, i * 10, 2.5), effect);
        }
        assert_eq!(fold.open(), Some(Severity::Page));
        fold
    };
    let goes_quiet = |mut fold: MachineFold, effect| {
        for i in 7..40 {
            fold.arrive(reading(1, i * 10, 0.3), effect);
        }
        fold.open()
    };
    assert_eq!(goes_quiet(opened(Effect::Counts), Effect::Counts), None);
    let told = goes_quiet(opened(Effect::Acts), Effect::Counts);
    assert_eq!(told, Some(Severity::Page));
    assert_eq!(goes_quiet(opened(Effect::Acts), Effect::Acts), None);
}

proptest! {
    #[test]
    fn resuming_anywhere_gives_the_same_transitions(
        levels in proptest::collection::vec((0f32..3.0, 0i64..4), 1..120),
        cut in 0usize..120,
    ) {
        let readings: Vec<_> = levels
            .iter()
            .enumerate()
            .map(|(i, (level, jitter))| reading(i as i32 % 2, i as i64 * 5 - jitter * 7 + 100, *level))
            .collect();
        let cut = cut.min(readings.len());
        let mut whole = fold();
        let expected: Vec<_> = readings.iter().map(|r| whole.arrive(*r, Effect::Acts)).collect();
        let mut first = fold();
        let mut got: Vec<_> = readings[..cut].iter().map(|r| first.arrive(*r, Effect::Acts)).collect();
        let rules = Persistence::default();
        let next = readings[cut..].iter().map(|r| r.key.captured_at).min();
        let reach = rules.reach_back(first.open(), STEP);
        let recent = |r: &&JudgedReading| next.is_none_or(|next| r.key.captured_at >= next.floor_to(STEP) - reach);
        let before = readings[..cut].iter().filter(recent).copied();
        let mut second = MachineFold::resume(rules, STEP, first.open(), before);
        got.extend(readings[cut..].iter().map(|r| second.arrive(*r, Effect::Acts)));
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn its_steps_are_always_those_of_its_readings(
        levels in proptest::collection::vec((prop::option::of(0f32..3.0), 0i64..9, 0i32..3), 1..160),
        open_min_s in 0_u32..301,
    ) {
        let rules = Persistence { open_min_s, ..Persistence::default() };
        let mut fold = MachineFold::resume(rules, STEP, None, []);
        for (i, (level, jitter, sensor)) in levels.into_iter().enumerate() {
            fold.arrive(reading(sensor, i as i64 * 5 - jitter * 7 + 100, level), Effect::Acts);
            prop_assert_eq!(&fold.steps, &steps(fold.readings.values(), STEP));
        }
    }
}
