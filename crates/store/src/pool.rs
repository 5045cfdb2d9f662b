//! The pool, and the patience to wait for a Postgres that is still starting.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, Postgres};
use tokio::time::{Instant, sleep, timeout_at};

use crate::partition::Day;
use crate::{Error, Result, Transaction};

/// A statement that takes longer is told in the log: reading a day of many machines back takes seconds, and is no trouble.
const SLOW: Duration = Duration::from_secs(15);

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
    /// Each failure is logged with its reason. What waiting can't mend, such as a wrong password, fails at once.
    pub async fn connect(config: &Config) -> Result<Self> {
        let options: PgConnectOptions = config
            .url
            .parse()
            .map_err(|error: sqlx::Error| Error::Database(error.into()))?;
        let options = options.log_slow_statements(log::LevelFilter::Warn, SLOW);
        let address = address(&options);
        let deadline = Instant::now() + Duration::from_millis(config.connect_deadline_ms);
        let mut pause = Duration::from_millis(100);
        // Not through the pool: that knows only that it has waited too long, not what for.
        while let Err(error) = probe(&options, config, deadline).await {
            let reason = match error {
                Error::Unavailable { reason } => reason,
                permanent => {
                    let told = format!("postgres at {address}: {permanent}");
                    return Err(sqlx::Error::Configuration(told.into()).into());
                }
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
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(Duration::from_millis(config.acquire_timeout_ms))
            .connect_lazy_with(options);
        Ok(Self::from_pool(pool))
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

/// Connects once and asks for an answer, for as long as a caller would wait for a connection.
async fn probe(options: &PgConnectOptions, config: &Config, deadline: Instant) -> Result<()> {
    let attempt = async {
        let mut connection = PgConnection::connect_with(options).await?;
        connection.ping().await?;
        connection.close().await
    };
    let patience = Duration::from_millis(config.acquire_timeout_ms);
    match timeout_at(deadline.min(Instant::now() + patience), attempt).await {
        Ok(answered) => Ok(answered?),
        Err(_) => Err(Error::Unavailable {
            reason: "it takes connections and says nothing, or is out of reach".to_owned(),
        }),
    }
}

/// Where Postgres is, for people: without the password.
fn address(options: &PgConnectOptions) -> String {
    match options.get_socket() {
        Some(folder) => format!("{} (port {})", folder.display(), options.get_port()),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(port: u16) -> Config {
        Config {
            url: format!("postgres://tocsin:hush@127.0.0.1:{port}/x"),
            connect_deadline_ms: 250,
            acquire_timeout_ms: 100,
            ..Config::default()
        }
    }

    #[tokio::test]
    async fn a_postgres_that_is_down_is_named_with_the_reason_when_the_deadline_has_passed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = Store::connect(&to(port)).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        let told = error.to_string();
        assert!(
            told.contains(&format!("127.0.0.1:{port}")) && told.contains("refused"),
            "{told}"
        );
        assert!(!format!("{:?} {error}", to(port)).contains("hush"));
    }

    #[tokio::test]
    async fn a_postgres_that_says_nothing_is_told_from_one_that_is_down() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let told = Store::connect(&to(port)).await.unwrap_err().to_string();
        assert!(
            told.contains(&format!("127.0.0.1:{port}")) && told.contains("says nothing"),
            "{told}"
        );
    }

    #[test]
    fn a_socket_is_named_by_its_folder() {
        let options: PgConnectOptions = "postgres:///x?host=/run/postgresql&port=5433".parse().unwrap();
        assert_eq!(address(&options), "/run/postgresql (port 5433)");
    }
}
