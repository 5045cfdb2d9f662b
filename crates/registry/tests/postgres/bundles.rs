use std::collections::BTreeMap;

use tocsin_contracts::registry::v1::push_bundle_request::Message;
use tocsin_contracts::registry::v1::{
    Bundle, DownloadBundleRequest, GetBundleRequest, ListBundlesRequest, PushBundleHeader, PushBundleRequest,
    SetChallengerRequest,
};
use tocsin_domain::lifecycle::ThresholdState;
use tocsin_domain::{Slug, Timestamp};
use tocsin_models::{BundleArchive, Lineage, Manifest, Metrics, Objective, TargetSpace, Variant};
use tocsin_registry::{Config, bundles, verify};
use tonic::{Code, Status};

use crate::lineup::{promote, threshold_set};
use crate::stage::{SERVICE, Stage};

/// An archive that unpacks; nobody but the stand-in below runs it.
pub(crate) fn archive(marker: &str, class: &str) -> BundleArchive {
    let manifest = Manifest {
        format: Manifest::FORMAT,
        class: Slug::parse("class", class).unwrap(),
        variant: Variant::Dense,
        objective: Objective::default(),
        bins: 64,
        latent: 12,
        full_scale: 10.0,
        s0: 0.001,
        unit: "g".into(),
        codec: 1,
        target_space: TargetSpace::StandardisedLog,
        lineage: Lineage {
            selection: None,
            corpora: Vec::new(),
            rows_by_split: BTreeMap::new(),
            sensors: vec![marker.into()],
            seed: 1,
            trainer: "test".into(),
            created_at: Timestamp::from_micros(0),
        },
        metrics: Metrics {
            validation_loss: 1.0,
            training_loss: 1.0,
            best_epoch: 1,
            epochs: 1,
            figures: BTreeMap::new(),
        },
        temporal: None,
        files: BTreeMap::new(),
    };
    let stub = ["autoencoder.onnx", "decoder.onnx", "detectors.json", "held_out.json"];
    let files = stub.map(|name| (name.to_owned(), marker.as_bytes().to_vec()));
    BundleArchive::new(
        files
            .into_iter()
            .chain([("manifest.json".to_owned(), manifest.to_json())]),
    )
    .unwrap()
}

/// A stand-in for the verifier's child: passes the archives given and rejects every other.
pub(crate) fn config(passing: &[&BundleArchive]) -> Config {
    let mut script = "read job; archive=${job#*'\"archive\":\"'}; archive=${archive%%'\"'*}; ".to_owned();
    for (number, archive) in passing.iter().enumerate() {
        let digest = archive.digest();
        script += &format!("grep -q marker-{number} \"$archive\" && ");
        script +=
            &format!(r#"echo '{{"outcome":"passed","digest":"{digest}","operators":{{}},"parameters":0}}' && exit; "#);
    }
    script += r#"echo '{"outcome":"rejected","reason":"Loop: the operator is not on the list"}'"#;
    let verify = verify::Config {
        command: Some("/bin/sh".into()),
        args: vec!["-c".into(), script],
        ..verify::Config::default()
    };
    let bundles = bundles::Config {
        max_bundle_bytes: 100_000,
        ..bundles::Config::default()
    };
    Config {
        verify,
        bundles,
        ..Config::default()
    }
}

pub(crate) async fn push_bytes(stage: &Stage, token: &str, class: &str, bytes: &[u8]) -> Result<Bundle, Status> {
    let header = Message::Header(PushBundleHeader { class: class.into() });
    let chunks = bytes.chunks(4096).map(|chunk| Message::Chunk(chunk.to_vec()));
    let messages: Vec<_> = [header]
        .into_iter()
        .chain(chunks)
        .map(|message| PushBundleRequest { message: Some(message) })
        .collect();
    let answer = stage.registry(token).push_bundle(tokio_stream::iter(messages)).await?;
    Ok(answer.into_inner().bundle.unwrap())
}

pub(crate) async fn push(stage: &Stage, archive: &BundleArchive) -> Result<Bundle, Status> {
    push_bytes(stage, SERVICE, "cnc", &archive.to_bytes()).await
}

#[tokio::test]
async fn a_push_is_verified_once_and_the_same_push_again_is_the_same_bundle() {
    let good = archive("marker-0", "cnc");
    let Some(stage) = Stage::start(config(&[&good])).await else {
        return;
    };
    let pushed = push(&stage, &good).await.unwrap();
    assert_eq!(
        (pushed.state.as_str(), pushed.digest.clone()),
        ("verified", good.digest().to_string())
    );
    assert!(pushed.manifest_json.contains("marker-0") && pushed.alias.is_empty());
    assert_eq!(push(&stage, &good).await.unwrap(), pushed);

    let found = stage
        .registry(SERVICE)
        .get_bundle(GetBundleRequest {
            bundle: pushed.digest[..8].into(),
        })
        .await;
    assert_eq!(found.unwrap().into_inner().bundle.unwrap(), pushed);
    let verified: Vec<_> = stage.audit().await.into_iter().map(|(_, action, _)| action).collect();
    assert_eq!(verified, ["bundle.push", "bundle.verified"]);
    stage.finish().await;
}

#[tokio::test]
async fn a_rejected_bundle_keeps_its_reason_and_never_judges() {
    let bad = archive("poison", "cnc");
    let Some(stage) = Stage::start(config(&[])).await else {
        return;
    };
    for _ in 0..2 {
        let status = push(&stage, &bad).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(
            status.message().contains("Loop: the operator is not on the list"),
            "{status}"
        );
    }
    let mut registry = stage.registry(SERVICE);
    let listed = registry
        .list_bundles(ListBundlesRequest { class: "cnc".into() })
        .await
        .unwrap()
        .into_inner()
        .bundles;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].state.as_str(), listed[0].reason.as_str()),
        ("rejected", "Loop: the operator is not on the list")
    );

    threshold_set(&stage, &listed[0], ThresholdState::Approved).await;
    assert_eq!(
        registry.promote(promote(&listed[0])).await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    let challenger = SetChallengerRequest {
        class: "cnc".into(),
        bundle: listed[0].digest.clone(),
    };
    assert_eq!(
        registry.set_challenger(challenger).await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    stage.finish().await;
}

#[tokio::test]
async fn what_is_no_bundle_for_the_class_is_refused_and_leaves_no_row() {
    let good = archive("marker-0", "cnc");
    let Some(stage) = Stage::start(config(&[&good])).await else {
        return;
    };
    let bytes = good.to_bytes();
    let refusal = async |class: &str, bytes: &[u8]| push_bytes(&stage, SERVICE, class, bytes).await.unwrap_err();
    for (status, code, word) in [
        (refusal("cnc", b"garbage").await, Code::InvalidArgument, "bundle"),
        (
            refusal("cnc", &bytes[..bytes.len() / 2]).await,
            Code::InvalidArgument,
            "bundle",
        ),
        (refusal("cnc", &[]).await, Code::InvalidArgument, "empty"),
        (
            refusal("cnc", &[0; 200_000]).await,
            Code::InvalidArgument,
            "more than 100000 bytes",
        ),
        (refusal("pump", &bytes).await, Code::NotFound, "class pump"),
        (
            refusal("cnc", &archive("marker-0", "pump").to_bytes()).await,
            Code::InvalidArgument,
            "header.class",
        ),
    ] {
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(word), "{status}");
    }
    let headless = PushBundleRequest {
        message: Some(Message::Chunk(bytes.clone())),
    };
    let status = stage
        .registry(SERVICE)
        .push_bundle(tokio_stream::iter([headless]))
        .await
        .unwrap_err();
    assert!(status.message().starts_with("header: "), "{status}");
    let operator = stage.person("op", "operator", &[]).await;
    let status = push_bytes(&stage, &operator, "cnc", &bytes).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);

    let listed = stage
        .registry(&operator)
        .list_bundles(ListBundlesRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(listed.bundles.is_empty(), "{listed:?}");
    stage.finish().await;
}

#[tokio::test]
async fn a_bundle_that_a_busy_host_could_not_try_in_time_stays_pending_and_passes_later() {
    let good = archive("marker-0", "cnc");
    let folder = tempfile::tempdir().unwrap();
    let idle = folder.path().join("idle");
    let mut config = config(&[&good]);
    config.verify.wall_ms = 1_000;
    config.verify.args[1] = format!("[ -e {} ] || exec sleep 60; {}", idle.display(), config.verify.args[1]);
    let Some(stage) = Stage::start(config).await else {
        return;
    };
    let late = push(&stage, &good).await.unwrap_err();
    assert_eq!(late.code(), Code::Unavailable, "{late}");
    assert!(late.message().contains("longer than 1000 ms, 3 times"), "{late}");
    let request = GetBundleRequest {
        bundle: good.digest().to_string(),
    };
    let kept = stage.registry(SERVICE).get_bundle(request).await.unwrap().into_inner();
    assert_eq!(kept.bundle.unwrap().state, "pending");

    std::fs::write(&idle, "").unwrap();
    assert_eq!(push(&stage, &good).await.unwrap().state, "verified");
    stage.finish().await;
}

#[tokio::test]
async fn a_bundle_comes_out_as_it_went_in_whole_or_by_the_file_for_those_who_see_every_site() {
    let good = archive("marker-0", "cnc").with_report("<p>told</p>".into()).unwrap();
    let Some(stage) = Stage::start(config(&[&good])).await else {
        return;
    };
    let pushed = push(&stage, &good).await.unwrap();
    assert_eq!(pushed.state, "verified");
    let viewer = stage.person("ana", "viewer", &[]).await;
    let whole = download(&stage, &viewer, &pushed.digest, "").await.unwrap();
    assert_eq!(whole, good.to_bytes());
    let number = pushed.bundle_id.to_string();
    let report = download(&stage, &viewer, &number, "report.html").await.unwrap();
    assert_eq!(report, b"<p>told</p>");

    let absent = download(&stage, &viewer, &number, "../manifest.json")
        .await
        .unwrap_err();
    assert_eq!(absent.code(), Code::NotFound, "{absent}");
    assert!(absent.message().contains("../manifest.json"), "{absent}");
    let local = stage.person("vera", "engineer", &["lisbon"]).await;
    let refused = download(&stage, &local, &number, "report.html").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    stage.finish().await;
}

async fn download(stage: &Stage, token: &str, bundle: &str, file: &str) -> Result<Vec<u8>, Status> {
    let request = DownloadBundleRequest {
        bundle: bundle.into(),
        file: file.into(),
    };
    let mut pieces = stage.registry(token).download_bundle(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await? {
        bytes.extend(piece.bytes);
    }
    Ok(bytes)
}
