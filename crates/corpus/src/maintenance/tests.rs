use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;

use super::*;

const HEADER: &str = "site,machine,sensor,from,to,state,note\n";

fn read(bytes: impl AsRef<[u8]>) -> Result<MaintenanceLog, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.csv");
    std::fs::write(&path, bytes).unwrap();
    MaintenanceLog::read(&path).map_err(|error| error.to_string().rsplit_once("log.csv: ").unwrap().1.to_owned())
}

fn log(lines: &str) -> Result<MaintenanceLog, String> {
    read(format!("{HEADER}{lines}"))
}

fn state(log: &MaintenanceLog, sensor: &str, at: &str) -> Option<State> {
    log.state(&SensorName::parse(sensor).unwrap(), Timestamp::parse("at", at).unwrap())
}

#[test]
fn a_row_has_the_state_of_its_interval() {
    let log = log(
        "a,m1,,2026-01-01T00:00:00Z,2026-01-02T00:00:00Z,healthy,after overhaul\n\
         a,m1,,2026-01-02T00:00:00Z,,faulty,\"bearing, outer race\"\n\
         a,m2,x,2026-01-01T00:00:00Z,2026-01-03T00:00:00+01:00,unknown,\n",
    )
    .unwrap();
    assert_eq!((log.len(), log.name()), (3, "log.csv".to_owned()));
    assert_eq!(state(&log, "a/m1/x", "2026-01-01T00:00:00Z"), Some(State::Healthy));
    assert_eq!(state(&log, "a/m1/y", "2026-01-02T00:00:00Z"), Some(State::Faulty));
    assert_eq!(state(&log, "a/m1/y", "2030-01-02T00:00:00Z"), Some(State::Faulty));
    assert_eq!(state(&log, "a/m1/y", "2025-01-02T00:00:00Z"), None);
    assert_eq!(state(&log, "a/m2/x", "2026-01-02T22:59:59Z"), Some(State::Unknown));
    assert_eq!(state(&log, "a/m2/x", "2026-01-02T23:00:00Z"), None);
    assert_eq!(state(&log, "a/m2/y", "2026-01-02T00:00:00Z"), None);
}

#[test]
fn the_same_log_as_parquet_reads_alike() {
    let times = |micros: Vec<Option<i64>>| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(micros)) };
    let texts = |texts: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(texts)) };
    let batch = |to: i64| {
        RecordBatch::try_from_iter_with_nullable([
            ("site", texts(vec![Some("a"), Some("a")]), true),
            ("machine", texts(vec![Some("m1"), Some("m1")]), true),
            ("sensor", texts(vec![None, Some("x")]), true),
            ("from", times(vec![Some(0), Some(10)]), true),
            ("to", times(vec![Some(to), None]), true),
            ("state", texts(vec![Some("healthy"), Some("faulty")]), true),
        ])
        .unwrap()
    };
    let bytes = |to| {
        let mut writer = ArrowWriter::try_new(Vec::new(), batch(to).schema(), None).unwrap();
        writer.write(&batch(to)).unwrap();
        writer.into_inner().unwrap()
    };
    let log = read(bytes(10)).unwrap();
    let at = |micros| log.state(&SensorName::parse("a/m1/x").unwrap(), Timestamp::from_micros(micros));
    assert_eq!(
        [at(-1), at(0), at(9)],
        [None, Some(State::Healthy), Some(State::Healthy)]
    );
    assert_eq!(at(i64::from(u32::MAX)), Some(State::Faulty));
    assert!(
        read(bytes(11))
            .unwrap_err()
            .starts_with("line 1: state: faulty contradicts line 0")
    );
    assert!(read(bytes(0)).unwrap_err().starts_with("line 0: to: "));
}

#[test]
fn what_is_wrong_is_named_by_line_and_field() {
    let span = "2026-01-01T00:00:00Z,2026-01-02T00:00:00Z";
    let cases = [
        (
            format!("a,m1,,{span},broken,\n"),
            "line 2: state: \"broken\" is none of",
        ),
        (format!("a,M 1,,{span},healthy,\n"), "line 2: machine: "),
        (
            format!("a,m1,,{span},healthy,\na,m1,x y,{span},healthy,\n"),
            "line 3: sensor: ",
        ),
        ("a,m1,,yesterday,,healthy,\n".to_owned(), "line 2: from: "),
        (
            "a,m1,,2026-01-02T00:00:00Z,2026-01-01T00:00:00Z,healthy,\n".to_owned(),
            "line 2: to: 2026-01-01T00:00:00Z is not after from",
        ),
        (
            format!("a,m1,,{span},healthy,\na,m1,x,2026-01-01T12:00:00Z,,unknown,\n"),
            "line 3: state: unknown contradicts line 2, which says healthy of a/m1",
        ),
    ];
    for (lines, words) in cases {
        let error = log(&lines).unwrap_err();
        assert!(error.starts_with(words), "{error}");
    }
    assert_eq!(read("site,machine,from,to\n").unwrap_err(), "column state is missing");
    let agreeing =
        format!("a,m1,,{span},faulty,\na,m1,x,{span},faulty,\na,m1,y,{span},faulty,\na,m2,,{span},healthy,\n");
    assert!(log(&agreeing).is_ok());
    let two = format!("a,m1,x,{span},faulty,\na,m1,y,{span},healthy,\n");
    assert!(log(&two).is_ok(), "two sensors of a machine may differ");
}

#[test]
fn a_machine_that_sent_nothing_is_refused() {
    let known: BTreeSet<_> = ["a/m1/x", "a/m2/y"].map(|name| SensorName::parse(name).unwrap()).into();
    let check = |place: &str| {
        let log = log(&format!("{place},2026-01-01T00:00:00Z,,faulty,\n")).unwrap();
        log.check_names(&known)
            .map_err(|error| error.to_string().rsplit_once("log.csv: ").unwrap().1.to_owned())
    };
    assert!(check("a,m1,").is_ok() && check("a,m2,y").is_ok());
    assert_eq!(
        check("b,m1,").unwrap_err(),
        "line 2: machine: b/m1 has no row in the corpora"
    );
    assert_eq!(
        check("a,m1,y").unwrap_err(),
        "line 2: sensor: a/m1/y has no row in the corpora"
    );
}

proptest! {
    #[test]
    fn an_accepted_log_gives_every_moment_the_state_of_each_interval_it_lies_in(
        spans in prop::collection::vec((0_i64..50, 1_i64..20, 0_usize..3, prop::option::of(0_usize..2)), 1..12)
    ) {
        let slug = |name: &str| Slug::parse("name", name).unwrap();
        let names = ["x", "y"];
        let intervals: Vec<Interval> = spans
            .iter()
            .enumerate()
            .map(|(line, (from, length, state, sensor))| Interval {
                line: line as u64,
                site: slug("a"),
                machine: slug("m1"),
                sensor: sensor.map(|at| slug(names[at])),
                from: Timestamp::from_micros(*from),
                to: Timestamp::from_micros(from + length),
                state: State::ALL[*state],
            })
            .collect();
        let log = MaintenanceLog::new(PathBuf::new(), String::new(), intervals.clone());
        let mut contradicted = false;
        for (name, at) in names.iter().flat_map(|name| (0..70).map(move |at| (name, at))) {
            let sensor = SensorName::parse(&format!("a/m1/{name}")).unwrap();
            let at = Timestamp::from_micros(at);
            let holds = |interval: &&Interval| interval.is_about(&sensor) && interval.from <= at && at < interval.to;
            let states: BTreeSet<State> = intervals.iter().filter(holds).map(|interval| interval.state).collect();
            contradicted |= states.len() > 1;
            if let Ok(log) = &log {
                prop_assert_eq!(log.state(&sensor, at), states.first().copied());
            }
        }
        prop_assert_eq!(log.is_err(), contradicted);
    }
}
