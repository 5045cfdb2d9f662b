//! What was given up is found, and sent again by a person: in order, with attempts of its own, and on record.

use tocsin_contracts::incidents::v1;
use tocsin_domain::{Clock, IncidentId, PersonRole, Scope, SiteId};
use tocsin_pager::Config;
use tocsin_store::outbox::{DeliveryState, PageDelivery};
use tonic::Code;

use crate::incidents::{Client, client_with, person};
use crate::receiver::{Manner, Receiver};
use crate::stage::{Stage, webhook, with_stage};

fn config(receiver: &Receiver) -> Config {
    Config {
        max_rejections: 2,
        backoff_limit_ms: 20,
        ..webhook(&receiver.url)
    }
}

fn all(pages: &[PageDelivery], state: DeliveryState) -> bool {
    pages.len() == 2 && pages.iter().all(|page| page.state == state)
}

/// An incident whose opening was given up, and whose end was delivered.
async fn given_up(stage: &Stage, receiver: &Receiver) -> IncidentId {
    let incident = stage.open().await;
    stage.clear(incident).await;
    let pager = stage.pager(config(receiver));
    let ended = |pages: &[PageDelivery]| pages.iter().all(|page| page.state != DeliveryState::Waiting);
    let pages = stage.pages_when(incident, ended).await;
    pager.stop().await;
    let states: Vec<_> = pages.iter().map(|page| page.state).collect();
    assert_eq!(states, [DeliveryState::Dead, DeliveryState::Delivered]);
    incident
}

async fn dead(client: &mut Client) -> Vec<v1::Delivery> {
    let request = v1::ListDeliveriesRequest {
        state: "dead".to_owned(),
        ..Default::default()
    };
    client.list_deliveries(request).await.unwrap().into_inner().deliveries
}

#[tokio::test]
async fn what_was_given_up_is_sent_again_and_after_it_what_followed() {
    with_stage("resend", Clock::system(), |stage| async move {
        let receiver = Receiver::start([Manner::Status(400); 2]).await;
        let incident = given_up(&stage, &receiver).await;
        let site = Scope::site(stage.sensor.site);
        let mut client = client_with(&stage, Some(person(PersonRole::Operator, site)), config(&receiver));
        let found = dead(&mut client).await;
        assert_eq!(found.len(), 1);
        let delivery = &found[0];
        assert_eq!(
            (delivery.incident_id, delivery.action.as_str(), delivery.attempts),
            (incident.0, "trigger", 2)
        );
        assert!(delivery.last_attempt.as_ref().unwrap().answer.starts_with("400"));
        let request = v1::ResendDeliveryRequest {
            delivery_id: delivery.delivery_id,
        };
        let answer = client.resend_delivery(request).await.unwrap().into_inner();
        assert_eq!(
            (answer.delivery.unwrap().state.as_str(), answer.deliveries),
            ("waiting", 2)
        );
        let again = client.resend_delivery(request).await.unwrap_err();
        assert_eq!(again.code(), Code::FailedPrecondition, "{again}");

        // It has attempts of its own again: one refusal does not end it.
        receiver.next(Manner::Status(400));
        let pager = stage.pager(config(&receiver));
        let pages = stage
            .pages_when(incident, |pages| all(pages, DeliveryState::Delivered))
            .await;
        pager.stop().await;
        let attempts: Vec<_> = pages.iter().map(|page| page.attempts.len()).collect();
        assert_eq!(attempts, [4, 2]);
        let actions: Vec<_> = receiver
            .got()
            .into_iter()
            .filter(|got| got.accepted)
            .map(|got| got.body["action"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(actions, ["resolve", "trigger", "resolve"]);
        // To a receiver that drops repeats by their key, what is sent again is new; its own repeats are not.
        let keys: Vec<_> = receiver.got().into_iter().map(|got| got.key).collect();
        let [first, _, end, again, repeated, end_again] = &keys[..] else {
            panic!("{keys:?}")
        };
        assert_eq!(*again, format!("{first}:resent-2"));
        assert_eq!(repeated, again);
        assert_eq!(*end_again, format!("{end}:resent-1"));
        let audit = stage.store.audit_list(None, 9).await.unwrap();
        let by_ana = audit.iter().filter(|entry| entry.actor == "ana");
        let actions: Vec<_> = by_ana.map(|entry| entry.action.as_str()).collect();
        assert_eq!(actions, ["page.resend"]);
        assert!(audit[0].detail_json.contains("tocsin-incident-"), "{:?}", audit[0]);
        assert_eq!(dead(&mut client).await, []);
    })
    .await;
}

#[tokio::test]
async fn who_may_not_send_again_is_told_so_and_nothing_waits_for_a_destination_that_is_gone() {
    with_stage("resend_who", Clock::system(), |stage| async move {
        let receiver = Receiver::start([Manner::Status(400); 2]).await;
        given_up(&stage, &receiver).await;
        let mut viewer = client_with(&stage, Some(person(PersonRole::Viewer, Scope::All)), config(&receiver));
        let request = v1::ResendDeliveryRequest {
            delivery_id: dead(&mut viewer).await[0].delivery_id,
        };
        assert_eq!(
            viewer.resend_delivery(request).await.unwrap_err().code(),
            Code::PermissionDenied
        );
        let elsewhere = Scope::site(SiteId(stage.sensor.site.0 + 1));
        let mut elsewhere = client_with(&stage, Some(person(PersonRole::Operator, elsewhere)), config(&receiver));
        assert_eq!(dead(&mut elsewhere).await, []);
        assert_eq!(
            elsewhere.resend_delivery(request).await.unwrap_err().code(),
            Code::NotFound
        );
        let operator = Some(person(PersonRole::Operator, Scope::All));
        let mut gone = client_with(&stage, operator.clone(), Config::default());
        let refused = gone.resend_delivery(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("\"hook\""), "{refused}");
        let mut nobody = client_with(&stage, None, config(&receiver));
        assert_eq!(
            nobody.resend_delivery(request).await.unwrap_err().code(),
            Code::Unauthenticated
        );
    })
    .await;
}
