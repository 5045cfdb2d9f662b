//! The life of a threshold set against a real Postgres.

#[path = "postgres/archived.rs"]
mod archived;
#[path = "postgres/borrowed.rs"]
mod borrowed;
#[path = "postgres/budget.rs"]
mod budget;
#[path = "postgres/explain.rs"]
mod explain;
#[path = "postgres/healthy.rs"]
mod healthy;
#[path = "postgres/labels.rs"]
mod labels;
#[path = "postgres/policy.rs"]
mod policy;
#[path = "postgres/rescored.rs"]
mod rescored;
#[path = "postgres/second_person.rs"]
mod second_person;
#[path = "postgres/stage.rs"]
mod stage;
#[path = "postgres/what_if.rs"]
mod what_if;

use std::time::Duration;

use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::propose_request::{Method, Source};
use tocsin_contracts::time;
use tocsin_detect::percentile::Support;
use tocsin_domain::{PersonRole, Scope, SiteId, ThresholdSetId};
use tocsin_judge::ThresholdSet;
use tocsin_recalibrator::Provenance;
use tonic::Code;

use crate::stage::{activate, approved, noon, propose, proposed, with_stage};

#[tokio::test]
async fn a_set_is_proposed_tested_approved_and_activated_and_its_provenance_tells_it_all() {
    with_stage("life", |stage| async move {
        let bundle = stage.bundle(4_000).await;
        let mut client = stage.client(PersonRole::Engineer);
        let proposed = proposed(&mut client, propose(bundle)).await;
        assert_eq!((proposed.state.as_str(), proposed.bundle_id), ("proposed", bundle));
        let early = activate(&mut client, proposed.threshold_set_id).await.unwrap_err();
        assert_eq!(early.code(), Code::FailedPrecondition);
        let set = approved(&mut client, bundle).await;
        let active = activate(&mut client, set).await.unwrap();
        assert_eq!(active.state, "active");
        let provenance: Provenance = serde_json::from_str(&active.provenance_json).unwrap();
        assert_eq!(
            (provenance.readings, provenance.machines, provenance.bundle_id.0),
            (4_000, 1, bundle)
        );
        assert_eq!(
            (provenance.proposed_by.as_str(), provenance.reason.as_str()),
            ("ana", "first limits")
        );
        assert!(
            provenance
                .detectors
                .iter()
                .all(|source| source.page_line_supported && source.scores == 4_000)
        );
        let trial = provenance.trial.unwrap();
        assert!(
            trial.in_sample && trial.pages == 0 && trial.readings_at_page > 0,
            "{trial:?}"
        );
        assert_eq!(provenance.approval.unwrap().reason, "looks right");
        let binding = stage.store.binding_current(stage.class).await.unwrap().unwrap();
        assert_eq!(binding.threshold_set, Some(ThresholdSetId(set)));
        let audited = stage.store.audit_list(None, 10).await.unwrap();
        let of_sets = audited
            .iter()
            .rev()
            .filter(|entry| entry.subject.starts_with("threshold_set:"));
        let actions: Vec<_> = of_sets.map(|entry| entry.action.as_str()).collect();
        let one = ["threshold_set.propose", "threshold_set.propose", "threshold_set.tested"];
        assert_eq!(
            actions,
            [one.as_slice(), &["threshold_set.approved", "threshold_set.activate"]].concat()
        );
    })
    .await;
}

#[tokio::test]
async fn few_scores_leave_the_page_lines_marked_as_extrapolated() {
    with_stage("few", |stage| async move {
        let bundle = stage.bundle(600).await;
        let mut client = stage.client(PersonRole::Engineer);
        let set = proposed(&mut client, propose(bundle)).await;
        let provenance: Provenance = serde_json::from_str(&set.provenance_json).unwrap();
        assert!(provenance.detectors.iter().all(|source| !source.page_line_supported));
        for source in &provenance.detectors {
            let (alert, page) = (source.alert_percentile.unwrap(), source.page_percentile.unwrap());
            assert_eq!(page.support, Support::Insufficient { needed: 2_000 });
            assert_eq!(
                (alert.support, page.upper, page.readings),
                (Support::Sufficient, None, 600)
            );
        }
    })
    .await;
}

#[tokio::test]
async fn percentiles_are_read_off_the_scores_and_a_tail_is_fitted_to_them() {
    with_stage("tail", |stage| async move {
        let bundle = stage.bundle(4_000).await;
        let mut client = stage.client(PersonRole::Engineer);
        let mut propose_by = async |method| {
            let request = v1::ProposeRequest {
                method: Some(method),
                ..propose(bundle)
            };
            let set = proposed(&mut client, request).await;
            let definition: ThresholdSet = serde_json::from_str(&set.definition_json).unwrap();
            let provenance: Provenance = serde_json::from_str(&set.provenance_json).unwrap();
            (definition.members, provenance)
        };
        let (read_off, provenance) = propose_by(Method::Percentiles(v1::Percentiles {})).await;
        let told = &provenance.detectors[0];
        let (alert, page) = (told.alert_percentile.unwrap(), told.page_percentile.unwrap());
        assert_eq!(
            (read_off[0].alert_line, read_off[0].page_line),
            (alert.value, page.value)
        );
        assert!(
            alert.lower.unwrap() < alert.value && alert.value < alert.upper.unwrap(),
            "{alert:?}"
        );
        let (fitted, provenance) = propose_by(Method::Tail(v1::Tail {})).await;
        assert!(provenance.method.starts_with("tail: "), "{}", provenance.method);
        assert_eq!(
            provenance.detectors[0].page_percentile,
            Some(page),
            "told beside fitted lines too"
        );
        let tail = fitted[0].tail.as_ref().unwrap();
        assert!((fitted[0].page_line - tail.quantile(0.9995)).abs() < 1e-12);
        assert!((fitted[0].alert_line - 200_f64.ln()).abs() < 0.2 && fitted[0] != read_off[0]);
    })
    .await;
}

#[tokio::test]
async fn a_rollback_goes_to_the_set_before_and_not_to_a_time_without_limits() {
    with_stage("rollback", |stage| async move {
        let bundle = stage.bundle(4_000).await;
        let mut client = stage.client(PersonRole::Engineer);
        let rollback = || v1::RollbackRequest {
            class: "pump".to_owned(),
            reason: "worse".to_owned(),
        };
        let first = approved(&mut client, bundle).await;
        activate(&mut client, first).await.unwrap();
        let nothing = client.rollback(rollback()).await.unwrap_err();
        assert_eq!(nothing.code(), Code::FailedPrecondition);
        let second = approved(&mut client, bundle).await;
        activate(&mut client, second).await.unwrap();
        let back = client
            .rollback(rollback())
            .await
            .unwrap()
            .into_inner()
            .threshold_set
            .unwrap();
        assert_eq!((back.threshold_set_id, back.state.as_str()), (first, "active"));
        let request = v1::ListThresholdSetsRequest {
            class: "pump".to_owned(),
        };
        let listed = client
            .list_threshold_sets(request)
            .await
            .unwrap()
            .into_inner()
            .threshold_sets;
        let states: Vec<_> = listed
            .iter()
            .map(|set| (set.threshold_set_id, set.state.as_str()))
            .collect();
        assert_eq!(states, [(second, "retired"), (first, "active")]);
    })
    .await;
}

#[tokio::test]
async fn an_engineer_of_one_site_changes_no_limits_as_they_hold_for_every_site() {
    with_stage("one_site", |stage| async move {
        let bundle = stage.bundle(4_000).await;
        let threshold_set_id = approved(&mut stage.client(PersonRole::Engineer), bundle).await;
        let mut local = stage.client_of(PersonRole::Engineer, Scope::site(SiteId(1)));
        let approve = v1::ApproveRequest {
            threshold_set_id,
            reason: "looks right".to_owned(),
        };
        let rollback = v1::RollbackRequest {
            class: "pump".to_owned(),
            reason: "worse".to_owned(),
        };
        for refused in [
            local.propose(propose(bundle)).await.unwrap_err(),
            local.test(v1::TestRequest { threshold_set_id }).await.unwrap_err(),
            local.approve(approve).await.unwrap_err(),
            activate(&mut local, threshold_set_id).await.unwrap_err(),
            local.rollback(rollback).await.unwrap_err(),
        ] {
            assert_eq!(refused.code(), Code::PermissionDenied, "{}", refused.message());
            let reason = "that holds for every site, and ana sees some sites only";
            assert!(refused.message().ends_with(reason), "{}", refused.message());
        }
        let request = v1::GetThresholdSetRequest { threshold_set_id };
        let seen = local.get_threshold_set(request).await.unwrap().into_inner();
        assert_eq!(seen.threshold_set.unwrap().state, "approved");
    })
    .await;
}

#[tokio::test]
async fn what_can_not_be_done_is_refused_with_the_reason() {
    with_stage("refused", |stage| async move {
        let bundle = stage.bundle(20).await;
        let mut engineer = stage.client(PersonRole::Engineer);
        let few = engineer.propose(propose(bundle)).await.unwrap_err();
        assert_eq!(few.code(), Code::FailedPrecondition);
        assert!(few.message().contains("20 scores"), "{}", few.message());
        let unnamed = v1::ProposeRequest {
            bundle: String::new(),
            ..propose(bundle)
        };
        let unbound = engineer.propose(unnamed).await.unwrap_err();
        assert!(unbound.message().contains("has no champion"), "{}", unbound.message());
        let period = v1::LoggedScores {
            from: Some(time::to_wire(noon())),
            to: Some(time::to_wire(noon() + Duration::from_mins(1))),
        };
        let logged = v1::ProposeRequest {
            source: Some(Source::Logged(period)),
            ..propose(bundle)
        };
        let empty = engineer.propose(logged).await.unwrap_err();
        assert_eq!(empty.code(), Code::FailedPrecondition, "{}", empty.message());
        let replay = |source| v1::ProposeRequest {
            source: Some(source),
            method: Some(Method::FleetReplay(v1::FleetReplay::default())),
            ..propose(bundle)
        };
        let held_out = engineer
            .propose(replay(Source::HeldOut(v1::HeldOutScores {})))
            .await
            .unwrap_err();
        assert!(
            held_out.message().contains("know no baseline"),
            "{}",
            held_out.message()
        );
        let nothing = engineer.propose(replay(Source::Logged(period))).await.unwrap_err();
        assert_eq!(nothing.code(), Code::FailedPrecondition);
        assert!(nothing.message().contains("active baselines"), "{}", nothing.message());
        let mut operator = stage.client(PersonRole::Operator);
        let now = operator.commission(v1::CommissionRequest {}).await.unwrap_err();
        assert_eq!(now.code(), Code::PermissionDenied);
        assert_eq!(
            operator.propose(propose(bundle)).await.unwrap_err().code(),
            Code::PermissionDenied
        );
        let unknown = v1::GetThresholdSetRequest { threshold_set_id: 99 };
        assert_eq!(
            operator.get_threshold_set(unknown).await.unwrap_err().code(),
            Code::NotFound
        );
    })
    .await;
}
