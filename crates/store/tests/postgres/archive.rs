use std::time::Duration;

use tocsin_domain::{Scope, SensorId, Timestamp};
use tocsin_store::archive::{Due, File, Part, PartState};
use tocsin_store::partition::Day;
use tocsin_store::reading::{InsertOutcome, NewReading, readings_copy, readings_insert};
use tocsin_store::{Error, Store};

use crate::stage::{Fleet, at, fleet, noon, reading, with_store};

const DAY: Duration = Duration::from_hours(24);

fn due(now: Timestamp) -> Due {
    Due {
        now,
        hot: 7 * DAY,
        lease: Duration::from_mins(5),
    }
}

async fn careful(store: &Store, readings: &[NewReading]) -> Vec<InsertOutcome> {
    let days = readings.iter().map(|reading| Day::of(reading.key.captured_at));
    store.partitions_ensure(days).await.unwrap();
    let mut transaction = store.begin().await.unwrap();
    let outcomes = readings_insert(&mut transaction, readings).await.unwrap();
    transaction.commit().await.unwrap();
    outcomes
}

async fn copy(store: &Store, readings: &[NewReading]) -> Result<(), Error> {
    let mut transaction = store.begin().await?;
    readings_copy(&mut transaction, readings).await?;
    Ok(transaction.commit().await?)
}

/// Takes what is due and says that its files hold so many rows.
async fn to_keyed(store: &Store, now: Timestamp, rows: u64) -> Part {
    let part = store.archive_take(due(now)).await.unwrap().expect("a day is due");
    let file = File {
        path: format!("readings/{}/{}/{}", part.day, part.part, part.attempt),
        site: store.site_list(&Scope::All).await.unwrap()[0].id,
        rows,
        spectra: 0,
        bytes: 1,
        digest: vec![1],
    };
    let part = store.archive_written(&part, &[file], &[2], now).await.unwrap();
    let part = store.archive_verified(&part, now).await.unwrap();
    store.archive_keyed(&part, now).await.unwrap()
}

async fn hot_rows(store: &Store) -> i64 {
    sqlx::query_scalar("select count(*) from reading")
        .fetch_one(store.pool())
        .await
        .unwrap()
}

/// With fractions of seconds, and at the very ends of the day.
fn day_of_readings(sensor: SensorId) -> Vec<NewReading> {
    let midnight = Day::of(noon()).start();
    let mut readings: Vec<NewReading> = (0..500)
        .map(|place| {
            reading(
                sensor,
                midnight + Duration::from_micros(place * 171_234_567),
                place as i64 - 7,
            )
        })
        .collect();
    let last = Timestamp::from_micros(Day::of(noon()).next().start().as_micros() - 1);
    readings.push(reading(sensor, last, i64::MIN));
    readings
}

#[tokio::test]
async fn a_resend_behind_the_boundary_is_a_duplicate_or_a_conflict_and_changes_nothing() {
    with_store("boundary", async |store| {
        use InsertOutcome::{Conflict, Duplicate, Stored};
        let Fleet { one, two, .. } = fleet(&store).await;
        let readings = day_of_readings(one.id);
        assert!(
            careful(&store, &readings)
                .await
                .iter()
                .all(|outcome| *outcome == Stored)
        );
        let now = noon() + 9 * DAY;
        let part = to_keyed(&store, now, readings.len() as u64).await;

        // The keys are there and the partition too: nothing is different.
        assert!(
            careful(&store, &readings)
                .await
                .iter()
                .all(|outcome| *outcome == Duplicate)
        );
        let sealed = store
            .archive_seal(&part, "archive", now)
            .await
            .unwrap()
            .expect("as many rows as there were");
        assert_eq!((sealed.state, hot_rows(&store).await), (PartState::Archived, 0));
        assert!(sealed.hot_bytes > 0);

        assert!(
            careful(&store, &readings)
                .await
                .iter()
                .all(|outcome| *outcome == Duplicate)
        );
        let mut changed = readings.clone();
        for reading in &mut changed {
            reading.content_hash.0 ^= 1;
        }
        assert!(
            careful(&store, &changed)
                .await
                .iter()
                .all(|outcome| *outcome == Conflict)
        );
        assert_eq!(hot_rows(&store).await, 0);

        // What comes late is stored, and only once; the quick way is refused what is archived.
        let late = [
            reading(one.id, at(1), 4_711),
            readings[3].clone(),
            reading(two.id, at(1), 4_712),
        ];
        assert_eq!(careful(&store, &late).await, [Stored, Duplicate, Stored]);
        let refused = copy(&store, &readings[..1]).await.unwrap_err();
        assert!(matches!(refused, Error::AlreadyExists { .. }), "{refused}");
        copy(&store, &[reading(two.id, at(2), 1)]).await.unwrap();
        assert_eq!(hot_rows(&store).await, 3);

        // It becomes the day's second part, and both are remembered.
        let later = now + 9 * DAY;
        let second = to_keyed(&store, later, 3).await;
        assert_eq!((second.day, second.part), (Day::of(noon()), 2));
        store
            .archive_seal(&second, "archive", later)
            .await
            .unwrap()
            .expect("three rows");
        assert_eq!(careful(&store, &late).await, [Duplicate; 3]);
        assert_eq!(hot_rows(&store).await, 0);
        assert_eq!(store.archive_take(due(later + 9 * DAY)).await.unwrap(), None);
        assert_eq!(
            store.partitions_list().await.unwrap(),
            [],
            "a day without a reading needs no partition"
        );
    })
    .await;
}

#[tokio::test]
async fn a_day_is_due_by_when_its_newest_reading_came() {
    with_store("due", async |store| {
        let Fleet { one, .. } = fleet(&store).await;
        let mut readings = day_of_readings(one.id);
        readings[0].received_at = noon() + 20 * DAY;
        careful(&store, &readings).await;
        for days in [1, 7, 8, 20, 26] {
            assert_eq!(
                store.archive_take(due(noon() + days * DAY)).await.unwrap(),
                None,
                "{days}"
            );
        }
        let now = noon() + 28 * DAY;
        let part = store.archive_take(due(now)).await.unwrap().unwrap();
        assert_eq!((part.state, part.attempt), (PartState::Writing, 1));
        assert_eq!(store.archive_take(due(now)).await.unwrap(), None, "somebody is at it");

        // Its holder stopped without a word.
        let taken = store
            .archive_take(due(now + Duration::from_mins(6)))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((taken.day, taken.part, taken.attempt), (part.day, part.part, 2));
        let overtaken = store.archive_written(&part, &[], &[], now).await.unwrap_err();
        assert!(matches!(overtaken, Error::Conflict { .. }), "{overtaken}");
    })
    .await;
}

#[tokio::test]
async fn a_reading_that_comes_between_the_files_and_the_drop_is_not_lost() {
    with_store("between", async |store| {
        let Fleet { one, .. } = fleet(&store).await;
        let readings = day_of_readings(one.id);
        careful(&store, &readings).await;
        let now = noon() + 9 * DAY;
        let part = to_keyed(&store, now, readings.len() as u64).await;
        careful(&store, &[reading(one.id, at(1), 4_711)]).await;
        assert_eq!(store.archive_seal(&part, "archive", now).await.unwrap(), None);
        assert_eq!(hot_rows(&store).await, readings.len() as i64 + 1);
        let again = store.archive_again(&part, "a reading came late", now).await.unwrap();
        assert_eq!(again.state, PartState::Writing);
        assert!(matches!(
            store.archive_seal(&part, "archive", now).await,
            Err(Error::Conflict { .. }) | Ok(None)
        ));
        assert_eq!(hot_rows(&store).await, readings.len() as i64 + 1);
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_knows_a_partition_that_is_gone_is_told_to_try_again() {
    with_store("stale", async |store| {
        let Fleet { one, .. } = fleet(&store).await;
        let stale = Store::from_pool(store.pool().clone());
        careful(&stale, &[reading(one.id, at(0), 1)]).await;
        let now = noon() + 9 * DAY;
        let part = to_keyed(&store, now, 1).await;
        store.archive_seal(&part, "archive", now).await.unwrap().unwrap();
        let new = [reading(one.id, at(5), 1)];
        let refused = copy(&stale, &new).await.unwrap_err();
        assert!(matches!(refused, Error::Unavailable { .. }), "{refused}");
        stale.days_forget();
        assert_eq!(careful(&stale, &new).await, [InsertOutcome::Stored]);
    })
    .await;
}

#[tokio::test]
async fn what_pages_ask_for_is_kept_of_an_archived_day() {
    with_store("kept", async |store| {
        let Fleet { one, two, .. } = fleet(&store).await;
        careful(&store, &day_of_readings(one.id)).await;
        careful(&store, &[reading(two.id, at(1), 1), reading(two.id, at(2), 1)]).await;
        let now = noon() + 9 * DAY;
        // Sensor one has spoken since; two is silent.
        careful(&store, &[reading(one.id, noon() + 8 * DAY, 1)]).await;
        let part = to_keyed(&store, now, 503).await;
        store.archive_seal(&part, "archive", now).await.unwrap().unwrap();
        let kept: i64 = sqlx::query_scalar("select count(*) from reading_kept")
            .fetch_one(store.pool())
            .await
            .unwrap();
        assert_eq!(kept, 1);
        let newest = store.reading_get(&Scope::All, two.id, None).await.unwrap().unwrap();
        assert_eq!(newest.stored.key.captured_at, at(2));
        assert_eq!(
            store.reading_newest_at(&Scope::All, two.machine).await.unwrap(),
            Some(at(2))
        );
    })
    .await;
}
