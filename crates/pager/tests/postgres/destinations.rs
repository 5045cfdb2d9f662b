//! Each kind of destination is told of an incident from its opening to its end, over real sockets.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tocsin_domain::{Clock, PageAction, Timestamp};
use tocsin_judge::PageReason;
use tocsin_pager::destination::email::Security;
use tocsin_pager::destination::{Email, PagerDuty, Slack, Webhook};
use tocsin_pager::{Config, Destination};
use tocsin_store::outbox::{AttemptOutcome, DeliveryState, PageDelivery};

use crate::receiver::{Manner, Receiver};
use crate::smtp::Relay;
use crate::stage::{Stage, impatient, with_stage};

fn only(destination: Destination) -> Config {
    Config {
        destinations: vec![destination],
        console_url: Some("https://tocsin.example.org".to_owned()),
        backoff_limit_ms: 20,
        ..impatient()
    }
}

/// Tells a destination of an incident from its opening over its acknowledgement to its end; the pages of it.
async fn told(stage: &Stage, destination: Destination) -> Vec<PageDelivery> {
    let pager = stage.pager(only(destination));
    let incident = stage.open().await;
    stage.say(incident, PageAction::Acknowledge).await;
    stage.clear(incident).await;
    let all =
        |pages: &[PageDelivery]| pages.len() == 3 && pages.iter().all(|page| page.state == DeliveryState::Delivered);
    let pages = stage.pages_when(incident, all).await;
    pager.stop().await;
    pages
}

#[tokio::test]
async fn a_webhook_with_a_shared_secret_can_tell_who_posted_what_and_when() {
    let clock = Clock::manual(Timestamp::parse("t", "2026-01-01T12:00:00Z").unwrap());
    with_stage("signed", clock, |stage| async move {
        let receiver = Receiver::start([]).await;
        let folder = tempfile::tempdir().unwrap();
        let secret_file = folder.path().join("secret");
        std::fs::write(&secret_file, "hush\n").unwrap();
        let webhook = Webhook {
            secret_file: Some(secret_file),
            ..Webhook::new("hook", receiver.url.clone())
        };
        told(&stage, Destination::Webhook(webhook)).await;
        let got = receiver.got();
        assert_eq!(got.len(), 3);
        for got in got {
            // As a receiver would, by the documentation.
            let header = got.signature.unwrap();
            let (time, signature) = header.split_once(',').unwrap();
            assert_eq!(time, "t=1767268800");
            let mut mac = Hmac::<Sha256>::new_from_slice(b"hush").unwrap();
            mac.update(b"1767268800.");
            mac.update(&got.raw);
            let signature = hex::decode(signature.strip_prefix("v1=").unwrap()).unwrap();
            mac.verify_slice(&signature).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn pager_duty_is_told_of_one_alert_that_opens_is_taken_and_ends() {
    with_stage("pager_duty", Clock::system(), |stage| async move {
        let receiver = Receiver::start([Manner::RetryAfter(429, "0"), Manner::Status(202)]).await;
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("key");
        std::fs::write(&key_file, "0123456789abcdef0123456789abcdef\n").unwrap();
        let pager_duty = PagerDuty {
            url: format!("{}/v2/enqueue", receiver.url).into(),
            ..PagerDuty::new("duty", key_file)
        };
        let pages = told(&stage, Destination::PagerDuty(pager_duty)).await;
        assert!(
            pages[0].attempts[0].answer.starts_with("429"),
            "{:?}",
            pages[0].attempts
        );
        let events: Vec<_> = receiver.got().into_iter().map(|got| got.body).collect();
        let actions: Vec<_> = events
            .iter()
            .map(|event| event["event_action"].as_str().unwrap())
            .collect();
        assert_eq!(actions, ["trigger", "trigger", "acknowledge", "resolve"]);
        for event in &events {
            assert_eq!(event["routing_key"], "0123456789abcdef0123456789abcdef");
            assert_eq!(event["dedup_key"], events[0]["dedup_key"]);
        }
        assert_eq!(events[0]["payload"]["severity"], "critical");
    })
    .await;
}

#[tokio::test]
async fn what_is_paged_again_opens_anew_at_pager_duty_for_an_acknowledged_incident_notifies_nobody_there() {
    with_stage("pager_duty_again", Clock::system(), |stage| async move {
        let receiver = Receiver::start([]).await;
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("key");
        std::fs::write(&key_file, "0123456789abcdef0123456789abcdef\n").unwrap();
        let pager_duty = PagerDuty {
            url: format!("{}/v2/enqueue", receiver.url).into(),
            ..PagerDuty::new("duty", key_file)
        };
        let pager = stage.pager(only(Destination::PagerDuty(pager_duty)));
        let incident = stage.open().await;
        stage.say(incident, PageAction::Acknowledge).await;
        stage.say_for(incident, PageReason::AnotherSensor).await;
        let all = |pages: &[PageDelivery]| {
            pages.len() == 3 && pages.iter().all(|page| page.state == DeliveryState::Delivered)
        };
        stage.pages_when(incident, all).await;
        pager.stop().await;
        let said: Vec<_> = receiver
            .got()
            .into_iter()
            .map(|got| (got.body["event_action"].clone(), got.body["dedup_key"].clone()))
            .collect();
        let key = said[0].1.clone();
        assert_eq!(
            said,
            ["trigger", "acknowledge", "resolve", "trigger"].map(|action| (action.into(), key.clone()))
        );
    })
    .await;
}

#[tokio::test]
async fn slack_is_told_in_text_and_blocks() {
    with_stage("slack", Clock::system(), |stage| async move {
        let receiver = Receiver::start([]).await;
        let slack = Slack::new("chat", format!("{}/services/T/B/x", receiver.url));
        told(&stage, Destination::Slack(slack)).await;
        let texts: Vec<_> = receiver
            .got()
            .into_iter()
            .map(|got| got.body["text"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(texts[0], "north/p-1 page: residual of drive-end at level 2.5");
        assert!(
            texts[1].ends_with("acknowledged") && texts[2].ends_with("cleared"),
            "{texts:?}"
        );
    })
    .await;
}

fn email(relay: &Relay, security: Security) -> Email {
    let with_tls = security != Security::None;
    let password_file = relay.folder.path().join("password");
    std::fs::write(&password_file, "hush\n").unwrap();
    Email {
        name: "mail".to_owned(),
        host: "localhost".to_owned(),
        port: Some(relay.port),
        security,
        ca_file: with_tls.then(|| relay.ca_file()),
        username: with_tls.then(|| "tocsin".to_owned()),
        password_file: with_tls.then_some(password_file),
        from: "Tocsin <tocsin@example.org>".to_owned(),
        to: vec!["duty@example.org".to_owned(), "second@example.org".to_owned()],
        routes: Vec::new(),
    }
}

#[tokio::test]
async fn mail_goes_over_starttls_signed_in_to_everybody_in_one_thread() {
    with_stage("mail", Clock::system(), |stage| async move {
        let relay = Relay::start([]).await;
        let pages = told(&stage, Destination::Email(email(&relay, Security::Starttls))).await;
        assert_eq!(pages[0].attempts[0].answer, "250 queued as 1");
        let mails = relay.mails();
        assert_eq!(mails.len(), 3);
        for ((mail, page), action) in mails.iter().zip(&pages).zip(["trigger", "acknowledge", "resolve"]) {
            assert!(
                mail.over_tls && mail.from.starts_with("MAIL FROM:<tocsin@example.org>"),
                "{mail:?}"
            );
            assert_eq!(mail.to, ["RCPT TO:<duty@example.org>", "RCPT TO:<second@example.org>"]);
            // \0tocsin\0hush
            assert_eq!(mail.auth.as_deref(), Some("AHRvY3NpbgBodXNo"));
            let id = format!("Message-ID: <{}.{action}@example.org>", page.page.page_key);
            assert!(mail.text.contains(&id), "{}", mail.text);
        }
    })
    .await;
}

#[tokio::test]
async fn no_mail_and_no_password_goes_to_a_relay_that_can_t_be_trusted() {
    with_stage("distrusted", Clock::system(), |stage| async move {
        let (relay, other) = (Relay::start([]).await, Relay::start([]).await);
        let wrong = Email {
            ca_file: Some(other.ca_file()),
            ..email(&relay, Security::Starttls)
        };
        let pager = stage.pager(only(Destination::Email(wrong)));
        let incident = stage.open().await;
        let pages = stage.pages_when(incident, |pages| pages[0].attempts.len() > 1).await;
        pager.stop().await;
        let first = &pages[0].attempts[0];
        assert_eq!(first.outcome, AttemptOutcome::Refused);
        assert!(first.answer.starts_with("not sent"), "{first:?}");
        assert!(relay.mails().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_mail_that_was_put_off_is_sent_again_and_one_without_an_answer_too_as_itself() {
    with_stage("deferred", Clock::system(), |stage| async move {
        let relay = Relay::start([Some("451 4.7.1 greylisted\r\n"), None]).await;
        let pages = told(&stage, Destination::Email(email(&relay, Security::None))).await;
        let outcomes: Vec<_> = pages[0].attempts.iter().map(|attempt| attempt.outcome).collect();
        let expected = [
            AttemptOutcome::Refused,
            AttemptOutcome::Unknown,
            AttemptOutcome::Delivered,
        ];
        assert_eq!(outcomes, expected, "{:?}", pages[0].attempts);
        let mails = relay.mails();
        assert!(!mails[0].over_tls && mails[0].auth.is_none());
        assert_eq!(
            (mails.len(), &mails[0].text, &mails[0].text),
            (5, &mails[1].text, &mails[2].text)
        );
    })
    .await;
}

#[tokio::test]
async fn a_mailbox_that_is_gone_keeps_nobody_else_s_mail_and_the_history_names_it() {
    with_stage("gone", Clock::system(), |stage| async move {
        let relay = Relay::start([]).await;
        let some = |to: &[&str]| Email {
            to: to.iter().map(|name| format!("{name}@example.org")).collect(),
            ..email(&relay, Security::None)
        };
        let pages = told(&stage, Destination::Email(some(&["gone", "duty"]))).await;
        let attempts = &pages[0].attempts;
        assert_eq!(
            (attempts.len(), attempts[0].outcome),
            (1, AttemptOutcome::Delivered),
            "{attempts:?}"
        );
        let answer = &attempts[0].answer;
        assert!(
            answer.starts_with("250 queued as 1, but not for gone@example.org: permanent error (550)"),
            "{answer}"
        );
        assert_eq!(relay.mails()[0].to, ["RCPT TO:<duty@example.org>"]);

        let taken = relay.mails().len();
        let pager = stage.pager(only(Destination::Email(some(&["gone"]))));
        let incident = stage.open().await;
        let pages = stage.pages_when(incident, |pages| pages[0].attempts.len() > 1).await;
        pager.stop().await;
        assert_eq!(pages[0].attempts[0].outcome, AttemptOutcome::Refused);
        assert_eq!(relay.mails().len(), taken);
    })
    .await;
}

#[tokio::test]
async fn a_mailbox_that_is_put_off_gets_its_mail_later_alone_and_the_others_get_no_second_one() {
    with_stage("grey", Clock::system(), |stage| async move {
        let relay = Relay::start([]).await;
        let both = Email {
            to: vec!["duty@example.org".to_owned(), "grey@example.org".to_owned()],
            ..email(&relay, Security::None)
        };
        let pager = stage.pager(only(Destination::Email(both)));
        let incident = stage.open().await;
        let is_done = |pages: &[tocsin_store::outbox::PageDelivery]| pages[0].state == DeliveryState::Delivered;
        let pages = stage.pages_when(incident, is_done).await;
        pager.stop().await;
        let answers: Vec<&str> = pages[0].attempts.iter().map(|one| one.answer.as_str()).collect();
        assert_eq!(answers.len(), 2, "{answers:?}");
        assert!(
            answers[0].starts_with("250 queued as 1, but not for grey@example.org: transient error (451)"),
            "{answers:?}"
        );
        let to: Vec<Vec<String>> = relay.mails().into_iter().map(|mail| mail.to).collect();
        assert_eq!(to, [["RCPT TO:<duty@example.org>"], ["RCPT TO:<grey@example.org>"]]);
        let mails = relay.mails();
        assert_eq!(mails[0].text, mails[1].text, "the same mail, under the same Message-ID");
    })
    .await;
}
