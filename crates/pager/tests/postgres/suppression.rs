//! Shelved machines and those out of service: who may, what is kept, and what time alone does.

use std::time::Duration;

use tocsin_contracts::incidents::v1;
use tocsin_domain::{Clock, IncidentId, PersonRole, Scope, SiteId, SuppressionId, Timestamp};
use tocsin_judge::PageReason;
use tocsin_pager::Config;
use tocsin_pager::Destination;
use tocsin_pager::destination::Webhook;
use tocsin_store::machine::machines_lock;
use tocsin_store::outbox::DeliveryState;
use tocsin_store::suppression::page_suppress;
use tonic::Code;

use crate::incidents::{Client, acknowledge, client_with, person};
use crate::receiver::Receiver;
use crate::stage::{Stage, eventually, impatient, page, webhook, with_stage};

const HOUR: Duration = Duration::from_hours(1);

fn noon() -> Clock {
    Clock::manual(Timestamp::parse("t", "2026-03-01T12:00:00Z").unwrap())
}

fn operator(stage: &Stage) -> Client {
    let ana = person(PersonRole::Operator, Scope::site(stage.sensor.site));
    client_with(stage, Some(ana), Config::default())
}

fn shelf(lasting: Duration) -> v1::SuppressMachineRequest {
    v1::SuppressMachineRequest {
        site: "north".into(),
        machine: "p-1".into(),
        kind: "shelved".into(),
        for_s: lasting.as_secs(),
        one_shot: false,
        reason: "waits for a part".into(),
    }
}

impl Stage {
    async fn shelve(&self, lasting: Duration) -> SuppressionId {
        let answer = operator(self).suppress_machine(shelf(lasting)).await.unwrap();
        SuppressionId(answer.into_inner().suppression.unwrap().suppression_id)
    }

    /// Keeps a page of an incident, as the fold does.
    async fn keep(&self, suppression: SuppressionId, incident: IncidentId, reason: PageReason) {
        let now = self.clock.now();
        let mut tx = self.store.begin().await.unwrap();
        machines_lock(&mut tx, &[self.sensor.machine]).await.unwrap();
        let kept = page(incident, reason, now);
        assert!(page_suppress(&mut tx, suppression, &kept, now).await.unwrap());
        assert!(!page_suppress(&mut tx, suppression, &kept, now).await.unwrap());
        tx.commit().await.unwrap();
    }

    /// The journal's entries of a kind about an incident.
    async fn journaled(&self, incident: IncidentId, kind: &str) -> usize {
        let journal = self.store.journal_by_incident(&Scope::All, incident, 10).await.unwrap();
        let of_kind = journal.events.iter().filter(|event| event.kind.as_str() == kind);
        of_kind.count()
    }
}

#[tokio::test]
async fn when_its_time_is_over_the_newest_page_that_was_kept_goes_out_once_whichever_pager_sees_it_first() {
    with_stage("shelf_over", noon(), |stage| async move {
        let receiver = Receiver::start([]).await;
        let pagers = [stage.pager(webhook(&receiver.url)), stage.pager(webhook(&receiver.url))];
        let incident = stage.open().await;
        stage
            .pages_when(incident, |pages| pages[0].state == DeliveryState::Delivered)
            .await;
        let first = stage.shelve(HOUR).await;
        stage.clock.advance(Duration::from_secs(10));
        stage.keep(first, incident, PageReason::LevelRose).await;
        // Renewed: nothing goes out in between.
        let second = stage.shelve(HOUR * 2).await;
        stage.clock.advance(HOUR);
        stage.keep(second, incident, PageReason::AnotherSensor).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(receiver.got().len(), 1);

        stage.clock.advance(HOUR);
        let pages = stage.pages_when(incident, |pages| pages.len() == 2).await;
        assert!(pages[1].page.payload_json.contains("another_sensor"), "{:?}", pages[1]);
        assert!(
            pages[1].page.payload_json.contains(r#""kept_by": {"by": "ana""#),
            "{:?}",
            pages[1]
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
        for pager in pagers {
            pager.stop().await;
        }
        assert_eq!(receiver.got().len(), 2);
        assert_eq!(stage.journaled(incident, "restored").await, 2, "renewed, then over");
        let all = v1::ListSuppressionsRequest::default();
        let listed = operator(&stage).list_suppressions(all).await.unwrap();
        let listed = listed.into_inner().suppressions;
        let ended: Vec<&str> = listed.iter().map(|one| one.ended_by.as_str()).collect();
        assert_eq!(ended, ["time", "renewed"]);
        let audit = stage.store.audit_list(None, 10).await.unwrap();
        let by_time: Vec<&str> = audit
            .iter()
            .filter(|entry| entry.actor == "time")
            .map(|entry| entry.action.as_str())
            .collect();
        assert_eq!(by_time, ["machine.restore"], "{audit:?}");
    })
    .await;
}

#[tokio::test]
async fn what_somebody_took_or_what_has_cleared_is_not_sent_when_the_machine_is_back() {
    for cleared in [false, true] {
        let name = if cleared { "kept_cleared" } else { "kept_taken" };
        with_stage(name, noon(), |stage| async move {
            let incident = stage.open().await;
            let shelf = stage.shelve(HOUR).await;
            stage.clock.advance(Duration::from_secs(10));
            stage.keep(shelf, incident, PageReason::LevelRose).await;
            if cleared {
                stage.clear(incident).await;
            } else {
                operator(&stage)
                    .acknowledge_incident(acknowledge(incident))
                    .await
                    .unwrap();
            }
            let back = v1::RestoreMachineRequest {
                site: "north".into(),
                machine: "p-1".into(),
            };
            let answer = operator(&stage)
                .restore_machine(back.clone())
                .await
                .unwrap()
                .into_inner();
            assert_eq!(answer.released_page_key, "");
            assert_eq!(answer.suppression.unwrap().ended_by, "ana");
            let kept = operator(&stage)
                .get_suppression(v1::GetSuppressionRequest {
                    suppression_id: shelf.0,
                })
                .await
                .unwrap()
                .into_inner();
            assert!(kept.pages.len() == 1 && kept.pages[0].released_at.is_none());
            let again = operator(&stage).restore_machine(back).await.unwrap_err();
            assert_eq!(again.code(), Code::FailedPrecondition);
        })
        .await;
    }
}

#[tokio::test]
async fn what_was_kept_and_taken_is_not_sent_after_something_newer_was() {
    with_stage("kept_overtaken", noon(), |stage| async move {
        let incident = stage.open().await;
        let first = stage.shelve(HOUR).await;
        stage.clock.advance(Duration::from_secs(10));
        stage.keep(first, incident, PageReason::LevelRose).await;
        let taken = acknowledge(incident);
        operator(&stage).acknowledge_incident(taken).await.unwrap();
        let back = v1::RestoreMachineRequest {
            site: "north".into(),
            machine: "p-1".into(),
        };
        operator(&stage).restore_machine(back.clone()).await.unwrap();
        // Another sensor: that is said, and nobody takes it.
        stage.clock.advance(Duration::from_secs(10));
        stage.untake(incident).await;
        stage.say_for(incident, PageReason::AnotherSensor).await;
        stage.shelve(HOUR).await;
        let answer = operator(&stage).restore_machine(back).await.unwrap().into_inner();
        assert_eq!(answer.released_page_key, "");
    })
    .await;
}

#[tokio::test]
async fn a_page_does_not_escalate_while_its_machine_is_shelved() {
    with_stage("shelf_escalates", noon(), |stage| async move {
        let (duty, boss) = (Receiver::start([]).await, Receiver::start([]).await);
        let hook = |name: &str, to: &Receiver| Destination::Webhook(Webhook::new(name, to.url.clone()));
        let config = Config {
            destinations: vec![hook("duty", &duty), hook("boss", &boss)],
            escalate_to: vec!["boss".to_owned()],
            escalate_after_ms: 60_000,
            ..impatient()
        };
        let pager = stage.pager(config);
        stage.open().await;
        stage.shelve(HOUR).await;
        stage.clock.advance(Duration::from_mins(30));
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(boss.got().len(), 0);
        stage.clock.advance(HOUR);
        eventually(|| async { (boss.got().len() == 1).then_some(()) }).await;
        pager.stop().await;
    })
    .await;
}

#[tokio::test]
async fn only_an_operator_of_the_site_shelves_and_bad_orders_name_their_field() {
    with_stage("shelf_rights", noon(), |stage| async move {
        let viewer = person(PersonRole::Viewer, Scope::All);
        let elsewhere = person(PersonRole::Operator, Scope::site(SiteId(99)));
        for (who, code) in [(viewer, Code::PermissionDenied), (elsewhere, Code::NotFound)] {
            let mut client = client_with(&stage, Some(who), Config::default());
            assert_eq!(client.suppress_machine(shelf(HOUR)).await.unwrap_err().code(), code);
        }
        let orders = [
            (shelf(HOUR * 25), "for_s"),
            (shelf(Duration::ZERO), "for_s"),
            (
                v1::SuppressMachineRequest {
                    kind: "muted".into(),
                    ..shelf(HOUR)
                },
                "kind",
            ),
            (
                v1::SuppressMachineRequest {
                    reason: "x".repeat(501),
                    ..shelf(HOUR)
                },
                "reason",
            ),
        ];
        for (order, field) in orders {
            let refused = operator(&stage).suppress_machine(order).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument);
            assert!(refused.message().starts_with(field), "{}", refused.message());
        }
    })
    .await;
}
