//! A destination that does not answer is left alone as a whole, and its pages keep their attempts.

use std::time::Duration;

use tocsin_domain::{Clock, Timestamp};
use tocsin_pager::Config;
use tocsin_store::outbox::{AttemptOutcome, DeliveryState};

use crate::receiver::{Manner, Receiver};
use crate::stage::{Stage, eventually, webhook, with_stage};

const PAGES: usize = 8;

fn config(receiver: &Receiver) -> Config {
    Config {
        concurrency: 1,
        circuit_after_failures: 3,
        backoff_first_ms: 1_000,
        ..webhook(&receiver.url)
    }
}

fn noon() -> Timestamp {
    Timestamp::parse("t", "2026-03-01T12:00:00Z").unwrap()
}

/// The outcomes of all attempts, once there are so many.
async fn attempts(stage: &Stage, incident: tocsin_domain::IncidentId, count: usize) -> Vec<AttemptOutcome> {
    let enough = |pages: &[tocsin_store::outbox::PageDelivery]| {
        pages.iter().map(|page| page.attempts.len()).sum::<usize>() >= count
    };
    let pages = stage.pages_when(incident, enough).await;
    let attempts = pages.iter().flat_map(|page| &page.attempts);
    attempts.map(|attempt| attempt.outcome).collect()
}

async fn posts(receiver: &Receiver, count: usize) {
    eventually(|| async { (receiver.got().len() >= count).then_some(()) }).await;
    // Nothing can be waited for that must not happen: several rounds go by.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(receiver.got().len(), count);
}

#[tokio::test]
async fn after_failures_in_a_row_pages_wait_unspent_until_a_probe_is_answered() {
    with_stage("circuit", Clock::manual(noon()), |stage| async move {
        let receiver = Receiver::start([]).await;
        receiver.always(Some(Manner::Status(503)));
        let mut incidents = Vec::new();
        for _ in 0..PAGES {
            let incident = stage.open().await;
            stage.clear(incident).await;
            incidents.push(incident);
        }
        let pager = stage.pager(config(&receiver));
        posts(&receiver, 3).await;
        // A pause later one probes, and no more.
        stage.clock.advance(Duration::from_secs(1));
        posts(&receiver, 4).await;
        receiver.always(None);
        stage.clock.advance(Duration::from_secs(5));
        let mut refused = 0;
        for incident in incidents {
            let pages = stage
                .pages_when(incident, |pages| {
                    pages.len() == 2 && pages.iter().all(|page| page.state == DeliveryState::Delivered)
                })
                .await;
            let outcomes = pages
                .iter()
                .flat_map(|page| &page.attempts)
                .map(|attempt| attempt.outcome);
            refused += outcomes.filter(|outcome| *outcome == AttemptOutcome::Refused).count();
        }
        pager.stop().await;
        assert_eq!(refused, 4);
        assert_eq!(receiver.got().len(), 4 + 2 * PAGES);
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_gets_it_from_every_page_up_to_the_limit() {
    with_stage("held", Clock::manual(noon()), |stage| async move {
        let receiver = Receiver::start([
            Manner::RetryAfter(429, "Sun, 01 Mar 2026 12:01:00 GMT"),
            Manner::RetryAfter(503, "86400"),
        ])
        .await;
        let pager = stage.pager(Config {
            backoff_limit_ms: 120_000,
            ..config(&receiver)
        });
        let first = stage.open().await;
        stage.clear(first).await;
        assert_eq!(attempts(&stage, first, 1).await.len(), 1);
        let second = stage.open().await;
        posts(&receiver, 1).await;
        stage.clock.advance(Duration::from_secs(59));
        posts(&receiver, 1).await;
        stage.clock.advance(Duration::from_secs(1));
        posts(&receiver, 2).await;
        stage.clock.advance(Duration::from_secs(119));
        posts(&receiver, 2).await;
        stage.clock.advance(Duration::from_secs(1));
        for (incident, count) in [(first, 2), (second, 1)] {
            let all = |pages: &[tocsin_store::outbox::PageDelivery]| {
                pages.len() == count && pages.iter().all(|page| page.state == DeliveryState::Delivered)
            };
            stage.pages_when(incident, all).await;
        }
        pager.stop().await;
    })
    .await;
}
