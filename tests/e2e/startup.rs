//! Starts that can't be: each ends at once or at its deadline, and says what to do about it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tocsin_store::Schema;
use tocsin_tests::Postgres;
use tocsin_tests::binary::{self, Process};
use tocsin_tests::stage::free_address;

/// A configuration with this database, served at `listen`, and the credential it needs.
fn configure(folder: &Path, database: &str, listen: std::net::SocketAddr) -> Result<String> {
    let credential = folder.join("service.credential");
    tocsin::credential::ServiceCredential::read_or_create(&credential)?;
    let text = format!(
        r#"
[server]
listen = "{listen}"
[telemetry]
metrics_listen = "off"
[database]
url = "{database}"
connect_deadline_ms = 700
[objects]
url = "{}"
[access]
service_credential_file = "{}"
"#,
        folder.join("objects").display(),
        credential.display()
    );
    let path = folder.join("tocsin.toml");
    std::fs::write(&path, text)?;
    Ok(path.to_str().context("the path")?.to_owned())
}

/// Runs `tocsin serve`, which is to fail within 30 s; answers what it says.
async fn refusal(config: &str) -> Result<String> {
    let serve = ["serve", "--role", "review", "--config", config];
    let ended = tokio::time::timeout(Duration::from_secs(30), binary::run(&serve, &[])).await;
    match ended.context("tocsin serve runs on")? {
        Ok(_) => bail!("tocsin serve ended well"),
        Err(error) => Ok(error.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_the_schema_is_refused_until_it_is_migrated() -> Result<()> {
    let postgres = Postgres::empty().await?;
    let folder = tempfile::tempdir()?;
    let listen = free_address()?;
    let config = configure(folder.path(), postgres.url(), listen)?;
    let said = refusal(&config).await?;
    assert!(said.contains("tocsin migrate"), "{said}");

    binary::run(&["migrate", "--config", &config], &[]).await?;
    let serve = ["serve", "--role", "review", "--config", &config];
    let mut process = Process::start(&serve, &folder.path().join("log"))?;
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(listen).await.is_ok() {
            return Ok(());
        }
        assert!(
            process.is_alive(),
            "{}",
            std::fs::read_to_string(folder.path().join("log"))?
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("it does not start on a migrated database")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_behind_ahead_or_changed_is_told_apart() -> Result<()> {
    let postgres = Postgres::empty().await?;
    let store = postgres.store().await?;
    assert!(matches!(store.schema().await?, Schema::Behind { applied: None, .. }));
    store.migrate().await?;
    assert_eq!(store.schema().await?, Schema::Current);

    let versions = "select version from _sqlx_migrations order by version desc limit 2";
    let versions: Vec<i64> = sqlx::query_scalar(versions).fetch_all(store.pool()).await?;
    let (newest, before) = (versions[0], versions[1]);
    for (change, expected) in [
        (
            "update _sqlx_migrations set success = false where version = $1",
            Schema::Broken { version: newest },
        ),
        (
            "update _sqlx_migrations set checksum = '\\x00', success = true where version = $1",
            Schema::Changed { version: newest },
        ),
        (
            "update _sqlx_migrations set version = version + 1 where version = $1",
            Schema::Ahead { applied: newest + 1 },
        ),
        (
            "delete from _sqlx_migrations where version = $1 + 1",
            Schema::Behind {
                applied: Some(before),
                wanted: newest,
            },
        ),
    ] {
        sqlx::query(change).bind(newest).execute(store.pool()).await?;
        assert_eq!(store.schema().await?, expected, "after {change}");
    }
    store.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_down_is_named_with_the_reason() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let nobody = free_address()?;
    let database = format!("postgres://tocsin:hush@{nobody}/tocsin");
    let config = configure(folder.path(), &database, free_address()?)?;
    let said = refusal(&config).await?;
    assert!(said.contains(&nobody.to_string()) && said.contains("refused"), "{said}");
    assert!(!said.contains("hush"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_named_at_once() -> Result<()> {
    let postgres = Postgres::empty().await?;
    let folder = tempfile::tempdir()?;
    let database = format!("{}_not", postgres.url());
    let config = configure(folder.path(), &database, free_address()?)?;
    let said = refusal(&config).await?;
    let (_, name) = database.rsplit_once('/').context("a name")?;
    assert!(said.contains("postgres at") && said.contains(name), "{said}");
    Ok(())
}
