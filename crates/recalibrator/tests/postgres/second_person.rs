//! Limits that wait for a second person where a site of their class asks for one.

use tocsin_contracts::recalibrator::v1;
use tocsin_domain::{PersonRole, Principal, Scope};
use tocsin_scratch::slug;
use tonic::Code;

use crate::stage::{self, Client, Stage, activate, noon, propose, with_stage};

/// A machine of the class at each of `north` and `south`; `north` asks for a second person.
async fn asking(stage: &Stage) -> [Scope; 2] {
    let (north, south) = (stage.sensor("north", "p-1").await, stage.sensor("south", "p-2").await);
    assert_ne!(north.id, south.id);
    stage
        .store
        .site_set_second_approval(&Scope::All, (&slug("north"), true), noon(), tocsin_scratch::audit)
        .await
        .unwrap();
    let mut scopes = Vec::new();
    for name in ["north", "south"] {
        scopes.push(Scope::site(
            stage.store.site_by_name(&Scope::All, &slug(name)).await.unwrap().id,
        ));
    }
    scopes.try_into().unwrap()
}

/// Proposes and tests a set; its number.
async fn tested(client: &mut Client, bundle: i32) -> i32 {
    stage::tested(client, propose(bundle)).await.threshold_set_id
}

async fn approve(client: &mut Client, threshold_set_id: i32) -> Result<v1::ThresholdSet, tonic::Status> {
    let request = v1::ApproveRequest {
        threshold_set_id,
        reason: "looks right".to_owned(),
    };
    Ok(client.approve(request).await?.into_inner().threshold_set.unwrap())
}

async fn get(client: &mut Client, threshold_set_id: i32) -> v1::ThresholdSet {
    let request = v1::GetThresholdSetRequest { threshold_set_id };
    let answer = client.get_threshold_set(request).await.unwrap().into_inner();
    answer.threshold_set.unwrap()
}

#[tokio::test]
async fn an_engineer_of_the_site_that_asks_approves_what_another_proposed_and_everybody_sees_who() {
    with_stage("second", |stage| async move {
        let [north, south] = asking(&stage).await;
        let bundle = stage.bundle(4_000).await;
        let mut ana = stage.client(PersonRole::Engineer);
        let set = tested(&mut ana, bundle).await;
        let shown = get(&mut ana, set).await;
        assert_eq!((shown.asked_by.as_str(), shown.approvals.len()), ("ana", 0));
        assert_eq!(shown.approval_needed_at, ["north"]);
        assert_eq!(shown.approval_needed, "an engineer or admin of north, other than ana");

        let own = approve(&mut ana, set).await.unwrap_err();
        assert_eq!(own.code(), Code::FailedPrecondition);
        assert!(own.message().starts_with("ana asked for threshold set"), "{own}");
        let early = activate(&mut ana, set).await.unwrap_err();
        assert_eq!(early.code(), Code::FailedPrecondition);
        assert!(
            early
                .message()
                .contains("an engineer or admin of north, other than ana"),
            "{early}"
        );

        // Whom it does not wait for may not; and is told of no site but their own.
        let mut sue = stage.client_named("sue", PersonRole::Engineer, south);
        assert_eq!(approve(&mut sue, set).await.unwrap_err().code(), Code::PermissionDenied);
        let seen = get(&mut sue, set).await;
        assert_eq!((seen.approval_needed_at.len(), seen.approval_needed.as_str()), (0, ""));
        let mut operator = stage.client_named("olaf", PersonRole::Operator, Scope::All);
        assert_eq!(
            approve(&mut operator, set).await.unwrap_err().code(),
            Code::PermissionDenied
        );

        let mut bo = stage.client_named("bo", PersonRole::Engineer, north);
        let approved = approve(&mut bo, set).await.unwrap();
        assert_eq!(
            (approved.state.as_str(), approved.approval_needed.as_str()),
            ("approved", "")
        );
        assert_eq!(
            (approved.approvals[0].by.as_str(), approved.approvals[0].reason.as_str()),
            ("bo", "looks right")
        );
        assert_eq!(activate(&mut ana, set).await.unwrap().state, "active");
        let audited = stage.store.audit_list(None, 2).await.unwrap();
        let done: Vec<_> = audited
            .iter()
            .map(|entry| (entry.actor.as_str(), entry.action.as_str()))
            .collect();
        assert_eq!(
            done,
            [("ana", "threshold_set.activate"), ("bo", "threshold_set.approved")]
        );
        let detail: serde_json::Value = serde_json::from_str(&audited[1].detail_json).unwrap();
        assert_eq!(
            (&detail["asked_by"], &detail["reason"]),
            (&"ana".into(), &"looks right".into())
        );
    })
    .await;
}

#[tokio::test]
async fn what_the_deployment_proposes_needs_two_persons_and_it_is_none_of_them() {
    with_stage("two_persons", |stage| async move {
        asking(&stage).await;
        let bundle = stage.bundle(4_000).await;
        let mut service = stage.client_as(Principal::Service);
        let set = tested(&mut service, bundle).await;
        let nobody = approve(&mut service, set).await.unwrap_err();
        assert_eq!(nobody.code(), Code::FailedPrecondition);
        assert!(nobody.message().contains("north asks for a second one"), "{nobody}");
        let mut ana = stage.client(PersonRole::Engineer);
        let asked = approve(&mut ana, set).await.unwrap();
        assert_eq!((asked.state.as_str(), asked.asked_by.as_str()), ("tested", "ana"));
        let mut bo = stage.client_named("bo", PersonRole::Admin, Scope::All);
        assert_eq!(approve(&mut bo, set).await.unwrap().state, "approved");
        assert_eq!(activate(&mut service, set).await.unwrap().state, "active");
        let audited = stage.store.audit_list(None, 3).await.unwrap();
        let actions: Vec<_> = audited.iter().rev().map(|entry| entry.action.as_str()).collect();
        assert_eq!(
            actions,
            [
                "threshold_set.asked",
                "threshold_set.approved",
                "threshold_set.activate"
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_rollback_asks_nobody_where_a_site_asks_for_a_second_person() {
    with_stage("second_back", |stage| async move {
        let bundle = stage.bundle(4_000).await;
        let mut ana = stage.client(PersonRole::Engineer);
        let mut sets = Vec::new();
        for _ in 0..2 {
            let set = tested(&mut ana, bundle).await;
            approve(&mut ana, set).await.unwrap();
            activate(&mut ana, set).await.unwrap();
            sets.push(set);
        }
        asking(&stage).await;
        let rollback = v1::RollbackRequest {
            class: "pump".to_owned(),
            reason: "worse".to_owned(),
        };
        let back = ana
            .rollback(rollback)
            .await
            .unwrap()
            .into_inner()
            .threshold_set
            .unwrap();
        assert_eq!((back.threshold_set_id, back.state.as_str()), (sets[0], "active"));
        assert_eq!(back.approval_needed, "", "what judges waits for nobody");
        // To what was taken back leads no way round the second person.
        assert!(activate(&mut ana, sets[1]).await.is_err());
        let mut bo = stage.client_named("bo", PersonRole::Engineer, Scope::All);
        assert_eq!(approve(&mut bo, sets[1]).await.unwrap().state, "retired");
        assert_eq!(activate(&mut ana, sets[1]).await.unwrap().state, "active");
    })
    .await;
}
