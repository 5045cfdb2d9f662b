//! The archive over a real Postgres: set `TOCSIN_TEST_DATABASE_URL` to a server on which databases may be created.

use std::collections::BTreeMap;
use std::time::Duration;

use object_store::{ObjectStoreExt, PutPayload};
use tocsin_archive::{Archiver, Config, Reader, Replayed};
use tocsin_corpus::archive::Columns;
use tocsin_domain::fleet::Sensor;
use tocsin_domain::{
    BundleId, Clock, Condition, ContentHash, Detector, ReadingFlags, ReadingKey, Scope, Scores, SensorId, SpectrumSpec,
    Timestamp, Verdict,
};
use tocsin_models::Objects;
use tocsin_scratch::{pump, slug, with_store};
use tocsin_store::Store;
use tocsin_store::archive::{Part, PartState};
use tocsin_store::fleet::NewSensor;
use tocsin_store::partition::Day;
use tocsin_store::reading::{FullReading, InsertOutcome, NewReading, readings_insert};

const DAY: Duration = Duration::from_hours(24);
/// Readings of a sensor in a day.
const DAILY: u64 = 96;

fn start() -> Timestamp {
    Timestamp::parse("t", "2026-03-01T00:00:00Z").unwrap()
}

fn at(minutes: u64) -> Timestamp {
    start() + Duration::from_mins(minutes)
}

fn reading(sensor: SensorId, captured_at: Timestamp, n: u64) -> NewReading {
    let mut scores = Scores::default();
    scores.set(Detector::Residual, n as f32 * 0.01);
    scores.set(Detector::Pca, -1.5);
    let by = Detector::Residual;
    NewReading {
        key: ReadingKey { sensor, captured_at },
        received_at: captured_at + Duration::from_secs(1),
        content_hash: ContentHash((n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) as i64),
        threshold_set: None,
        bundle: Some(BundleId(3)),
        baseline: None,
        scorer_build: None,
        predecessors: None,
        scores,
        condition: Condition {
            rpm: Some(1_480.0),
            load: None,
            state: None,
        },
        flags: ReadingFlags::default(),
        verdict: if n % 10 == 3 {
            Verdict::Alert { by }
        } else {
            Verdict::Normal { by }
        },
        state: tocsin_domain::OperatingState::Known,
        overall: vec![Some(n as f32), None],
        latent: vec![n as u8; 24],
        spectrum: vec![n as u8; 64],
    }
}

struct Plant {
    store: Store,
    objects: Objects,
    clock: Clock,
    sensors: Vec<Sensor>,
    readings: Vec<NewReading>,
}

/// Two sensors of one machine, three days of readings, of which two are due.
async fn plant(store: Store) -> Plant {
    let one = pump(&store, &SpectrumSpec::corpus_default(64), start()).await;
    let new = NewSensor {
        site: slug("north"),
        machine: slug("p-1"),
        device: None,
        name: slug("fan-end"),
        class: slug("pump"),
        spec: slug("spec"),
    };
    let two = store
        .sensor_create(&Scope::All, &new, start(), tocsin_scratch::audit)
        .await
        .unwrap()
        .sensor;
    // Sensors that wait to be commissioned would keep all their spectra.
    sqlx::query("delete from commissioning")
        .execute(store.pool())
        .await
        .unwrap();
    let sensors = vec![one, two];
    let readings: Vec<NewReading> = (0..3 * DAILY)
        .flat_map(|n| sensors.iter().map(move |sensor| reading(sensor.id, at(n * 15), n)))
        .collect();
    let plant = Plant {
        objects: Objects::open("memory://").unwrap(),
        clock: Clock::manual(start() + 9 * DAY),
        store,
        sensors,
        readings,
    };
    let outcomes = plant.send(&plant.readings).await;
    assert!(outcomes.iter().all(|outcome| *outcome == InsertOutcome::Stored));
    plant
}

impl Plant {
    async fn send(&self, readings: &[NewReading]) -> Vec<InsertOutcome> {
        self.store.days_forget();
        let days = readings.iter().map(|reading| Day::of(reading.key.captured_at));
        self.store.partitions_ensure(days).await.unwrap();
        let mut transaction = self.store.begin().await.unwrap();
        let outcomes = readings_insert(&mut transaction, readings).await.unwrap();
        transaction.commit().await.unwrap();
        outcomes
    }

    fn archiver(&self) -> Archiver {
        let config = Config {
            enabled: true,
            hot_days: 7,
            ..Config::default()
        };
        self.archiver_of(config)
    }

    fn archiver_of(&self, config: Config) -> Archiver {
        let (store, objects) = (self.store.clone(), self.objects.clone());
        Archiver::new(config, store, objects, self.clock.clone(), "archive")
    }

    async fn cold(&self) -> Vec<FullReading> {
        let reader = Reader::new(self.store.clone(), self.objects.clone());
        let sensors = self.sensors.iter().map(|sensor| sensor.id).collect();
        let ever = (Timestamp::MIN, Timestamp::MAX);
        let mut cold = reader.readings(&Scope::All, sensors, ever, Columns::All).await.unwrap();
        let mut found = Vec::new();
        while let Some(readings) = cold.next().await.unwrap() {
            found.extend(readings);
        }
        found
    }

    /// Each reading is hot or archived, once, and as it was sent.
    async fn is_whole(&self, sent: &[NewReading], archived_days: u64) {
        let hot: i64 = sqlx::query_scalar("select count(*) from reading")
            .fetch_one(self.store.pool())
            .await
            .unwrap();
        let cold = self.cold().await;
        assert_eq!(hot as usize + cold.len(), sent.len());
        assert_eq!(cold.len() as u64, archived_days * DAILY * 2);
        let mut by_key: BTreeMap<ReadingKey, FullReading> = BTreeMap::new();
        for reading in cold {
            assert!(
                by_key.insert(reading.stored.key, reading).is_none(),
                "twice in the archive"
            );
        }
        let reader = Reader::new(self.store.clone(), self.objects.clone());
        for sent in sent {
            let found = if let Some(found) = by_key.get(&sent.key) {
                found.clone()
            } else {
                let at = Some(sent.key.captured_at);
                reader.reading(&Scope::All, sent.key.sensor, at).await.unwrap().unwrap()
            };
            assert_eq!((found.stored.key, found.content_hash), (sent.key, sent.content_hash));
            assert_eq!((found.stored.scores, found.stored.verdict), (sent.scores, sent.verdict));
            assert_eq!((&found.latent, &found.overall), (&sent.latent, &sent.overall));
            if let Some(spectrum) = found.spectrum {
                assert_eq!(spectrum.codes(), sent.spectrum);
            }
        }
        assert!(
            self.send(sent)
                .await
                .iter()
                .all(|outcome| *outcome == InsertOutcome::Duplicate)
        );
        let other: Vec<NewReading> = sent
            .iter()
            .map(|sent| NewReading {
                content_hash: ContentHash(sent.content_hash.0 ^ 0x10),
                ..sent.clone()
            })
            .collect();
        assert!(
            self.send(&other)
                .await
                .iter()
                .all(|outcome| *outcome == InsertOutcome::Conflict)
        );
    }

    async fn files(&self) -> Vec<String> {
        use tokio_stream::StreamExt;
        let listed: Vec<_> = self.objects.store().list(None).collect().await;
        let mut names: Vec<String> = listed
            .into_iter()
            .map(|meta| meta.unwrap().location.to_string())
            .collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn a_round_archives_what_is_due_and_loses_and_doubles_nothing() {
    with_store("round", async |store| {
        let plant = plant(store).await;
        let round = plant.archiver().round().await.unwrap();
        assert_eq!((round.archived.len(), round.put_off.len()), (2, 0));
        plant.is_whole(&plant.readings, 2).await;
        assert_eq!(
            plant.files().await,
            [
                "readings/date=2026-03-01/site=north/part-0001-0001.parquet",
                "readings/date=2026-03-02/site=north/part-0001-0001.parquet"
            ]
        );
        // A reading in four is the first of its hour, one in ten is flagged, and some are both.
        let kept = plant.readings[..2 * DAILY as usize].iter().filter(|r| {
            let n = r.latent[0];
            n.is_multiple_of(4) || n % 10 == 3
        });
        assert_eq!(round.archived[0].spectra as usize, kept.count());
        assert_eq!(
            plant.archiver().round().await.unwrap(),
            tocsin_archive::Round::default()
        );
    })
    .await;
}

/// Goes so many steps, and stops without a word.
async fn advance(plant: &Plant, mut part: Part, steps: usize) -> Part {
    for _ in 0..steps {
        match plant.archiver().advance(&part).await.unwrap() {
            Some(next) => part = next,
            None => break,
        }
    }
    part
}

#[tokio::test]
async fn each_step_can_be_the_last_of_a_process() {
    with_store("steps", async |store| {
        use PartState::{Archived, Keyed, Verified, Writing, Written};
        let plant = plant(store).await;
        for (place, expected) in [Writing, Written, Verified, Keyed, Archived].into_iter().enumerate() {
            let part = plant.archiver().take().await.unwrap().expect("a day is due");
            assert_eq!(part.attempt as usize, place + 1);
            // One step a process.
            let part = advance(&plant, part, usize::from(place > 0)).await;
            assert_eq!(part.state, expected);
            plant.is_whole(&plant.readings, u64::from(expected == Archived)).await;
            plant.clock.advance(Duration::from_mins(6));
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_damaged_or_gone_is_written_anew_before_anything_is_dropped() {
    with_store("damage", async |store| {
        let plant = plant(store).await;
        for damage in ["cut", "gone", "flipped"] {
            let part = plant.archiver().take().await.unwrap().expect("a day is due");
            let written = advance(&plant, part, 1).await;
            assert_eq!(written.state, PartState::Written);
            let path = plant
                .objects
                .path(&plant.store.archive_files(&written).await.unwrap()[0].path);
            let objects = plant.objects.store();
            let mut bytes = objects.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
            match damage {
                "cut" => bytes.truncate(bytes.len() - 9),
                "flipped" => {
                    let middle = bytes.len() / 3;
                    bytes[middle] ^= 0xff;
                }
                _ => {}
            }
            objects.put(&path, PutPayload::from(bytes)).await.unwrap();
            if damage == "gone" {
                objects.delete(&path).await.unwrap();
            }
            let again = plant.archiver().advance(&written).await.unwrap().unwrap();
            assert_eq!(again.state, PartState::Writing, "{damage}");
            assert!(!again.error.is_empty());
            plant.is_whole(&plant.readings, 0).await;
            plant.clock.advance(Duration::from_mins(6));
        }
        plant.archiver().round().await.unwrap();
        plant.is_whole(&plant.readings, 2).await;
    })
    .await;
}

#[tokio::test]
async fn what_comes_late_makes_a_second_part_and_a_what_if_reads_all_of_it_in_order() {
    with_store("late", async |store| {
        let plant = plant(store).await;
        let replayed = Replayed {
            bundle: Some(BundleId(3)),
            period: (start(), start() + 4 * DAY),
            active_baselines_only: false,
            historical: true,
        };
        let machine = plant.sensors[0].machine;
        let late: Vec<NewReading> = (0..5)
            .map(|n| reading(plant.sensors[1].id, at(n * 200) + Duration::from_secs(7), n))
            .collect();
        let reader = Reader::new(plant.store.clone(), plant.objects.clone());
        plant.archiver().round().await.unwrap();
        assert!(
            plant
                .send(&late)
                .await
                .iter()
                .all(|outcome| *outcome == InsertOutcome::Stored)
        );
        let mut sent: Vec<ReadingKey> = plant.readings.iter().chain(&late).map(|r| r.key).collect();
        sent.sort_by_key(|key| (key.captured_at, key.sensor));

        for part in [1, 2] {
            let mut replay = reader.replay(&Scope::All, &[machine], replayed).await.unwrap();
            let mut found = Vec::new();
            while let Some(day) = replay.next_day().await.unwrap() {
                assert!(day.iter().all(|(of, _)| *of == machine));
                found.extend(day.iter().map(|(_, score)| score.key));
            }
            assert_eq!(found, sent, "with {part} parts");
            plant.clock.advance(8 * DAY);
            plant.archiver().round().await.unwrap();
        }
        let parts = plant.store.archive_parts().await.unwrap();
        let parts: Vec<(String, i16, u64)> = parts.iter().map(|p| (p.day.to_string(), p.part, p.rows)).collect();
        assert_eq!(
            parts[..2],
            [("2026-03-01".to_owned(), 1, 192), ("2026-03-01".to_owned(), 2, 5)]
        );
    })
    .await;
}

#[tokio::test]
async fn days_that_are_kept_no_longer_go_files_first() {
    with_store("expiry", async |store| {
        let plant = plant(store).await;
        plant.archiver().round().await.unwrap();
        let config = Config {
            keep_days: 30,
            ..Config::default()
        };
        plant.clock.advance(22 * DAY + Duration::from_hours(1));
        let archiver = plant.archiver_of(config);
        let round = archiver.round().await.unwrap();
        assert_eq!((round.archived.len(), round.expired.len()), (1, 1));
        assert_eq!(plant.files().await.len(), 2);
        assert_eq!(plant.cold().await.len() as u64, 2 * 2 * DAILY);
        let parts = plant.store.archive_parts().await.unwrap();
        assert_eq!(parts[0].state, PartState::Expired);
        let audit = plant.store.audit_list(None, 10).await.unwrap();
        let of_the_archive = audit.iter().filter(|entry| entry.action.starts_with("archive."));
        let mut audit: Vec<(&str, &str)> = of_the_archive
            .map(|e| (e.action.as_str(), e.subject.as_str()))
            .collect();
        audit.sort_unstable();
        assert_eq!(
            audit,
            [
                ("archive.day", "day:2026-03-01"),
                ("archive.day", "day:2026-03-02"),
                ("archive.day", "day:2026-03-03"),
                ("archive.expire", "day:2026-03-01")
            ]
        );
    })
    .await;
}
