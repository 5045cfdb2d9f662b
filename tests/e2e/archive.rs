//! `kill -9` at each step of archiving days, and at any time, again and again: nothing is lost, nothing is doubled, and `DuckDB` reads what is there.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tocsin_domain::{
    Clock, Condition, ContentHash, Detector, OperatingState, ReadingFlags, ReadingKey, Scope, Scores, SensorId, Slug,
    SpectrumSpec, Timestamp, Verdict,
};
use tocsin_store::Store;
use tocsin_store::fleet::{NewClass, NewSensor, NewSite};
use tocsin_store::partition::Day;
use tocsin_store::reading::{InsertOutcome, NewReading, readings_copy, readings_insert};
use tocsin_tests::binary::{self, Process};
use tocsin_tests::postgres::filled;
use tocsin_tests::{Postgres, tools};

const DAY: Duration = Duration::from_hours(24);
const SENSORS: u64 = 4;
const DAYS: u64 = 3;
/// Readings of a sensor in a day.
const DAILY: u64 = 2_880;

const QUERY: &str = "
import duckdb, json, sys
files = sys.argv[1] + '/readings/*/*/*.parquet'
row = duckdb.sql(f'''select count(*), count(distinct (sensor_id, captured_at)), count(spectrum), count(distinct machine),
    sum(residual), count(distinct date), min(site), sum((verdict = 'alert')::int) from read_parquet('{files}', hive_partitioning = true)''').fetchall()[0]
print(json.dumps([str(value) for value in row]))
";

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_time_loses_and_doubles_nothing_and_duckdb_reads_it_all() -> Result<()> {
    let Some(python) = tools::python_with(&["duckdb"]) else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let postgres = Postgres::fresh().await?;
    let store = postgres.store().await?;
    let sent = fill(&store).await?;
    let objects = folder.path().join("objects");
    let config = folder.path().join("tocsin.toml");
    let text = format!(
        "[database]\nurl = \"{}\"\n[objects]\nurl = \"{}\"\n",
        postgres.url(),
        objects.display()
    );
    std::fs::write(&config, text)?;
    let config = config.to_str().context("the path")?;
    let run = ["archive", "--config", config, "run"];
    let hot = exported(&python, config, &folder.path().join("hot")).await?;

    for state in ["writing", "written", "verified", "keyed", "archived"] {
        killed_before(&store, state, &run, &folder.path().join("log")).await?;
        assert_eq!(counted(&store).await?, sent.len() as i64, "after a kill before {state}");
    }
    let mut seen = BTreeSet::new();
    for kill in 1_u64.. {
        ensure!(kill < 200, "the archive does not come to an end");
        let mut process = Process::start(&run, &folder.path().join("log"))?;
        tokio::time::sleep(Duration::from_millis(kill * 60)).await;
        let done = !process.is_alive();
        process.kill()?;
        let states: Vec<String> = sqlx::query_scalar("select state from archive_part")
            .fetch_all(store.pool())
            .await?;
        seen.extend(states);
        assert_eq!(counted(&store).await?, sent.len() as i64, "after kill {kill}");
        let hot: i64 = sqlx::query_scalar("select count(*) from reading")
            .fetch_one(store.pool())
            .await?;
        if done && hot == 0 {
            break;
        }
        leases_run_out(&store).await?;
    }
    println!("states met: {seen:?}");

    let status: Value =
        serde_json::from_str(&binary::run(&["archive", "--config", config, "--format", "json", "status"], &[]).await?)?;
    let status = &status["archive"];
    assert_eq!(status["archived_readings"], sent.len(), "{status:#}");
    let kept = status["archived_spectra"].as_u64().context("spectra")?;
    assert!(
        kept >= DAYS * SENSORS * 24 && kept < sent.len() as u64 / 4,
        "{status:#}"
    );

    let read = query(&python, &objects)?;
    let alerts = sent.iter().filter(|reading| reading.verdict.is_flagged()).count();
    let sum: f64 = sent
        .iter()
        .filter_map(|r| r.scores.get(Detector::Residual))
        .map(f64::from)
        .sum();
    assert_eq!(read[0], sent.len().to_string(), "{read:?}");
    assert_eq!(read[1], read[0], "doubled");
    assert_eq!((read[2].as_str(), read[3].as_str()), (kept.to_string().as_str(), "2"));
    assert!((read[4].parse::<f64>()? - sum).abs() < 1e-3 * sum);
    assert_eq!(
        (read[5].as_str(), read[6].as_str()),
        (DAYS.to_string().as_str(), "works")
    );
    assert_eq!(read[7], alerts.to_string());

    let cold = exported(&python, config, &folder.path().join("cold")).await?;
    assert_eq!(cold, read, "what is exported is what is archived");
    let all = sent.len().to_string();
    assert_eq!(
        (&hot[..2], &hot[2]),
        (&[all.clone(), all.clone()][..], &all),
        "a hot day's spectra are all there"
    );
    assert_eq!((&hot[3], &hot[5..]), (&read[3], &read[5..]));

    store
        .partitions_ensure(sent.iter().map(|reading| Day::of(reading.key.captured_at)))
        .await?;
    for batch in sent.chunks(2_000) {
        let mut transaction = store.begin().await?;
        let outcomes = readings_insert(&mut transaction, batch).await?;
        transaction.commit().await?;
        assert!(outcomes.iter().all(|outcome| *outcome == InsertOutcome::Duplicate));
    }
    store.close().await;
    Ok(())
}

/// Exports everything into a folder; what `DuckDB` reads there.
async fn exported(python: &Path, config: &str, out: &Path) -> Result<Vec<String>> {
    let out_name = out.to_str().context("the path")?;
    binary::run(&["export", "--config", config, "--all", "--out", out_name], &[]).await?;
    let sites = std::fs::read_to_string(out.join("tables/site.jsonl"))?;
    ensure!(sites.contains("\"works\""), "{sites}");
    query(python, out)
}

/// Readings that are hot, or in a part that is archived.
async fn counted(store: &Store) -> Result<i64> {
    let readings = sqlx::query_scalar(
        "select (select count(*) from reading) + coalesce(sum(rows), 0)::int8 from archive_part where state = 'archived'",
    );
    Ok(readings.fetch_one(store.pool()).await?)
}

/// As if the lease of whoever was killed had run out.
async fn leases_run_out(store: &Store) -> Result<()> {
    sqlx::query("update archive_part set leased_until = null")
        .execute(store.pool())
        .await?;
    Ok(())
}

/// Lets a process come to where it calls a part `state`: all the work of that step is done, and nobody has been told. There
/// it is killed.
async fn killed_before(store: &Store, state: &'static str, run: &[&str], log: &Path) -> Result<()> {
    let trap = format!(
        "create or replace function trap() returns trigger language plpgsql as $$ begin
             if new.state = '{state}' then perform pg_sleep(600); end if; return new;
         end $$;
         create trigger trap before insert or update of state on archive_part for each row execute function trap();"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(trap)).execute(store.pool()).await?;
    let mut process = Process::start(run, log)?;
    let asleep = "select pid from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    let mut backend: Option<i32> = None;
    for _ in 0..600 {
        backend = sqlx::query_scalar(asleep).fetch_optional(store.pool()).await?;
        if backend.is_some() {
            break;
        }
        ensure!(process.is_alive(), "it ended before it called a part {state}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    process.kill()?;
    let backend = backend.with_context(|| format!("nothing is called {state}"))?;
    // Postgres would learn of the death when the sleep is over.
    sqlx::query("select pg_terminate_backend($1, 10000)")
        .bind(backend)
        .execute(store.pool())
        .await?;
    sqlx::query("drop trigger trap on archive_part")
        .execute(store.pool())
        .await?;
    leases_run_out(store).await
}

fn query(python: &Path, objects: &Path) -> Result<Vec<String>> {
    let output = Command::new(python).args(["-c", QUERY]).arg(objects).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("one line of JSON")
}

/// Two machines of two sensors, and three days of readings that came in half a month ago.
async fn fill(store: &Store) -> Result<Vec<NewReading>> {
    let slug = |text: &str| Slug::parse("name", text);
    let now = Clock::system().now();
    let site = NewSite {
        name: slug("works")?,
        title: "Works".to_owned(),
        time_zone: "UTC".to_owned(),
        oldest: DAY,
        furthest: DAY,
        auto_register_cap: 0,
        longest_shelf: DAY,
        second_approval: false,
    };
    store.site_create(&site, now, filled).await?;
    let class = NewClass::usual(slug("pump")?, Duration::from_secs(10));
    store.class_create(&class, now, filled).await?;
    store
        .spec_create(&slug("spec")?, &SpectrumSpec::corpus_default(64), now, filled)
        .await?;
    let mut sensors = Vec::new();
    for n in 0..SENSORS {
        let new = NewSensor {
            site: slug("works")?,
            machine: slug(&format!("m{}", n / 2))?,
            device: None,
            name: slug(&format!("s{n}"))?,
            class: slug("pump")?,
            spec: slug("spec")?,
        };
        sensors.push(store.sensor_create(&Scope::All, &new, now, filled).await?.sensor.id);
    }
    // They have been commissioned long ago: what is being learned from keeps its spectra.
    sqlx::query("delete from commissioning").execute(store.pool()).await?;
    let start = Day::of(now - 15 * DAY).start();
    let readings: Vec<NewReading> = sensors
        .iter()
        .flat_map(|sensor| (0..DAYS * DAILY).map(|n| reading(*sensor, start + Duration::from_secs(30) * n as u32, n)))
        .collect();
    store
        .partitions_ensure(readings.iter().map(|reading| Day::of(reading.key.captured_at)))
        .await?;
    for batch in readings.chunks(5_000) {
        let mut transaction = store.begin().await?;
        readings_copy(&mut transaction, batch).await?;
        transaction.commit().await?;
    }
    Ok(readings)
}

fn reading(sensor: SensorId, captured_at: Timestamp, n: u64) -> NewReading {
    let noise = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ sensor.0 as u64;
    let mut scores = Scores::default();
    for detector in [
        Detector::Residual,
        Detector::OverallLevel,
        Detector::Isolation,
        Detector::Pca,
        Detector::Mahalanobis,
    ] {
        scores.set(detector, (noise >> 40) as f32 * 1e-7);
    }
    let by = Detector::Residual;
    NewReading {
        key: ReadingKey { sensor, captured_at },
        received_at: captured_at + Duration::from_secs(1),
        content_hash: ContentHash(noise as i64),
        threshold_set: None,
        bundle: None,
        baseline: None,
        scorer_build: None,
        predecessors: None,
        scores,
        condition: Condition {
            rpm: Some(1_480.0),
            load: None,
            state: None,
        },
        flags: ReadingFlags::default(),
        verdict: if n.is_multiple_of(500) {
            Verdict::Alert { by }
        } else {
            Verdict::Normal { by }
        },
        state: OperatingState::Known,
        overall: Vec::new(),
        latent: noise.to_le_bytes().repeat(3),
        spectrum: (0..64).map(|bin| (noise >> (bin % 57)) as u8 / 4 + 90).collect(),
    }
}
