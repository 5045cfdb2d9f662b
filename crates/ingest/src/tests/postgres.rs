//! What a gateway's unknown sensors become. Runs where `TOCSIN_TEST_DATABASE_URL` names a server to make databases on.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Executor};
use tocsin_contracts::ingest::SentReading;
use tocsin_contracts::ingest::v1::{Ack, RejectionCode};
use tocsin_domain::access::{AutoRegistration, Gateway};
use tocsin_domain::{Clock, Scope, Slug, SpectrumSpec};
use tocsin_store::Store;
use tocsin_store::fleet::NewSite;
use tocsin_transport::Replicas;

use crate::admission::{NewestCaptures, Terms};
use crate::fixture::{self, BINS, FakeEnsemble, now, reading};
use crate::{Config, Ingest, build};

/// A database of this test's own.
struct Database {
    admin: Store,
    name: String,
    store: Store,
}

impl Database {
    async fn make() -> Option<Self> {
        let url = std::env::var("TOCSIN_TEST_DATABASE_URL").ok()?;
        let name = format!("ingest_{}", std::process::id());
        let connect = |url: String| async move {
            let config = tocsin_store::Config {
                url,
                ..tocsin_store::Config::default()
            };
            Store::connect(&config).await.expect("the server answers")
        };
        let admin = connect(url.clone()).await;
        let create = AssertSqlSafe(format!("create database {name}"));
        admin.pool().execute(create).await.expect("a new database");
        let (server, _) = url.rsplit_once('/').expect("a url names its database");
        let store = connect(format!("{server}/{name}")).await;
        store.migrate().await.expect("the schema");
        Some(Self { admin, name, store })
    }

    async fn drop(self) {
        self.store.close().await;
        let drop = AssertSqlSafe(format!("drop database {}", self.name));
        self.admin.pool().execute(drop).await.expect("nobody uses it");
    }
}

fn slug(text: &str) -> Slug {
    Slug::parse("name", text).expect("a name")
}

async fn publish(ingest: &Ingest, gateway: &Gateway, sensors: &[&str]) -> Ack {
    let readings = sensors
        .iter()
        .map(|sensor| reading(sensor, Duration::from_secs(1)))
        .collect();
    let arrived = ingest
        .0
        .arrive(gateway, 1, readings, SentReading::try_from)
        .expect("room");
    let terms = Terms {
        gateway: Arc::new(gateway.clone()),
        stream: Default::default(),
        newest: NewestCaptures::default(),
    };
    ingest.0.process(&terms, arrived).await.expect("taken").ack
}

#[tokio::test]
async fn unknown_sensors_are_registered_up_to_the_sites_cap_if_the_token_says_so() {
    let Some(database) = Database::make().await else {
        return;
    };
    let store = database.store.clone();
    let new = NewSite {
        name: slug("plant"),
        title: "Plant".to_owned(),
        time_zone: "UTC".to_owned(),
        oldest: Duration::from_hours(24),
        furthest: Duration::from_mins(1),
        auto_register_cap: 2,
    };
    let site = store.site_create(&new, now()).await.expect("a site");
    let class = store
        .class_create(&slug("press"), Duration::from_secs(10), now())
        .await
        .expect("a class");
    let spec = SpectrumSpec::corpus_default(BINS as u16);
    let spec = store.spec_create(&slug("spec"), &spec, now()).await.expect("a spec");
    let auto_registration = Some(AutoRegistration {
        class: class.id,
        spec: spec.id,
    });
    let plain = Gateway {
        site: site.id,
        ..fixture::gateway()
    };
    let token = tocsin_domain::TokenId(2);
    let registering = Gateway {
        token,
        auto_registration,
        ..plain.clone()
    };

    let ensembles = Replicas::new([FakeEnsemble::new().channel()]).expect("one");
    let ingest = build(&Config::default(), store.clone(), ensembles, Clock::manual(now()));

    let ack = publish(&ingest, &plain, &["press-1/a"]).await;
    assert_eq!(
        (ack.stored, ack.rejections[0].code()),
        (0, RejectionCode::UnknownSensor)
    );
    // Another token's no is not this one's.
    let ack = publish(
        &ingest,
        &registering,
        &["press-1/a", "press-1/b", "press-1/c", "press-1/a"],
    )
    .await;
    assert_eq!(ack.stored, 3);
    let [rejection] = &ack.rejections[..] else {
        panic!("one is over the cap: {ack:?}");
    };
    assert_eq!((rejection.index, rejection.code()), (2, RejectionCode::UnknownSensor));
    assert!(
        rejection
            .reason
            .contains("2 sensors registered by gateways are used up"),
        "{}",
        rejection.reason
    );
    // Known to the site is known to all of its tokens.
    assert_eq!(publish(&ingest, &plain, &["press-1/a", "press-1/b"]).await.stored, 2);
    let listed = store
        .sensor_list(&Scope::site(site.id), None, None)
        .await
        .expect("a list");
    assert_eq!(listed.iter().filter(|sensor| sensor.auto_registered).count(), 2);
    database.drop().await;
}
