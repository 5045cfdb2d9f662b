use tocsin_domain::{Scope, SensorId, SpectrumSpec, Verdict};
use tocsin_store::Error;
use tocsin_store::fleet::{AutoRegistrationRefusal, MachineQuery, NewSensor};
use tocsin_store::reading::readings_insert;

use crate::stage::{Fleet, at, fleet, noon, path, reading, site, slug, with_store};

#[tokio::test]
async fn paths_resolve_within_their_site_alone() {
    with_store("resolve", async |store| {
        let Fleet {
            north, south, one, far, ..
        } = fleet(&store).await;
        let paths = [path("one/h"), path("far/h"), path("one/v")];
        let found = store.sensor_resolve(north.id, &paths).await.unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [(path("one/h"), one)]);
        let found = store.sensor_resolve(south.id, &paths).await.unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [(path("far/h"), far)]);
    })
    .await;
}

#[tokio::test]
async fn gateways_register_up_to_the_cap_and_under_their_class_alone() {
    with_store("auto_register", async |store| {
        let Fleet { north, one, class, .. } = fleet(&store).await;
        let other = store
            .class_create(
                &tocsin_store::fleet::NewClass::usual(slug("fan"), class.step),
                noon(),
                tocsin_scratch::audit,
            )
            .await
            .unwrap();
        let new = [path("one/h"), path("x/h"), path("x/h"), path("x/v")];
        let answer = store
            .sensor_auto_register(north.id, class.id, one.spec, &new, noon(), tocsin_scratch::audit)
            .await
            .unwrap();
        assert_eq!((answer.sensors.len(), answer.refused.len()), (3, 0));
        assert_eq!(answer.sensors[&path("one/h")], one);
        assert_eq!(
            answer.sensors[&path("x/h")].machine,
            answer.sensors[&path("x/v")].machine
        );

        let more = [path("y/h"), path("y/v")];
        let answer = store
            .sensor_auto_register(north.id, class.id, one.spec, &more, noon(), tocsin_scratch::audit)
            .await
            .unwrap();
        assert!(answer.sensors.contains_key(&path("y/h")));
        assert_eq!(
            answer.refused,
            [(path("y/v"), AutoRegistrationRefusal::OverCap { cap: 3 })]
        );
        let answer = store
            .sensor_auto_register(
                north.id,
                other.id,
                one.spec,
                &[path("x/a")],
                noon(),
                tocsin_scratch::audit,
            )
            .await
            .unwrap();
        assert_eq!(answer.refused, [(path("x/a"), AutoRegistrationRefusal::OtherClass)]);
    })
    .await;
}

#[tokio::test]
async fn two_gateways_that_race_do_not_exceed_the_cap() {
    with_store("auto_race", async |store| {
        let Fleet { north, one, class, .. } = fleet(&store).await;
        let racing: Vec<_> = (0..4)
            .map(|gateway| {
                let store = store.clone();
                let paths = [path(&format!("g{gateway}/a")), path(&format!("g{gateway}/b"))];
                tokio::spawn(async move {
                    store
                        .sensor_auto_register(north.id, class.id, one.spec, &paths, noon(), tocsin_scratch::audit)
                        .await
                        .unwrap()
                })
            })
            .collect();
        let (mut registered, mut refused) = (0, 0);
        for gateway in racing {
            let answer = gateway.await.unwrap();
            registered += answer.sensors.len();
            refused += answer.refused.len();
        }
        assert_eq!((registered, refused), (3, 5));
    })
    .await;
}

#[tokio::test]
async fn names_are_taken_once_and_a_machine_keeps_its_class() {
    with_store("fleet_names", async |store| {
        let fleet = fleet(&store).await;
        store
            .class_create(
                &tocsin_store::fleet::NewClass::usual(slug("fan"), fleet.class.step),
                noon(),
                tocsin_scratch::audit,
            )
            .await
            .unwrap();
        let again = NewSensor {
            site: slug("north"),
            machine: slug("one"),
            device: None,
            name: slug("h"),
            class: slug("pump"),
            spec: slug("accel"),
        };
        let error = store
            .sensor_create(&Scope::All, &again, noon(), tocsin_scratch::audit)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "sensor north/one/h exists already");
        let other_class = NewSensor {
            name: slug("v"),
            class: slug("fan"),
            ..again.clone()
        };
        let error = store
            .sensor_create(&Scope::All, &other_class, noon(), tocsin_scratch::audit)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }), "{error}");
        let elsewhere = NewSensor {
            name: slug("v"),
            ..again
        };
        let error = store
            .sensor_create(&fleet.south_only(), &elsewhere, noon(), tocsin_scratch::audit)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "site north was not found");
        let spec = SpectrumSpec::corpus_default(128);
        let error = store
            .spec_create(&slug("accel"), &spec, noon(), tocsin_scratch::audit)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_scope_hides_other_sites_in_every_listing() {
    with_store("fleet_scope", async |store| {
        let fleet = fleet(&store).await;
        let (north, south) = (fleet.north_only(), fleet.south_only());
        let all_sensors: Vec<SensorId> = [&fleet.one, &fleet.two, &fleet.far].map(|sensor| sensor.id).into();
        for (scope, count) in [(&Scope::All, 3), (&north, 2), (&south, 1)] {
            assert_eq!(store.sensor_list(scope, None, None).await.unwrap().len(), count);
            assert_eq!(store.sensors_by_id(scope, &all_sensors).await.unwrap().len(), count);
            let overviews = store.machine_overviews(scope, &MachineQuery::default()).await.unwrap();
            assert_eq!(overviews.len(), count);
        }
        assert_eq!(
            store.site_list(&north).await.unwrap(),
            std::slice::from_ref(&fleet.north)
        );
        assert!(store.site_by_name(&south, &slug("north")).await.is_err());
        assert!(store.site_by_id(&south, fleet.north.id).await.is_err());
        assert!(
            store
                .machine_by_name(&south, &slug("north"), &slug("one"))
                .await
                .is_err()
        );
        assert!(
            store
                .sensor_by_name(&south, &slug("north"), &path("one/h"))
                .await
                .is_err()
        );
        assert!(
            store
                .sensors_by_machine(&south, fleet.one.machine)
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(
            store
                .sensor_by_name(&north, &slug("north"), &path("one/h"))
                .await
                .unwrap()
                .sensor,
            fleet.one
        );
    })
    .await;
}

#[tokio::test]
async fn an_overview_shows_the_newest_reading_of_each_machine() {
    with_store("overview", async |store| {
        let Fleet { one, two, .. } = fleet(&store).await;
        let mut transaction = store.begin().await.unwrap();
        let readings = [
            reading(one.id, at(1), 1),
            reading(one.id, at(9), 1),
            reading(two.id, at(5), 1),
        ];
        readings_insert(&mut transaction, &readings).await.unwrap();
        transaction.commit().await.unwrap();
        let query = MachineQuery {
            site: Some(slug("north")),
            machine: Some(slug("one")),
        };
        let found = store.machine_overviews(&Scope::All, &query).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].newest_reading_at, found[0].sensors), (Some(at(9)), 1));
        assert_eq!(found[0].verdict.map(Verdict::as_str), Some("page"));
        assert_eq!(found[0].open_incident, None);
        site(&store, "empty", 0).await;
        let query = MachineQuery {
            site: Some(slug("south")),
            machine: None,
        };
        assert_eq!(
            store.machine_overviews(&Scope::All, &query).await.unwrap()[0].newest_reading_at,
            None
        );
    })
    .await;
}
