//! A page is acknowledged from where its receiver is: by its own link, or in the receiver's own system.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use tocsin::Role;
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::incidents::v1::{Incident, ListIncidentsRequest};
use tocsin_domain::Clock;
use tocsin_pager::Destination;
use tocsin_pager::destination::{PagerDuty, Webhook};
use tocsin_tests::{Plant, Receiver, Stage};

/// How long after a page others are told of it too.
const ESCALATES_AFTER: Duration = Duration::from_secs(8);

/// A stage where pages carry links, `PagerDuty` posts back, and what nobody acknowledges escalates to `boss`.
async fn paged(secrets: &Path, duty: &Receiver, boss: &Receiver) -> Result<Stage> {
    let file = |name: &str| -> Result<_> {
        let path = secrets.join(name);
        std::fs::write(&path, format!("{name}-hush"))?;
        Ok(path)
    };
    let mut pager_duty = PagerDuty::new("pd", file("routing")?);
    (pager_duty.url, pager_duty.webhook_secret_file) = (duty.url().as_str().into(), Some(file("v3")?));
    let links = file("links")?;
    let stage = Stage::start_with(Role::ALL, |config| {
        let pager = &mut config.pager;
        pager.destinations.push(Destination::PagerDuty(pager_duty));
        let boss = Webhook::new("boss", boss.url());
        pager.destinations.push(Destination::Webhook(boss));
        pager.escalate_to = vec!["boss".to_owned()];
        pager.escalate_after_ms = ESCALATES_AFTER.as_millis() as u64;
        pager.console_url = Some("https://tocsin.example.org".to_owned());
        pager.acknowledge_secret_file = Some(links);
    })
    .await?;
    stage.sensor("m1", "h").await?;
    stage.bundle(1).await?;
    let mut publisher = stage.publisher().await?;
    let reading = |n: u64| Plant::reading("m1/h", n, if n < 30 { Plant::healthy(n) } else { Plant::failing(n) });
    publisher.publish((0..40).map(reading).collect()).await?;
    Ok(stage)
}

async fn incident(stage: &Stage) -> Result<Incident> {
    let mut client = IncidentsServiceClient::new(stage.running.service_channel());
    let listed = client.list_incidents(ListIncidentsRequest::default()).await?;
    listed.into_inner().incidents.pop().context("an incident")
}

async fn post_back(console: &str, incident: i64, secret: &str) -> Result<Response> {
    let event = json!({
        "event_type": "incident.acknowledged",
        "occurred_at": Clock::system().now(),
        "agent": { "summary": "Ana Lima" },
        "data": { "incident_key": format!("tocsin-incident-{incident}") },
    });
    let body = serde_json::to_vec(&json!({ "event": event }))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(&body);
    let signature = format!("v1={}", hex::encode(mac.finalize().into_bytes()));
    let request = Client::new().post(format!("{console}/hooks/pagerduty"));
    Ok(request
        .header("x-pagerduty-signature", signature)
        .body(body)
        .send()
        .await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_acknowledgement_stops_escalation_and_a_bad_signature_is_refused() -> Result<()> {
    let (secrets, duty, boss) = (tempfile::tempdir()?, Receiver::start().await?, Receiver::start().await?);
    let stage = paged(secrets.path(), &duty, &boss).await?;
    stage.receiver.wait_until("the page", |pages| !pages.is_empty()).await?;
    let console = format!("http://{}", stage.running.console_addr().context("a console")?);
    let id = incident(&stage).await?.incident_id;
    let refused = post_back(&console, id, "another secret").await?;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let unsigned = Client::new().post(format!("{console}/hooks/slack")).body("payload=x");
    assert_eq!(unsigned.send().await?.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(incident(&stage).await?.state, "active_unacknowledged");
    assert_eq!(post_back(&console, id, "v3-hush").await?.status(), StatusCode::OK);
    let taken = incident(&stage).await?;
    assert_eq!(
        (taken.state.as_str(), taken.acknowledged_by.as_str()),
        ("active_acknowledged", "Ana Lima (PagerDuty)")
    );
    tokio::time::sleep(ESCALATES_AFTER + Duration::from_secs(5)).await;
    assert!(boss.pages().is_empty(), "{:#?}", boss.pages());
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_looks_at_a_link_take_nothing_and_one_press_takes_the_incident() -> Result<()> {
    let (secrets, duty, boss) = (tempfile::tempdir()?, Receiver::start().await?, Receiver::start().await?);
    let stage = paged(secrets.path(), &duty, &boss).await?;
    let has_link = |page: &Value| page["acknowledge_url"].is_string();
    let pages = stage
        .receiver
        .wait_until("the page", |pages| pages.iter().any(has_link))
        .await?;
    let url = pages[0]["acknowledge_url"].as_str().context("a link")?;
    let picture = pages[0]["picture_url"].as_str().context("a picture")?.to_owned();
    let path = url
        .strip_prefix("https://tocsin.example.org")
        .context("the console's")?;
    let console = format!("http://{}", stage.running.console_addr().context("a console")?);
    let client = Client::new();
    let path_of_picture = picture.strip_prefix("https://tocsin.example.org").context("ours")?;
    let seen = client.get(format!("{console}{path_of_picture}")).send().await?;
    assert_eq!(seen.status(), StatusCode::OK);
    assert_eq!(seen.headers()["content-type"], "image/png");
    let png = seen.bytes().await?;
    let size = [16, 20].map(|at| u32::from_be_bytes([png[at], png[at + 1], png[at + 2], png[at + 3]]));
    assert_eq!((&png[1..4], size), (b"PNG".as_slice(), [960, 400]));
    let as_acknowledgement = path_of_picture.replace("/pictures/", "/acknowledge/");
    let refused = client
        .post(format!("{console}{as_acknowledgement}"))
        .header("origin", &console);
    assert_eq!(
        refused.send().await?.status(),
        StatusCode::UNAUTHORIZED,
        "a picture's link takes nothing"
    );
    for _ in 0..100 {
        let seen = client.get(format!("{console}{path}")).send().await?;
        assert_eq!(seen.status(), StatusCode::OK);
    }
    assert_eq!(incident(&stage).await?.state, "active_unacknowledged");
    let press = || {
        client
            .post(format!("{console}{path}"))
            .header("origin", &console)
            .send()
    };
    assert_eq!(press().await?.status(), StatusCode::OK);
    let taken = incident(&stage).await?;
    assert_eq!(taken.state, "active_acknowledged");
    assert_eq!(taken.acknowledged_by, "acknowledge link sent to receiver");
    assert_eq!(press().await?.status(), StatusCode::CONFLICT);
    stage.stop().await
}
