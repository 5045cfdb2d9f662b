//! Who takes what, and when: by the time at which a page was decided, and whoever was told is told the rest.

use std::time::Duration;

use tocsin_contracts::incidents::v1;
use tocsin_domain::{Clock, PersonRole, Scope, Timestamp};
use tocsin_pager::destination::Webhook;
use tocsin_pager::destination::route::{Day, Hours, Route};
use tocsin_pager::{Config, Destination};
use tocsin_store::outbox::{DeliveryState, PageDelivery};

use crate::incidents::{client_with, person};
use crate::receiver::Receiver;
use crate::stage::{impatient, with_stage};

/// Monday to Friday, 08:00 to 17:00 in Lisbon.
fn office(receiver: &Receiver) -> Destination {
    let hours = Hours {
        days: vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri],
        from: "08:00".to_owned(),
        to: "17:00".to_owned(),
        time_zone: "Europe/Lisbon".to_owned(),
    };
    let route = Route {
        sites: vec!["north".to_owned()],
        hours: Some(hours),
        ..Route::default()
    };
    Destination::Webhook(Webhook {
        routes: vec![route],
        ..Webhook::new("office", receiver.url.clone())
    })
}

fn always(receiver: &Receiver) -> Destination {
    Destination::Webhook(Webhook::new("duty", receiver.url.clone()))
}

fn with(destinations: Vec<Destination>) -> Config {
    Config {
        destinations,
        ..impatient()
    }
}

/// A Friday in winter, a minute before the office closes.
fn friday() -> Timestamp {
    Timestamp::parse("t", "2026-01-09T16:59:00Z").unwrap()
}

fn delivered_to(pages: &[PageDelivery]) -> Vec<&str> {
    pages.iter().filter_map(|page| page.destination.as_deref()).collect()
}

fn all_delivered(pages: &[PageDelivery]) -> bool {
    pages.iter().all(|page| page.state == DeliveryState::Delivered)
}

#[tokio::test]
async fn whoever_was_told_in_hours_is_told_the_end_out_of_hours_and_nobody_else() {
    with_stage("hours", Clock::manual(friday()), |stage| async move {
        let (day, duty) = (Receiver::start([]).await, Receiver::start([]).await);
        let pager = stage.pager(with(vec![office(&day), always(&duty)]));
        let first = stage.open().await;
        let pages = stage
            .pages_when(first, |pages| pages.len() == 2 && all_delivered(pages))
            .await;
        assert_eq!(delivered_to(&pages), ["duty", "office"]);
        stage.clock.advance(Duration::from_hours(1));
        stage.clear(first).await;
        let pages = stage
            .pages_when(first, |pages| pages.len() == 4 && all_delivered(pages))
            .await;
        assert_eq!(delivered_to(&pages), ["duty", "office", "duty", "office"]);
        let second = stage.open().await;
        stage.clear(second).await;
        let pages = stage
            .pages_when(second, |pages| pages.len() == 2 && all_delivered(pages))
            .await;
        assert_eq!(delivered_to(&pages), ["duty", "duty"]);
        pager.stop().await;
        assert_eq!((day.got().len(), duty.got().len()), (2, 4));
    })
    .await;
}

#[tokio::test]
async fn a_page_is_routed_by_when_it_was_decided_however_late_the_pager_looks() {
    with_stage("late_routing", Clock::manual(friday()), |stage| async move {
        let day = Receiver::start([]).await;
        let incident = stage.open().await;
        stage.clock.advance(Duration::from_hours(12));
        let pager = stage.pager(with(vec![office(&day)]));
        stage.pages_when(incident, all_delivered).await;
        pager.stop().await;
        assert_eq!(day.got().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_page_that_no_destination_takes_is_shown_as_unsent_and_a_taken_one_as_waiting() {
    let saturday = Clock::manual(friday() + Duration::from_hours(24));
    with_stage("untaken", saturday, |stage| async move {
        let (day, duty) = (Receiver::start([]).await, Receiver::start([]).await);
        let incident = stage.open().await;
        let shown = |config: Config| {
            let mut client = client_with(&stage, Some(person(PersonRole::Viewer, Scope::All)), config);
            async move {
                let request = v1::GetIncidentRequest {
                    incident_id: incident.0,
                };
                let pages = client.get_incident(request).await.unwrap().into_inner().pages;
                pages.into_iter().map(|page| page.state).collect::<Vec<_>>()
            }
        };
        assert_eq!(shown(with(vec![office(&day)])).await, ["unsent"]);
        assert_eq!(shown(with(vec![office(&day), always(&duty)])).await, ["waiting"]);
        let pager = stage.pager(with(vec![office(&day)]));
        // Nothing can be waited for that must not happen: several rounds go by.
        stage.clear(incident).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        pager.stop().await;
        assert_eq!(shown(with(vec![office(&day)])).await, ["unsent", "unsent"]);
        assert!(day.got().is_empty());
    })
    .await;
}
