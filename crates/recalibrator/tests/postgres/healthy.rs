//! Which logged scores teach limits, and which do not.

use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::propose_request::Source;
use tocsin_domain::{Detector, OperatingState, PersonRole, Scope, Scores, SensorId};
use tocsin_recalibrator::{Provenance, Trial};
use tocsin_scratch::slug;
use tocsin_store::fleet::NewSensor;
use tocsin_store::reading::NewReading;

use crate::budget::{fleet, fleet_replay, read};
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

/// Readings that limits at percentiles are learned from, and what came of their test.
async fn learned_and_tested(stage: &Stage, bundle: i32) -> (u64, Trial) {
    let mut engineer = stage.client(PersonRole::Engineer);
    let request = v1::ProposeRequest {
        source: Some(Source::Logged(period(STEPS))),
        ..propose(bundle)
    };
    let tested = tested(&mut engineer, request).await;
    let provenance: Provenance = serde_json::from_str(&tested.provenance_json).unwrap();
    (provenance.readings, provenance.trial.unwrap())
}

/// A sensor begins a new epoch that many steps after noon.
async fn repair(stage: &Stage, sensor: SensorId, step: u32) {
    let (why, then) = (("ana", "a new bearing"), noon() + STEP * step);
    let audit = tocsin_scratch::audit;
    let begun = stage
        .store
        .commissioning_restart(&Scope::All, sensor, why, then, audit)
        .await;
    begun.unwrap();
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
        let (learned, trial) = learned_and_tested(&stage, bundle).await;
        assert_eq!((learned, trial.readings), (all - 400, all));
    })
    .await;
}

#[tokio::test]
async fn the_day_before_a_sensor_of_the_machine_began_a_new_epoch_teaches_no_limits_and_counts_against_none() {
    with_stage("healthy_repaired", |stage| async move {
        let bundle = stage.bundle(4_000).await;
        let (repaired, other) = (stage.sensor("north", "p-1").await, stage.sensor("south", "p-2").await);
        let mut failing = healthy(repaired.id, bundle);
        for reading in &mut failing[900..920] {
            reading.scores.set(Detector::Residual, 30.0);
        }
        stage.keep(&failing).await;
        stage.keep(&healthy(other.id, bundle)).await;
        let all = u64::from(STEPS);
        let (learned, trial) = learned_and_tested(&stage, bundle).await;
        assert_eq!((learned, trial.readings), (2 * all, 2 * all));
        assert!(trial.incidents > 0, "{trial:?}");

        repair(&stage, repaired.id, 1_000).await;
        let (learned, trial) = learned_and_tested(&stage, bundle).await;
        assert_eq!((learned, trial.readings), (2 * all - 1_000, 2 * all - 1_000));
        assert_eq!((trial.incidents, trial.pages), (0, 0), "{trial:?}");
    })
    .await;
}

#[tokio::test]
async fn what_a_machine_reached_on_any_sensor_before_one_was_repaired_is_no_reference_and_no_expected_page() {
    with_stage("healthy_reached", |stage| async move {
        let bundle = fleet(&stage).await;
        // Its growth reached 3.25 in steps 200 to 215.
        let new = NewSensor {
            site: slug("south"),
            machine: slug("p-4"),
            device: None,
            name: slug("v"),
            class: slug("pump"),
            spec: slug("accel"),
        };
        let beside = stage
            .store
            .sensor_create(&Scope::All, &new, noon(), tocsin_scratch::audit)
            .await
            .unwrap();
        let told = async || {
            let mut engineer = stage.client(PersonRole::Engineer);
            let set = tested(&mut engineer, fleet_replay(bundle, 3.0, None)).await;
            let (_, provenance) = read(&set);
            let expected = provenance.expected.unwrap().expected;
            let trial = provenance.trial.unwrap();
            (
                provenance.readings,
                expected.readings,
                expected.pages.events,
                trial.pages,
            )
        };
        assert_eq!(told().await, (2_000, 2_000, 1, 1));
        repair(&stage, beside.sensor.id, 300).await;
        assert_eq!(told().await, (1_700, 1_700, 0, 0));
    })
    .await;
}
