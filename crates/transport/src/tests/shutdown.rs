//! Soft, then hard.

use axum::routing::get;
use axum::{Extension, Router};
use tokio_stream::StreamExt;

use super::*;
use crate::server::Draining;

#[tokio::test]
async fn the_soft_stage_closes_the_port_tells_health_and_lets_what_runs_finish() {
    let barrier = Barrier::default();
    let (wait, told) = (barrier.clone(), Arc::new(Notify::new()));
    let tell = Arc::clone(&told);
    let slow = get(async move |Extension(draining): Extension<Draining>| {
        wait.reached.notify_one();
        draining.started().await;
        tell.notify_one();
        wait.open.notified().await;
        "finished"
    });
    let server = Server::open(config()).routes(Router::new().route("/slow", slow));
    let (inside, health) = (server.channel(), server.health());
    let server = Running::start(server).await;

    let stop = async {
        barrier.reached.notified().await;
        server.shutdown.cancel();
        told.notified().await;
        assert_eq!(
            check(inside.clone(), "").await.expect("still answers"),
            ServingStatus::NotServing
        );
        health.set("", true);
        assert_eq!(
            check(inside, "").await.expect("still answers"),
            ServingStatus::NotServing,
            "no way back"
        );
        TcpStream::connect(server.address)
            .await
            .expect_err("the port is closed");
        barrier.open.notify_one();
    };
    let (answer, ()) = tokio::join!(server.http("GET", "/slow", ""), stop);
    assert!(answer.ends_with("finished"), "{answer}");
    server.task.await.expect("run returns");
}

#[tokio::test]
async fn the_hard_stage_cuts_what_does_not_end() {
    let reached = Arc::new(Notify::new());
    let signal = Arc::clone(&reached);
    let stuck = get(async move || {
        signal.notify_one();
        std::future::pending::<()>().await;
    });
    let config = server::Config {
        drain_ms: 20,
        ..config()
    };
    let server = Running::start(Server::open(config).routes(Router::new().route("/stuck", stuck))).await;
    let stop = async {
        reached.notified().await;
        server.shutdown.cancel();
    };
    let (answer, ()) = tokio::join!(server.http("GET", "/stuck", ""), stop);
    assert_eq!(answer, "");
    server.task.await.expect("run returns");
}

#[tokio::test]
async fn a_watcher_of_health_sees_the_end_and_does_not_hold_it_up() {
    let server = Running::start(Server::open(config())).await;
    let mut client = HealthClient::new(server.channel());
    let watched = client
        .watch(HealthCheckRequest::default())
        .await
        .expect("watching")
        .into_inner();
    let mut watched = watched.map(|answer| answer.expect("no error").status());
    assert_eq!(watched.next().await, Some(ServingStatus::Serving));
    server.shutdown.cancel();
    assert_eq!(watched.next().await, Some(ServingStatus::NotServing));
    assert_eq!(watched.next().await, None);
    server
        .task
        .await
        .expect("run returns, though the client is still there");
    check(
        Channel::remote(&channel::Config {
            urls: vec![format!("http://{}", server.address)],
            ..Default::default()
        })
        .expect("a url"),
        "",
    )
    .await
    .expect_err("nobody listens");
}

#[tokio::test]
async fn each_service_has_its_own_health() {
    let server = Server::open(config());
    let health = server.health();
    let server = Running::start(server).await;
    assert_eq!(
        check(server.channel(), "a.v1.A")
            .await
            .expect_err("never heard of")
            .code(),
        Code::NotFound
    );
    health.set("a.v1.A", false);
    assert_eq!(
        check(server.channel(), "a.v1.A").await.expect("known"),
        ServingStatus::NotServing
    );
    health.set("a.v1.A", true);
    assert_eq!(
        check(server.channel(), "a.v1.A").await.expect("known"),
        ServingStatus::Serving
    );
}
