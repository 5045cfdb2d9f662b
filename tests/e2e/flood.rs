//! A load step raises two hundred machines at once, and one of them fails in it: two pages, the flood's and that one's.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tocsin_domain::Clock;
use tocsin_tests::{Plant, Stage};

const MACHINES: u64 = 200;
/// The machine that fails in the load step.
const HIDDEN: u64 = 123;
const STEP: Duration = Duration::from_secs(10);

/// Every machine under more load: louder in one band, some more, some less.
fn loaded(machine: u64, number: u64) -> Vec<f32> {
    let mut bins = Plant::healthy(1_000 * machine + number);
    let gain = 3.0 + 0.02 * (machine % 10) as f32;
    for amplitude in &mut bins[8..16] {
        *amplitude *= gain;
    }
    bins
}

/// The same with a fault: other bins as well.
fn failing(number: u64) -> Vec<f32> {
    let mut bins = loaded(HIDDEN, number);
    for amplitude in &mut bins[40..46] {
        *amplitude *= 12.0;
    }
    bins
}

fn triggers(pages: &[Value]) -> Vec<&Value> {
    pages.iter().filter(|page| page["action"] == "trigger").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_step_on_two_hundred_machines_with_one_fault_in_it_is_two_pages() -> Result<()> {
    let clock = Clock::manual(Plant::start() + Duration::from_hours(1));
    let stage = Stage::start_at(clock, tocsin::Role::ALL, |config| config.pager.flood_wait_ms = 10_000).await?;
    for machine in 0..MACHINES {
        stage.sensor(&format!("m{machine}"), "h").await?;
    }
    stage.bundle(1).await?;
    let mut gateway = stage.wall_clock_publisher().await?;
    for number in 0..20 {
        let spectrum = |machine: u64| match (number, machine) {
            (0..8, _) => Plant::healthy(1_000 * machine + number),
            (_, HIDDEN) => failing(number),
            _ => loaded(machine, number),
        };
        let now = stage.clock.now();
        let readings = (0..MACHINES).map(|m| Plant::reading_at(&format!("m{m}/h"), now, spectrum(m)));
        let stored = gateway.publish(readings.collect()).await?.stored;
        assert_eq!(u64::from(stored), MACHINES);
        stage.clock.advance(STEP);
    }
    let both = |pages: &[Value]| triggers(pages).len() >= 2;
    stage.receiver.wait_until("both pages", both).await?;
    // Another step, and what might follow it.
    stage.clock.advance(Duration::from_mins(1));
    tokio::time::sleep(Duration::from_secs(1)).await;

    // A page may come twice under its key, as when the clock jumps over a lease.
    let mut pages = stage.receiver.pages();
    let mut keys = std::collections::BTreeSet::new();
    pages.retain(|page| keys.insert(page["page_key"].to_string()));
    let summaries: Vec<&str> = pages.iter().filter_map(|page| page["summary"].as_str()).collect();
    assert_eq!(pages.len(), 2, "{summaries:#?}");
    let of = |reason: &str| {
        pages
            .iter()
            .find(|page| page["evidence"]["reason"] == reason)
            .unwrap_or(&Value::Null)
    };
    assert_eq!(of("opened")["machine"], format!("m{HIDDEN}"), "{summaries:#?}");
    let flood = &of("flood")["evidence"]["flood"];
    assert_eq!(flood["incidents"], MACHINES - 1, "{summaries:#?}");
    assert_eq!(flood["common"]["class"], "pump", "{flood:#}");

    let floods = stage.ask(&["incidents", "floods"]).await?["floods"].clone();
    assert_eq!(floods[0]["unacknowledged"], MACHINES - 1, "{floods:#}");
    let number = floods[0]["flood_id"].to_string();
    let members = stage.ask(&["incidents", "floods", &number]).await?["flood"]["incidents"].clone();
    assert_eq!(members.as_array().map(Vec::len), Some(MACHINES as usize - 1));
    let taken = stage
        .ask(&["incidents", "ack-flood", &number, "--note", "load step"])
        .await?["flood"]
        .clone();
    assert_eq!(taken["acknowledged"], MACHINES - 1, "{taken:#}");
    let told = |pages: &[Value]| pages.iter().filter(|page| page["action"] == "acknowledge").count() == 1;
    stage.receiver.wait_until("that it was taken", told).await?;
    stage.stop().await
}
