use tocsin_corpus::SensorName;
use tocsin_domain::Timestamp;
use tocsin_models::{Objective, Variant};

use super::*;

const RECIPES: [Recipe; 1] = [Recipe {
    variant: Variant::Pca,
    objective: Objective::Plain,
}];

/// Rows of a machine: some of each of these splits, faulty where the split says so.
fn rows(machine: usize, splits: &[&str]) -> Vec<Row> {
    let each = splits.iter().enumerate().flat_map(|(nth, split)| {
        (0..60_usize).map(move |at| {
            let noise = |bin: usize| 0.01 * ((7 * at + 13 * bin + 3 * machine + at * bin) % 11) as f32;
            let mut bins: Vec<f32> = (0..32).map(|bin| 0.1 + noise(bin)).collect();
            if *split == "end" {
                bins[20..24].fill(2.0);
            }
            Row {
                sensor: SensorName::parse(&format!("a/m{machine}/x")).unwrap(),
                captured_at: Timestamp::from_micros((1_000 * nth + at) as i64 * 1_000_000),
                bins,
                rpm: None,
                load: None,
                label: None,
                split: Some((*split).to_owned()),
            }
        })
    });
    each.collect()
}

fn left_out_in_turn(rows: &[Row]) -> Result<Report> {
    let trial = Trial {
        rows,
        spec: &SpectrumSpec::corpus_default(32),
        recipes: &RECIPES,
        seeds: 1,
        trim: 0.0,
    };
    trial.leave_one_out()
}

#[test]
fn machines_that_never_failed_or_only_failed_are_left_out_in_turn_like_the_others() {
    let mut all = rows(0, &["train", "cal", "test_healthy", "end"]);
    all.extend(rows(1, &["train", "cal", "test_healthy"]));
    all.extend(rows(2, &["train", "cal", "end"]));
    let report = left_out_in_turn(&all).unwrap();
    assert_eq!(report.machines, ["a/m0", "a/m1", "a/m2"]);
    let row = &report.detectors["residual_pca"];
    assert!(row.auroc.unwrap() > 0.9, "{row:?}");
    assert!(row.auroc_interval.is_none(), "one machine alone has rows of both kinds");
    assert!(row.fpr_995_interval.is_some() && row.recall_995.is_some(), "{row:?}");
}

#[test]
fn a_corpus_of_healthy_rows_alone_tells_of_false_alarms() {
    let all: Vec<Row> = (0..3)
        .flat_map(|machine| rows(machine, &["train", "cal", "test_healthy"]))
        .collect();
    let report = left_out_in_turn(&all).unwrap();
    assert_eq!(report.best_member, None);
    let row = &report.detectors["ensemble"];
    assert!(row.auroc.is_none() && row.fpr_995.is_some(), "{row:?}");
}

#[test]
fn what_is_missing_names_the_machine_that_was_left_out() {
    let mut all = rows(0, &["train", "test_healthy"]);
    all.extend(rows(1, &["train", "cal"]));
    all.extend(rows(2, &["train", "end"]));
    let told = format!("{:#}", left_out_in_turn(&all).unwrap_err());
    assert_eq!(
        told,
        "--leave-one-machine-out: without a/m1: split: the corpus has no rows with split 'cal'"
    );
}
