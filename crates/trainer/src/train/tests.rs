use rand::RngExt;
use tocsin_models::{Bundle, Decoder, VerifyLimits, verify};

use super::*;
use crate::fit::Stage;

/// Rows of a machine whose comb of lines rises and falls with its load, from two sensors.
fn healthy(bins: u16, rows: usize, seed: u64) -> TrainingSet {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut set = TrainingSet::new(&SpectrumSpec::corpus_default(bins));
    for at in 0..rows {
        let load = 0.5 + rng.random::<f32>();
        let amplitudes: Vec<f32> = (0..bins)
            .map(|bin| {
                let line = if bin % 8 == 3 { 0.2 * load } else { 0.01 };
                line * (0.8 + 0.4 * rng.random::<f32>())
            })
            .collect();
        let sensor = if at % 2 == 0 { "plant/mill/x" } else { "plant/mill/y" };
        set.push(sensor, Timestamp::from_micros(at as i64 * 10_000_000), &amplitudes)
            .unwrap();
    }
    set
}

fn options() -> FitOptions {
    FitOptions {
        epochs: 12,
        patience: 6,
        ..FitOptions::of(Variant::Dense)
    }
}

fn request<'a>(train: &'a TrainingSet, calibration: &'a TrainingSet, variant: Variant) -> TrainRequest<'a> {
    TrainRequest {
        class: Slug::parse("class", "mill").unwrap(),
        train,
        calibration,
        variant,
        latent: None,
        seed: 5,
        options: Some(options()),
        corpora: Vec::new(),
        created_at: Timestamp::from_micros(0),
    }
}

fn trained(bins: u16, variant: Variant) -> (Bundle, TrainingSet) {
    let (rows, calibration) = (healthy(bins, 240, 1), healthy(bins, 60, 2));
    let archive = train(&request(&rows, &calibration, variant), |_| {}).unwrap();
    (Bundle::from_archive(archive).unwrap(), calibration)
}

#[test]
fn a_bundle_of_either_kind_passes_the_verifier() {
    for (variant, bins) in [(Variant::Dense, 32), (Variant::Conv, 64), (Variant::Conv, 100)] {
        let (bundle, _) = trained(bins, variant);
        let report = verify(&bundle.archive().to_bytes(), VerifyLimits::default()).unwrap();
        assert_eq!((report.manifest.variant, report.manifest.bins), (variant, bins));
        assert_eq!(report.manifest.latent, default_latent(bins));
    }
}

#[test]
fn the_same_request_gives_the_same_bytes_and_another_seed_others() {
    let (rows, calibration) = (healthy(32, 120, 1), healthy(32, 20, 2));
    let request = request(&rows, &calibration, Variant::Conv);
    let first = train(&request, |_| {}).unwrap();
    assert_eq!(train(&request, |_| {}).unwrap().to_bytes(), first.to_bytes());
    let other = train(&TrainRequest { seed: 6, ..request }, |_| {}).unwrap();
    assert_ne!(other.digest(), first.digest());
}

#[test]
fn a_faulty_row_scores_above_all_healthy_ones_it_was_not_trained_on() {
    for variant in [Variant::Dense, Variant::Conv] {
        let (bundle, calibration) = trained(64, variant);
        let mut faulty = calibration.linear()[..64].to_vec();
        (40..44).for_each(|bin| faulty[bin] = 0.3);
        let mut session = Network::load(&bundle).unwrap().session().unwrap();
        let score = session.run(&faulty, &[]).unwrap().errors[0];
        let healthy = bundle.held_out().of(Detector::Residual);
        assert_eq!(healthy.len(), 60);
        assert!(healthy.iter().all(|other| *other < score), "{variant}");
    }
}

#[test]
fn the_calibration_scores_are_those_the_bundle_gives_in_service() {
    let (bundle, calibration) = trained(32, Variant::Dense);
    let mut session = Network::load(&bundle).unwrap().session().unwrap();
    for (at, row) in bundle.held_out().rows.iter().enumerate() {
        let linear = &calibration.linear()[at * 32..][..32];
        let mut scores = Scores::default();
        bundle
            .detectors()
            .score_into(linear, &mut DetectorScratch::default(), &mut scores);
        scores.set(Detector::Residual, session.run(linear, &[]).unwrap().errors[0]);
        assert_eq!(row.scores, scores);
        assert_eq!(
            bundle.held_out().sensors[row.sensor as usize],
            ["plant/mill/x", "plant/mill/y"][at % 2]
        );
    }
}

#[test]
fn the_decoder_gives_back_the_level_of_a_healthy_spectrum() {
    let (rows, none) = (healthy(32, 400, 1), healthy(32, 0, 2));
    let request = TrainRequest {
        options: None,
        ..request(&rows, &none, Variant::Dense)
    };
    let bundle = Bundle::from_archive(train(&request, |_| {}).unwrap()).unwrap();
    let spectrum = &rows.linear()[..32];
    let scored = Network::load(&bundle)
        .unwrap()
        .session()
        .unwrap()
        .run(spectrum, &[])
        .unwrap();
    let rebuilt = Decoder::load(&bundle).unwrap().run(&scored.latents).unwrap();
    let worst = spectrum
        .iter()
        .zip(&rebuilt)
        .map(|(a, b)| (a / b).ln().abs())
        .fold(0.0, f32::max);
    assert!(worst < 0.5, "a bin is off by {worst} nepers");
}

#[test]
fn progress_is_told_of_every_epoch_and_all_rows_are_trained_on_up_to_the_best_one() {
    let (rows, none) = (healthy(32, 120, 1), healthy(32, 0, 2));
    let mut heard = Vec::new();
    let archive = train(&request(&rows, &none, Variant::Dense), |progress| heard.push(progress)).unwrap();
    let metrics = Bundle::from_archive(archive).unwrap().manifest().metrics.clone();
    let (search, refit): (Vec<Progress>, Vec<Progress>) = heard.iter().partition(|p| p.stage == Stage::Search);
    assert_eq!(
        (search.len(), refit.len()),
        (metrics.epochs as usize, metrics.best_epoch as usize)
    );
    let least = search
        .iter()
        .map(|progress| progress.validation_loss)
        .fold(f64::INFINITY, f64::min);
    assert_eq!(search[refit.len() - 1].validation_loss.to_bits(), least.to_bits());
    assert_eq!(metrics.validation_loss.to_bits(), least.to_bits());
    assert_eq!(
        refit.last().map(|progress| progress.training_loss),
        Some(metrics.training_loss)
    );
}

#[test]
fn a_training_that_diverges_is_an_error_and_no_bundle() {
    let (rows, none) = (healthy(32, 120, 1), healthy(32, 0, 2));
    let options = Some(FitOptions {
        learning_rate: f64::NAN,
        ..options()
    });
    let request = TrainRequest {
        options,
        ..request(&rows, &none, Variant::Dense)
    };
    assert!(matches!(train(&request, |_| {}), Err(TrainError::Diverged)));
}

#[test]
fn a_request_that_cannot_be_met_names_its_field() {
    let (rows, few, none) = (healthy(32, 60, 1), healthy(32, 10, 1), healthy(32, 0, 2));
    let wide = healthy(64, 60, 1);
    let refused = |request: TrainRequest<'_>| train(&request, |_| {}).unwrap_err().to_string();
    let good = request(&rows, &none, Variant::Dense);
    assert!(refused(request(&few, &none, Variant::Dense)).starts_with("train: 10 rows"));
    assert!(refused(request(&rows, &wide, Variant::Dense)).starts_with("calibration: "));
    assert!(
        refused(TrainRequest {
            latent: Some(17),
            ..good.clone()
        })
        .starts_with("latent: 17")
    );
    let options = Some(FitOptions { batch: 0, ..options() });
    assert!(refused(TrainRequest { options, ..good }).starts_with("options: "));
}
