//! A page that nobody acknowledges in time goes to others as well: once, whatever was restarted, and not otherwise.

use std::time::Duration;

use tocsin_domain::{Clock, PageAction, PersonRole, Scope, Timestamp};
use tocsin_judge::PageReason;
use tocsin_pager::destination::{Hours, Webhook};
use tocsin_pager::{Config, DayShift, Destination};
use tocsin_store::outbox::{DeliveryState, PageDelivery};

use crate::incidents::{acknowledge, client_with, person};
use crate::receiver::Receiver;
use crate::stage::{impatient, with_stage};

const IN_TIME: Duration = Duration::from_mins(15);

fn config(duty: &Receiver, boss: &Receiver) -> Config {
    let hook = |name: &str, receiver: &Receiver| Destination::Webhook(Webhook::new(name, receiver.url.clone()));
    Config {
        destinations: vec![hook("duty", duty), hook("boss", boss)],
        escalate_to: vec!["boss".to_owned()],
        escalate_after_ms: IN_TIME.as_millis() as u64,
        ..impatient()
    }
}

fn noon() -> Clock {
    Clock::manual(Timestamp::parse("t", "2026-03-01T12:00:00Z").unwrap())
}

fn delivered(pages: &[PageDelivery], count: usize) -> bool {
    pages.len() == count && pages.iter().all(|page| page.state == DeliveryState::Delivered)
}

fn actions(receiver: &Receiver) -> Vec<String> {
    let got = receiver.got().into_iter();
    got.map(|got| got.body["action"].as_str().unwrap().to_owned()).collect()
}

/// Nothing can be waited for that must not happen: several rounds go by.
async fn rounds() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}

#[tokio::test]
async fn what_nobody_takes_in_time_goes_to_others_once_over_a_restart_and_so_does_its_end() {
    with_stage("escalates", noon(), |stage| async move {
        let (duty, boss) = (Receiver::start([]).await, Receiver::start([]).await);
        let pager = stage.pager(config(&duty, &boss));
        let incident = stage.open().await;
        stage.pages_when(incident, |pages| delivered(pages, 1)).await;
        stage.clock.advance(Duration::from_mins(14));
        rounds().await;
        assert_eq!(actions(&boss), [""; 0]);
        // Time goes on while there is no pager.
        pager.stop().await;
        stage.clock.advance(Duration::from_mins(1));
        let again = stage.pager(config(&duty, &boss));
        let pages = stage.pages_when(incident, |pages| delivered(pages, 2)).await;
        assert_eq!(pages[0].page.id, pages[1].page.id, "it is the same page");
        stage.clock.advance(IN_TIME * 3);
        rounds().await;
        stage.clear(incident).await;
        stage.pages_when(incident, |pages| delivered(pages, 4)).await;
        again.stop().await;
        assert_eq!(actions(&boss), ["trigger", "resolve"]);
        assert_eq!(actions(&duty), ["trigger", "resolve"]);
    })
    .await;
}

#[tokio::test]
async fn who_is_told_later_hears_nothing_of_what_was_over_before() {
    with_stage("later", noon(), |stage| async move {
        let (duty, boss) = (Receiver::start([]).await, Receiver::start([]).await);
        let pager = stage.pager(config(&duty, &boss));
        let incident = stage.open().await;
        stage.say(incident, PageAction::Acknowledge).await;
        stage.clock.advance(Duration::from_mins(1));
        stage.say_for(incident, PageReason::LevelRose).await;
        stage.pages_when(incident, |pages| delivered(pages, 3)).await;
        stage.clock.advance(IN_TIME);
        stage.pages_when(incident, |pages| delivered(pages, 4)).await;
        // One that begins anew looks at every page again: at the acknowledgement of the first, too.
        pager.stop().await;
        let again = stage.pager(config(&duty, &boss));
        stage.clock.advance(Duration::from_mins(1));
        rounds().await;
        stage.clear(incident).await;
        stage.pages_when(incident, |pages| delivered(pages, 6)).await;
        again.stop().await;
        assert_eq!(actions(&boss), ["trigger", "resolve"]);
    })
    .await;
}

#[tokio::test]
async fn what_was_taken_or_cleared_in_time_goes_to_nobody_else() {
    with_stage("stays", noon(), |stage| async move {
        let (duty, boss) = (Receiver::start([]).await, Receiver::start([]).await);
        let pager = stage.pager(config(&duty, &boss));
        let cleared = stage.open().await;
        stage.clear(cleared).await;
        let taken = stage.open().await;
        let operator = Some(person(PersonRole::Operator, Scope::All));
        let mut client = client_with(&stage, operator, config(&duty, &boss));
        client.acknowledge_incident(acknowledge(taken)).await.unwrap();
        for incident in [cleared, taken] {
            stage.pages_when(incident, |pages| delivered(pages, 2)).await;
        }
        stage.clock.advance(IN_TIME * 2);
        rounds().await;
        pager.stop().await;
        assert_eq!(actions(&boss), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_slow_failure_waits_for_the_day_shift_unless_it_gets_worse_and_escalates_from_then_on() {
    for worse in [false, true] {
        let name = if worse { "shift_worse" } else { "shift" };
        with_stage(name, noon(), |stage| async move {
            let (duty, boss) = (Receiver::start([]).await, Receiver::start([]).await);
            let hours = Hours {
                days: vec![],
                from: "07:00".into(),
                to: "11:00".into(),
                time_zone: "UTC".into(),
            };
            let pager = stage.pager(Config {
                day_shifts: vec![DayShift {
                    sites: vec!["north".into()],
                    hours,
                }],
                ..config(&duty, &boss)
            });
            let incident = stage
                .open_on(&stage.sensor, |payload| {
                    payload.reason = tocsin_judge::PageReason::Escalated;
                    payload.growth_per_day = Some(0.3);
                })
                .await;
            rounds().await;
            stage.clock.advance(Duration::from_hours(2));
            rounds().await;
            assert_eq!((actions(&duty), actions(&boss)), (vec![], vec![]));
            let wait = if worse {
                stage.worsen(incident, 3.5).await;
                Duration::from_secs(1)
            } else {
                Duration::from_hours(17)
            };
            stage.clock.advance(wait);
            stage.pages_when(incident, |pages| delivered(pages, 1)).await;
            rounds().await;
            assert_eq!(actions(&boss), [""; 0], "people have their time from then on");
            stage.clock.advance(IN_TIME);
            stage.pages_when(incident, |pages| delivered(pages, 2)).await;
            assert_eq!(actions(&boss), ["trigger"]);
            pager.stop().await;
        })
        .await;
    }
}
