//! Who watches the watchman: a heartbeat that comes while readings are taken, judged, stored and followed by what would be
//! a page, and stops when any part of that is killed. Two seconds stand for the minute of a real period.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::Value;
use tocsin_tests::binary;
use tocsin_tests::deployment::{Deployment, Plan};
use tocsin_tests::stage::{SITE, declare, make_token};
use tokio::net::TcpListener;

/// How often the canary sings: a real one does once a minute.
const PERIOD: Duration = Duration::from_secs(2);

/// Each part of the way in a process of its own.
const MEMBERS: &[(&str, &str)] = &[
    ("front", "registry,recalibrator,review"),
    ("scorer-1", "scorer"),
    ("ingest", "ingest"),
    ("ensemble-1", "ensemble"),
    ("pager", "pager"),
];

/// What was heard of the platform from outside.
#[derive(Debug, Clone, Default)]
struct Outside {
    heartbeats: Arc<Mutex<usize>>,
    alerts: Arc<Mutex<Vec<Value>>>,
}

impl Outside {
    /// Serves `/ping` and what an Alertmanager has; its base address.
    async fn serve(&self) -> Result<String> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let routes = Router::new()
            .route("/ping", get(ping))
            .route("/api/v2/alerts", post(alerts))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(format!("http://{address}"))
    }

    fn heartbeats(&self) -> usize {
        *self.heartbeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alerts(&self) -> Vec<Value> {
        self.alerts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for two more heartbeats.
    async fn beats(&self, when: &str) -> Result<()> {
        let before = self.heartbeats();
        for _ in 0..600 {
            if self.heartbeats() >= before + 2 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("no heartbeat {when}")
    }

    /// Two periods after something was killed nothing is heard any more.
    async fn falls_silent(&self, what: &str) {
        tokio::time::sleep(2 * PERIOD).await;
        let (heartbeats, alerts) = (self.heartbeats(), self.alerts().len());
        tokio::time::sleep(2 * PERIOD).await;
        assert_eq!(self.heartbeats(), heartbeats, "without {what}");
        assert_eq!(self.alerts().len(), alerts, "without {what}");
    }
}

async fn ping(State(outside): State<Outside>) {
    *outside.heartbeats.lock().unwrap_or_else(PoisonError::into_inner) += 1;
}

async fn alerts(State(outside): State<Outside>, Json(posted): Json<Vec<Value>>) {
    let mut alerts = outside.alerts.lock().unwrap_or_else(PoisonError::into_inner);
    alerts.extend(posted);
}

/// Declares the canary and leaves its token in a file, as an administrator does.
async fn hatch(deployment: &Deployment) -> Result<()> {
    declare(deployment.service_channel()?).await?;
    let data_dir = deployment.data_dir();
    let create = [
        "sensors",
        "create",
        "--site",
        SITE,
        "--machine",
        "canary",
        "--sensor",
        "heartbeat",
        "--class",
        "tocsin-canary",
        "--spec",
        "tocsin-canary",
        "--data-dir",
        &data_dir,
        "--format",
        "json",
    ];
    binary::run(&create, &[]).await?;
    let token = make_token(deployment.service_channel()?, |token| {
        "canary".clone_into(&mut token.name);
        (token.may_replay, token.may_send_historical) = (false, false);
    })
    .await?;
    std::fs::write(deployment.path("canary.token"), token.expose()).context("the token's file")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_heartbeat_stops_when_ingest_the_ensemble_the_pager_or_postgres_is_killed_and_comes_back_with_it()
-> Result<()> {
    let outside = Outside::default();
    let address = outside.serve().await?;
    let mut deployment = Deployment::start_as(Plan {
        members: MEMBERS,
        later: &["pager"],
        private_postgres: true,
        ..Plan::default()
    })
    .await?;
    hatch(&deployment).await?;
    let watchdog = format!(
        r#"
[[pager.destinations]]
kind = "alertmanager"
name = "alertmanager"
url = "{address}"
[pager.watchdog]
period_ms = {period_ms}
heartbeat_url = "{address}/ping"
[[pager.watchdog.canaries]]
site = "{SITE}"
ingest_url = "{ingest}"
token_file = "{token}"
"#,
        period_ms = PERIOD.as_millis(),
        ingest = deployment.url("ingest")?,
        token = deployment.path("canary.token").display(),
    );
    deployment.add_to_config("pager", &watchdog)?;
    deployment.bring_back("pager").await?;
    outside.beats("at first").await?;

    for part in ["ingest", "ensemble-1", "pager"] {
        deployment.kill(part)?;
        outside.falls_silent(part).await;
        deployment.bring_back(part).await?;
        outside
            .beats(&format!("after {part} came back:\n{}", deployment.log("pager")))
            .await?;
    }
    deployment.postgres.halt().await?;
    outside.falls_silent("postgres").await;
    deployment.postgres.resume().await?;
    outside.beats("after postgres came back").await?;

    let alert = outside.alerts().pop().context("an alert")?;
    assert_eq!(alert["labels"]["alertname"], "TocsinWatchdog", "{alert:#}");
    let data_dir = deployment.data_dir();
    for list in [
        &["machines", "list"][..],
        &["sensors", "list", "--site", SITE],
        &["classes", "list"],
        &["specs", "list"],
    ] {
        let arguments = [list, &["--data-dir", &data_dir, "--format", "json"]].concat();
        let said = binary::run(&arguments, &[]).await?;
        assert!(!said.contains("canary"), "{list:?}: {said}");
    }
    let store = deployment.postgres.store().await?;
    let trained: i64 = sqlx::query_scalar("select count(*) from baseline")
        .fetch_one(store.pool())
        .await?;
    let alarms: i64 = sqlx::query_scalar("select count(*) from sensor_alarm")
        .fetch_one(store.pool())
        .await?;
    assert_eq!((trained, alarms), (0, 0));
    assert!(deployment.receiver.pages().is_empty(), "nobody is paged about a canary");
    store.close().await;
    Ok(())
}
