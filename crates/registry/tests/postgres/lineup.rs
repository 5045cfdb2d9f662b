use tocsin_contracts::access::v1::{CreateTokenRequest, Token};
use tocsin_contracts::registry::v1::{
    Bundle, ListBindingsRequest, ListBundlesRequest, PromoteRequest, RollbackRequest, SetChallengerRequest,
    WatchBindingsRequest,
};
use tocsin_domain::lifecycle::ThresholdState;
use tocsin_domain::{BundleId, Slug, ThresholdSetId};
use tocsin_store::threshold::NewThresholdSet;
use tonic::Code;

use crate::bundles::{archive, config, push, push_bytes};
use crate::stage::{SERVICE, Stage};

/// A threshold set for the bundle, as far along as `state`.
pub(crate) async fn threshold_set(stage: &Stage, bundle: &Bundle, state: ThresholdState) -> ThresholdSetId {
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
        by_person: false,
    };
    let set = stage
        .store
        .threshold_set_insert(&new, stage.clock.now(), tocsin_scratch::audit)
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
            .threshold_set_set_state(set, (step[0], step[1]), None, stage.clock.now(), tocsin_scratch::audit)
            .await
            .unwrap();
    }
    set
}

pub(crate) fn promote(bundle: &Bundle) -> PromoteRequest {
    PromoteRequest {
        bundle: bundle.digest.clone(),
        threshold_set_id: 0,
        reason: "better".into(),
    }
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
async fn an_engineer_of_one_site_changes_nothing_that_judges_every_site() {
    let good = archive("marker-0", "cnc");
    let Some(stage) = Stage::start(config(&[&good])).await else {
        return;
    };
    let bundle = push(&stage, &good).await.unwrap();
    threshold_set(&stage, &bundle, ThresholdState::Approved).await;
    let local = stage.person("alice", "engineer", &["lisbon"]).await;
    let mut registry = stage.registry(&local);
    let challenger = SetChallengerRequest {
        class: "cnc".into(),
        bundle: bundle.digest.clone(),
    };
    let back = RollbackRequest {
        class: "cnc".into(),
        reason: "worse".into(),
    };
    for refused in [
        push_bytes(&stage, &local, "cnc", &good.to_bytes()).await.unwrap_err(),
        registry.promote(promote(&bundle)).await.unwrap_err(),
        registry.set_challenger(challenger).await.unwrap_err(),
        registry.rollback(back).await.unwrap_err(),
    ] {
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        let reason = "that holds for every site, and alice sees some sites only";
        assert!(refused.message().ends_with(reason), "{refused}");
    }
    let bindings = registry
        .list_bindings(ListBindingsRequest::default())
        .await
        .unwrap()
        .into_inner()
        .bindings;
    assert!(bindings.is_empty(), "{bindings:?}");
    stage.registry(SERVICE).promote(promote(&bundle)).await.unwrap();
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
