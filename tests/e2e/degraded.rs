//! With every scorer gone verdicts go on, marked degraded; later the network scores them, and that pages nobody.

use anyhow::Result;
use tocsin_tests::{Plant, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_scorer_readings_are_judged_and_marked() -> Result<()> {
    // A scorer that nobody answers at; the others run here.
    let stage = Stage::start_with(|config| {
        config.peers.scorer = vec!["http://127.0.0.1:9".parse().expect("a url")];
        config.ensemble.score_deadline_ms = 500;
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
    let severities: Vec<i16> = sqlx::query_scalar("select severity from incident").fetch_all(stage.store.pool()).await?;
    assert_eq!(severities, [2], "the lines for without the network page a failing machine");
    stage.stop().await
}
