use std::collections::HashSet;
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use tocsin_contracts::ingest::v1::ingest_service_client::IngestServiceClient;
use tocsin_contracts::ingest::v1::publish_request::Message;
use tocsin_contracts::ingest::v1::publish_response::Result as Answer;
use tocsin_contracts::ingest::v1::{
    Batch, Condition, PublishRequest, PublishResponse, RefusalCode, RejectionCode, StreamClock, StreamHeader,
};
use tocsin_transport::{Channel, retry};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::fixture::{self, FakeEnsemble, Tokens, batch, message, reading};
use crate::{Config, MAX_BATCH_READINGS};

/// A gateway's end of a stream.
struct Stream {
    send: mpsc::Sender<PublishRequest>,
    answers: Streaming<PublishResponse>,
}

impl Stream {
    async fn open(channel: Channel) -> Result<Self, Status> {
        let (send, requests) = mpsc::channel(64);
        let answers = IngestServiceClient::new(channel)
            .publish(ReceiverStream::new(requests))
            .await?;
        Ok(Self {
            send,
            answers: answers.into_inner(),
        })
    }

    /// To a new server before `ensembles`, with this token.
    async fn to(ensembles: &[&FakeEnsemble], config: &Config, token: &str) -> Self {
        let ingest = fixture::ingest(config, ensembles.iter().map(|ensemble| ensemble.channel()));
        let stack = fixture::server(&ingest, &Tokens::default())
            .assemble()
            .expect("a whole server");
        let channel = Channel::in_process(stack).with_token(&fixture::token(token));
        Self::open(channel).await.expect("the stream opens")
    }

    async fn send(&self, request: PublishRequest) {
        self.send.send(request).await.expect("the stream is open");
    }

    async fn next(&mut self) -> PublishResponse {
        self.answers.message().await.expect("no error").expect("an answer")
    }

    async fn ends_with(&mut self) -> Status {
        self.answers.message().await.expect_err("the stream ends with a status")
    }
}

fn header(clock: StreamClock, historical: bool) -> PublishRequest {
    let clock = clock.into();
    message(Message::Header(StreamHeader { clock, historical }))
}

fn stored(answer: &PublishResponse) -> u32 {
    match &answer.result {
        Some(Answer::Ack(ack)) => ack.stored,
        other => panic!("not an ack: {other:?}"),
    }
}

fn refused(answer: &PublishResponse) -> (RefusalCode, u32) {
    match &answer.result {
        Some(Answer::Refusal(refusal)) => (refusal.code(), refusal.retry_after_ms),
        other => panic!("not a refusal: {other:?}"),
    }
}

#[tokio::test]
async fn no_batch_waits_for_the_answer_of_another() {
    let ensemble = FakeEnsemble::new();
    ensemble.hold(0);
    let mut stream = Stream::to(&[&ensemble], &Config::default(), "gateway").await;
    for machine in 0..3 {
        stream.send(batch(100 + machine as u64, machine, 2)).await;
    }
    ensemble.called(3).await;
    let mut quick = [stream.next().await, stream.next().await];
    quick.sort_by_key(|answer| answer.batch_id);
    assert_eq!(quick.each_ref().map(|answer| answer.batch_id), [101, 102]);
    assert_eq!(quick.each_ref().map(stored), [2, 2]);
    ensemble.let_go();
    assert_eq!(stream.next().await.batch_id, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_never_has_two_batches_in_flight_on_a_stream() {
    let ensemble = FakeEnsemble::new();
    let mut stream = Stream::to(&[&ensemble], &Config::default(), "gateway").await;
    let send = stream.send.clone();
    let sender = tokio::spawn(async move {
        for batch_id in 0..300 {
            let request = batch(batch_id, (batch_id * 7 % 4) as i32, 3);
            send.send(request).await.expect("the stream is open");
        }
    });
    let mut answered = HashSet::new();
    for _ in 0..300 {
        let answer = stream.next().await;
        assert_eq!(stored(&answer), 3);
        answered.insert(answer.batch_id);
    }
    assert_eq!(answered, (0..300).collect());
    sender.await.expect("all sent");
    assert!(!ensemble.overlapped());
}

#[tokio::test]
async fn a_batch_of_a_busy_machine_waits_for_it() {
    let ensemble = FakeEnsemble::new();
    ensemble.hold(0);
    let mut stream = Stream::to(&[&ensemble], &Config::default(), "gateway").await;
    stream.send(batch(1, 0, 1)).await;
    ensemble.called(1).await;
    stream.send(batch(2, 0, 1)).await;
    // It has every chance to come, and must not.
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ensemble.called(1).await.len(), 1);
    ensemble.let_go();
    assert_eq!(stored(&stream.next().await), 1);
    assert_eq!(stored(&stream.next().await), 1);
}

#[tokio::test]
async fn batches_of_other_machines_go_on_while_some_wait_for_a_busy_one() {
    let ensemble = FakeEnsemble::new();
    ensemble.hold(0);
    let mut stream = Stream::to(&[&ensemble], &Config::default(), "gateway").await;
    for (batch_id, machine) in [(1, 0), (2, 0), (3, 0), (4, 1), (5, 2)] {
        stream.send(batch(batch_id, machine, 1)).await;
    }
    let mut others = [stream.next().await.batch_id, stream.next().await.batch_id];
    others.sort_unstable();
    assert_eq!(others, [4, 5]);
    ensemble.let_go();
    for batch_id in 1..=3 {
        assert_eq!(stream.next().await.batch_id, batch_id, "a machine's keep their order");
    }
}

#[tokio::test]
async fn reading_pauses_when_as_many_batches_wait_as_may_be_in_flight() {
    let ensemble = FakeEnsemble::new();
    ensemble.hold(0);
    let config = Config {
        in_flight_batches: NonZeroUsize::new(2).expect("not 0"),
        ..Config::default()
    };
    let mut stream = Stream::to(&[&ensemble], &config, "gateway").await;
    for (batch_id, machine) in [(1, 0), (2, 0), (3, 0), (4, 1)] {
        stream.send(batch(batch_id, machine, 1)).await;
    }
    // The last has every chance to come, and must not.
    ensemble.called(1).await;
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ensemble.called(1).await.len(), 1);
    ensemble.let_go();
    let mut answered = HashSet::new();
    for _ in 0..4 {
        answered.insert(stream.next().await.batch_id);
    }
    assert_eq!(answered, (1..=4).collect());
}

#[tokio::test]
async fn each_outcome_has_its_place_in_the_ack() {
    let ensemble = FakeEnsemble::new();
    let mut stream = Stream::to(&[&ensemble], &Config::default(), "gateway").await;
    let with_rpm = |rpm| {
        let condition = Some(Condition {
            rpm: Some(rpm),
            load: None,
            ..Condition::default()
        });
        // Older with every reading: the ensemble sees them in capture order, the ack speaks of the order sent.
        let ago = Duration::from_secs(100 + rpm as u64);
        tocsin_contracts::ingest::v1::Reading {
            condition,
            ..reading("m1/s0", ago)
        }
    };
    let mut readings: Vec<_> = [0.0, 1.0, 2.0, 3.0].map(with_rpm).into();
    readings.push(reading("m0/gone", Duration::ZERO));
    stream
        .send(message(Message::Batch(Batch { batch_id: 9, readings })))
        .await;
    let Some(Answer::Ack(ack)) = stream.next().await.result else {
        panic!("not an ack");
    };
    assert_eq!((ack.stored, ack.duplicates), (1, 1));
    let rejections: Vec<_> = ack.rejections.iter().map(|r| (r.index, r.code())).collect();
    use RejectionCode::{Conflict, NotStored, UnknownSensor};
    assert_eq!(rejections, [(2, Conflict), (3, NotStored), (4, UnknownSensor)]);
    assert_eq!(ack.rejections[1].reason, "disk full");
}

#[tokio::test]
async fn what_a_stream_declares_goes_along_and_needs_its_grant() {
    let ensemble = FakeEnsemble::new();
    let mut stream = Stream::to(&[&ensemble], &Config::default(), "privileged").await;
    stream.send(header(StreamClock::Capture, true)).await;
    stream.send(batch(1, 0, 1)).await;
    stream.next().await;
    let call = &ensemble.called(1).await[0];
    assert!(call.clock_is_capture && call.historical);
    assert_eq!(call.received_at_us, fixture::now().as_micros());
    // A header in the middle would change what was sent before.
    stream.send(header(StreamClock::Wall, false)).await;
    let status = stream.ends_with().await;
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "header: only the first message may be one")
    );

    for (request, grant) in [
        (header(StreamClock::Capture, false), "may_replay"),
        (header(StreamClock::Wall, true), "may_send_historical"),
    ] {
        let mut stream = Stream::to(&[&ensemble], &Config::default(), "gateway").await;
        stream.send(request).await;
        let status = stream.ends_with().await;
        assert_eq!(status.code(), Code::PermissionDenied);
        assert!(status.message().contains(grant), "{status}");
    }
}

#[tokio::test]
async fn only_a_gateway_may_publish() {
    let ensemble = FakeEnsemble::new();
    let ingest = fixture::ingest(&Config::default(), [ensemble.channel()]);
    let stack = fixture::server(&ingest, &Tokens::default())
        .assemble()
        .expect("a whole server");
    let open = |token| Stream::open(Channel::in_process(stack.clone()).with_token(&fixture::token(token)));
    assert_eq!(
        open("service").await.err().expect("refused").code(),
        Code::PermissionDenied
    );
    assert_eq!(
        open("stranger").await.err().expect("refused").code(),
        Code::Unauthenticated
    );
}

#[tokio::test]
async fn a_failed_call_goes_to_another_replica_first() {
    let (down, up) = (FakeEnsemble::new(), FakeEnsemble::new());
    down.fail(Status::unavailable("down"));
    let mut stream = Stream::to(&[&down, &up], &Config::default(), "gateway").await;
    for batch_id in 0..4 {
        stream.send(batch(batch_id, 0, 1)).await;
        assert_eq!(stored(&stream.next().await), 1);
    }
    assert_eq!(up.called(4).await.len(), 4);
    // It was asked, and then left alone for a while.
    assert_eq!(down.called(1).await.len(), 1);
}

#[tokio::test]
async fn an_ensemble_that_hangs_leaves_time_for_another_and_then_is_left_alone() {
    let (hung, up) = (FakeEnsemble::new(), FakeEnsemble::new());
    hung.hold(0);
    let config = Config {
        assess_deadline_ms: NonZeroU64::new(2_000).expect("not 0"),
        ..Config::default()
    };
    let mut stream = Stream::to(&[&hung, &up], &config, "gateway").await;
    for batch_id in 0..4 {
        stream.send(batch(batch_id, 0, 1)).await;
        assert_eq!(stored(&stream.next().await), 1);
    }
    assert_eq!(hung.called(1).await.len(), 1);
    assert_eq!(up.called(4).await.len(), 4);
}

#[tokio::test]
async fn a_batch_that_no_ensemble_takes_is_refused_in_the_words_of_the_contract() {
    let config = Config {
        assess_deadline_ms: NonZeroU64::new(80).expect("not 0"),
        ..Config::default()
    };
    let shed = retry::hint(Status::resource_exhausted("busy"), Duration::from_millis(400));
    for (status, code, retry_after_ms) in [
        (Status::unavailable("down"), RefusalCode::Unavailable, 250),
        (shed, RefusalCode::Overloaded, 400),
        (
            Status::resource_exhausted("message too large"),
            RefusalCode::TooLarge,
            0,
        ),
        (
            Status::invalid_argument("readings[0].codes: is empty"),
            RefusalCode::Unavailable,
            0,
        ),
        (Status::internal("broken"), RefusalCode::Unavailable, 250),
    ] {
        let ensemble = FakeEnsemble::new();
        ensemble.fail(status);
        let mut stream = Stream::to(&[&ensemble], &config, "gateway").await;
        stream.send(batch(1, 0, 1)).await;
        assert_eq!(refused(&stream.next().await), (code, retry_after_ms));
        // The stream goes on.
        stream.send(batch(2, 0, 1)).await;
        assert_eq!(stream.next().await.batch_id, 2);
    }
}

#[tokio::test]
async fn load_is_shed_at_the_door_with_a_hint() {
    let ensemble = FakeEnsemble::new();
    ensemble.hold(0);
    let config = Config {
        in_flight_readings: NonZeroUsize::new(10).expect("not 0"),
        retry_after_ms: 70,
        ..Config::default()
    };
    let mut stream = Stream::to(&[&ensemble], &config, "gateway").await;
    stream.send(batch(1, 0, 8)).await;
    ensemble.called(1).await;
    stream.send(batch(2, 1, 3)).await;
    stream.send(batch(3, 2, 2)).await;
    ensemble.called(2).await;
    let mut others = [stream.next().await, stream.next().await];
    others.sort_by_key(|answer| answer.batch_id);
    assert_eq!(refused(&others[0]), (RefusalCode::Overloaded, 70));
    assert_eq!(stored(&others[1]), 2);
    ensemble.let_go();
    assert_eq!(stored(&stream.next().await), 8);
}

#[tokio::test]
async fn a_batch_over_the_limit_is_refused_whole_and_one_at_it_is_not() {
    let ensemble = FakeEnsemble::new();
    let mut stream = Stream::to(&[&ensemble], &Config::default(), "gateway").await;
    let of = |batch_id, count| {
        let readings = vec![reading("m0/s0", Duration::ZERO); count];
        message(Message::Batch(Batch { batch_id, readings }))
    };
    stream.send(of(1, MAX_BATCH_READINGS + 1)).await;
    assert_eq!(refused(&stream.next().await), (RefusalCode::TooLarge, 0));
    stream.send(of(2, MAX_BATCH_READINGS)).await;
    assert_eq!(stored(&stream.next().await), MAX_BATCH_READINGS as u32);
    // Nothing to do is done at once.
    stream.send(of(3, 0)).await;
    assert_eq!(stored(&stream.next().await), 0);
}

#[tokio::test]
async fn a_stream_ends_after_its_last_answer_when_the_sender_is_done() {
    let ensemble = FakeEnsemble::new();
    ensemble.hold(0);
    let mut stream = Stream::to(&[&ensemble], &Config::default(), "gateway").await;
    stream.send(batch(1, 0, 1)).await;
    ensemble.called(1).await;
    drop(std::mem::replace(&mut stream.send, mpsc::channel(1).0));
    ensemble.let_go();
    assert_eq!(stored(&stream.next().await), 1);
    assert!(stream.answers.message().await.expect("no error").is_none());
}

#[tokio::test]
async fn a_revoked_token_ends_its_open_stream() {
    let (ensemble, tokens) = (FakeEnsemble::new(), Tokens::default());
    let ingest = fixture::ingest(&Config::default(), [ensemble.channel()]);
    let stack = fixture::server(&ingest, &tokens).assemble().expect("a whole server");
    let channel = Channel::in_process(stack).with_token(&fixture::token("gateway"));
    let mut stream = Stream::open(channel).await.expect("the token is good");
    stream.send(batch(1, 0, 1)).await;
    stream.next().await;
    tokens.revoke();
    assert_eq!(stream.ends_with().await.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_stopping_server_answers_what_is_in_flight_and_ends_the_stream() {
    let ensemble = FakeEnsemble::new();
    ensemble.hold(0);
    let ingest = fixture::ingest(&Config::default(), [ensemble.channel()]);
    let server = fixture::server(&ingest, &Tokens::default());
    let draining = server.draining();
    let stack = server.assemble().expect("a whole server");
    let channel = Channel::in_process(stack).with_token(&fixture::token("gateway"));
    let mut stream = Stream::open(channel).await.expect("the stream opens");
    stream.send(batch(1, 0, 1)).await;
    ensemble.called(1).await;
    draining.cancel();
    // Let the stream hear of it, so that the next batch comes after.
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    let _ = stream.send.send(batch(2, 1, 1)).await;
    ensemble.let_go();
    assert_eq!(stored(&stream.next().await), 1);
    let status = stream.ends_with().await;
    assert_eq!(status.code(), Code::Unavailable);
    assert!(retry::after(&status).is_some());
    assert_eq!(ensemble.called(1).await.len(), 1);
}
