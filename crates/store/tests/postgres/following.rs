//! Baselines that follow: what they look at, and how a person takes one back.

use std::time::Duration;

use tocsin_domain::{BaselineId, Detector, Label, ReadingFlags, Scope, Severity, SpectrumSpec, Verdict};
use tocsin_store::fleet::NewSensor;
use tocsin_store::following::{FollowingSensor, Group, NewRound, NextVersion};
use tocsin_store::label::{NewLabel, Window};
use tocsin_store::{Error, Store};

use crate::baselines::{keep, learned, lease, open, readings, small_fleet};
use crate::stage::{Fleet, at, noon, slug, with_store};

/// Commissions the first sensor on its readings up to 300 s.
async fn commissioned(store: &Store) -> (Fleet, BaselineId) {
    let fleet = small_fleet(store).await;
    keep(store, &readings(fleet.one.id, 0..30)).await;
    let ready = lease(store, noon()).await[0];
    let active = store
        .baseline_activate(&Scope::All, &learned(&ready), noon(), tocsin_scratch::audit)
        .await;
    (fleet, active.unwrap().unwrap())
}

async fn sensor(store: &Store, fleet: &Fleet) -> FollowingSensor {
    let found = store.following_sensor(&Scope::All, fleet.one.id).await;
    found.unwrap().1
}

/// Records a round that moves the sensor to a flat median; whether it became active.
async fn round(store: &Store, fleet: &Fleet, seconds: u64, median: f32, accepted: bool) -> bool {
    let standing = sensor(store, fleet).await;
    let round = NewRound {
        sensor: standing.sensor,
        epoch: standing.epoch,
        active: standing.active.0,
        until: at(seconds),
        readings: 30,
        finding: "drift",
        standing: 0.0,
        cusum: 1.5,
        held: false,
        recent: Some(vec![median; 64]),
        recent_db: median,
        active_db: median,
        next: Some(NextVersion {
            median: vec![median; 64],
            log_energy_mean: -3.0,
        }),
        by: "recalibrator".to_owned(),
        reason: "followed".to_owned(),
        accepted,
    };
    if accepted {
        return store
            .following_accept(&round, at(seconds), tocsin_scratch::audit)
            .await
            .unwrap();
    }
    let group = Group {
        class: fleet.class.id,
        spec: fleet.one.spec,
    };
    let rounds = [round];
    let moved = store.following_record(group, &rounds, at(seconds), tocsin_scratch::audit);
    !moved.await.unwrap().is_empty()
}

async fn back(store: &Store, fleet: &Fleet, to: Option<i32>, seconds: u64) -> Result<(i32, i32), Error> {
    let why = ("ana", "it followed a fault");
    let done = store
        .following_rollback(&Scope::All, (fleet.one.id, to), why, at(seconds), tocsin_scratch::audit)
        .await?;
    Ok((done.from.1, done.to.1))
}

async fn version(store: &Store, fleet: &Fleet) -> i32 {
    store.following_rounds(&Scope::All, &[fleet.one.id]).await.unwrap()[0].version
}

#[tokio::test]
async fn a_followed_baseline_goes_back_to_the_version_before_and_is_held_until_it_is_released() {
    with_store("rollback", async |store| {
        let (fleet, first) = commissioned(&store).await;
        assert!(round(&store, &fleet, 1_000, 1.1, false).await);
        assert!(round(&store, &fleet, 2_000, 1.2, false).await);
        assert_eq!(back(&store, &fleet, None, 2_100).await.unwrap(), (3, 2));
        let standing = sensor(&store, &fleet).await;
        assert_eq!((standing.active.1.median[0], standing.held_by_person), (1.1, true));
        assert_eq!((standing.looked_until, standing.cusum), (at(2_000), 1.5));
        let shown = &store.following_rounds(&Scope::All, &[fleet.one.id]).await.unwrap()[0];
        assert_eq!((shown.version, shown.held, shown.active_db), (2, true, 1.1));
        let held_by = shown.held_by_person.clone();
        assert_eq!(held_by, Some(("ana".to_owned(), "it followed a fault".to_owned())));

        assert!(!round(&store, &fleet, 3_000, 1.2, false).await, "it is held");
        assert_eq!(version(&store, &fleet).await, 2);
        store
            .following_release(&Scope::All, fleet.one.id, noon(), tocsin_scratch::audit)
            .await
            .unwrap();
        let again = store
            .following_release(&Scope::All, fleet.one.id, noon(), tocsin_scratch::audit)
            .await;
        assert!(matches!(again, Err(Error::Conflict { .. })), "{again:?}");
        assert!(round(&store, &fleet, 4_000, 1.15, false).await);
        assert_eq!(version(&store, &fleet).await, 4, "no version is used twice");

        assert_eq!(
            back(&store, &fleet, None, 4_100).await.unwrap(),
            (4, 2),
            "what it was made from"
        );
        assert_eq!(back(&store, &fleet, Some(1), 4_200).await.unwrap(), (2, 1));
        let active = store.baselines_active(&Scope::All).await.unwrap();
        assert_eq!(active, [(fleet.one.id, first)]);
        let present = store.baselines_present(&[fleet.one.id, fleet.two.id]).await.unwrap();
        assert_eq!(present.len(), 1, "the other waits to be commissioned");
        let present = &present[&fleet.one.id];
        assert_eq!(
            (present.active, present.commissioned, present.of_epoch.len()),
            (first, first, 4)
        );
        let none = back(&store, &fleet, None, 4_300).await.unwrap_err().to_string();
        assert!(none.contains("first of its epoch"), "{none}");
        let unknown = back(&store, &fleet, Some(9), 4_300).await;
        assert!(matches!(unknown, Err(Error::NotFound { .. })), "{unknown:?}");
    })
    .await;
}

#[tokio::test]
async fn going_back_behind_an_accepted_plateau_takes_the_bounds_back_too_and_a_new_epoch_frees_the_sensor() {
    with_store("rollback_accepted", async |store| {
        let (fleet, first) = commissioned(&store).await;
        assert!(round(&store, &fleet, 1_000, 1.5, false).await);
        assert!(round(&store, &fleet, 2_000, 2.0, true).await);
        let standing = sensor(&store, &fleet).await;
        assert_eq!(
            standing.commissioned.0, standing.active.0,
            "what follows is counted from there"
        );
        assert_eq!(
            standing.looked_from,
            at(2_000),
            "nothing from before the plateau is looked at again"
        );
        assert_eq!(back(&store, &fleet, None, 2_100).await.unwrap(), (3, 2));
        let standing = sensor(&store, &fleet).await;
        assert_eq!((standing.commissioned.0, standing.active.1.median[0]), (first, 1.5));
        assert!(
            round(&store, &fleet, 3_000, 2.0, true).await,
            "a person accepts it after all"
        );
        assert!(!sensor(&store, &fleet).await.held_by_person);
        back(&store, &fleet, None, 3_100).await.unwrap();
        store
            .commissioning_restart(
                &Scope::All,
                fleet.one.id,
                ("ana", "new bearing"),
                at(4_000),
                tocsin_scratch::audit,
            )
            .await
            .unwrap();
        let elsewhere = store
            .following_release(&Scope::All, fleet.one.id, noon(), tocsin_scratch::audit)
            .await;
        assert!(
            matches!(elsewhere, Err(Error::Conflict { .. })),
            "nobody holds the new epoch"
        );
        let gone = back(&store, &fleet, None, 4_100).await;
        assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    })
    .await;
}

#[tokio::test]
async fn a_baseline_follows_no_reading_that_was_judged_page_however_it_came_but_a_plateau_may_be_one() {
    with_store("follow_paged", async |store| {
        let (fleet, _) = commissioned(&store).await;
        let whose = (fleet.one.id, fleet.one.machine);
        let mut history = readings(fleet.one.id, 30..60);
        for reading in history.iter_mut().take(10) {
            reading.flags = ReadingFlags::HISTORICAL;
            reading.verdict = Verdict::Page { by: Detector::Severity };
        }
        keep(&store, &history).await;
        let looked = async || {
            let recent = store
                .following_spectra(&Scope::All, whose, at(290), 100)
                .await
                .unwrap()
                .unwrap();
            (recent.spectra.len(), recent.disturbed)
        };
        assert_eq!(looked().await, (20, false));
        let plateau = store
            .plateau_spectra(&Scope::All, fleet.one.id, (at(290), at(600)), 100)
            .await
            .unwrap();
        assert_eq!(plateau.len(), 30);
        let label = async |window, label| {
            let new = NewLabel {
                machine: fleet.one.machine,
                window,
                label,
                mode: String::new(),
                note: String::new(),
                by: "ana".to_owned(),
            };
            store
                .label_append(&Scope::All, &new, noon(), crate::labels::audit)
                .await
                .unwrap();
        };
        label(Window::Free(at(300), at(400)), Label::FalseAlarm).await;
        assert_eq!(looked().await, (30, false), "a false alarm is healthy data again");
        label(Window::Free(at(500), at(510)), Label::MissedFailure).await;
        assert_eq!(looked().await, (30, true), "a failure spoils the period");
        label(Window::Free(at(500), at(510)), Label::Withdrawn).await;
        let incident = open(&store, &fleet, Severity::Page, at(450)).await;
        assert_eq!(looked().await, (30, true));
        label(Window::Incident(incident.id), Label::FalseAlarm).await;
        assert_eq!(looked().await, (30, false));
    })
    .await;
}

/// Commissions a sensor of a second specification beside the first; their groups, the first one's first.
async fn two_groups(store: &Store) -> [Group; 2] {
    let fleet = small_fleet(store).await;
    let spec = SpectrumSpec::corpus_default(64);
    store
        .spec_create(&slug("fast"), &spec, noon(), tocsin_scratch::audit)
        .await
        .unwrap();
    let new = NewSensor {
        site: slug("north"),
        machine: slug("two"),
        device: None,
        name: slug("v"),
        class: slug("pump"),
        spec: slug("fast"),
    };
    let fast = store
        .sensor_create(&Scope::All, &new, noon(), tocsin_scratch::audit)
        .await
        .unwrap()
        .sensor;
    for (sensor, commissioned) in [(&fleet.one, at(0)), (&fast, at(60))] {
        keep(store, &readings(sensor.id, 0..30)).await;
        let ready = lease(store, commissioned).await.remove(0);
        let activated = store
            .baseline_activate(&Scope::All, &learned(&ready), commissioned, tocsin_scratch::audit)
            .await;
        assert!(activated.unwrap().is_some());
    }
    [fleet.one.spec, fast.spec].map(|spec| Group {
        class: fleet.class.id,
        spec,
    })
}

#[tokio::test]
async fn groups_are_taken_one_at_a_time_so_that_a_long_round_holds_none_that_waits() {
    with_store("follow_lease", async |store| {
        let [first, second] = two_groups(&store).await;
        let (day, lease) = (Duration::from_hours(24), Duration::from_mins(30));
        let due = async |now: u64, period: Option<Duration>, done: &[Group]| {
            store.following_lease(at(now), period, lease, done).await.unwrap()
        };
        assert_eq!(
            due(86_399, Some(day), &[]).await,
            None,
            "a day after it was commissioned"
        );
        assert_eq!(due(90_000, Some(day), &[]).await, Some(first), "who waits longest");
        assert_eq!(
            due(90_000, Some(day), &[]).await,
            Some(second),
            "another one has the first"
        );
        assert_eq!(due(90_000, Some(day), &[]).await, None);
        let record = async |group, now| {
            let moved = store.following_record(group, &[], at(now), tocsin_scratch::audit).await;
            assert_eq!(moved.unwrap(), []);
        };
        record(first, 90_100).await;
        assert_eq!(due(91_799, Some(day), &[]).await, None);
        assert_eq!(due(91_800, Some(day), &[]).await, Some(second), "its process died");
        record(second, 91_900).await;

        // Asked for by a person, all are due, and each is taken once.
        assert_eq!(due(92_000, None, &[]).await, Some(first));
        record(first, 92_000).await;
        assert_eq!(due(92_000, None, &[first]).await, Some(second));
        record(second, 92_000).await;
        assert_eq!(due(92_000, None, &[first, second]).await, None);
    })
    .await;
}
