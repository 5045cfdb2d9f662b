use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tocsin_corpus::{Row, SensorName};
use tocsin_domain::{SpectrumSpec, Timestamp};

use super::ablation::{ABLATIONS, Ablated, ablation};
use super::class_size::{Draws, class_sizes};
use super::*;
use crate::inject::{Injection, inject};
use crate::variation::Lines;

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
    let failing = run_to_failure(&lives(true), &[], &Setting::new(Rules::default()), || {}).unwrap();
    assert_eq!(
        (failing.summary.valid, failing.summary.false_pages_before_50),
        (4, 0),
        "{:?}",
        failing.summary
    );
    let summary = &failing.summary;
    assert_eq!(summary.pages_explained, Some(summary.pages), "{summary:?}");
    assert!(failing.machines.iter().all(|m| m.pages > 0 && m.incidents_at_end == 1));
    let lead = failing.summary.median_lead_readings;
    assert!(
        (60.0..120.0).contains(&lead),
        "a fifth of 600 steps, less what it takes to be sure: {lead}"
    );
    let healthy = run_to_failure(&lives(false), &[], &Setting::new(Rules::default()), || {}).unwrap();
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
        let report = run_to_failure(&lives(true), &[], &Setting::new(rules), || {}).unwrap();
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
    let nested = Setting {
        nested: true,
        ..Setting::new(Rules::default())
    };
    let report = run_to_failure(&lives(true), &[], &nested, || {}).unwrap();
    assert_eq!((report.constants.len(), report.summary.valid), (4, 4));
}

#[test]
fn a_machine_alone_learns_from_the_fleet_it_is_given_and_from_nobody_without() {
    let mut fleet = lives(true);
    let alone = vec![fleet.pop().unwrap()];
    assert_eq!(
        run_to_failure(&alone, &fleet, &Setting::new(Rules::default()), || {})
            .unwrap()
            .summary
            .valid,
        1
    );
    let error = run_to_failure(&alone, &[], &Setting::new(Rules::default()), || {}).unwrap_err();
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

#[test]
fn percentiles_of_the_other_machines_differ_from_fleet_replay_in_their_lines_alone() {
    let lives = lives(true);
    let report = |lines| {
        let setting = Setting {
            method: Method::Baselines(Variation {
                lines,
                ..Variation::default()
            }),
            ..Setting::new(Rules::default())
        };
        run_to_failure(&lives, &[], &setting, || {}).unwrap()
    };
    let named = |report: &RunToFailure| -> Vec<_> {
        let lines = report.constants[0].lines.iter();
        lines.map(|line| (line.detector, line.role)).collect()
    };
    let replay = report(Lines::FleetReplay);
    for lines in [Lines::Percentile, Lines::Tail, Lines::OwnTail] {
        let other = report(lines);
        assert_eq!(
            (named(&other), other.summary.detected),
            (named(&replay), 4),
            "{lines:?}"
        );
        assert_ne!(other.constants[0].lines, replay.constants[0].lines);
    }
}

#[test]
fn an_ablation_begins_with_the_product_and_each_variant_is_a_row() {
    let rows = ablation(&lives(true), &[], &Rules::default(), || {}).unwrap();
    assert_eq!(
        (rows.len(), rows[0].variant, rows[0].summary.valid),
        (ABLATIONS, "default", 4)
    );
    let by_name = |name: &str| rows.iter().find(|row| row.variant == name).unwrap();
    assert_eq!(by_name("growth alone").summary.valid, 4);
    let told = |row: &Ablated| {
        let summary = &row.summary;
        (
            summary.valid,
            summary.false_pages_before_35,
            summary.median_lead_readings.to_bits(),
        )
    };
    assert_ne!(
        told(by_name("fleet median baseline")),
        told(&rows[0]),
        "machines of four gains are not alike"
    );
}

#[test]
fn limits_of_a_smaller_class_come_from_so_many_machines_and_a_draw_is_repeated_by_its_seed() {
    let setting = Setting::new(Rules::default());
    let sizes = |seed| class_sizes(&lives(true), &[], &setting, &[1, 3], Draws { count: 2, seed }, || {}).unwrap();
    let found = sizes(7);
    assert_eq!(found, sizes(7));
    assert_eq!((found[0].learned_from, found[1].learned_from), (1, 3));
    let whole = run_to_failure(&lives(true), &[], &setting, || {}).unwrap();
    assert_eq!(
        found[1].draws,
        [whole.summary.clone(), whole.summary],
        "three others are all there are"
    );
    let too_many = class_sizes(&lives(true), &[], &setting, &[4], Draws { count: 1, seed: 1 }, || {}).unwrap_err();
    assert_eq!(
        too_many.to_string(),
        "class-size: 4 machines, and the smallest fold has 3 others"
    );
}
