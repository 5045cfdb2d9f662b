//! Limits that need a second person where a site asks for it.

use tocsin_domain::lifecycle::{BundleState, ThresholdState};
use tocsin_domain::{BundleDigest, BundleId, Scope, ThresholdSetId};
use tocsin_store::bundle::NewBundle;
use tocsin_store::threshold::{Agreed, NewThresholdSet, Standing};
use tocsin_store::{Error, Result, Store};

use crate::stage::{Fleet, at, fleet, slug, with_store};

async fn verified(store: &Store, fleet: &Fleet) -> BundleId {
    let new = NewBundle {
        class: fleet.class.id,
        digest: BundleDigest([1; 32]),
        manifest_json: r#"{"version": 1}"#.to_owned(),
        pushed_by: "ana".to_owned(),
    };
    let bundle = store
        .bundle_insert(&new, at(0), tocsin_scratch::audit)
        .await
        .unwrap()
        .id;
    let way = (BundleState::Pending, BundleState::Verified);
    store
        .bundle_set_state(bundle, way, "", at(1), tocsin_scratch::audit)
        .await
        .unwrap();
    bundle
}

/// A tested set, proposed by `by`, who is a person or none.
async fn tested(store: &Store, fleet: &Fleet, bundle: BundleId, (by, by_person): (&str, bool)) -> ThresholdSetId {
    let new = NewThresholdSet {
        class: fleet.class.id,
        bundle,
        definition_json: "{}".to_owned(),
        provenance_json: "{}".to_owned(),
        reason: "warm days".to_owned(),
        created_by: by.to_owned(),
        by_person,
    };
    let set = store
        .threshold_set_insert(&new, at(1), tocsin_scratch::audit)
        .await
        .unwrap()
        .id;
    let way = (ThresholdState::Proposed, ThresholdState::Tested);
    store
        .threshold_set_set_state(set, way, None, at(2), tocsin_scratch::audit)
        .await
        .unwrap();
    set
}

async fn asks(store: &Store, site: &str, asks: bool) {
    store
        .site_set_second_approval(&Scope::All, (&slug(site), asks), at(1), tocsin_scratch::audit)
        .await
        .unwrap();
}

async fn agree(store: &Store, set: ThresholdSetId, by: &str, scope: &Scope) -> Result<Agreed> {
    store
        .threshold_agree(
            set,
            (by, "looks right", scope),
            r#"{"approved": true}"#,
            at(3),
            tocsin_scratch::audit,
        )
        .await
}

async fn activate(store: &Store, set: ThresholdSetId) -> Result<()> {
    store
        .threshold_activate(set, ("ana", "go"), at(4), tocsin_scratch::audit)
        .await
        .map(|_| ())
}

async fn standing(store: &Store, set: ThresholdSetId) -> Standing {
    let record = store.threshold_set_get(set).await.unwrap();
    store.threshold_standings(&[record]).await.unwrap().remove(0)
}

#[tokio::test]
async fn where_a_site_asks_a_set_waits_for_a_person_other_than_who_asked_for_it() {
    with_store("second_person", async |store| {
        let fleet = fleet(&store).await;
        let bundle = verified(&store, &fleet).await;
        let set = tested(&store, &fleet, bundle, ("ana", true)).await;
        asks(&store, "north", true).await;
        let refused = agree(&store, set, "ana", &Scope::All).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "ana asked for threshold set {set} and can't approve it as well; it waits for an engineer or admin of north, \
                 other than ana"
            )
        );
        // Who sees the other site alone is not whom it waits for.
        let agreed = agree(&store, set, "sue", &fleet.south_only()).await.unwrap();
        assert_eq!(
            (agreed.record.state, agreed.standing.is_complete()),
            (ThresholdState::Tested, false)
        );
        let agreed = agree(&store, set, "bo", &fleet.north_only()).await.unwrap();
        assert_eq!(agreed.record.state, ThresholdState::Approved);
        assert_eq!(agreed.record.provenance_json, r#"{"approved": true}"#);
        let standing = standing(&store, set).await;
        assert_eq!(standing.asked.as_ref().unwrap().by, "ana");
        let approvals: Vec<_> = standing
            .approvals
            .iter()
            .map(|approval| approval.by.as_str())
            .collect();
        assert_eq!(approvals, ["sue", "bo"]);
        activate(&store, set).await.unwrap();
        let late = agree(&store, set, "cy", &Scope::All).await.unwrap_err();
        assert_eq!(late.to_string(), format!("threshold set {set} is active, not tested"));
    })
    .await;
}

#[tokio::test]
async fn a_site_that_comes_to_ask_holds_back_what_was_approved_already() {
    with_store("comes_to_ask", async |store| {
        let fleet = fleet(&store).await;
        let bundle = verified(&store, &fleet).await;
        let set = tested(&store, &fleet, bundle, ("ana", true)).await;
        let own = agree(&store, set, "ana", &Scope::All).await.unwrap();
        assert_eq!(own.record.state, ThresholdState::Approved, "no site asks");
        asks(&store, "south", true).await;
        let refused = activate(&store, set).await.unwrap_err();
        assert!(matches!(refused, Error::Conflict { .. }), "{refused}");
        assert_eq!(
            refused.to_string(),
            format!(
                "threshold set {set} can't be activated before a second person approves it: it waits for an engineer or admin \
                 of south, other than ana"
            )
        );
        assert_eq!(store.binding_current_all().await.unwrap(), []);
        let agreed = agree(&store, set, "sue", &fleet.south_only()).await.unwrap();
        assert_eq!(agreed.record.state, ThresholdState::Approved);
        activate(&store, set).await.unwrap();
        // And one that asks no more holds nothing back.
        let other = tested(&store, &fleet, bundle, ("ana", true)).await;
        asks(&store, "south", false).await;
        agree(&store, other, "ana", &Scope::All).await.unwrap();
        activate(&store, other).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn of_a_set_that_no_person_proposed_the_first_to_agree_is_who_asks() {
    with_store("asked_by_first", async |store| {
        let fleet = fleet(&store).await;
        let bundle = verified(&store, &fleet).await;
        asks(&store, "north", true).await;
        let set = tested(&store, &fleet, bundle, ("service", false)).await;
        assert_eq!(
            standing(&store, set).await.waits_for(&Scope::All).unwrap(),
            "a person who asks for it, and another: an engineer or admin of north"
        );
        let asked = agree(&store, set, "ana", &Scope::All).await.unwrap();
        assert_eq!(asked.record.state, ThresholdState::Tested);
        assert!(agree(&store, set, "ana", &Scope::All).await.is_err());
        let north = fleet.north_only();
        let (bo, cy) = tokio::join!(agree(&store, set, "bo", &Scope::All), agree(&store, set, "cy", &north));
        assert!(bo.is_ok() != cy.is_ok(), "the second finds it approved: {bo:?} {cy:?}");
        activate(&store, set).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn policy_and_a_rollback_need_no_second_person() {
    with_store("nobody_asked", async |store| {
        use ThresholdState::{Approved, Tested};
        let fleet = fleet(&store).await;
        let bundle = verified(&store, &fleet).await;
        let first = tested(&store, &fleet, bundle, ("ana", true)).await;
        agree(&store, first, "ana", &Scope::All).await.unwrap();
        activate(&store, first).await.unwrap();
        asks(&store, "north", true).await;
        let second = tested(&store, &fleet, bundle, ("service", false)).await;
        store
            .threshold_set_set_state(second, (Tested, Approved), None, at(5), tocsin_scratch::audit)
            .await
            .unwrap();
        let policy = ("policy", "within 3 dB");
        store
            .threshold_activate_instead_of((second, first), policy, at(6), tocsin_scratch::audit)
            .await
            .unwrap();
        let back = store
            .binding_rollback(fleet.class.id, ("ana", "too loud"), at(7), tocsin_scratch::audit)
            .await
            .unwrap();
        assert_eq!(back.threshold_set, Some(first));
        // By hand it would have needed two.
        assert!(activate(&store, second).await.is_err());
    })
    .await;
}
