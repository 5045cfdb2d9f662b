//! A model that its class has left behind: training is asked for, a challenger appears and is compared, and a person
//! promotes it, and goes back.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tocsin::Role;
use tocsin::publish::Publisher;
use tocsin::rollout;
use tocsin_domain::Scope;
use tocsin_tests::stage::CLASS;
use tocsin_tests::{Plant, Stage};

/// How loud all machines of the class are now; its model knows half to twice as loud ones.
const LOUDER: f32 = 1.5;

/// Readings of each machine that are learned from.
const STEPS: u64 = 400;

const MACHINES: [&str; 3] = ["m1", "m2", "m3"];

async fn send(publisher: &mut Publisher, steps: std::ops::Range<u64>) -> Result<()> {
    for step in steps {
        let reading = |(place, machine): (usize, &&str)| {
            let number = step * MACHINES.len() as u64 + place as u64;
            Plant::reading(&format!("{machine}/h"), step, Plant::healthy_at(LOUDER, number))
        };
        publisher
            .publish(MACHINES.iter().enumerate().map(reading).collect())
            .await?;
    }
    Ok(())
}

async fn newest_bundle(stage: &Stage) -> Result<i64> {
    let site = stage.store.site_list(&Scope::All).await?.remove(0).name;
    let sensors = stage.store.sensor_list(&Scope::All, Some(&site), None).await?;
    let sensor = sensors.iter().find(|one| one.machine.as_str() == "m1").context("m1")?;
    let newest = stage.store.reading_get(&Scope::All, sensor.sensor.id, None).await?;
    let bundle = newest.context("a reading")?.stored.bundle;
    Ok(bundle.map_or(0, |bundle| bundle.0.into()))
}

/// Sends readings until one names the bundle.
async fn judged_by(stage: &Stage, publisher: &mut Publisher, from: u64, bundle: i64) -> Result<()> {
    for step in from..from + 100 {
        send(publisher, step..step + 1).await?;
        if newest_bundle(stage).await? == bundle {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("no reading names bundle {bundle}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_fitted_anew_gets_a_challenger_that_is_compared_promoted_and_taken_back() -> Result<()> {
    let stage = Stage::start_with(Role::ALL, |config| {
        config.ensemble.shadow_share = 1.0;
        config.trainer.poll_interval_ms = 200;
        config.trainer.epochs = Some(3);
        config.trainer.fewest_readings = 100;
    })
    .await?;
    for machine in MACHINES {
        stage.sensor(machine, "h").await?;
    }
    let archive = Plant::bundle_of(CLASS, 1, Plant::of_mixed_fleet)?;
    let registered = rollout::register(&stage.running.service_channel(), CLASS, &archive).await?;
    let first = i64::from(registered.bundle_id);
    let mut publisher = stage.publisher().await?;
    judged_by(&stage, &mut publisher, 0, first).await?;
    send(&mut publisher, 0..STEPS).await?;

    let step = Duration::from_secs(10);
    let (since, end) = (Plant::start(), Plant::start() + step * STEPS as u32);
    let (since, end) = (since.to_string(), end.to_string());
    let ask = ["models", "retrain", CLASS, "--since", &since, "--until", &end];
    let job = stage
        .ask(&[&ask[..], &["--reason", "all pumps are louder since the new floor"]].concat())
        .await?;
    assert_eq!(job["training_job"]["class"], CLASS, "{job:#}");
    let ended = |said: &Value| ["done", "failed"].contains(&said["training_jobs"][0]["state"].as_str().unwrap_or(""));
    let jobs = stage.ask_until(&["models", "jobs", "--class", CLASS], ended).await?;
    let job = &jobs["training_jobs"][0];
    assert_eq!(
        (&job["state"], &job["progress"]),
        (&"done".into(), &1.0.into()),
        "{job:#}"
    );
    let second = job["bundle_id"].as_i64().context("a bundle")?;
    assert_ne!(second, first);
    let models = stage.ask(&["models", "list", "--class", CLASS]).await?;
    let challenger = models["models"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["bundle_id"] == second));
    assert_eq!(challenger.context("the new bundle")?["alias"], "challenger");

    let compared = shadowed(&stage, &mut publisher).await?;
    assert_eq!(
        (&compared["champion_bundle_id"], &compared["challenger_bundle_id"]),
        (&first.into(), &second.into())
    );
    let detectors = compared["detectors"].as_array().context("detectors")?;
    let residual = detectors
        .iter()
        .find(|one| one["detector"] == "residual")
        .context("residual")?;
    for side in ["champion", "challenger"] {
        assert!(residual[side]["median"]["value"].is_number(), "{residual:#}");
        assert!(residual[side]["alert_line"].is_number(), "{residual:#}");
    }
    let table = stage.say(&["models", "compare", CLASS]).await?;
    assert!(table.contains("challenger") && table.contains("mahalanobis"), "{table}");

    promoted_and_taken_back(&stage, &mut publisher, first, second).await?;
    stage.stop().await
}

/// The comparison, when some dozens of readings have been scored by both.
async fn shadowed(stage: &Stage, publisher: &mut Publisher) -> Result<Value> {
    for round in 0..40 {
        send(publisher, STEPS + round * 10..STEPS + (round + 1) * 10).await?;
        let said = stage.ask(&["models", "compare", CLASS]).await?;
        let compared = &said["comparison"];
        let count = compared["healthy"].as_u64().unwrap_or(0) + compared["around_incidents"].as_u64().unwrap_or(0);
        if count >= 60 {
            return Ok(compared.clone());
        }
    }
    bail!("no readings were scored by both")
}

async fn promoted_and_taken_back(stage: &Stage, publisher: &mut Publisher, first: i64, second: i64) -> Result<()> {
    let bundle = second.to_string();
    let proposed = stage
        .ask(&[
            "thresholds",
            "propose",
            "--class",
            CLASS,
            "--bundle",
            &bundle,
            "--method",
            "tail",
        ])
        .await?;
    let set = proposed["threshold_set"]["threshold_set_id"]
        .as_i64()
        .context("a set")?
        .to_string();
    stage.ask(&["thresholds", "test", &set]).await?;
    stage
        .ask(&["thresholds", "approve", &set, "--reason", "for the louder pumps"])
        .await?;
    stage
        .ask(&["models", "promote", &bundle, "--reason", "rebuilds the louder pumps"])
        .await?;
    judged_by(stage, publisher, STEPS + 1_000, second).await?;
    stage.ask(&["models", "rollback", CLASS, "--reason", "a trial"]).await?;
    judged_by(stage, publisher, STEPS + 2_000, first).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_nothing_to_learn_from_fails_with_its_reason() -> Result<()> {
    let stage = Stage::start_with(Role::ALL, |config| config.trainer.poll_interval_ms = 200).await?;
    stage.sensor("m1", "h").await?;
    let ask = ["models", "retrain", CLASS, "--reason", "in good hope"];
    stage.ask(&ask).await?;
    let again = stage.ask(&ask).await.err().map(|error| format!("{error:#}"));
    let failed = |said: &Value| said["training_jobs"][0]["state"] == "failed";
    let jobs = stage.ask_until(&["models", "jobs"], failed).await?;
    let error = jobs["training_jobs"][0]["error"].as_str().unwrap_or_default();
    assert!(error.contains("0 healthy readings of 1 sensors"), "{error}");
    assert!(
        again.is_none_or(|error| error.contains("not finished")),
        "one at a time"
    );
    stage.stop().await
}
