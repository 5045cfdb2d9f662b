//! Commissioning rounds against a real Postgres.

use std::time::Duration;

use http::Request;
use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::recalibrator_service_client::RecalibratorServiceClient;
use tocsin_domain::access::Person;
use tocsin_domain::fleet::CommissioningRules;
use tocsin_domain::{
    AccountId, Clock, Condition, ContentHash, Detector, PersonRole, Principal, ReadingFlags, ReadingKey, Scope, Scores,
    SensorId, SpectrumSpec, Timestamp, Verdict,
};
use tocsin_models::BundleStore;
use tocsin_recalibrator::{Config, Parts};
use tocsin_scratch::{site, slug, with_store};
use tocsin_store::Store;
use tocsin_store::baseline::{Baseline, NewBaseline};
use tocsin_store::fleet::NewSensor;
use tocsin_store::partition::Day;
use tocsin_store::reading::{NewReading, readings_insert};
use tower::{BoxError, ServiceExt};

const BINS: usize = 32;
const READINGS: u64 = 20;

fn noon() -> Timestamp {
    Timestamp::parse("t", "2026-03-01T12:00:00Z").unwrap()
}

/// Makes a class that is content with 20 readings.
async fn class(store: &Store, name: &str) {
    store
        .class_create(
            &tocsin_store::fleet::NewClass::usual(slug(name), Duration::from_secs(10)),
            noon(),
            tocsin_scratch::audit,
        )
        .await
        .unwrap();
    let rules = CommissioningRules {
        readings: READINGS as u32,
        span: Duration::from_secs(100),
        run_in: 0,
    };
    store
        .class_set_commissioning(&slug(name), rules, noon(), tocsin_scratch::audit)
        .await
        .unwrap();
}

/// A class `pump`, two specs `near` and `far`, and `machines` of it.
async fn fleet(store: &Store, machines: usize) {
    store
        .site_create(&site("north"), noon(), tocsin_scratch::audit)
        .await
        .unwrap();
    class(store, "pump").await;
    let spec = SpectrumSpec::corpus_default(BINS as u16);
    for name in ["near", "far"] {
        store
            .spec_create(&slug(name), &spec, noon(), tocsin_scratch::audit)
            .await
            .unwrap();
    }
    store.partitions_ensure([Day::of(noon())]).await.unwrap();
    for machine in 0..machines {
        sensor(store, machine, "near", 0).await;
    }
}

/// Makes a sensor of a pump that has sent what it takes.
async fn sensor(store: &Store, machine: usize, spec: &str, number: usize) -> SensorId {
    sensor_of(store, ("pump", machine), spec, number).await
}

/// Makes a sensor of a machine of a class that has sent what it takes.
async fn sensor_of(store: &Store, (class, machine): (&str, usize), spec: &str, number: usize) -> SensorId {
    let new = NewSensor {
        site: slug("north"),
        machine: slug(&format!("{class}-{machine}")),
        device: None,
        name: slug(&format!("{spec}-{number}")),
        class: slug(class),
        spec: slug(spec),
    };
    let sensor = store
        .sensor_create(&Scope::All, &new, noon(), tocsin_scratch::audit)
        .await
        .unwrap()
        .sensor
        .id;
    let readings: Vec<NewReading> = (0..READINGS).map(|step| reading(sensor, step)).collect();
    let mut transaction = store.begin().await.unwrap();
    readings_insert(&mut transaction, &readings).await.unwrap();
    transaction.commit().await.unwrap();
    sensor
}

fn reading(sensor: SensorId, step: u64) -> NewReading {
    let captured_at = noon() + Duration::from_secs(10 * step);
    NewReading {
        key: ReadingKey { sensor, captured_at },
        received_at: captured_at,
        content_hash: ContentHash(step as i64),
        threshold_set: None,
        bundle: None,
        baseline: None,
        scorer_build: None,
        predecessors: None,
        scores: Scores::default(),
        condition: Condition::default(),
        flags: ReadingFlags::default(),
        verdict: Verdict::Normal {
            by: Detector::OverallLevel,
        },
        state: tocsin_domain::OperatingState::Known,
        overall: Vec::new(),
        latent: Vec::new(),
        spectrum: (0..BINS)
            .map(|bin| 100 + ((step as usize * 7 + bin) % 5) as u8)
            .collect(),
    }
}

/// One round; how many sensors it commissioned.
async fn commission(store: &Store) -> u32 {
    let parts = Parts {
        store: store.clone(),
        bundles: BundleStore::open("memory://").unwrap(),
        clock: Clock::manual(noon()),
    };
    let engineer = Principal::Person(Person {
        account: AccountId(1),
        name: "ana".to_owned(),
        role: PersonRole::Engineer,
        scope: Scope::All,
    });
    let service = tocsin_recalibrator::build(Config::default(), parts)
        .0
        .map_request(move |mut request: Request<_>| {
            request.extensions_mut().insert(engineer.clone());
            request
        });
    let mut client = RecalibratorServiceClient::new(service.map_err(BoxError::from));
    let answer = client.commission(v1::CommissionRequest {}).await.unwrap();
    answer.into_inner().commissioned
}

async fn baselines(store: &Store) -> Vec<Baseline> {
    let active = store.baselines_active(&Scope::All).await.unwrap();
    let ids: Vec<_> = active.into_iter().map(|(_, id)| id).collect();
    store.baselines_by_id(&Scope::All, &ids).await.unwrap()
}

#[tokio::test]
async fn a_fleet_of_many_sensors_a_machine_that_is_ready_at_once_is_pooled_from_its_first_baseline_on() {
    with_store("commissioning_pooled", async |store| {
        fleet(&store, 0).await;
        for (machine, number) in (0..4).flat_map(|machine| (0..12).map(move |number| (machine, number))) {
            sensor(&store, machine, "near", number).await;
        }
        assert_eq!(commission(&store).await, 48);
        let pooled: Vec<u32> = baselines(&store)
            .await
            .iter()
            .map(|b| b.learned.pooled_machines)
            .collect();
        assert_eq!(pooled, [3; 48], "three other machines were ready in the same minute");
    })
    .await;
}

/// A sensor's baseline.
async fn learned(store: &Store, sensor: SensorId) -> NewBaseline {
    let mut all = baselines(store).await.into_iter();
    all.find(|baseline| baseline.learned.sensor == sensor).unwrap().learned
}

#[tokio::test]
async fn a_class_of_two_machines_borrows_its_spread_from_all_classes_of_its_specification_and_says_so() {
    with_store("commissioning_borrowed", async |store| {
        fleet(&store, 0).await;
        class(&store, "fan").await;
        for machine in 0..4 {
            sensor_of(&store, ("fan", machine), "near", 0).await;
        }
        assert_eq!(commission(&store).await, 4);

        let mut pumps = Vec::new();
        for machine in 0..2 {
            pumps.push(sensor(&store, machine, "near", 0).await);
        }
        let far = sensor(&store, 0, "far", 0).await;
        assert_eq!(commission(&store).await, 3);
        for pump in pumps {
            let baseline = learned(&store, pump).await;
            assert_eq!(baseline.pooled_machines, 5, "the other pump and the four fans");
            let said = "borrowed from all classes of the same specification, widened by 1.5: 1 other machines";
            assert!(baseline.reason.contains(said), "{}", baseline.reason);
            // They all scatter alike; of twenty readings a sixth of the scale is the sensor's own.
            let wider = baseline.profile.scale[0] / baseline.profile.spread[0];
            assert!((wider - (1.0 + 5.0 * 1.5) / 6.0).abs() < 1e-4, "{wider}");
        }
        let far = learned(&store, far).await;
        assert_eq!(
            (far.pooled_machines, far.reason.as_str()),
            (
                0,
                "its own spread alone: 0 other machines of the class have a baseline, 0 of the same specification"
            ),
            "the fans have no such spectrum"
        );
        let audited = store.audit_list(None, 1).await.unwrap().remove(0);
        assert!(audited.detail_json.contains("spread"), "{audited:?}");
    })
    .await;
}

#[tokio::test]
async fn small_classes_that_are_ready_in_the_same_round_lend_to_each_other() {
    with_store("commissioning_borrowed_at_once", async |store| {
        fleet(&store, 2).await;
        class(&store, "fan").await;
        for machine in 0..3 {
            sensor_of(&store, ("fan", machine), "near", 0).await;
        }
        assert_eq!(commission(&store).await, 5);
        for baseline in baselines(&store).await {
            let NewBaseline {
                pooled_machines,
                reason,
                ..
            } = baseline.learned;
            assert_eq!(pooled_machines, 4, "{reason}");
            assert!(reason.contains("borrowed from all classes"), "{reason}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_sensor_whose_spec_or_reading_cannot_be_read_costs_no_other_its_baseline() {
    with_store("commissioning_unreadable", async |store| {
        fleet(&store, 3).await;
        let far = sensor(&store, 3, "far", 0).await;
        let odd = sensor(&store, 0, "near", 1).await;
        let wrong = sqlx::query("update spectrum_spec set definition = '{}' where name = 'far'");
        wrong.execute(store.pool()).await.unwrap();
        let wrong = sqlx::query("update reading set spectrum = '\\x01' where sensor_id = $1").bind(odd.0);
        wrong.execute(store.pool()).await.unwrap();
        assert_eq!(commission(&store).await, 3);
        let active = store.baselines_active(&Scope::All).await.unwrap();
        assert!(
            active.iter().all(|(sensor, _)| ![far, odd].contains(sensor)),
            "{active:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_put_on_record_is_not_done() {
    with_store("commissioning_audit", async |store| {
        fleet(&store, 1).await;
        sqlx::query("alter table audit add constraint full_disk check (action <> 'sensor.commissioned')")
            .execute(store.pool())
            .await
            .unwrap();
        assert_eq!(commission(&store).await, 0);
        assert!(baselines(&store).await.is_empty());

        for statement in [
            "alter table audit drop constraint full_disk",
            "update commissioning set leased_until = null",
        ] {
            sqlx::query(statement).execute(store.pool()).await.unwrap();
        }
        assert_eq!(commission(&store).await, 1);
        let newest = store.audit_list(None, 1).await.unwrap().remove(0);
        assert_eq!(
            (newest.actor.as_str(), newest.action.as_str()),
            ("ana", "sensor.commissioned")
        );
    })
    .await;
}
