//! What the log says of a request.

use std::io;

use tracing::Level;

use super::*;

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
    /// The log's one line of a finished request for `path`.
    fn answered(&self, path: &str) -> String {
        let log = String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("text");
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
    // On this thread alone, which is where the test's tasks run.
    let _logging = tracing::subscriber::set_default(subscriber.finish());

    let server = Server::new(config(), Tokens::with("s3cret").auth()).on_request(|headers, span| {
        let parent = headers.get("traceparent").and_then(|value| value.to_str().ok());
        span.in_scope(|| tracing::debug!(parent, "hooked"));
    });
    let server = Running::start(server).await;
    let channel = server.channel().on_request(|headers| {
        headers.insert("traceparent", http::HeaderValue::from_static("00-01-02-01"));
    });
    check(channel.clone(), "").await.expect("public");
    list(channel.with_token(&token("wrong"))).await.expect_err("kept out");
    server
        .http("GET", "/nowhere?token=s3cret", "authorization: Bearer s3cret\r\n")
        .await;
    // The span ends with its connection's work, which the drain waits for.
    server.shutdown.cancel();
    server.task.await.expect("run returns");

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
        log.answered("ServerReflectionInfo")
            .contains(r#""status":"Unauthenticated""#)
    );
    assert!(log.answered("/nowhere").contains(r#""status":"404""#));
    let whole = String::from_utf8(log.0.lock().expect("not poisoned").clone()).expect("text");
    assert!(
        whole.contains(r#""message":"hooked""#) && whole.contains("00-01-02-01"),
        "{whole}"
    );
    assert!(!whole.contains("s3cret") && !whole.contains("wrong"), "{whole}");
}
