//! A plant that stands still for a weekend: what its sensors pick up from next door, or don't send at all, is nobody's
//! alarm.

use std::time::Duration;

use anyhow::Result;
use tocsin_contracts::ingest::v1::{Condition, Reading};
use tocsin_domain::Clock;
use tocsin_tests::{Plant, Stage};

/// Machines that send, and machines that don't.
const SENDING: usize = 150;
const SILENT: usize = 50;

/// A step of the stage's class.
const STEP: Duration = Duration::from_secs(10);

/// Steps in a row that each machine sends, more than open an incident, and how long it is quiet after them.
const BURST: u32 = 8;
const PAUSE: Duration = Duration::from_hours(12);

fn at_rpm(mut reading: Reading, rpm: f32) -> Reading {
    reading.condition = Some(Condition {
        rpm: Some(rpm),
        ..Condition::default()
    });
    reading
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_machines_that_stand_still_for_a_weekend_page_nobody() -> Result<()> {
    let clock = Clock::manual(Plant::start() + Duration::from_hours(1));
    let stage = Stage::start_at(clock, tocsin::Role::ALL, |_| ()).await?;
    let name = |nth: usize| format!("m{nth}");
    for nth in 0..SENDING + SILENT {
        stage.sensor(&name(nth), "h").await?;
    }
    stage.bundle(1).await?;
    let mut gateway = stage.wall_clock_publisher().await?;
    // On Friday all of them run, on Saturday and Sunday they stand, and on Monday they run again.
    for (burst, rpm) in [1_500.0, 0.0, 0.0, 0.0, 0.0, 1_500.0].into_iter().enumerate() {
        let machines = if rpm > 0.0 { SENDING + SILENT } else { SENDING };
        for step in 0..BURST {
            let now = stage.clock.now();
            let readings = (0..machines).map(|nth| {
                let number = burst as u64 * 10_000 + u64::from(step) * 1_000 + nth as u64;
                // What a machine that runs would be paged for.
                let bins = if rpm > 0.0 {
                    Plant::healthy(number)
                } else {
                    Plant::failing(number)
                };
                at_rpm(Plant::reading_at(&format!("{}/h", name(nth)), now, bins), rpm)
            });
            assert_eq!(gateway.publish(readings.collect()).await?.stored, machines as u32);
            stage.clock.advance(STEP);
        }
        stage.clock.advance(PAUSE);
    }
    let count = async |query: &'static str| -> Result<i64> {
        Ok(sqlx::query_scalar(query).fetch_one(stage.store.pool()).await?)
    };
    let unjudged = count("select count(*) from reading where verdict & 255 = 3").await?;
    assert_eq!(
        unjudged,
        SENDING as i64 * i64::from(BURST) * 4,
        "they are stored, and unjudged"
    );
    assert_eq!(count("select count(*) from incident").await?, 0);
    assert_eq!(count("select count(*) from outbox").await?, 0);

    // The same readings of one that runs are a page: it is not that nobody listens.
    for step in 0..BURST {
        let reading = Plant::reading_at("m0/h", stage.clock.now(), Plant::failing(u64::from(step)));
        gateway.publish(vec![at_rpm(reading, 1_500.0)]).await?;
        stage.clock.advance(STEP);
    }
    let pages = stage.receiver.wait_until("the page", |pages| !pages.is_empty()).await?;
    assert_eq!((pages.len(), &pages[0]["machine"]), (1, &"m0".into()));
    stage.stop().await
}
