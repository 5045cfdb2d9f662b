//! Incidents over gRPC: who may see and take them, and what taking one writes.

use std::time::Duration;

use http::Request;
use tocsin_contracts::incidents::v1;
use tocsin_contracts::incidents::v1::add_label_request::Subject;
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::incidents::v1::incidents_service_server::IncidentsServiceServer;
use tocsin_domain::access::Person;
use tocsin_domain::{AccountId, Clock, IncidentId, PageAction, PersonRole, Principal, Scope, SiteId};
use tocsin_pager::{Config, Parts, Service};
use tokio_stream::StreamExt;
use tonic::Code;
use tonic::body::Body;
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceExt};

use crate::stage::{Stage, with_stage};

pub(crate) type Client = IncidentsServiceClient<BoxCloneService<Request<Body>, http::Response<Body>, BoxError>>;

pub(crate) fn person(role: PersonRole, scope: Scope) -> Principal {
    Principal::Person(Person {
        account: AccountId(1),
        name: "ana".to_owned(),
        role,
        scope,
    })
}

fn service(stage: &Stage, config: Config) -> IncidentsServiceServer<Service> {
    let parts = Parts {
        store: stage.store.clone(),
        clock: stage.clock.clone(),
        seed: 1,
    };
    tocsin_pager::build(config, parts).unwrap().0
}

/// The service as `principal` sees it: what the authentication layer does, without it.
fn client(stage: &Stage, principal: Option<Principal>) -> Client {
    client_with(stage, principal, Config::default())
}

pub(crate) fn client_with(stage: &Stage, principal: Option<Principal>, config: Config) -> Client {
    let service = service(stage, config).map_request(move |mut request: Request<Body>| {
        if let Some(principal) = principal.clone() {
            request.extensions_mut().insert(principal);
        }
        request
    });
    IncidentsServiceClient::new(BoxCloneService::new(service.map_err(BoxError::from)))
}

pub(crate) fn acknowledge(incident: IncidentId) -> v1::AcknowledgeIncidentRequest {
    v1::AcknowledgeIncidentRequest {
        incident_id: incident.0,
        note: "on my way".to_owned(),
    }
}

#[tokio::test]
async fn taking_an_incident_is_on_record_and_tells_whoever_was_paged() {
    with_stage("taken", Clock::system(), |stage| async move {
        let incident = stage.open().await;
        let mut client = client(
            &stage,
            Some(person(PersonRole::Operator, Scope::site(stage.sensor.site))),
        );
        let taken = client
            .acknowledge_incident(acknowledge(incident))
            .await
            .unwrap()
            .into_inner();
        let taken = taken.incident.unwrap();
        assert_eq!(
            (taken.state.as_str(), taken.acknowledged_by.as_str()),
            ("active_acknowledged", "ana")
        );
        let shown = client
            .get_incident(v1::GetIncidentRequest {
                incident_id: incident.0,
            })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(shown.incident.unwrap(), taken);
        let kinds: Vec<_> = shown.events.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["opened", "acknowledged"]);
        assert!(
            shown.events[1].payload_json.contains("on my way"),
            "{:?}",
            shown.events[1]
        );
        let pages: Vec<_> = shown
            .pages
            .iter()
            .map(|page| (page.action.as_str(), page.page_key.as_str()))
            .collect();
        let key = pages[0].1;
        assert!(key.starts_with(&format!("tocsin-incident-{incident}-opened-")), "{key}");
        assert_eq!(pages, [("trigger", key), ("acknowledge", key)]);
        let again = client.acknowledge_incident(acknowledge(incident)).await.unwrap_err();
        assert_eq!(again.code(), Code::FailedPrecondition);
    })
    .await;
}

#[tokio::test]
async fn an_incident_taken_after_it_cleared_is_closed_and_pages_nobody() {
    with_stage("late", Clock::system(), |stage| async move {
        let incident = stage.open().await;
        stage.clear(incident).await;
        let mut client = client(&stage, Some(person(PersonRole::Operator, Scope::All)));
        let taken = client
            .acknowledge_incident(acknowledge(incident))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(taken.incident.unwrap().state, "normal");
        let pages = stage.pages_when(incident, |_| true).await;
        assert!(pages.iter().all(|page| page.page.action != PageAction::Acknowledge));
    })
    .await;
}

#[tokio::test]
async fn who_may_not_is_told_so_and_another_sites_incident_does_not_exist() {
    with_stage("who", Clock::system(), |stage| async move {
        let incident = stage.open().await;
        let refused = |principal: Option<Principal>| {
            let mut client = client(&stage, principal);
            async move {
                client
                    .acknowledge_incident(acknowledge(incident))
                    .await
                    .unwrap_err()
                    .code()
            }
        };
        assert_eq!(refused(None).await, Code::Unauthenticated);
        assert_eq!(
            refused(Some(person(PersonRole::Viewer, Scope::All))).await,
            Code::PermissionDenied
        );
        let elsewhere = person(PersonRole::Operator, Scope::site(SiteId(stage.sensor.site.0 + 1)));
        assert_eq!(refused(Some(elsewhere.clone())).await, Code::NotFound);
        let mut client = client(&stage, Some(elsewhere));
        let seen = client
            .list_incidents(v1::ListIncidentsRequest::default())
            .await
            .unwrap()
            .into_inner();
        assert_eq!(seen.incidents, []);
    })
    .await;
}

#[tokio::test]
async fn a_page_that_nobody_will_be_told_of_is_not_said_to_wait() {
    with_stage("unsent", Clock::system(), |stage| async move {
        let incident = stage.open().await;
        let mut client = client(&stage, Some(person(PersonRole::Viewer, Scope::All)));
        let request = v1::GetIncidentRequest {
            incident_id: incident.0,
        };
        let shown = client.get_incident(request).await.unwrap().into_inner();
        assert_eq!(
            (shown.pages[0].state.as_str(), shown.pages[0].destination.as_str()),
            ("unsent", ""),
            "no destination is configured"
        );
    })
    .await;
}

#[tokio::test]
async fn a_watcher_hears_of_a_new_incident_at_a_site_of_theirs_alone() {
    with_stage("watch", Clock::system(), |stage| async move {
        let parts = Parts {
            store: stage.store.clone(),
            clock: stage.clock.clone(),
            seed: 1,
        };
        let (server, pager) = tocsin_pager::build(Config::default(), parts).unwrap();
        let stop = tokio_util::sync::CancellationToken::new();
        let running = tokio::spawn(pager.run(stop.clone()));
        let watch = async |scope: Scope| {
            let service = server.clone().map_request(move |mut request: Request<Body>| {
                request
                    .extensions_mut()
                    .insert(person(PersonRole::Viewer, scope.clone()));
                request
            });
            let mut client = IncidentsServiceClient::new(BoxCloneService::new(service.map_err(BoxError::from)));
            let watched = client.watch_incidents(v1::WatchIncidentsRequest {}).await;
            watched.unwrap().into_inner()
        };
        let mut here = watch(Scope::site(stage.sensor.site)).await;
        let mut elsewhere = watch(Scope::site(SiteId(stage.sensor.site.0 + 1))).await;
        // One to begin with, and one once the service listens: neither is of a site.
        for watcher in [&mut here, &mut elsewhere] {
            while watcher.next().await.unwrap().unwrap().change < 2 {}
        }
        stage.open().await;
        assert_eq!(here.next().await.unwrap().unwrap().change, 3);
        let told = tokio::time::timeout(Duration::from_millis(50), elsewhere.next()).await;
        assert!(told.is_err(), "{told:?}");
        stop.cancel();
        running.await.unwrap();
    })
    .await;
}

fn label(subject: Subject, label: &str, mode: &str) -> v1::AddLabelRequest {
    v1::AddLabelRequest {
        subject: Some(subject),
        label: label.to_owned(),
        mode: mode.to_owned(),
        note: "opened it".to_owned(),
    }
}

#[tokio::test]
async fn what_was_found_is_labelled_shown_beside_the_incident_and_audited() {
    with_stage("labelled", Clock::system(), |stage| async move {
        let incident = stage.open().await;
        let site = Scope::site(stage.sensor.site);
        let mut operator = client(&stage, Some(person(PersonRole::Operator, site.clone())));
        let subject = Subject::IncidentId(incident.0);
        let wrong = operator
            .add_label(label(subject.clone(), "broken", ""))
            .await
            .unwrap_err();
        assert!(wrong.message().starts_with("label:"), "{wrong}");
        let wrong = label(subject.clone(), "false_alarm", "outer_race");
        let wrong = operator.add_label(wrong).await.unwrap_err();
        assert!(wrong.message().starts_with("mode:"), "{wrong}");
        for name in ["false_alarm", "true_failure"] {
            let given = label(
                subject.clone(),
                name,
                if name == "true_failure" { "outer_race" } else { "" },
            );
            let answer = operator.add_label(given).await.unwrap().into_inner().label.unwrap();
            assert_eq!((answer.label.as_str(), answer.labelled_by.as_str()), (name, "ana"));
        }
        let request = v1::GetIncidentRequest {
            incident_id: incident.0,
        };
        let shown = operator.get_incident(request).await.unwrap().into_inner().labels;
        let told: Vec<_> = shown.iter().map(|l| (l.label.as_str(), l.in_force)).collect();
        assert_eq!(told, [("true_failure", true), ("false_alarm", false)]);
        let audit = stage.store.audit_list(None, 10).await.unwrap();
        let by_ana = audit.iter().filter(|entry| entry.actor == "ana");
        let actions: Vec<_> = by_ana.map(|entry| entry.action.as_str()).collect();
        assert_eq!(actions, ["machine.label", "machine.label"]);
        assert!(audit[0].detail_json.contains("outer_race"), "{:?}", audit[0]);

        let mut viewer = client(&stage, Some(person(PersonRole::Viewer, site)));
        let refused = viewer.add_label(label(subject, "false_alarm", "")).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        let (site, machine) = (shown[0].site.clone(), shown[0].machine.clone());
        let window = v1::MachineWindow {
            from: shown[0].from,
            to: shown[0].from,
            site: site.clone(),
            machine: machine.clone(),
        };
        let empty = label(Subject::Window(window), "missed_failure", "");
        assert!(
            operator
                .add_label(empty)
                .await
                .unwrap_err()
                .message()
                .starts_with("window.to:")
        );
        let request = v1::ListLabelsRequest { site, machine };
        assert_eq!(viewer.list_labels(request).await.unwrap().into_inner().labels.len(), 2);
    })
    .await;
}
