//! The record: every verdict is made again as it was, whatever judged it, and what was changed behind Tocsin's back is found.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tocsin::Role;
use tocsin_tests::stage::free_address;
use tocsin_tests::{Plant, Stage};

const VERIFY: [&str; 2] = ["verdict", "verify"];

fn counted(verdicts: u64, decisions: u64, scores: u64, without: u64) -> Value {
    json!({
        "verdicts": verdicts,
        "decision_mismatches": decisions,
        "score_mismatches": scores,
        "without_spectrum": without,
    })
}

async fn sql(stage: &Stage, statement: &'static str) -> Result<()> {
    sqlx::query(statement).execute(stage.store.pool()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_score_a_changed_spectrum_and_a_changed_verdict_are_found_and_explained() -> Result<()> {
    let stage = Stage::judging().await?;
    let mut publisher = stage.publisher().await?;
    let readings = (0..40).flat_map(|n| {
        let failing = if n < 30 { Plant::healthy(n) } else { Plant::failing(n) };
        [
            Plant::reading("m1/h", n, failing),
            Plant::reading("m1/v", n, Plant::healthy(n + 500)),
        ]
    });
    let before = stage.ask(&VERIFY).await?["verdicts"].as_u64().context("verdicts")?;
    assert_eq!(publisher.publish(readings.collect()).await?.stored, 80);
    let all = before + 80;
    assert_eq!(stage.ask(&VERIFY).await?, counted(all, 0, 0, 0));

    let explain = ["verdict", "explain", "works/m1/h"];
    let newest = stage.ask(&explain).await?;
    let newest = &newest["verdict"];
    assert_eq!(
        (&newest["decision_matches"], &newest["scores_match"]),
        (&json!(true), &json!(true))
    );
    let build = newest["scorer_build"].as_str().context("scorer_build")?;
    assert!(build.contains("+tract-"), "{build}");
    assert_eq!(newest["scorer_build"], newest["deriving_build"]);
    assert_eq!(newest["bundle_digest"].as_str().map(str::len), Some(64));
    let detectors = newest["detectors"].as_array().context("detectors")?;
    let deciding: Vec<&Value> = detectors.iter().filter(|one| one["decides"] == true).collect();
    assert_eq!(deciding.len(), 1, "{newest:#}");
    assert!(deciding[0]["level"].as_f64() >= Some(2.0), "{newest:#}");
    assert_eq!(newest["step_sensor"], "h");
    assert_eq!(newest["step_sensors"].as_array().map(Vec::len), Some(2));

    let one = "sensor_id = (select sensor_id from sensor s join machine m using (machine_id) where m.name = 'm1' and s.name = 'h')";
    let at = |n: u64| (Plant::start() + std::time::Duration::from_secs(10 * n)).to_string();
    let change = |what: &str, n: u64| format!("update reading set {what} where {one} and captured_at = '{}'", at(n));
    for statement in [
        change("residual = residual * 1.0001", 3),
        change("spectrum = set_byte(spectrum, 40, get_byte(spectrum, 40) # 1)", 5),
        change("verdict = verdict & ~255", 39),
        change("spectrum = null", 7),
    ] {
        let done = sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(stage.store.pool())
            .await?;
        assert_eq!(done.rows_affected(), 1);
    }
    assert_eq!(stage.ask(&VERIFY).await?, counted(all, 1, 2, 1));
    let (from, to) = (at(3), at(5));
    let period = ["verdict", "verify", "--site", "works", "--from", &from, "--to", &to];
    assert_eq!(stage.ask(&period).await?, counted(4, 0, 1, 0));

    let third = at(3);
    let changed = stage.ask(&[&explain[..], &[third.as_str()]].concat()).await?;
    let differences = changed["verdict"]["differences"].as_array().context("differences")?;
    assert_eq!(differences.len(), 1, "{changed:#}");
    assert!(
        differences[0].as_str().is_some_and(|one| one.starts_with("residual: ")),
        "{changed:#}"
    );
    let fifth = at(5);
    let changed = stage.say(&[&explain[..], &[fifth.as_str()]].concat()).await?;
    assert!(changed.contains("content: the stored spectrum"), "{changed}");
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_judged_without_the_network_and_scored_later_are_made_again_in_both() -> Result<()> {
    let scorer = free_address()?;
    let others = Role::ALL.into_iter().filter(|role| *role != Role::Scorer);
    let stage = Stage::start_with(others, |config| {
        config.peers.scorer = vec![format!("http://{scorer}")];
        config.ensemble.score_deadline_ms = 500;
        config.ensemble.rescore_interval_ms = 100;
    })
    .await?;
    stage.sensor("m1", "h").await?;
    stage.bundle(1).await?;
    let mut publisher = stage.publisher().await?;
    let before = stage.ask(&VERIFY).await?["verdicts"].as_u64().context("verdicts")?;
    let failing: Vec<_> = (0..10).map(|n| Plant::reading("m1/h", n, Plant::failing(n))).collect();
    assert_eq!(publisher.publish(failing).await?.stored, 10);
    let all = before + 10;
    assert_eq!(
        stage.ask(&VERIFY).await?,
        counted(all, 0, 0, 0),
        "judged without the network"
    );

    let back = stage.beside([Role::Scorer], scorer).await?;
    let explain = ["verdict", "explain", "works/m1/h"];
    let scored = |answer: &Value| {
        answer["verdict"]["scored_later"]
            .as_array()
            .is_some_and(|later| later.len() == 1)
    };
    let later = stage.ask_until(&explain, scored).await?;
    let verdict = &later["verdict"];
    let flags = verdict["flags"].as_array().context("flags")?;
    assert!(flags.contains(&json!("degraded")), "{later:#}");
    assert_eq!(verdict["scorer_build"], Value::Null);
    let said = &verdict["scored_later"][0];
    assert_eq!(said["residual"], said["derived_residual"]);
    assert!(
        said["scorer_build"]
            .as_str()
            .is_some_and(|build| build.contains("+tract-")),
        "{later:#}"
    );
    assert_eq!(stage.ask(&VERIFY).await?, counted(all, 0, 0, 0));
    sql(&stage, "update reading_rescored set residual = residual * 1.001 where captured_at = (select max(captured_at) from reading_rescored)").await?;
    assert_eq!(stage.ask(&VERIFY).await?, counted(all, 0, 1, 0));
    back.shutdown().await;
    stage.stop().await
}
