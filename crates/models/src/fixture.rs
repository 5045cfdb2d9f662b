//! A small bundle for the tests of this crate, with weights drawn by a seeded generator.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tocsin_domain::{Detector, Scores, Slug, Timestamp};

use crate::bundle::BundleParts;
use crate::onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto};
use crate::onnx::{floats, integers, node, rows_of};
use crate::{
    BundleArchive, ClassDetectors, HeldOut, HeldOutRow, Lineage, Manifest, Metrics, Objective, TargetSpace, Temporal,
    Variant, Window,
};
use crate::{bundle, onnx};

pub(crate) const BINS: usize = 32;
pub(crate) const LATENT: usize = 4;
/// Spectra in a window of the fixture's temporal network.
pub(crate) const SPECTRA: usize = 3;

/// Linear spectra around 0.02, rows x `BINS`.
pub(crate) fn spectra(rows: usize, seed: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..rows * BINS)
        .map(|at| 0.01 + 0.02 * rng.random::<f32>() * (1.0 + (at % 7) as f32))
        .collect()
}

/// ln(1 + 1000 s), a tanh layer down and a linear one up.
pub(crate) fn autoencoder() -> ModelProto {
    let nodes = vec![
        node("Mul", &[onnx::BINS, "inverse_s0"], "ratio"),
        node("Add", &["ratio", "one"], "from_one"),
        node("Log", &["from_one"], onnx::TARGET),
        node("MatMul", &[onnx::TARGET, "down"], "projected"),
        node("Tanh", &["projected"], onnx::LATENT),
        node("MatMul", &[onnx::LATENT, "up"], onnx::RECONSTRUCTION),
    ];
    let weights = vec![
        floats("inverse_s0", &[], &[1000.0]),
        floats("one", &[], &[1.0]),
        floats("down", &[BINS, LATENT], &random(BINS * LATENT, 1)),
        floats("up", &[LATENT, BINS], &random(BINS * LATENT, 2)),
    ];
    let outputs = [
        (onnx::TARGET, BINS),
        (onnx::RECONSTRUCTION, BINS),
        (onnx::LATENT, LATENT),
    ];
    model(nodes, weights, (onnx::BINS, BINS), &outputs)
}

/// The same on the last spectrum of a window, its latents those of all spectra flattened.
pub(crate) fn temporal() -> ModelProto {
    let mut flat = node("Reshape", &["log", "flat_shape"], "flat");
    flat.name = "flat".to_owned();
    let nodes = vec![
        node("Mul", &[onnx::HISTORY, "inverse_s0"], "ratio"),
        node("Add", &["ratio", "one"], "from_one"),
        node("Log", &["from_one"], "log"),
        flat,
        node("Slice", &["flat", "from", "to", "axis"], onnx::TARGET),
        node("MatMul", &["flat", "down"], "projected"),
        node("Tanh", &["projected"], onnx::LATENT),
        node("MatMul", &[onnx::LATENT, "up"], onnx::RECONSTRUCTION),
    ];
    let all = SPECTRA * BINS;
    let weights = vec![
        floats("inverse_s0", &[], &[1000.0]),
        floats("one", &[], &[1.0]),
        integers("flat_shape", &[-1, all as i64]),
        integers("from", &[(all - BINS) as i64]),
        integers("to", &[all as i64]),
        integers("axis", &[1]),
        floats("down", &[all, LATENT], &random(all * LATENT, 5)),
        floats("up", &[LATENT, BINS], &random(BINS * LATENT, 2)),
    ];
    let outputs = [
        (onnx::TARGET, BINS),
        (onnx::RECONSTRUCTION, BINS),
        (onnx::LATENT, LATENT),
    ];
    model(nodes, weights, (onnx::HISTORY, all), &outputs)
}

/// A linear layer, rectified.
pub(crate) fn decoder() -> ModelProto {
    let nodes = vec![
        node("MatMul", &[onnx::LATENT, "up"], "raw"),
        node("Relu", &["raw"], onnx::SPECTRUM),
    ];
    let weights = vec![floats("up", &[LATENT, BINS], &random(BINS * LATENT, 2))];
    model(nodes, weights, (onnx::LATENT, LATENT), &[(onnx::SPECTRUM, BINS)])
}

pub(crate) fn detectors() -> ClassDetectors {
    ClassDetectors::fit(&spectra(300, 3), BINS, 0.001, &mut StdRng::seed_from_u64(4)).expect("random rows have spread")
}

pub(crate) fn parts() -> BundleParts {
    let lineage = Lineage {
        selection: None,
        corpora: Vec::new(),
        rows_by_split: [("train".to_owned(), 300)].into(),
        sensors: vec!["plant/mill/x".to_owned()],
        seed: 7,
        trainer: "fixture 1".to_owned(),
        created_at: Timestamp::from_micros(1_700_000_000_000_000),
    };
    let manifest = Manifest {
        format: Manifest::FORMAT,
        class: Slug::parse("class", "mill").expect("a name"),
        variant: Variant::Dense,
        objective: Objective::default(),
        bins: BINS as u16,
        latent: LATENT as u16,
        full_scale: 10.0,
        s0: 0.001,
        unit: "g".to_owned(),
        codec: 1,
        target_space: TargetSpace::StandardisedLog,
        lineage,
        metrics: Metrics {
            validation_loss: 0.25,
            training_loss: 0.2,
            best_epoch: 3,
            epochs: 5,
            figures: BTreeMap::new(),
        },
        temporal: None,
        files: Default::default(),
    };
    let mut scores = Scores::default();
    scores.set(Detector::Residual, 0.125);
    scores.set(Detector::Mahalanobis, 5.7);
    let row = |sensor, second: i64| HeldOutRow {
        sensor,
        captured_at: Timestamp::from_micros(second * 1_000_000),
        scores,
    };
    bundle::BundleParts {
        manifest,
        autoencoder: onnx::to_bytes(&autoencoder()),
        decoder: onnx::to_bytes(&decoder()),
        temporal: None,
        detectors: detectors(),
        held_out: HeldOut::new(
            vec!["plant/mill/x".to_owned(), "plant/mill/y".to_owned()],
            vec![row(1, 20), row(0, 10)],
        ),
    }
}

pub(crate) fn archive() -> BundleArchive {
    parts().pack()
}

/// The parts with a temporal network beside the other.
pub(crate) fn temporal_parts() -> BundleParts {
    let mut parts = parts();
    parts.manifest.variant = Variant::TemporalConv;
    parts.manifest.temporal = Some(Temporal {
        window: Window {
            spectra: SPECTRA as u16,
            most_gap_ms: 25_000,
        },
        score_factor: 1.0,
        metrics: parts.manifest.metrics.clone(),
    });
    parts.temporal = Some(onnx::to_bytes(&temporal()));
    parts
}

pub(crate) fn temporal_archive() -> BundleArchive {
    temporal_parts().pack()
}

fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|_| rng.random::<f32>() * 0.4 - 0.2).collect()
}

fn model(
    node: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
    input: (&str, usize),
    outputs: &[(&str, usize)],
) -> ModelProto {
    let graph = GraphProto {
        name: "fixture".to_owned(),
        node,
        initializer,
        input: vec![rows_of(input.0, &[input.1])],
        output: outputs
            .iter()
            .map(|(name, columns)| rows_of(name, &[*columns]))
            .collect(),
        ..Default::default()
    };
    onnx::model(graph)
}
