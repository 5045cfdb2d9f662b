use std::collections::BTreeMap;

use tocsin_contracts::access::v1::{CreateTokenRequest, Token};
use tocsin_contracts::registry::v1::push_bundle_request::Message;
use tocsin_contracts::registry::v1::{
    Bundle, GetBundleRequest, ListBindingsRequest, ListBundlesRequest, PromoteRequest, PushBundleHeader,
    PushBundleRequest, RollbackRequest, SetChallengerRequest, WatchBindingsRequest,
};
use tocsin_domain::lifecycle::ThresholdState;
use tocsin_domain::{BundleId, Slug, ThresholdSetId, Timestamp};
use tocsin_models::{BundleArchive, Lineage, Manifest, Metrics, TargetSpace, Variant};
use tocsin_registry::{Config, bundles, verify};
use tocsin_store::threshold::NewThresholdSet;
use tonic::{Code, Status};

use crate::stage::{SERVICE, Stage};

/// An archive that unpacks; nobody but the stand-in below runs it.
fn archive(marker: &str, class: &str) -> BundleArchive {
    let manifest = Manifest {
        format: Manifest::FORMAT,
        class: Slug::parse("class", class).unwrap(),
        variant: Variant::Dense,
        bins: 64,
        latent: 12,
        full_scale: 10.0,
        s0: 0.001,
        unit: "g".into(),
        codec: 1,
        target_space: TargetSpace::StandardisedLog,
        lineage: Lineage {
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
        },
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
fn config(passing: &[&BundleArchive]) -> Config {
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

async fn push_bytes(stage: &Stage, token: &str, class: &str, bytes: &[u8]) -> Result<Bundle, Status> {
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

async fn push(stage: &Stage, archive: &BundleArchive) -> Result<Bundle, Status> {
    push_bytes(stage, SERVICE, "cnc", &archive.to_bytes()).await
}

/// A threshold set for the bundle, as far along as `state`.
async fn threshold_set(stage: &Stage, bundle: &Bundle, state: ThresholdState) -> ThresholdSetId {
    let class = stage
        .store
        .class_by_name(&Slug::parse("class", "cnc").unwrap())
        .await
        .unwrap()
        .id;
    let new = NewThresholdSet {
        class,
        bundle: BundleId(bundle.bundle_id),
        definition_json: "{}".into(),
        provenance_json: "{}".into(),
        reason: "test".into(),
        created_by: "test".into(),
    };
    let set = stage
        .store
        .threshold_set_insert(&new, stage.clock.now())
        .await
        .unwrap()
        .id;
    let way = [
        ThresholdState::Proposed,
        ThresholdState::Tested,
        ThresholdState::Approved,
    ];
    for step in way.windows(2).take_while(|step| step[0] != state) {
        stage
            .store
            .threshold_set_set_state(set, step[0], step[1], None)
            .await
            .unwrap();
    }
    set
}

fn promote(bundle: &Bundle) -> PromoteRequest {
    PromoteRequest {
        bundle: bundle.digest.clone(),
        threshold_set_id: 0,
        reason: "better".into(),
    }
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
    assert_eq!(verified, ["bundle.verified"]);
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
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn a_bundle_is_promoted_with_limits_made_for_it_and_rolled_back_in_one_step() {
    let (one, two) = (archive("marker-0", "cnc"), archive("marker-1", "cnc"));
    let Some(stage) = Stage::start(config(&[&one, &two])).await else {
        return;
    };
    let (one, two) = (push(&stage, &one).await.unwrap(), push(&stage, &two).await.unwrap());
    let engineer = stage.person("eng", "engineer", &[]).await;
    let mut registry = stage.registry(&engineer);

    threshold_set(&stage, &one, ThresholdState::Tested).await;
    let early = registry.promote(promote(&one)).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition, "{early}");
    let first = threshold_set(&stage, &one, ThresholdState::Approved).await;
    let bound = registry
        .promote(promote(&one))
        .await
        .unwrap()
        .into_inner()
        .binding
        .unwrap();
    assert_eq!(
        (bound.version, bound.champion_bundle_id, bound.threshold_set_id),
        (1, one.bundle_id, first.0)
    );
    assert_eq!((bound.changed_by.as_str(), bound.reason.as_str()), ("eng", "better"));

    let other_sets = PromoteRequest {
        threshold_set_id: first.0,
        ..promote(&two)
    };
    assert_eq!(
        registry.promote(other_sets).await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    let challenger = |bundle: &str| SetChallengerRequest {
        class: "cnc".into(),
        bundle: bundle.into(),
    };
    let champion = registry.set_challenger(challenger(&one.digest)).await.unwrap_err();
    assert_eq!(champion.code(), Code::FailedPrecondition);
    let bound = registry
        .set_challenger(challenger(&two.digest))
        .await
        .unwrap()
        .into_inner()
        .binding
        .unwrap();
    assert_eq!(
        (bound.champion_bundle_id, bound.challenger_bundle_id),
        (one.bundle_id, two.bundle_id)
    );

    threshold_set(&stage, &two, ThresholdState::Approved).await;
    let newest = threshold_set(&stage, &two, ThresholdState::Approved).await;
    let bound = registry
        .promote(promote(&two))
        .await
        .unwrap()
        .into_inner()
        .binding
        .unwrap();
    assert_eq!(
        (bound.champion_bundle_id, bound.threshold_set_id),
        (two.bundle_id, newest.0)
    );
    assert_eq!(bound.challenger_bundle_id, 0);
    let listed = registry
        .list_bundles(ListBundlesRequest::default())
        .await
        .unwrap()
        .into_inner()
        .bundles;
    assert_eq!(
        listed.iter().map(|bundle| bundle.alias.as_str()).collect::<Vec<_>>(),
        ["champion", ""]
    );

    let back = RollbackRequest {
        class: "cnc".into(),
        reason: "worse".into(),
    };
    let bound = registry.rollback(back).await.unwrap().into_inner().binding.unwrap();
    assert_eq!(
        (bound.version, bound.champion_bundle_id, bound.threshold_set_id),
        (4, one.bundle_id, first.0)
    );
    let history = registry
        .list_bindings(ListBindingsRequest { class: "cnc".into() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(history.bindings.len(), 4);
    let actions: Vec<_> = stage
        .audit()
        .await
        .into_iter()
        .filter(|(actor, ..)| actor == "eng")
        .map(|(_, a, _)| a)
        .collect();
    let expected = [
        "session.begin",
        "bundle.promote",
        "challenger.set",
        "bundle.promote",
        "binding.rollback",
    ];
    assert_eq!(actions, expected);
    stage.finish().await;
}

#[tokio::test]
async fn a_watcher_hears_the_present_bindings_and_then_each_change() {
    let good = archive("marker-0", "cnc");
    // So slow a poll that the change below is heard, not found by looking.
    let mut config = config(&[&good]);
    config.bundles.watch_poll_ms = 3_600_000;
    let Some(stage) = Stage::start(config).await else {
        return;
    };
    let bundle = push(&stage, &good).await.unwrap();
    threshold_set(&stage, &bundle, ThresholdState::Approved).await;

    let viewer = stage.person("vera", "viewer", &[]).await;
    let mut bindings = stage
        .registry(&viewer)
        .watch_bindings(WatchBindingsRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(bindings.message().await.unwrap().unwrap().bindings.is_empty());
    stage.registry(SERVICE).promote(promote(&bundle)).await.unwrap();
    let heard = bindings.message().await.unwrap().unwrap().bindings;
    assert_eq!(heard.len(), 1);
    assert_eq!(
        (heard[0].class.as_str(), heard[0].champion_digest.as_str()),
        ("cnc", bundle.digest.as_str())
    );

    let token = Token {
        site: "lisbon".into(),
        name: "edge".into(),
        ..Token::default()
    };
    let made = stage
        .access(SERVICE)
        .create_token(CreateTokenRequest { token: Some(token) })
        .await;
    let gateway = made.unwrap().into_inner().secret;
    let refused = stage
        .registry(&gateway)
        .watch_bindings(WatchBindingsRequest {})
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    stage.finish().await;
}
