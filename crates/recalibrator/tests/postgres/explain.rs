//! Why a sensor is judged as it is.

use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::time;
use tocsin_domain::lifecycle::ThresholdState;
use tocsin_domain::{Detector, PersonRole, Scope, Scores, ThresholdSetId, UnjudgedReason, Verdict};
use tocsin_store::reading::NewReading;
use tonic::Code;

use crate::budget::{self, fleet};
use crate::rescored::followed;
use crate::stage::{STEP, Stage, activate, approved, approved_from, logged, noon, with_stage};

fn explain(site: &str, machine: &str) -> v1::ExplainRequest {
    v1::ExplainRequest {
        site: site.to_owned(),
        machine: machine.to_owned(),
        sensor: "h".to_owned(),
    }
}

/// Limits against baselines in force; the set.
async fn fleet_replay(stage: &Stage, bundle: i32) -> i32 {
    let mut engineer = stage.client(PersonRole::Engineer);
    let threshold_set_id = approved_from(&mut engineer, budget::fleet_replay(bundle, 0.0, None)).await;
    let active = activate(&mut engineer, threshold_set_id).await.unwrap();
    assert_eq!(active.state, ThresholdState::Active.as_str());
    threshold_set_id
}

#[tokio::test]
async fn a_commissioned_sensor_is_told_its_limits_its_baseline_and_what_they_say_of_its_newest_reading() {
    with_stage("explain", |stage| async move {
        let bundle = fleet(&stage).await;
        let set = fleet_replay(&stage, bundle).await;
        let sensor = stage
            .store
            .sensor_list(&Scope::All, None, Some(&"p-1".parse().unwrap()))
            .await
            .unwrap();
        let sensor = &sensor[0].sensor;
        let mut scores = Scores::default();
        scores.set(Detector::Residual, 0.5);
        scores.set(Detector::Growth, 2.0);
        let newest = NewReading {
            threshold_set: Some(ThresholdSetId(set)),
            verdict: Verdict::Alert { by: Detector::Growth },
            ..logged(sensor.id, bundle, 500, scores)
        };
        stage.keep(&[newest]).await;
        let mut viewer = stage.client_of(PersonRole::Viewer, Scope::site(sensor.site));
        let told = viewer.explain(explain("north", "p-1")).await.unwrap().into_inner();
        assert_eq!(
            (told.class.as_str(), told.bundle_id, told.in_force_by.as_str()),
            ("pump", bundle, "ana")
        );
        assert!(!told.borrows_limits);
        let baseline = told.baseline.unwrap();
        assert_eq!(
            (baseline.epoch, baseline.readings, baseline.reason.as_str()),
            (1, 20, "its own spread")
        );
        let limits = told.limits.unwrap();
        assert_eq!((limits.threshold_set_id, limits.approved_by.as_str()), (set, "ana"));
        let of = |detector: &str| {
            limits
                .members
                .iter()
                .find(|member| member.detector == detector)
                .unwrap()
        };
        let growth = of("growth");
        assert_eq!(
            (growth.role.as_str(), growth.machines, growth.scores),
            ("page", 5, 2_000)
        );
        assert!(
            (growth.alert_line - 1.75).abs() < 1e-9 && !growth.waits_for_baseline,
            "{growth:?}"
        );
        assert!(growth.origin.contains("the median of 5 machines"), "{}", growth.origin);
        assert!(
            of("residual")
                .origin
                .contains("percentiles of 4000 healthy scores the trainer held out"),
            "{}",
            of("residual").origin
        );
        let newest = told.newest.unwrap();
        assert_eq!(newest.captured_at, Some(time::to_wire(noon() + STEP * 500)));
        assert_eq!(
            (newest.verdict.as_str(), newest.deciding_detector.as_str()),
            ("alert", "growth")
        );
        let level = newest.levels.iter().find(|level| level.detector == "growth").unwrap();
        assert!(level.level == newest.level && level.level > Some(1.0), "{newest:?}");
    })
    .await;
}

#[tokio::test]
async fn a_sensor_without_a_baseline_borrows_and_one_that_stood_still_was_not_judged() {
    with_stage("explain_borrows", |stage| async move {
        let bundle = fleet(&stage).await;
        let set = fleet_replay(&stage, bundle).await;
        let new = stage.sensor("north", "p-9").await;
        let mut engineer = stage.client(PersonRole::Engineer);
        let told = engineer.explain(explain("north", "p-9")).await.unwrap().into_inner();
        assert!(told.borrows_limits && told.baseline.is_none() && told.newest.is_none());
        assert_eq!(told.commissioning.unwrap().state, "commissioning");
        let members = told.limits.unwrap().members;
        let waiting: Vec<_> = members
            .iter()
            .filter(|m| m.waits_for_baseline)
            .map(|m| m.detector.as_str())
            .collect();
        assert_eq!(waiting, ["growth"]);
        let mut scores = Scores::default();
        scores.set(Detector::OverallLevel, 0.5);
        let stopped = NewReading {
            threshold_set: Some(ThresholdSetId(set)),
            verdict: Verdict::Unjudged {
                reason: UnjudgedReason::Stopped,
            },
            ..logged(new.id, bundle, 3, scores)
        };
        stage.keep(&[stopped]).await;
        let newest = engineer
            .explain(explain("north", "p-9"))
            .await
            .unwrap()
            .into_inner()
            .newest
            .unwrap();
        assert_eq!(
            (newest.verdict.as_str(), newest.unjudged_reason.as_str()),
            ("unjudged", "stopped")
        );
        assert!(newest.level.is_none() && newest.levels[0].level.is_some(), "{newest:?}");
    })
    .await;
}

#[tokio::test]
async fn a_baseline_that_followed_still_says_what_its_spread_was_pooled_with() {
    with_stage("explain_followed", |stage| async move {
        let sensor = stage.sensor("north", "p-1").await;
        followed(&stage, &sensor, (40, 60)).await;
        let mut viewer = stage.client_of(PersonRole::Viewer, Scope::site(sensor.site));
        let told = viewer.explain(explain("north", "p-1")).await.unwrap().into_inner();
        assert_eq!(
            told.baseline.unwrap().reason,
            "followed; as it was commissioned: its own spread"
        );
    })
    .await;
}

#[tokio::test]
async fn a_viewer_sees_the_sensors_of_their_own_site_alone_and_a_class_without_limits_has_none_to_tell() {
    with_stage("explain_scope", |stage| async move {
        let (north, south) = (stage.sensor("north", "p-1").await, stage.sensor("south", "p-2").await);
        let mut viewer = stage.client_of(PersonRole::Viewer, Scope::site(north.site));
        let told = viewer.explain(explain("north", "p-1")).await.unwrap().into_inner();
        assert!(told.limits.is_none() && !told.borrows_limits && told.bundle_id == 0);
        let hidden = viewer.explain(explain("south", "p-2")).await.unwrap_err();
        assert_eq!(hidden.code(), Code::NotFound, "{}", hidden.message());
        assert_ne!(north.site, south.site);
        let wrong = viewer.explain(explain("north", "No Machine")).await.unwrap_err();
        assert_eq!(wrong.code(), Code::InvalidArgument);
        assert!(wrong.message().starts_with("machine: "), "{}", wrong.message());
        let bundle = stage.bundle(4_000).await;
        let mut engineer = stage.client(PersonRole::Engineer);
        let set = approved(&mut engineer, bundle).await;
        activate(&mut engineer, set).await.unwrap();
        let told = viewer.explain(explain("north", "p-1")).await.unwrap().into_inner();
        assert_eq!(told.limits.unwrap().threshold_set_id, set);
        assert!(!told.borrows_limits, "percentiles want no baseline");
    })
    .await;
}
