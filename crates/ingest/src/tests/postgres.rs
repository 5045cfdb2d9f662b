//! What a gateway's unknown sensors become.

use std::sync::Arc;
use std::time::Duration;

use tocsin_contracts::ingest::SentReading;
use tocsin_contracts::ingest::v1::{Ack, RejectionCode};
use tocsin_domain::access::{AutoRegistration, Gateway};
use tocsin_domain::{Clock, Scope, SpectrumSpec};
use tocsin_scratch::{Scratch, site, slug};
use tocsin_store::fleet::NewSite;
use tocsin_transport::Replicas;

use crate::admission::{NewestCaptures, Terms};
use crate::fixture::{self, BINS, FakeEnsemble, now, reading};
use crate::{Config, Ingest, build};

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
    let Some(scratch) = Scratch::make("ingest").await else {
        return;
    };
    let store = scratch.store.clone();
    let new = NewSite {
        auto_register_cap: 2,
        ..site("plant")
    };
    let site = store
        .site_create(&new, now(), tocsin_scratch::audit)
        .await
        .expect("a site");
    let class = store
        .class_create(
            &tocsin_store::fleet::NewClass::usual(slug("press"), Duration::from_secs(10)),
            now(),
            tocsin_scratch::audit,
        )
        .await
        .expect("a class");
    let spec = SpectrumSpec::corpus_default(BINS as u16);
    let spec = store
        .spec_create(&slug("spec"), &spec, now(), tocsin_scratch::audit)
        .await
        .expect("a spec");
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
    scratch.drop().await;
}
