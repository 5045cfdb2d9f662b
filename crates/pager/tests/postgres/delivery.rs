//! Pages reach webhooks at least once, under one key, in order, and the history tells how.

use std::time::Duration;

use tocsin_domain::{Clock, Timestamp};
use tocsin_pager::destination::Webhook;
use tocsin_pager::{Config, Destination};
use tocsin_store::outbox::{AttemptOutcome, DeliveryState, PageDelivery};

use crate::receiver::{Manner, Receiver};
use crate::stage::{eventually, impatient, webhook, with_stage};

fn noon() -> Timestamp {
    Timestamp::parse("t", "2026-03-01T12:00:00Z").unwrap()
}

fn outcomes(page: &PageDelivery) -> Vec<AttemptOutcome> {
    page.attempts.iter().map(|attempt| attempt.outcome).collect()
}

fn delivered(pages: &[PageDelivery]) -> bool {
    pages.iter().all(|page| page.state == DeliveryState::Delivered)
}

#[tokio::test]
async fn a_page_is_delivered_once_and_what_stops_loses_nothing() {
    with_stage("once", Clock::system(), |stage| async move {
        let receiver = Receiver::start([]).await;
        let pager = stage.pager(webhook(&receiver.url));
        let incident = stage.open().await;
        stage.pages_when(incident, delivered).await;
        pager.stop().await;
        let again = stage.pager(webhook(&receiver.url));
        stage.clear(incident).await;
        let pages = stage
            .pages_when(incident, |pages| pages.len() == 2 && delivered(pages))
            .await;
        again.stop().await;
        assert_eq!(outcomes(&pages[0]), [AttemptOutcome::Delivered]);
        assert_eq!(pages[0].attempts[0].answer, "200 OK noted");
        let keys: Vec<String> = receiver.got().into_iter().map(|got| got.key).collect();
        let [key, over] = [0, 1].map(|page: usize| &pages[page].page.page_key);
        assert_eq!(keys, [format!("{key}:trigger"), format!("{over}:resolve")]);
        let body = &receiver.got()[0].body;
        assert_eq!(
            (&body["page_key"], &body["action"]),
            (&key.as_str().into(), &"trigger".into())
        );
    })
    .await;
}

#[tokio::test]
async fn a_refusal_for_now_is_followed_by_a_repeat_under_the_same_key() {
    with_stage("refusal", Clock::system(), |stage| async move {
        let receiver = Receiver::start([Manner::Status(503), Manner::Status(500)]).await;
        let pager = stage.pager(webhook(&receiver.url));
        let incident = stage.open().await;
        let pages = stage.pages_when(incident, delivered).await;
        pager.stop().await;
        let expected = [
            AttemptOutcome::Refused,
            AttemptOutcome::Refused,
            AttemptOutcome::Delivered,
        ];
        assert_eq!(outcomes(&pages[0]), expected);
        assert!(
            pages[0].attempts[0].answer.starts_with("503"),
            "{:?}",
            pages[0].attempts
        );
        let got = receiver.got();
        assert!(
            got.iter()
                .all(|other| other.key == got[0].key && other.body == got[0].body)
        );
    })
    .await;
}

#[tokio::test]
async fn the_wait_a_receiver_asks_for_is_kept() {
    let clock = Clock::manual(noon());
    with_stage("wait", clock, |stage| async move {
        let receiver = Receiver::start([Manner::RetryAfter(429, "120")]).await;
        let pager = stage.pager(webhook(&receiver.url));
        let incident = stage.open().await;
        let refused = |pages: &[PageDelivery]| outcomes(&pages[0]) == [AttemptOutcome::Refused];
        stage.pages_when(incident, refused).await;
        let almost = noon() + Duration::from_mins(2) - Duration::from_micros(1);
        let early = stage
            .store
            .deliveries_lease("hook", almost, Duration::from_secs(1), 9)
            .await
            .unwrap();
        assert_eq!(early, []);
        stage.clock.advance(Duration::from_mins(2));
        stage.pages_when(incident, delivered).await;
        pager.stop().await;
        assert_eq!(receiver.got().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn no_answer_is_an_unknown_outcome_and_repeated() {
    with_stage("unknown", Clock::system(), |stage| async move {
        let receiver = Receiver::start([Manner::Hang]).await;
        let pager = stage.pager(webhook(&receiver.url));
        let incident = stage.open().await;
        let pages = stage.pages_when(incident, delivered).await;
        pager.stop().await;
        assert_eq!(
            outcomes(&pages[0]),
            [AttemptOutcome::Unknown, AttemptOutcome::Delivered]
        );
        let got = receiver.got();
        assert_eq!((got.len(), &got[0].key), (2, &got[1].key));
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_was_never_reached_refused() {
    with_stage("unreached", Clock::system(), |stage| async move {
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let config = Config {
            max_attempts: 2,
            ..webhook(&format!("http://{free}/?hush"))
        };
        let incident = stage.open().await;
        stage.clear(incident).await;
        let pager = stage.pager(config);
        let pages = stage
            .pages_when(incident, |pages| pages[0].state == DeliveryState::Dead)
            .await;
        pager.stop().await;
        assert_eq!(outcomes(&pages[0]), [AttemptOutcome::Refused, AttemptOutcome::Refused]);
        let answer = &pages[0].attempts[0].answer;
        assert!(
            answer.starts_with("not reached") && !answer.contains("hush"),
            "{answer}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_page_of_what_is_over_that_the_receiver_finds_no_good_dies_and_holds_up_nothing_after_it() {
    with_stage("dead", Clock::system(), |stage| async move {
        let receiver = Receiver::start([Manner::Status(400); 3]).await;
        let incident = stage.open().await;
        stage.clear(incident).await;
        let pager = stage.pager(Config {
            max_rejections: 3,
            ..webhook(&receiver.url)
        });
        let ended = |pages: &[PageDelivery]| pages.iter().all(|page| page.state != DeliveryState::Waiting);
        let pages = stage.pages_when(incident, ended).await;
        pager.stop().await;
        assert_eq!((pages[0].state, pages[0].attempts.len()), (DeliveryState::Dead, 3));
        assert_eq!(pages[1].state, DeliveryState::Delivered);
    })
    .await;
}

#[tokio::test]
async fn what_opened_an_open_incident_outlives_every_rejection() {
    with_stage("persists", Clock::system(), |stage| async move {
        let receiver = Receiver::start([]).await;
        receiver.always(Some(Manner::Status(404)));
        let pager = stage.pager(Config {
            max_rejections: 2,
            backoff_limit_ms: 20,
            ..webhook(&receiver.url)
        });
        let incident = stage.open().await;
        let pages = stage.pages_when(incident, |pages| pages[0].attempts.len() > 4).await;
        assert_eq!(pages[0].state, DeliveryState::Waiting);
        let said = |number: usize| pages[0].attempts[number].answer.contains("tried on");
        assert!(!said(0) && said(1) && said(2), "{:?}", pages[0].attempts);
        receiver.always(None);
        stage.pages_when(incident, delivered).await;
        pager.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_opened_an_incident_that_is_over_is_given_up() {
    with_stage("over", Clock::system(), |stage| async move {
        let receiver = Receiver::start([]).await;
        receiver.always(Some(Manner::Status(404)));
        let pager = stage.pager(Config {
            max_rejections: 2,
            backoff_limit_ms: 20,
            ..webhook(&receiver.url)
        });
        let incident = stage.open().await;
        stage.pages_when(incident, |pages| pages[0].attempts.len() > 4).await;
        stage.clear(incident).await;
        let dead =
            |pages: &[PageDelivery]| pages.len() == 2 && pages.iter().all(|page| page.state == DeliveryState::Dead);
        stage.pages_when(incident, dead).await;
        pager.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_token_that_was_rotated_is_used_by_the_next_attempt() {
    with_stage("token", Clock::system(), |stage| async move {
        let receiver = Receiver::start([]).await;
        receiver.always(Some(Manner::Status(401)));
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        std::fs::write(&token_file, "old\n").unwrap();
        let destination = Destination::Webhook(Webhook {
            token_file: Some(token_file.clone()),
            ..Webhook::new("hook", receiver.url.clone())
        });
        let pager = stage.pager(Config {
            destinations: vec![destination],
            backoff_limit_ms: 20,
            ..impatient()
        });
        let incident = stage.open().await;
        stage.pages_when(incident, |pages| !pages[0].attempts.is_empty()).await;
        // Gone for a moment, as a rotation may have it: nothing is sent then, and nothing given up.
        std::fs::remove_file(&token_file).unwrap();
        let unsent = |pages: &[PageDelivery]| {
            let mut answers = pages[0].attempts.iter().map(|attempt| &attempt.answer);
            answers.any(|answer| answer.starts_with("not sent: pager.destinations.token_file"))
        };
        stage.pages_when(incident, unsent).await;
        std::fs::write(&token_file, "new\n").unwrap();
        receiver.always(None);
        stage.pages_when(incident, delivered).await;
        pager.stop().await;
        let sent: Vec<_> = receiver
            .got()
            .into_iter()
            .map(|got| got.authorization.unwrap())
            .collect();
        assert_eq!(
            (sent[0].as_str(), sent[sent.len() - 1].as_str()),
            ("Bearer old", "Bearer new")
        );
    })
    .await;
}

#[tokio::test]
async fn a_pager_that_was_gone_for_long_tells_of_what_is_open_and_of_nothing_that_is_over() {
    with_stage("gone", Clock::manual(noon()), |stage| async move {
        let receiver = Receiver::start([]).await;
        let over = stage.open().await;
        stage.clear(over).await;
        let open = stage.open().await;
        stage.clock.advance(Duration::from_hours(25));
        let pager = stage.pager(webhook(&receiver.url));
        stage.pages_when(open, delivered).await;
        pager.stop().await;
        let keys: Vec<String> = receiver.got().into_iter().map(|got| got.key).collect();
        let [key] = keys.as_slice() else {
            panic!("one page: {keys:?}")
        };
        assert!(
            key.starts_with(&format!("tocsin-incident-{open}-opened-")) && key.ends_with(":trigger"),
            "{key}"
        );
        let unowed = stage.pages_when(over, |_| true).await;
        assert!(unowed.len() == 2 && unowed.iter().all(|page| page.destination.is_none()));
    })
    .await;
}

#[tokio::test]
async fn a_resolve_never_overtakes_its_trigger() {
    with_stage("order", Clock::system(), |stage| async move {
        let receiver = Receiver::start([Manner::Status(503), Manner::Hang, Manner::Status(503)]).await;
        let incident = stage.open().await;
        stage.clear(incident).await;
        let pager = stage.pager(webhook(&receiver.url));
        stage.pages_when(incident, delivered).await;
        pager.stop().await;
        let actions: Vec<_> = receiver
            .got()
            .into_iter()
            .map(|got| (got.body["action"].clone(), got.accepted))
            .collect();
        let said: Vec<_> = actions
            .iter()
            .map(|(action, accepted)| (action.as_str().unwrap(), *accepted))
            .collect();
        let (refused, taken) = (("trigger", false), ("trigger", true));
        assert_eq!(said, [refused, refused, refused, taken, ("resolve", true)]);
    })
    .await;
}

#[tokio::test]
async fn a_pager_killed_between_sending_and_recording_leaves_the_truth_and_the_next_one_repeats() {
    let clock = Clock::manual(noon());
    with_stage("killed", clock, |stage| async move {
        let receiver = Receiver::start([Manner::Hang]).await;
        let patient = Config {
            request_timeout_ms: 60_000,
            lease_ms: 90_000,
            ..webhook(&receiver.url)
        };
        let first = stage.pager(patient.clone());
        let incident = stage.open().await;
        eventually(|| async { (receiver.got().len() == 1).then_some(()) }).await;
        first.kill().await;
        let second = stage.pager(patient);
        stage.clock.advance(Duration::from_secs(90));
        let pages = stage.pages_when(incident, delivered).await;
        second.stop().await;
        assert_eq!(
            outcomes(&pages[0]),
            [AttemptOutcome::Unknown, AttemptOutcome::Delivered]
        );
        let got = receiver.got();
        assert_eq!((got.len(), &got[0].key), (2, &got[1].key));
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_no_other() {
    with_stage("slow", Clock::system(), |stage| async move {
        let (slow, fast) = (Receiver::start([]).await, Receiver::start([]).await);
        slow.always(Some(Manner::Hang));
        let hook = |name: &str, receiver: &Receiver| Destination::Webhook(Webhook::new(name, receiver.url.clone()));
        let destinations = vec![hook("slow", &slow), hook("fast", &fast)];
        let config = Config {
            destinations,
            concurrency: 1,
            request_timeout_ms: 600_000,
            lease_ms: 700_000,
            ..impatient()
        };
        let pager = stage.pager(config);
        for _ in 0..5 {
            let incident = stage.open().await;
            stage.clear(incident).await;
        }
        eventually(|| async { (fast.got().len() == 10).then_some(()) }).await;
        assert_eq!(slow.got().len(), 1);
        pager.kill().await;
    })
    .await;
}
