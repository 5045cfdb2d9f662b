//! Alertmanager is told what is open, again and again, and once that it is over.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tocsin_domain::{Clock, IncidentId, Timestamp};
use tocsin_pager::destination::Alertmanager;
use tocsin_pager::{Config, Destination};
use tocsin_store::outbox::DeliveryState;

use crate::receiver::{Manner, Receiver};
use crate::stage::{eventually, impatient, with_stage};

fn alertmanager(receiver: &Receiver) -> Config {
    let destination = Destination::Alertmanager(Alertmanager {
        resend_interval_ms: 60,
        ..Alertmanager::new("am", receiver.url.clone())
    });
    Config {
        destinations: vec![destination],
        ..impatient()
    }
}

fn end_of(alert: &Value) -> Timestamp {
    alert["endsAt"]
        .as_str()
        .unwrap()
        .parse::<DateTime<Utc>>()
        .unwrap()
        .into()
}

/// What was said of an incident, post by post: its end, as Alertmanager reads it.
fn said_of(receiver: &Receiver, incident: IncidentId) -> Vec<Timestamp> {
    let key = format!("tocsin-incident-{incident}");
    let alerts = receiver
        .got()
        .into_iter()
        .flat_map(|got| got.body.as_array().unwrap().clone());
    alerts
        .filter(|alert| alert["labels"]["incident"] == key.as_str())
        .map(|alert| end_of(&alert))
        .collect()
}

#[tokio::test]
async fn an_open_incident_is_posted_again_until_it_ends_and_never_after() {
    with_stage("levels", Clock::system(), |stage| async move {
        let receiver = Receiver::start([]).await;
        let pager = stage.pager(alertmanager(&receiver));
        let first = stage.open().await;
        eventually(|| async { (said_of(&receiver, first).len() >= 4).then_some(()) }).await;
        stage.clear(first).await;
        let over = |pages: &[tocsin_store::outbox::PageDelivery]| {
            pages.len() == 2 && pages.iter().all(|page| page.state == DeliveryState::Delivered)
        };
        let pages = stage.pages_when(first, over).await;
        let said = said_of(&receiver, first);
        // Another one is posted several times over: time in which the first could come back.
        let second = stage.open().await;
        eventually(|| async { (said_of(&receiver, second).len() >= 4).then_some(()) }).await;
        pager.stop().await;
        assert_eq!(said_of(&receiver, first), said);
        assert!(
            *said.last().unwrap() <= pages[1].attempts[0].at,
            "the last word was that it is over"
        );
        assert!(said.windows(2).all(|pair| pair[0] != pair[1]));
        let labels: Vec<Value> = receiver
            .got()
            .iter()
            .flat_map(|got| got.body.as_array().unwrap().clone())
            .filter(|alert| alert["labels"]["incident"] == format!("tocsin-incident-{first}").as_str())
            .map(|alert| alert["labels"].clone())
            .collect();
        assert!(labels.iter().all(|other| *other == labels[0]));
    })
    .await;
}

#[tokio::test]
async fn after_a_restart_open_incidents_are_posted_from_the_database() {
    with_stage("restart", Clock::system(), |stage| async move {
        let receiver = Receiver::start([]).await;
        let first = stage.pager(alertmanager(&receiver));
        let incident = stage.open().await;
        stage
            .pages_when(incident, |pages| pages[0].state == DeliveryState::Delivered)
            .await;
        first.stop().await;
        let before = said_of(&receiver, incident).len();
        let second = stage.pager(alertmanager(&receiver));
        eventually(|| async { (said_of(&receiver, incident).len() > before).then_some(()) }).await;
        second.stop().await;
        let history = stage.pages_when(incident, |_| true).await;
        assert_eq!(
            history[0].attempts.len(),
            1,
            "posting again is no attempt to deliver a page"
        );
    })
    .await;
}

#[tokio::test]
async fn an_alertmanager_that_was_away_hears_what_is_open_when_it_is_back() {
    with_stage("away", Clock::system(), |stage| async move {
        let receiver = Receiver::start([]).await;
        receiver.always(Some(Manner::Status(503)));
        let pager = stage.pager(alertmanager(&receiver));
        let incident = stage.open().await;
        stage.pages_when(incident, |pages| pages[0].attempts.len() >= 2).await;
        receiver.always(None);
        stage
            .pages_when(incident, |pages| pages[0].state == DeliveryState::Delivered)
            .await;
        pager.stop().await;
        assert!(receiver.got().iter().any(|got| got.accepted));
    })
    .await;
}

#[tokio::test]
async fn two_pagers_take_turns_for_one_alertmanager() {
    with_stage("turns", Clock::system(), |stage| async move {
        let receiver = Receiver::start([]).await;
        let pagers = [
            stage.pager(alertmanager(&receiver)),
            stage.pager(alertmanager(&receiver)),
        ];
        let incident = stage.open().await;
        eventually(|| async { (said_of(&receiver, incident).len() >= 6).then_some(()) }).await;
        stage.clear(incident).await;
        let pages = stage
            .pages_when(incident, |pages| {
                pages.len() == 2 && pages.iter().all(|page| page.state == DeliveryState::Delivered)
            })
            .await;
        let said = said_of(&receiver, incident);
        let other = stage.open().await;
        eventually(|| async { (said_of(&receiver, other).len() >= 6).then_some(()) }).await;
        for pager in pagers {
            pager.stop().await;
        }
        assert!(pages.iter().all(|page| page.attempts.len() == 1));
        assert_eq!(said_of(&receiver, incident), said);
        assert!(*said.last().unwrap() <= pages[1].attempts[0].at);
    })
    .await;
}
