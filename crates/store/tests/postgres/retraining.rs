use std::time::Duration;

use tocsin_domain::lifecycle::{BundleState, TrainingState};
use tocsin_domain::{BundleDigest, BundleId, ContentHash, Detector, ReadingKey, Scope, Scores, SensorId, Verdict};
use tocsin_store::binding::NewBinding;
use tocsin_store::bundle::NewBundle;
use tocsin_store::reading::{NewReading, readings_insert};
use tocsin_store::shadow::ShadowScore;
use tocsin_store::training_job::{Attempt, NewTrainingJob};
use tocsin_store::{Error, Store};

use crate::stage::{Fleet, at, fleet, reading, with_store};

const LEASE: Duration = Duration::from_mins(5);

fn job(fleet: &Fleet, reason: &str) -> NewTrainingJob {
    NewTrainingJob {
        class: fleet.class.id,
        reason: reason.to_owned(),
        requested_by: "ana".to_owned(),
        period: (at(0), at(3600)),
    }
}

async fn bundle(store: &Store, fleet: &Fleet, digest: u8) -> BundleId {
    let new = NewBundle {
        class: fleet.class.id,
        digest: BundleDigest([digest; 32]),
        manifest_json: "{}".to_owned(),
        pushed_by: "ana".to_owned(),
    };
    let id = store
        .bundle_insert(&new, at(0), tocsin_scratch::audit)
        .await
        .unwrap()
        .id;
    let (pending, verified) = (BundleState::Pending, BundleState::Verified);
    store
        .bundle_set_state(id, (pending, verified), "", at(2), tocsin_scratch::audit)
        .await
        .unwrap()
        .id
}

async fn insert(store: &Store, rows: &[NewReading]) {
    let mut transaction = store.begin().await.unwrap();
    let rows: Vec<&NewReading> = rows.iter().collect();
    readings_insert(&mut transaction, &rows).await.unwrap();
    transaction.commit().await.unwrap();
}

fn healthy(sensor: SensorId, second: u64, content: i64) -> NewReading {
    NewReading {
        verdict: Verdict::Normal { by: Detector::Residual },
        ..reading(sensor, at(second), content)
    }
}

#[tokio::test]
async fn a_class_has_one_unfinished_job_and_a_rare_one_waits_for_its_turn() {
    with_store("training_request", async |store| {
        let fleet = fleet(&store).await;
        let first = store
            .training_job_request(&job(&fleet, "drift"), at(0), tocsin_scratch::audit)
            .await
            .unwrap();
        assert_eq!((first.state, first.attempts), (TrainingState::Queued, 0));
        let second = store
            .training_job_request(&job(&fleet, "again"), at(1), tocsin_scratch::audit)
            .await;
        assert!(matches!(second, Err(Error::Conflict { .. })), "{second:?}");
        let hour = Duration::from_hours(1);
        let rare = store
            .training_job_request_rarely(&job(&fleet, "drift"), hour, at(7200), tocsin_scratch::audit)
            .await;
        assert_eq!(rare.unwrap(), None, "one is unfinished");

        let taken = store
            .training_job_lease(at(10), LEASE, 3, tocsin_scratch::audit)
            .await
            .unwrap()
            .unwrap();
        let end = store
            .training_job_end(&taken, Attempt::Failed("too few rows"), at(20), tocsin_scratch::audit)
            .await
            .unwrap();
        assert_eq!((end.state, end.error.as_str()), (TrainingState::Failed, "too few rows"));
        let rare = store
            .training_job_request_rarely(&job(&fleet, "drift"), hour, at(1800), tocsin_scratch::audit)
            .await;
        assert_eq!(rare.unwrap(), None, "too soon");
        let rare = store
            .training_job_request_rarely(&job(&fleet, "drift"), hour, at(3601), tocsin_scratch::audit)
            .await;
        assert!(rare.unwrap().is_some());
        assert_eq!(
            store.training_job_list(Some(fleet.class.id), 10).await.unwrap().len(),
            2
        );
    })
    .await;
}

#[tokio::test]
async fn a_job_whose_trainer_died_is_taken_by_another_and_given_up_after_some_attempts() {
    with_store("training_lease", async |store| {
        let fleet = fleet(&store).await;
        store
            .training_job_request(&job(&fleet, "drift"), at(0), tocsin_scratch::audit)
            .await
            .unwrap();
        let first = store
            .training_job_lease(at(10), LEASE, 2, tocsin_scratch::audit)
            .await
            .unwrap()
            .unwrap();
        assert!(store.training_job_progress(&first, 0.5, at(100)).await.unwrap());
        assert_eq!(
            store
                .training_job_lease(at(99), LEASE, 2, tocsin_scratch::audit)
                .await
                .unwrap(),
            None
        );

        let second = store
            .training_job_lease(at(100), LEASE, 2, tocsin_scratch::audit)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((second.id, second.attempts, second.progress), (first.id, 2, 0.0));
        assert!(
            !store.training_job_progress(&first, 0.9, at(900)).await.unwrap(),
            "its lease is lost"
        );
        let late = store
            .training_job_end(&first, Attempt::Failed("late"), at(101), tocsin_scratch::audit)
            .await;
        assert!(matches!(late, Err(Error::Conflict { .. })), "{late:?}");

        let postponed = Attempt::Postponed("no registry", at(200));
        let waiting = store
            .training_job_end(&second, postponed, at(110), tocsin_scratch::audit)
            .await
            .unwrap();
        assert_eq!(
            (waiting.state, waiting.error.as_str()),
            (TrainingState::Queued, "no registry")
        );
        assert_eq!(
            store
                .training_job_lease(at(199), LEASE, 3, tocsin_scratch::audit)
                .await
                .unwrap(),
            None
        );
        assert_eq!(
            store
                .training_job_lease(at(200), LEASE, 2, tocsin_scratch::audit)
                .await
                .unwrap(),
            None
        );
        let given_up = store.training_job_get(first.id).await.unwrap();
        assert_eq!(
            (given_up.state, given_up.error.as_str()),
            (TrainingState::Failed, "no registry")
        );
    })
    .await;
}

#[tokio::test]
async fn a_finished_job_names_its_bundle() {
    with_store("training_done", async |store| {
        let fleet = fleet(&store).await;
        store
            .training_job_request(&job(&fleet, "drift"), at(0), tocsin_scratch::audit)
            .await
            .unwrap();
        let taken = store
            .training_job_lease(at(10), LEASE, 3, tocsin_scratch::audit)
            .await
            .unwrap()
            .unwrap();
        let made = bundle(&store, &fleet, 1).await;
        let done = store
            .training_job_end(&taken, Attempt::Done(made), at(20), tocsin_scratch::audit)
            .await
            .unwrap();
        assert_eq!(
            (done.state, done.bundle, done.progress),
            (TrainingState::Done, Some(made), 1.0)
        );
        assert_eq!(done.finished_at, Some(at(20)));
        let again = store
            .training_job_end(&done, Attempt::Done(made), at(30), tocsin_scratch::audit)
            .await;
        assert!(matches!(again, Err(Error::Conflict { .. })));
    })
    .await;
}

#[tokio::test]
async fn training_reads_what_is_healthy_evenly_thinned() {
    with_store("training_spectra", async |store| {
        let fleet = fleet(&store).await;
        let mut rows: Vec<NewReading> = (0..20)
            .map(|second| healthy(fleet.one.id, second, second as i64))
            .collect();
        rows.push(reading(fleet.one.id, at(20), 20)); // judged page
        let mut still = healthy(fleet.one.id, 21, 21);
        still.condition.rpm = Some(0.0);
        rows.push(still);
        rows.push(healthy(fleet.two.id, 5, 1));
        insert(&store, &rows).await;

        let sensors = store.training_sensors(fleet.class.id).await.unwrap();
        let paths: Vec<&str> = sensors.iter().map(|sensor| sensor.path.as_str()).collect();
        assert_eq!(paths, ["north/one/h", "north/two/h", "south/far/h"]);
        let period = (at(0), at(3600));
        let all = store.training_spectra(fleet.one.id, period, (100, 1)).await.unwrap();
        assert_eq!(all.len(), 20);
        let cases: [((u32, u32), &[u64]); 4] = [
            ((5, 1), &[3, 7, 11, 15, 19]),
            ((3, 2), &[2, 3, 10, 11, 18, 19]),
            ((2, 3), &[5, 6, 7, 17, 18, 19]),
            ((9, 3), &(0..20).collect::<Vec<u64>>()),
        ];
        for (runs, kept) in cases {
            let thinned = store.training_spectra(fleet.one.id, period, runs).await.unwrap();
            let seconds = thinned.iter().map(|row| row.captured_at.since(at(0)).as_secs());
            assert_eq!(seconds.collect::<Vec<_>>(), kept, "{runs:?}");
        }
        let residuals = store
            .training_residuals(fleet.class.id, BundleId(3), at(0), 2)
            .await
            .unwrap();
        assert_eq!(residuals.len(), 1, "the other sensor has too few");
        assert_eq!((residuals[0].readings, residuals[0].median), (20, 0.25));

        sqlx::query(
            "insert into incident (machine_id, severity, state, opened_at, paged_at, deciding_sensor_id,
                 deciding_detector, peak_level, latest_level, threshold_set_id, bundle_id, replay)
             values ($1, 2, 'active_unacknowledged', $2, $2, $3, 0, 2, 2, 1, 1, false)",
        )
        .bind(fleet.one.machine.0)
        .bind(chrono::DateTime::<chrono::Utc>::from(at(3000)))
        .bind(fleet.one.id.0)
        .execute(store.pool())
        .await
        .unwrap();
        let failing = store.training_spectra(fleet.one.id, period, (100, 1)).await.unwrap();
        assert!(failing.is_empty(), "the day before a page is not healthy");
        assert_eq!(
            store
                .training_spectra(fleet.two.id, period, (100, 1))
                .await
                .unwrap()
                .len(),
            1
        );
    })
    .await;
}

#[tokio::test]
async fn a_challengers_scores_stand_beside_those_of_stored_readings_alone_and_are_forgotten() {
    with_store("shadow", async |store| {
        let fleet = fleet(&store).await;
        insert(&store, &[healthy(fleet.one.id, 0, 7), healthy(fleet.far.id, 0, 8)]).await;
        let mut scores = Scores::default();
        scores.set(Detector::Residual, 0.5);
        scores.set(Detector::Pca, 3.0);
        let shadow = |sensor, second, hash| ShadowScore {
            key: ReadingKey {
                sensor,
                captured_at: at(second),
            },
            content_hash: ContentHash(hash),
            bundle: BundleId(4),
            scores,
        };
        let said = [
            shadow(fleet.one.id, 0, 7),
            shadow(fleet.far.id, 0, 8),
            shadow(fleet.two.id, 0, 9),  // never stored
            shadow(fleet.one.id, 0, 99), // other content
        ];
        assert_eq!(store.shadow_insert(&said, at(1)).await.unwrap(), 2);
        assert_eq!(store.shadow_insert(&said, at(2)).await.unwrap(), 0);

        let both = (BundleId(3), BundleId(4));
        let seen = store
            .shadow_compared(&fleet.north_only(), fleet.class.id, both, at(0), 10)
            .await
            .unwrap();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].champion.get(Detector::Residual), Some(0.25));
        assert_eq!(seen[0].challenger, scores);
        assert!(!seen[0].around_incident);
        let all = store
            .shadow_compared(&Scope::All, fleet.class.id, both, at(0), 10)
            .await
            .unwrap();
        assert_eq!(all.len(), 2);
        let other = (BundleId(9), BundleId(4));
        let none = store
            .shadow_compared(&Scope::All, fleet.class.id, other, at(0), 10)
            .await
            .unwrap();
        assert!(none.is_empty(), "judged by another champion");
        assert_eq!(store.shadow_forget(at(1)).await.unwrap(), 0);
        assert_eq!(store.shadow_forget(at(2)).await.unwrap(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_move_is_told_from_what_was_commissioned_until_a_champion_was_fitted_after_it() {
    with_store("departures", async |store| {
        let fleet = fleet(&store).await;
        let bytes = |value: f32| value.to_le_bytes().to_vec();
        let baseline: i32 = sqlx::query_scalar(
            "insert into baseline (sensor_id, epoch, condition_cell, median, spread, scale, log_energy_mean,
                 log_energy_sd, pooled_machines, readings, first_at, last_at, created_at, created_by, reason)
             values ($1, 1, 0, $2, $2, $2, 0, 1, 0, 20, now(), now(), now(), 'test', '') returning baseline_id",
        )
        .bind(fleet.one.id.0)
        .bind(bytes(1.0))
        .fetch_one(store.pool())
        .await
        .unwrap();
        sqlx::query(
            "update commissioning set state = 'commissioned', commissioned_at = now(), baseline_id = $2,
                 commissioned_baseline_id = $2 where sensor_id = $1",
        )
        .bind(fleet.one.id.0)
        .bind(baseline)
        .execute(store.pool())
        .await
        .unwrap();
        let round = async |second: u64, recent: f32| {
            sqlx::query(
                "insert into following_round (sensor_id, at, epoch, until, readings, finding, standing, cusum, held,
                     recent, recent_db, active_db, baseline_id)
                 values ($1, $2, 1, $2, 20, 'drift', 0, 0, false, $3, 0, 0, $4)",
            )
            .bind(fleet.one.id.0)
            .bind(chrono::DateTime::<chrono::Utc>::from(at(second)))
            .bind(bytes(recent))
            .bind(baseline)
            .execute(store.pool())
            .await
            .unwrap();
        };
        round(100, 1.5).await;
        let told = store.training_departures(fleet.class.id, at(0)).await.unwrap();
        assert_eq!((told.len(), told[0].move_ln.as_slice()), (1, [0.5].as_slice()));
        assert!(
            store
                .training_departures(fleet.class.id, at(101))
                .await
                .unwrap()
                .is_empty(),
            "old news"
        );

        let champion = bundle(&store, &fleet, 1).await;
        store
            .training_job_request(&job(&fleet, "drift"), at(110), tocsin_scratch::audit)
            .await
            .unwrap();
        let taken = store
            .training_job_lease(at(111), LEASE, 3, tocsin_scratch::audit)
            .await
            .unwrap()
            .unwrap();
        store
            .training_job_end(&taken, Attempt::Done(champion), at(120), tocsin_scratch::audit)
            .await
            .unwrap();
        let binding = NewBinding {
            class: fleet.class.id,
            expected_version: 0,
            champion: Some(champion),
            challenger: None,
            threshold_set: None,
            changed_by: "ana".to_owned(),
            reason: String::new(),
        };
        store
            .binding_append(&binding, at(130), tocsin_scratch::audit)
            .await
            .unwrap();
        round(200, 1.75).await;
        let told = store.training_departures(fleet.class.id, at(0)).await.unwrap();
        assert_eq!(told[0].move_ln, [0.25], "from what the champion was fitted on");
    })
    .await;
}
