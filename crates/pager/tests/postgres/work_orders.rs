//! Work is ordered in the maintenance system once asked, and the reference stays with the incident.

use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tocsin_contracts::incidents::v1;
use tocsin_domain::{Clock, PersonRole, Scope};
use tocsin_pager::{Config, WorkOrders};
use tonic::Code;

use crate::incidents::{client_with, person};
use crate::stage::with_stage;

type Got = Arc<Mutex<Vec<(Option<String>, Value)>>>;

/// A maintenance system: it refuses the first order, and takes those that follow.
async fn system() -> (String, Got) {
    let got = Got::default();
    let seen = got.clone();
    let take = move |headers: HeaderMap, Json(body): Json<Value>| async move {
        let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
        let mut seen = seen.lock().unwrap();
        seen.push((key.map(str::to_owned), body));
        if seen.len() == 1 {
            return (StatusCode::SERVICE_UNAVAILABLE, Json(json!("try later")));
        }
        let answer = json!({ "reference": "WO-17", "url": "https://cmms.example/WO-17" });
        (StatusCode::CREATED, Json(answer))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/", post(take));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, got)
}

#[tokio::test]
async fn an_order_that_failed_is_repeated_under_its_key_and_its_reference_stays_with_the_incident() {
    with_stage("work", Clock::system(), |stage| async move {
        let (url, got) = system().await;
        let settings = json!({ "url": url });
        let work_orders: WorkOrders = serde_json::from_value(settings).unwrap();
        let config = Config {
            work_orders: Some(work_orders),
            ..Config::default()
        };
        let incident = stage.open().await;
        let ana = person(PersonRole::Operator, Scope::site(stage.sensor.site));
        let mut client = client_with(&stage, Some(ana), config);
        let order = v1::OrderWorkRequest {
            incident_id: incident.0,
            reference: String::new(),
            note: "replace the bearing".into(),
        };
        let refused = client.order_work(order.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        assert!(
            refused.message().contains("503 Service Unavailable"),
            "{}",
            refused.message()
        );
        let kept = client.order_work(order).await.unwrap().into_inner().work_order.unwrap();
        assert_eq!((kept.reference.as_str(), kept.ordered_by.as_str()), ("WO-17", "ana"));
        {
            let got = got.lock().unwrap();
            assert!(got.len() == 2 && got[0] == got[1], "{got:?}");
            assert_eq!(got[0].1["machine"], "p-1");
            assert_eq!(got[0].1["note"], "replace the bearing");
        }
        let incident_id = incident.0;
        let shown = client
            .get_incident(v1::GetIncidentRequest { incident_id })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(shown.work_order, Some(kept));
        assert!(shown.events.iter().any(|event| event.kind == "work_ordered"));
    })
    .await;
}

#[tokio::test]
async fn without_a_system_a_reference_is_given_or_missed() {
    with_stage("work_by_hand", Clock::system(), |stage| async move {
        let incident = stage.open().await;
        let ana = person(PersonRole::Operator, Scope::All);
        let mut client = client_with(&stage, Some(ana), Config::default());
        let order = |reference: &str| v1::OrderWorkRequest {
            incident_id: incident.0,
            reference: reference.into(),
            note: String::new(),
        };
        let refused = client.order_work(order("")).await.unwrap_err();
        assert!(
            refused.message().starts_with("reference: is missing"),
            "{}",
            refused.message()
        );
        let kept = client.order_work(order("SAP 4711")).await.unwrap().into_inner();
        assert_eq!(kept.work_order.unwrap().reference, "SAP 4711");
        let viewer = person(PersonRole::Viewer, Scope::All);
        let mut viewer = client_with(&stage, Some(viewer), Config::default());
        assert_eq!(
            viewer.order_work(order("x")).await.unwrap_err().code(),
            Code::PermissionDenied
        );
    })
    .await;
}
