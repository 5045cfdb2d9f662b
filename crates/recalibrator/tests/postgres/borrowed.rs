//! Limits by fleet replay of a class with few machines.

use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::what_if_request::Limits;
use tocsin_domain::{Detector, PersonRole, Scope, Scores};
use tocsin_judge::ThresholdSet;
use tocsin_recalibrator::{Borrowed, Lender};
use tocsin_scratch::slug;
use tocsin_store::fleet::NewClass;
use tocsin_store::reading::NewReading;
use tonic::Code;

use crate::budget::{baseline, fleet_replay, read};
use crate::stage::{STEP, Stage, activate, approved, approved_from, logged, noon, period, proposed, with_stage};

/// A class whose step is that many of the others'.
async fn class(stage: &Stage, name: &str, steps: u32) {
    let new = NewClass::usual(slug(name), STEP * steps);
    let made = stage.store.class_create(&new, noon(), tocsin_scratch::audit).await;
    made.unwrap();
}

/// A commissioned machine of a class at `growth` for 400 steps of ten seconds, but for eight at three times that, under a
/// bundle.
async fn machine(stage: &Stage, of: (&str, &str, &str), (bundle, growth): (i32, f32)) {
    let (class, site, name) = of;
    machine_with(stage, (class, site, name, "accel"), bundle, |step| {
        if (200..208).contains(&step) {
            3.0 * growth
        } else {
            growth
        }
    })
    .await;
}

async fn machine_with(
    stage: &Stage,
    (class, site, name, spec): (&str, &str, &str, &str),
    bundle: i32,
    growth: impl Fn(u32) -> f32,
) {
    let sensor = stage.sensor_of(class, (site, name), spec).await.id;
    let baseline = baseline(stage, sensor).await;
    let reading = |step| {
        let mut scores = Scores::default();
        scores.set(Detector::Residual, 0.5);
        scores.set(Detector::OverallLevel, 0.5);
        scores.set(Detector::Growth, growth(step));
        NewReading {
            baseline: Some(baseline),
            ..logged(sensor, bundle, step, scores)
        }
    };
    stage.keep(&(0..400).map(reading).collect::<Vec<_>>()).await;
}

/// The alert line of growth of the set that is proposed for the pumps, and what that says it borrowed.
async fn line_of(stage: &Stage, bundle: i32) -> (f64, Option<Borrowed>) {
    let mut engineer = stage.client(PersonRole::Engineer);
    let set = proposed(&mut engineer, fleet_replay(bundle, 2.5, None)).await;
    let (growth, provenance) = read(&set);
    (growth.alert_line, provenance.borrowed)
}

/// Five fans that reached 3 x 2, under a bundle that no pump knows.
async fn fans(stage: &Stage) {
    class(stage, "fan", 1).await;
    for (site, name) in [
        ("north", "f-1"),
        ("north", "f-2"),
        ("south", "f-3"),
        ("south", "f-4"),
        ("south", "f-5"),
    ] {
        machine(stage, ("fan", site, name), (77, 2.0)).await;
    }
}

#[tokio::test]
async fn a_class_of_three_machines_borrows_what_those_of_its_specification_reached_and_one_of_four_does_not() {
    with_stage("borrowed", |stage| async move {
        let bundle = stage.bundle(4_000).await;
        fans(&stage).await;
        for name in ["p-1", "p-2", "p-3"] {
            machine(&stage, ("pump", "north", name), (bundle, 1.0)).await;
        }
        let (line, borrowed) = line_of(&stage, bundle).await;
        // Of 3, 3, 3, 6, 6, 6, 6, 6 the median is 6, taken half as high again.
        assert!((line - 1.75 * 1.5 * 6.0).abs() < 1e-6, "{line}");
        let fans = Lender {
            class: slug("fan"),
            machines: 5,
        };
        let told = Borrowed {
            of_class: 3,
            classes: vec![fans],
            widened: 1.5,
        };
        assert_eq!(borrowed, Some(told));

        machine(&stage, ("pump", "south", "p-4"), (bundle, 1.0)).await;
        let (line, borrowed) = line_of(&stage, bundle).await;
        assert!((line - 1.75 * 3.0).abs() < 1e-6, "{line}");
        assert_eq!(borrowed, None, "each has three others of its class");
    })
    .await;
}

#[tokio::test]
async fn that_a_set_borrowed_is_said_in_its_provenance_and_to_whoever_asks_why_a_sensor_is_judged_so() {
    with_stage("borrowed_told", |stage| async move {
        let bundle = stage.bundle(4_000).await;
        fans(&stage).await;
        machine(&stage, ("pump", "north", "p-1"), (bundle, 1.0)).await;
        let mut engineer = stage.client(PersonRole::Engineer);
        let set = approved_from(&mut engineer, fleet_replay(bundle, 2.5, None)).await;
        let active = activate(&mut engineer, set).await.unwrap();
        let (_, provenance) = read(&active);
        assert_eq!((provenance.machines, provenance.sensors, provenance.readings), (6, 6, 2_400));
        let said = "borrowed from all classes of the same specification, widened by at least 1.5: 5 of these machines are of others \
                    (fan 5), 1 of the class";
        assert!(provenance.method.ends_with(said), "{}", provenance.method);
        let asked = v1::ExplainRequest {
            site: "north".to_owned(),
            machine: "p-1".to_owned(),
            sensor: "h".to_owned(),
        };
        let limits = engineer.explain(asked).await.unwrap().into_inner().limits.unwrap();
        assert!(limits.method.ends_with(said), "{}", limits.method);
        for member in &limits.members {
            let borrows = member.detector == "growth";
            assert_eq!(member.origin.ends_with(said), borrows, "{}", member.origin);
        }
        let definition: ThresholdSet = serde_json::from_str(&active.definition_json).unwrap();
        let residual = definition.members.iter().find(|m| m.detector == Detector::Residual).unwrap();
        assert!((residual.alert_line - 200_f64.ln()).abs() < 0.2, "the bundle's own: {residual:?}");
    })
    .await;
}

#[tokio::test]
async fn another_class_decides_once_a_step_of_its_own_and_lends_by_the_sensors_of_the_specification() {
    with_stage("borrowed_step", |stage| async move {
        let bundle = stage.bundle(4_000).await;
        class(&stage, "mill", 6).await;
        // A minute's step is quiet by its median, however loud two of its six readings are.
        let two_of_six = |step: u32| if step % 6 < 2 { 9.0 } else { 2.0 };
        for name in ["m-1", "m-2", "m-3"] {
            machine_with(&stage, ("mill", "north", name, "accel"), 77, two_of_six).await;
        }
        machine(&stage, ("pump", "north", "p-1"), (bundle, 1.0)).await;
        let (line, _) = line_of(&stage, bundle).await;
        assert!((line - 1.75 * 1.5 * 2.0).abs() < 1e-6, "{line}");

        class(&stage, "lathe", 1).await;
        for name in ["l-1", "l-2", "l-3", "l-4", "l-5", "l-6", "l-7"] {
            machine_with(&stage, ("lathe", "north", name, "velocity"), 77, |_| 50.0).await;
        }
        assert_eq!(line_of(&stage, bundle).await.0, line, "lathes are measured otherwise");
    })
    .await;
}

#[tokio::test]
async fn whoever_sees_one_site_borrows_from_the_machines_that_are_there() {
    with_stage("borrowed_scope", |stage| async move {
        let bundle = stage.bundle(4_000).await;
        let mut engineer = stage.client(PersonRole::Engineer);
        let first = approved(&mut engineer, bundle).await;
        activate(&mut engineer, first).await.unwrap();
        class(&stage, "fan", 1).await;
        for name in ["f-1", "f-2", "f-3"] {
            machine(&stage, ("fan", "north", name), (77, 20.0)).await;
        }
        for (name, growth) in [("p-1", 1.0), ("p-2", 1.0), ("p-3", 10.0)] {
            machine(&stage, ("pump", "south", name), (bundle, growth)).await;
        }
        // Under the pumps' own line the loudest is paged; held against that of the fans none is.
        let pages = async |scope: Scope| {
            let request = v1::WhatIfRequest {
                limits: Some(Limits::FleetReplay(v1::FleetReplay::default())),
                class: "pump".to_owned(),
                period: Some(period(400)),
                ..v1::WhatIfRequest::default()
            };
            let mut local = stage.client_of(PersonRole::Engineer, scope);
            let answer = local.what_if(request).await.unwrap().into_inner();
            (answer.machines.len(), answer.expected.unwrap().pages.unwrap().events)
        };
        let site = async |name: &str| {
            let site = stage.store.site_by_name(&Scope::All, &slug(name)).await.unwrap();
            Scope::site(site.id)
        };
        assert_eq!(pages(site("south").await).await, (3, 1), "no fan is there");
        assert_eq!(pages(Scope::All).await, (3, 0));
    })
    .await;
}

#[tokio::test]
async fn no_line_lies_lower_than_what_the_class_itself_reached_gives() {
    with_stage("borrowed_quiet", |stage| async move {
        let bundle = stage.bundle(4_000).await;
        class(&stage, "fan", 1).await;
        for name in ["f-1", "f-2", "f-3", "f-4"] {
            machine(&stage, ("fan", "north", name), (77, 0.1)).await;
        }
        for name in ["p-1", "p-2", "p-3"] {
            machine(&stage, ("pump", "north", name), (bundle, 1.0)).await;
        }
        let (line, borrowed) = line_of(&stage, bundle).await;
        assert!((line - 1.75 * 3.0).abs() < 1e-5, "{line}");
        assert_eq!(borrowed.map(|borrowed| borrowed.of_class), Some(3));
    })
    .await;
}

#[tokio::test]
async fn where_too_few_lend_a_class_stands_alone_and_without_scores_of_its_own_it_has_no_limits() {
    with_stage("borrowed_too_few", |stage| async move {
        let bundle = stage.bundle(4_000).await;
        let mut engineer = stage.client(PersonRole::Engineer);
        stage.sensor("north", "p-1").await;
        class(&stage, "fan", 1).await;
        machine(&stage, ("fan", "north", "f-1"), (77, 2.0)).await;
        let nothing = engineer.propose(fleet_replay(bundle, 2.5, None)).await.unwrap_err();
        assert_eq!(nothing.code(), Code::FailedPrecondition);
        let why = "against the active baselines, on machines without an incident";
        assert!(nothing.message().ends_with(why), "{}", nothing.message());

        machine(&stage, ("pump", "north", "p-2"), (bundle, 1.0)).await;
        let (line, borrowed) = line_of(&stage, bundle).await;
        assert!(
            (line - 1.75 * 3.0).abs() < 1e-6 && borrowed.is_none(),
            "{line}: {borrowed:?}"
        );
        for name in ["f-2", "f-3"] {
            machine(&stage, ("fan", "north", name), (77, 2.0)).await;
        }
        let (line, borrowed) = line_of(&stage, bundle).await;
        assert!((line - 1.75 * 1.5 * 6.0).abs() < 1e-6, "{line}");
        assert_eq!(borrowed.unwrap().of_class, 1);
    })
    .await;
}
