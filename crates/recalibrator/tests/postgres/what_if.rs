//! What limits would have opened.

use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::propose_request::Source;
use tocsin_contracts::recalibrator::v1::run_with_progress_request::Work;
use tocsin_contracts::recalibrator::v1::run_with_progress_response::Said;
use tocsin_contracts::recalibrator::v1::what_if_request::Limits;
use tocsin_contracts::time;
use tocsin_domain::{Detector, PersonRole, ReadingFlags, Scope, Scores, SensorId, UnjudgedReason, Verdict};
use tocsin_store::reading::NewReading;
use tonic::Code;

use crate::stage::{STEP, Stage, activate, approved, logged, noon, period, propose, proposed, with_stage};

const STEPS: u32 = 400;

fn scores(residual: f32) -> Scores {
    let mut scores = Scores::default();
    scores.set(Detector::Residual, residual);
    scores.set(Detector::OverallLevel, 0.5);
    scores
}

/// A machine that is healthy but for fifteen steps from 200 on.
fn failing(sensor: SensorId, bundle: i32) -> Vec<NewReading> {
    let residual = |step| if (200..215).contains(&step) { 30.0 } else { 0.5 };
    (0..STEPS)
        .map(|step| logged(sensor, bundle, step, scores(residual(step))))
        .collect()
}

/// A machine whose healthy scores scatter six times as widely as the bundle's, in no order.
fn loud(sensor: SensorId, bundle: i32) -> Vec<NewReading> {
    let residual = |step: u32| 6.0 * -(1.0 - f64::from(step * 177 % STEPS) / f64::from(STEPS)).ln();
    let score = |step| {
        let mut scores = scores(residual(step) as f32);
        scores.set(Detector::OverallLevel, residual(step) as f32);
        scores
    };
    (0..STEPS)
        .map(|step| logged(sensor, bundle, step, score(step)))
        .collect()
}

fn what_if(threshold_set_id: i32) -> v1::WhatIfRequest {
    v1::WhatIfRequest {
        limits: Some(Limits::ThresholdSetId(threshold_set_id)),
        period: Some(period(STEPS)),
        ..v1::WhatIfRequest::default()
    }
}

/// A failing machine in the north and a loud one in the south, judged by a bundle's own limits; bundle and set.
async fn two_sites(stage: &Stage) -> (i32, i32) {
    let bundle = stage.bundle(4_000).await;
    let (north, south) = (stage.sensor("north", "p-1").await, stage.sensor("south", "p-2").await);
    stage.keep(&failing(north.id, bundle)).await;
    stage.keep(&loud(south.id, bundle)).await;
    let mut engineer = stage.client(PersonRole::Engineer);
    let set = approved(&mut engineer, bundle).await;
    activate(&mut engineer, set).await.unwrap();
    (bundle, set)
}

#[tokio::test]
async fn the_limits_in_force_are_replayed_with_their_rates_and_differ_from_themselves_in_nothing() {
    with_stage("what_if", |stage| async move {
        let (bundle, set) = two_sites(&stage).await;
        let request = v1::WhatIfRequest {
            persons: 2,
            ..what_if(set)
        };
        let mut engineer = stage.client_of(PersonRole::Engineer, Scope::All);
        let answer = engineer.what_if(request).await.unwrap().into_inner();
        assert_eq!(
            (answer.class.as_str(), answer.bundle_id, answer.threshold_set_id),
            ("pump", bundle, set)
        );
        assert_eq!((answer.active_threshold_set_id, answer.changes.len()), (set, 0));
        assert_eq!(answer.expected, answer.active_expected);
        let expected = answer.expected.unwrap();
        assert_eq!((expected.machines, expected.sites, expected.persons), (2, 2, 2));
        assert_eq!(expected.readings, u64::from(2 * STEPS));
        assert!((expected.machine_hours - f64::from(2 * STEPS) / 360.0).abs() < 1e-9);
        let failed = answer.machines.iter().find(|machine| machine.machine == "p-1").unwrap();
        assert_eq!((failed.pages, failed.alerts), (1, 0));
        assert_eq!(failed.first_page_at, Some(time::to_wire(noon() + STEP * 204)));
        let pages = expected.pages.unwrap();
        let by_day = pages.per_site_day.unwrap();
        assert!(by_day.lower < by_day.rate && by_day.rate < by_day.upper, "{by_day:?}");
        let days = f64::from(STEPS) / 8_640.0;
        assert!(
            (by_day.rate - pages.events as f64 / 2.0 / days).abs() < 1e-6,
            "{by_day:?}"
        );
        let by_person = pages.per_person_week.unwrap();
        assert!(
            (by_person.rate - pages.events as f64 / 2.0 / days * 7.0).abs() < 1e-5,
            "{by_person:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn the_same_is_answered_at_length_with_how_far_it_is_and_for_the_same_people() {
    with_stage("what_if_at_length", |stage| async move {
        let (_, set) = two_sites(&stage).await;
        let mut engineer = stage.client_of(PersonRole::Engineer, Scope::All);
        let at_once = engineer.what_if(what_if(set)).await.unwrap().into_inner();
        let asked = |work| v1::RunWithProgressRequest { work: Some(work) };
        let mut answers = engineer
            .run_with_progress(asked(Work::WhatIf(what_if(set))))
            .await
            .unwrap()
            .into_inner();
        let mut said = Vec::new();
        while let Some(message) = answers.message().await.unwrap() {
            said.push(message.said.unwrap());
        }
        assert_eq!(said.pop(), Some(Said::WhatIf(Box::new(at_once))));
        assert!(matches!(said.first(), Some(Said::Progress(_))), "{said:?}");
        for progress in &said {
            assert!(
                matches!(progress, Said::Progress(p) if p.machines_read <= p.machines),
                "{progress:?}"
            );
        }

        let nothing = v1::RunWithProgressRequest { work: None };
        let refused = engineer.run_with_progress(nothing).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::InvalidArgument, "work: is missing")
        );
        let test = v1::TestRequest { threshold_set_id: set };
        let third = stage.sensor("north", "p-3").await;
        let mut local = stage.client_of(PersonRole::Engineer, Scope::site(third.site));
        let refused = local.run_with_progress(asked(Work::Test(test))).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    })
    .await;
}

#[tokio::test]
async fn wider_limits_lose_pages_and_tell_which() {
    with_stage("what_if_wider", |stage| async move {
        let (bundle, set) = two_sites(&stage).await;
        let mut engineer = stage.client(PersonRole::Engineer);
        let wider = v1::ProposeRequest {
            source: Some(Source::Logged(period(STEPS))),
            ..propose(bundle)
        };
        let wider = proposed(&mut engineer, wider).await;
        let answer = engineer
            .what_if(what_if(wider.threshold_set_id))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.active_threshold_set_id, set);
        let of = |machine: &str| -> Vec<_> {
            let changes = answer.changes.iter().filter(|change| change.machine == machine);
            changes.map(|change| change.change.as_str()).collect()
        };
        assert!(
            ["lost", "lowered", "later"].contains(&of("p-1")[0]),
            "{:?}",
            answer.changes
        );
        let state = v1::GetThresholdSetRequest {
            threshold_set_id: wider.threshold_set_id,
        };
        let after = engineer
            .get_threshold_set(state)
            .await
            .unwrap()
            .into_inner()
            .threshold_set
            .unwrap();
        assert_eq!(after, wider, "it changes nothing");
    })
    .await;
}

#[tokio::test]
async fn a_stopped_machine_stays_unjudged_history_counts_when_asked_for_and_a_site_sees_its_own() {
    with_stage("what_if_scope", |stage| async move {
        let (bundle, set) = two_sites(&stage).await;
        let third = stage.sensor("north", "p-3").await;
        let mut readings = failing(third.id, bundle);
        for reading in &mut readings[..220] {
            reading.flags = ReadingFlags::HISTORICAL;
        }
        for reading in &mut readings[220..] {
            reading.scores = scores(30.0);
            reading.verdict = Verdict::Unjudged {
                reason: UnjudgedReason::Stopped,
            };
        }
        stage.keep(&readings).await;
        let mut local = stage.client_of(PersonRole::Engineer, Scope::site(third.site));
        let answer = local.what_if(what_if(set)).await.unwrap().into_inner();
        let machines: Vec<_> = answer.machines.iter().map(|machine| machine.machine.as_str()).collect();
        assert_eq!(machines, ["p-1"], "the other stood still, and the south is not theirs");
        let request = v1::WhatIfRequest {
            include_historical: true,
            ..what_if(set)
        };
        let answer = local.what_if(request).await.unwrap().into_inner();
        let pages: Vec<_> = answer.machines.iter().map(|m| (m.machine.as_str(), m.pages)).collect();
        assert_eq!(pages, [("p-1", 1), ("p-3", 1)]);
        let mut viewer = stage.client(PersonRole::Viewer);
        assert_eq!(
            viewer.what_if(what_if(set)).await.unwrap_err().code(),
            Code::PermissionDenied
        );
    })
    .await;
}

#[tokio::test]
async fn what_can_not_be_tried_is_refused_with_the_reason_and_other_bundles_are_not_compared() {
    with_stage("what_if_refused", |stage| async move {
        let (_, set) = two_sites(&stage).await;
        let mut engineer = stage.client(PersonRole::Engineer);
        let other = stage.bundle(3_000).await;
        let alone = approved(&mut engineer, other).await;
        let nothing = engineer.what_if(what_if(alone)).await.unwrap_err();
        assert_eq!(nothing.code(), Code::FailedPrecondition);
        assert!(nothing.message().contains("scored no reading"), "{}", nothing.message());
        let sensor = stage.sensor("south", "p-4").await;
        stage.keep(&failing(sensor.id, other)).await;
        let answer = engineer.what_if(what_if(alone)).await.unwrap().into_inner();
        assert_eq!((answer.active_threshold_set_id, answer.active_expected), (0, None));
        assert!(
            answer.not_compared_reason.contains("judge other scores"),
            "{}",
            answer.not_compared_reason
        );
        let fan = v1::WhatIfRequest {
            class: "fan".to_owned(),
            ..what_if(set)
        };
        let wrong = engineer.what_if(fan).await.unwrap_err();
        assert_eq!(wrong.code(), Code::InvalidArgument);
        assert!(wrong.message().starts_with("class: "), "{}", wrong.message());
    })
    .await;
}
