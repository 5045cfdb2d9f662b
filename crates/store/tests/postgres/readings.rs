use std::time::Duration;

use tocsin_domain::{BaselineId, Condition, Detector, ReadingFlags, ReadingKey, Scope, Scores, Timestamp};
use tocsin_store::partition::Day;
use tocsin_store::reading::{
    FullReadingsQuery, InsertOutcome, NewReading, Rescored, StoredReading, readings_copy, readings_insert,
    readings_windows,
};
use tocsin_store::{Error, Store, reading};

use crate::stage::{Fleet, at, fleet, noon, reading, with_store};

async fn store_all(store: &Store, readings: &[reading::NewReading]) -> Vec<InsertOutcome> {
    let mut transaction = store.begin().await.unwrap();
    let outcomes = readings_insert(&mut transaction, readings).await.unwrap();
    transaction.commit().await.unwrap();
    outcomes
}

#[tokio::test]
async fn a_batch_tells_new_readings_from_repeats_and_conflicts() {
    with_store("outcomes", async |store| {
        use InsertOutcome::{Conflict, Duplicate, Stored};
        let Fleet { one, two, .. } = fleet(&store).await;
        assert_eq!(store_all(&store, &[]).await, []);
        let first = [reading(two.id, at(1), 1), reading(one.id, at(1), 1)];
        assert_eq!(store_all(&store, &first).await, [Stored, Stored]);
        let second = [
            reading(one.id, at(1), 1), // as before
            reading(two.id, at(1), 2), // other content
            reading(two.id, at(1), 1), // as before, after a conflict in the same batch
            reading(one.id, at(3), 5), // new
            reading(one.id, at(2), 4), // new, and twice
            reading(one.id, at(2), 4),
            reading(one.id, at(2), 6), // new key, other content than the first in the batch
        ];
        let outcomes = store_all(&store, &second).await;
        assert_eq!(
            outcomes,
            [Duplicate, Conflict, Duplicate, Stored, Stored, Duplicate, Conflict]
        );
        let series = store
            .readings_series(&Scope::All, one.machine, (at(0), at(10)), 100)
            .await
            .unwrap();
        assert_eq!(
            series.iter().map(|row| row.key.captured_at).collect::<Vec<_>>(),
            [at(1), at(2), at(3)]
        );
        assert_eq!(series[1].commit_seq, series[2].commit_seq);
        assert!(series[0].commit_seq < series[1].commit_seq);
        assert!(store.readings_change().await.unwrap() >= series[2].commit_seq);
    })
    .await;
}

#[tokio::test]
async fn a_row_names_the_build_that_scored_it_and_a_build_has_one_number() {
    with_store("builds", async |store| {
        let fleet = fleet(&store).await;
        let (one, far) = (&fleet.one, &fleet.far);
        let build = store.scorer_build_id("1.0.0+avx", at(0)).await.unwrap();
        let again = store.scorer_build_id("1.0.0+avx", at(5)).await.unwrap();
        let other = store.scorer_build_id("1.0.0+generic", at(5)).await.unwrap();
        assert!(build == again && build != other);
        assert_eq!(store.scorer_build_by_id(other).await.unwrap(), "1.0.0+generic");
        let by = |sensor, second, scorer_build| NewReading {
            scorer_build,
            ..reading(sensor, at(second), second as i64)
        };
        store_all(&store, &[by(one.id, 1, Some(build)), by(one.id, 2, None)]).await;
        let mut transaction = store.begin().await.unwrap();
        let copied = [by(one.id, 3, Some(other)), by(far.id, 3, Some(other))];
        readings_copy(&mut transaction, &copied).await.unwrap();
        transaction.commit().await.unwrap();
        let query = FullReadingsQuery {
            sensor: one.id,
            from: at(0),
            to: at(10),
            limit: 2,
        };
        let page = store.readings_full(&Scope::All, &query).await.unwrap();
        let builds: Vec<_> = page.iter().map(|row| row.scorer_build).collect();
        assert_eq!(builds, [Some(build), None]);
        let next = FullReadingsQuery {
            from: at(2) + Duration::from_micros(1),
            ..query
        };
        let page = store.readings_full(&Scope::All, &next).await.unwrap();
        assert_eq!((page.len(), page[0].scorer_build), (1, Some(other)));
        assert_eq!(page[0].content_hash, copied[0].content_hash);
        let of_far = FullReadingsQuery {
            sensor: far.id,
            ..query
        };
        let seen = store.readings_full(&fleet.north_only(), &of_far).await.unwrap();
        assert!(seen.is_empty(), "another site's readings are not there");
    })
    .await;
}

#[tokio::test]
async fn a_reading_comes_back_as_it_was_stored() {
    with_store("roundtrip", async |store| {
        let Fleet { one, .. } = fleet(&store).await;
        let new = reading::NewReading {
            baseline: Some(BaselineId(11)),
            predecessors: Some(reading::Predecessors {
                oldest: at(0),
                count: 3,
            }),
            condition: Condition {
                rpm: None,
                load: Some(-0.5),
                ..Condition::default()
            },
            flags: ReadingFlags::CLIPPED.with(ReadingFlags::REPLAY),
            state: tocsin_domain::OperatingState::Transient,
            overall: vec![Some(1.25), None, Some(3e-7)],
            ..reading(one.id, at(5), 9)
        };
        store_all(&store, &[new.clone(), reading(one.id, at(6), 9)]).await;
        let full = store
            .reading_get(&Scope::All, one.id, Some(at(5)))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((full.stored.key, full.stored.received_at), (new.key, new.received_at));
        assert_eq!(
            (full.stored.scores, full.stored.verdict, full.stored.flags),
            (new.scores, new.verdict, new.flags)
        );
        assert_eq!(
            (full.stored.threshold_set, full.stored.bundle),
            (new.threshold_set, new.bundle)
        );
        assert_eq!(
            (full.stored.baseline, full.stored.state),
            (Some(BaselineId(11)), tocsin_domain::OperatingState::Transient)
        );
        assert_eq!((full.condition, full.predecessors), (new.condition, new.predecessors));
        assert_eq!(full.overall, new.overall);
        let nulls =
            sqlx::query_scalar::<_, i64>("select count(*) from reading where overall[2] is null and overall[3] > 0")
                .fetch_one(store.pool());
        assert_eq!(nulls.await.unwrap(), 1);
        assert_eq!(
            (full.latent, full.spectrum.unwrap().into_codes()),
            (new.latent, new.spectrum)
        );
        let newest = store.reading_get(&Scope::All, one.id, None).await.unwrap().unwrap();
        assert_eq!(newest.stored.key.captured_at, at(6));
        assert!(newest.overall.is_empty());
        assert!(
            store
                .reading_get(&Scope::All, one.id, Some(at(4)))
                .await
                .unwrap()
                .is_none()
        );
    })
    .await;
}

#[tokio::test]
async fn a_reader_of_another_site_sees_no_reading() {
    with_store("reading_scope", async |store| {
        let fleet = fleet(&store).await;
        let one = &fleet.one;
        let degraded = reading::NewReading {
            flags: ReadingFlags::DEGRADED,
            ..reading(one.id, at(2), 2)
        };
        store_all(&store, &[reading(one.id, at(1), 1), degraded]).await;
        let period = (at(0), at(100));
        for (scope, seen) in [(fleet.north_only(), 1), (fleet.south_only(), 0)] {
            assert_eq!(
                store
                    .readings_series(&scope, one.machine, period, 10)
                    .await
                    .unwrap()
                    .len(),
                2 * seen
            );
            assert_eq!(
                store.reading_newest_at(&scope, one.machine).await.unwrap().is_some(),
                seen == 1
            );
            assert_eq!(
                store.reading_get(&scope, one.id, None).await.unwrap().is_some(),
                seen == 1
            );
            assert_eq!(
                store.spectra_range(&scope, one.id, period, 100).await.unwrap().len(),
                2 * seen
            );
            assert_eq!(store.readings_degraded(&scope, None, 10).await.unwrap().len(), seen);
        }
    })
    .await;
}

#[tokio::test]
async fn spectra_are_thinned_evenly_over_the_period() {
    with_store("thinning", async |store| {
        let Fleet { one, .. } = fleet(&store).await;
        let readings: Vec<_> = (0..100).map(|second| reading(one.id, at(second), 1)).collect();
        store_all(&store, &readings).await;
        let columns = store
            .spectra_range(&Scope::All, one.id, (at(0), at(100)), 10)
            .await
            .unwrap();
        let times: Vec<_> = columns.iter().map(|column| column.captured_at).collect();
        assert_eq!(times, (0..10).map(|column| at(column * 10)).collect::<Vec<_>>());
        assert_eq!(
            store
                .spectra_range(&Scope::All, one.id, (at(0), at(100)), 1000)
                .await
                .unwrap()
                .len(),
            100
        );
        assert!(
            store
                .spectra_range(&Scope::All, one.id, (at(5), at(5)), 10)
                .await
                .unwrap()
                .is_empty()
        );
    })
    .await;
}

#[tokio::test]
async fn overall_levels_are_thinned_by_keeping_the_highest_of_each_interval() {
    with_store("overall", async |store| {
        let fleet = fleet(&store).await;
        let one = &fleet.one;
        let with = |second: u64, overall: Vec<Option<f32>>| reading::NewReading {
            overall,
            ..reading(one.id, at(second), 1)
        };
        let mut readings: Vec<_> = (0..100)
            .map(|second| with(second, vec![Some(1.0), Some(second as f32)]))
            .collect();
        readings[37].overall = vec![Some(7.0), None];
        readings[38].overall = Vec::new();
        readings.push(with(200, vec![Some(99.0)]));
        store_all(&store, &readings).await;
        let period = (at(0), at(100));
        let points = store
            .overall_series(&Scope::All, one.machine, period, 10)
            .await
            .unwrap();
        let of = |place| points.iter().filter(move |point| point.place == place);
        let highest: Vec<f32> = of(0).map(|point| point.value).collect();
        assert_eq!(highest, [1.0, 1.0, 1.0, 7.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        let second: Vec<_> = of(1).map(|point| (point.captured_at, point.value)).collect();
        assert_eq!(second[3], (at(30), 39.0));
        assert!(points.iter().all(|point| point.sensor == one.id));
        let all = store
            .overall_series(&Scope::All, one.machine, period, 5_000)
            .await
            .unwrap();
        assert_eq!(all.len(), 99 + 98);
        for (scope, seen) in [(fleet.north_only(), 20), (fleet.south_only(), 0)] {
            let points = store.overall_series(&scope, one.machine, period, 10).await.unwrap();
            assert_eq!(points.len(), seen);
        }
        let none = store.overall_series(&Scope::All, one.machine, (at(5), at(5)), 10).await;
        assert!(none.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn windows_hold_all_readings_of_each_machine_from_its_own_time_on() {
    with_store("window", async |store| {
        let Fleet { one, two, .. } = fleet(&store).await;
        let readings: Vec<_> = (0..5)
            .flat_map(|s| [reading(one.id, at(s), 1), reading(two.id, at(s), 1)])
            .collect();
        store_all(&store, &readings).await;
        let mut transaction = store.begin().await.unwrap();
        let windows = readings_windows(&mut transaction, &[(one.machine, at(3)), (two.machine, at(1))])
            .await
            .unwrap();
        let times = |machine| {
            let window: &Vec<StoredReading> = &windows[&machine];
            let mut times: Vec<_> = window.iter().map(|row| row.key.captured_at).collect();
            times.sort();
            times
        };
        assert_eq!(times(one.machine), [at(3), at(4)]);
        assert_eq!(times(two.machine), [at(1), at(2), at(3), at(4)]);
        assert!(windows[&one.machine].iter().all(|row| row.key.sensor == one.id));
        assert!(readings_windows(&mut transaction, &[]).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn copied_readings_are_those_that_inserted_ones_would_be() {
    with_store("copied", async |store| {
        let Fleet { one, two, .. } = fleet(&store).await;
        let mut full = reading(one.id, at(1), 7);
        full.overall = vec![Some(1.5), None];
        full.condition.rpm = Some(1_480.0);
        let mut bare = reading(one.id, at(2), 8);
        bare.latent = Vec::new();
        bare.scores = Scores::default();
        let mut transaction = store.begin().await.unwrap();
        readings_copy(&mut transaction, &[&bare, &full]).await.unwrap();
        transaction.commit().await.unwrap();
        let twins: Vec<_> = [&full, &bare].map(|r| NewReading { key: ReadingKey { sensor: two.id, ..r.key }, ..r.clone() }).into();
        store_all(&store, &twins).await;
        let differences: i64 = sqlx::query_scalar(
            "select count(*) from reading a full join reading b
                 on a.captured_at = b.captured_at and a.sensor_id = $1 and b.sensor_id = $2
             where (a.sensor_id = $1 or b.sensor_id = $2)
               and (to_jsonb(a) - 'sensor_id' - 'commit_seq') is distinct from (to_jsonb(b) - 'sensor_id' - 'commit_seq')",
        )
        .bind(one.id.0)
        .bind(two.id.0)
        .fetch_one(store.pool())
        .await
        .unwrap();
        assert_eq!(differences, 0);
    })
    .await;
}

#[tokio::test]
async fn a_copy_with_a_key_that_is_there_stores_nothing_and_says_so() {
    with_store("copy_again", async |store| {
        let Fleet { one, .. } = fleet(&store).await;
        store_all(&store, &[reading(one.id, at(2), 1)]).await;
        let again = [reading(one.id, at(1), 1), reading(one.id, at(2), 1)];
        let twice = [reading(one.id, at(3), 1), reading(one.id, at(3), 1)];
        for batch in [again, twice] {
            let mut transaction = store.begin().await.unwrap();
            let refused = readings_copy(&mut transaction, &batch).await.unwrap_err();
            assert!(matches!(refused, Error::AlreadyExists { .. }), "{refused}");
            drop(transaction);
        }
        let rows: i64 = sqlx::query_scalar("select count(*) from reading")
            .fetch_one(store.pool())
            .await
            .unwrap();
        assert_eq!(rows, 1);
    })
    .await;
}

#[tokio::test]
async fn readings_owed_are_paged_by_capture_time_and_sensor() {
    with_store("paged_owed", async |store| {
        let Fleet { one, two, .. } = fleet(&store).await;
        let degraded = |sensor, at| reading::NewReading {
            flags: ReadingFlags::DEGRADED,
            ..reading(sensor, at, 2)
        };
        let rows = [
            degraded(one.id, at(2)),
            degraded(two.id, at(2)),
            degraded(one.id, at(3)),
        ];
        store_all(&store, &rows).await;
        let all = store.readings_degraded(&Scope::All, None, 10).await.unwrap();
        let mut paged = Vec::new();
        while let [owed] = &store
            .readings_degraded(&Scope::All, paged.last().copied(), 1)
            .await
            .unwrap()[..]
        {
            paged.push(owed.key);
        }
        assert_eq!(paged, all.iter().map(|owed| owed.key).collect::<Vec<_>>());
        assert_eq!(paged.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_rescored_reading_is_no_longer_owed() {
    with_store("rescored", async |store| {
        let Fleet { one, .. } = fleet(&store).await;
        let degraded = reading::NewReading {
            flags: ReadingFlags::DEGRADED,
            ..reading(one.id, at(2), 2)
        };
        store_all(&store, &[degraded]).await;
        let owed = store.readings_degraded(&Scope::All, None, 10).await.unwrap();
        assert_eq!(owed.len(), 1);
        let later = Rescored {
            key: owed[0].key,
            bundle: owed[0].bundle,
            scorer_build: Some(store.scorer_build_id("1.0.0+kernels", at(9)).await.unwrap()),
            residual: 0.5,
            latent: vec![0; 24],
        };
        assert_eq!(
            store
                .rescored_insert(std::slice::from_ref(&later), at(9))
                .await
                .unwrap(),
            1
        );
        assert_eq!(
            store
                .rescored_insert(std::slice::from_ref(&later), at(9))
                .await
                .unwrap(),
            0
        );
        let said = async |from, last| {
            store
                .rescored_range(&Scope::All, one.id, (at(from), at(last)))
                .await
                .unwrap()
        };
        assert_eq!(said(0, 2).await, [later]);
        assert_eq!((said(0, 1).await, said(3, 9).await), (Vec::new(), Vec::new()));
        assert!(store.readings_degraded(&Scope::All, None, 10).await.unwrap().is_empty());
        let row = store.reading_get(&Scope::All, one.id, None).await.unwrap().unwrap();
        assert_eq!(row.stored.scores.get(Detector::Residual), Some(0.25));
    })
    .await;
}

#[tokio::test]
async fn replicas_that_race_for_a_day_both_get_its_partition() {
    with_store("partitions", async |store| {
        let Fleet { one, .. } = fleet(&store).await;
        let days: Vec<Day> = (0..6)
            .map(|day| Day::of(noon() + Duration::from_secs(86_400 * day)))
            .collect();
        let replicas: Vec<Store> = (0..4).map(|_| Store::from_pool(store.pool().clone())).collect();
        // One of them is in the middle of storing: attaching a partition must not wait for it.
        let mut busy = store.begin().await.unwrap();
        readings_insert(&mut busy, &[reading(one.id, at(1), 1)]).await.unwrap();
        let racing: Vec<_> = replicas
            .iter()
            .cloned()
            .map(|replica| {
                let days = days.clone();
                tokio::spawn(async move { replica.partitions_ensure(days).await })
            })
            .collect();
        for replica in racing {
            replica.await.unwrap().unwrap();
        }
        busy.commit().await.unwrap();
        assert_eq!(store.partitions_list().await.unwrap(), days);
        let late = reading(one.id, at(86_400 * 5), 1);
        assert_eq!(store_all(&store, &[late]).await, [InsertOutcome::Stored]);
    })
    .await;
}

#[tokio::test]
async fn the_days_of_a_history_are_made_one_by_one_and_each_that_was_made_stays() {
    with_store("days", async |store| {
        let days: Vec<Day> = (0..4).map(|day| Day::of(at(86_400 * day))).collect();
        // The third can't be made: another table holds its time.
        sqlx::raw_sql(
            "create table taken (like reading including defaults);
             alter table reading attach partition taken
                 for values from ('2012-05-03 00:00+00') to ('2012-05-04 00:00+00')",
        )
        .execute(store.pool())
        .await
        .unwrap();
        assert!(store.partitions_ensure(days.clone()).await.is_err());
        sqlx::raw_sql("drop table taken").execute(store.pool()).await.unwrap();
        assert_eq!(store.partitions_list().await.unwrap(), days[..2]);
        store.partitions_ensure(days.clone()).await.unwrap();
        assert_eq!(store.partitions_list().await.unwrap(), days);
    })
    .await;
}

#[tokio::test]
async fn today_and_tomorrow_have_their_partitions_before_a_reading_comes() {
    with_store("ahead", async |store| {
        let expected = [Day::of(noon()), Day::of(noon()).next()];
        for _ in 0..2 {
            store.partitions_ahead(noon()).await.unwrap();
            assert_eq!(store.partitions_list().await.unwrap(), expected);
        }
    })
    .await;
}

#[tokio::test]
async fn an_impossible_row_is_named_and_not_read_as_something_else() {
    with_store("impossible", async |store| {
        let Fleet { one, .. } = fleet(&store).await;
        store_all(&store, &[reading(one.id, at(1), 1)]).await;
        sqlx::query("update reading set verdict = 99")
            .execute(store.pool())
            .await
            .unwrap();
        let error = store.reading_get(&Scope::All, one.id, None).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("reading.verdict") && text.contains("2012-05-01T12:00:01Z"),
            "{text}"
        );
        sqlx::query("update reading set verdict = 0, detector_mask = 1")
            .execute(store.pool())
            .await
            .unwrap();
        let error = store
            .readings_series(&Scope::All, one.machine, (at(0), Timestamp::MAX), 9)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("reading.detector_mask"), "{error}");
    })
    .await;
}
