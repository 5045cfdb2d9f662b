//! The dashboards in `deploy/grafana`: every query runs on the real schema, by the role that is meant for it.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Column, Connection, PgConnection, Row, TypeInfo};
use tocsin_tests::stage::SITE;
use tocsin_tests::{Plant, Stage};

/// Panels with nothing to show of a plant that is replayed, has no flood and keeps nothing from people.
const EMPTY_HERE: [&str; 4] = [
    "Sensors that were heard longest ago",
    "Time to acknowledge",
    "Floods",
    "Kept from people",
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana")
}

fn dashboards() -> Result<Vec<(String, Value)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder().join("dashboards"))? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        let dashboard = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        found.push((path.file_stem().unwrap_or_default().display().to_string(), dashboard));
    }
    Ok(found)
}

/// What Grafana sends to the database: its macros and variables filled in. The period is all of time.
fn filled_in(sql: &str) -> Result<String> {
    let (from, to) = ("timestamptz '2000-01-01'", "timestamptz '2100-01-01'");
    let mut sql = sql.replace("$__timeFrom()", from).replace("$__timeTo()", to);
    sql = sql.replace("$__interval", "15m");
    for (variable, value) in [("site", SITE), ("machine", "m1"), ("sensor", "h")] {
        sql = sql.replace(&format!("${{{variable}:sqlstring}}"), &format!("'{value}'"));
    }
    while let Some((before, rest)) = sql.split_once("$__timeFilter(") {
        let (column, after) = rest.split_once(')').context("$__timeFilter has no end")?;
        sql = format!("{before}{column} between {from} and {to}{after}");
    }
    if sql.contains('$') {
        bail!("a macro or variable is left in {sql}");
    }
    Ok(sql)
}

/// A machine that fails and is paged, and everything about it in the database.
async fn plant_with_an_incident() -> Result<Stage> {
    let stage = Stage::judging().await?;
    let mut publisher = stage.publisher().await?;
    for n in 0..45 {
        let bins = if n < 30 { Plant::healthy(n) } else { Plant::failing(n) };
        publisher.publish(vec![Plant::reading("m1/h", n, bins)]).await?;
    }
    stage.receiver.wait_until("the page", |pages| !pages.is_empty()).await?;
    Ok(stage)
}

async fn reader(stage: &Stage) -> Result<PgConnection> {
    let grants = std::fs::read_to_string(folder().join("reader.sql"))?;
    let mut connection = PgConnection::connect(stage.postgres.url()).await?;
    sqlx::raw_sql(AssertSqlSafe(grants)).execute(&mut connection).await?;
    sqlx::raw_sql("set role tocsin_grafana")
        .execute(&mut connection)
        .await?;
    Ok(connection)
}

async fn shows(connection: &mut PgConnection, panel: &Value, target: &Value) -> Result<()> {
    let sql = filled_in(target["rawSql"].as_str().context("a target has no rawSql")?)?;
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await?;
    let title = panel["title"].as_str().context("a panel has no title")?;
    if rows.is_empty() != EMPTY_HERE.contains(&title) {
        bail!("{} rows", rows.len());
    }
    let series = target["format"] == "time_series";
    if let Some(first) = rows.first().filter(|_| series) {
        let time = first.column(0);
        if (time.name(), time.type_info().name()) != ("time", "TIMESTAMPTZ") {
            bail!("a time series begins with {time:?}");
        }
    }
    Ok(())
}

async fn is_refused(connection: &mut PgConnection, statement: &'static str) -> Result<()> {
    let answer = sqlx::raw_sql(statement).execute(connection).await;
    let error = answer.err().with_context(|| format!("was allowed: {statement}"))?;
    if !error.to_string().contains("permission denied") {
        bail!("{statement}: {error}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_panel_shows_what_is_in_the_database_to_a_role_that_sees_no_secret_and_changes_nothing() -> Result<()> {
    let stage = plant_with_an_incident().await?;
    let mut connection = reader(&stage).await?;
    let dashboards = dashboards()?;
    assert_eq!(dashboards.len(), 4);
    for (name, dashboard) in &dashboards {
        assert_eq!(dashboard["uid"], **name);
        for variable in dashboard["templating"]["list"].as_array().context("variables")? {
            let sql = filled_in(variable["query"].as_str().context("a variable has no query")?)?;
            let values = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await?;
            assert!(!values.is_empty(), "{name}: {}", variable["name"]);
        }
        for panel in dashboard["panels"].as_array().context("panels")? {
            for target in panel["targets"].as_array().context("targets")? {
                shows(&mut connection, panel, target)
                    .await
                    .with_context(|| format!("{name}: {}", panel["title"]))?;
            }
        }
    }
    for statement in [
        "select secret_hash from gateway_token",
        "select password_hash from account",
        "select secret_hash from session",
        "delete from incident",
        "insert into site (name) values ('x')",
    ] {
        is_refused(&mut connection, statement).await?;
    }
    drop(connection);
    stage.stop().await
}
