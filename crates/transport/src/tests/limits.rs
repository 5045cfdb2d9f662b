//! What a server bears: too many requests, slow handlers, panics, garbage.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};

use super::*;

#[tokio::test]
async fn over_the_limit_a_caller_is_told_at_once_when_to_come_back() {
    let barrier = Barrier::default();
    let wait = barrier.clone();
    let slow = get(async move || {
        wait.wait().await;
        "done"
    });
    let config = server::Config {
        max_concurrent_requests: NonZeroUsize::MIN,
        retry_after_ms: 1_250,
        ..config()
    };
    let server = Server::open(config).routes(Router::new().route("/slow", slow));
    let inside = server.channel();
    let server = Running::start(server).await;

    let busy = async {
        barrier.reached.notified().await;
        let status = list(server.channel()).await.expect_err("over the limit");
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(crate::retry::after(&status), Some(Duration::from_millis(1_250)));
        let answer = server.http("GET", "/slow", "").await;
        assert!(
            answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: 2\r\n"),
            "{answer}"
        );
        check(server.channel(), "").await.expect("health answers under load");
        list(inside).await.expect("calls within the process are let in already");
        barrier.open.notify_one();
    };
    let (answer, ()) = tokio::join!(server.http("GET", "/slow", ""), busy);
    assert!(answer.ends_with("done"), "{answer}");
    list(server.channel()).await.expect("there is room again");
}

#[tokio::test]
async fn an_answer_that_does_not_begin_in_time_is_a_deadline_exceeded_on_either_side() {
    let never = Router::new().route("/slow.v1.Slow/Call", post(std::future::pending::<()>));
    let config = server::Config {
        request_deadline_ms: NonZeroU64::new(20).expect("20 is not 0"),
        ..config()
    };
    let strict = Running::start(Server::open(config).routes(never.clone())).await;
    let status = call(strict.channel(), "/slow.v1.Slow/Call")
        .await
        .expect_err("too slow");
    assert_eq!(
        (status.code(), status.message()),
        (Code::DeadlineExceeded, "no answer within 20 ms")
    );
    let answer = strict.http("POST", "/slow.v1.Slow/Call", "").await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");

    let patient = Server::open(self::config()).routes(never);
    let inside = patient.channel();
    let patient = Running::start(patient).await;
    for channel in [inside, patient.channel()] {
        let channel = channel.with_deadline(Some(Duration::from_millis(30)));
        let status = call(channel, "/slow.v1.Slow/Call").await.expect_err("too slow");
        assert_eq!(
            (status.code(), status.message()),
            (Code::DeadlineExceeded, "no answer within 30 ms")
        );
    }
}

/// A body that panics when it is first asked for more.
fn broken_stream() -> axum::body::Body {
    struct Broken;
    impl tokio_stream::Stream for Broken {
        type Item = Result<axum::body::Bytes, Status>;
        fn poll_next(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            panic!("a bug in a stream");
        }
    }
    axum::body::Body::from_stream(Broken)
}

#[tokio::test]
async fn a_panic_costs_its_caller_an_internal_and_the_server_lives() {
    let handler = async || -> &'static str { panic!("a bug: token s3cret") };
    let routes = Router::new()
        .route("/panic", get(handler))
        .route("/broken", get(async || broken_stream()))
        .route("/bug.v1.Bug/Call", post(handler))
        .route("/bug.v1.Bug/Stream", post(async || broken_stream()));
    let server = Server::open(config()).routes(routes);
    let inside = server.channel();
    let server = Running::start(server).await;

    let answer = server.http("GET", "/panic", "").await;
    assert!(
        answer.starts_with("HTTP/1.1 500 ") && !answer.contains("s3cret"),
        "{answer}"
    );
    let answer = server.http("GET", "/broken", "").await;
    assert!(
        !answer.ends_with("0\r\n\r\n"),
        "a broken body must not look complete: {answer}"
    );
    let remote = server.channel();
    for channel in [remote.clone(), inside] {
        for path in ["/bug.v1.Bug/Call", "/bug.v1.Bug/Stream"] {
            let status = call(channel.clone(), path).await.expect_err("a bug");
            assert_eq!(
                (status.code(), status.message()),
                (Code::Internal, "the server met a bug in itself"),
                "{path}"
            );
        }
    }
    check(remote, "").await.expect("the same connection still works");
}

#[tokio::test]
async fn garbage_on_the_port_harms_nobody() {
    let server = Running::start(Server::open(config())).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let frames = [&preface[..], &[0xff; 64]].concat();
    let garbage: [&[u8]; 4] = [
        &[0; 512],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        &frames,
    ];
    for bytes in garbage {
        let mut socket = TcpStream::connect(server.address).await.expect("the server listens");
        socket.write_all(bytes).await.expect("the server reads");
        socket.shutdown().await.expect("our half closes");
        let mut answer = Vec::new();
        // Refused in words or by a reset: either will do.
        let _ = socket.read_to_end(&mut answer).await;
        check(server.channel(), "").await.expect("the server lives");
    }
}

#[tokio::test]
async fn one_connection_over_the_limit_is_closed_and_room_comes_back() {
    let config = server::Config {
        max_connections: NonZeroUsize::MIN,
        ..config()
    };
    let server = Running::start(Server::open(config)).await;
    let first = server.channel();
    check(first.clone(), "").await.expect("the one connection");
    assert_eq!(
        check(server.channel(), "").await.expect_err("closed").code(),
        Code::Unavailable
    );
    drop(first);
    let policy = crate::retry::Policy {
        attempts: 100.try_into().expect("100 is not 0"),
        ..crate::retry::Policy::default()
    };
    crate::retry::retry(&policy, || check(server.channel(), ""))
        .await
        .expect("there is room again");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let echo = Router::new().route("/echo", post(async |body: String| body));
    let config = server::Config {
        max_message_bytes: NonZeroUsize::new(8).expect("8 is not 0"),
        ..config()
    };
    let server = Running::start(Server::open(config).routes(echo)).await;
    let answer = server.http("POST", "/echo", "content-length: 8\r\n\r\n12345678").await;
    assert!(answer.contains("12345678"), "{answer}");
    let answer = server.http("POST", "/echo", "content-length: 9\r\n\r\n123456789").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}
