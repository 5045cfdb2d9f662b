use rand::RngExt;
use tocsin_domain::SpectrumSpec;
use tocsin_models::{Bundle, Decoder, Objective, VerifyLimits, verify};

use super::*;
use crate::fit::Stage;

mod many_bins;

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
        foreign: None,
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

fn trained_to(objective: Objective, variant: Variant, bins: u16, epochs: u32) -> Bundle {
    let (rows, calibration) = (healthy(bins, 120, 1), healthy(bins, 20, 2));
    let options = Some(FitOptions {
        epochs,
        patience: epochs,
        batch: 16,
        objective,
        ..options()
    });
    let request = TrainRequest {
        options,
        ..request(&rows, &calibration, variant)
    };
    Bundle::from_archive(train(&request, |_| {}).unwrap()).unwrap()
}

#[test]
fn a_bundle_of_every_kind_passes_the_verifier() {
    for (variant, bins) in [
        (Variant::Dense, 32),
        (Variant::Conv, 64),
        (Variant::Conv, 100),
        (Variant::Pca, 64),
        (Variant::Mahalanobis, 33),
        (Variant::TemporalConv, 100),
        (Variant::TemporalLstm, 33),
    ] {
        let (bundle, _) = trained(bins, variant);
        let verified = verify(&bundle.archive().to_bytes(), VerifyLimits::default());
        let report = verified.unwrap_or_else(|error| panic!("{variant}, {bins} bins: {error}"));
        assert_eq!((report.manifest.variant, report.manifest.bins), (variant, bins));
        assert_eq!(report.manifest.latent, default_latent(bins));
    }
}

#[test]
fn a_temporal_bundle_says_what_makes_a_window_and_its_scores_are_level_with_those_without_history() {
    for variant in [Variant::TemporalConv, Variant::TemporalLstm] {
        let (bundle, calibration) = trained(32, variant);
        let temporal = bundle.manifest().temporal.clone().unwrap();
        assert_eq!((temporal.window.spectra, temporal.window.most_gap_ms), (8, 50_000));
        assert!(temporal.metrics.best_epoch > 0 && temporal.score_factor > 0.0);
        let residual = Residual::load(&bundle).unwrap();
        let windows = temporal.window.among(&calibration.keys());
        let alone = residual.errors(calibration.linear(), None).unwrap();
        let both = residual.errors(calibration.linear(), Some(&windows)).unwrap();
        assert_eq!(
            bundle.held_out().of(Detector::Residual),
            both,
            "limits are set on what is scored"
        );
        let changed = both.iter().zip(&alone).filter(|(a, b)| a.to_bits() != b.to_bits());
        assert_eq!(
            changed.count(),
            calibration.len() - 2 * 7,
            "two sensors, seven rows without history each"
        );
        let mean = |errors: &[f32]| errors.iter().sum::<f32>() / errors.len() as f32;
        let ratio = mean(&both) / mean(&alone);
        assert!((0.5..2.0).contains(&ratio), "{variant}: {ratio}");
    }
}

#[test]
fn rows_that_make_no_windows_are_no_rows_for_a_temporal_network() {
    let (rows, calibration) = (healthy(32, 60, 1), healthy(32, 20, 2));
    let error = |window| {
        let options = Some(FitOptions { window, ..options() });
        let request = TrainRequest {
            options,
            ..request(&rows, &calibration, Variant::TemporalLstm)
        };
        train(&request, |_| {}).unwrap_err().to_string()
    };
    assert!(
        error(16).starts_with("window: 18 windows to learn from"),
        "{}",
        error(16)
    );
    assert!(error(1).starts_with("window: 1 spectra are not between 2 and 16"));
}

#[test]
fn a_bundle_of_every_objective_passes_the_verifier_and_says_what_came_of_it() {
    for objective in Objective::ALL {
        for variant in [Variant::Dense, Variant::Conv] {
            let bundle = trained_to(objective, variant, 33, 3);
            verify(&bundle.archive().to_bytes(), VerifyLimits::default()).unwrap();
            let manifest = bundle.manifest();
            assert_eq!(manifest.objective.as_str(), objective.as_str());
            let figures: Vec<&str> = manifest.metrics.figures.keys().map(String::as_str).collect();
            let expected: &[&str] = match objective {
                Objective::Sparse { .. } => &["activation"],
                Objective::Contractive { .. } => &["jacobian"],
                Objective::Variational { .. } | Objective::VariationalElbo { .. } => {
                    &["active_latents", "beta", "collapses", "kl"]
                }
                _ => &[],
            };
            assert_eq!(figures, expected, "{objective}");
        }
    }
}

#[test]
fn a_penalty_does_what_it_is_for() {
    let figure = |objective, name: &str| trained_to(objective, Variant::Dense, 32, 60).manifest().metrics.figures[name];
    let contracted = |weight| figure(Objective::Contractive { weight }, "jacobian");
    assert!(contracted(10.0) < 0.5 * contracted(1e-6));
    let active = |weight| {
        figure(
            Objective::Sparse {
                activation: 0.1,
                weight,
            },
            "activation",
        )
    };
    assert!(active(10.0) < active(1e-6));
    let divergence = |beta| figure(Objective::Variational { beta }, "kl");
    assert!(divergence(1.0) < divergence(1e-4));
}

#[test]
fn a_divergence_that_silences_the_latents_is_given_less_weight_and_that_is_told() {
    let bundle = trained_to(Objective::Variational { beta: 1e4 }, Variant::Dense, 32, 60);
    let figures = &bundle.manifest().metrics.figures;
    assert_eq!(figures["collapses"], 3.0);
    assert_eq!(bundle.manifest().objective.beta(), Some(1e4 / 64.0));
}

#[test]
fn the_evidence_bound_counts_the_divergence_beside_the_error() {
    let bundle = trained_to(Objective::VariationalElbo { beta: 0.1 }, Variant::Dense, 32, 3);
    let rows = healthy(32, 20, 2);
    let every: Vec<usize> = (0..rows.len()).collect();
    let scored = Network::load(&bundle)
        .unwrap()
        .session()
        .unwrap()
        .run(rows.linear(), &every)
        .unwrap();
    for (score, bins) in scored.errors.iter().zip(scored.bin_errors.chunks_exact(32)) {
        let error = bins.iter().sum::<f32>() / 32.0;
        assert!(*score > error, "{score} against {error}");
    }
}

#[test]
fn a_latent_that_is_no_bottleneck_needs_a_regulariser() {
    let (rows, none) = (healthy(32, 120, 1), healthy(32, 0, 2));
    let wide = |objective| TrainRequest {
        latent: Some(40),
        options: Some(FitOptions { objective, ..options() }),
        ..request(&rows, &none, Variant::Dense)
    };
    let error = train(&wide(Objective::Plain), |_| {}).unwrap_err().to_string();
    assert!(
        error.starts_with("latent: 40 of 32 bins") && error.contains("identity"),
        "{error}"
    );
    let archive = train(&wide(Objective::named("sparse").unwrap()), |_| {}).unwrap();
    verify(&archive.to_bytes(), VerifyLimits::default()).unwrap();
}

/// Healthy rows with one in twenty from a machine whose upper bins are loud.
fn with_faults(seed: u64) -> TrainingSet {
    let (healthy, mut set) = (
        healthy(32, 400, seed),
        TrainingSet::new(&SpectrumSpec::corpus_default(32)),
    );
    for (at, row) in healthy.linear().chunks_exact(32).enumerate() {
        let mut row = row.to_vec();
        if at % 20 == 7 {
            row[24..].iter_mut().for_each(|bin| *bin = 0.5);
        }
        set.push("plant/mill/x", Timestamp::from_micros(at as i64 * 1_000_000), &row)
            .unwrap();
    }
    set
}

#[test]
fn a_trimmed_training_is_not_taught_by_faults_and_tells_of_them() {
    let (rows, calibration) = (with_faults(1), with_faults(2));
    let trained = |trim| {
        let options = Some(FitOptions {
            trim,
            epochs: 40,
            batch: 32,
            ..options()
        });
        let request = TrainRequest {
            options,
            ..request(&rows, &calibration, Variant::Dense)
        };
        train_until(&request, |_| ControlFlow::Continue(())).unwrap()
    };
    let error_of_faults = |trained: &Trained| {
        let bundle = Bundle::from_archive(trained.archive.clone()).unwrap();
        let faulty = &rows.linear()[7 * 32..8 * 32];
        Network::load(&bundle)
            .unwrap()
            .session()
            .unwrap()
            .run(faulty, &[])
            .unwrap()
            .errors[0]
    };
    let (taught, trimmed) = (trained(0.0), trained(0.1));
    assert!(error_of_faults(&trimmed) > 2.0 * error_of_faults(&taught));
    assert_eq!(trimmed.suspects.in_all, 20, "{:?}", trimmed.suspects);
    for suspect in &trimmed.suspects.listed {
        let planted = suspect.captured_at.as_micros() / 1_000_000 % 20 == 7;
        assert_eq!(suspect.stands_out(), planted, "{suspect:?}");
        assert!(suspect.left_out, "{suspect:?}");
    }
    assert_eq!(trimmed.left_out.train.len(), trimmed.suspects.listed.len());
    let planted: Vec<usize> = (0..calibration.len()).filter(|at| at % 20 == 7).collect();
    assert_eq!(
        trimmed.left_out.calibration, planted,
        "what is like them sets no limits"
    );
    let held_out = |trained: Trained| Bundle::from_archive(trained.archive).unwrap().held_out().rows.len();
    assert_eq!(held_out(taught), calibration.len());
    assert_eq!(held_out(trimmed), calibration.len() - planted.len());
}

#[test]
fn the_linear_distance_is_that_of_whitened_rows() {
    let (bundle, calibration) = trained(32, Variant::Mahalanobis);
    let scored = Network::load(&bundle)
        .unwrap()
        .session()
        .unwrap()
        .run(calibration.linear(), &[])
        .unwrap();
    let mean = scored.errors.iter().sum::<f32>() / scored.errors.len() as f32;
    assert!(
        (0.7..1.5).contains(&mean),
        "whitened healthy rows have a mean square near one, not {mean}"
    );
    assert!(
        (bundle.manifest().metrics.training_loss - 1.0).abs() < 0.1,
        "{:?}",
        bundle.manifest().metrics
    );
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
    for variant in [Variant::Dense, Variant::Conv, Variant::Pca, Variant::Mahalanobis] {
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
            latent: Some(65),
            ..good.clone()
        })
        .starts_with("latent: 65")
    );
    let options = Some(FitOptions { batch: 0, ..options() });
    assert!(refused(TrainRequest { options, ..good }).starts_with("options: "));
}

/// Trains with checkpoints, and breaks off after so many epochs; how many it came to.
fn resumably(
    request: &TrainRequest<'_>,
    checkpoints: &Checkpoints,
    most: usize,
) -> (Result<Vec<u8>, TrainError>, usize) {
    let mut epochs = 0;
    let trained = train_resumably(request, Some(checkpoints), |_| {
        epochs += 1;
        if epochs == most {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    (trained.map(|trained| trained.archive.to_bytes()), epochs)
}

#[test]
fn a_training_that_was_broken_off_goes_on_to_the_same_bundle() {
    let (rows, calibration) = (healthy(32, 120, 1), healthy(32, 20, 2));
    for (objective, trim) in [
        (Objective::default(), 0.1),
        (Objective::Variational { beta: 50.0 }, 0.0),
    ] {
        let request = TrainRequest {
            options: Some(FitOptions {
                epochs: 5,
                batch: 16,
                objective,
                trim,
                ..options()
            }),
            ..request(&rows, &calibration, Variant::Dense)
        };
        let whole = train(&request, |_| {}).unwrap().to_bytes();
        let folder = tempfile::tempdir().unwrap();
        let kept = |name: &str, resume| Checkpoints {
            folder: folder.path().join(name),
            every: 2,
            resume,
        };
        let (trained, all) = resumably(&request, &kept("whole", true), usize::MAX);
        assert!(trained.unwrap() == whole, "keeping checkpoints changed the bundle");
        for most in [3, all / 2, all - 1] {
            let name = most.to_string();
            let (broken, _) = resumably(&request, &kept(&name, false), most);
            assert!(matches!(broken, Err(TrainError::BrokenOff)));
            let (resumed, rest) = resumably(&request, &kept(&name, true), usize::MAX);
            assert!(
                resumed.unwrap() == whole,
                "{objective} broken off after {most} of {all} epochs"
            );
            assert!(rest < all, "{objective} began anew after {most} of {all} epochs");
        }
        let (again, none) = resumably(&request, &kept("whole", true), usize::MAX);
        assert!(again.unwrap() == whole && none == 0, "what is done is done once");
    }
}

#[test]
fn a_training_that_begins_anew_leaves_no_checkpoint_of_an_older_one_to_go_on_from() {
    let (rows, none) = (healthy(32, 120, 1), healthy(32, 0, 2));
    let of_seed = |seed| TrainRequest {
        seed,
        options: Some(FitOptions {
            epochs: 3,
            trim: 0.1,
            ..options()
        }),
        ..request(&rows, &none, Variant::Dense)
    };
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = |resume| Checkpoints {
        folder: folder.path().to_path_buf(),
        every: 1,
        resume,
    };
    let other = folder.path().join("round-notes.checkpoint");
    std::fs::write(&other, "a person's own").unwrap();
    assert!(resumably(&of_seed(5), &checkpoints(false), usize::MAX).0.is_ok());
    assert!(folder.path().join("round-3.checkpoint").exists());
    let (broken, _) = resumably(&of_seed(6), &checkpoints(false), 2);
    assert!(matches!(broken, Err(TrainError::BrokenOff)));
    assert!(!folder.path().join("round-3.checkpoint").exists() && other.exists());
    let (resumed, _) = resumably(&of_seed(6), &checkpoints(true), usize::MAX);
    assert!(resumed.unwrap() == train(&of_seed(6), |_| {}).unwrap().to_bytes());
}

#[test]
fn a_checkpoint_of_another_training_or_a_damaged_one_is_refused_with_the_reason() {
    let (rows, calibration) = (healthy(32, 120, 1), healthy(32, 20, 2));
    let request = request(&rows, &calibration, Variant::Dense);
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = |resume| Checkpoints {
        folder: folder.path().to_path_buf(),
        every: 1,
        resume,
    };
    assert!(resumably(&request, &checkpoints(false), 2).0.is_err());
    let refused = |other: TrainRequest<'_>| {
        let (refused, epochs) = resumably(&other, &checkpoints(true), 1);
        assert_eq!(epochs, 0);
        refused.unwrap_err().to_string()
    };
    let others = healthy(32, 120, 9);
    let with = |options| TrainRequest {
        options: Some(options),
        ..request.clone()
    };
    let plain = FitOptions {
        objective: Objective::Plain,
        ..options()
    };
    let batch = FitOptions { batch: 32, ..options() };
    let cases = [
        (
            TrainRequest {
                seed: 6,
                ..request.clone()
            },
            "seed is 5 there and 6 here",
        ),
        (
            TrainRequest {
                train: &others,
                ..request.clone()
            },
            "data is ",
        ),
        (
            TrainRequest {
                latent: Some(5),
                ..request.clone()
            },
            "network is Dense 32-8 there and Dense 32-5 here",
        ),
        (with(plain), "objective is Denoising"),
        (with(batch), "options is "),
    ];
    for (other, words) in cases {
        let error = refused(other);
        assert!(error.contains(words), "{error}");
    }
    let path = folder.path().join("round-0.checkpoint");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(refused(request.clone()).contains("round-0.checkpoint: it is damaged"));
    std::fs::write(&path, b"short").unwrap();
    assert!(refused(request).contains("it is no checkpoint"));
}
