//! Limits that labelled failures choose.

use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::propose_request::{Method, Source};
use tocsin_domain::fleet::Sensor;
use tocsin_domain::{Detector, Label, PersonRole, Scope, Scores};
use tocsin_judge::ThresholdSet;
use tocsin_recalibrator::{MethodKind, Provenance};
use tocsin_store::access::NewAuditEntry;
use tocsin_store::label::{MachineLabel, NewLabel, Window};
use tonic::Code;

use crate::stage::{STEP, Stage, logged, noon, period, propose, with_stage};

const STEPS: u32 = 3_000;
/// The labelled failure.
const FAILING: std::ops::Range<u32> = 2_000..2_040;

/// Healthy scores run up to one; the labelled failure stands at five.
async fn keep(stage: &Stage, sensor: &Sensor, bundle: i32, fails: bool) {
    let residual = |step: u32| match step {
        step if fails && FAILING.contains(&step) => 5.0,
        step => (step * 177 % STEPS) as f32 / STEPS as f32,
    };
    let reading = |step| {
        let mut scores = Scores::default();
        scores.set(Detector::Residual, residual(step));
        scores.set(Detector::OverallLevel, 0.2 + (step * 131 % STEPS) as f32 / STEPS as f32);
        logged(sensor.id, bundle, step, scores)
    };
    stage.keep(&(0..STEPS).map(reading).collect::<Vec<_>>()).await;
}

async fn label(stage: &Stage, sensor: &Sensor, label: Label) {
    let new = NewLabel {
        machine: sensor.machine,
        window: Window::Free(noon() + STEP * FAILING.start, noon() + STEP * FAILING.end),
        label,
        mode: String::new(),
        note: String::new(),
        by: "ana".into(),
    };
    let audit = |_: &MachineLabel| NewAuditEntry {
        actor: "ana".into(),
        action: "machine.label".into(),
        subject: "machine".into(),
        detail_json: "{}".into(),
    };
    let given = stage.store.label_append(&Scope::All, &new, noon(), audit).await;
    given.unwrap();
}

fn by_labels(bundle: i32) -> v1::ProposeRequest {
    v1::ProposeRequest {
        source: Some(Source::Logged(period(STEPS))),
        method: Some(Method::Labels(v1::Labels {})),
        ..propose(bundle)
    }
}

#[tokio::test]
async fn the_lines_of_a_detector_lie_where_labelled_failures_are_told_from_health_and_say_how_well() {
    with_stage("labels", |stage| async move {
        let bundle = stage.bundle(2_000).await;
        let (well, failed) = (stage.sensor("north", "p-1").await, stage.sensor("north", "p-2").await);
        keep(&stage, &well, bundle, false).await;
        keep(&stage, &failed, bundle, true).await;
        let mut client = stage.client(PersonRole::Engineer);
        let none = client.propose(by_labels(bundle)).await.unwrap_err();
        assert!(none.message().contains("labelled as a failure"), "{}", none.message());
        let held_out = v1::ProposeRequest {
            method: Some(Method::Labels(v1::Labels {})),
            ..propose(bundle)
        };
        assert_eq!(
            client.propose(held_out).await.unwrap_err().code(),
            Code::InvalidArgument
        );

        label(&stage, &failed, Label::MissedFailure).await;
        let set = client
            .propose(by_labels(bundle))
            .await
            .unwrap()
            .into_inner()
            .threshold_set
            .unwrap();
        let stored = stage
            .store
            .threshold_set_get(tocsin_domain::ThresholdSetId(set.threshold_set_id))
            .await
            .unwrap();
        let limits: ThresholdSet = serde_json::from_str(&stored.definition_json).unwrap();
        let residual = limits
            .members
            .iter()
            .find(|member| member.detector == Detector::Residual)
            .unwrap();
        assert!(
            residual.alert_line < 1.0 && (residual.page_line - 3.0).abs() < 0.1,
            "{residual:?}"
        );
        let found: Provenance = serde_json::from_str(&stored.provenance_json).unwrap();
        assert_eq!(found.method_kind, Some(MethodKind::Labels));
        let behind = |detector| {
            found
                .detectors
                .iter()
                .find(|source| source.detector == detector)
                .unwrap()
        };
        let lines = behind(Detector::Residual).labelled.unwrap();
        assert_eq!(
            (lines.anomalies, lines.page.precision, lines.page.recall),
            (40, 1.0, 1.0)
        );
        assert!(found.expected.is_some(), "and what it is expected to page");
        assert_eq!(
            behind(Detector::OverallLevel).labelled,
            None,
            "it does not see the failure"
        );
        let overall = limits
            .members
            .iter()
            .find(|member| member.detector == Detector::OverallLevel)
            .unwrap();
        assert!(overall.page_line > 1.1, "its lines stay at percentiles: {overall:?}");

        // Taken back, it chooses nothing.
        label(&stage, &failed, Label::Withdrawn).await;
        assert!(client.propose(by_labels(bundle)).await.is_err());
    })
    .await;
}
