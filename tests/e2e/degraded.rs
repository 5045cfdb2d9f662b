//! With every scorer gone verdicts go on, marked degraded; later the network scores them, and that pages nobody.

use anyhow::{Result, bail};
use tocsin::Role;
use tocsin_tests::stage::free_address;
use tocsin_tests::{Plant, Stage};

const EVERYTHING_ELSE: [Role; 7] = [
    Role::Registry,
    Role::Ensemble,
    Role::Ingest,
    Role::Recalibrator,
    Role::Pager,
    Role::Review,
    Role::Console,
];

#[tokio::test(flavor = "multi_thread")]
async fn without_a_scorer_readings_are_judged_and_marked_and_scored_when_it_is_back() -> Result<()> {
    let scorer = free_address()?;
    let stage = Stage::start_with(EVERYTHING_ELSE, |config| {
        config.peers.scorer = vec![format!("http://{scorer}")];
        config.ensemble.score_deadline_ms = 500;
        config.ensemble.rescore_interval_ms = 100;
    })
    .await?;
    stage.sensor("m1", "h").await?;
    stage.bundle(1).await?;
    let mut publisher = stage.publisher().await?;
    let failing: Vec<_> = (0..10).map(|n| Plant::reading("m1/h", n, Plant::failing(n))).collect();
    assert_eq!(publisher.publish(failing).await?.stored, 10);
    let (degraded, without): (i64, i64) = sqlx::query_as(
        "select count(*) filter (where flags & 2 <> 0), count(*) filter (where residual is null) from reading",
    )
    .fetch_one(stage.store.pool())
    .await?;
    assert_eq!((degraded, without), (10, 10));
    let incidents = "select severity from incident";
    let severities: Vec<i16> = sqlx::query_scalar(incidents).fetch_all(stage.store.pool()).await?;
    assert_eq!(
        severities,
        [2],
        "the lines for without the network page a failing machine"
    );
    stage.receiver.wait_until("the page", |pages| !pages.is_empty()).await?;

    let back = stage.beside([Role::Scorer], scorer).await?;
    rescored(&stage, 10).await?;
    let severities: Vec<i16> = sqlx::query_scalar(incidents).fetch_all(stage.store.pool()).await?;
    assert_eq!(severities, [2]);
    assert_eq!(stage.receiver.pages().len(), 1, "scoring again pages nobody");
    publisher
        .publish(vec![Plant::reading("m1/h", 10, Plant::failing(10))])
        .await?;
    let marked: i64 = sqlx::query_scalar("select count(*) from reading where flags & 2 <> 0 and residual is null")
        .fetch_one(stage.store.pool())
        .await?;
    assert_eq!(
        marked, 10,
        "what was judged then stays as it was, and what comes now has the network"
    );
    back.shutdown().await;
    stage.stop().await
}

/// Waits until so many readings were scored again.
async fn rescored(stage: &Stage, wanted: i64) -> Result<()> {
    let count = "select count(*) from reading_rescored";
    for _ in 0..300 {
        if sqlx::query_scalar::<_, i64>(count)
            .fetch_one(stage.store.pool())
            .await?
            == wanted
        {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    bail!("the scorer is back and scored nothing again")
}
