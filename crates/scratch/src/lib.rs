//! A scratch database for each test, and the small plant that most of them need in it.
//!
//! For the tests of the crates that work on Postgres: a dev-dependency alone, as no crate has it among the arrows that
//! `tests/tidy` holds. It is a crate because the tests of one can't use those of another, and a feature of the store
//! would be in every build of the workspace.
//!
//! `TOCSIN_TEST_DATABASE_URL` names a server on which databases may be made; without it a test says that it was skipped.

use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tocsin_domain::fleet::{Sensor, Site};
use tocsin_domain::{Scope, Slug, SpectrumSpec, Timestamp};
use tocsin_store::Store;
use tocsin_store::access::NewAuditEntry;
use tocsin_store::fleet::{NewSensor, NewSite};

/// Tells the databases of one process apart.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A new database with the schema in it. What a test that fails leaves behind can be looked at.
#[derive(Debug)]
pub struct Scratch {
    /// Works on it.
    pub store: Store,
    admin: PgConnection,
    database: String,
}

impl Scratch {
    /// Makes one, `name` in its name; none, with a message, when there is no server to make it on.
    ///
    /// # Panics
    /// If the server does not do as told.
    pub async fn make(name: &str) -> Option<Self> {
        let Ok(server) = std::env::var("TOCSIN_TEST_DATABASE_URL") else {
            eprintln!("skipped {name}: TOCSIN_TEST_DATABASE_URL is not set");
            return None;
        };
        let options: PgConnectOptions = server.parse().expect("TOCSIN_TEST_DATABASE_URL is a URL");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let database = format!("scratch_{}_{number}_{name}", std::process::id());
        let mut admin = PgConnection::connect_with(&options).await.expect("the server answers");
        execute(&mut admin, format!("create database {database}")).await;
        let pool = PgPoolOptions::new()
            .max_connections(12)
            .connect_with(options.database(&database))
            .await
            .expect("the new database answers");
        let store = Store::from_pool(pool);
        store.migrate().await.expect("the schema");
        Some(Self { store, admin, database })
    }

    /// Drops it.
    ///
    /// # Panics
    /// If the server does not do as told.
    pub async fn drop(mut self) {
        self.store.close().await;
        execute(&mut self.admin, format!("drop database {} with (force)", self.database)).await;
    }
}

async fn execute(admin: &mut PgConnection, statement: String) {
    let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(admin).await;
    done.expect("databases may be made here");
}

/// Runs `test` on a store of its own.
pub fn with_store<F: Future<Output = ()>>(
    name: &str,
    test: impl FnOnce(Store) -> F,
) -> Pin<Box<impl Future<Output = ()>>> {
    Box::pin(async move {
        if let Some(scratch) = Scratch::make(name).await {
            test(scratch.store.clone()).await;
            scratch.drop().await;
        }
    })
}

/// The entry of a change that a test makes, whatever it is.
pub fn audit<T>(_: &T) -> NewAuditEntry {
    NewAuditEntry {
        actor: "test".to_owned(),
        action: "test".to_owned(),
        subject: "test".to_owned(),
        detail_json: "{}".to_owned(),
    }
}

/// A name.
///
/// # Panics
/// If `text` is none.
pub fn slug(text: &str) -> Slug {
    Slug::parse("name", text).expect("a name")
}

/// A site that takes readings of the last day.
pub fn site(name: &str) -> NewSite {
    NewSite {
        name: slug(name),
        title: name.to_owned(),
        time_zone: "UTC".to_owned(),
        oldest: Duration::from_hours(24),
        furthest: Duration::from_mins(5),
        auto_register_cap: 0,
        longest_shelf: Site::DEFAULT_LONGEST_SHELF,
        second_approval: false,
    }
}

/// A site `north` with a machine `p-1` of the class `pump` and one sensor on it, `drive-end`, of that spec.
///
/// # Panics
/// If the store does not take them.
pub async fn pump(store: &Store, spec: &SpectrumSpec, now: Timestamp) -> Sensor {
    store.site_create(&site("north"), now, audit).await.expect("a site");
    let class = store
        .class_create(
            &tocsin_store::fleet::NewClass::usual(slug("pump"), Duration::from_secs(10)),
            now,
            audit,
        )
        .await;
    class.expect("a class");
    store
        .spec_create(&slug("spec"), spec, now, audit)
        .await
        .expect("a spec");
    let new = NewSensor {
        site: slug("north"),
        machine: slug("p-1"),
        device: None,
        name: slug("drive-end"),
        class: slug("pump"),
        spec: slug("spec"),
    };
    let listing = store
        .sensor_create(&Scope::All, &new, now, audit)
        .await
        .expect("a sensor");
    listing.sensor
}
