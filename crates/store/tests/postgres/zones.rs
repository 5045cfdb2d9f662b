use std::time::Duration;

use tocsin_domain::fleet::CommissioningRules;
use tocsin_domain::zones::MachineGroup;
use tocsin_domain::{Detector, Level, Scope, Scores, SensorId, Severity, SeverityZones, Timestamp, Verdict};
use tocsin_store::commissioning::ReadySensor;
use tocsin_store::incident::{NewIncident, incident_insert};
use tocsin_store::reading::{NewReading, readings_copy, readings_insert};
use tocsin_store::{Channel, Error, Store};

use crate::stage::{Fleet, at, fleet, noon, reading, slug, with_store};

const WHY: (&str, &str) = ("ana", "as the standard says");

fn rigid() -> SeverityZones {
    SeverityZones(vec![MachineGroup::Group1Rigid.zone()])
}

/// A class that is content with 20 readings over 100 s, and has zones.
async fn zoned_fleet(store: &Store) -> Fleet {
    let fleet = fleet(store).await;
    let rules = CommissioningRules {
        readings: 20,
        span: Duration::from_secs(100),
        run_in: 5,
    };
    store
        .class_set_commissioning(&fleet.class.name, rules, noon(), tocsin_scratch::audit)
        .await
        .unwrap();
    store
        .zones_set(&fleet.class.name, &rigid(), WHY, noon(), tocsin_scratch::audit)
        .await
        .unwrap();
    fleet
}

/// Readings every ten seconds that severity alone judged.
fn at_severity(sensor: SensorId, steps: std::ops::Range<u64>, velocity: f32, level: f32) -> Vec<NewReading> {
    let of = |step: u64| {
        let mut row = reading(sensor, at(10 * step), step as i64);
        row.scores = Scores::default();
        row.scores.set(Detector::Severity, level);
        row.verdict = Verdict::Page { by: Detector::Severity };
        (row.threshold_set, row.bundle) = (None, None);
        row.overall = vec![Some(velocity), None];
        row
    };
    steps.map(of).collect()
}

async fn keep(store: &Store, readings: &[NewReading]) {
    let mut transaction = store.begin().await.unwrap();
    readings_insert(&mut transaction, readings).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn lease(store: &Store, now: Timestamp) -> Vec<ReadySensor> {
    let lease = Duration::from_mins(1);
    store.commissioning_lease(&Scope::All, now, lease, 10).await.unwrap()
}

async fn open_incident(store: &Store, fleet: &Fleet, by: Detector) {
    let mut transaction = store.begin().await.unwrap();
    let incident = NewIncident {
        machine: fleet.one.machine,
        severity: Severity::Page,
        opened_at: at(40),
        paged_at: Some(at(40)),
        deciding_sensor: fleet.one.id,
        deciding_detector: by,
        level: Level(2.26),
        threshold_set: None,
        bundle: None,
        replay: false,
    };
    let opened = incident_insert(&mut transaction, &incident).await.unwrap();
    assert_eq!((opened.threshold_set, opened.bundle), (None, None));
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn the_newest_zones_are_in_force_and_the_others_are_the_history() {
    with_store("zones_history", async |store| {
        let fleet = fleet(&store).await;
        let class = fleet.class.id;
        let listed = store.severity_classes(Some(class)).await.unwrap();
        assert_eq!((listed[0].version, &listed[0].zones), (0, &SeverityZones::default()));
        let mut changes = store.changes(Channel::Zones).await.unwrap();
        store
            .zones_set(&fleet.class.name, &rigid(), WHY, noon(), tocsin_scratch::audit)
            .await
            .unwrap();
        changes.changed().await.unwrap();
        let none = SeverityZones::default();
        let taken = ("bob", "they were wrong");
        store
            .zones_set(&fleet.class.name, &none, taken, at(60), tocsin_scratch::audit)
            .await
            .unwrap();
        store
            .zones_set(&fleet.class.name, &rigid(), WHY, at(90), tocsin_scratch::audit)
            .await
            .unwrap();
        let listed = store.severity_classes(None).await.unwrap();
        let of_class = listed.iter().find(|listed| listed.class == class).unwrap();
        assert_eq!((of_class.version, &of_class.zones), (3, &rigid()));
        assert_eq!(of_class.step, fleet.class.step);
        let history = store.zones_history(class).await.unwrap();
        let told: Vec<_> = history
            .iter()
            .map(|one| (one.version, one.changed_by.as_str()))
            .collect();
        assert_eq!(told, [(3, "ana"), (2, "bob"), (1, "ana")]);
        assert_eq!(store.zones_by_class().await.unwrap()[&class], history[0]);
        let unknown = slug("nosuch");
        let refused = store
            .zones_set(&unknown, &none, WHY, noon(), tocsin_scratch::audit)
            .await
            .unwrap_err();
        assert!(matches!(refused, Error::NotFound { .. }), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn a_severity_comes_back_by_either_way_in() {
    with_store("zones_row", async |store| {
        let fleet = fleet(&store).await;
        let rows = at_severity(fleet.one.id, 0..2, 8.0, 2.26);
        let mut transaction = store.begin().await.unwrap();
        readings_copy(&mut transaction, &rows[..1]).await.unwrap();
        readings_insert(&mut transaction, &rows[1..]).await.unwrap();
        transaction.commit().await.unwrap();
        for row in rows {
            let at = Some(row.key.captured_at);
            let found = store.reading_get(&Scope::All, fleet.one.id, at).await.unwrap().unwrap();
            assert_eq!((found.stored.scores, found.stored.verdict), (row.scores, row.verdict));
            assert_eq!((found.stored.threshold_set, found.overall), (None, row.overall));
        }
    })
    .await;
}

#[tokio::test]
async fn replicas_that_know_no_severity_can_still_write_their_rows() {
    with_store("zones_old_type", async |store| {
        let fleet = fleet(&store).await;
        let mut row = reading(fleet.one.id, at(10), 1);
        row.scores = Scores::default();
        keep(&store, &[row]).await;
        let again = "insert into reading (captured_at, received_at, content_hash, commit_seq, sensor_id, threshold_set_id,
                 bundle_id, baseline_id, flags, verdict, condition_cell, detector_mask, predecessor_count, spectrum)
             select captured_at + interval '1 second', received_at, content_hash, commit_seq, sensor_id, threshold_set_id,
                 bundle_id, baseline_id, flags, verdict, condition_cell, detector_mask, predecessor_count, spectrum
             from unnest((select array_agg(row(captured_at, received_at, content_hash, commit_seq, predecessors_from,
                     sensor_id, threshold_set_id, bundle_id, baseline_id, residual, overall_level, isolation, growth, shift,
                     narrowband, pca, mahalanobis, rpm, load, flags, verdict, condition_cell, detector_mask,
                     predecessor_count, overall, latent, spectrum)::new_reading) from reading))";
        let done = sqlx::query(again).execute(store.pool()).await.unwrap();
        assert_eq!(done.rows_affected(), 1);
        let newest = store.reading_get(&Scope::All, fleet.one.id, None).await.unwrap().unwrap();
        assert_eq!(newest.stored.scores.get(Detector::Severity), None);
    })
    .await;
}

#[tokio::test]
async fn a_refused_sensor_waits_for_a_person_for_other_zones_or_for_a_new_epoch() {
    with_store("zones_refusal", async |store| {
        let fleet = zoned_fleet(&store).await;
        let sensor = fleet.one.id;
        open_incident(&store, &fleet, Detector::Severity).await;
        keep(&store, &at_severity(sensor, 0..40, 8.0, 2.26)).await;
        let accept = async |scope: &Scope| {
            let why = ("ana", "soft foundation");
            store
                .commissioning_accept_zone(scope, sensor, why, noon(), tocsin_scratch::audit)
                .await
        };
        let ready = lease(&store, noon()).await.remove(0);
        assert!(!ready.zone_accepted);
        let levels = store.commissioning_levels(&Scope::All, &ready, 10).await.unwrap();
        assert_eq!((levels.len(), &levels[0]), (10, &vec![Some(8.0), None]));
        assert!(accept(&Scope::All).await.is_err(), "nothing was refused yet");

        let refuse = async |ready: &ReadySensor, version| {
            let why = (version, "it stands in zone D");
            store
                .commissioning_refuse(ready, why, noon(), tocsin_scratch::audit)
                .await
                .unwrap()
        };
        assert!(!refuse(&ready, 0).await, "those zones are not in force");
        assert!(refuse(&ready, 1).await);
        assert!(!refuse(&ready, 1).await, "it is no news");
        let days_later = noon() + Duration::from_hours(72);
        assert_eq!(lease(&store, days_later).await, []);
        store
            .zones_set(&fleet.class.name, &rigid(), WHY, noon(), tocsin_scratch::audit)
            .await
            .unwrap();
        assert!(
            refuse(&lease(&store, days_later).await[0], 2).await,
            "other zones are another question"
        );

        assert!(accept(&Scope::site(fleet.south.id)).await.is_err(), "of another site");
        accept(&Scope::All).await.unwrap();
        assert!(accept(&Scope::All).await.is_err(), "it is accepted");
        let mut states = store.commissioning_by_sensor(&Scope::All, &[sensor]).await.unwrap();
        let refusal = states.remove(&sensor).unwrap().refusal.unwrap();
        let accepted = refusal.accepted.unwrap();
        assert_eq!(
            (refusal.reason.as_str(), accepted.by.as_str()),
            ("it stands in zone D", "ana")
        );
        let ready = lease(&store, days_later).await.remove(0);
        assert!(ready.zone_accepted);
        let spectra = store.commissioning_spectra(&Scope::All, &ready, 1_000).await.unwrap();
        assert_eq!(spectra.len(), 20, "{:?}", ready.window);

        let why = ("ana", "balanced");
        store
            .commissioning_restart(&Scope::All, sensor, why, days_later, tocsin_scratch::audit)
            .await
            .unwrap();
        let states = store.commissioning_by_sensor(&Scope::All, &[sensor]).await.unwrap();
        assert_eq!(states[&sensor].refusal, None, "a new epoch knows nothing of it");
    })
    .await;
}

#[tokio::test]
async fn readings_in_zone_c_teach_nothing_and_those_in_another_incident_do_not_count() {
    with_store("zones_healthy", async |store| {
        let fleet = zoned_fleet(&store).await;
        let sensor = fleet.one.id;
        keep(&store, &at_severity(sensor, 0..20, 2.0, -0.5)).await;
        keep(&store, &at_severity(sensor, 20..30, 5.0, 1.2)).await;
        let ready = lease(&store, noon()).await.remove(0);
        let spectra = store.commissioning_spectra(&Scope::All, &ready, 1_000).await.unwrap();
        assert_eq!(spectra.len(), 15, "five of twenty stood in zone C");
        open_incident(&store, &fleet, Detector::Growth).await;
        let later = noon() + Duration::from_hours(1);
        assert_eq!(lease(&store, later).await, []);
    })
    .await;
}
