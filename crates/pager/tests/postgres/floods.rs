//! Many machines at once are one page, whoever restarts, and who differs from them is another.

use std::time::Duration;

use serde_json::Value;
use tocsin_contracts::incidents::v1;
use tocsin_domain::fleet::Sensor;
use tocsin_domain::{Clock, IncidentId, PageAction, PersonRole, Scope, SensorSignal, Timestamp};
use tocsin_judge::TopBin;
use tocsin_pager::destination::Webhook;
use tocsin_pager::{Config, Destination};
use tocsin_scratch::slug;
use tocsin_store::access::NewToken;
use tocsin_store::fleet::NewSensor;
use tocsin_store::signal::signals_write;

use crate::incidents::{client_with, person};
use crate::receiver::Receiver;
use crate::stage::{Stage, impatient, webhook, with_stage};

const MINUTE: Duration = Duration::from_mins(1);

fn noon() -> Clock {
    Clock::manual(Timestamp::parse("t", "2026-03-01T12:00:00Z").unwrap())
}

/// Pages wait for a flood; a step of the class is ten seconds.
fn waiting(url: &str) -> Config {
    Config {
        flood_wait_ms: 10_000,
        ..webhook(url)
    }
}

impl Stage {
    async fn machines(&self, count: usize) -> Vec<Sensor> {
        let mut sensors = Vec::new();
        for number in 0..count {
            let new = NewSensor {
                site: slug("north"),
                machine: slug(&format!("m-{number}")),
                device: None,
                name: slug("drive-end"),
                class: slug("pump"),
                spec: slug("spec"),
            };
            let listing = self
                .store
                .sensor_create(&Scope::All, &new, self.clock.now(), tocsin_scratch::audit)
                .await;
            sensors.push(listing.unwrap().sensor);
        }
        sensors
    }

    /// The sensors are heard of through one gateway.
    async fn heard_through(&self, gateway: &str, sensors: &[Sensor]) {
        let now = self.clock.now();
        let token = NewToken {
            site: self.store.site_list(&Scope::All).await.unwrap()[0].id,
            name: gateway.to_owned(),
            secret_hash: [7; 32],
            may_replay: false,
            may_send_historical: false,
            auto_registration: None,
            created_by: "test".to_owned(),
            expires_at: now + MINUTE * 60,
        };
        let token = self
            .store
            .token_create(&Scope::All, &token, now, tocsin_scratch::audit)
            .await
            .unwrap();
        let signal = |sensor: &Sensor| SensorSignal {
            sensor: sensor.id,
            gateway: Some(token.id),
            received_at: now,
            captured_at: now,
            arrival_gaps_ms: Vec::new(),
            capture_gaps_ms: Vec::new(),
            spectrum_hash: 0,
            same_since: now,
            same_count: 1,
            stopped: None,
        };
        let signals: Vec<SensorSignal> = sensors.iter().map(signal).collect();
        let mut tx = self.store.begin().await.unwrap();
        signals_write(&mut tx, &signals).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Opens an incident of each, in the same bins, a second after the other.
    async fn rise(&self, sensors: &[Sensor]) -> Vec<IncidentId> {
        let mut incidents = Vec::new();
        for (number, sensor) in sensors.iter().enumerate() {
            incidents.push(self.rises(sensor, number, (2.5, 20)).await);
            self.clock.advance(Duration::from_millis(100));
        }
        incidents
    }

    async fn rises(&self, sensor: &Sensor, number: usize, (level, bin): (f32, u16)) -> IncidentId {
        let top = TopBin {
            index: bin,
            centre: 1.0,
            axis_unit: "Hz".into(),
            error_share: 0.6,
        };
        self.open_on(sensor, |payload| {
            payload.machine = slug(&format!("m-{number}"));
            payload.level = level;
            payload.top_bins = vec![top];
        })
        .await
    }
}

fn said(receiver: &Receiver, field: &str) -> Vec<String> {
    let bodies = receiver.got().into_iter().map(|got| got.body);
    bodies
        .map(|body: Value| match &body[field] {
            Value::String(text) => text.clone(),
            _ => body["evidence"][field].as_str().unwrap_or_default().to_owned(),
        })
        .collect()
}

async fn got(receiver: &Receiver, count: usize) {
    for _ in 0..500 {
        if receiver.got().len() >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What must not follow would be there soon.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(receiver.got().len(), count, "{:?}", said(receiver, "summary"));
}

#[tokio::test]
async fn a_flood_is_one_page_that_names_its_machines_and_those_that_differ_are_paged_alone() {
    with_stage("flood", noon(), |stage| async move {
        let receiver = Receiver::start([]).await;
        let pager = stage.pager(waiting(&receiver.url));
        let sensors = stage.machines(16).await;
        stage.heard_through("hall-3", &sensors).await;
        let incidents = stage.rise(&sensors[..12]).await;
        stage.rises(&sensors[12], 12, (6.0, 20)).await;
        stage.rises(&sensors[13], 13, (2.5, 50)).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(receiver.got().len(), 0, "a page waits a machine step");

        stage.clock.advance(Duration::from_secs(16));
        got(&receiver, 3).await;
        let mut reasons = said(&receiver, "reason");
        reasons.sort();
        assert_eq!(reasons, ["flood", "opened", "opened"]);
        let alone: Vec<String> = receiver
            .got()
            .iter()
            .filter(|got| got.body["evidence"]["reason"] == "opened")
            .map(|got| got.body["machine"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(alone, ["m-12", "m-13"]);
        let flood = receiver
            .got()
            .into_iter()
            .find(|got| got.body["evidence"]["reason"] == "flood")
            .unwrap();
        let summary = flood.body["summary"].as_str().unwrap();
        assert!(
            summary.starts_with("flood: 12 machines at page level at once, most of class pump"),
            "{summary}"
        );
        assert!(
            summary.contains(", all through gateway north/hall-3: north/m-0, north/m-1"),
            "{summary}"
        );

        // Another of the same joins, after a restart as well; what goes further than was known is said.
        pager.stop().await;
        let pager = stage.pager(waiting(&receiver.url));
        stage.rises(&sensors[14], 14, (2.6, 20)).await;
        stage.clock.advance(Duration::from_secs(16));
        got(&receiver, 3).await;
        stage.say_for(incidents[3], tocsin_judge::PageReason::LevelRose).await;
        got(&receiver, 4).await;

        // Ten minutes later nobody comes: the next is told of by itself.
        stage.clock.advance(MINUTE * 11);
        tokio::time::sleep(Duration::from_millis(200)).await;
        stage.rises(&sensors[15], 15, (2.5, 20)).await;
        stage.clock.advance(Duration::from_secs(16));
        got(&receiver, 5).await;
        assert_eq!(said(&receiver, "machine")[4], "m-15");
        pager.stop().await;
    })
    .await;
}

#[tokio::test]
async fn ten_machines_are_no_flood_and_each_is_told_of_by_itself_with_its_end() {
    with_stage("no_flood", noon(), |stage| async move {
        let receiver = Receiver::start([]).await;
        let pager = stage.pager(waiting(&receiver.url));
        let sensors = stage.machines(10).await;
        let incidents = stage.rise(&sensors).await;
        // One clears before its page goes out: the page still comes first.
        stage.clear(incidents[0]).await;
        stage.clock.advance(Duration::from_secs(16));
        got(&receiver, 11).await;
        let of_first: Vec<String> = receiver
            .got()
            .iter()
            .filter(|got| got.body["incident_id"] == incidents[0].0)
            .map(|got| got.body["action"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(of_first, ["trigger", "resolve"]);
        pager.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_flood_is_taken_as_one_and_over_when_nothing_of_it_is_open() {
    with_stage("flood_taken", noon(), |stage| async move {
        let receiver = Receiver::start([]).await;
        let pager = stage.pager(waiting(&receiver.url));
        let sensors = stage.machines(12).await;
        let incidents = stage.rise(&sensors).await;
        stage.clock.advance(Duration::from_secs(16));
        got(&receiver, 1).await;

        let ana = person(PersonRole::Operator, Scope::site(stage.sensor.site));
        let mut client = client_with(&stage, Some(ana), Config::default());
        let listed = client.list_floods(v1::ListFloodsRequest::default()).await.unwrap();
        let flood = listed.into_inner().floods.remove(0);
        assert_eq!((flood.incidents, flood.unacknowledged), (12, 12));
        stage.clear(incidents[0]).await;
        let flood_id = flood.flood_id;
        let take = v1::AcknowledgeFloodRequest {
            flood_id,
            note: "load step".into(),
        };
        let taken = client.acknowledge_flood(take.clone()).await.unwrap().into_inner();
        assert_eq!(taken.acknowledged, 11);
        assert_eq!(
            client.acknowledge_flood(take).await.unwrap().into_inner().acknowledged,
            0
        );
        got(&receiver, 2).await;

        stage.clock.advance(MINUTE * 11);
        tokio::time::sleep(Duration::from_millis(200)).await;
        for incident in &incidents[1..] {
            stage.clear(*incident).await;
        }
        got(&receiver, 3).await;
        assert_eq!(said(&receiver, "action"), ["trigger", "acknowledge", "resolve"]);
        let keys = said(&receiver, "dedup_key");
        assert!(
            keys.iter().all(|key| *key == format!("tocsin-flood-{flood_id}")),
            "{keys:?}"
        );
        let shown = client
            .get_flood(v1::GetFloodRequest { flood_id })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(shown.incidents.len(), 12);
        pager.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_became_of_an_incident_before_its_flood_is_told_is_not_told_by_itself() {
    with_stage("flood_overtaken", noon(), |stage| async move {
        let receiver = Receiver::start([]).await;
        let sensors = stage.machines(12).await;
        let incidents = stage.rise(&sensors).await;
        stage.say(incidents[3], PageAction::Acknowledge).await;
        stage.clear(incidents[4]).await;
        stage.clock.advance(Duration::from_secs(16));
        let pager = stage.pager(waiting(&receiver.url));
        got(&receiver, 1).await;
        assert_eq!(said(&receiver, "reason"), ["flood"]);
        pager.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_flood_that_nobody_takes_escalates_as_one_page() {
    with_stage("flood_escalates", noon(), |stage| async move {
        let (duty, boss) = (Receiver::start([]).await, Receiver::start([]).await);
        let hook = |name: &str, to: &Receiver| Destination::Webhook(Webhook::new(name, to.url.clone()));
        let config = Config {
            destinations: vec![hook("duty", &duty), hook("boss", &boss)],
            escalate_to: vec!["boss".to_owned()],
            escalate_after_ms: 120_000,
            flood_wait_ms: 10_000,
            ..impatient()
        };
        let pager = stage.pager(config);
        let sensors = stage.machines(12).await;
        let incidents = stage.rise(&sensors).await;
        stage.clock.advance(Duration::from_secs(16));
        got(&duty, 1).await;
        // The one that the page stands with is over; the others are not.
        stage.clear(incidents[0]).await;
        stage.clock.advance(MINUTE * 3);
        got(&boss, 1).await;
        assert_eq!(said(&boss, "reason"), ["flood"]);
        pager.stop().await;
    })
    .await;
}

#[tokio::test]
async fn each_of_two_recipients_is_told_of_a_flood_and_who_comes_after_it_was_taken_is_told_of_alone() {
    with_stage("flood_of_two", noon(), |stage| async move {
        let (one, two) = (Receiver::start([]).await, Receiver::start([]).await);
        let hook = |name: &str, to: &Receiver| Destination::Webhook(Webhook::new(name, to.url.clone()));
        let config = Config {
            destinations: vec![hook("one", &one), hook("two", &two)],
            flood_wait_ms: 10_000,
            ..impatient()
        };
        let pager = stage.pager(config);
        let sensors = stage.machines(14).await;
        let incidents = stage.rise(&sensors[..12]).await;
        stage.clock.advance(Duration::from_secs(16));
        got(&one, 1).await;
        got(&two, 1).await;
        assert_eq!(
            (said(&one, "reason"), said(&two, "reason")),
            (vec!["flood".to_owned()], vec!["flood".to_owned()])
        );

        // Taken one by one, it is taken; who comes then is told of alone.
        let ana = person(PersonRole::Operator, Scope::All);
        let mut client = client_with(&stage, Some(ana), Config::default());
        for incident in incidents {
            client
                .acknowledge_incident(crate::incidents::acknowledge(incident))
                .await
                .unwrap();
        }
        got(&one, 2).await;
        stage.rises(&sensors[12], 12, (2.5, 20)).await;
        stage.clock.advance(Duration::from_secs(16));
        got(&one, 3).await;
        assert_eq!(said(&one, "reason"), ["flood", "acknowledged", "opened"]);

        // A pager that was away takes nothing into a flood of before.
        pager.stop().await;
        stage.clock.advance(MINUTE * 30);
        stage.rises(&sensors[13], 13, (2.5, 20)).await;
        let pager = stage.pager(Config {
            destinations: vec![hook("one", &one), hook("two", &two)],
            flood_wait_ms: 10_000,
            ..impatient()
        });
        stage.clock.advance(Duration::from_secs(16));
        got(&one, 4).await;
        assert_eq!(said(&one, "machine")[3], "m-13");
        pager.stop().await;
    })
    .await;
}
