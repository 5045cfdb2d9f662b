//! A link that is cut for six hours, and a gateway that catches up: what is still so is said once, and says how late it
//! is; what is over is in the record and wakes nobody.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tocsin::publish::Publisher;
use tocsin_domain::{Clock, Timestamp};
use tocsin_tests::{Plant, Stage};

/// A step of the stage's class.
const STEP: Duration = Duration::from_secs(10);

/// How long the link is cut.
const CUT: Duration = Duration::from_hours(6);

/// Readings that a gateway sends at once.
const BATCH: usize = 400;

/// A machine that was well when the link was cut.
struct Story {
    stage: Stage,
    gateway: Publisher,
    cut_at: Timestamp,
}

impl Story {
    async fn begin() -> Result<Self> {
        let clock = Clock::manual(Plant::start() + Duration::from_hours(1));
        let stage = Stage::start_at(clock, tocsin::Role::ALL, |_| ()).await?;
        stage.sensor("m1", "h").await?;
        stage.bundle(1).await?;
        let gateway = stage.wall_clock_publisher().await?;
        let cut_at = stage.clock.now();
        let mut story = Self { stage, gateway, cut_at };
        story.sends(20, |_| false).await?;
        Ok(story)
    }

    /// Steps in time.
    async fn sends(&mut self, steps: u32, fails: fn(u32) -> bool) -> Result<()> {
        for step in 0..steps {
            let now = self.stage.clock.now();
            let reading = reading(now, fails(step));
            assert_eq!(self.gateway.publish(vec![reading]).await?.stored, 1);
            self.stage.clock.advance(STEP);
        }
        self.cut_at = self.stage.clock.now();
        Ok(())
    }

    /// The link is back after the cut, in which the machine failed at the times so long after its beginning.
    async fn catches_up(&mut self, fails: fn(Duration) -> bool) -> Result<()> {
        self.stage.clock.advance(CUT);
        let steps = (CUT.as_secs() / STEP.as_secs()) as u32;
        let kept: Vec<_> = (0..=steps)
            .map(|step| reading(self.cut_at + STEP * step, fails(STEP * step)))
            .collect();
        for batch in kept.chunks(BATCH) {
            assert_eq!(self.gateway.publish(batch.to_vec()).await?.stored, batch.len() as u32);
        }
        self.stage.clock.advance(STEP);
        Ok(())
    }

    async fn incidents(&self) -> Result<Vec<Value>> {
        let listed = self.stage.ask(&["incidents", "list"]).await?;
        Ok(listed["incidents"].as_array().cloned().unwrap_or_default())
    }
}

fn reading(at: Timestamp, fails: bool) -> tocsin_contracts::ingest::v1::Reading {
    let number = (at.as_micros() / 10_000_000).unsigned_abs();
    let bins = if fails {
        Plant::failing(number)
    } else {
        Plant::healthy(number)
    };
    Plant::reading_at("m1/h", at, bins)
}

fn time(value: &Value) -> Result<Timestamp> {
    Ok(Timestamp::parse("time", value.as_str().unwrap_or_default())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_began_in_hour_two_of_the_cut_is_one_page_that_says_how_late_it_is() -> Result<()> {
    let mut story = Story::begin().await?;
    let began = story.cut_at + Duration::from_hours(2);
    story.catches_up(|after| after >= Duration::from_hours(2)).await?;
    let pages = story
        .stage
        .receiver
        .wait_until("the page", |pages| !pages.is_empty())
        .await?;
    let summary = pages[0]["summary"].as_str().unwrap_or_default();
    assert!(summary.ends_with(", delayed by 3 h"), "{summary}");
    let late = pages[0]["evidence"]["delayed_by_ms"]
        .as_u64()
        .map(Duration::from_millis);
    let onset = Duration::from_hours(4);
    assert!(
        late.is_some_and(|late| onset < late + STEP * 15 && late <= onset),
        "{late:?}"
    );
    let opened = time(&pages[0]["opened_at"])?;
    assert!(began <= opened && opened < began + STEP * 8, "{opened}, not {began}");

    // In time again, and as bad: who was told knows.
    story.sends(30, |_| true).await?;
    assert_eq!(story.stage.receiver.pages().len(), 1);
    story.sends(30, |_| false).await?;
    let over = |pages: &[Value]| pages.len() == 2;
    let pages = story.stage.receiver.wait_until("its end", over).await?;
    assert_eq!(pages[1]["action"], "resolve");
    assert_eq!(story.incidents().await?.len(), 1);
    story.stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_came_and_went_inside_the_cut_is_a_closed_incident_and_no_page() -> Result<()> {
    let mut story = Story::begin().await?;
    let began = story.cut_at + Duration::from_hours(2);
    let fails = |after| (Duration::from_hours(2)..Duration::from_hours(3)).contains(&after);
    story.catches_up(fails).await?;
    story.sends(30, |_| false).await?;
    let incidents = story.incidents().await?;
    assert_eq!(incidents.len(), 1, "{incidents:#?}");
    let (opened, closed) = (time(&incidents[0]["opened_at"])?, time(&incidents[0]["closed_at"])?);
    assert!(began <= opened && opened < began + STEP * 8, "{opened}, not {began}");
    let over = began + Duration::from_hours(1);
    assert!(over <= closed && closed < over + STEP * 30, "{closed}, not {over}");
    assert_eq!(incidents[0]["severity"], "page");
    let owed: i64 = sqlx::query_scalar("select count(*) from outbox")
        .fetch_one(story.stage.store.pool())
        .await?;
    assert_eq!(owed, 0);
    story.stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_was_out_before_the_cut_is_not_taken_back_by_a_quiet_hour_inside_it() -> Result<()> {
    let mut story = Story::begin().await?;
    story.sends(20, |_| true).await?;
    story
        .stage
        .receiver
        .wait_until("the page", |pages| !pages.is_empty())
        .await?;
    let fails = |after| !(Duration::from_hours(2)..Duration::from_hours(3)).contains(&after);
    story.catches_up(fails).await?;
    story.sends(5, |_| true).await?;
    assert_eq!(story.stage.receiver.pages().len(), 1, "it is as it was");
    assert_eq!(story.incidents().await?.len(), 1);
    story.stage.stop().await
}
