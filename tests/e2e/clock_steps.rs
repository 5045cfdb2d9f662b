//! A host's clock that steps: it may delay a page by as much as it is wrong, and neither loses nor doubles one.

use std::time::Duration;

use anyhow::Result;
use tocsin::publish::Publisher;
use tocsin_domain::{Clock, Timestamp};
use tocsin_tests::{Plant, Stage};

/// A step of the stage's class.
const STEP: Duration = Duration::from_secs(10);

/// What the clock is wrong by: within what a site allows readings to lie ahead.
const WRONG: Duration = Duration::from_mins(4);

/// The plant's own time goes on evenly, whatever the platform's clock shows.
struct Story {
    stage: Stage,
    gateway: Publisher,
    true_time: Timestamp,
}

impl Story {
    async fn begin() -> Result<Self> {
        let clock = Clock::manual(Plant::start() + Duration::from_hours(1));
        let stage = Stage::start_at(clock, tocsin::Role::ALL, |_| ()).await?;
        stage.sensor("m1", "h").await?;
        stage.bundle(1).await?;
        let gateway = stage.wall_clock_publisher().await?;
        let true_time = stage.clock.now();
        let mut story = Self {
            stage,
            gateway,
            true_time,
        };
        story.sends(20, Plant::healthy).await?;
        Ok(story)
    }

    async fn sends(&mut self, steps: u64, shows: fn(u64) -> Vec<f32>) -> Result<()> {
        for step in 0..steps {
            let reading = Plant::reading_at("m1/h", self.true_time, shows(step));
            assert_eq!(self.gateway.publish(vec![reading]).await?.stored, 1);
            self.true_time = self.true_time + STEP;
            self.stage.clock.advance(STEP);
        }
        Ok(())
    }

    async fn owed(&self) -> Result<i64> {
        let count = sqlx::query_scalar("select count(*) from outbox");
        Ok(count.fetch_one(self.stage.store.pool()).await?)
    }

    /// What was taken at the end, some polls later.
    async fn told(&self) -> Result<Vec<String>> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(self.stage.receiver.triggers())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_runs_ahead_keeps_a_page_back_until_it_is_right_and_then_it_is_said_once() -> Result<()> {
    let mut story = Story::begin().await?;
    story.stage.clock.advance(WRONG);
    story.sends(20, Plant::failing).await?;
    // All of it looks like a spool that catches up: it is in the record, and nobody is told.
    let listed = story.stage.ask(&["incidents", "list"]).await?;
    assert_eq!(listed["incidents"][0]["severity"], "page", "{listed:#}");
    assert_eq!(story.owed().await?, 0);
    story.stage.clock.turn_back(WRONG);
    story.sends(20, Plant::failing).await?;
    story
        .stage
        .receiver
        .wait_until("the page", |pages| !pages.is_empty())
        .await?;
    assert_eq!((story.told().await?.len(), story.owed().await?), (1, 1));
    story.stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_turned_back_pages_as_ever() -> Result<()> {
    let mut story = Story::begin().await?;
    story.stage.clock.turn_back(WRONG);
    story.sends(20, Plant::failing).await?;
    story
        .stage
        .receiver
        .wait_until("the page", |pages| !pages.is_empty())
        .await?;
    story.stage.clock.advance(WRONG);
    story.sends(20, Plant::failing).await?;
    assert_eq!((story.told().await?.len(), story.owed().await?), (1, 1));
    story.stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_waits_to_be_repeated_outlives_a_step_either_way_and_is_taken_once() -> Result<()> {
    for is_back in [true, false] {
        let mut story = Story::begin().await?;
        story.stage.receiver.answer_with(503);
        story.sends(10, Plant::failing).await?;
        let tried = "select count(*) from delivery_attempt where outcome = 'refused'";
        for _ in 0..400 {
            let count: i64 = sqlx::query_scalar(tried).fetch_one(story.stage.store.pool()).await?;
            if count > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        story.stage.receiver.answer_with(200);
        if is_back {
            story.stage.clock.turn_back(WRONG);
        } else {
            story.stage.clock.advance(WRONG);
        }
        // It is due again when the clock is where it was, at the latest.
        story.stage.clock.advance(WRONG + Duration::from_mins(6));
        story
            .stage
            .receiver
            .wait_until("the page", |pages| !pages.is_empty())
            .await?;
        assert_eq!(story.told().await?.len(), 1, "turned back: {is_back}");
        story.stage.stop().await?;
    }
    Ok(())
}
