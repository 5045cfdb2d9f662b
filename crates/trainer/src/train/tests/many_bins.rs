//! Spectra of more bins than a matrix of bins x bins is made for.

use super::*;
use crate::on_disk::{Plan, Writer};

/// A bundle of one epoch, verified as the registry would and read back.
fn of_one_epoch(variant: Variant, bins: u16) -> Bundle {
    let (rows, calibration) = (healthy(bins, 60, 1), healthy(bins, 10, 2));
    let options = Some(FitOptions {
        epochs: 1,
        batch: 32,
        ..FitOptions::of(variant)
    });
    let request = TrainRequest {
        options,
        ..request(&rows, &calibration, variant)
    };
    let bytes = train(&request, |_| {}).unwrap().to_bytes();
    verify(&bytes, VerifyLimits::default()).unwrap();
    let archive = BundleArchive::from_bytes(&bytes, VerifyLimits::default().archive).unwrap();
    let bundle = Bundle::from_archive(archive).unwrap();
    let mut scores = vec![Scores::default(); calibration.len()];
    let scratch = &mut DetectorScratch::default();
    bundle
        .detectors()
        .score_batch(calibration.linear(), scratch, &mut scores);
    for (row, scores) in bundle.held_out().rows.iter().zip(scores) {
        for (detector, score) in scores.iter() {
            assert_eq!(row.scores.get(detector), Some(score), "{detector}");
        }
    }
    bundle
}

#[test]
fn a_dense_bundle_of_1024_bins_is_served() {
    assert_eq!(of_one_epoch(Variant::Dense, 1024).detectors().pca().bins(), 1024);
}

#[test]
fn a_dense_bundle_of_4096_bins_is_served() {
    assert_eq!(of_one_epoch(Variant::Dense, 4096).detectors().pca().bins(), 1024);
}

#[test]
fn a_convolutional_bundle_of_4096_bins_is_served() {
    assert_eq!(of_one_epoch(Variant::Conv, 4096).detectors().pca().bins(), 1024);
}

#[test]
fn rows_on_disk_give_the_detectors_of_pooled_bins_that_rows_in_memory_do() {
    const BINS: u16 = 1100;
    let in_memory = healthy(BINS, 120, 1);
    let (folder, spec) = (tempfile::tempdir().unwrap(), in_memory.spec());
    let plan = Plan {
        files: 2,
        buffers: 0,
        sample: 120,
    };
    let mut writer = Writer::planned(spec, folder.path(), plan, 1).unwrap();
    let rows = in_memory
        .rows()
        .iter()
        .zip(in_memory.linear().chunks_exact(BINS.into()));
    for (row, linear) in rows {
        let held_out = row.captured_at.as_micros() > 900_000_000;
        let sensor = &in_memory.sensors()[row.sensor as usize];
        writer.push(sensor, row.captured_at, linear, held_out).unwrap();
    }
    let on_disk = writer.finish().unwrap();
    let (s0, seed) = (spec.canonical_s0(), 5);
    let streamed = on_disk.stored().unwrap().detectors(on_disk.linear(), s0, seed).unwrap();
    let mut rng = StdRng::seed_from_u64(seed);
    let whole = ClassDetectors::fit(in_memory.linear(), BINS.into(), s0, &mut rng).unwrap();
    assert_eq!((streamed.pca().bins(), whole.pca().bins()), (550, 550));
    let fresh = healthy(BINS, 10, 3);
    let scored = |detectors: &ClassDetectors| {
        let mut scores = vec![Scores::default(); fresh.len()];
        detectors.score_batch(fresh.linear(), &mut DetectorScratch::default(), &mut scores);
        scores
    };
    for (a, b) in scored(&whole).iter().zip(scored(&streamed)) {
        for detector in [Detector::OverallLevel, Detector::Pca, Detector::Mahalanobis] {
            let (a, b) = (a.get(detector).unwrap(), b.get(detector).unwrap());
            assert!((a - b).abs() <= 1e-3 * a.abs(), "{detector}: {a} against {b}");
        }
    }
}
