//! What the log says of a request. A process of its own, for the log is the process's: beside other tests, which log to nobody, tracing
//! may decide that nobody listens.

use std::io;
use std::sync::{Arc, Mutex};

use tocsin_transport::auth::{Auth, Denied, Token, Verifier};
use tocsin_transport::{Channel, Server, channel, server};
use tokio_util::sync::CancellationToken;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tracing::Level;

/// A log in memory.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("text")
    }

    /// The log's one line of a finished request for `path`.
    fn answered(&self, path: &str) -> String {
        let log = self.text();
        let lines: Vec<_> = log
            .lines()
            .filter(|line| line.contains(path) && line.contains("answered"))
            .collect();
        assert_eq!(lines.len(), 1, "{path}: {log}");
        lines[0].to_owned()
    }
}

#[tokio::test]
async fn each_request_has_a_span_with_its_path_peer_status_and_time_and_the_hook_sees_it() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(Level::DEBUG)
        .with_writer(move || writer.clone());
    tracing::subscriber::set_global_default(subscriber.finish()).expect("the only one");

    let verifier = Verifier::<()>::new(async |_| Err(Denied::Unknown));
    let auth = Auth::new(verifier).public(["/grpc.health.v1.Health/Check"]);
    let config = server::Config {
        listen: "127.0.0.1:0".parse().expect("an address"),
        ..server::Config::default()
    };
    let server = Server::new(config, auth).on_request(|headers, span| {
        let parent = headers.get("traceparent").and_then(|value| value.to_str().ok());
        span.in_scope(|| tracing::debug!(parent, "hooked"));
    });
    let bound = server.bind().await.expect("a free port");
    let urls = vec![format!("http://{}", bound.local_addr())];
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(bound.run(shutdown.clone()));

    let channel = Channel::remote(&channel::Config {
        urls,
        ..channel::Config::default()
    })
    .expect("a loopback url");
    let channel = channel
        .with_token(&Token::parse("s3cret").expect("a token"))
        .on_request(|headers| {
            headers.insert("traceparent", http::HeaderValue::from_static("00-01-02-01"));
        });
    let mut client = HealthClient::new(channel);
    client.check(HealthCheckRequest::default()).await.expect("public");
    client
        .watch(HealthCheckRequest::default())
        .await
        .expect_err("not public here");
    // A span ends with its connection's work, which the drain waits for.
    shutdown.cancel();
    running.await.expect("run returns");

    let checked = log.answered("/grpc.health.v1.Health/Check");
    for part in [
        r#""status":"Ok""#,
        r#""method":"POST""#,
        r#""peer":"127.0.0.1:"#,
        r#""elapsed_ms":"#,
    ] {
        assert!(checked.contains(part), "{part}: {checked}");
    }
    assert!(
        log.answered("/grpc.health.v1.Health/Watch")
            .contains(r#""status":"Unauthenticated""#)
    );
    let whole = log.text();
    assert!(
        whole.contains(r#""message":"hooked""#) && whole.contains("00-01-02-01"),
        "{whole}"
    );
    assert!(!whole.contains("s3cret"), "{whole}");
}
