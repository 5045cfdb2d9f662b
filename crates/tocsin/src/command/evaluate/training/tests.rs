use tocsin_corpus::SensorName;
use tocsin_domain::Timestamp;
use tocsin_models::{Objective, Variant};

use super::*;

const RECIPES: [Recipe; 1] = [Recipe {
    variant: Variant::Pca,
    objective: Objective::Plain,
}];

/// A number from 0 to 1 that follows from a key and looks like chance (the mixer of splitmix64).
fn noise(key: u64) -> f32 {
    let mixed = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1 << 24) as f32
}

/// Rows of a machine: some of each of these splits, faulty where the split says so.
fn rows(machine: usize, splits: &[&str]) -> Vec<Row> {
    let each = splits.iter().enumerate().flat_map(|(nth, split)| {
        (0..60_usize).map(move |at| {
            let key = |bin: usize| (((machine * 8 + nth) * 64 + at) * 32 + bin) as u64;
            let mut bins: Vec<f32> = (0..32).map(|bin| 0.1 + 0.1 * noise(key(bin))).collect();
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
