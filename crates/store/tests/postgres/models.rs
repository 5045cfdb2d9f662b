use std::time::Duration;

use tocsin_domain::lifecycle::{BundleState, ThresholdState};
use tocsin_domain::{BundleDigest, BundleId, ThresholdSetId};
use tocsin_store::binding::NewBinding;
use tocsin_store::bundle::NewBundle;
use tocsin_store::threshold::NewThresholdSet;
use tocsin_store::{Error, Store};

use crate::stage::{Fleet, at, fleet, with_store};

async fn verified(store: &Store, fleet: &Fleet, digest: u8) -> BundleId {
    let bundle = store
        .bundle_insert(&bundle(fleet, digest), at(0), tocsin_scratch::audit)
        .await
        .unwrap();
    let (pending, verified) = (BundleState::Pending, BundleState::Verified);
    store
        .bundle_set_state(bundle.id, (pending, verified), "", at(2), tocsin_scratch::audit)
        .await
        .unwrap()
        .id
}

fn bundle(fleet: &Fleet, digest: u8) -> NewBundle {
    NewBundle {
        class: fleet.class.id,
        digest: BundleDigest([digest; 32]),
        manifest_json: r#"{"version": 1}"#.to_owned(),
        pushed_by: "ana".to_owned(),
    }
}

async fn approved(store: &Store, fleet: &Fleet, bundle: BundleId) -> ThresholdSetId {
    use ThresholdState::{Approved, Proposed, Tested};
    let new = NewThresholdSet {
        class: fleet.class.id,
        bundle,
        definition_json: "{}".to_owned(),
        provenance_json: r#"{"source": "held_out"}"#.to_owned(),
        reason: "first".to_owned(),
        created_by: "ana".to_owned(),
        by_person: false,
    };
    let set = store
        .threshold_set_insert(&new, at(0), tocsin_scratch::audit)
        .await
        .unwrap()
        .id;
    let tested = r#"{"pages": 0}"#;
    let record = store
        .threshold_set_set_state(set, (Proposed, Tested), Some(tested), at(2), tocsin_scratch::audit)
        .await
        .unwrap();
    assert_eq!(record.provenance_json, tested);
    store
        .threshold_set_set_state(set, (Tested, Approved), None, at(2), tocsin_scratch::audit)
        .await
        .unwrap();
    set
}

async fn state(store: &Store, set: ThresholdSetId) -> ThresholdState {
    store.threshold_set_get(set).await.unwrap().state
}

#[tokio::test]
async fn a_bundle_is_pushed_once_and_found_by_number_and_digest() {
    with_store("bundles", async |store| {
        let fleet = fleet(&store).await;
        let first = store
            .bundle_insert(&bundle(&fleet, 0xab), at(0), tocsin_scratch::audit)
            .await
            .unwrap();
        assert_eq!(
            store
                .bundle_insert(&bundle(&fleet, 0xab), at(9), tocsin_scratch::audit)
                .await
                .unwrap(),
            first
        );
        let second = store
            .bundle_insert(&bundle(&fleet, 0xcd), at(1), tocsin_scratch::audit)
            .await
            .unwrap();
        assert_eq!(
            store.bundle_list(Some(fleet.class.id)).await.unwrap(),
            [second.clone(), first.clone()]
        );
        assert_eq!(store.bundle_find(None, &first.id.to_string()).await.unwrap(), first);
        assert_eq!(store.bundle_find(None, "CDCD").await.unwrap(), second);
        assert!(matches!(
            store.bundle_find(None, "eeee").await,
            Err(Error::NotFound { .. })
        ));
        let (pending, rejected) = (BundleState::Pending, BundleState::Rejected);
        let refused = store
            .bundle_set_state(first.id, (pending, rejected), "opset", at(2), tocsin_scratch::audit)
            .await
            .unwrap();
        assert_eq!((refused.state, refused.reason.as_str()), (rejected, "opset"));
        let again = store
            .bundle_set_state(
                first.id,
                (pending, BundleState::Verified),
                "",
                at(2),
                tocsin_scratch::audit,
            )
            .await
            .unwrap_err();
        assert_eq!(
            again.to_string(),
            format!("bundle {} is rejected, not pending", first.id)
        );
    })
    .await;
}

#[tokio::test]
async fn limits_held_against_others_come_into_force_only_while_those_are() {
    with_store("instead_of", async |store| {
        let fleet = fleet(&store).await;
        let bundle = verified(&store, &fleet, 1).await;
        let one = approved(&store, &fleet, bundle).await;
        let two = approved(&store, &fleet, bundle).await;
        let three = approved(&store, &fleet, bundle).await;
        let instead = async |set, other, seconds| {
            let why = ("policy", "within 3 dB");
            store
                .threshold_activate_instead_of((set, other), why, at(seconds), tocsin_scratch::audit)
                .await
        };
        let error = instead(two, one, 1).await.unwrap_err();
        assert_eq!(error.to_string(), format!("threshold set {one} is no longer in force"));
        assert_eq!(store.binding_current_all().await.unwrap(), [], "nothing was");

        store
            .threshold_activate(one, ("ana", "first"), at(1), tocsin_scratch::audit)
            .await
            .unwrap();
        let binding = instead(two, one, 2).await.unwrap();
        assert_eq!((binding.version, binding.threshold_set), (2, Some(two)));

        // A person was quicker: nothing changes.
        let error = instead(three, one, 3).await.unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }), "{error}");
        assert_eq!(store.binding_current_all().await.unwrap(), [binding]);
        assert_eq!(state(&store, two).await, ThresholdState::Active);
        assert_eq!(state(&store, three).await, ThresholdState::Approved);
    })
    .await;
}

#[tokio::test]
async fn activation_switches_set_and_binding_together_or_not_at_all() {
    with_store("activation", async |store| {
        let fleet = fleet(&store).await;
        let bundle = verified(&store, &fleet, 1).await;
        let (one, two) = (
            approved(&store, &fleet, bundle).await,
            approved(&store, &fleet, bundle).await,
        );
        let binding = store
            .threshold_activate(one, ("ana", "first"), at(1), tocsin_scratch::audit)
            .await
            .unwrap();
        assert_eq!((binding.version, binding.threshold_set), (1, Some(one)));
        assert_eq!(binding.champion, Some((bundle, BundleDigest([1; 32]))));
        let binding = store
            .threshold_activate(two, ("ana", "better"), at(2), tocsin_scratch::audit)
            .await
            .unwrap();
        assert_eq!((binding.version, binding.threshold_set), (2, Some(two)));
        assert_eq!(state(&store, one).await, ThresholdState::Retired);
        assert_eq!(state(&store, two).await, ThresholdState::Active);

        // The bundle of the third is not verified: nothing changes, the retirement of the second neither.
        let pending = store
            .bundle_insert(&self::bundle(&fleet, 2), at(0), tocsin_scratch::audit)
            .await
            .unwrap()
            .id;
        let three = approved(&store, &fleet, pending).await;
        let error = store
            .threshold_activate(three, ("ana", "worse"), at(3), tocsin_scratch::audit)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }), "{error}");
        assert_eq!(state(&store, two).await, ThresholdState::Active);
        assert_eq!(store.binding_current_all().await.unwrap(), [binding]);

        let back = store
            .binding_rollback(fleet.class.id, ("ana", "back"), at(4), tocsin_scratch::audit)
            .await
            .unwrap();
        assert_eq!((back.version, back.threshold_set), (3, Some(one)));
        assert_eq!(state(&store, one).await, ThresholdState::Active);
        assert_eq!(state(&store, two).await, ThresholdState::Retired);
        let versions = store.binding_history(Some(fleet.class.id), None).await.unwrap();
        assert_eq!(
            versions.iter().map(|binding| binding.version).collect::<Vec<_>>(),
            [3, 2, 1]
        );
    })
    .await;
}

#[tokio::test]
async fn a_set_moves_only_from_the_state_it_is_in() {
    with_store("threshold_states", async |store| {
        use ThresholdState::{Active, Approved, Proposed, Tested};
        let fleet = fleet(&store).await;
        let bundle = verified(&store, &fleet, 1).await;
        let set = approved(&store, &fleet, bundle).await;
        for (from, to) in [
            (Proposed, Tested),
            (Tested, Approved),
            (Proposed, Approved),
            (Approved, Active),
        ] {
            let error = store
                .threshold_set_set_state(set, (from, to), None, at(2), tocsin_scratch::audit)
                .await
                .unwrap_err();
            assert!(matches!(error, Error::Conflict { .. }), "{error}");
        }
        assert_eq!(state(&store, set).await, Approved);
        let nothing = store
            .binding_rollback(fleet.class.id, ("ana", ""), at(0), tocsin_scratch::audit)
            .await
            .unwrap_err();
        assert!(matches!(nothing, Error::Conflict { .. }), "{nothing}");
    })
    .await;
}

#[tokio::test]
async fn of_two_changes_to_one_version_one_is_refused_and_watchers_hear_the_other() {
    with_store("binding_race", async |store| {
        let fleet = fleet(&store).await;
        let bundle = verified(&store, &fleet, 1).await;
        let mut changes = store.binding_changes().await.unwrap();
        let new = NewBinding {
            class: fleet.class.id,
            expected_version: 0,
            champion: None,
            challenger: Some(bundle),
            threshold_set: None,
            changed_by: "ana".to_owned(),
            reason: "try it".to_owned(),
        };
        let (left, right) = tokio::join!(
            store.binding_append(&new, at(1), tocsin_scratch::audit),
            store.binding_append(&new, at(1), tocsin_scratch::audit)
        );
        let (won, lost) = if left.is_ok() { (left, right) } else { (right, left) };
        assert_eq!(won.unwrap().challenger, Some((bundle, BundleDigest([1; 32]))));
        assert!(matches!(lost, Err(Error::Conflict { .. })), "{lost:?}");
        let heard = tokio::time::timeout(Duration::from_secs(30), changes.changed()).await;
        heard.expect("the change is heard").unwrap();
    })
    .await;
}
