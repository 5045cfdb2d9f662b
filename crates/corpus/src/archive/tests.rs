use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use proptest::prelude::*;
use tocsin_domain::{
    Condition, ContentHash, Detector, ReadingFlags, ReadingKey, Scores, SensorId, Slug, SpectrumSpec, Timestamp,
    UnjudgedReason, Verdict,
};

use super::*;

fn names(sensor: i32) -> SensorNames {
    let slug = |text: &str| Slug::parse("name", text).unwrap();
    SensorNames {
        site: slug("north"),
        machine: slug(&format!("m{}", sensor / 2)),
        sensor: slug(&format!("s{sensor}")),
        class: slug("pump"),
        spec_id: 7,
    }
}

fn row(sensor: i32, second: i64) -> ArchiveRow {
    let mut scores = Scores::default();
    scores.set(Detector::Residual, second as f32 * 0.1);
    scores.set(Detector::Severity, -0.0);
    let captured_at = Timestamp::from_micros(second * 1_000_000 + 1);
    ArchiveRow {
        key: ReadingKey {
            sensor: SensorId(sensor),
            captured_at,
        },
        received_at: Timestamp::from_micros(second * 1_000_000 + 9),
        content_hash: ContentHash(second.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64)),
        commit_seq: second / 3,
        threshold_set: 3,
        bundle: 0,
        baseline: -1,
        scorer_build: 2,
        predecessors: (second % 2 == 0).then_some((captured_at, 5)),
        scores,
        condition: Condition {
            rpm: (second % 3 != 0).then_some(1_480.5),
            load: None,
            state: None,
        },
        flags: ReadingFlags(9),
        verdict: if second % 2 == 0 {
            Verdict::Page { by: Detector::Residual }
        } else {
            Verdict::Unjudged {
                reason: UnjudgedReason::Stopped,
            }
        },
        condition_cell: 2,
        overall: if second % 4 == 0 {
            Vec::new()
        } else {
            vec![Some(1.5), None]
        },
        latent: if second % 5 == 0 { Vec::new() } else { vec![1, 2, 3, 4] },
        spectrum: (second % 7 != 0).then(|| vec![second as u8; 64]),
    }
}

async fn write(store: &Arc<dyn ObjectStore>, path: &Path, sensors: i32, seconds: i64) -> Written {
    let specs = BTreeMap::from([(7, SpectrumSpec::corpus_default(64))]);
    let mut writer = ArchiveWriter::create(store.clone(), path.clone(), &specs).unwrap();
    for sensor in 0..sensors {
        let rows: Vec<ArchiveRow> = (0..seconds).map(|second| row(sensor, second)).collect();
        for rows in rows.chunks(1_000) {
            writer.write(&names(sensor), rows).await.unwrap();
        }
    }
    writer.finish().await.unwrap()
}

async fn read(store: &Arc<dyn ObjectStore>, path: &Path, bytes: u64, wanted: Wanted) -> (Vec<ArchiveRow>, usize) {
    let mut reader = ArchiveReader::open(store.clone(), path.clone(), bytes, wanted)
        .await
        .unwrap();
    let mut rows = Vec::new();
    while let Some(more) = reader.next().await.unwrap() {
        rows.extend(more);
    }
    (rows, reader.row_groups())
}

#[tokio::test]
async fn what_is_read_has_the_bits_that_were_written() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let path = Path::from("a/b.parquet");
    let written = write(&store, &path, 2, 3_000).await;
    let (rows, _) = read(&store, &path, written.bytes, Wanted::all()).await;
    let expected: Vec<ArchiveRow> = (0..2)
        .flat_map(|sensor| (0..3_000).map(move |s| row(sensor, s)))
        .collect();
    assert_eq!(rows, expected);
    let mut digest = Digest::default();
    for row in &rows {
        digest.take(row);
    }
    assert_eq!(digest.finish(), written.digest);
    let kept = expected.iter().filter(|row| row.spectrum.is_some()).count();
    assert_eq!((written.rows, written.spectra), (6_000, kept as u64));
}

#[tokio::test]
async fn a_machine_and_a_time_are_read_without_the_rest() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let path = Path::from("b.parquet");
    let written = write(&store, &path, 12, 5_000).await;
    let wanted = Wanted {
        sensors: Some(vec![SensorId(4), SensorId(5)]),
        from: Timestamp::from_micros(10_000_000),
        to: Timestamp::from_micros(20_000_000),
        columns: Columns::Decisions,
    };
    let (rows, groups) = read(&store, &path, written.bytes, wanted).await;
    let keys: Vec<(i32, i64)> = rows
        .iter()
        .map(|row| (row.key.sensor.0, row.key.captured_at.as_micros()))
        .collect();
    let expected: Vec<(i32, i64)> = [4, 5]
        .into_iter()
        .flat_map(|sensor| (10..20).map(move |second| (sensor, second * 1_000_000 + 1)))
        .collect();
    assert_eq!(keys, expected);
    assert!(groups < 4, "{groups} of 4 row groups were read");
    assert_eq!(rows[0].scores, row(4, 10).scores);
    assert!(
        rows.iter()
            .all(|row| row.spectrum.is_none() && row.latent.is_empty() && row.overall.is_empty())
    );
}

#[tokio::test]
async fn scores_alone_are_those_of_the_rows() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let path = Path::from("c.parquet");
    let written = write(&store, &path, 2, 500).await;
    let wanted = Wanted {
        columns: Columns::Scores,
        ..Wanted::all()
    };
    let opened = ArchiveReader::open(store, path, written.bytes, wanted).await;
    let (mut reader, mut found) = (opened.unwrap(), Vec::new());
    while let Some(scores) = reader.next_scores().await.unwrap() {
        found.extend(scores);
    }
    let expected = (0..2).flat_map(|sensor| (0..500).map(move |second| row(sensor, second)));
    let expected: Vec<ArchivedScores> = expected
        .map(|row| ArchivedScores {
            key: row.key,
            bundle: row.bundle,
            baseline: row.baseline,
            scores: row.scores,
            flags: row.flags,
            verdict: row.verdict,
            condition_cell: row.condition_cell,
        })
        .collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_damaged_file_is_an_error_that_names_it() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let path = Path::from("damaged.parquet");
    let written = write(&store, &path, 1, 100).await;
    let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
    let cut = PutPayload::from(bytes.slice(..bytes.len() / 2));
    store.put(&path, cut).await.unwrap();
    let opened = ArchiveReader::open(store.clone(), path.clone(), written.bytes / 2, Wanted::all()).await;
    let error = opened.map(drop).unwrap_err().to_string();
    assert!(error.contains("damaged.parquet"), "{error}");
}

proptest! {
    #[test]
    fn a_changed_row_changes_the_digest(second in 0i64..100, which in 0usize..8) {
        let before = row(1, second);
        let mut after = before.clone();
        match which {
            0 => after.content_hash.0 ^= 1,
            1 => after.commit_seq += 1,
            2 => after.scores.set(Detector::Severity, 0.0),
            3 => after.spectrum = None,
            4 => after.latent.push(0),
            5 => after.overall.push(None),
            6 => after.condition.load = Some(0.0),
            _ => after.received_at = Timestamp::from_micros(0),
        }
        prop_assume!(before != after || which == 2);
        let digest = |row: &ArchiveRow| {
            let mut digest = Digest::default();
            digest.take(row);
            digest.finish()
        };
        prop_assert_ne!(digest(&before), digest(&after));
    }
}
