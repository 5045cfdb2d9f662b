//! Roles as separate processes: of two scorers and two ensembles one each is killed in mid-replay and brought back, and
//! nothing is lost, doubled, judged otherwise or marked degraded.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tocsin_store::Store;
use tocsin_tests::{Deployment, Plant, binary};

/// Steps before the replayed ones: those a bundle is trained on.
const TRAINED: u64 = 1_100;
/// Steps replayed.
const REPLAYED: u64 = 900;
/// When the first machine begins to fail; the second does 400 steps later.
const FAILING: u64 = 1_300;

#[tokio::test(flavor = "multi_thread")]
async fn a_scorer_and_an_ensemble_are_killed_and_nothing_is_judged_otherwise() -> Result<()> {
    let mut deployment = Deployment::start().await?;
    let data_dir = deployment.data_dir();
    let file = |name: &str| deployment.path(name).to_str().map(str::to_owned).context("the path");
    let (past, quiet, stormy) = (file("past.parquet")?, file("quiet.parquet")?, file("stormy.parquet")?);
    Plant::corpus(past.as_ref(), "quiet", 0..TRAINED, u64::MAX / 2)?;
    // The same readings at two sites: one replayed in peace, one while processes die.
    let steps = TRAINED..TRAINED + REPLAYED;
    let rows = Plant::corpus(quiet.as_ref(), "quiet", steps.clone(), FAILING)?;
    Plant::corpus(stormy.as_ref(), "stormy", steps, FAILING)?;
    let common = ["--class", "pump", "--register", "--data-dir", &data_dir];
    binary::run(&[&["train", "--corpus", &past][..], &common].concat(), &[]).await?;
    deployment.judges("pump").await?;

    let told = ["--wait", "--format", "json"];
    let peaceful = [&["replay", "--corpus", &quiet][..], &common, &told].concat();
    let sent: Value = serde_json::from_str(&binary::run(&peaceful, &[]).await?)?;
    assert_eq!(sent["stored"].as_u64(), Some(rows), "{sent:#}");

    let store = deployment.postgres.store().await?;
    // 900 steps of 10 s in 9 s.
    let slowly = [&["replay", "--corpus", &stormy, "--speed", "1000"][..], &common, &told].concat();
    let running = binary::run(&slowly, &[]);
    let storm = async {
        for (scorer, ensemble) in [("scorer-1", "ensemble-1"), ("scorer-2", "ensemble-2")] {
            more(&store, rows / 6).await?;
            deployment.kill(scorer)?;
            deployment.kill(ensemble)?;
            more(&store, rows / 6).await?;
            deployment.bring_back(scorer).await?;
            deployment.bring_back(ensemble).await?;
        }
        anyhow::Ok(stored(&store).await?)
    };
    let (sent, when_calm) = tokio::join!(running, storm);
    assert!(when_calm? < 2 * rows as i64, "the replay was over before the storm");
    let sent: Value = serde_json::from_str(&sent?)?;
    assert_eq!(
        (sent["acked"].as_u64(), sent["rejected"].as_u64()),
        (Some(rows), Some(0)),
        "{sent:#}"
    );
    assert!(deployment.is_whole());
    assert_same_readings(&store, rows as i64).await?;
    assert_same_incidents(&store).await?;
    let pages = deployment.receiver.triggers();
    assert_eq!(pages.len(), 4, "two incidents at each site, each paged once: {pages:?}");
    store.close().await;
    Ok(())
}

async fn stored(store: &Store) -> Result<i64> {
    let count = sqlx::query_scalar("select count(*) from reading");
    Ok(count.fetch_one(store.pool()).await?)
}

/// Waits until so many more readings are stored, at most 60 s.
async fn more(store: &Store, readings: u64) -> Result<()> {
    let wanted = stored(store).await? + readings as i64;
    for _ in 0..3_000 {
        if stored(store).await? >= wanted {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    anyhow::bail!("the replay stands still")
}

/// The two sites have the same readings, scores and verdicts, and none was judged without the network.
async fn assert_same_readings(store: &Store, rows: i64) -> Result<()> {
    // Scores within 1e-5, relative or absolute, whichever is more.
    let readings = "with named as (
            select site.name as site, m.name || '/' || s.name as sensor, r.captured_at, r.content_hash, r.verdict,
                   array[r.residual, r.overall_level, r.isolation, r.pca, r.mahalanobis]::float8[] as scores,
                   r.flags & 2 as degraded
            from reading r join sensor s using (sensor_id) join machine m using (machine_id) join site using (site_id))
        select count(*), count(*) filter (where q.content_hash = s.content_hash),
               count(*) filter (where q.verdict = s.verdict),
               count(*) filter (where not exists (
                   select from unnest(q.scores, s.scores) as score(one, other)
                   where one is null or other is null or abs(one - other) > 1e-5 * greatest(abs(one), 1))),
               count(*) filter (where q.degraded + s.degraded > 0)
        from (select * from named where site = 'quiet') q
        full join (select * from named where site = 'stormy') s using (sensor, captured_at)";
    let counts: (i64, i64, i64, i64, i64) = sqlx::query_as(readings).fetch_one(store.pool()).await?;
    assert_eq!(
        counts,
        (rows, rows, rows, rows, 0),
        "readings, equal contents, verdicts, scores; degraded"
    );
    Ok(())
}

/// The two sites' incidents opened alike and went through the same steps.
async fn assert_same_incidents(store: &Store) -> Result<()> {
    // Steps before an incident are journaled only when their batch was folded, so those depend on how batches were cut.
    let events = |site: &'static str| async move {
        let all = "select m.name, e.kind, e.at::text, (e.payload - 'sensor' - 'deciding_sensor')::text
            from machine_event e join machine m using (machine_id) join site using (site_id)
            where site.name = $1 and e.incident_id is not null order by m.name, e.seq";
        let events = sqlx::query_as::<_, (String, String, String, String)>(all).bind(site);
        events.fetch_all(store.pool()).await
    };
    let (quiet, stormy) = (events("quiet").await?, events("stormy").await?);
    let opened = quiet.iter().filter(|event| event.1 == "opened").count();
    assert_eq!(opened, 2, "{quiet:?}");
    assert_eq!(quiet, stormy, "the incidents' journals differ");
    let gaps: i64 = sqlx::query_scalar(
        "select count(*) from (select max(seq) - count(*) as gap from machine_event group by machine_id) g where gap <> 0",
    )
    .fetch_one(store.pool())
    .await?;
    assert_eq!(gaps, 0, "a journal has gaps");
    Ok(())
}
