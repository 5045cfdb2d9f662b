//! A real Alertmanager between Tocsin and the people: an incident that stays open for several of its timeouts, and over a
//! restart of it, is one notification; its end is another.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tocsin::Role;
use tocsin_pager::Destination;
use tocsin_pager::destination::Alertmanager;
use tocsin_tests::stage::free_address;
use tocsin_tests::tools::{self, Server};
use tocsin_tests::{Plant, Receiver, Stage};

/// How long the incident is left open before and after the restart: a minute in all. Alertmanager forgets an alert after
/// ten seconds.
const LEFT_OPEN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn alertmanager_tells_of_an_open_incident_once_and_of_its_end_once() -> Result<()> {
    let Some(program) = tools::program("prometheus-alertmanager") else {
        return Ok(());
    };
    let people = Receiver::start().await?;
    let folder = tempfile::tempdir()?;
    let address = free_address()?;
    std::fs::write(folder.path().join("alertmanager.yml"), config(&people))?;
    let alertmanager = || command(&program, folder.path(), address);
    let first = Server::start(&mut alertmanager(), address).await?;

    let stage = Stage::start_with(Role::ALL, |config| {
        config.pager.destinations = vec![Destination::Alertmanager(Alertmanager {
            resend_interval_ms: 2_000,
            ..Alertmanager::new("alertmanager", format!("http://{address}"))
        })];
        config.pager.poll_ms = 500;
        config.pager.backoff_limit_ms = 2_000;
    })
    .await?;
    stage.sensor("m1", "h").await?;
    stage.bundle(1).await?;
    let mut publisher = stage.publisher().await?;
    let failing: Vec<_> = (0..10).map(|n| Plant::reading("m1/h", n, Plant::failing(n))).collect();
    publisher.publish(failing).await?;
    people.wait_until("the notification", |pages| !pages.is_empty()).await?;

    tokio::time::sleep(LEFT_OPEN).await;
    first.stop()?;
    let second = Server::start(&mut alertmanager(), address).await?;
    tokio::time::sleep(LEFT_OPEN).await;
    assert_eq!(statuses(&people.pages()), ["firing"], "{:#?}", people.pages());

    let healthy: Vec<_> = (10..50).map(|n| Plant::reading("m1/h", n, Plant::healthy(n))).collect();
    publisher.publish(healthy).await?;
    people
        .wait_until("the end", |pages| statuses(pages).contains(&"resolved"))
        .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let pages = people.pages();
    assert_eq!(statuses(&pages), ["firing", "resolved"], "{pages:#?}");
    assert_eq!(pages[0]["alerts"][0]["labels"]["machine"], "m1");
    assert_eq!(
        pages[0]["alerts"][0]["fingerprint"],
        pages[1]["alerts"][0]["fingerprint"]
    );
    second.stop().context("the second Alertmanager")?;
    stage.stop().await
}

fn statuses(pages: &[Value]) -> Vec<&str> {
    pages.iter().filter_map(|page| page["status"].as_str()).collect()
}

fn config(people: &Receiver) -> String {
    let url = people.url();
    format!(
        r#"
global:
  resolve_timeout: 10s
route:
  receiver: people
  group_by: [incident]
  group_wait: 1s
  group_interval: 1s
  repeat_interval: 4h
receivers:
  - name: people
    webhook_configs:
      - url: "{url}"
        send_resolved: true
"#
    )
}

fn command(program: &Path, folder: &Path, address: std::net::SocketAddr) -> Command {
    let mut command = Command::new(program);
    command
        .arg(format!("--config.file={}", folder.join("alertmanager.yml").display()))
        .arg(format!("--storage.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .arg("--cluster.listen-address=");
    command
}
