use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tocsin_corpus::{Row, SensorName};
use tocsin_domain::{SpectrumSpec, Timestamp};

use super::*;
use crate::inject::{Injection, inject};

const READINGS: usize = 600;

/// A machine of a gain of its own whose bins 8 to 40 rise over the last fifth of its life.
fn life(machine: usize, failing: bool) -> Vec<Row> {
    let mut rng = StdRng::seed_from_u64(machine as u64);
    let gain = 1.0 + machine as f32;
    let mut reading = |at: usize| {
        let worn = (at as f32 / READINGS as f32 - 0.8).max(0.0) * if failing { 40.0 } else { 0.0 };
        let bin = |bin: usize, noise: f32| {
            let rise = if (8..40).contains(&bin) { 1.0 + worn } else { 1.0 };
            0.02 * gain * rise * (1.0 + 0.3 * (noise - 0.5))
        };
        Row {
            sensor: SensorName::parse(&format!("works/m{machine}/axis")).unwrap(),
            captured_at: Timestamp::from_micros(at as i64 * 10_000_000),
            bins: (0..64).map(|at| bin(at, rng.random())).collect(),
            rpm: None,
            load: None,
            label: None,
            split: None,
        }
    };
    (0..READINGS).map(&mut reading).collect()
}

fn lives(failing: bool) -> Vec<MachineLife> {
    let rows: Vec<Row> = (0..4).flat_map(|machine| life(machine, failing)).collect();
    MachineLife::from_rows(&SpectrumSpec::corpus_default(64), &rows).unwrap()
}

#[test]
fn failing_machines_are_paged_in_time_and_healthy_ones_never() {
    let failing = run_to_failure(&lives(true), &[], &Rules::default(), false, || {}).unwrap();
    assert_eq!(
        (failing.summary.valid, failing.summary.false_pages_before_50),
        (4, 0),
        "{:?}",
        failing.summary
    );
    let lead = failing.summary.median_lead_readings;
    assert!(
        (60.0..120.0).contains(&lead),
        "a fifth of 600 steps, less what it takes to be sure: {lead}"
    );
    let healthy = run_to_failure(&lives(false), &[], &Rules::default(), false, || {}).unwrap();
    assert_eq!(healthy.summary.detected, 0);
    assert!(healthy.machines.iter().all(|machine| machine.first_page.is_none()));
}

#[test]
fn what_was_judged_is_counted_in_steps_whatever_their_length() {
    let judged = |step_s: f64| {
        let rules = Rules {
            step_s,
            ..Rules::default()
        };
        let report = run_to_failure(&lives(true), &[], &rules, false, || {}).unwrap();
        let first = &report.machines[0];
        (first.readings, first.judged_before_50)
    };
    assert_eq!(judged(10.0), (600, 300 - 110));
    assert_eq!(
        judged(60.0),
        (100, 50 - 19),
        "110 readings of 10 s begin 19 steps of a minute"
    );
}

#[test]
fn a_nested_run_chooses_constants_for_every_fold() {
    let report = run_to_failure(&lives(true), &[], &Rules::default(), true, || {}).unwrap();
    assert_eq!((report.constants.len(), report.summary.valid), (4, 4));
}

#[test]
fn a_machine_alone_learns_from_the_fleet_it_is_given_and_from_nobody_without() {
    let mut fleet = lives(true);
    let alone = vec![fleet.pop().unwrap()];
    assert_eq!(
        run_to_failure(&alone, &fleet, &Rules::default(), false, || {})
            .unwrap()
            .summary
            .valid,
        1
    );
    let error = run_to_failure(&alone, &[], &Rules::default(), false, || {}).unwrap_err();
    assert!(error.to_string().starts_with("fleet: no other machine"), "{error}");
}

#[test]
fn a_large_step_is_paged_and_none_of_zero_decibels_is() {
    let spec = SpectrumSpec::corpus_default(64);
    let step = |rise_db| Injection {
        bins: 16,
        rise_db,
        ramp: None,
        step_readings: 40,
        places: 2,
        seeds: 2,
    };
    let paged = |rise_db| inject(&lives(false), &[], &spec, &Rules::default(), &step(rise_db)).unwrap();
    let large = paged(15.0);
    assert_eq!((large.cases, large.paged, large.db_at_page.len()), (16, 16, 16));
    let none = paged(0.0);
    assert_eq!((none.cases, none.alerted), (16, 0));
}

#[test]
fn a_ramp_is_paged_before_it_is_complete() {
    let spec = SpectrumSpec::corpus_default(64);
    let ramp = Injection {
        bins: 16,
        rise_db: 20.0,
        ramp: Some(std::time::Duration::from_secs(800)),
        step_readings: 0,
        places: 1,
        seeds: 3,
    };
    let report = inject(&lives(false), &[], &spec, &Rules::default(), &ramp).unwrap();
    assert_eq!((report.cases, report.paged), (12, 12), "{report:?}");
    assert!(
        report.db_at_page.iter().all(|db| (2.0..19.0).contains(db)),
        "{:?}",
        report.db_at_page
    );
}
