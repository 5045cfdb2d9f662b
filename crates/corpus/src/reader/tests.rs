//! Files as other libraries write them, and files with one thing wrong.

use std::sync::Arc;

use arrow_array::builder::{Float64Builder, LargeListBuilder};
use arrow_array::types::{Float32Type, Int32Type};
use arrow_array::{
    ArrayRef, DictionaryArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array, LargeStringArray, ListArray,
    NullArray, StringArray, TimestampMillisecondArray, TimestampNanosecondArray,
};
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use tocsin_domain::Timestamp;

use super::*;
use crate::{Glob, Writer};

/// Writes a batch of the given columns and reads it back.
fn through_a_file(columns: Vec<(&str, ArrayRef)>) -> Result<Vec<Row>, Error> {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = folder.path().join("corpus.parquet");
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).expect("batch");
    let mut writer =
        ArrowWriter::try_new(File::create(&path).expect("file"), batch.schema(), None).expect("parquet writer");
    writer.write(&batch).expect("write");
    writer.close().expect("close");
    read_all(&[path], &Filter::default(), |_| {})
}

fn sensors() -> ArrayRef {
    Arc::new(StringArray::from(vec!["s/m/x", "s/m/y", "s/m/x"]))
}

fn times() -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from(vec![1_000, 1_000, 2_000]))
}

fn bins(rows: [Option<Vec<Option<f32>>>; 3]) -> ArrayRef {
    Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows))
}

fn good_bins() -> ArrayRef {
    bins([
        Some(vec![Some(1.0), Some(2.0)]),
        Some(vec![Some(3.0)]),
        Some(vec![Some(4.0), Some(5.0)]),
    ])
}

fn message(columns: Vec<(&str, ArrayRef)>) -> String {
    let text = through_a_file(columns).expect_err("must be refused").to_string();
    let (file, rest) = text.split_once(".parquet: ").expect("the file is named first");
    assert!(file.ends_with("corpus"));
    rest.to_owned()
}

#[test]
fn other_layouts_of_the_same_columns_are_read() {
    let names: DictionaryArray<Int32Type> = vec!["s/m/x", "s/m/y", "s/m/x"].into_iter().collect();
    let labels: DictionaryArray<Int32Type> = vec![None, Some("healthy"), None].into_iter().collect();
    let mut wide = LargeListBuilder::new(Float64Builder::new());
    for row in [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]] {
        wide.values().append_slice(&row);
        wide.append(true);
    }
    let rows = through_a_file(vec![
        ("ignored", Arc::new(Int64Array::from(vec![7, 8, 9]))),
        ("sensor", Arc::new(names)),
        (
            "captured_at",
            Arc::new(TimestampNanosecondArray::from(vec![-1, 1_999, 2_000]).with_timezone("+02:00")),
        ),
        ("bins", Arc::new(wide.finish())),
        ("rpm", Arc::new(Float64Array::from(vec![Some(1800.0), None, Some(0.0)]))),
        ("load", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("label", Arc::new(labels)),
        ("split", Arc::new(NullArray::new(3))),
    ])
    .expect("rows");
    assert_eq!(
        rows.iter().map(|r| r.captured_at.as_micros()).collect::<Vec<_>>(),
        [-1, 1, 2]
    );
    assert_eq!(rows[1].sensor.to_string(), "s/m/y");
    assert_eq!(rows[2].bins, [5.0, 6.0]);
    assert_eq!(
        rows.iter().map(|r| r.rpm).collect::<Vec<_>>(),
        [Some(1800.0), None, Some(0.0)]
    );
    assert_eq!(rows[2].load, Some(3.0));
    assert_eq!(
        rows.iter().map(|r| r.label.as_deref()).collect::<Vec<_>>(),
        [None, Some("healthy"), None]
    );
    assert!(rows.iter().all(|r| r.split.is_none()));

    let fixed = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
        [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]].map(|row| Some(row.map(Some))),
        2,
    );
    let names = LargeStringArray::from(vec!["s/m/x", "s/m/y", "s/m/x"]);
    let rows = through_a_file(vec![
        ("sensor", Arc::new(names)),
        ("captured_at", times()),
        ("bins", Arc::new(fixed)),
    ])
    .unwrap();
    assert_eq!(rows[1].bins, [3.0, 4.0]);
    assert_eq!((rows[1].rpm, rows[1].load, &rows[1].label), (None, None, &None));
}

#[test]
fn sensors_of_one_file_may_differ_in_bins() {
    let rows = through_a_file(vec![
        ("sensor", sensors()),
        ("captured_at", times()),
        ("bins", good_bins()),
    ])
    .unwrap();
    assert_eq!(rows.iter().map(|r| r.bins.len()).collect::<Vec<_>>(), [2, 1, 2]);
}

#[test]
fn a_missing_column_and_a_wrong_type_are_named() {
    assert_eq!(
        message(vec![("sensor", sensors()), ("captured_at", times())]),
        "column bins: is missing"
    );
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let text = message(vec![
        ("sensor", sensors()),
        ("captured_at", numbers.clone()),
        ("bins", good_bins()),
    ]);
    assert_eq!(text, "column captured_at: must be a timestamp, is Int64");
    let text = message(vec![
        ("sensor", numbers.clone()),
        ("captured_at", times()),
        ("bins", good_bins()),
    ]);
    assert_eq!(text, "column sensor: must be text, is Int64");
    let text = message(vec![("sensor", sensors()), ("captured_at", times()), ("bins", numbers)]);
    assert_eq!(text, "column bins: must be a list of float32 or float64, is Int64");
    let text = message(vec![
        ("sensor", sensors()),
        ("captured_at", times()),
        ("bins", good_bins()),
        ("rpm", sensors()),
    ]);
    assert_eq!(text, "column rpm: must be a float or an integer, is Utf8");
}

#[test]
fn a_bad_value_is_named_with_its_row() {
    let with_bins = |rows| {
        message(vec![
            ("sensor", sensors()),
            ("captured_at", times()),
            ("bins", bins(rows)),
        ])
    };
    let one = || Some(vec![Some(1.0)]);
    assert_eq!(
        with_bins([one(), Some(vec![Some(f32::NAN)]), one()]),
        "row 1: column bins: [0]: NaN is not a finite amplitude of zero or more"
    );
    assert_eq!(
        with_bins([one(), one(), Some(vec![Some(-0.5)])]),
        "row 2: column bins: [0]: -0.5 is not a finite amplitude of zero or more"
    );
    assert_eq!(
        with_bins([one(), Some(vec![None]), one()]),
        "row 1: column bins: [0]: is null"
    );
    assert_eq!(with_bins([one(), None, one()]), "row 1: column bins: is null");
    assert_eq!(
        with_bins([one(), Some(vec![]), one()]),
        "row 1: column bins: no amplitudes"
    );
    assert_eq!(
        with_bins([one(), one(), Some(vec![Some(1.0); 2])]),
        "row 2: column bins: 2 amplitudes, earlier rows of s/m/x have 1"
    );

    let names: ArrayRef = Arc::new(StringArray::from(vec![Some("s/m/x"), None, Some("s/m")]));
    let text = message(vec![("sensor", names), ("captured_at", times()), ("bins", good_bins())]);
    assert_eq!(text, "row 1: column sensor: is null");
    let late: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![0, i64::MAX, 0]));
    let text = message(vec![
        ("sensor", sensors()),
        ("captured_at", late),
        ("bins", good_bins()),
    ]);
    assert_eq!(
        text,
        format!(
            "row 1: column captured_at: {} lies outside the years 1 to 9999",
            i64::MAX
        )
    );
    let rpm: ArrayRef = Arc::new(Float32Array::from(vec![1.0, 1.0, -1.0]));
    let text = message(vec![
        ("sensor", sensors()),
        ("captured_at", times()),
        ("bins", good_bins()),
        ("rpm", rpm),
    ]);
    assert_eq!(text, "row 2: column rpm: -1 is not a finite speed of zero or more");
}

#[test]
fn a_file_that_is_not_there_or_not_parquet_is_named() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = folder.path().join("corpus.parquet");
    assert!(matches!(Reader::open(&path), Err(Error::Io { .. })));
    std::fs::write(&path, "sensor,captured_at\n").expect("write");
    let error = Reader::open(&path).err().expect("not parquet");
    assert!(
        matches!(&error, Error::Parquet { path: named, .. } if *named == path),
        "{error}"
    );
}

#[test]
fn rows_before_a_bad_one_come_out_and_the_iterator_ends_after_it() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = folder.path().join("corpus.parquet");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("sensor", sensors()),
        ("captured_at", times()),
        (
            "bins",
            bins([
                Some(vec![Some(1.0)]),
                Some(vec![Some(f32::INFINITY)]),
                Some(vec![Some(1.0)]),
            ]),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("batch");
    let mut writer = ArrowWriter::try_new(File::create(&path).expect("file"), batch.schema(), None).expect("writer");
    writer.write(&batch).expect("write");
    writer.close().expect("close");
    let outcome: Vec<bool> = Reader::open(&path).expect("open").map(|row| row.is_ok()).collect();
    assert_eq!(outcome, [true, false]);
}

fn rows(count: usize) -> Vec<Row> {
    let row = |at: usize| Row {
        sensor: SensorName::parse(["s/m/x", "s/m/y"][at % 2]).unwrap(),
        captured_at: Timestamp::from_micros(at as i64),
        bins: vec![at as f32, 0.5, 0.0],
        rpm: (!at.is_multiple_of(3)).then_some(1800.0),
        load: (!at.is_multiple_of(5)).then_some(-0.5),
        label: at.is_multiple_of(2).then(|| "healthy".to_owned()),
        split: (!at.is_multiple_of(7)).then(|| ["train", "cal"][usize::from(at > count / 2)].to_owned()),
    };
    (0..count).map(row).collect()
}

#[test]
fn a_filter_keeps_what_it_names_and_progress_reaches_the_end() {
    let folder = tempfile::tempdir().expect("temp folder");
    let path = folder.path().join("corpus.parquet");
    let all = rows(3_000);
    let mut writer = Writer::create(&path).expect("create");
    for row in &all {
        writer.write(row).expect("write");
    }
    assert!(!path.exists(), "an unfinished file does not have its name");
    assert_eq!(writer.finish().expect("finish"), 3_000);

    let filter = Filter {
        sensors: Some(Glob::parse("sensors", "*/y").expect("glob")),
        splits: Some(vec!["cal".to_owned()]),
    };
    let mut last = Progress::default();
    let kept = read_all(&[&path, &path], &filter, |progress| {
        assert!(progress.rows_read > last.rows_read || progress.rows_kept > last.rows_kept);
        last = progress;
    })
    .expect("rows");
    let expected: Vec<Row> = all
        .into_iter()
        .filter(|row| row.sensor.sensor.as_str() == "y" && row.split.as_deref() == Some("cal"))
        .collect();
    assert_eq!(kept, [expected.clone(), expected].concat());
    assert_eq!(
        last,
        Progress {
            rows_read: 6_000,
            rows_total: 6_000,
            rows_kept: kept.len() as u64
        }
    );
}

#[test]
fn a_row_that_could_not_be_read_is_not_written() {
    let folder = tempfile::tempdir().expect("temp folder");
    let mut writer = Writer::create(folder.path().join("c.parquet")).expect("create");
    let bad = Row {
        bins: vec![f32::NAN],
        ..rows(1).remove(0)
    };
    assert!(
        writer
            .write(&bad)
            .expect_err("NaN")
            .to_string()
            .ends_with("row 0: column bins: [0]: NaN is not a finite amplitude of zero or more")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn what_is_written_is_read_back(count in 0usize..2_500) {
        let folder = tempfile::tempdir().expect("temp folder");
        let path = folder.path().join("corpus.parquet");
        let all = rows(count);
        let mut writer = Writer::create(&path).expect("create");
        for row in &all {
        writer.write(row).expect("write");
    }
        writer.finish().expect("finish");
        let reader = Reader::open(&path).expect("open");
        prop_assert_eq!(reader.rows_total(), count as u64);
        prop_assert_eq!(reader.collect::<Result<Vec<_>, _>>().expect("rows"), all);
    }
}
