//! What is heard of a platform from outside: its heartbeat, and what an Alertmanager has; and a deployment that sends it
//! there, with each part of a heartbeat's way in a process of its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::binary;
use crate::deployment::{Deployment, Plan};
use crate::stage::{SITE, declare, make_token};

/// Each part of the way in a process of its own.
const MEMBERS: &[(&str, &str)] = &[
    ("front", "registry,recalibrator,review"),
    ("scorer-1", "scorer"),
    ("ingest", "ingest"),
    ("ensemble-1", "ensemble"),
    ("pager", "pager"),
];

/// A part of a heartbeat's way that can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A process of the deployment, by its name.
    Process(&'static str),
    /// The database's server.
    Postgres,
}

impl Part {
    /// All that the heartbeat must not outlive.
    pub const ALL: [Self; 4] = [
        Self::Process("ingest"),
        Self::Process("ensemble-1"),
        Self::Process("pager"),
        Self::Postgres,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process(name) => name,
            Self::Postgres => "postgres",
        }
    }

    /// Kills it.
    pub async fn kill(self, deployment: &mut Deployment) -> Result<()> {
        match self {
            Self::Process(name) => deployment.kill(name),
            Self::Postgres => deployment.postgres.halt().await,
        }
    }

    /// Starts it again.
    pub async fn bring_back(self, deployment: &mut Deployment) -> Result<()> {
        match self {
            Self::Process(name) => deployment.bring_back(name).await,
            Self::Postgres => deployment.postgres.resume().await,
        }
    }
}

/// What was heard, and when.
#[derive(Debug, Clone, Default)]
pub struct Outside {
    heartbeats: Arc<Mutex<Vec<Instant>>>,
    alerts: Arc<Mutex<Vec<Value>>>,
}

impl Outside {
    /// Starts a platform on a Postgres of its own, with a canary of one site that sings every `period`, whose heartbeats
    /// come here.
    pub async fn watch(&self, period: Duration) -> Result<Deployment> {
        let address = self.serve().await?;
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
            period_ms = period.as_millis(),
            ingest = deployment.url("ingest")?,
            token = deployment.path("canary.token").display(),
        );
        deployment.add_to_config("pager", &watchdog)?;
        deployment.bring_back("pager").await?;
        Ok(deployment)
    }

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

    /// When each heartbeat came, in order.
    pub fn heartbeats(&self) -> Vec<Instant> {
        self.heartbeats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The alerts that were posted, in order.
    pub fn alerts(&self) -> Vec<Value> {
        self.alerts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for so many more heartbeats, at most so long; when the last of them came.
    pub async fn beats(&self, more: usize, patience: Duration) -> Result<Instant> {
        let wanted = self.heartbeats().len() + more;
        let begun = Instant::now();
        while begun.elapsed() < patience {
            if let Some(last) = self.heartbeats().get(wanted - 1) {
                return Ok(*last);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("no {more} heartbeats within {} s", patience.as_secs())
    }
}

async fn ping(State(outside): State<Outside>) {
    let mut heartbeats = outside.heartbeats.lock().unwrap_or_else(PoisonError::into_inner);
    heartbeats.push(Instant::now());
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
