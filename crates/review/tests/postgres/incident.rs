//! Reviews of incidents: what they hold, who may write them, and that a final one stays.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tocsin_contracts::incident_review::{Document, Phase, State};
use tocsin_contracts::review::v1;
use tocsin_domain::{Detector, IncidentId, IncidentState, Label, Level, PersonRole, Scope, SensorId, Severity, SiteId};
use tocsin_review::Config;
use tocsin_scratch::{audit, site, slug};
use tocsin_store::fleet::NewSensor;
use tocsin_store::incident::{NewIncident, incident_insert, incident_update};
use tocsin_store::label::{NewLabel, Window};
use tokio_stream::StreamExt;
use tonic::Code;

use super::{Client, Stage, at};

/// When the incident of the stage opens, and is over.
const OPENED: u64 = 200;
const CLOSED: u64 = 280;

/// The stage, with a sensor that has no baseline.
async fn with_stage<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Stage) -> F) {
    let uncommissioned = |stage| {
        test(Stage {
            baseline: None,
            ..stage
        })
    };
    super::with_stage(name, uncommissioned).await;
}

impl Stage {
    fn operator(&self, scope: Scope) -> Client {
        self.client_as(PersonRole::Operator, Config::default(), scope).0
    }

    /// 300 readings, the highest in an incident that is open.
    async fn incident(&self) -> IncidentId {
        let mut residuals = vec![0.5; 300];
        residuals[OPENED as usize..CLOSED as usize].fill(20.0);
        residuals[250] = 30.0;
        self.read(0, &residuals).await;
        self.opened(OPENED).await
    }

    /// An incident that opened then.
    pub(crate) async fn opened(&self, second: u64) -> IncidentId {
        let new = NewIncident {
            machine: self.sensor.machine,
            severity: Severity::Page,
            opened_at: at(second),
            paged_at: Some(at(second + 10)),
            deciding_sensor: self.sensor.id,
            deciding_detector: Detector::Residual,
            level: Level(3.0),
            threshold_set: Some(self.set),
            bundle: Some(self.bundle),
            replay: true,
        };
        let mut transaction = self.store.begin().await.unwrap();
        let opened = incident_insert(&mut transaction, &new).await.unwrap();
        transaction.commit().await.unwrap();
        opened.id
    }

    async fn close(&self, id: IncidentId) {
        self.closed(id, CLOSED).await;
    }

    pub(crate) async fn closed(&self, id: IncidentId, second: u64) {
        let mut incident = self.store.incident_get(&Scope::All, id).await.unwrap().incident;
        incident.state = IncidentState::ReturnedUnacknowledged { at: at(second) };
        let mut transaction = self.store.begin().await.unwrap();
        incident_update(&mut transaction, &incident).await.unwrap();
        transaction.commit().await.unwrap();
    }

    async fn label(&self, id: IncidentId) {
        let new = NewLabel {
            machine: self.sensor.machine,
            window: Window::Incident(id),
            label: Label::TrueFailure,
            mode: "outer_race".to_owned(),
            note: String::new(),
            by: "ana".to_owned(),
        };
        self.store
            .label_append(&Scope::All, &new, at(500), audit)
            .await
            .unwrap();
    }

    /// Another machine of the class.
    async fn peer(&self, on: &str, machine: &str) -> SensorId {
        let new = NewSensor {
            site: slug(on),
            machine: slug(machine),
            device: None,
            name: slug("drive-end"),
            class: slug("pump"),
            spec: slug("spec"),
        };
        let listing = self.store.sensor_create(&Scope::All, &new, at(0), audit).await.unwrap();
        listing.sensor.id
    }
}

fn asked(id: IncidentId, version: u32) -> v1::GetIncidentReviewRequest {
    v1::GetIncidentReviewRequest {
        incident_id: id.0,
        version,
    }
}

fn save(id: IncidentId, revision: u32, conclusion: &str) -> v1::SaveIncidentReviewRequest {
    v1::SaveIncidentReviewRequest {
        incident_id: id.0,
        revision,
        findings: "the outer ring\r\nis worn".to_owned(),
        conclusion: conclusion.to_owned(),
    }
}

fn finalise(id: IncidentId, revision: u32) -> v1::FinaliseIncidentReviewRequest {
    v1::FinaliseIncidentReviewRequest {
        incident_id: id.0,
        revision,
        open_because: String::new(),
    }
}

fn reopen(id: IncidentId, reason: &str) -> v1::ReopenIncidentReviewRequest {
    v1::ReopenIncidentReviewRequest {
        incident_id: id.0,
        reason: reason.to_owned(),
    }
}

pub(crate) async fn review(
    client: &mut Client,
    id: IncidentId,
    version: u32,
) -> (v1::GetIncidentReviewResponse, Document) {
    let answer = client
        .get_incident_review(asked(id, version))
        .await
        .unwrap()
        .into_inner();
    let document = Document::from_json(&answer.content_json).unwrap();
    (answer, document)
}

#[tokio::test]
async fn a_draft_becomes_final_and_never_changes_again() {
    with_stage("review_final", |stage| async move {
        let id = stage.incident().await;
        let mut client = stage.operator(Scope::All);
        let (unbegun, document) = review(&mut client, id, 0).await;
        assert_eq!(
            (unbegun.review.unwrap().state.as_str(), document.review.state),
            ("none", State::None)
        );

        let saved = client
            .save_incident_review(save(id, 0, ""))
            .await
            .unwrap()
            .into_inner()
            .review
            .unwrap();
        assert_eq!((saved.version, saved.revision, saved.state.as_str()), (1, 1, "draft"));
        assert_eq!(saved.findings, "the outer ring\nis worn");
        let again = client.save_incident_review(save(id, 0, "mine")).await.unwrap_err();
        assert_eq!(again.code(), Code::FailedPrecondition, "somebody has begun it");
        let open = client.finalise_incident_review(finalise(id, 1)).await.unwrap_err();
        assert!(
            open.code() == Code::FailedPrecondition && open.message().contains("still open"),
            "{open}"
        );
        stage.close(id).await;
        let empty = client.finalise_incident_review(finalise(id, 1)).await.unwrap_err();
        assert!(empty.message().contains("no conclusion"), "{empty}");
        client
            .save_incident_review(save(id, 1, "replace it yearly"))
            .await
            .unwrap();
        let overtaken = client.finalise_incident_review(finalise(id, 1)).await.unwrap_err();
        assert_eq!(overtaken.code(), Code::FailedPrecondition);
        let done = client
            .finalise_incident_review(finalise(id, 2))
            .await
            .unwrap()
            .into_inner()
            .review
            .unwrap();
        assert_eq!((done.state.as_str(), done.finalised_by.as_str()), ("final", "ana"));

        let (first, document) = review(&mut client, id, 0).await;
        assert_eq!(done.digest, hex::encode(Sha256::digest(first.content_json.as_bytes())));
        assert_eq!((document.review.state, document.labels.len()), (State::Final, 0));
        assert_eq!(document.review.finalised_at, Some(at(90_000)));
        stage.label(id).await;
        let (later, _) = review(&mut client, id, 1).await;
        assert_eq!(
            later.content_json, first.content_json,
            "what is learned later is not in it"
        );
        let late = client.save_incident_review(save(id, 2, "no")).await.unwrap_err();
        assert_eq!(late.code(), Code::FailedPrecondition);
        for statement in [
            "update incident_review set findings = 'x'",
            "delete from incident_review",
        ] {
            let refused = sqlx::query(statement).execute(stage.store.pool()).await.unwrap_err();
            assert!(
                refused.to_string().contains("neither changed nor taken away"),
                "{refused}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn an_open_incident_is_reviewed_for_good_only_with_a_reason() {
    with_stage("review_open", |stage| async move {
        let id = stage.incident().await;
        let mut client = stage.operator(Scope::All);
        client.save_incident_review(save(id, 0, "worn")).await.unwrap();
        let because = v1::FinaliseIncidentReviewRequest {
            open_because: "the machine was taken away".to_owned(),
            ..finalise(id, 1)
        };
        client.finalise_incident_review(because.clone()).await.unwrap();
        let (_, document) = review(&mut client, id, 0).await;
        assert_eq!(
            (document.incident.closed_at, document.review.open_because.as_str()),
            (None, "the machine was taken away")
        );
        stage.close(id).await;
        client.reopen_incident_review(reopen(id, "it is over")).await.unwrap();
        let needless = client.finalise_incident_review(because).await.unwrap_err();
        assert!(needless.message().contains("the incident is over"), "{needless}");
    })
    .await;
}

#[tokio::test]
async fn a_correction_is_the_next_version_and_every_change_has_its_entry() {
    with_stage("review_corrected", |stage| async move {
        let id = stage.incident().await;
        stage.close(id).await;
        let mut client = stage.operator(Scope::All);
        let none = client.reopen_incident_review(reopen(id, "why")).await.unwrap_err();
        assert_eq!(none.code(), Code::FailedPrecondition, "nothing is final");
        client.save_incident_review(save(id, 0, "worn")).await.unwrap();
        client.finalise_incident_review(finalise(id, 1)).await.unwrap();
        let (first, _) = review(&mut client, id, 0).await;
        stage.label(id).await;
        let silent = client.reopen_incident_review(reopen(id, " ")).await.unwrap_err();
        assert_eq!(silent.code(), Code::InvalidArgument);
        let begun = client.reopen_incident_review(reopen(id, "the label was missing")).await;
        let begun = begun.unwrap().into_inner().review.unwrap();
        assert_eq!(
            (
                begun.version,
                begun.revision,
                begun.conclusion.as_str(),
                begun.correction.as_str()
            ),
            (2, 1, "worn", "the label was missing")
        );
        let twice = client.reopen_incident_review(reopen(id, "again")).await.unwrap_err();
        assert_eq!(twice.code(), Code::FailedPrecondition, "there is a draft");
        client.finalise_incident_review(finalise(id, 1)).await.unwrap();
        let (second, document) = review(&mut client, id, 0).await;
        let versions: Vec<_> = second
            .versions
            .iter()
            .map(|one| (one.version, one.state.as_str()))
            .collect();
        assert_eq!(versions, [(2, "final"), (1, "final")]);
        assert_eq!(document.label().map(|label| label.mode.as_str()), Some("outer_race"));
        let (kept, _) = review(&mut client, id, 1).await;
        assert_eq!(kept.content_json, first.content_json);

        let mut actions: Vec<String> = stage
            .store
            .audit_list(None, 100)
            .await
            .unwrap()
            .into_iter()
            .map(|entry| entry.action)
            .filter(|action| action.starts_with("incident_review."))
            .collect();
        actions.sort();
        assert_eq!(
            actions,
            ["finalise", "finalise", "reopen", "save"].map(|what| format!("incident_review.{what}"))
        );
    })
    .await;
}

#[tokio::test]
async fn who_may_not_see_an_incident_finds_no_review_of_it_and_a_viewer_writes_none() {
    with_stage("review_scope", |stage| async move {
        let id = stage.incident().await;
        stage.close(id).await;
        stage
            .operator(Scope::All)
            .save_incident_review(save(id, 0, "worn"))
            .await
            .unwrap();
        let mut viewer = stage.client(Config::default(), Scope::site(stage.sensor.site)).0;
        assert_eq!(review(&mut viewer, id, 0).await.1.review.conclusion, "worn");
        let refused = [
            viewer.save_incident_review(save(id, 1, "mine")).await.unwrap_err(),
            viewer.finalise_incident_review(finalise(id, 1)).await.unwrap_err(),
            viewer.reopen_incident_review(reopen(id, "why")).await.unwrap_err(),
        ];
        assert!(
            refused.iter().all(|one| one.code() == Code::PermissionDenied),
            "{refused:?}"
        );
        let missing = IncidentId(id.0 + 1);
        for (scope, id) in [
            (Scope::site(SiteId(stage.sensor.site.0 + 1)), id),
            (Scope::All, missing),
        ] {
            let mut stranger = stage.operator(scope);
            let export = v1::ExportIncidentReviewRequest {
                incident_id: id.0,
                version: 0,
                format: "json".to_owned(),
            };
            let refused = [
                stranger.get_incident_review(asked(id, 0)).await.unwrap_err(),
                stranger.save_incident_review(save(id, 1, "mine")).await.unwrap_err(),
                stranger.finalise_incident_review(finalise(id, 1)).await.unwrap_err(),
                stranger.reopen_incident_review(reopen(id, "why")).await.unwrap_err(),
                stranger.export_incident_review(export).await.unwrap_err(),
            ];
            assert!(refused.iter().all(|one| one.code() == Code::NotFound), "{refused:?}");
        }
        let no_version = viewer.get_incident_review(asked(id, 7)).await.unwrap_err();
        assert_eq!(no_version.code(), Code::NotFound);
    })
    .await;
}

#[tokio::test]
async fn what_is_gathered_is_what_was_read_and_judged_hot_or_archived() {
    with_stage("review_content", |stage| async move {
        let peer = stage.peer("north", "p-2").await;
        stage.store.site_create(&site("south"), at(0), audit).await.unwrap();
        let far = stage.peer("south", "p-far").await;
        let id = stage.incident().await;
        stage.close(id).await;
        stage.read_of(peer, 0, &[0.5; 300]).await;
        stage.read_of(far, 0, &[40.0; 300]).await;
        stage.read(400, &[0.5; 20]).await;
        let mut client = stage.client(Config::default(), Scope::All).0;
        let (hot, document) = review(&mut client, id, 0).await;
        assert_eq!(document.incident.machine, "p-1");
        assert_eq!(
            (document.window.from, document.window.readings),
            (at(OPENED) - Duration::from_hours(2), 320)
        );
        let readings = &document.sensors[0].readings;
        assert_eq!(readings.len() as u64, document.window.kept);
        let peak = readings
            .iter()
            .max_by(|a, b| a.level.unwrap().total_cmp(&b.level.unwrap()))
            .unwrap();
        assert_eq!(
            (peak.captured_at, peak.phase, peak.verdict.as_str()),
            (at(250), Phase::During, "page")
        );
        assert_eq!(peak.level, Some(stage.limits.members[0].level(30.0).0));
        assert_eq!(
            (peak.threshold_set_id, peak.bundle_id),
            (Some(stage.set.0), Some(stage.bundle.0))
        );
        assert_eq!(document.gaps.len(), 1);
        assert_eq!((document.gaps[0].from, document.gaps[0].to), (at(299), at(400)));
        let spectra = document.spectra.as_ref().unwrap();
        let of_peak = spectra.captures.iter().find(|one| one.captured_at == at(250)).unwrap();
        assert_eq!((of_peak.observed.len(), of_peak.rpm), (64, Some(1_500.0)));
        assert_eq!(document.peers.machines, 1, "of this site alone");
        let named: Vec<_> = document.peers.worst.iter().map(|one| one.machine.as_str()).collect();
        assert_eq!(named, ["p-2"]);
        assert!(
            document
                .peers
                .points
                .iter()
                .any(|point| point.own.is_some() && point.median.is_some())
        );

        stage.archive().await;
        assert_eq!(review(&mut client, id, 0).await.0.content_json, hot.content_json);

        for (format, begins) in [
            ("csv", &b"incident_id,"[..]),
            ("parquet", b"PAR1"),
            ("json", hot.content_json.as_bytes()),
        ] {
            let export = v1::ExportIncidentReviewRequest {
                incident_id: id.0,
                version: 0,
                format: format.to_owned(),
            };
            let mut pieces = client.export_incident_review(export).await.unwrap().into_inner();
            let mut bytes = Vec::new();
            while let Some(piece) = pieces.next().await {
                bytes.extend(piece.unwrap().bytes);
            }
            assert!(bytes.starts_with(begins), "{format}");
        }
    })
    .await;
}
