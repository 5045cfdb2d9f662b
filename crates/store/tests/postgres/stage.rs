//! The few things every test needs in its database.

use std::time::Duration;

use tocsin_domain::fleet::{MachineClass, Sensor, SensorPath, Site};
use tocsin_domain::{
    BundleId, Condition, ContentHash, Detector, ReadingFlags, ReadingKey, Scope, Scores, SensorId, SpectrumSpec,
    ThresholdSetId, Timestamp, Verdict,
};
pub(crate) use tocsin_scratch::{slug, with_store};
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

pub(crate) fn path(text: &str) -> SensorPath {
    SensorPath::parse(text).unwrap()
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
        longest_shelf: Site::DEFAULT_LONGEST_SHELF,
        second_approval: false,
    };
    store.site_create(&new, noon(), tocsin_scratch::audit).await.unwrap()
}

pub(crate) async fn fleet(store: &Store) -> Fleet {
    let (north, south) = (site(store, "north", 3).await, site(store, "south", 0).await);
    let class = store
        .class_create(
            &tocsin_store::fleet::NewClass::usual(slug("pump"), Duration::from_secs(10)),
            noon(),
            tocsin_scratch::audit,
        )
        .await
        .unwrap();
    store
        .spec_create(
            &slug("accel"),
            &SpectrumSpec::corpus_default(64),
            noon(),
            tocsin_scratch::audit,
        )
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
        store
            .sensor_create(&Scope::All, &new, noon(), tocsin_scratch::audit)
            .await
            .unwrap()
            .sensor
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
        scorer_build: None,
        predecessors: None,
        scores,
        condition: Condition {
            rpm: Some(1800.0),
            load: None,
            ..Condition::default()
        },
        flags: ReadingFlags::default(),
        verdict: Verdict::Page { by: Detector::Residual },
        state: tocsin_domain::OperatingState::Known,
        overall: Vec::new(),
        latent: vec![1; 24],
        spectrum: vec![2; 64],
    }
}
