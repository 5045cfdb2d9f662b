//! `kill -9` of the whole process in mid-replay: no acknowledged reading is lost, none doubled, and the receiver sees one
//! key per page.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::Value;
use tocsin_corpus::{Row, SensorName, Writer};
use tocsin_domain::Slug;
use tocsin_tests::{Plant, Postgres, Receiver, binary};

use crate::femto::{ready, start, up};

/// Steps of each machine.
const STEPS: u64 = 1_500;

/// Three machines that run well for a while, then fail one after the other.
fn corpus(path: &std::path::Path) -> Result<u64> {
    let mut writer = Writer::create(path)?;
    for n in 0..STEPS {
        for machine in 0..3u64 {
            let failing = n >= 400 * (machine + 1);
            writer.write(&Row {
                sensor: SensorName { site: slug("works")?, machine: slug(&format!("m{machine}"))?, sensor: slug("h")? },
                captured_at: Plant::start() + std::time::Duration::from_secs(10) * n as u32,
                bins: if failing { Plant::failing(n * 3 + machine) } else { Plant::healthy(n * 3 + machine) },
                rpm: None,
                load: None,
                label: None,
                split: Some(if n < 200 { "train" } else if n < 390 { "cal" } else { "test" }.to_owned()),
            })?;
        }
    }
    Ok(writer.finish()?)
}

fn slug(name: &str) -> Result<Slug> {
    Ok(Slug::parse("name", name)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_platform_loses_nothing_it_acknowledged() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("corpus.parquet");
    let rows = corpus(&path)?;
    let corpus = path.to_str().context("the path")?;
    let postgres = Postgres::fresh().await?;
    let receiver = Receiver::start().await?;
    let (mut process, data_dir) = up(folder.path(), postgres.url(), &receiver).await?;
    let data_dir = data_dir.as_str();
    binary::run(&["train", "--corpus", corpus, "--class", "pump", "--register", "--data-dir", data_dir], &[]).await?;

    let cursor = folder.path().join("cursor");
    let cursor = cursor.to_str().context("the path")?;
    let replay = [
        "replay", "--corpus", corpus, "--class", "pump", "--register", "--cursor", cursor, "--wait", "--data-dir", data_dir,
        "--format", "json",
    ];
    let store = postgres.store().await?;
    let count = "select count(*) from reading";
    let running = binary::run(&replay, &[]);
    let killer = async {
        while sqlx::query_scalar::<_, i64>(count).fetch_one(store.pool()).await? < (rows / 3) as i64 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        process.kill()
    };
    let (first, killed) = tokio::join!(running, killer);
    killed?;
    assert!(first.is_err(), "the replay outlived the platform: {first:?}");

    let process = start(folder.path(), postgres.url(), data_dir)?;
    ready(data_dir, folder.path()).await?;
    let second: Value = serde_json::from_str(&binary::run(&replay, &[]).await?)?;
    assert_eq!(second["rejected"], 0, "{second:#}");
    let stored: i64 = sqlx::query_scalar(count).fetch_one(store.pool()).await?;
    assert_eq!(stored, rows as i64);
    let (incidents, machines): (i64, i64) =
        sqlx::query_as("select count(*), count(distinct machine_id) from incident where severity = 2")
            .fetch_one(store.pool())
            .await?;
    assert_eq!((incidents, machines), (3, 3));
    let keys: BTreeSet<String> = receiver.triggers().into_iter().collect();
    assert_eq!(keys.len(), 3, "{keys:?}");
    store.close().await;
    drop(process);
    Ok(())
}
