//! Limits on a schedule: proposed and tested for a class that has some in force, and activated only where policy allows it.

use std::time::Duration;

use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::propose_request::{Method, Source};
use tocsin_domain::fleet::Sensor;
use tocsin_domain::lifecycle::ThresholdState;
use tocsin_domain::{Clock, Detector, PersonRole, Principal, Scores, ThresholdSetId};
use tocsin_recalibrator::{Config, MethodKind, Parts, Policy, Provenance};
use tocsin_store::partition::Day;
use tocsin_store::threshold::ThresholdSetRecord;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::stage::{
    STEP, Stage, activate, approved, approved_from, logged, noon, period, propose, proposed, with_stage,
};

/// Readings of a window.
const READINGS: u32 = 2_400;

fn policy(activate: bool) -> Policy {
    Policy {
        activate,
        period_s: 600,
        window_s: u64::from(READINGS) * STEP.as_secs(),
        ..Policy::default()
    }
}

/// Keeps a window's readings whose scores are exponential and `factor` times as large as usual.
async fn keep(stage: &Stage, sensor: &Sensor, bundle: i32, (window, factor): (u32, f64)) {
    let reading = |i: u32| {
        let uniform = f64::from((i * 1_777) % READINGS) / f64::from(READINGS);
        let mut scores = Scores::default();
        for detector in [Detector::Residual, Detector::OverallLevel] {
            scores.set(detector, (-factor * (1.0 - uniform).ln()) as f32);
        }
        logged(sensor.id, bundle, window * READINGS + i, scores)
    };
    let days = [0, 1, 2].map(|days| Day::of(noon() + Duration::from_hours(24 * days)));
    stage.store.partitions_ensure(days).await.unwrap();
    stage.keep(&(0..READINGS).map(reading).collect::<Vec<_>>()).await;
}

/// The sets there are once the round at the end of that many windows has been, newest first.
async fn round(stage: &Stage, policy: Policy, windows: u32) -> Vec<ThresholdSetRecord> {
    let before = stage.store.threshold_set_list(None).await.unwrap().len();
    let config = Config {
        policy,
        ..Config::default()
    };
    let parts = Parts {
        store: stage.store.clone(),
        bundles: stage.bundles.clone(),
        clock: Clock::manual(noon() + STEP * READINGS * windows),
    };
    let (_, recalibrator) = tocsin_recalibrator::build(config, parts);
    let stop = CancellationToken::new();
    let running = tokio::spawn(recalibrator.run(stop.clone()));
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let done: Option<bool> =
            sqlx::query_scalar("select leased_until is null and outcome <> '' from threshold_round")
                .fetch_optional(stage.store.pool())
                .await
                .unwrap();
        let sets = stage.store.threshold_set_list(None).await.unwrap();
        if done == Some(true) && sets.len() > before {
            stop.cancel();
            running.await.unwrap();
            return sets;
        }
    }
    let outcome: Option<String> = sqlx::query_scalar("select outcome from threshold_round")
        .fetch_optional(stage.store.pool())
        .await
        .unwrap();
    panic!("no set was proposed: {outcome:?}");
}

fn waits_for(record: &ThresholdSetRecord) -> Vec<String> {
    let provenance: Provenance = serde_json::from_str(&record.provenance_json).unwrap();
    provenance.policy.expect("policy looked at it").waits_for
}

/// A class whose limits, from the first window, a person activated.
async fn judged(stage: &Stage) -> (Sensor, i32, i32) {
    judged_by(stage, None).await
}

/// The same, by limits that were found so.
async fn judged_by(stage: &Stage, method: Option<Method>) -> (Sensor, i32, i32) {
    let bundle = stage.bundle(2_000).await;
    let sensor = stage.sensor("north", "p-1").await;
    keep(stage, &sensor, bundle, (0, 1.0)).await;
    let mut client = stage.client(PersonRole::Engineer);
    let request = v1::ProposeRequest {
        source: Some(Source::Logged(period(READINGS))),
        method,
        ..propose(bundle)
    };
    let set = approved_from(&mut client, request).await;
    activate(&mut client, set).await.unwrap();
    (sensor, bundle, set)
}

async fn in_force(stage: &Stage) -> Option<ThresholdSetId> {
    stage
        .store
        .binding_current(stage.class)
        .await
        .unwrap()
        .unwrap()
        .threshold_set
}

#[tokio::test]
async fn by_default_what_is_proposed_on_schedule_waits_for_a_person_and_says_why() {
    with_stage("policy_waits", |stage| async move {
        let (sensor, bundle, first) = judged(&stage).await;
        keep(&stage, &sensor, bundle, (1, 1.1)).await;
        let sets = round(&stage, policy(false), 2).await;
        assert_eq!((sets.len(), sets[0].state), (2, ThresholdState::Tested));
        assert_eq!(waits_for(&sets[0]), ["recalibrator.policy.activate is off"]);
        assert_eq!(in_force(&stage).await, Some(ThresholdSetId(first)));
        let provenance: Provenance = serde_json::from_str(&sets[0].provenance_json).unwrap();
        let found = provenance.policy.unwrap();
        assert_eq!(found.counted_from, Some(ThresholdSetId(first)));
        assert!(
            (found.members[0].page_db - 20.0 * 1.1f64.log10()).abs() < 0.3,
            "{found:?}"
        );
        assert!(provenance.trial.is_some() && found.replayed.is_some());
        let mut client = stage.client(PersonRole::Viewer);
        let class = String::new();
        let listed = client.list_threshold_sets(v1::ListThresholdSetsRequest { class }).await;
        let listed = listed.unwrap().into_inner().threshold_sets;
        assert!(
            listed[0].policy.starts_with("waits for a person: recalibrator"),
            "{}",
            listed[0].policy
        );
        assert_eq!(listed[1].policy, "");
    })
    .await;
}

#[tokio::test]
async fn policy_activates_small_moves_until_they_add_up_to_3_db_from_where_a_person_put_the_lines() {
    with_stage("policy_activates", |stage| async move {
        let (sensor, bundle, first) = judged(&stage).await;
        keep(&stage, &sensor, bundle, (1, 1.25)).await;
        let sets = round(&stage, policy(true), 2).await;
        assert_eq!(waits_for(&sets[0]), Vec::<String>::new());
        assert_eq!(
            (in_force(&stage).await, sets[0].state),
            (Some(sets[0].id), ThresholdState::Active)
        );
        let binding = stage.store.binding_current(stage.class).await.unwrap().unwrap();
        assert!(
            binding.reason.starts_with("by policy: within 3 dB"),
            "{}",
            binding.reason
        );

        keep(&stage, &sensor, bundle, (2, 1.56)).await;
        let sets = round(&stage, policy(true), 3).await;
        let reasons = waits_for(&sets[0]);
        assert!(reasons[0].contains("from where a person put them"), "{reasons:?}");
        assert_eq!(
            in_force(&stage).await,
            Some(sets[1].id),
            "another 1.9 dB would be 3.9 in all"
        );

        let mut client = stage.client(PersonRole::Engineer);
        let request = v1::RollbackRequest {
            class: "pump".to_owned(),
            reason: "too many pages missed".to_owned(),
        };
        client.rollback(request).await.unwrap();
        assert_eq!(
            in_force(&stage).await,
            Some(ThresholdSetId(first)),
            "taken back in one call"
        );
        keep(&stage, &sensor, bundle, (3, 1.1)).await;
        let sets = round(&stage, policy(true), 4).await;
        let reasons = waits_for(&sets[0]);
        assert!(reasons[0].starts_with("a person took back set"), "{reasons:?}");
        assert_eq!(in_force(&stage).await, Some(ThresholdSetId(first)));
    })
    .await;
}

#[tokio::test]
async fn a_fitted_tail_is_proposed_again_whatever_its_words_say_and_from_before_its_kind_was_kept() {
    let rows = [
        ("policy_kind", "provenance || '{\"method\": \"a fit of its own\"}'"),
        ("policy_words", "provenance - 'method_kind'"),
    ];
    for (name, kept) in rows {
        with_stage(name, |stage| async move {
            let (sensor, bundle, _) = judged_by(&stage, Some(Method::Tail(v1::Tail {}))).await;
            let change = format!("update threshold_set set provenance = {kept}");
            let change = sqlx::query(sqlx::AssertSqlSafe(change));
            change.execute(stage.store.pool()).await.unwrap();
            keep(&stage, &sensor, bundle, (1, 1.1)).await;
            let sets = round(&stage, policy(false), 2).await;
            let found: Provenance = serde_json::from_str(&sets[0].provenance_json).unwrap();
            assert_eq!(found.method_kind, Some(MethodKind::Tail), "{kept}");
        })
        .await;
    }
}

#[tokio::test]
async fn what_policy_proposed_and_can_not_test_is_rejected_with_the_reason_and_waits_for_nobody() {
    with_stage("policy_rejects", |stage| async move {
        let (sensor, bundle, first) = judged(&stage).await;
        keep(&stage, &sensor, bundle, (1, 1.1)).await;
        let mut client = stage.client(PersonRole::Engineer);
        // What is in force, and would be replayed beside the new set, can't be read.
        let change = "update threshold_set set definition = '{}'";
        sqlx::query(change).execute(stage.store.pool()).await.unwrap();
        let sets = round(&stage, policy(true), 2).await;
        assert_eq!((sets.len(), sets[0].state), (2, ThresholdState::Rejected));
        assert_eq!(in_force(&stage).await, Some(ThresholdSetId(first)));
        let provenance: Provenance = serde_json::from_str(&sets[0].provenance_json).unwrap();
        let rejection = provenance.rejection.unwrap();
        let said = &format!("its test failed: threshold set {first}: definition: ");
        assert!(rejection.reason.starts_with(said.as_str()), "{rejection:?}");
        assert_eq!((rejection.by.as_str(), provenance.trial), ("service", None));
        let mut audited = stage.store.audit_list(None, 20).await.unwrap().into_iter();
        let entry = audited.find(|entry| entry.action == "threshold_set.rejected").unwrap();
        assert!(entry.detail_json.contains(said.as_str()), "{}", entry.detail_json);
        let outcome: String = sqlx::query_scalar("select outcome from threshold_round")
            .fetch_one(stage.store.pool())
            .await
            .unwrap();
        assert!(outcome.starts_with(&format!("rejected: {said}")), "{outcome}");

        let threshold_set_id = sets[0].id.0;
        let shown = client
            .get_threshold_set(v1::GetThresholdSetRequest { threshold_set_id })
            .await;
        let shown = shown.unwrap().into_inner().threshold_set.unwrap();
        assert!(
            shown.policy.starts_with(&format!("rejected: {said}")),
            "{}",
            shown.policy
        );
        assert_eq!(shown.approval_needed, "");
        let reason = "all the same".to_owned();
        let approve = v1::ApproveRequest {
            threshold_set_id,
            reason,
        };
        for refused in [
            client.test(v1::TestRequest { threshold_set_id }).await.unwrap_err(),
            client.approve(approve).await.unwrap_err(),
            activate(&mut client, threshold_set_id).await.unwrap_err(),
        ] {
            assert_eq!(refused.code(), Code::FailedPrecondition, "{}", refused.message());
            assert!(refused.message().contains("is rejected"), "{}", refused.message());
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_round_that_broke_off_left_behind_is_rejected_by_the_next_and_what_a_person_proposed_is_not() {
    with_stage("policy_left", |stage| async move {
        let (sensor, bundle, first) = judged(&stage).await;
        let left = v1::ProposeRequest {
            reason: format!("on schedule, by the method of threshold set {first}"),
            ..propose(bundle)
        };
        let persons = proposed(&mut stage.client(PersonRole::Engineer), left.clone()).await;
        let left = proposed(&mut stage.client_as(Principal::Service), left).await;
        keep(&stage, &sensor, bundle, (1, 1.1)).await;
        let sets = round(&stage, policy(false), 2).await;
        let states: Vec<_> = sets.iter().map(|set| (set.id.0, set.state)).collect();
        assert_eq!(states[0].1, ThresholdState::Tested);
        let before = [
            (left.threshold_set_id, ThresholdState::Rejected),
            (persons.threshold_set_id, ThresholdState::Proposed),
            (first, ThresholdState::Active),
        ];
        assert_eq!(states[1..], before);
        let provenance: Provenance = serde_json::from_str(&sets[1].provenance_json).unwrap();
        let reason = provenance.rejection.unwrap().reason;
        assert_eq!(reason, "its round broke off before it was tested");
    })
    .await;
}

#[tokio::test]
async fn two_recalibrators_propose_once_and_a_class_without_limits_not_at_all() {
    with_stage("policy_lease", |stage| async move {
        let bundle = stage.bundle(2_000).await;
        let (period, lease) = (Duration::from_mins(10), Duration::from_hours(1));
        let now = noon() + STEP * READINGS;
        let due = async || stage.store.threshold_round_lease(now, period, lease).await.unwrap();
        assert_eq!(due().await, None);
        let mut client = stage.client(PersonRole::Engineer);
        let set = approved(&mut client, bundle).await;
        activate(&mut client, set).await.unwrap();
        assert_eq!(due().await, Some(stage.class));
        assert_eq!(due().await, None, "another one has it");
        stage
            .store
            .threshold_round_record(stage.class, (None, "none"), now)
            .await
            .unwrap();
        assert_eq!(due().await, None, "a period has to go by");
    })
    .await;
}
