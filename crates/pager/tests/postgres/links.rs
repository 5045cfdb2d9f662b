//! Acknowledging without an account: by a page's own link, and by what other receivers post back.

use std::path::PathBuf;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tocsin_contracts::incidents::v1::{
    AcknowledgeByLinkRequest, GetAcknowledgeLinkRequest, Incident, ReceiveHookRequest,
};
use tocsin_domain::{Clock, IncidentId, Timestamp};
use tocsin_judge::PageReason;
use tocsin_pager::destination::{PagerDuty, Webhook};
use tocsin_pager::{Config, Destination};
use tocsin_store::outbox::DeliveryState;
use tonic::Code;

use crate::incidents::{Client, client_with};
use crate::receiver::Receiver;
use crate::stage::{Stage, impatient, with_stage};

/// Settings with secrets in files, which live as long as this.
struct Secrets(tempfile::TempDir);

impl Secrets {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, format!("{name}-hush\n")).unwrap();
        path
    }

    fn config(&self, duty: &Receiver, boss: &Receiver) -> Config {
        let hook = |name: &str, receiver: &Receiver| Destination::Webhook(Webhook::new(name, receiver.url.clone()));
        Config {
            destinations: vec![hook("duty", duty), hook("boss", boss)],
            escalate_to: vec!["boss".to_owned()],
            escalate_after_ms: 900_000,
            console_url: Some("https://tocsin.example.org".to_owned()),
            acknowledge_secret_file: Some(self.file("links")),
            ..impatient()
        }
    }

    /// The same with a `PagerDuty` that posts back.
    fn config_with_hook(&self, duty: &Receiver, boss: &Receiver) -> Config {
        let mut config = self.config(duty, boss);
        let mut pager_duty = PagerDuty::new("pd", self.file("routing"));
        (pager_duty.url, pager_duty.webhook_secret_file) = (duty.url.as_str().into(), Some(self.file("v3")));
        config.destinations.push(Destination::PagerDuty(pager_duty));
        config
    }
}

fn noon() -> Clock {
    Clock::manual(Timestamp::parse("t", "2026-03-01T12:00:00Z").unwrap())
}

/// The token of the link that the newest page to a receiver carries.
fn token(receiver: &Receiver) -> String {
    let got = receiver.got();
    let urls = got.iter().filter_map(|got| got.body["acknowledge_url"].as_str());
    let url = urls.last().expect("a link");
    let token = url.strip_prefix("https://tocsin.example.org/acknowledge/");
    token.expect("a link to the console").to_owned()
}

async fn take(client: &mut Client, token: &str) -> Result<i64, Code> {
    let token = token.to_owned();
    let answer = client.acknowledge_by_link(AcknowledgeByLinkRequest { token }).await;
    answer
        .map(|taken| taken.into_inner().incident_id)
        .map_err(|status| status.code())
}

async fn look(client: &mut Client, token: &str) -> (Incident, bool) {
    let token = token.to_owned();
    let seen = client.get_acknowledge_link(GetAcknowledgeLinkRequest { token }).await;
    let seen = seen.unwrap().into_inner();
    (seen.incident.unwrap(), seen.may_acknowledge)
}

async fn told(stage: &Stage, incident: IncidentId, count: usize) {
    let done = |pages: &[tocsin_store::outbox::PageDelivery]| {
        pages.len() == count && pages.iter().all(|page| page.state == DeliveryState::Delivered)
    };
    stage.pages_when(incident, done).await;
}

fn acknowledged(incident: IncidentId, at: &str) -> Vec<u8> {
    let event = json!({
        "event_type": "incident.acknowledged",
        "occurred_at": at,
        "agent": { "summary": "Ana Lima" },
        "data": { "incident_key": format!("tocsin-incident-{incident}") },
    });
    serde_json::to_vec(&json!({ "event": event })).unwrap()
}

fn post(body: &[u8], secret: &str) -> ReceiveHookRequest {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    ReceiveHookRequest {
        receiver: "pagerduty".to_owned(),
        body: body.to_vec(),
        signature: format!("v1={}", hex::encode(mac.finalize().into_bytes())),
        timestamp: String::new(),
    }
}

#[tokio::test]
async fn a_link_takes_its_incident_once_without_an_account_and_looking_takes_nothing() {
    with_stage("link", noon(), |stage| async move {
        let (duty, boss, secrets) = (Receiver::start([]).await, Receiver::start([]).await, Secrets::new());
        let config = secrets.config(&duty, &boss);
        let pager = stage.pager(config.clone());
        let incident = stage.open().await;
        told(&stage, incident, 1).await;
        let token = token(&duty);
        let mut client = client_with(&stage, None, config);
        for _ in 0..100 {
            let (seen, may) = look(&mut client, &token).await;
            assert_eq!((seen.state.as_str(), may), ("active_unacknowledged", true));
        }
        let cut = &token[..token.len() - 1];
        assert_eq!(take(&mut client, cut).await, Err(Code::Unauthenticated));
        assert_eq!(take(&mut client, &token).await, Ok(incident.0));
        let (seen, may) = look(&mut client, &token).await;
        assert_eq!(seen.acknowledged_by, "acknowledge link sent to duty");
        assert!(!may);
        assert_eq!(take(&mut client, &token).await, Err(Code::FailedPrecondition));
        // Whoever was paged hears of it, and nobody else is called.
        stage.clock.advance(Duration::from_hours(1));
        told(&stage, incident, 2).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(boss.got().is_empty());
        pager.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_link_that_has_run_out_or_was_overtaken_by_a_newer_page_takes_nothing() {
    with_stage("stale_link", noon(), |stage| async move {
        let (duty, boss, secrets) = (Receiver::start([]).await, Receiver::start([]).await, Secrets::new());
        let config = secrets.config(&duty, &boss);
        let pager = stage.pager(config.clone());
        let incident = stage.open().await;
        told(&stage, incident, 1).await;
        let first = token(&duty);
        stage.clock.advance(Duration::from_mins(1));
        stage.say_for(incident, PageReason::LevelRose).await;
        told(&stage, incident, 2).await;
        let second = token(&duty);
        pager.stop().await;
        let mut client = client_with(&stage, None, config.clone());
        assert!(!look(&mut client, &first).await.1);
        assert_eq!(take(&mut client, &first).await, Err(Code::FailedPrecondition));
        assert!(look(&mut client, &second).await.1);
        stage.clock.advance(Duration::from_hours(12));
        assert_eq!(take(&mut client, &second).await, Err(Code::FailedPrecondition));
        let without = Config {
            acknowledge_secret_file: None,
            ..config
        };
        let mut without = client_with(&stage, None, without);
        assert_eq!(take(&mut without, &second).await, Err(Code::Unauthenticated));
    })
    .await;
}

#[tokio::test]
async fn what_pager_duty_says_was_taken_there_is_taken_here_if_it_is_genuine_and_not_overtaken() {
    with_stage("hook", noon(), |stage| async move {
        let (duty, boss, secrets) = (Receiver::start([]).await, Receiver::start([]).await, Secrets::new());
        let config = secrets.config_with_hook(&duty, &boss);
        let incident = stage.open().await;
        let mut client = client_with(&stage, None, config);
        let mut heed = async |post: ReceiveHookRequest| {
            let answer = client.receive_hook(post).await;
            answer
                .map(|heard| heard.into_inner().acknowledged)
                .map_err(|status| status.code())
        };
        let taken = acknowledged(incident, "2026-03-01T12:00:30Z");
        assert_eq!(heed(post(&taken, "another")).await, Err(Code::Unauthenticated));
        let unknown = ReceiveHookRequest {
            receiver: "telegraph".to_owned(),
            ..post(&taken, "v3-hush")
        };
        assert_eq!(heed(unknown).await, Err(Code::Unauthenticated));
        let early = acknowledged(incident, "2026-03-01T11:59:00Z");
        assert_eq!(
            heed(post(&early, "v3-hush")).await,
            Ok(false),
            "it was no answer to this page"
        );
        let other = acknowledged(IncidentId(999), "2026-03-01T12:00:30Z");
        assert_eq!(heed(post(&other, "v3-hush")).await, Ok(false));
        assert_eq!(heed(post(&taken, "v3-hush")).await, Ok(true));
        assert_eq!(
            heed(post(&taken, "v3-hush")).await,
            Ok(false),
            "sent again, it changes nothing"
        );
        let pages = stage.pages_when(incident, |_| true).await;
        let payload: Value = serde_json::from_str(&pages.last().unwrap().page.payload_json).unwrap();
        assert_eq!(payload["reason"], "acknowledged");
    })
    .await;
}
