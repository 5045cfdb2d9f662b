//! A temporal network judges live readings by what is stored of their sensor. Each row says by how many earlier spectra, and
//! is made again from them; where the history is too short or has a gap, the network over one spectrum stands.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tocsin::{Role, rollout};
use tocsin_domain::Timestamp;
use tocsin_models::{Bundle, BundleArchive, Residual, Variant};
use tocsin_tests::stage::CLASS;
use tocsin_tests::{Plant, Stage};
use tocsin_trainer::{FitOptions, TrainRequest, TrainingSet, train};

/// Spectra in a window.
const WINDOW: u16 = 4;
/// Seconds between two readings.
const STEP: u64 = 10;

fn at(number: u64) -> Timestamp {
    Plant::start() + Duration::from_secs(STEP * number)
}

/// A temporal bundle of the plant's spectra in steps as its readings come.
fn bundle() -> Result<BundleArchive> {
    let set = |numbers: std::ops::Range<u64>| -> Result<TrainingSet> {
        let mut set = TrainingSet::new(&Plant::spec());
        for number in numbers {
            set.push("works/m1/h", at(number), &Plant::healthy(number))?;
        }
        Ok(set)
    };
    let (rows, calibration) = (set(10_000..10_600)?, set(11_000..13_200)?);
    let request = TrainRequest {
        class: CLASS.parse()?,
        train: &rows,
        calibration: &calibration,
        variant: Variant::TemporalConv,
        foreign: None,
        latent: None,
        seed: 1,
        options: Some(FitOptions {
            epochs: 5,
            window: WINDOW,
            ..FitOptions::of(Variant::TemporalConv)
        }),
        corpora: Vec::new(),
        created_at: Plant::start(),
    };
    Ok(train(&request, |_| ())?)
}

/// Earlier spectra that each row of the sensor names, in order of capture, and how many steps before it the oldest was taken.
async fn named(stage: &Stage) -> Result<Vec<(i16, Option<i32>)>> {
    let query = "select predecessor_count, (extract(epoch from captured_at - predecessors_from) / 10)::int4 from reading \
                 where sensor_id = (select sensor_id from sensor s join machine m using (machine_id) where m.name = 'm1' and s.name = 'h') \
                 order by captured_at";
    Ok(sqlx::query_as(query).fetch_all(stage.store.pool()).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_with_a_history_is_judged_by_it_and_made_again_from_what_its_row_names() -> Result<()> {
    let stage = Stage::start().await?;
    stage.sensor("m1", "h").await?;
    rollout::register(&stage.running.service_channel(), CLASS, &bundle()?).await?;
    stage.wait_until_judging().await?;

    let mut publisher = stage.publisher().await?;
    let reading = |n: u64| Plant::reading("m1/h", n, Plant::healthy(n));
    for number in 0..4 {
        assert_eq!(publisher.publish(vec![reading(number)]).await?.stored, 1);
    }
    // In one batch: the later ones have the earlier ones behind them.
    assert_eq!(publisher.publish((4..8).map(reading).collect()).await?.stored, 4);
    // After a gap the history begins anew.
    assert_eq!(publisher.publish((20..25).map(reading).collect()).await?.stored, 5);
    // One that comes late has what was taken before it, and changes nothing of those after it.
    assert_eq!(publisher.publish(vec![reading(8)]).await?.stored, 1);

    let (alone, by_window) = ((0, None), (3, Some(3)));
    let expected = [vec![alone; 3], vec![by_window; 6], vec![alone; 3], vec![by_window; 2]].concat();
    assert_eq!(named(&stage).await?, expected);
    let verify = ["verdict", "verify", "--site", "works"];
    let verified = stage.ask(&verify).await?;
    ensure!(
        verified["verdicts"] == 14 && verified["score_mismatches"] == 0,
        "{verified:#}"
    );
    ensure!(verified["decision_mismatches"] == 0, "{verified:#}");

    let seventh = at(7).to_string();
    let explained = stage.ask(&["verdict", "explain", "works/m1/h", &seventh]).await?;
    ensure!(explained["verdict"]["predecessors"] == 3, "{explained:#}");
    ensure!(explained["verdict"]["window"] == WINDOW, "{explained:#}");
    ensure!(explained["verdict"]["scores_match"] == json!(true), "{explained:#}");

    // A spectrum that was changed is found by its own row, and by those that name it.
    let changed = format!(
        "update reading set spectrum = set_byte(spectrum, 12, 255) where captured_at = '{}'",
        at(5)
    );
    sqlx::query(sqlx::AssertSqlSafe(changed))
        .execute(stage.store.pool())
        .await?;
    let verified: Value = stage.ask(&verify).await?;
    let mismatches = verified["score_mismatches"].as_u64().context("score_mismatches")?;
    ensure!(mismatches == 4, "{verified:#}");
    stage.stop().await
}

/// What the bundle says of the plant's spectra in steps, as a training scores what it holds out.
fn by_windows(archive: &BundleArchive, numbers: &[u64]) -> Result<Vec<f32>> {
    let mut set = TrainingSet::new(&Plant::spec());
    for number in numbers {
        set.push("works/m1/h", at(*number), &Plant::healthy(*number))?;
    }
    let residual = Residual::load(&Bundle::from_archive(archive.clone())?)?;
    let window = residual.window().context("a window")?;
    let keys: Vec<_> = numbers.iter().map(|number| (0, at(*number))).collect();
    Ok(residual.errors(set.linear(), Some(&window.among(&keys)))?)
}

/// The challenger's residuals of a machine's readings, in order of capture.
async fn shadowed(stage: &Stage, challenger: i32, machine: &str) -> Result<Vec<f32>> {
    let query = "select residual from shadow_score join sensor s using (sensor_id) join machine m using (machine_id) \
                 where bundle_id = $1 and m.name = $2 order by captured_at";
    let said = sqlx::query_scalar(query).bind(challenger).bind(machine);
    Ok(said.fetch_all(stage.store.pool()).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporal_challenger_is_tried_by_windows_as_it_would_judge() -> Result<()> {
    let stage = Stage::start_with(Role::ALL, |config| config.ensemble.shadow_share = 1.0).await?;
    stage.sensor("m1", "h").await?;
    stage.sensor("m2", "h").await?;
    stage.bundle(1).await?;
    let temporal = bundle()?;
    let registered = rollout::register(&stage.running.service_channel(), CLASS, &temporal).await?;
    assert!(!registered.champion, "{registered:?}");
    stage.wait_until_judging().await?;

    let mut publisher = stage.publisher().await?;
    let mut number = 0;
    while shadowed(&stage, registered.bundle_id, "m2").await?.is_empty() {
        ensure!(number < 200, "the challenger scores nothing");
        let reading = Plant::reading("m2/h", number, Plant::healthy(number));
        publisher.publish(vec![reading]).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
        number += 1;
    }
    let reading = |n: u64| Plant::reading("m1/h", n, Plant::healthy(n));
    let numbers: Vec<u64> = (100..108).chain(120..125).collect();
    for batch in numbers.chunks(3) {
        publisher.publish(batch.iter().copied().map(reading).collect()).await?;
    }
    let mut said = Vec::new();
    for _ in 0..200 {
        said = shadowed(&stage, registered.bundle_id, "m1").await?;
        if said.len() == numbers.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(
        said.len() == numbers.len(),
        "{} of {} are scored",
        said.len(),
        numbers.len()
    );
    let expected = by_windows(&temporal, &numbers)?;
    for ((number, said), expected) in numbers.iter().zip(&said).zip(&expected) {
        let near = (said - expected).abs() <= 1e-3 * expected;
        assert!(near, "{number}: {said} instead of {expected}");
    }
    let by_the_champion = named(&stage).await?;
    assert_eq!(by_the_champion, vec![(0, None); numbers.len()], "each alone");
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_judged_by_windows_is_fitted_anew_on_windows() -> Result<()> {
    let stage = Stage::start_with(Role::ALL, |config| {
        config.trainer.poll_interval_ms = 200;
        config.trainer.epochs = Some(3);
        config.trainer.fewest_readings = 100;
        config.trainer.sensor_readings = 200;
    })
    .await?;
    stage.sensor("m1", "h").await?;
    let champion = bundle()?;
    rollout::register(&stage.running.service_channel(), CLASS, &champion).await?;
    stage.wait_until_judging().await?;
    let mut publisher = stage.publisher().await?;
    for batch in (0..600).collect::<Vec<u64>>().chunks(50) {
        let reading = |n: &u64| Plant::reading("m1/h", *n, Plant::healthy(*n));
        publisher.publish(batch.iter().map(reading).collect()).await?;
    }

    let (since, until) = (at(0).to_string(), at(600).to_string());
    let ask = ["models", "retrain", CLASS, "--since", &since, "--until", &until];
    stage.ask(&[&ask[..], &["--reason", "a new floor"]].concat()).await?;
    let ended = |said: &Value| ["done", "failed"].contains(&said["training_jobs"][0]["state"].as_str().unwrap_or(""));
    let jobs = stage.ask_until(&["models", "jobs", "--class", CLASS], ended).await?;
    let job = &jobs["training_jobs"][0];
    ensure!(job["state"] == "done", "{job:#}");
    let fitted = stage.ask(&["models", "show", &job["bundle_id"].to_string()]).await?;
    let manifest = &fitted["model"]["manifest"];
    ensure!(manifest["variant"] == "temporal_conv", "{fitted:#}");
    ensure!(manifest["temporal"]["window"]["spectra"] == WINDOW, "{fitted:#}");
    let gap = manifest["temporal"]["window"]["most_gap_ms"]
        .as_u64()
        .context("a gap")?;
    ensure!(
        gap == 25 * STEP * 100,
        "the usual interval is that of readings that follow one another: {fitted:#}"
    );
    stage.stop().await
}
