use proptest::prelude::*;

use super::*;
use crate::bundle::BundleParts;
use crate::fixture;
use crate::onnx;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto};

/// The verdict on the fixture with its autoencoder changed.
fn verdict(change: impl FnOnce(&mut ModelProto)) -> Result<VerifyReport, String> {
    let mut model = fixture::autoencoder();
    change(&mut model);
    verdict_of(BundleParts {
        autoencoder: onnx::to_bytes(&model),
        ..fixture::parts()
    })
}

fn verdict_of(parts: BundleParts) -> Result<VerifyReport, String> {
    verify(&parts.pack().to_bytes(), VerifyLimits::default()).map_err(|e| e.to_string())
}

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().expect("the fixture has one")
}

/// A reduction over the first dimension, which is left out.
fn over_rows(op_type: &str, input: &str, output: &str) -> NodeProto {
    let integers = |name: &str, ints| AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Ints as i32,
        ints,
        ..Default::default()
    };
    let keep = AttributeProto {
        name: "keepdims".to_owned(),
        r#type: AttributeType::Int as i32,
        ..Default::default()
    };
    let mut node = onnx::node(op_type, &[input], output);
    node.attribute = vec![integers("axes", vec![0]), keep];
    node
}

/// The reason for refusing the changed fixture must hold these words.
fn assert_refused(words: &str, change: impl FnOnce(&mut ModelProto)) {
    let reason = verdict(change).expect_err("it should be refused");
    assert!(reason.contains(words), "{words:?} is not in {reason:?}");
}

#[test]
fn a_bundle_with_a_temporal_network_passes_and_that_network_is_looked_at_like_the_others() {
    let parts = fixture::temporal_parts();
    let report = verify(&parts.clone().pack().to_bytes(), VerifyLimits::default()).unwrap();
    assert_eq!(report.manifest.temporal, parts.manifest.temporal);
    assert_eq!(report.operators["MatMul"], 5);
    let refused = |change: &dyn Fn(&mut BundleParts)| {
        let mut parts = fixture::temporal_parts();
        change(&mut parts);
        verdict_of(parts).unwrap_err()
    };
    let mixing = refused(&|parts| {
        let mut model = fixture::temporal();
        graph(&mut model).node.push(over_rows("ReduceMean", "flat", "mean"));
        graph(&mut model).node[5].input[0] = "mean".to_owned();
        parts.temporal = Some(onnx::to_bytes(&model));
    });
    assert!(mixing.starts_with("temporal.onnx: "), "{mixing}");
    let other_window = refused(&|parts| parts.manifest.temporal.as_mut().unwrap().window.spectra = 4);
    assert!(other_window.starts_with("temporal.onnx: "), "{other_window}");
    let missing = refused(&|parts| parts.temporal = None);
    assert!(missing.starts_with("temporal.onnx: a bundle has it if"), "{missing}");
    let unnamed = refused(&|parts| parts.manifest.temporal = None);
    assert!(unnamed.contains("temporal: belongs to temporal variants"), "{unnamed}");
}

#[test]
fn a_whole_bundle_passes_and_the_report_says_what_it_is() {
    let archive = fixture::archive();
    let report = verify(&archive.to_bytes(), VerifyLimits::default()).expect("it is whole");
    assert_eq!(report.digest, archive.digest());
    assert_eq!(report.manifest.class.as_str(), "mill");
    assert_eq!(report.operators["MatMul"], 3);
    assert_eq!(report.parameters, 3 * fixture::BINS * fixture::LATENT + 2);
}

#[test]
fn operators_domains_and_versions_off_the_list_are_refused() {
    assert_refused("not on the list", |m| graph(m).node[4].op_type = "Loop".to_owned());
    assert_refused("not on the list", |m| {
        graph(m).node[4].op_type = "RandomNormalLike".to_owned();
    });
    assert_refused("domain \"com.evil\"", |m| {
        graph(m).node[4].domain = "com.evil".to_owned();
    });
    assert_refused("opset_import: domain", |m| {
        m.opset_import[0].domain = "com.evil".to_owned();
    });
    assert_refused("domain \"ai.onnx.ml\"", |m| {
        graph(m).node[4].domain = "ai.onnx.ml".to_owned();
    });
    assert_refused("opset_import: is missing", |m| {
        m.opset_import[0].domain = "ai.onnx.ml".to_owned();
    });
    assert_refused("opset_import: version 99", |m| m.opset_import[0].version = 99);
    assert_refused("opset_import: is missing", |m| m.opset_import.clear());
    assert_refused("ir_version: 99", |m| m.ir_version = 99);
    assert_refused("field 20", |m| m.training_info.push(Default::default()));
    assert_refused("graph: is missing", |m| m.graph = None);
}

#[test]
fn an_operator_set_that_nothing_is_of_does_no_harm() {
    let idle = |m: &mut ModelProto| {
        let mut import = m.opset_import[0].clone();
        (import.domain, import.version) = ("ai.onnx.ml".to_owned(), 2);
        m.opset_import.push(import);
    };
    verdict(idle).unwrap();
}

#[test]
fn subgraphs_and_data_outside_the_file_are_refused() {
    assert_refused("subgraphs", |m| {
        let g = Some(GraphProto::default());
        let attribute = AttributeProto {
            name: "body".to_owned(),
            g,
            ..Default::default()
        };
        graph(m).node[4].attribute.push(attribute);
    });
    assert_refused("data outside the file", |m| {
        let tensor = &mut graph(m).initializer[2];
        tensor.raw_data.clear();
        tensor.data_location = Some(1);
    });
    assert_refused("beyond a million", |m| {
        let (r#type, ints) = (AttributeType::Ints as i32, vec![i64::MAX]);
        graph(m).node[4].attribute.push(AttributeProto {
            name: "pads".to_owned(),
            r#type,
            ints,
            ..Default::default()
        });
    });
}

#[test]
fn functions_are_seen_although_the_reader_skips_them() {
    let mut bytes = onnx::to_bytes(&fixture::autoencoder());
    bytes.extend([0xca, 0x01, 0x00]); // Field 25, no bytes.
    let reason = verdict_of(BundleParts {
        autoencoder: bytes,
        ..fixture::parts()
    })
    .expect_err("it has a function");
    assert!(reason.contains("field 25"), "{reason}");
}

#[test]
fn tensors_that_lie_about_their_size_are_refused() {
    assert_refused("negative or too large", |m| graph(m).initializer[2].dims = vec![-1, 4]);
    assert_refused("negative or too large", |m| {
        graph(m).initializer[2].dims = vec![i64::MAX, i64::MAX];
    });
    assert_refused("bytes of data", |m| graph(m).initializer[2].dims = vec![31, 4]);
    assert_refused("data type 8", |m| graph(m).initializer[2].data_type = 8);
    assert_refused("dimensions, the most is", |m| {
        graph(m).initializer[0].dims = vec![1; 60];
    });
}

#[test]
fn what_would_grow_while_loading_is_refused() {
    // An outer product of two modest constants.
    assert_refused("computes on constants only", |m| {
        let graph = graph(m);
        graph.initializer.push(onnx::floats("column", &[4000, 1], &[1.0; 4000]));
        graph.initializer.push(onnx::floats("row", &[1, 4000], &[1.0; 4000]));
        graph.node.push(onnx::node("Add", &["column", "row"], "bomb"));
    });
    // A product with the input that is as large, brought back to size by a mean.
    assert_refused("more elements in a batch than the limit", |m| {
        let graph = graph(m);
        graph
            .initializer
            .push(onnx::floats("column", &[1 << 20, 1, 1], &vec![1.0; 1 << 20]));
        "small".clone_into(&mut graph.node[3].output[0]);
        "small".clone_into(&mut graph.node[3].name);
        graph.node.insert(4, onnx::node("Mul", &["column", "small"], "bomb"));
        graph.node.insert(5, over_rows("ReduceMean", "bomb", "projected"));
    });
}

#[test]
fn a_model_off_the_contract_is_refused() {
    assert_refused("inputs must be [\"bins\"]", |m| {
        let graph = graph(m);
        graph.input[0].name = "x".to_owned();
        for input in graph.node.iter_mut().flat_map(|node| &mut node.input) {
            if input == onnx::BINS {
                *input = "x".to_owned();
            }
        }
    });
    assert_refused("has no output \"latent\"", |m| {
        graph(m).output.pop();
    });
    assert_refused("output \"nowhere\" is never made", |m| {
        graph(m).output[0].name = "nowhere".to_owned();
    });
    assert_refused("is not made before it", |m| graph(m).node.reverse());
    assert_refused("is made twice", |m| graph(m).node[1].output[0] = "ratio".to_owned());
    assert_refused("must hold 32", |m| {
        let weights = onnx::floats("up", &[fixture::LATENT, 31], &[0.1; fixture::LATENT * 31]);
        graph(m).initializer[3] = weights;
    });
    // Each row less the mean over the batch.
    assert_refused("mixes rows", |m| {
        let graph = graph(m);
        graph.node[5].output[0] = "scaled".to_owned();
        graph.node[5].name = "scaled".to_owned();
        graph.node.push(over_rows("ReduceMean", "scaled", "mean"));
        graph
            .node
            .push(onnx::node("Sub", &["scaled", "mean"], onnx::RECONSTRUCTION));
    });
}

#[test]
fn outputs_that_are_not_numbers_are_refused() {
    assert_refused("the error of spectrum", |m| {
        graph(m).initializer[1] = onnx::floats("one", &[], &[-1.0]);
    });
    assert_refused("the error of spectrum", |m| {
        let weights = onnx::floats("up", &[fixture::LATENT, fixture::BINS], &[f32::NAN; 128]);
        graph(m).initializer[3] = weights;
    });
    let mut decoder = fixture::decoder();
    graph(&mut decoder).node[1].op_type = "Neg".to_owned();
    let reason = verdict_of(BundleParts {
        decoder: onnx::to_bytes(&decoder),
        ..fixture::parts()
    });
    assert!(reason.expect_err("negative amplitudes").contains("is rebuilt as"));
}

#[test]
fn a_bundle_over_the_limits_is_refused() {
    let bytes = fixture::archive().to_bytes();
    let refused = |limits| verify(&bytes, limits).expect_err("over a limit").to_string();
    let default = VerifyLimits::default();
    assert!(refused(VerifyLimits { nodes: 5, ..default }).contains("operators, the limit is 5"));
    assert!(
        refused(VerifyLimits {
            parameters: 200,
            ..default
        })
        .contains("weights, the limit is 200")
    );
    assert!(
        refused(VerifyLimits {
            elements: 1000,
            ..default
        })
        .contains("the limit of 1000")
    );
    let archive = ArchiveLimits {
        archive_bytes: 1000,
        ..default.archive
    };
    assert!(refused(VerifyLimits { archive, ..default }).contains("bytes, the limit is 1000"));
}

#[test]
fn metadata_is_allowed() {
    let entry = StringStringEntryProto {
        key: "author".to_owned(),
        value: "somebody".to_owned(),
    };
    verdict(|m| m.metadata_props.push(entry)).expect("metadata is harmless");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_model_with_bytes_changed_is_refused_or_runs_and_never_ends_the_process(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let mut bytes = onnx::to_bytes(&fixture::autoencoder());
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        // The engine may panic on what no check foresees; that too is a refusal.
        let digest = BundleParts { autoencoder: bytes.clone(), ..fixture::parts() }.pack().digest();
        if let Ok(report) = verdict_of(BundleParts { autoencoder: bytes, ..fixture::parts() }) {
            prop_assert_eq!(report.digest, digest);
        }
    }

    #[test]
    fn an_archive_cut_or_changed_is_refused_or_whole(
        cut in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), value in any::<u8>()
    ) {
        let whole = fixture::archive().to_bytes();
        let mut bytes = whole.clone();
        bytes.truncate(cut.index(whole.len()).max(1));
        let place = place.index(bytes.len());
        bytes[place] = value;
        match verify(&bytes, VerifyLimits::default()) {
            Ok(report) => {
                let read = BundleArchive::from_bytes(&bytes, ArchiveLimits::default());
                prop_assert_eq!(read.map(|archive| archive.digest()).ok(), Some(report.digest));
            }
            Err(reason) => prop_assert!(!matches!(reason, VerifyError::Panicked { .. }), "{}", reason),
        }
    }
}
