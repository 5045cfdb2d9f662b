//! Two connections with the fourth and the fifth step at page level, at the same moment: one incident.

use anyhow::{Result, bail};
use tocsin_domain::MachineId;
use tocsin_store::machine::machines_lock;
use tocsin_tests::{Plant, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn the_fourth_and_the_fifth_step_on_two_streams_open_one_incident() -> Result<()> {
    let stage = Stage::judging().await?;
    let mut one = stage.publisher().await?;
    let mut other = stage.publisher().await?;
    for n in 0..3 {
        one.publish(vec![Plant::reading("m1/h", n, Plant::failing(n))]).await?;
    }
    // The barrier: while the machine is locked here, both streams' readings wait for it.
    let machine: i32 = sqlx::query_scalar("select machine_id from machine where name = 'm1'")
        .fetch_one(stage.store.pool())
        .await?;
    let mut barrier = stage.store.begin().await?;
    machines_lock(&mut barrier, &[MachineId(machine)]).await?;
    let fourth = tokio::spawn(async move { one.publish(vec![Plant::reading("m1/h", 3, Plant::failing(3))]).await });
    waiting_for_the_lock(&stage, 1).await?;
    let fifth = tokio::spawn(async move { other.publish(vec![Plant::reading("m1/v", 4, Plant::failing(4))]).await });
    waiting_for_the_lock(&stage, 2).await?;
    barrier.rollback().await?;
    assert_eq!((fourth.await??.stored, fifth.await??.stored), (1, 1));
    let incidents: i64 = sqlx::query_scalar("select count(*) from incident")
        .fetch_one(stage.store.pool())
        .await?;
    // Whichever came first, the later one saw it: with the fifth step before the fourth, the fourth is late and opens
    // nothing, and the next step does.
    let mut third = stage.publisher().await?;
    third
        .publish(vec![Plant::reading("m1/h", 5, Plant::failing(5))])
        .await?;
    let after: i64 = sqlx::query_scalar("select count(*) from incident")
        .fetch_one(stage.store.pool())
        .await?;
    assert!(incidents <= 1 && after == 1, "{incidents}, then {after}");
    stage.stop().await
}

/// Waits until so many connections wait for a lock, at most 20 s.
async fn waiting_for_the_lock(stage: &Stage, wanted: i64) -> Result<()> {
    let waiting =
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    for _ in 0..1000 {
        if sqlx::query_scalar::<_, i64>(waiting)
            .fetch_one(stage.store.pool())
            .await?
            >= wanted
        {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    bail!("nobody waits for the machine's lock")
}
