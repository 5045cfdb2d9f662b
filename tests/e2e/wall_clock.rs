//! A gateway on the wall clock: its spool is judged as it catches up, and acts from five steps before now on.

use std::time::Duration;

use anyhow::Result;
use tocsin_contracts::ingest::v1::{Reading, RejectionCode};
use tocsin_domain::{Clock, Timestamp};
use tocsin_store::partition::Day;
use tocsin_tests::{Plant, Stage};

/// A step of the stage's class.
const STEP: Duration = Duration::from_secs(10);

/// Steps before now from which on a spool acts.
const NEAR: u32 = 5;

/// A reading of `m1/h` at each step from so many before `now` to so many before it.
fn spool(now: Timestamp, from: u32, to: u32, bins: fn(u64) -> Vec<f32>) -> Vec<Reading> {
    (to..=from)
        .rev()
        .map(|steps| Plant::reading_at("m1/h", now - STEP * steps, bins(u64::from(steps))))
        .collect()
}

async fn count(stage: &Stage, query: &'static str) -> Result<i64> {
    Ok(sqlx::query_scalar(query).fetch_one(stage.store.pool()).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_of_a_failing_machine_pages_once_when_it_is_near_now_and_says_how_late() -> Result<()> {
    let stage = Stage::judging().await?;
    let mut gateway = stage.wall_clock_publisher().await?;
    let now = Clock::system().now();
    assert_eq!(gateway.publish(spool(now, 360, 0, Plant::failing)).await?.stored, 361);
    let flagged = count(&stage, "select count(*) from reading where verdict & 255 = 2").await?;
    assert_eq!(flagged, 361, "all of it is judged");
    let pages = stage.receiver.wait_until("the page", |pages| !pages.is_empty()).await?;
    let page = &pages[0];
    assert_eq!((&page["action"], &page["machine"]), (&"trigger".into(), &"m1".into()));
    assert_eq!(page["replay"], false);
    // It opened when it began, and was said with the first reading near enough.
    let late = page["evidence"]["delayed_by_ms"].as_u64().map(Duration::from_millis);
    assert!(
        late.is_some_and(|late| STEP * 340 < late && late <= STEP * 360),
        "{page:#}"
    );
    let step = Timestamp::parse("step", page["evidence"]["step"].as_str().unwrap_or_default())?;
    // The start of a step, that is up to a step before its reading.
    assert!(step + STEP * (NEAR + 1) > now, "{step} is not near {now}");
    let summary = page["summary"].as_str().unwrap_or_default();
    assert!(summary.contains(", delayed by "), "{summary}");
    let opened = Timestamp::parse("opened_at", page["opened_at"].as_str().unwrap_or_default())?;
    assert!(opened < now - STEP * 340, "{opened} is not when it began");

    // It goes on to fail in time, and nobody is told again.
    let in_time = vec![Plant::reading_at("m1/h", Clock::system().now(), Plant::failing(7))];
    assert_eq!(gateway.publish(in_time).await?.stored, 1);
    assert_eq!(count(&stage, "select count(*) from outbox").await?, 1);
    assert_eq!(stage.receiver.triggers().len(), 1);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_recovered_inside_the_spool_pages_nobody_and_has_a_closed_incident() -> Result<()> {
    let stage = Stage::judging().await?;
    let mut gateway = stage.wall_clock_publisher().await?;
    let now = Clock::system().now();
    let mut readings = spool(now, 360, 90, Plant::failing);
    readings.extend(spool(now, 89, 0, Plant::healthy));
    assert_eq!(gateway.publish(readings).await?.stored, 361);
    assert!(count(&stage, "select count(*) from reading where verdict & 255 = 2").await? >= 271);
    let incidents = "select count(*) from incident where paged_at is not null and closed_at is not null";
    assert_eq!(count(&stage, incidents).await?, 1);
    assert_eq!(count(&stage, "select count(*) from incident").await?, 1);
    assert_eq!(count(&stage, "select count(*) from outbox").await?, 0);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_from_further_ahead_than_the_site_allows_is_rejected() -> Result<()> {
    let stage = Stage::judging().await?;
    let mut gateway = stage.wall_clock_publisher().await?;
    let now = Clock::system().now();
    let at = |number: u64, ahead| Plant::reading_at("m1/h", now + ahead, Plant::healthy(number));
    // The bound is five minutes.
    let readings = vec![
        at(1, Duration::ZERO),
        at(2, Duration::from_mins(4)),
        at(3, Duration::from_hours(1)),
    ];
    let ack = gateway.publish(readings).await?;
    let told: Vec<_> = ack
        .rejections
        .iter()
        .map(|rejection| (rejection.index, rejection.code(), rejection.field.as_str()))
        .collect();
    assert_eq!(
        (ack.stored, told),
        (2, vec![(2, RejectionCode::OutOfTime, "captured_at")])
    );
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_partitions_of_today_and_tomorrow_are_there_before_a_reading_is() -> Result<()> {
    let before = Day::of(Clock::system().now());
    let stage = Stage::start().await?;
    for _ in 0..400 {
        let days = stage.store.partitions_list().await?;
        if let [today, tomorrow] = days[..] {
            assert!(today >= before && tomorrow == today.next(), "{days:?}");
            return stage.stop().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("there are no partitions")
}
