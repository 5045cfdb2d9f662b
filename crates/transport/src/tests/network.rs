//! Addresses, TLS, replicas, headers.

use std::path::{Path, PathBuf};

use axum::routing::post;
use axum::{Extension, Router};
use http::HeaderMap;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::*;
use crate::auth::ClientCertificate;
use crate::channel::Replicas;
use crate::tls::TlsConfig;

/// An authority, and what it signed for `localhost` and for a client, as PEM files.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn make() -> Self {
        let made = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        let authority_key = KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        made.write("ca.pem", &authority.self_signed(&authority_key).expect("signed").pem());
        let issuer = Issuer::new(authority, authority_key);
        for name in ["localhost", "client"] {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
            made.write(
                &format!("{name}.pem"),
                &params.signed_by(&key, &issuer).expect("signed").pem(),
            );
            made.write(&format!("{name}.key"), &key.serialize_pem());
        }
        made
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a writable folder");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn server(&self) -> TlsConfig {
        TlsConfig {
            certificate: self.path("localhost.pem"),
            key: self.path("localhost.key"),
            client_ca: None,
        }
    }

    fn client(&self, address: SocketAddr) -> channel::Config {
        let urls = vec![format!("https://localhost:{}", address.port())];
        channel::Config {
            urls,
            ca: Some(self.path("ca.pem")),
            ..channel::Config::default()
        }
    }
}

#[tokio::test]
async fn beyond_loopback_a_server_without_tls_and_credentials_refuses_to_start() {
    let tokens = Tokens::with("known");
    let certificates = Certificates::make();
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7700"] {
        let listen: SocketAddr = listen.parse().expect("an address");
        let bare = server::Config { listen, ..config() };
        let error = Server::new(bare.clone(), tokens.auth())
            .bind()
            .await
            .expect_err("no tls");
        assert_eq!(
            error.to_string(),
            format!("listen: {listen} is not a loopback address, so `tls` must be set (certificate and key)")
        );
        let error = Server::open(bare.clone()).bind().await.expect_err("neither");
        assert!(matches!(error, server::Error::NeedsTls(_)), "{error}");
        let error = Server::open(server::Config {
            tls: Some(certificates.server()),
            ..bare
        })
        .bind()
        .await
        .expect_err("no verifier");
        assert!(matches!(error, server::Error::NeedsCredentials(_)), "{error}");
    }
    let sound = server::Config {
        listen: "0.0.0.0:0".parse().expect("an address"),
        tls: Some(certificates.server()),
        ..config()
    };
    Server::new(sound, tokens.auth())
        .bind()
        .await
        .expect("tls and credentials");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let first = Server::open(config()).bind().await.expect("a free port");
    let taken = server::Config {
        listen: first.local_addr(),
        ..config()
    };
    let error = Server::open(taken).bind().await.expect_err("taken").to_string();
    assert!(
        error.starts_with(&format!("listen: can't bind {}", first.local_addr())),
        "{error}"
    );
}

#[tokio::test]
async fn calls_go_over_tls_and_not_around_it() {
    let certificates = Certificates::make();
    let config = server::Config {
        tls: Some(certificates.server()),
        ..config()
    };
    let server = Running::start(Server::new(config, Tokens::with("known").auth())).await;
    let trusting = certificates.client(server.address);
    let channel = Channel::remote(&trusting).expect("a channel");
    list(channel.clone().with_token(&token("known"))).await.expect("let in");
    assert_eq!(
        list(channel).await.expect_err("no credential").code(),
        Code::Unauthenticated
    );

    check(server.channel(), "")
        .await
        .expect_err("clear text isn't answered");
    let strangers = Certificates::make();
    let distrusting = Channel::remote(&strangers.client(server.address)).expect("a channel");
    assert_eq!(
        check(distrusting, "").await.expect_err("not trusted").code(),
        Code::Unavailable
    );
    let misnamed = channel::Config {
        server_name: Some("elsewhere".to_owned()),
        ..trusting
    };
    check(Channel::remote(&misnamed).expect("a channel"), "")
        .await
        .expect_err("another name");
}

#[tokio::test]
async fn a_client_certificate_is_asked_for_checked_and_handed_on() {
    let certificates = Certificates::make();
    let tls = TlsConfig {
        client_ca: Some(certificates.path("ca.pem")),
        ..certificates.server()
    };
    let shown = post(
        async |certificate: Option<Extension<ClientCertificate>>| match certificate {
            Some(_) => Status::already_exists("shown").into_http::<axum::body::Body>(),
            None => Status::not_found("not shown").into_http(),
        },
    );
    let verifier = Verifier::new(async |credential: Credential| {
        credential
            .client_certificate
            .map(|_| Caller(String::new()))
            .ok_or(Denied::Unknown)
    });
    let server = Server::new(
        server::Config {
            tls: Some(tls),
            ..config()
        },
        Auth::new(verifier),
    );
    let server = Running::start(server.routes(Router::new().route("/t.v1.T/Shown", shown))).await;
    let mut client = certificates.client(server.address);
    let without = Channel::remote(&client).expect("a channel").with_token(&token("any"));
    call(without, "/t.v1.T/Shown")
        .await
        .expect_err("turned away in the handshake");
    client.client_certificate = Some(certificates.path("client.pem"));
    assert!(matches!(Channel::remote(&client), Err(channel::Error::HalfIdentity)));
    client.client_key = Some(certificates.path("client.key"));
    let with = Channel::remote(&client).expect("a channel").with_token(&token("any"));
    assert_eq!(
        call(with, "/t.v1.T/Shown").await.expect_err("a status").message(),
        "shown"
    );
}

#[tokio::test]
async fn an_unusable_pem_file_is_named_with_its_field() {
    let certificates = Certificates::make();
    let refusal = async |tls: TlsConfig| {
        let server = Server::open(server::Config {
            tls: Some(tls),
            ..config()
        });
        server.bind().await.expect_err("unusable").to_string()
    };
    let good = certificates.server();
    let missing = refusal(TlsConfig {
        certificate: Path::new("/nowhere.pem").into(),
        ..good.clone()
    })
    .await;
    assert!(
        missing.starts_with("tls.certificate: no usable PEM in /nowhere.pem"),
        "{missing}"
    );
    let swapped = refusal(TlsConfig {
        certificate: good.key.clone(),
        ..good.clone()
    })
    .await;
    assert!(
        swapped.starts_with("tls.certificate: ") && swapped.ends_with("it holds no certificate"),
        "{swapped}"
    );
    let alien = refusal(TlsConfig {
        key: certificates.path("client.key"),
        ..good.clone()
    })
    .await;
    assert!(alien.starts_with("tls.key: "), "{alien}");
    let ca = refusal(TlsConfig {
        client_ca: Some(good.key.clone()),
        ..good
    })
    .await;
    assert!(ca.starts_with("tls.client_ca: "), "{ca}");
}

#[tokio::test]
async fn a_url_that_can_not_be_called_safely_is_refused() {
    let refusal = |url: &str| {
        let config = channel::Config {
            urls: vec![url.to_owned()],
            ..channel::Config::default()
        };
        Channel::remote(&config).expect_err("refused").to_string()
    };
    assert_eq!(
        refusal("http://192.0.2.1:7700"),
        r#"urls[0]: "http://192.0.2.1:7700" is not on loopback, so it must be https"#
    );
    assert_eq!(
        refusal("https://example.org"),
        r#"ca: needed for "https://example.org""#
    );
    assert!(refusal("ftp://127.0.0.1").starts_with("urls[0]: "));
    assert!(refusal("127.0.0.1").starts_with("urls[0]: "));
    assert!(refusal("").starts_with("urls[0]: "));
    assert!(matches!(Replicas::new([]), Err(channel::Error::None)));
}

#[tokio::test]
async fn a_call_that_one_replica_cannot_take_goes_to_another_and_the_caller_sees_it() {
    let gone = Running::start(Server::open(config())).await;
    gone.shutdown.cancel();
    gone.task.await.expect("run returns");
    let alive = Running::start(Server::open(config())).await;
    let urls = [gone.address, alive.address].map(|address| format!("http://{address}"));
    let replicas = Replicas::remote(&channel::Config {
        urls: urls.to_vec(),
        ..channel::Config::default()
    })
    .expect("two urls");

    let answer = replicas
        .first_available(|channel| check(channel, ""))
        .await
        .expect("one is alive");
    assert_eq!(
        (&*answer.from, answer.value),
        (urls[1].as_str(), ServingStatus::Serving)
    );
    assert_eq!(
        answer.failures.iter().map(Status::code).collect::<Vec<_>>(),
        [Code::Unavailable]
    );
    for _ in 0..4 {
        let answer = replicas
            .first_available(|channel| check(channel, ""))
            .await
            .expect("one is alive");
        assert!(answer.failures.is_empty(), "the one that failed comes last: {answer:?}");
    }
    let status = replicas
        .first_available(|channel| check(channel, "nothing"))
        .await
        .expect_err("an answer of its own");
    assert_eq!(status.code(), Code::NotFound);

    alive.shutdown.cancel();
    alive.task.await.expect("run returns");
    let status = replicas
        .first_available(|channel| check(channel, ""))
        .await
        .expect_err("none is alive");
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_hangs_is_given_up_at_the_callers_deadline_and_comes_last_for_a_while() {
    let replica = |handler| {
        let routes = Router::new().route("/t.v1.T/Ask", handler);
        Channel::in_process(
            Server::open(config())
                .routes(routes)
                .assemble()
                .expect("a sound server"),
        )
    };
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let hangs = post(move || {
        count.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<http::StatusCode>()
    });
    let answers = post(async || Status::new(Code::Ok, "").into_http::<axum::body::Body>());
    let replicas = Replicas::new([replica(hangs), replica(answers)]).expect("two");
    for _ in 0..4 {
        let deadline = Some(std::time::Duration::from_millis(50));
        let ask = |channel: Channel| call(channel.with_deadline(deadline), "/t.v1.T/Ask");
        replicas.first_available(ask).await.expect("the other answers");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_one_channel_to_all_replicas_goes_round_those_that_are_gone() {
    let gone = Running::start(Server::open(config())).await;
    gone.shutdown.cancel();
    gone.task.await.expect("run returns");
    let alive = Running::start(Server::open(config())).await;
    let urls = [gone.address, alive.address].map(|address| format!("http://{address}"));
    let config = channel::Config {
        urls: urls.to_vec(),
        ..channel::Config::default()
    };
    let replicas = Replicas::remote(&config).expect("two urls");
    let channel = replicas.channel();
    assert_eq!(channel.to(), urls.join(", "));
    for _ in 0..4 {
        assert_eq!(
            check(channel.clone(), "").await.expect("one is alive"),
            ServingStatus::Serving
        );
    }
    // An answer is an answer, whatever it says.
    let status = check(channel.clone(), "nothing")
        .await
        .expect_err("an answer of its own");
    assert_eq!(status.code(), Code::NotFound);
    alive.shutdown.cancel();
    alive.task.await.expect("run returns");
    let status = check(channel, "").await.expect_err("none is alive");
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_watch_over_the_one_channel_is_opened_again_on_another_replica() {
    let mut running = Vec::new();
    for _ in 0..2 {
        running.push(Running::start(Server::open(config())).await);
    }
    let config = channel::Config {
        urls: running
            .iter()
            .map(|server| format!("http://{}", server.address))
            .collect(),
        ..channel::Config::default()
    };
    let mut health = HealthClient::new(Replicas::remote(&config).expect("two urls").channel());
    let mut opened = Vec::new();
    for server in running {
        let mut watch = health
            .watch(HealthCheckRequest::default())
            .await
            .expect("one is alive")
            .into_inner();
        let first = watch.message().await.expect("an answer").expect("a status");
        opened.push(first.status());
        server.shutdown.cancel();
        server.task.await.expect("run returns");
    }
    assert_eq!(opened, [ServingStatus::Serving; 2]);
}

#[tokio::test]
async fn a_call_that_was_sent_is_not_repeated() {
    let calls = Arc::new(AtomicUsize::new(0));
    let refusing = || {
        let calls = Arc::clone(&calls);
        let refuse = post(move || {
            calls.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Status::unavailable("half done").into_http::<axum::body::Body>())
        });
        let routes = Router::new().route("/grpc.health.v2.Health/Check", refuse);
        Channel::in_process(
            Server::open(config())
                .routes(routes)
                .assemble()
                .expect("a sound server"),
        )
    };
    let channel = Replicas::new([refusing(), refusing()]).expect("two").channel();
    let request = http::Request::post("/grpc.health.v2.Health/Check").body(tonic::body::Body::empty());
    let answer = channel.oneshot(request.expect("a request")).await.expect("an answer");
    let status = Status::from_header_map(answer.headers()).expect("a status");
    assert_eq!((status.code(), calls.load(Ordering::Relaxed)), (Code::Unavailable, 1));
}

#[tokio::test]
async fn healthy_replicas_take_turns() {
    let names = ["a", "b", "c"];
    let replicas = Replicas::new(names.map(|name| {
        let server = Server::open(config());
        server.health().set(name, true);
        Channel::in_process(server.assemble().expect("a sound server"))
    }));
    let replicas = replicas.expect("three");
    let mut first = Vec::new();
    for _ in names {
        let channel = replicas.in_order().swap_remove(0);
        for name in names {
            if check(channel.clone(), name).await.is_ok() {
                first.push(name);
            }
        }
    }
    assert_eq!(first, names);
}

#[tokio::test]
async fn hooks_carry_the_trace_context_and_the_token_stays_out_of_sight() {
    let echo = post(async |headers: HeaderMap| {
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?").to_owned());
        assert!(!format!("{headers:?}").contains("s3cret"), "{headers:?}");
        Status::aborted(format!("{:?} {:?}", header("traceparent"), header("tracestate")))
            .into_http::<axum::body::Body>()
    });
    let server = Server::new(config(), Tokens::with("s3cret").auth()).routes(Router::new().route("/t.v1.T/Echo", echo));
    let inside = server.channel();
    let server = Running::start(server).await;
    for channel in [inside, server.channel()] {
        let channel = channel.with_token(&token("s3cret")).on_request(|headers| {
            headers.insert("traceparent", http::HeaderValue::from_static("00-01-02-01"));
        });
        assert!(!format!("{channel:?}").contains("s3cret"));
        let status = call(channel, "/t.v1.T/Echo").await.expect_err("the echo is a status");
        assert_eq!(status.message(), r#"Some("00-01-02-01") None"#);
    }
}
