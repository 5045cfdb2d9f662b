//! Page factors from a budget, and the pages expected of what is proposed.

use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::fleet_replay::Budget;
use tocsin_contracts::recalibrator::v1::propose_request::{Method, Source};
use tocsin_contracts::recalibrator::v1::what_if_request::Limits;
use tocsin_domain::{BaselineId, Detector, PersonRole, Scope, Scores, SensorId};
use tocsin_judge::{Member, PageBudget, ThresholdSet};
use tocsin_recalibrator::Provenance;
use tocsin_store::reading::NewReading;
use tonic::Code;

use crate::stage::{Stage, activate, approved, learned, logged, noon, period, propose, proposed, with_stage};

const STEPS: u32 = 400;

/// Growth is 1 but for fifteen steps.
fn machine(sensor: SensorId, bundle: i32, baseline: BaselineId, burst: f32) -> Vec<NewReading> {
    let reading = |step| {
        let mut scores = Scores::default();
        scores.set(Detector::Residual, 0.5);
        scores.set(Detector::OverallLevel, 0.5);
        let growth = if (200..215).contains(&step) { burst } else { 1.0 };
        scores.set(Detector::Growth, growth);
        NewReading {
            baseline: Some(baseline),
            ..logged(sensor, bundle, step, scores)
        }
    };
    (0..STEPS).map(reading).collect()
}

/// Five commissioned machines at two sites; of one the growth rose to 2.65 for a while, of another to 3.25, and nobody
/// was told. The bundle.
pub(crate) async fn fleet(stage: &Stage) -> i32 {
    let bundle = stage.bundle(4_000).await;
    for (site, name, burst) in [
        ("north", "p-1", 1.0),
        ("north", "p-2", 2.65),
        ("north", "p-3", 1.0),
        ("south", "p-4", 3.25),
        ("south", "p-5", 1.0),
    ] {
        commissioned(stage, (site, name), bundle, burst).await;
    }
    bundle
}

/// A machine with a baseline whose growth rose to `burst` for a while.
async fn commissioned(stage: &Stage, (site, name): (&str, &str), bundle: i32, burst: f32) {
    let sensor = stage.sensor(site, name).await.id;
    let baseline = baseline(stage, sensor).await;
    stage.keep(&machine(sensor, bundle, baseline, burst)).await;
}

/// The baseline that a sensor is commissioned with by hand.
pub(crate) async fn baseline(stage: &Stage, sensor: SensorId) -> BaselineId {
    let learned = learned(sensor, 1.0);
    let activated = stage
        .store
        .baseline_activate(&Scope::All, &learned, noon(), tocsin_scratch::audit);
    activated.await.unwrap().unwrap()
}

pub(crate) fn fleet_replay(bundle: i32, page_factor: f64, budget: Option<Budget>) -> v1::ProposeRequest {
    v1::ProposeRequest {
        source: Some(Source::Logged(period(STEPS))),
        method: Some(Method::FleetReplay(v1::FleetReplay {
            page_factor,
            budget,
            ..v1::FleetReplay::default()
        })),
        ..propose(bundle)
    }
}

pub(crate) fn read(set: &v1::ThresholdSet) -> (Member, Provenance) {
    let definition: ThresholdSet = serde_json::from_str(&set.definition_json).unwrap();
    let growth = definition
        .members
        .into_iter()
        .find(|member| member.detector == Detector::Growth);
    (growth.unwrap(), serde_json::from_str(&set.provenance_json).unwrap())
}

/// Pages per site-day of so many pages in 400 steps at two sites.
fn per_site_day(pages: f64) -> f64 {
    pages / 2.0 / (f64::from(STEPS) / 8_640.0)
}

#[tokio::test]
async fn a_budget_takes_the_smallest_factor_that_keeps_to_it_and_provenance_tells_what_was_tried() {
    with_stage("budget", |stage| async move {
        let bundle = fleet(&stage).await;
        let mut engineer = stage.client(PersonRole::Engineer);
        for (most, factor, pages) in [(2.0, 2.0, 2), (1.0, 2.7, 1), (0.5, 3.3, 0)] {
            let budget = Budget::PagesPerSiteDay(per_site_day(most) + 1e-6);
            let set = proposed(&mut engineer, fleet_replay(bundle, 0.0, Some(budget))).await;
            let (growth, provenance) = read(&set);
            assert!((growth.page_line - factor).abs() < 1e-9, "{most}: {growth:?}");
            let pages_told = provenance.expected.unwrap();
            assert_eq!(
                (pages_told.expected.pages.events, pages_told.candidates.len()),
                (pages, 21)
            );
            assert!(matches!(pages_told.budget, Some(PageBudget::PagesPerSiteDay(_))));
            let rate = pages_told.expected.pages.per_site_day.unwrap();
            assert!(
                (rate.rate - per_site_day(pages as f64)).abs() < 1e-6 && rate.upper > rate.rate,
                "{rate:?}"
            );
            assert!(
                provenance.method.contains(&format!("page {factor} times")),
                "{}",
                provenance.method
            );
            assert!(provenance.method.contains("the smallest page factor that keeps to"));
        }
    })
    .await;
}

#[tokio::test]
async fn expected_pages_are_kept_without_a_budget_too_and_a_what_if_says_the_same() {
    with_stage("budget_none", |stage| async move {
        let bundle = fleet(&stage).await;
        let mut engineer = stage.client(PersonRole::Engineer);
        let (_, provenance) = read(&proposed(&mut engineer, fleet_replay(bundle, 3.0, None)).await);
        let kept = provenance.expected.unwrap();
        assert_eq!(
            (kept.budget, kept.candidates.len(), kept.machines_left_out),
            (None, 0, 0)
        );
        assert_eq!((kept.expected.pages.events, kept.expected.alerts.events), (1, 1));
        let first = approved(&mut engineer, bundle).await;
        activate(&mut engineer, first).await.unwrap();
        let request = v1::WhatIfRequest {
            limits: Some(Limits::FleetReplay(v1::FleetReplay {
                page_factor: 3.0,
                ..v1::FleetReplay::default()
            })),
            class: "pump".to_owned(),
            period: Some(period(STEPS)),
            ..v1::WhatIfRequest::default()
        };
        let answer = engineer.what_if(request).await.unwrap().into_inner();
        let expected = answer.expected.unwrap();
        assert_eq!((expected.pages.unwrap().events, answer.threshold_set_id), (1, 0));
        let changes: Vec<_> = answer
            .changes
            .iter()
            .map(|c| (c.machine.as_str(), c.change.as_str()))
            .collect();
        assert_eq!(
            changes,
            [("p-2", "gained"), ("p-4", "gained")],
            "percentiles know no growth"
        );
    })
    .await;
}

#[tokio::test]
async fn a_budget_that_no_factor_keeps_to_is_refused_with_the_best_there_is() {
    with_stage("budget_refused", |stage| async move {
        let bundle = fleet(&stage).await;
        for (name, burst) in [("p-6", 9.0), ("p-7", 1.0), ("p-8", 1.0)] {
            commissioned(&stage, ("south", name), bundle, burst).await;
        }
        let mut engineer = stage.client(PersonRole::Engineer);
        let budget = Budget::PagesPerPersonWeek(0.5);
        let refused = engineer
            .propose(fleet_replay(bundle, 0.0, Some(budget)))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{}", refused.message());
        let told =
            "fleet_replay.budget: no page factor from 2 to 4 keeps to 0.5 pages per person-week: the best is 3.3 with ";
        assert!(refused.message().starts_with(told), "{}", refused.message());
        let both = engineer
            .propose(fleet_replay(bundle, 2.5, Some(budget)))
            .await
            .unwrap_err();
        assert_eq!(both.code(), Code::InvalidArgument, "{}", both.message());
    })
    .await;
}
