//! A challenger before it judges anything: what it would have opened is told over the spectra that are kept, and comes true
//! when it judges the same spectra. All through the command line.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tocsin::publish::Publisher;
use tocsin::rollout;
use tocsin_domain::{Scope, Timestamp};
use tocsin_tests::stage::CLASS;
use tocsin_tests::{Plant, Stage};

/// Two failures of one machine of two.
const STEPS: u64 = 120;
/// Where the challenger is waited for, and where it judges the same again.
const WAITED: u64 = 1_000;
const AGAIN: u64 = 2_000;

fn at(step: u64) -> Timestamp {
    Plant::start() + Duration::from_secs(10) * step as u32
}

/// The same spectra, from whatever step on.
async fn send(publisher: &mut Publisher, steps: Range<u64>) -> Result<()> {
    let first = steps.start;
    for step in steps {
        let spectrum = match step - first {
            n @ (30..40 | 80..95) => Plant::failing(n),
            n => Plant::healthy(n),
        };
        let both = vec![
            Plant::reading("m1/h", step, spectrum),
            Plant::reading("m2/h", step, Plant::healthy(step - first)),
        ];
        publisher.publish(both).await?;
    }
    Ok(())
}

async fn what_if(stage: &Stage, asked: &[&str], first: u64) -> Result<Value> {
    let (from, to) = (at(first).to_string(), at(first + STEPS).to_string());
    let period = ["--from", &from, "--to", &to];
    let said = stage
        .ask(&[&["thresholds", "whatif"][..], asked, &period].concat())
        .await?;
    Ok(said["what_if"].clone())
}

/// Sends healthy readings until one names the bundle.
async fn judged_by(stage: &Stage, publisher: &mut Publisher, bundle: i32) -> Result<()> {
    for step in WAITED..WAITED + 100 {
        publisher
            .publish(vec![Plant::reading("m2/h", step, Plant::healthy(step))])
            .await?;
        let sensors = stage.store.sensor_list(&Scope::All, None, None).await?;
        let sensor = sensors.iter().find(|one| one.machine.as_str() == "m2").context("m2")?;
        let newest = stage.store.reading_get(&Scope::All, sensor.sensor.id, None).await?;
        if newest.and_then(|newest| newest.stored.bundle).map(|id| id.0) == Some(bundle) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("no reading names bundle {bundle}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_challenger_would_have_opened_is_told_and_comes_true_when_it_judges() -> Result<()> {
    let stage = Stage::judging().await?;
    let mut publisher = stage.publisher().await?;
    send(&mut publisher, 0..STEPS).await?;
    let class = stage.store.class_by_name(&CLASS.parse()?).await?.id;
    let champion = stage.store.binding_current(class).await?.context("a binding")?;
    let set = champion.threshold_set.context("limits in force")?.to_string();
    let bundle = champion.champion.context("a champion")?.1.to_string();
    let plain = what_if(&stage, &[&set], 0).await?;
    assert!(plain["coverage"].is_null(), "{plain:#}");
    let unchanged = what_if(&stage, &["--bundle", &bundle], 0).await?;
    for what in ["expected", "active_expected", "machines", "changes", "threshold_set_id"] {
        assert_eq!(unchanged[what], plain[what], "{what}");
    }
    let all = 2 * STEPS;
    assert_eq!(
        (&unchanged["coverage"]["readings"], &unchanged["coverage"]["scored"]),
        (&all.into(), &all.into())
    );

    let archive = Plant::bundle(CLASS, 2)?;
    let channel = stage.running.service_channel();
    let challenger = rollout::register(&channel, CLASS, &archive).await?;
    assert!(!challenger.champion);
    let asked = ["--bundle", "challenger", "--class", CLASS, "--baselines", "active"];
    let tried = what_if(&stage, &asked, 0).await?;
    assert_eq!(
        (&tried["bundle_id"], &tried["threshold_set_id"], &tried["baselines"]),
        (
            &challenger.bundle_id.into(),
            &challenger.threshold_set_id.into(),
            &"active".into()
        )
    );
    assert_eq!(
        tried["active_expected"], plain["expected"],
        "what is in force did what it did"
    );
    assert_eq!(tried["coverage"]["scored"], all, "{tried:#}");
    let table = stage
        .say(&[
            "thresholds",
            "whatif",
            "--bundle",
            "challenger",
            "--class",
            CLASS,
            "--from",
            &at(0).to_string(),
            "--to",
            &at(STEPS).to_string(),
        ])
        .await?;
    assert!(
        table.starts_with(&format!("all {all} readings could be scored as asked\n")),
        "{table}"
    );

    let (number, set) = (
        challenger.bundle_id.to_string(),
        challenger.threshold_set_id.to_string(),
    );
    let promote = [
        "models",
        "promote",
        &number,
        "--threshold-set",
        &set,
        "--reason",
        "it was tried",
    ];
    stage.ask(&promote).await?;
    judged_by(&stage, &mut publisher, challenger.bundle_id).await?;
    send(&mut publisher, AGAIN..AGAIN + STEPS).await?;
    let came = what_if(&stage, &[&set], AGAIN).await?;
    assert!(tried["expected"]["pages"]["events"].as_u64() >= Some(1), "{tried:#}");
    for what in ["readings", "machine_hours", "pages", "alerts"] {
        assert_eq!(came["expected"][what], tried["expected"][what], "{what}");
    }
    stage.stop().await
}
