//! Which logged scores teach limits, and which do not.

use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::propose_request::Source;
use tocsin_domain::{Detector, OperatingState, PersonRole, Scope, Scores, SensorId};
use tocsin_recalibrator::Provenance;
use tocsin_store::reading::NewReading;

use crate::stage::{STEP, Stage, logged, noon, period, propose, tested, with_stage};

const STEPS: u32 = 3_000;

fn healthy(sensor: SensorId, bundle: i32) -> Vec<NewReading> {
    let reading = |step: u32| {
        let mut scores = Scores::default();
        scores.set(Detector::Residual, (step * 177 % STEPS) as f32 / STEPS as f32);
        scores.set(Detector::OverallLevel, (step * 131 % STEPS) as f32 / STEPS as f32);
        logged(sensor, bundle, step, scores)
    };
    (0..STEPS).map(reading).collect()
}

/// Readings that limits at percentiles are learned from and tested over.
async fn counted(stage: &Stage, bundle: i32) -> (u64, u64) {
    let mut engineer = stage.client(PersonRole::Engineer);
    let request = v1::ProposeRequest {
        source: Some(Source::Logged(period(STEPS))),
        ..propose(bundle)
    };
    let tested = tested(&mut engineer, request).await;
    let provenance: Provenance = serde_json::from_str(&tested.provenance_json).unwrap();
    (provenance.readings, provenance.trial.unwrap().readings)
}

#[tokio::test]
async fn a_condition_that_was_not_seen_before_teaches_no_limits_and_they_are_tested_in_it_all_the_same() {
    with_stage("healthy_unseen", |stage| async move {
        let bundle = stage.bundle(4_000).await;
        let mut readings = healthy(stage.sensor("north", "p-1").await.id, bundle);
        for reading in &mut readings[1_000..1_400] {
            reading.state = OperatingState::Unseen;
        }
        stage.keep(&readings).await;
        let all = u64::from(STEPS);
        assert_eq!(counted(&stage, bundle).await, (all - 400, all));
    })
    .await;
}

#[tokio::test]
async fn the_day_before_a_sensor_of_the_machine_began_a_new_epoch_teaches_no_limits() {
    with_stage("healthy_repaired", |stage| async move {
        let bundle = stage.bundle(4_000).await;
        let (repaired, other) = (stage.sensor("north", "p-1").await, stage.sensor("south", "p-2").await);
        for sensor in [&repaired, &other] {
            stage.keep(&healthy(sensor.id, bundle)).await;
        }
        let all = u64::from(STEPS);
        assert_eq!(counted(&stage, bundle).await.0, 2 * all);
        let (why, then) = (("ana", "a new bearing"), noon() + STEP * 1_000);
        let audit = tocsin_scratch::audit;
        let begun = stage
            .store
            .commissioning_restart(&Scope::All, repaired.id, why, then, audit)
            .await;
        begun.unwrap();
        assert_eq!(counted(&stage, bundle).await.0, 2 * all - 1_000);
    })
    .await;
}
