//! A fresh database per test, dropped at its end, and the few things every test needs in it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tocsin_domain::fleet::{MachineClass, Sensor, SensorPath, Site};
use tocsin_domain::{
    BundleId, Condition, ContentHash, Detector, ReadingFlags, ReadingKey, Scope, Scores, SensorId, Slug, SpectrumSpec,
    ThresholdSetId, Timestamp, Verdict,
};
use tocsin_store::Store;
use tocsin_store::fleet::{NewSensor, NewSite};
use tocsin_store::partition::Day;
use tocsin_store::reading::NewReading;

/// Noon of a day long ago, as a replay brings it.
pub(crate) fn noon() -> Timestamp {
    Timestamp::parse("t", "2012-05-01T12:00:00Z").unwrap()
}

pub(crate) fn at(seconds: u64) -> Timestamp {
    noon() + Duration::from_secs(seconds)
}

pub(crate) fn slug(text: &str) -> Slug {
    Slug::parse("name", text).unwrap()
}

pub(crate) fn path(text: &str) -> SensorPath {
    SensorPath::parse(text).unwrap()
}

/// Runs `test` on a store of its own; says so and passes when there is no server to test on.
pub(crate) fn with_store<F: Future<Output = ()>>(
    name: &str,
    test: impl FnOnce(Store) -> F,
) -> Pin<Box<impl Future<Output = ()>>> {
    Box::pin(async move {
        let Ok(server) = std::env::var("TOCSIN_TEST_DATABASE_URL") else {
            eprintln!("skipped {name}: TOCSIN_TEST_DATABASE_URL is not set");
            return;
        };
        let options: PgConnectOptions = server.parse().unwrap();
        let database = format!("tocsin_store_{}_{name}", std::process::id());
        let mut admin = PgConnection::connect_with(&options).await.unwrap();
        let create = format!("create database {database}");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut admin).await.unwrap();
        let options = options.database(&database);
        let pool = PgPoolOptions::new()
            .max_connections(8)
            .connect_with(options)
            .await
            .unwrap();
        let store = Store::from_pool(pool);
        store.migrate().await.unwrap();
        // A test that fails leaves its database behind, to be looked at.
        test(store.clone()).await;
        store.close().await;
        let drop = format!("drop database {database} with (force)");
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut admin).await.unwrap();
    })
}

/// A site `north` with two machines of one sensor each, a site `south` with one, all of class `pump`.
pub(crate) struct Fleet {
    pub(crate) north: Site,
    pub(crate) south: Site,
    pub(crate) class: MachineClass,
    pub(crate) one: Sensor,
    pub(crate) two: Sensor,
    pub(crate) far: Sensor,
}

impl Fleet {
    pub(crate) fn north_only(&self) -> Scope {
        Scope::site(self.north.id)
    }

    pub(crate) fn south_only(&self) -> Scope {
        Scope::site(self.south.id)
    }
}

pub(crate) async fn site(store: &Store, name: &str, cap: i32) -> Site {
    let new = NewSite {
        name: slug(name),
        title: name.to_uppercase(),
        time_zone: "Europe/Lisbon".to_owned(),
        oldest: Duration::from_hours(24 * 30),
        furthest: Duration::from_mins(5),
        auto_register_cap: cap,
    };
    store.site_create(&new, noon()).await.unwrap()
}

pub(crate) async fn fleet(store: &Store) -> Fleet {
    let (north, south) = (site(store, "north", 3).await, site(store, "south", 0).await);
    let class = store
        .class_create(&slug("pump"), Duration::from_secs(10), noon())
        .await
        .unwrap();
    store
        .spec_create(&slug("accel"), &SpectrumSpec::corpus_default(64), noon())
        .await
        .unwrap();
    let sensor = async |site: &str, machine: &str| {
        let new = NewSensor {
            site: slug(site),
            machine: slug(machine),
            device: None,
            name: slug("h"),
            class: slug("pump"),
            spec: slug("accel"),
        };
        store.sensor_create(&Scope::All, &new, noon()).await.unwrap().sensor
    };
    let (one, two, far) = (
        sensor("north", "one").await,
        sensor("north", "two").await,
        sensor("south", "far").await,
    );
    store.partitions_ensure([Day::of(noon())]).await.unwrap();
    Fleet {
        north,
        south,
        class,
        one,
        two,
        far,
    }
}

/// A page-level reading with two scores.
pub(crate) fn reading(sensor: SensorId, captured_at: Timestamp, content: i64) -> NewReading {
    let mut scores = Scores::default();
    scores.set(Detector::Residual, 0.25);
    scores.set(Detector::Isolation, 0.75);
    NewReading {
        key: ReadingKey { sensor, captured_at },
        received_at: captured_at + Duration::from_secs(1),
        content_hash: ContentHash(content),
        threshold_set: Some(ThresholdSetId(7)),
        bundle: Some(BundleId(3)),
        baseline: None,
        predecessors: None,
        scores,
        condition: Condition {
            rpm: Some(1800.0),
            load: None,
        },
        flags: ReadingFlags::default(),
        verdict: Verdict::Page { by: Detector::Residual },
        condition_cell: 0,
        overall: Vec::new(),
        latent: vec![1; 24],
        spectrum: vec![2; 64],
    }
}
