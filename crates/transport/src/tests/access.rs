//! Who gets in.

use axum::routing::get;
use axum::{Extension, Router};

use super::*;
use crate::auth::Reverify;

fn served(tokens: &Arc<Tokens>) -> Server {
    let who = get(async |Extension(caller): Extension<Caller>| caller.0);
    let open = Router::new()
        .route("/healthz", get(async || "fine"))
        .route("/open/logo", get(async || "logo"));
    Server::new(config(), tokens.auth()).routes(open.route("/who", who))
}

#[tokio::test]
async fn without_a_credential_only_the_public_paths_answer() {
    let server = Running::start(served(&Tokens::with("known"))).await;
    assert_eq!(
        check(server.channel(), "").await.expect("public"),
        ServingStatus::Serving
    );
    assert_eq!(
        list(server.channel()).await.expect_err("not public").code(),
        Code::Unauthenticated
    );
    assert_eq!(
        call(server.channel(), "/no.such/Method")
            .await
            .expect_err("not public")
            .code(),
        Code::Unauthenticated
    );
    for (path, status) in [
        ("/healthz", "200"),
        ("/open/logo", "200"),
        ("/who", "401"),
        ("/nowhere", "401"),
        ("/", "401"),
    ] {
        let answer = server.http("GET", path, "").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
    let refusal = server.http("GET", "/who", "").await;
    assert!(
        refusal.contains("www-authenticate: Bearer") && refusal.contains(r#""code":"unauthenticated""#),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_known_token_becomes_the_principal_and_others_do_not() {
    let server = Running::start(served(&Tokens::with("known"))).await;
    let services = list(server.channel().with_token(&token("known")))
        .await
        .expect("let in");
    assert!(services.contains(&"grpc.health.v1.Health".to_owned()), "{services:?}");
    assert!(
        server
            .http("GET", "/who", "Authorization: bearer known\r\n")
            .await
            .ends_with("known")
    );
    let wrong = [
        "Bearer other",
        "Basic known",
        "known",
        "Bearer ",
        "Bearer known x",
        "Bearer known\r\nauthorization: Bearer known",
    ];
    for shown in wrong {
        let answer = server.http("GET", "/who", &format!("authorization: {shown}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{shown}: {answer}");
    }
    assert_eq!(
        list(server.channel().with_token(&token("other")))
            .await
            .expect_err("unknown")
            .code(),
        Code::Unauthenticated
    );
}

#[tokio::test]
async fn a_path_that_nobody_serves_is_named_so_in_the_callers_protocol() {
    let server = Running::start(served(&Tokens::with("known"))).await;
    let known = server.channel().with_token(&token("known"));
    assert_eq!(
        call(known, "/no.such/Method").await.expect_err("unserved").code(),
        Code::Unimplemented
    );
    let answer = server.http("GET", "/nowhere", "authorization: Bearer known\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[tokio::test]
async fn a_verifier_that_is_down_lets_nobody_in() {
    let tokens = Tokens::with("known");
    let server = Running::start(served(&tokens)).await;
    tokens.down.store(true, Ordering::SeqCst);
    let status = list(server.channel().with_token(&token("known")))
        .await
        .expect_err("kept out");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(crate::retry::after(&status).is_some(), "{status:?}");
    assert!(
        !status.message().contains("database"),
        "the reason is for the log alone: {status:?}"
    );
    let answer = server.http("GET", "/who", "authorization: Bearer known\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[tokio::test]
async fn a_verified_token_is_asked_about_once_within_its_time_and_wrong_ones_each_time() {
    let tokens = Tokens::with("known");
    let mut config = config();
    config.auth.cache_ttl_ms = 3_600_000;
    let server = Running::start(Server::new(config, tokens.auth())).await;
    let shown = |text| server.channel().with_token(&token(text));
    for _ in 0..3 {
        list(shown("known")).await.expect("let in");
    }
    assert_eq!(tokens.asked.load(Ordering::SeqCst), 1);
    for _ in 0..2 {
        list(shown("other")).await.expect_err("kept out");
    }
    assert_eq!(tokens.asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_revoked_token_is_kept_out_and_its_open_streams_end() {
    let tokens = Tokens::with("known");
    let opened = Arc::new(Notify::new());
    let signal = Arc::clone(&opened);
    let stream = get(async move |Extension(reverify): Extension<Reverify>| {
        signal.notify_one();
        reverify.revoked().await.to_string()
    });
    let server = Running::start(served(&tokens).routes(Router::new().route("/stream", stream))).await;
    let revoke = async {
        opened.notified().await;
        tokens.revoke_all();
    };
    let (answer, ()) = tokio::join!(server.http("GET", "/stream", "authorization: Bearer known\r\n"), revoke);
    assert!(
        answer.ends_with("the credential is unknown, revoked or expired"),
        "{answer}"
    );
    assert_eq!(
        list(server.channel().with_token(&token("known")))
            .await
            .expect_err("revoked")
            .code(),
        Code::Unauthenticated
    );
}

#[tokio::test]
async fn a_stream_outlives_a_verifiers_hiccup_but_not_its_absence() {
    let tokens = Tokens::with("known");
    let down = Arc::clone(&tokens);
    let stream = get(async move |Extension(reverify): Extension<Reverify>| {
        down.down.store(true, Ordering::SeqCst);
        let before = down.asked.load(Ordering::SeqCst);
        let denied = reverify.revoked().await;
        format!(
            "after {} questions: {denied}",
            down.asked.load(Ordering::SeqCst) - before
        )
    });
    let server = Running::start(served(&tokens).routes(Router::new().route("/stream", stream))).await;
    let answer = server.http("GET", "/stream", "authorization: Bearer known\r\n").await;
    assert!(
        answer.ends_with("after 3 questions: credentials can't be verified at the moment"),
        "{answer}"
    );
}

#[tokio::test]
async fn within_the_process_and_over_the_network_the_same_call_gets_the_same_answer() {
    let server = served(&Tokens::with("known"));
    let (bound, shutdown) = (server.bind().await.expect("a free port"), CancellationToken::new());
    let inside = Channel::in_process(bound.stack());
    let address = bound.local_addr();
    let server = Running {
        address,
        shutdown: shutdown.clone(),
        task: tokio::spawn(bound.run(shutdown)),
    };
    let outside = server.channel();

    for shown in [None, Some("known"), Some("other")] {
        let show = |channel: &Channel| shown.map_or(channel.clone(), |text| channel.clone().with_token(&token(text)));
        let told = |outcome: Result<Vec<String>, Status>| outcome.map_err(|s| (s.code(), s.message().to_owned()));
        assert_eq!(
            told(list(show(&inside)).await),
            told(list(show(&outside)).await),
            "{shown:?}"
        );
        for path in ["/no.such/Method", "/grpc.health.v1.Health/Nothing"] {
            let told = |outcome: Result<(), Status>| outcome.map_err(|s| (s.code(), s.message().to_owned()));
            assert_eq!(
                told(call(show(&inside), path).await),
                told(call(show(&outside), path).await),
                "{shown:?} {path}"
            );
        }
        let missing = |outcome: Result<_, Status>| outcome.map_err(|s| (s.code(), s.message().to_owned()));
        assert_eq!(
            missing(check(show(&inside), "x").await),
            missing(check(show(&outside), "x").await),
            "{shown:?}"
        );
    }
}

#[tokio::test]
async fn a_channel_had_before_the_server_is_complete_works_once_it_is_and_not_after_it_is_gone() {
    let server = served(&Tokens::with("known"));
    let channel = server.channel();
    assert_eq!(
        check(channel.clone(), "").await.expect_err("not yet").code(),
        Code::Unavailable
    );
    let stack = server.assemble().expect("a sound server");
    assert_eq!(check(channel.clone(), "").await.expect("up"), ServingStatus::Serving);
    assert_eq!(
        list(channel.clone()).await.expect_err("no credential").code(),
        Code::Unauthenticated
    );
    drop(stack);
    assert_eq!(check(channel, "").await.expect_err("gone").code(), Code::Unavailable);
}
