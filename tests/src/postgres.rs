//! A database of its own for each test, on the server of `TOCSIN_TEST_DATABASE_URL`, or on a private cluster in a
//! temporary folder when that is not set.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use tempfile::TempDir;
use tocsin::cluster::Cluster;
use tocsin_store::access::NewAuditEntry;
use tocsin_store::{PgPool, Store};

/// Tells databases of one process apart.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A database of a test's own.
#[derive(Debug)]
pub struct Postgres {
    url: String,
    cluster: Option<(Option<Cluster>, TempDir)>,
}

impl Postgres {
    /// Makes one.
    pub async fn fresh() -> Result<Self> {
        let made = Self::empty().await?;
        let store = made.store().await?;
        store.migrate().await?;
        store.close().await;
        Ok(made)
    }

    /// Makes one without a schema.
    pub async fn empty() -> Result<Self> {
        let name = format!(
            "story_{}_{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        if let Ok(server) = std::env::var("TOCSIN_TEST_DATABASE_URL") {
            let pool = PgPool::connect(&server)
                .await
                .with_context(|| format!("connecting to {server}"))?;
            let statement = format!("create database {name}");
            sqlx_execute(&pool, &statement).await?;
            pool.close().await;
            let (base, _) = server
                .rsplit_once('/')
                .context("TOCSIN_TEST_DATABASE_URL names no database")?;
            return Ok(Self {
                url: format!("{base}/{name}"),
                cluster: None,
            });
        }
        Self::start_cluster(&name).await
    }

    /// Makes one on a server of its own, which can be stopped without anybody else.
    pub async fn private() -> Result<Self> {
        let made = Self::start_cluster("story").await?;
        let store = made.store().await?;
        store.migrate().await?;
        store.close().await;
        Ok(made)
    }

    async fn start_cluster(name: &str) -> Result<Self> {
        // Not the temporary folder itself: the cluster's user has to get in.
        let folder = tempfile::Builder::new()
            .prefix("tocsin-story")
            .tempdir()
            .context("a temporary folder")?;
        open_to_all(&folder)?;
        let cluster = Cluster::start(&folder.path().join("postgres")).await?;
        cluster.create_database(name).await?;
        Ok(Self {
            url: cluster.url_of(name),
            cluster: Some((Some(cluster), folder)),
        })
    }

    /// Stops a private server, whoever is connected, and leaves what it holds.
    pub async fn halt(&mut self) -> Result<()> {
        let (cluster, _) = self.cluster.as_mut().context("a server of its own")?;
        cluster.take().context("it runs")?.stop().await
    }

    /// Starts it again.
    pub async fn resume(&mut self) -> Result<()> {
        let (cluster, folder) = self.cluster.as_mut().context("a server of its own")?;
        *cluster = Some(Cluster::start(&folder.path().join("postgres")).await?);
        Ok(())
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A pool of connections to it.
    pub async fn store(&self) -> Result<Store> {
        let config = tocsin_store::Config {
            url: self.url.clone(),
            ..tocsin_store::Config::default()
        };
        Ok(Store::connect(&config).await?)
    }

    /// Stops a private cluster.
    pub async fn stop(self) -> Result<()> {
        match self.cluster {
            Some((Some(cluster), _folder)) => cluster.stop().await,
            Some((None, _)) | None => Ok(()),
        }
    }
}

fn open_to_all(folder: &TempDir) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).context("opening the folder")
}

async fn sqlx_execute(pool: &PgPool, statement: &str) -> Result<()> {
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .execute(pool)
        .await
        .with_context(|| statement.to_owned())?;
    Ok(())
}

/// The audit entry of what a story or a benchmark fills in.
pub fn filled<T>(_: &T) -> NewAuditEntry {
    NewAuditEntry::new("test", "test.fill", "test", &serde_json::json!({}))
}
