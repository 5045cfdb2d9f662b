//! Real input: train on FEMTO's healthy part, replay all seven bearings' lives through a running platform.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use tocsin_tests::binary::{self, Process};
use tocsin_tests::{Postgres, Receiver, data};

/// Rows of the corpus.
const ROWS: i64 = 29_294;

#[tokio::test(flavor = "multi_thread")]
async fn seven_bearings_are_replayed_whole_and_again_adds_nothing() -> Result<()> {
    let Some(corpus) = data::file("femto/spectra64.parquet") else {
        return Ok(());
    };
    let corpus = corpus.to_str().context("the path")?;
    let postgres = Postgres::fresh().await?;
    let receiver = Receiver::start().await?;
    let folder = tempfile::tempdir()?;
    let (_up, data_dir) = up(folder.path(), postgres.url(), &receiver).await?;
    let data_dir = data_dir.as_str();

    let trained = binary::run(
        &[
            "train",
            "--corpus",
            corpus,
            "--class",
            "bearing",
            "--register",
            "--data-dir",
            data_dir,
            "--format",
            "json",
        ],
        &[],
    )
    .await?;
    let trained: Value = serde_json::from_str(&trained)?;
    assert_eq!(trained["bundle"]["registered"]["champion"], true, "{trained:#}");

    let replay = [
        "replay",
        "--corpus",
        corpus,
        "--class",
        "bearing",
        "--register",
        "--wait",
        "--data-dir",
        data_dir,
        "--format",
        "json",
    ];
    let first: Value = serde_json::from_str(&binary::run(&replay, &[]).await?)?;
    assert_eq!(
        (first["sent"].as_i64(), first["acked"].as_i64()),
        (Some(ROWS), Some(ROWS)),
        "{first:#}"
    );
    assert_eq!(
        (first["rejected"].as_i64(), first["duplicates"].as_i64()),
        (Some(0), Some(0))
    );
    let machines = first["machines"].as_array().context("machines")?;
    assert_eq!(machines.len(), 7);
    let paged = machines
        .iter()
        .filter(|machine| !machine["first_page"].is_null())
        .count();
    assert_eq!(paged, 7, "every bearing failed: {first:#}");

    let store = postgres.store().await?;
    let rows: i64 = sqlx::query_scalar("select count(*) from reading")
        .fetch_one(store.pool())
        .await?;
    assert_eq!(rows, ROWS);
    let without: i64 = sqlx::query_scalar(
        "select count(*) from incident i where not exists (select 1 from evidence e where e.incident_id = i.incident_id)",
    )
    .fetch_one(store.pool())
    .await?;
    assert_eq!(without, 0, "an incident has no evidence");
    let triggers = receiver.triggers();
    let pages: i64 = sqlx::query_scalar("select count(*) from incident where paged_at is not null")
        .fetch_one(store.pool())
        .await?;
    assert_eq!(triggers.len() as i64, pages);

    let verify = ["verdict", "verify", "--data-dir", data_dir, "--format", "json"];
    let verified: Value = serde_json::from_str(&binary::run(&verify, &[]).await?)?;
    let all_as_judged = serde_json::json!({
        "verdicts": ROWS, "decision_mismatches": 0, "score_mismatches": 0, "without_spectrum": 0
    });
    assert_eq!(verified, all_as_judged);

    let again: Value = serde_json::from_str(&binary::run(&replay, &[]).await?)?;
    assert_eq!(
        (again["stored"].as_i64(), again["duplicates"].as_i64()),
        (Some(0), Some(ROWS)),
        "{again:#}"
    );
    let rows: i64 = sqlx::query_scalar("select count(*) from reading")
        .fetch_one(store.pool())
        .await?;
    assert_eq!((rows, receiver.triggers().len()), (ROWS, triggers.len()));
    store.close().await;
    Ok(())
}

/// `tocsin up` on the story's own database, and its data folder.
pub(crate) async fn up(folder: &Path, database: &str, receiver: &Receiver) -> Result<(Process, String)> {
    up_with(folder, database, receiver, "").await
}

/// The same, with more sections of its configuration.
pub(crate) async fn up_with(
    folder: &Path,
    database: &str,
    receiver: &Receiver,
    sections: &str,
) -> Result<(Process, String)> {
    let config = folder.join("tocsin.toml");
    let text = format!(
        "[[pager.destinations]]\nkind = \"webhook\"\nname = \"receiver\"\nurl = \"{}\"\n[telemetry]\nmetrics_listen = \"127.0.0.1:0\"\n{sections}",
        receiver.url()
    );
    std::fs::write(&config, text)?;
    let data_dir = folder.join("data").to_str().context("the path")?.to_owned();
    let process = start(folder, database, &data_dir, "127.0.0.1:0")?;
    ready(&data_dir, folder).await?;
    Ok((process, data_dir))
}

/// Starts `tocsin up` on a data folder, served at `listen`.
pub(crate) fn start(folder: &Path, database: &str, data_dir: &str, listen: &str) -> Result<Process> {
    let config = folder.join("tocsin.toml");
    let config = config.to_str().context("the path")?;
    let arguments = [
        "up",
        "--data-dir",
        data_dir,
        "--console",
        "127.0.0.1:0",
        "--listen",
        listen,
        "--database-url",
        database,
        "--config",
        config,
    ];
    Process::start(&arguments, &folder.join("tocsin.log"))
}

/// Waits until it answers.
pub(crate) async fn ready(data_dir: &str, folder: &Path) -> Result<()> {
    for _ in 0..200 {
        if binary::run(&["sites", "list", "--data-dir", data_dir, "--format", "json"], &[])
            .await
            .is_ok()
        {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let log = std::fs::read_to_string(folder.join("tocsin.log")).unwrap_or_default();
    anyhow::bail!("tocsin up did not become ready:\n{log}")
}
