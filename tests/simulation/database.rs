//! A private Postgres, and what the simulation asks it beside the replicas: over a connection of its own that is never cut.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tocsin::cluster::Cluster;

use crate::sabotage::Sabotage;

/// What an episode leaves behind.
const TRACES: &str = "truncate reading, incident, machine_event, machine_state, evidence, outbox, delivery, \
                      delivery_attempt, machine_label, suppression, suppressed_page, flood, flood_incident restart identity cascade";

/// The server, and a connection to it.
#[derive(Debug)]
pub(crate) struct Database {
    admin: PgConnection,
    cluster: Cluster,
    pub(crate) folder: TempDir,
}

impl Database {
    /// Starts one with the schema in it. It need survive no power cut.
    pub(crate) async fn start() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::Builder::new().prefix("tocsin-sim").tempdir()?;
        // The cluster's user has to get in.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
        let cluster = Cluster::start(&folder.path().join("postgres")).await?;
        let options = PgConnectOptions::from_str(&cluster.url())?;
        let admin = PgConnection::connect_with(&options).await?;
        let mut database = Self { admin, cluster, folder };
        for setting in [
            "fsync = off",
            "full_page_writes = off",
            "synchronous_commit = off",
            "jit = off",
            // What runs by the machine's clock: plans that change with it, and an end to deadlocks. There are none.
            "autovacuum = off",
            "deadlock_timeout = '1h'",
        ] {
            database.run(&format!("alter system set {setting}")).await?;
        }
        database.run("select pg_reload_conf()").await?;
        Ok(database)
    }

    /// The socket of the server.
    pub(crate) fn socket(&self) -> Result<PathBuf> {
        let options = PgConnectOptions::from_str(&self.cluster.url())?;
        let folder = options.get_socket().context("the cluster listens on a socket")?;
        Ok(folder.join(format!(".s.PGSQL.{}", options.get_port())))
    }

    /// Breaks the schema.
    pub(crate) async fn sabotage(&mut self, sabotage: Sabotage) -> Result<()> {
        self.run(sabotage.schema()).await
    }

    /// Forgets every reading, incident and page.
    pub(crate) async fn forget(&mut self) -> Result<()> {
        self.run(TRACES).await
    }

    /// Runs statements.
    pub(crate) async fn run(&mut self, statements: &str) -> Result<()> {
        let done = sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut self.admin).await;
        done.with_context(|| statements.to_owned())?;
        Ok(())
    }

    /// The rows of a query with at most one parameter of type int8.
    pub(crate) async fn rows(&mut self, query: &'static str, parameter: Option<i64>) -> Result<Vec<PgRow>> {
        let mut query = sqlx::query(query);
        if let Some(parameter) = parameter {
            query = query.bind(parameter);
        }
        Ok(query.fetch_all(&mut self.admin).await?)
    }

    /// The connection itself.
    pub(crate) fn admin(&mut self) -> &mut PgConnection {
        &mut self.admin
    }

    /// Those of the server's processes that wait for a lock which one of `holders` has.
    pub(crate) async fn blocked(&mut self, processes: &[i32], holders: &[i32]) -> Result<Vec<i32>> {
        let query = "select p from unnest($1::int4[]) p where pg_blocking_pids(p) && $2::int4[]";
        let blocked = sqlx::query_scalar(query).bind(processes).bind(holders);
        Ok(blocked.fetch_all(&mut self.admin).await?)
    }

    /// Ends processes whose clients have gone, and waits until all they held is free.
    pub(crate) async fn end(&mut self, processes: &[i32]) -> Result<()> {
        if processes.is_empty() {
            return Ok(());
        }
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where pid = any($1)";
        loop {
            let ended = sqlx::query(end).bind(processes).fetch_all(&mut self.admin).await?;
            if ended.is_empty() {
                return Ok(());
            }
        }
    }

    /// Stops the server and forgets it.
    pub(crate) async fn stop(self) -> Result<()> {
        self.admin.close().await?;
        self.cluster.stop().await
    }
}
