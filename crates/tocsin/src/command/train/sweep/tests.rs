use tocsin_corpus::SensorName;
use tocsin_domain::Timestamp;
use tocsin_models::{Objective, Variant};
use tocsin_trainer::FitOptions;

use super::*;

fn size(latent: u16, validation_error: f64, auroc: Option<f64>) -> Size {
    let means = auroc.map(|auroc| {
        let json = json!({ "auroc": auroc, "insufficient_995": false, "insufficient_9995": false });
        serde_json::from_value(json).unwrap()
    });
    Size {
        latent,
        validation_error,
        means,
    }
}

#[test]
fn the_narrowest_that_costs_nothing_is_recommended() {
    let sizes = [
        size(4, 0.5, Some(0.9)),
        size(8, 0.4, Some(0.977)),
        size(16, 0.3, Some(0.98)),
    ];
    assert_eq!(recommended(&sizes), Some(8));
    let unfailing = [size(4, 0.5, None), size(8, 0.31, None), size(16, 0.3, None)];
    assert_eq!(recommended(&unfailing), Some(8));
    assert_eq!(recommended(&[]), None);
}

/// A number from 0 to 1 that follows from a key and looks like chance (the mixer of splitmix64).
fn noise(key: u64) -> f32 {
    let mixed = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1 << 24) as f32
}

/// Sixty rows of each split of a machine; those of split `end` have four bins raised to `fault`, and all are `gain` times as loud.
fn machine(number: u64, splits: &[&str], (gain, fault): (f32, f32)) -> Vec<Row> {
    let keys = splits
        .iter()
        .zip(0..)
        .flat_map(|(split, nth)| (0..60).map(move |at| (*split, nth, at)));
    let row = |(split, nth, at): (&str, u64, u64)| {
        let key = |bin: u64| ((number * 8 + nth) * 64 + at) * 32 + bin;
        let mut bins: Vec<f32> = (0..32).map(|bin| 0.1 + 0.1 * noise(key(bin))).collect();
        if split == "end" {
            bins[20..24].fill(fault);
        }
        for bin in &mut bins {
            *bin *= gain;
        }
        Row {
            sensor: SensorName::parse(&format!("a/m{number}/x")).unwrap(),
            captured_at: Timestamp::from_micros((1_000 * nth + at) as i64 * 10_000_000),
            bins,
            rpm: None,
            load: None,
            label: None,
            split: Some(split.to_owned()),
        }
    };
    keys.map(row).collect()
}

fn fitting(variant: Variant) -> Fitting {
    Fitting {
        class: Slug::parse("class", "pump").unwrap(),
        variant,
        foreign: None,
        options: FitOptions {
            epochs: 3,
            objective: Objective::Plain,
            ..FitOptions::of(variant)
        },
        latent: None,
        seed: 0,
        split: "train".to_owned(),
        corpora: Vec::new(),
        selection: None,
        checkpoints: None,
    }
}

#[test]
fn a_machine_that_is_louder_than_another_is_held_against_itself() {
    const ALL: [&str; 4] = ["train", "cal", "test_healthy", "end"];
    let (usual, loud) = ((1.0, 0.5), (4.0, 0.5));
    let rows: Vec<Row> = (0..6)
        .flat_map(|number| machine(number, &ALL, if number == 5 { loud } else { usual }))
        .collect();
    let spec = SpectrumSpec::corpus_default(32);
    let fitting = fitting(Variant::Pca);
    let sizes = tried(rows.clone(), &spec, &fitting, &[4]).unwrap();
    let area = |size: &Size| size.mean(|means| means.auroc).unwrap();
    assert!(area(&sizes[0]) > 0.99, "{sizes:?}");
    // All that the loud machine does when healthy lies above what the other does when it fails: pooled, a third is lost.
    let (kept, held_out) = part(rows).unwrap();
    assert_eq!(held_out.keys().collect::<Vec<_>>(), ["a/m2", "a/m5"]);
    let mut pooled = Parts::from_rows(&spec, held_out.values().flatten()).unwrap();
    pooled.cal = Parts::from_rows(&spec, &kept).unwrap().cal;
    let latent = Some(4);
    let bundle = fit(&kept, &spec, &Fitting { latent, ..fitting }).unwrap();
    let pooled = measure(&Bundle::from_archive(bundle.archive).unwrap(), &pooled).unwrap();
    assert!(pooled["residual_pca"].auroc.unwrap() < 0.8, "{pooled:?}");
}

#[test]
fn machines_that_never_fail_are_told_apart_by_the_error_of_the_network_that_scores() {
    let rows: Vec<Row> = (0..3)
        .flat_map(|number| machine(number, &["train"], (1.0, 0.0)))
        .collect();
    let spec = SpectrumSpec::corpus_default(32);
    let fitting = fitting(Variant::TemporalConv);
    let sizes = tried(rows.clone(), &spec, &fitting, &[4]).unwrap();
    assert!(sizes[0].means.is_none());
    let (kept, _) = part(rows).unwrap();
    let latent = Some(4);
    let bundle = Bundle::from_archive(fit(&kept, &spec, &Fitting { latent, ..fitting }).unwrap().archive).unwrap();
    let manifest = bundle.manifest();
    let error = manifest.temporal.as_ref().unwrap().metrics.validation_loss;
    assert_eq!(sizes[0].validation_error.to_bits(), error.to_bits());
    assert_ne!(error.to_bits(), manifest.metrics.validation_loss.to_bits());
}
