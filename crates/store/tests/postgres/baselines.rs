use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tocsin_domain::fleet::CommissioningRules;
use tocsin_domain::{
    BaselineId, BundleId, ClassId, Detector, Level, ReadingFlags, Scope, SensorId, Severity, ThresholdSetId, Timestamp,
    Verdict,
};
use tocsin_store::baseline::{NewBaseline, Profile};
use tocsin_store::commissioning::{Commissioning, Progress, ReadySensor};
use tocsin_store::fleet::NewSensor;
use tocsin_store::incident::{Incident, NewIncident, incident_insert, incident_update};
use tocsin_store::reading::{NewReading, ReplayQuery, readings_insert};
use tocsin_store::{Channel, Error, Store};

use crate::stage::{Fleet, at, fleet, noon, reading, slug, with_store};

const LEASE: Duration = Duration::from_mins(1);

/// A class that is content with 20 readings over 100 s, after a run-in of 5.
pub(crate) async fn small_fleet(store: &Store) -> Fleet {
    let fleet = fleet(store).await;
    let rules = CommissioningRules {
        readings: 20,
        span: Duration::from_secs(100),
        run_in: 5,
    };
    let class = store
        .class_set_commissioning(&fleet.class.name, rules, noon(), tocsin_scratch::audit)
        .await
        .unwrap();
    assert_eq!(class.commissioning, rules);
    fleet
}

/// Normal readings every ten seconds.
pub(crate) fn readings(sensor: SensorId, steps: std::ops::Range<u64>) -> Vec<NewReading> {
    let normal = |step: u64| NewReading {
        verdict: Verdict::Normal { by: Detector::Residual },
        ..reading(sensor, at(10 * step), step as i64)
    };
    steps.map(normal).collect()
}

/// Opens an incident of the first machine; one of page severity has paged.
pub(crate) async fn open(store: &Store, fleet: &Fleet, severity: Severity, opened_at: Timestamp) -> Incident {
    let new = NewIncident {
        machine: fleet.one.machine,
        severity,
        opened_at,
        paged_at: (severity == Severity::Page).then_some(opened_at),
        deciding_sensor: fleet.one.id,
        deciding_detector: Detector::OverallLevel,
        level: Level(1.5),
        threshold_set: Some(ThresholdSetId(7)),
        bundle: Some(BundleId(3)),
        replay: false,
    };
    let mut transaction = store.begin().await.unwrap();
    let incident = incident_insert(&mut transaction, &new).await.unwrap();
    transaction.commit().await.unwrap();
    incident
}

pub(crate) async fn keep(store: &Store, readings: &[NewReading]) {
    let mut transaction = store.begin().await.unwrap();
    readings_insert(&mut transaction, readings).await.unwrap();
    transaction.commit().await.unwrap();
}

pub(crate) async fn lease(store: &Store, now: Timestamp) -> Vec<ReadySensor> {
    store.commissioning_lease(&Scope::All, now, LEASE, 10).await.unwrap()
}

async fn state(store: &Store, sensor: SensorId) -> Commissioning {
    let mut found = store.commissioning_by_sensor(&Scope::All, &[sensor]).await.unwrap();
    found.remove(&sensor).unwrap()
}

pub(crate) fn learned(ready: &ReadySensor) -> NewBaseline {
    NewBaseline {
        sensor: ready.sensor,
        epoch: ready.epoch,
        profile: Profile {
            median: vec![1.0; 64],
            spread: vec![0.0; 64],
            scale: vec![0.1; 64],
            trend: None,
        },
        log_energy: (-3.0, 0.25),
        pooled_machines: 0,
        readings: 20,
        window: ready.window,
        created_by: "recalibrator".to_owned(),
        reason: "its own spread".to_owned(),
    }
}

#[tokio::test]
async fn a_sensor_is_ready_when_both_count_and_span_are_reached_and_one_process_takes_it() {
    with_store("baseline_ready", async |store| {
        let fleet = small_fleet(&store).await;
        let sensor = fleet.one.id;
        keep(&store, &readings(sensor, 0..24)).await;
        assert_eq!(lease(&store, noon()).await, [], "one reading short");
        let short = Progress::Commissioning {
            readings: 19,
            needed: 20,
        };
        assert_eq!(state(&store, sensor).await.progress, short);
        keep(&store, &readings(sensor, 24..25)).await;
        let ready = lease(&store, noon()).await;
        assert_eq!(ready.len(), 1);
        assert_eq!((ready[0].sensor, ready[0].epoch), (sensor, 1));
        assert_eq!(ready[0].window, (at(50), at(240)), "the run-in is skipped");
        assert_eq!(lease(&store, noon()).await, [], "it is leased");
        assert_eq!(
            lease(&store, noon() + LEASE).await,
            ready,
            "a process that died is followed by another"
        );
        let spectra = async |most| store.commissioning_spectra(&Scope::All, &ready[0], most).await.unwrap();
        assert_eq!(spectra(100).await.len(), 20);
        assert_eq!(spectra(7).await.len(), 7);
        assert_eq!(
            store
                .commissioning_spectra(&fleet.south_only(), &ready[0], 9)
                .await
                .unwrap(),
            []
        );
    })
    .await;
}

#[tokio::test]
async fn readings_of_a_machine_that_stands_still_count_for_nothing() {
    with_store("baseline_stopped", async |store| {
        let fleet = small_fleet(&store).await;
        let mut some = readings(fleet.one.id, 0..30);
        for reading in some.iter_mut().skip(10).take(6) {
            reading.condition.rpm = Some(0.0);
        }
        keep(&store, &some).await;
        assert_eq!(lease(&store, noon()).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_machine_that_stands_above_its_fleets_alert_line_is_commissioned_and_one_that_paged_is_not() {
    with_store("baseline_incidents", async |store| {
        let fleet = small_fleet(&store).await;
        keep(&store, &readings(fleet.one.id, 0..30)).await;
        let mut incident = open(&store, &fleet, Severity::Alert, at(100)).await;
        assert_eq!(lease(&store, noon()).await.len(), 1, "an alert leaves nothing out");
        (incident.severity, incident.paged_at) = (Severity::Page, Some(at(150)));
        let mut transaction = store.begin().await.unwrap();
        incident_update(&mut transaction, &incident).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(
            lease(&store, noon() + LEASE).await,
            [],
            "a page leaves out all since its incident opened"
        );
    })
    .await;
}

#[tokio::test]
async fn an_incident_from_before_the_repair_keeps_no_reading_out_of_the_new_epoch() {
    with_store("baseline_repaired", async |store| {
        let fleet = small_fleet(&store).await;
        let sensor = fleet.one.id;
        keep(&store, &readings(sensor, 0..30)).await;
        open(&store, &fleet, Severity::Page, at(0)).await;
        assert_eq!(lease(&store, noon()).await, []);
        store
            .commissioning_restart(
                &Scope::All,
                sensor,
                ("person:ana", "new bearing"),
                at(300),
                tocsin_scratch::audit,
            )
            .await
            .unwrap();
        keep(&store, &readings(sensor, 30..60)).await;
        assert_eq!(lease(&store, noon()).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_reading_that_was_judged_page_counts_for_nothing_though_no_incident_is_open() {
    with_store("baseline_paged", async |store| {
        let fleet = small_fleet(&store).await;
        let mut some = readings(fleet.one.id, 0..30);
        for reading in some.iter_mut().skip(10).take(3) {
            reading.verdict = Verdict::Alert {
                by: Detector::OverallLevel,
            };
        }
        for reading in some.iter_mut().skip(20).take(6) {
            reading.verdict = Verdict::Page {
                by: Detector::OverallLevel,
            };
        }
        keep(&store, &some).await;
        assert_eq!(lease(&store, noon()).await, []);
        keep(&store, &readings(fleet.one.id, 30..31)).await;
        assert_eq!(lease(&store, noon()).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_baseline_is_active_from_the_transaction_that_writes_it_until_the_next_epoch() {
    with_store("baseline_epochs", async |store| {
        let fleet = small_fleet(&store).await;
        let sensor = fleet.one.id;
        keep(&store, &readings(sensor, 0..30)).await;
        let ready = lease(&store, noon()).await[0];
        assert_eq!(
            store
                .baseline_activate(&fleet.south_only(), &learned(&ready), noon(), tocsin_scratch::audit)
                .await
                .unwrap(),
            None,
            "it lies outside the scope"
        );
        let mut changes = store.changes(Channel::Baseline).await.unwrap();
        let id = store
            .baseline_activate(&Scope::All, &learned(&ready), noon(), tocsin_scratch::audit)
            .await
            .unwrap()
            .unwrap();
        changes.changed().await.unwrap();
        assert_eq!(
            store
                .baseline_activate(&Scope::All, &learned(&ready), noon(), tocsin_scratch::audit)
                .await
                .unwrap(),
            None,
            "once is enough"
        );
        assert_eq!(store.baselines_active(&Scope::All).await.unwrap(), [(sensor, id)]);
        let found = store.baselines_by_id(&Scope::All, &[id, BaselineId(99)]).await.unwrap();
        assert_eq!((found.len(), &found[0].learned), (1, &learned(&ready)));
        let spreads = async |scope| {
            store
                .baseline_spreads(&scope, fleet.class.id, fleet.one.spec)
                .await
                .unwrap()
        };
        let found = spreads(Scope::All).await;
        assert_eq!((found.len(), found[0].machine), (1, fleet.one.machine));
        let beside = async |scope, class| {
            let spreads = store.baseline_spreads_elsewhere(&scope, class, fleet.one.spec).await;
            spreads.unwrap().len()
        };
        let another = ClassId(fleet.class.id.0 + 1);
        assert_eq!(beside(Scope::All, another).await, 1, "every class but that one");
        assert_eq!(beside(Scope::All, fleet.class.id).await, 0);
        assert_eq!(beside(fleet.south_only(), another).await, 0);
        let elsewhere = fleet.south_only();
        assert_eq!(store.baselines_active(&elsewhere).await.unwrap(), []);
        assert_eq!(store.baselines_by_id(&elsewhere, &[id]).await.unwrap(), []);
        assert_eq!(spreads(elsewhere).await, []);

        let restart = async |scope: &Scope| {
            let why = ("person:ana", "new bearing");
            store
                .commissioning_restart(scope, sensor, why, at(1_000), tocsin_scratch::audit)
                .await
        };
        assert!(matches!(
            restart(&fleet.south_only()).await,
            Err(Error::NotFound { .. })
        ));
        restart(&fleet.north_only()).await.unwrap();
        changes.changed().await.unwrap();
        let begun = state(&store, sensor).await;
        assert_eq!((begun.epoch, begun.reason.as_str()), (2, "new bearing"));
        assert_eq!(
            begun.progress,
            Progress::Commissioning {
                readings: 0,
                needed: 20
            }
        );
        assert_eq!(store.baselines_active(&Scope::All).await.unwrap(), []);
        assert_eq!(
            store
                .baseline_activate(&Scope::All, &learned(&ready), noon(), tocsin_scratch::audit)
                .await
                .unwrap(),
            None,
            "of an epoch that has passed"
        );
        keep(&store, &readings(sensor, 100..130)).await;
        assert_eq!(lease(&store, noon()).await[0].epoch, 2);
    })
    .await;
}

#[tokio::test]
async fn an_impossible_baseline_costs_the_fleet_its_own_spread_and_no_other() {
    with_store("baseline_impossible", async |store| {
        let fleet = small_fleet(&store).await;
        let mut made = Vec::new();
        for sensor in [fleet.one.id, fleet.two.id] {
            keep(&store, &readings(sensor, 0..30)).await;
            let ready = lease(&store, noon()).await[0];
            let active = store
                .baseline_activate(&Scope::All, &learned(&ready), noon(), tocsin_scratch::audit)
                .await;
            made.push(active.unwrap().unwrap());
        }
        sqlx::query("update baseline set scale = $1 where baseline_id = $2")
            .bind(vec![0_u8; 256])
            .bind(made[1].0)
            .execute(store.pool())
            .await
            .unwrap();
        let spreads = store
            .baseline_spreads(&Scope::All, fleet.class.id, fleet.one.spec)
            .await
            .unwrap();
        assert_eq!(
            spreads.iter().map(|spread| spread.machine).collect::<Vec<_>>(),
            [fleet.one.machine]
        );
    })
    .await;
}

#[tokio::test]
async fn an_epoch_of_a_machine_that_replays_begins_behind_its_newest_reading() {
    with_store("baseline_replay", async |store| {
        let fleet = small_fleet(&store).await;
        let sensor = fleet.one.id;
        let mut replayed = readings(sensor, 0..60);
        for reading in &mut replayed {
            reading.flags = ReadingFlags::REPLAY;
        }
        keep(&store, &replayed[..30]).await;
        let years_later = noon() + Duration::from_hours(24 * 4_000);
        let why = ("person:ana", "again");
        store
            .commissioning_restart(&Scope::All, sensor, why, years_later, tocsin_scratch::audit)
            .await
            .unwrap();
        keep(&store, &replayed[30..]).await;
        let ready = lease(&store, years_later).await;
        assert_eq!(ready[0].window.0, at(350), "the run-in of the new epoch is skipped");
    })
    .await;
}

#[tokio::test]
async fn only_scores_against_the_baselines_of_the_epoch_count() {
    with_store("baseline_scores", async |store| {
        let fleet = small_fleet(&store).await;
        let sensor = fleet.one.id;
        keep(&store, &readings(sensor, 0..30)).await;
        let ready = lease(&store, noon()).await[0];
        let id = store
            .baseline_activate(&Scope::All, &learned(&ready), noon(), tocsin_scratch::audit)
            .await
            .unwrap()
            .unwrap();
        let mut judged = readings(sensor, 30..37);
        for reading in &mut judged {
            reading.baseline = Some(id);
        }
        judged[0].baseline = Some(BaselineId(id.0 + 1));
        keep(&store, &judged).await;
        let period = (noon(), at(10_000));
        let query = ReplayQuery {
            sensors: vec![sensor],
            bundle: Some(BundleId(3)),
            from: period.0,
            to: period.1,
            baselines: Some(store.baselines_of_epochs(&[sensor]).await.unwrap()),
            historical: true,
        };
        let scores = store.scores_to_replay(&query).await.unwrap();
        let seen: BTreeSet<_> = scores.iter().map(|score| score.key.captured_at).collect();
        assert_eq!(seen, (31..37).map(|step| at(10 * step)).collect::<BTreeSet<_>>());
        let machines = store
            .machines_healthy(&fleet.north_only(), fleet.class.id, period)
            .await
            .unwrap();
        assert_eq!(machines, [fleet.one.machine, fleet.two.machine]);
    })
    .await;
}

#[tokio::test]
async fn a_replay_reads_all_sensors_of_a_machine() {
    with_store("in_order", async |store| {
        let fleet = fleet(&store).await;
        let (one, machine) = (fleet.one.id, fleet.one.machine);
        let new = NewSensor {
            site: fleet.north.name.clone(),
            machine: slug("one"),
            device: None,
            name: slug("v"),
            class: fleet.class.name.clone(),
            spec: slug("accel"),
        };
        let other = store
            .sensor_create(&Scope::All, &new, noon(), tocsin_scratch::audit)
            .await
            .unwrap()
            .sensor
            .id;
        keep(&store, &readings(one, 0..20)).await;
        let mut history = readings(other, 0..10);
        history[3].flags = ReadingFlags::HISTORICAL;
        history[4].bundle = Some(BundleId(9));
        keep(&store, &history).await;
        keep(&store, &readings(fleet.two.id, 0..3)).await;
        let sensors = async |scope: Scope| store.sensors_of_machines(&scope, &[machine]).await.unwrap();
        let found = sensors(fleet.north_only()).await;
        assert_eq!(found, BTreeMap::from([(one, machine), (other, machine)]));
        assert_eq!(sensors(fleet.south_only()).await, BTreeMap::new());
        let query = ReplayQuery {
            sensors: found.into_keys().collect(),
            bundle: Some(BundleId(3)),
            from: at(10),
            to: at(150),
            baselines: None,
            historical: false,
        };
        let read = async |query: &ReplayQuery| {
            let scores = store.scores_to_replay(query).await.unwrap();
            let keys: BTreeSet<_> = scores.iter().map(|r| (r.key.captured_at, r.key.sensor)).collect();
            assert_eq!(keys.len(), scores.len());
            keys
        };
        let mut expected: BTreeSet<_> = (1..15).map(|step| (at(10 * step), one)).collect();
        expected.extend(
            (1..10)
                .filter(|step| ![3, 4].contains(step))
                .map(|step| (at(10 * step), other)),
        );
        assert_eq!(read(&query).await, expected);
        let with_history = ReplayQuery {
            historical: true,
            ..query.clone()
        };
        assert_eq!(read(&with_history).await.len(), expected.len() + 1);
        let by_baseline = ReplayQuery {
            baselines: Some(store.baselines_of_epochs(&query.sensors).await.unwrap()),
            ..query
        };
        assert_eq!(read(&by_baseline).await, BTreeSet::new(), "nothing has a baseline");
        let machines = store
            .machines_by_class(&fleet.north_only(), fleet.class.id)
            .await
            .unwrap();
        let names: Vec<_> = machines.iter().map(|machine| machine.name.as_str()).collect();
        assert_eq!(names, ["one", "two"]);
    })
    .await;
}
