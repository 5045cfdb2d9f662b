//! Who watches the watchman: a heartbeat that comes while readings are taken, judged, stored and followed by what would be
//! a page, and stops when any part of that is killed. Two seconds stand for the minute of a real period, which
//! `make bench-watchdog` waits for.

use std::time::Duration;

use anyhow::{Context, Result};
use tocsin_tests::binary;
use tocsin_tests::outside::{Outside, Part};
use tocsin_tests::stage::SITE;

/// How often the canary sings: a real one does once a minute.
const PERIOD: Duration = Duration::from_secs(2);

/// How long two heartbeats are waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// Two periods after something was killed nothing is heard any more.
async fn assert_silent(outside: &Outside, without: &str) {
    tokio::time::sleep(2 * PERIOD).await;
    let (heartbeats, alerts) = (outside.heartbeats().len(), outside.alerts().len());
    tokio::time::sleep(2 * PERIOD).await;
    assert_eq!(outside.heartbeats().len(), heartbeats, "without {without}");
    assert_eq!(outside.alerts().len(), alerts, "without {without}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_heartbeat_stops_when_ingest_the_ensemble_the_pager_or_postgres_is_killed_and_comes_back_with_it()
-> Result<()> {
    let outside = Outside::default();
    let mut deployment = outside.watch(PERIOD).await?;
    outside.beats(2, PATIENCE).await.context("at first")?;

    for part in Part::ALL {
        part.kill(&mut deployment).await?;
        assert_silent(&outside, part.name()).await;
        part.bring_back(&mut deployment).await?;
        let beats = outside.beats(2, PATIENCE).await;
        beats.with_context(|| format!("after {} came back:\n{}", part.name(), deployment.log("pager")))?;
    }

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
