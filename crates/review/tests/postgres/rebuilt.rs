//! Spectra that the archive thinned away, rebuilt from their latents: marked, with their error, and never taken for what was
//! read.
//!
//! The bundle's decoder knows the first four bins: a latent holds ln(1 + s/s0) of these, and the others come back as nothing.
//! So the error of a rebuilt spectrum is known by hand: what the other bins held.

use std::collections::BTreeMap;

use half::f16;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tocsin_contracts::incident_review::Against;
use tocsin_domain::Codec;
use tocsin_models::bundle::BundleParts;
use tocsin_models::onnx::proto::GraphProto;
use tocsin_models::{ClassDetectors, HeldOut, Lineage, Manifest, Metrics, Objective, TargetSpace, Variant, onnx};

use super::incident::review;
use super::*;

const BINS: usize = 64;
const LATENT: usize = 4;
/// What the bundle's manifest says of healthy readings.
const USUAL: f64 = 0.5;

#[tokio::test]
async fn a_thinned_spectrum_is_rebuilt_within_the_error_that_is_stated() {
    with_stage("rebuilt_error", |stage| async move {
        let stage = with_decoder(stage, Variant::Dense).await;
        let observed = thinned(&stage).await;
        let (mut client, _) = stage.client(Config::default(), Scope::All);
        let shown = client.get_verdict(verdict(7)).await.unwrap().into_inner();
        assert!(shown.observed.is_empty() && shown.reconstructed.is_empty());
        let rebuilt = shown.rebuilt.unwrap();
        let by = rebuilt.by.unwrap();
        assert_eq!(
            (by.bundle_id, by.model.as_str(), by.error_space.as_str(), by.usual_error),
            (stage.bundle.0, "dense", "standardised_log", Some(USUAL))
        );
        assert_eq!((by.not_rebuilt.as_str(), by.error_unknown.as_str()), ("", ""));
        let residual = shown
            .detectors
            .iter()
            .find(|one| one.detector == "residual")
            .unwrap()
            .score;
        assert_eq!(rebuilt.error, Some(residual));
        let found = mean_squared(&observed[7], &rebuilt.amplitude);
        // The latent is of half floats.
        assert!((found - residual).abs() <= 1e-3 * residual, "{found} is not {residual}");

        let kept = client.get_verdict(verdict(0)).await.unwrap().into_inner();
        assert_eq!(
            (kept.observed.len(), kept.rebuilt),
            (BINS, None),
            "one of each hour is kept"
        );
    })
    .await;
}

#[tokio::test]
async fn a_spectrogram_is_filled_in_only_when_that_is_asked_for_and_says_where() {
    with_stage("rebuilt_spectrogram", |stage| async move {
        let stage = with_decoder(stage, Variant::Dense).await;
        thinned(&stage).await;
        let (mut client, _) = stage.client(Config::default(), Scope::All);
        let ask = |with_rebuilt| v1::GetSpectrogramRequest {
            site: "north".to_owned(),
            machine: "p-1".to_owned(),
            sensor: "drive-end".to_owned(),
            from: Some(time::to_wire(at(0))),
            to: Some(time::to_wire(at(20))),
            columns: 20,
            with_rebuilt,
        };
        let kept = client.get_spectrogram(ask(false)).await.unwrap().into_inner();
        assert_eq!((kept.at.len(), kept.amplitude.len()), (1, BINS));
        assert!(kept.rebuilt.is_empty() && kept.rebuilding.is_empty());
        let filled = client.get_spectrogram(ask(true)).await.unwrap().into_inner();
        assert_eq!((filled.at.len(), filled.amplitude.len()), (20, 20 * BINS));
        let expected: Vec<bool> = (0..20).map(|second| second > 0).collect();
        assert_eq!(filled.rebuilt, expected);
        assert_eq!(filled.amplitude[..BINS], kept.amplitude);
        assert_eq!((filled.rebuilding.len(), filled.rebuilding[0].spectra), (1, 19));
    })
    .await;
}

#[tokio::test]
async fn a_distance_is_not_passed_off_as_an_error_and_what_cannot_be_rebuilt_says_why() {
    with_stage("rebuilt_reasons", |stage| async move {
        let without = stage.reading(stage.sensor.id, 1_000, 0.5);
        stage.store_readings(&[without]).await;
        let stage = with_decoder(stage, Variant::Mahalanobis).await;
        let mut short = stage.reading(stage.sensor.id, 1_001, 0.5);
        short.latent = vec![0; 6];
        // A sensor's newest reading stays in Postgres with its spectrum: that is another one.
        let newest = stage.reading(stage.sensor.id, 1_002, 0.5);
        stage.store_readings(&[short, newest]).await;
        thinned(&stage).await;
        let (mut client, _) = stage.client(Config::default(), Scope::All);
        let rebuilt = |answer: v1::GetVerdictResponse| {
            let rebuilt = answer.rebuilt.unwrap();
            (rebuilt.amplitude.len(), rebuilt.error, rebuilt.by.unwrap())
        };
        let (bins, error, by) = rebuilt(client.get_verdict(verdict(7)).await.unwrap().into_inner());
        assert_eq!((bins, error, by.usual_error), (BINS, None, None));
        assert!(
            by.error_unknown
                .starts_with("its residual is not the mean squared error"),
            "{by:?}"
        );

        let (bins, _, by) = rebuilt(client.get_verdict(verdict(1_000)).await.unwrap().into_inner());
        assert_eq!(
            (bins, by.not_rebuilt.as_str()),
            (0, "no latent is kept: no network scored it")
        );
        let (bins, _, by) = rebuilt(client.get_verdict(verdict(1_001)).await.unwrap().into_inner());
        assert_eq!(
            (bins, by.not_rebuilt.as_str()),
            (0, "its latent has 6 bytes, its model's has 4 half floats")
        );
    })
    .await;
}

#[tokio::test]
async fn a_bundle_that_is_gone_is_a_reason_and_no_failure() {
    with_stage("rebuilt_gone", |stage| async move {
        // The stage's own bundle was never in object storage.
        thinned(&stage).await;
        let (mut client, _) = stage.client(Config::default(), Scope::All);
        let shown = client.get_verdict(verdict(7)).await.unwrap().into_inner();
        let by = shown.rebuilt.unwrap().by.unwrap();
        assert!(
            by.not_rebuilt.starts_with("its model can't be had: bundle 0707"),
            "{by:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_review_shows_them_beside_what_was_observed_and_holds_them_against_nothing() {
    with_stage("rebuilt_review", |stage| async move {
        let stage = with_decoder(stage, Variant::Dense).await;
        let stage = Stage {
            baseline: None,
            ..stage
        };
        // Of the hour around the opening all are kept, and the first of each hour.
        let id = stage.opened(9_000).await;
        stage.closed(id, 9_300).await;
        stored(&stage, (0..180).map(|minute| 60 * minute)).await;
        let (mut client, _) = stage.client(Config::default(), Scope::All);
        let (_, document) = review(&mut client, id, 0).await;
        let spectra = document.spectra.unwrap();
        assert!(spectra.captures.is_sorted_by_key(|capture| capture.captured_at));
        let (rebuilt, observed): (Vec<_>, Vec<_>) =
            spectra.captures.iter().partition(|capture| capture.rebuilt.is_some());
        assert!(
            rebuilt.len() > 20 && observed.len() > 20,
            "{} {}",
            rebuilt.len(),
            observed.len()
        );
        assert_eq!(spectra.not_kept as usize, rebuilt.len());
        assert_eq!(
            (spectra.rebuilding.len(), spectra.rebuilding[0].spectra),
            (1, spectra.not_kept)
        );
        assert_eq!(spectra.against, Against::Nothing);
        for capture in rebuilt {
            let from_latent = capture.rebuilt.as_ref().unwrap();
            assert!(capture.captured_at < at(9_000 - 3_600));
            assert!(capture.observed.is_empty() && capture.deviation.is_empty());
            assert_eq!(from_latent.amplitude.len(), BINS);
            assert!(from_latent.error.is_some_and(|error| error > 0.0));
        }
        assert!(observed.iter().all(|capture| capture.observed.len() == BINS));
    })
    .await;
}

#[tokio::test]
async fn what_an_archived_reading_takes_is_told_by_site_to_those_who_may_see_it() {
    with_stage("archived_bytes", |stage| async move {
        thinned(&stage).await;
        let ask = async |scope| {
            let (mut client, _) = stage.client(Config::default(), scope);
            client
                .get_archive(v1::GetArchiveRequest {})
                .await
                .unwrap()
                .into_inner()
                .sites
        };
        let sites = ask(Scope::site(stage.sensor.site)).await;
        assert_eq!(sites.len(), 1);
        let site = &sites[0];
        assert_eq!((site.site.as_str(), site.readings, site.spectra), ("north", 60, 1));
        assert_eq!((site.least_bins, site.most_bins), (64, 64));
        assert!(site.bytes > 0);
        assert_eq!(ask(Scope::site(SiteId(stage.sensor.site.0 + 1))).await, []);
    })
    .await;
}

fn verdict(second: u64) -> v1::GetVerdictRequest {
    v1::GetVerdictRequest {
        site: "north".to_owned(),
        machine: "p-1".to_owned(),
        sensor: "drive-end".to_owned(),
        at: Some(time::to_wire(at(second))),
    }
}

/// What was read in each second of a minute; of these one spectrum is left in the archive.
async fn thinned(stage: &Stage) -> Vec<Vec<f32>> {
    stored(stage, 0..60).await
}

/// Stores readings of these seconds with their latents and archives the day; what was read.
async fn stored(stage: &Stage, seconds: impl Iterator<Item = u64>) -> Vec<Vec<f32>> {
    let codec = Codec::for_spec(&spec());
    let (mut readings, mut observed) = (Vec::new(), Vec::new());
    for second in seconds {
        let codes: Vec<u8> = (0..BINS as u64)
            .map(|bin| if bin < LATENT as u64 { 150 } else { 20 } + ((7 * bin + second) % 30) as u8)
            .collect();
        let amplitude = codec.decode(&codes);
        let latent: Vec<u8> = log(&amplitude)[..LATENT]
            .iter()
            .flat_map(|value| f16::from_f32(*value).to_le_bytes())
            .collect();
        let residual = log(&amplitude)[LATENT..].iter().map(|value| value * value).sum::<f32>() / BINS as f32;
        readings.push(NewReading {
            latent,
            spectrum: codes,
            // Flagged ones would be kept.
            verdict: Verdict::Normal { by: Detector::Residual },
            ..stage.reading(stage.sensor.id, second, residual)
        });
        observed.push(amplitude);
    }
    stage.store_readings(&readings).await;
    // Sensors that wait to be commissioned would keep all their spectra.
    sqlx::query("delete from commissioning")
        .execute(stage.store.pool())
        .await
        .unwrap();
    stage.archive().await;
    observed
}

fn log(amplitude: &[f32]) -> Vec<f32> {
    let s0 = spec().canonical_s0();
    amplitude.iter().map(|one| (one / s0).ln_1p()).collect()
}

fn mean_squared(observed: &[f32], rebuilt: &[f32]) -> f32 {
    let pairs = log(observed).into_iter().zip(log(rebuilt));
    pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f32>() / observed.len() as f32
}

/// The stage with a bundle of this kind in object storage.
async fn with_decoder(stage: Stage, variant: Variant) -> Stage {
    let mut rng = StdRng::seed_from_u64(7);
    let healthy: Vec<f32> = (0..128 * BINS).map(|_| rng.random_range(0.01..1.0)).collect();
    let parts = BundleParts {
        manifest: manifest(variant),
        autoencoder: Vec::new(), // nobody runs it here
        temporal: None,
        decoder: decoder(),
        detectors: ClassDetectors::fit(&healthy, BINS, spec().canonical_s0(), &mut rng).unwrap(),
        held_out: HeldOut::default(),
    };
    let digest = BundleStore::over(stage.objects.clone())
        .put(&parts.pack())
        .await
        .unwrap();
    let new = NewBundle {
        class: stage.sensor.class,
        digest,
        manifest_json: "{}".to_owned(),
        pushed_by: "ana".to_owned(),
    };
    let bundle = stage
        .store
        .bundle_insert(&new, at(0), tocsin_scratch::audit)
        .await
        .unwrap()
        .id;
    Stage { bundle, ..stage }
}

fn manifest(variant: Variant) -> Manifest {
    Manifest {
        format: Manifest::FORMAT,
        class: slug("pump"),
        variant,
        objective: Objective::default(),
        bins: BINS as u16,
        latent: LATENT as u16,
        full_scale: spec().canonical_full_scale(),
        s0: spec().canonical_s0(),
        unit: "g".to_owned(),
        codec: Codec::VERSION,
        target_space: TargetSpace::StandardisedLog,
        lineage: Lineage {
            corpora: Vec::new(),
            rows_by_split: BTreeMap::new(),
            sensors: Vec::new(),
            seed: 0,
            selection: None,
            trainer: "by hand".to_owned(),
            created_at: at(0),
        },
        metrics: Metrics {
            validation_loss: USUAL,
            training_loss: 0.0,
            best_epoch: 1,
            epochs: 1,
            figures: BTreeMap::new(),
        },
        temporal: None,
        files: BTreeMap::new(),
    }
}

/// s0 * (exp(latent in its places) - 1).
fn decoder() -> Vec<u8> {
    let places: Vec<f32> = (0..LATENT * BINS)
        .map(|i| f32::from(u8::from(i / BINS == i % BINS)))
        .collect();
    let graph = GraphProto {
        name: "by_hand".to_owned(),
        node: vec![
            onnx::node("MatMul", &[onnx::LATENT, "places"], "log"),
            onnx::node("Exp", &["log"], "ratio"),
            onnx::node("Sub", &["ratio", "one"], "from_zero"),
            onnx::node("Mul", &["from_zero", "s0"], onnx::SPECTRUM),
        ],
        initializer: vec![
            onnx::floats("places", &[LATENT, BINS], &places),
            onnx::floats("one", &[1], &[1.0]),
            onnx::floats("s0", &[1], &[spec().canonical_s0()]),
        ],
        input: vec![onnx::rows_of(onnx::LATENT, &[LATENT])],
        output: vec![onnx::rows_of(onnx::SPECTRUM, &[BINS])],
        ..GraphProto::default()
    };
    onnx::to_bytes(&onnx::model(graph))
}
