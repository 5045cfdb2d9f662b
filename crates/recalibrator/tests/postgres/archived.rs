//! What limits would have opened, over days that have been archived since.

use std::time::Duration;

use tocsin_archive::Archiver;
use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::propose_request::Source;
use tocsin_contracts::recalibrator::v1::what_if_request::Limits;
use tocsin_domain::{Clock, Detector, PersonRole, ReadingFlags, Scores, SensorId};
use tocsin_store::partition::Day;
use tocsin_store::reading::NewReading;

use crate::budget;
use crate::stage::{Stage, activate, approved, logged, noon, period, propose, proposed, with_stage};

/// From noon of one day to an hour past the next midnight.
const STEPS: u32 = 4_680;
const MIDNIGHT: u32 = 4_320;

fn scored(sensor: SensorId, bundle: i32, step: u32, (residual, overall): (f32, f32)) -> NewReading {
    let mut scores = Scores::default();
    scores.set(Detector::Residual, residual);
    scores.set(Detector::OverallLevel, overall);
    logged(sensor, bundle, step, scores)
}

/// Healthy but for a failure at two, and one that begins before midnight and pages after it.
fn failing(sensor: SensorId, bundle: i32) -> Vec<NewReading> {
    let bad = |step| (700..715).contains(&step) || (MIDNIGHT - 3..MIDNIGHT + 12).contains(&step);
    let residual = |step| if bad(step) { 30.0 } else { 0.5 };
    (0..STEPS)
        .map(|step| scored(sensor, bundle, step, (residual(step), 0.5)))
        .collect()
}

/// Between the lines every now and then, and in part history.
fn restless(sensor: SensorId, bundle: i32) -> Vec<NewReading> {
    let residual = |step: u32| 6.0 * -(1.0 - f64::from(step * 177 % STEPS) / f64::from(STEPS)).ln();
    (0..STEPS)
        .map(|step| {
            let mut reading = scored(sensor, bundle, step, (residual(step) as f32, residual(step) as f32));
            if step < 1_000 {
                reading.flags = ReadingFlags::HISTORICAL;
            }
            reading
        })
        .collect()
}

fn archiver(stage: &Stage, clock: &Clock) -> Archiver {
    Archiver::new(
        tocsin_archive::Config::default(),
        stage.store.clone(),
        stage.bundles.objects().clone(),
        clock.clone(),
        "review",
    )
}

/// All that is asked of the limits in force and of wider ones, with history and without.
async fn answers(stage: &Stage, sets: [i32; 2]) -> Vec<v1::WhatIfResponse> {
    let mut engineer = stage.client(PersonRole::Engineer);
    let mut answers = Vec::new();
    for threshold_set_id in sets {
        for include_historical in [false, true] {
            let request = v1::WhatIfRequest {
                limits: Some(Limits::ThresholdSetId(threshold_set_id)),
                period: Some(period(STEPS)),
                include_historical,
                ..v1::WhatIfRequest::default()
            };
            answers.push(engineer.what_if(request).await.unwrap().into_inner());
        }
    }
    answers
}

#[tokio::test]
async fn a_what_if_over_archived_days_answers_as_it_did_when_they_were_hot() {
    with_stage("what_if_archived", |stage| async move {
        let bundle = stage.bundle(4_000).await;
        let (north, south) = (stage.sensor("north", "p-1").await, stage.sensor("south", "p-2").await);
        let days = [Day::of(noon()), Day::of(noon()).next()];
        stage.store.partitions_ensure(days).await.unwrap();
        stage.keep(&failing(north.id, bundle)).await;
        stage.keep(&restless(south.id, bundle)).await;
        let mut engineer = stage.client(PersonRole::Engineer);
        let set = approved(&mut engineer, bundle).await;
        activate(&mut engineer, set).await.unwrap();
        let wider = v1::ProposeRequest {
            source: Some(Source::Logged(period(STEPS))),
            ..propose(bundle)
        };
        let sets = [set, proposed(&mut engineer, wider).await.threshold_set_id];

        let hot = answers(&stage, sets).await;
        let failed = hot[0].machines.iter().find(|machine| machine.machine == "p-1").unwrap();
        assert_eq!(failed.pages, 2);
        assert!(!hot[2].changes.is_empty(), "wider limits change something");
        assert_ne!(hot[0].expected, hot[1].expected, "history counts");

        let clock = Clock::manual(noon() + Duration::from_hours(8 * 24));
        let archiver = archiver(&stage, &clock);
        for archived in [1, 2] {
            archiver.round().await.unwrap();
            let hot_days = stage.store.partitions_list().await.unwrap();
            assert_eq!(hot_days, days[archived..], "with {archived} archived");
            assert_eq!(answers(&stage, sets).await, hot, "with {archived} archived");
            clock.advance(Duration::from_hours(24));
        }
    })
    .await;
}

#[tokio::test]
async fn limits_by_fleet_replay_are_learned_from_archived_days_as_from_hot_ones() {
    with_stage("reached_archived", |stage| async move {
        let bundle = budget::fleet(&stage).await;
        let mut engineer = stage.client(PersonRole::Engineer);
        let mut learned = async || {
            let set = proposed(&mut engineer, budget::fleet_replay(bundle, 2.5, None)).await;
            let (growth, provenance) = budget::read(&set);
            (growth, provenance.readings, provenance.expected)
        };
        let hot = learned().await;
        let clock = Clock::manual(noon() + Duration::from_hours(8 * 24));
        archiver(&stage, &clock).round().await.unwrap();
        let left = stage.store.partitions_list().await.unwrap();
        assert!(!left.contains(&Day::of(noon())), "{left:?}");
        assert_eq!(learned().await, hot);
    })
    .await;
}
