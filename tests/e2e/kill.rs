//! `kill -9` of the whole process in mid-replay, and a new start: the replay goes on by itself, no acknowledged reading is
//! lost, none doubled, and the receiver sees one key per page.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::Value;
use tocsin_tests::{Plant, Postgres, Receiver, binary};

use crate::femto::{start, up};

/// Steps of each machine.
const STEPS: u64 = 3_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_platform_loses_nothing_it_acknowledged() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("corpus.parquet");
    let rows = Plant::corpus(&path, "works", 0..STEPS, 1_200)?;
    let corpus = path.to_str().context("the path")?;
    let postgres = Postgres::fresh().await?;
    let receiver = Receiver::start().await?;
    let (mut process, data_dir) = up(folder.path(), postgres.url(), &receiver).await?;
    let data_dir = data_dir.as_str();
    binary::run(
        &[
            "train",
            "--corpus",
            corpus,
            "--class",
            "pump",
            "--register",
            "--data-dir",
            data_dir,
        ],
        &[],
    )
    .await?;

    let cursor = folder.path().join("cursor");
    let cursor = cursor.to_str().context("the path")?;
    let replay = [
        "replay",
        "--corpus",
        corpus,
        "--class",
        "pump",
        "--register",
        "--cursor",
        cursor,
        "--wait",
        "--data-dir",
        data_dir,
        "--format",
        "json",
    ];
    let store = postgres.store().await?;
    let count = "select count(*) from reading";
    let running = binary::run(&replay, &[]);
    let killer = async {
        while sqlx::query_scalar::<_, i64>(count).fetch_one(store.pool()).await? < (rows / 3) as i64 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        process.kill()?;
        let stored: i64 = sqlx::query_scalar(count).fetch_one(store.pool()).await?;
        // At the same address, where the replay goes on knocking.
        let endpoint = std::fs::read_to_string(folder.path().join("data/endpoint"))?;
        let listen = endpoint.trim().trim_start_matches("http://").to_owned();
        anyhow::Ok((stored, start(folder.path(), postgres.url(), data_dir, &listen)?))
    };
    let (sent, restarted) = tokio::join!(running, killer);
    let (stored, restarted) = restarted?;
    assert!(stored < rows as i64, "the replay was over before the kill");
    let sent: Value = serde_json::from_str(&sent?)?;
    assert_eq!(
        (sent["acked"].as_u64(), sent["rejected"].as_u64()),
        (Some(rows), Some(0)),
        "{sent:#}"
    );
    let stored: i64 = sqlx::query_scalar(count).fetch_one(store.pool()).await?;
    assert_eq!(stored, rows as i64);
    let gaps: i64 = sqlx::query_scalar(
        "select count(*) from (select max(seq) - count(*) as gap from machine_event group by machine_id) g where gap <> 0",
    )
    .fetch_one(store.pool())
    .await?;
    assert_eq!(gaps, 0, "a journal has gaps");
    let (incidents, machines): (i64, i64) =
        sqlx::query_as("select count(*), count(distinct machine_id) from incident where severity = 2")
            .fetch_one(store.pool())
            .await?;
    assert_eq!((incidents, machines), (3, 3));
    let keys: BTreeSet<String> = receiver.triggers().into_iter().collect();
    assert_eq!(keys.len(), 3, "{keys:?}");
    store.close().await;
    drop(restarted);
    Ok(())
}
