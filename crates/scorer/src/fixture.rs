//! A bundle small enough to check by hand, in a store in memory.
//!
//! Its autoencoder gives back every bin times a factor, so a row's error is `(1 - factor)² · mean(s²)`; its latent is the
//! first four bins, and its decoder puts them back in their places.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tocsin_domain::{BundleDigest, Codec, Slug, Timestamp};
use tocsin_models::bundle::BundleParts;
use tocsin_models::onnx::proto::{GraphProto, NodeProto, TensorProto};
use tocsin_models::onnx::{floats, rows_of};
use tocsin_models::{
    BundleStore, ClassDetectors, HeldOut, Lineage, Manifest, Metrics, Objective, TargetSpace, Temporal, Variant,
    Window, onnx,
};

/// Bins of the fixture's spectra.
pub(crate) const BINS: usize = 32;
/// Values of its latent.
pub(crate) const LATENT: usize = 4;
/// Its full scale.
pub(crate) const FULL_SCALE: f32 = 10.0;

/// Puts a bundle with this factor into the store.
pub(crate) async fn put(store: &BundleStore, factor: f32) -> BundleDigest {
    store
        .put(&parts(factor).pack())
        .await
        .expect("a store in memory takes it")
}

/// The same with a network over windows of three spectra, which rebuilds the last of them as nothing.
pub(crate) async fn put_temporal(store: &BundleStore, factor: f32) -> BundleDigest {
    let mut parts = parts(factor);
    parts.manifest.variant = Variant::TemporalConv;
    parts.manifest.temporal = Some(Temporal {
        window: Window {
            spectra: 3,
            most_gap_ms: 25_000,
        },
        score_factor: 1.0,
        metrics: parts.manifest.metrics.clone(),
    });
    parts.temporal = Some(temporal());
    store.put(&parts.pack()).await.expect("a store in memory takes it")
}

fn parts(factor: f32) -> BundleParts {
    let mut rng = StdRng::seed_from_u64(7);
    let healthy: Vec<f32> = (0..128 * BINS).map(|_| rng.random_range(0.01..1.0)).collect();
    let detectors = ClassDetectors::fit(&healthy, BINS, 0.001, &mut rng).expect("random rows have spread");
    BundleParts {
        manifest: manifest(),
        autoencoder: autoencoder(factor),
        decoder: decoder(),
        temporal: None,
        detectors,
        held_out: HeldOut::default(),
    }
}

fn manifest() -> Manifest {
    Manifest {
        format: Manifest::FORMAT,
        class: Slug::parse("class", "pump").expect("a name"),
        variant: Variant::Dense,
        objective: Objective::default(),
        bins: BINS as u16,
        latent: LATENT as u16,
        full_scale: FULL_SCALE,
        s0: 0.001,
        unit: "g".to_owned(),
        codec: Codec::VERSION,
        target_space: TargetSpace::StandardisedLog,
        lineage: Lineage {
            selection: None,
            corpora: Vec::new(),
            rows_by_split: BTreeMap::new(),
            sensors: Vec::new(),
            seed: 0,
            trainer: "by hand".to_owned(),
            created_at: Timestamp::from_micros(0),
        },
        metrics: Metrics {
            validation_loss: 0.0,
            training_loss: 0.0,
            best_epoch: 1,
            epochs: 1,
            figures: BTreeMap::new(),
        },
        temporal: None,
        files: BTreeMap::new(),
    }
}

fn autoencoder(factor: f32) -> Vec<u8> {
    let picks: Vec<f32> = (0..BINS * LATENT)
        .map(|i| f32::from(u8::from(i / LATENT == i % LATENT)))
        .collect();
    model(
        (onnx::BINS, BINS),
        &[
            ("Mul", onnx::TARGET, BINS, floats("one", &[1], &[1.0])),
            ("Mul", onnx::RECONSTRUCTION, BINS, floats("factor", &[1], &[factor])),
            ("MatMul", onnx::LATENT, LATENT, floats("picks", &[BINS, LATENT], &picks)),
        ],
    )
}

/// Products of a flattened window with what picks its last spectrum, nothing, and the last spectrum's first values.
fn temporal() -> Vec<u8> {
    let all = 3 * BINS;
    let last = |columns: usize| -> Vec<f32> {
        (0..all * columns)
            .map(|i| f32::from(u8::from(i / columns == 2 * BINS + i % columns)))
            .collect()
    };
    let mut model = onnx::from_bytes(&model(
        ("flat", all),
        &[
            ("MatMul", onnx::TARGET, BINS, floats("last", &[all, BINS], &last(BINS))),
            (
                "MatMul",
                onnx::RECONSTRUCTION,
                BINS,
                floats("nothing", &[all, BINS], &vec![0.0; all * BINS]),
            ),
            (
                "MatMul",
                onnx::LATENT,
                LATENT,
                floats("picks", &[all, LATENT], &last(LATENT)),
            ),
        ],
    ))
    .expect("made above");
    let graph = model.graph.as_mut().expect("made above");
    let flatten = NodeProto {
        input: vec![onnx::HISTORY.to_owned()],
        output: vec!["flat".to_owned()],
        name: "flat".to_owned(),
        op_type: "Flatten".to_owned(),
        ..NodeProto::default()
    };
    graph.node.insert(0, flatten);
    onnx::HISTORY.clone_into(&mut graph.input[0].name);
    onnx::to_bytes(&model)
}

fn decoder() -> Vec<u8> {
    let places: Vec<f32> = (0..LATENT * BINS)
        .map(|i| f32::from(u8::from(i / BINS == i % BINS)))
        .collect();
    model(
        (onnx::LATENT, LATENT),
        &[(
            "MatMul",
            onnx::SPECTRUM,
            BINS,
            floats("places", &[LATENT, BINS], &places),
        )],
    )
}

/// Each output is one operator on the input and a weight.
fn model(input: (&str, usize), outputs: &[(&str, &str, usize, TensorProto)]) -> Vec<u8> {
    let node = |(operator, name, _, weight): &(&str, &str, usize, TensorProto)| {
        onnx::node(operator, &[input.0, &weight.name], name)
    };
    let graph = GraphProto {
        name: "by_hand".to_owned(),
        node: outputs.iter().map(node).collect(),
        initializer: outputs.iter().map(|(_, _, _, weight)| weight.clone()).collect(),
        input: vec![rows_of(input.0, &[input.1])],
        output: outputs
            .iter()
            .map(|(_, name, columns, _)| rows_of(name, &[*columns]))
            .collect(),
        ..GraphProto::default()
    };
    onnx::to_bytes(&onnx::model(graph))
}
