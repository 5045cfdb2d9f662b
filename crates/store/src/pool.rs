//! The pool, and the patience to wait for a Postgres that is still starting.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgPool, Postgres};
use tokio::time::{Instant, sleep, timeout_at};

use crate::partition::Day;
use crate::{Error, Result, Transaction};

/// The schema, in order. Run by `tocsin migrate` and by whoever starts alone.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations");

/// How to reach Postgres.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `postgres://user:password@host:port/database`; may hold a secret, so it is never printed.
    pub url: String,
    /// The most connections of this process.
    pub max_connections: u32,
    /// How long a call waits for a free connection, in milliseconds.
    pub acquire_timeout_ms: u64,
    /// How long a start waits for Postgres to answer, in milliseconds.
    pub connect_deadline_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: String::new(),
            max_connections: 16,
            acquire_timeout_ms: 5_000,
            connect_deadline_ms: 60_000,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("url", &"(not shown)")
            .field("max_connections", &self.max_connections)
            .field("acquire_timeout_ms", &self.acquire_timeout_ms)
            .field("connect_deadline_ms", &self.connect_deadline_ms)
            .finish()
    }
}

/// The database. Clones share the pool and what is remembered of it.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) pool: PgPool,
    pub(crate) known_days: Arc<RwLock<HashSet<Day>>>,
}

impl Store {
    /// Connects, trying again with growing pauses (0.1 s to 2 s) while Postgres does not answer, until the deadline.
    /// Each failure is logged with its reason.
    pub async fn connect(config: &Config) -> Result<Self> {
        let options: PgConnectOptions = config
            .url
            .parse()
            .map_err(|error: sqlx::Error| Error::Database(error.into()))?;
        let address = format!("{}:{}", options.get_host(), options.get_port());
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(Duration::from_millis(config.acquire_timeout_ms))
            .connect_lazy_with(options);
        let store = Self::from_pool(pool);
        let deadline = Instant::now() + Duration::from_millis(config.connect_deadline_ms);
        let mut pause = Duration::from_millis(100);
        loop {
            let reason = match timeout_at(deadline, store.ping()).await {
                Ok(Ok(())) => return Ok(store),
                Ok(Err(Error::Unavailable { reason })) => reason,
                Ok(Err(permanent)) => return Err(permanent),
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() + pause >= deadline {
                let waited_s = config.connect_deadline_ms as f64 / 1000.0;
                let reason = format!("postgres at {address} did not answer within {waited_s} s: {reason}");
                return Err(Error::Unavailable { reason });
            }
            tracing::warn!(
                address,
                reason,
                retry_in_ms = pause.as_millis() as u64,
                "waiting for postgres"
            );
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// A store over a pool that somebody else made.
    pub fn from_pool(pool: PgPool) -> Self {
        Self {
            pool,
            known_days: Arc::default(),
        }
    }

    /// The pool itself.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Brings the schema up to date; safe to run from several processes at once.
    pub async fn migrate(&self) -> Result<()> {
        Ok(MIGRATOR.run(&self.pool).await?)
    }

    /// Begins a transaction; dropped without `commit`, it rolls back.
    pub async fn begin(&self) -> Result<Transaction> {
        Ok(self.pool.begin().await?)
    }

    /// A connection for statements that need no transaction.
    pub async fn acquire(&self) -> Result<PoolConnection<Postgres>> {
        Ok(self.pool.acquire().await?)
    }

    /// Asks the database for an answer: the readiness check.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("select 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Closes the pool after the calls under way.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_postgres_that_is_down_is_named_when_the_deadline_has_passed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let url = format!("postgres://tocsin:hush@127.0.0.1:{port}/x");
        let config = Config {
            url,
            connect_deadline_ms: 250,
            acquire_timeout_ms: 100,
            ..Config::default()
        };
        let error = Store::connect(&config).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains(&port.to_string()), "{error}");
        assert!(!format!("{config:?} {error}").contains("hush"));
    }
}
