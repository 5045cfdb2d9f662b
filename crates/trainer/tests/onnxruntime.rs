//! The exported files in another runtime: they pass `onnx.checker`, and onnxruntime agrees with what is served.
//!
//! Needs `python3` with numpy, onnx and onnxruntime. Without them it says so and passes, except where `CI` is `true`.

use std::path::Path;
use std::process::Command;

use tocsin_domain::{Slug, SpectrumSpec, Timestamp};
use tocsin_models::{Bundle, Decoder, Network, Objective, Variant};
use tocsin_trainer::{FitOptions, TrainRequest, TrainingSet, train};

const BINS: usize = 64;
const TOLERANCE: f32 = 1e-4;

/// Writes squared errors, latents and decoded spectra beside the bundle.
const SCRIPT: &str = r#"
import os, sys, numpy as np, onnx, onnxruntime as ort
folder = sys.argv[1]
def session(name):
    onnx.checker.check_model(onnx.load(f"{folder}/{name}"), full_check=True)
    return ort.InferenceSession(f"{folder}/{name}", providers=["CPUExecutionProvider"])
bins = np.fromfile(f"{folder}/bins.f32", "<f4").reshape(-1, 64)
network = session("autoencoder.onnx")
target, reconstruction, latent = network.run(["target", "reconstruction", "latent"], {"bins": bins})
squared = ((target - reconstruction) ** 2).astype("<f4")
squared.tofile(f"{folder}/squared.f32")
own = any(output.name == "score" for output in network.get_outputs())
score = network.run(["score"], {"bins": bins})[0] if own else squared.mean(axis=1)
score.astype("<f4").tofile(f"{folder}/score.f32")
latent.astype("<f4").tofile(f"{folder}/latent.f32")
half = latent.astype(np.float16).astype(np.float32)
session("decoder.onnx").run(["spectrum"], {"latent": half})[0].astype("<f4").tofile(f"{folder}/spectrum.f32")
if os.path.exists(f"{folder}/temporal.onnx"):
    history = np.fromfile(f"{folder}/history.f32", "<f4").reshape(-1, int(sys.argv[2]), 64)
    names = ["target", "reconstruction", "latent", "score"]
    target, reconstruction, latent, score = session("temporal.onnx").run(names, {"history": history})
    ((target - reconstruction) ** 2).astype("<f4").tofile(f"{folder}/temporal_squared.f32")
    latent.astype("<f4").tofile(f"{folder}/temporal_latent.f32")
    score.astype("<f4").tofile(f"{folder}/temporal_score.f32")
"#;

fn rows() -> TrainingSet {
    let mut set = TrainingSet::new(&SpectrumSpec::corpus_default(BINS as u16));
    for at in 0..150_u16 {
        let wave = |bin: u16| 0.02 + 0.018 * (f32::from(at) * 0.3 + f32::from(bin) * 0.7).sin();
        let amplitudes: Vec<f32> = (0..BINS as u16).map(wave).collect();
        set.push(
            "plant/mill/x",
            Timestamp::from_micros(i64::from(at) * 1_000_000),
            &amplitudes,
        )
        .unwrap();
    }
    set
}

/// The windows of rows that follow one another, one after the other.
fn history(rows: &TrainingSet, spectra: usize) -> Vec<f32> {
    let windows = rows.linear().windows(spectra * BINS).step_by(BINS);
    windows.flatten().copied().collect()
}

fn bundle(variant: Variant, objective: Objective) -> Bundle {
    let set = rows();
    let request = TrainRequest {
        class: Slug::parse("class", "mill").unwrap(),
        train: &set,
        calibration: &set,
        variant,
        foreign: None,
        latent: None,
        seed: 1,
        options: Some(FitOptions {
            epochs: 5,
            objective,
            ..FitOptions::of(variant)
        }),
        corpora: Vec::new(),
        created_at: Timestamp::from_micros(0),
    };
    Bundle::from_archive(train(&request, |_| {}).unwrap()).unwrap()
}

fn read(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!(
            (a - b).abs() <= tolerance * (1.0 + b.abs()),
            "{what} {at}: {a} against {b}"
        );
    }
}

fn python_is_there() -> bool {
    let imports = ["-c", "import numpy, onnx, onnxruntime"];
    Command::new("python3")
        .args(imports)
        .output()
        .is_ok_and(|output| output.status.success())
}

#[test]
fn onnxruntime_agrees_with_what_is_served() {
    if !python_is_there() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "python3 with numpy, onnx and onnxruntime is needed"
        );
        eprintln!("skipped: python3 with numpy, onnx and onnxruntime is not there");
        return;
    }
    let of_network = |variant| Objective::ALL.map(|objective| (variant, objective));
    let linear = [Variant::Pca, Variant::Mahalanobis].map(|variant| (variant, Objective::Plain));
    let kinds = [of_network(Variant::Dense), of_network(Variant::Conv)]
        .concat()
        .into_iter()
        .chain(linear)
        .chain([
            (Variant::TemporalConv, Objective::default()),
            (Variant::TemporalLstm, Objective::default()),
            (Variant::TemporalLstm, Objective::VariationalElbo { beta: 0.1 }),
        ]);
    for (variant, objective) in kinds {
        let bundle = bundle(variant, objective);
        let folder = tempfile::tempdir().unwrap();
        bundle.archive().to_dir(folder.path()).unwrap();
        let rows = rows();
        let bytes: Vec<u8> = rows.linear().iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(folder.path().join("bins.f32"), bytes).unwrap();
        let window = usize::from(FitOptions::of(variant).window);
        let history = history(&rows, window);
        let bytes: Vec<u8> = history.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(folder.path().join("history.f32"), bytes).unwrap();
        let output = Command::new("python3")
            .args(["-c", SCRIPT])
            .arg(folder.path())
            .arg(window.to_string())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

        let wanted: Vec<usize> = (0..rows.len()).collect();
        let scored = Network::load(&bundle)
            .unwrap()
            .session()
            .unwrap()
            .run(rows.linear(), &wanted)
            .unwrap();
        let latents: Vec<f32> = scored.latents.iter().map(|value| value.to_f32()).collect();
        let spectra = Decoder::load(&bundle).unwrap().run(&scored.latents).unwrap();
        let found = |name: &str| read(&folder.path().join(name));
        assert_close("score", &scored.errors, &found("score.f32"), TOLERANCE);
        assert_close("squared error", &scored.bin_errors, &found("squared.f32"), TOLERANCE);
        // Half floats keep 11 bits; a latent on the edge between two may fall to either side.
        assert_close("latent", &latents, &found("latent.f32"), 1e-3);
        assert_close("spectrum", &spectra, &found("spectrum.f32"), 1e-3);
        if let Some(network) = Network::load_temporal(&bundle).unwrap() {
            let wanted: Vec<usize> = (0..history.len() / (window * BINS)).collect();
            let scored = network.session().unwrap().run(&history, &wanted).unwrap();
            let latents: Vec<f32> = scored.latents.iter().map(|value| value.to_f32()).collect();
            assert_close("score", &scored.errors, &found("temporal_score.f32"), TOLERANCE);
            assert_close(
                "squared error",
                &scored.bin_errors,
                &found("temporal_squared.f32"),
                TOLERANCE,
            );
            assert_close("latent", &latents, &found("temporal_latent.f32"), 1e-3);
        }
    }
}
