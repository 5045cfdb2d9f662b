use std::path::PathBuf;

use clap::Parser;
use tocsin_corpus::Writer as CorpusWriter;

use super::*;
use crate::command::train::{Train, training_set};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    train: Train,
}

/// Two corpora of six machines with two sensors each, 2,400 rows of 32 bins in all, some labelled with a fault.
fn corpora(folder: &Path, split: impl Fn(i64) -> Option<&'static str>) -> Vec<PathBuf> {
    let file = |nth: usize| {
        let path = folder.join(format!("{nth}.parquet"));
        let mut writer = CorpusWriter::create(&path).unwrap();
        for (machine, sensor) in (0..3).flat_map(|machine| ["x", "y"].map(|sensor| (3 * nth + machine, sensor))) {
            for second in 0..200 {
                let row = Row {
                    sensor: SensorName::parse(&format!("a/m{machine}/{sensor}")).unwrap(),
                    captured_at: Timestamp::from_micros(second * 1_000_000),
                    bins: vec![0.1 + 0.001 * (second % 17) as f32; 32],
                    rpm: None,
                    load: None,
                    label: (second % 50 == 7).then(|| "imbalance".to_owned()),
                    split: split(second).map(str::to_owned),
                };
                writer.write(&row).unwrap();
            }
        }
        writer.finish().unwrap();
        path
    };
    (0..2).map(file).collect()
}

fn by_time(second: i64) -> &'static str {
    if second < 150 { "train" } else { "cal" }
}

fn line(corpora: &[PathBuf], more: &[&str]) -> Train {
    let files = corpora.iter().map(|path| path.to_str().unwrap());
    let words = ["train", "--class", "pump", "--out", "bundle", "--corpus"]
        .into_iter()
        .chain(files);
    Line::parse_from(words.chain(more.iter().copied())).train
}

fn read(train: &Train, folder: &Path) -> Result<Option<Sets>> {
    train.source(folder).read(train.needs_memory().as_deref())
}

#[test]
fn rows_on_disk_are_those_that_would_be_in_memory_however_they_are_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log.csv");
    let lines = "site,machine,from,to,state\n\
                 a,m1,1970-01-01T00:00:10Z,1970-01-01T00:00:30Z,faulty\n\
                 a,m4,1970-01-01T00:00:00Z,1970-01-01T00:01:40Z,healthy\n";
    std::fs::write(&log, lines).unwrap();
    let log = ["--maintenance-log", log.to_str().unwrap()];
    let [split, whole] = ["split", "whole"].map(|name| folder.path().join(name));
    for folder in [&split, &whole] {
        std::fs::create_dir(folder).unwrap();
    }
    let (split, whole) = (
        corpora(&split, |second| Some(by_time(second))),
        corpora(&whole, |_| None),
    );
    for (files, more) in [
        (&split, vec![]),
        (&split, log.to_vec()),
        (
            &split,
            [&log[..], &["--only-logged-healthy", "--sensors", "*/x"]].concat(),
        ),
        (&whole, vec!["--split-by", "time"]),
        (&whole, [&log[..], &["--split-by", "machine"]].concat()),
    ] {
        let train = line(files, &[&more[..], &["--memory", "1"]].concat());
        let used = [train.split.as_str(), LIMITS];
        let rows = train.corpora.read(train.choice.splits(&used)).unwrap();
        let (rows, selection) = train.choice.apply(&train.corpora, rows, &train.split).unwrap();
        assert_eq!(selection.sensors, train.corpora.sensors, "{more:?}");
        let spec = train.corpora.spec(&rows).unwrap();
        let [teach, limit] = used.map(|split| training_set(&spec, &rows, split).unwrap());
        // Half the rows of all fit in a MiB.
        let Some(sets) = read(&train, folder.path()).unwrap() else {
            assert!(more.contains(&"--sensors"), "{more:?} fits in memory");
            continue;
        };
        assert_eq!(sets.train.rows_in_all(), teach.len() as u64, "{more:?}");
        assert_eq!(sets.calibration.rows_in_all(), limit.len() as u64, "{more:?}");
        let sorted = |set: &TrainingSet| set.sensors().iter().cloned().collect::<BTreeSet<String>>();
        assert_eq!(sorted(&sets.train), sorted(&teach), "{more:?}");
        assert_eq!(sets.train.selection(), Some(&selection), "{more:?}");
        assert!(sets.train.sampled().is_none_or(|rows| rows < 300), "{more:?}");
    }
}

#[test]
fn rows_that_fit_stay_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let files = corpora(folder.path(), |second| Some(by_time(second)));
    assert!(read(&line(&files, &[]), folder.path()).unwrap().is_none());
    assert!(
        read(&line(&files, &["--memory", "3"]), folder.path())
            .unwrap()
            .is_none()
    );
    let few = line(&files, &["--memory", "1", "--sensors", "a/m1/*"]);
    assert!(
        read(&few, folder.path()).unwrap().is_none(),
        "what is not wanted takes no memory"
    );
}

#[test]
fn what_is_refused_names_its_flag() {
    let folder = tempfile::tempdir().unwrap();
    let files = corpora(folder.path(), |second| Some(by_time(second)));
    let error = |files: &[PathBuf], more: &[&str], scratch: &Path| {
        let train = line(files, &[&["--memory", "1"], more].concat());
        format!("{:#}", read(&train, scratch).unwrap_err())
    };
    for (more, begins) in [
        (
            &["--variant", "temporal-conv"][..],
            "--variant temporal-conv: takes all of the 2400 rows",
        ),
        (
            &["--trim", "0.1"],
            "--trim 0.1: takes all of the 2400 rows of 32 bins in memory, about 3 MiB; --memory allows 1",
        ),
        (&["--sweep-latent", "4,8"], "--sweep-latent: takes all of the 2400 rows"),
    ] {
        let told = if more[0] == "--sweep-latent" {
            let files: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
            let words = ["train", "--class", "pump", "--memory", "1", "--corpus"];
            let train = Line::parse_from([&words[..], &files, more].concat()).train;
            format!("{:#}", read(&train, folder.path()).unwrap_err())
        } else {
            error(&files, more, folder.path())
        };
        assert!(told.starts_with(begins), "{told}");
    }
    let missing = folder.path().join("missing");
    let told = error(&files, &[], &missing);
    assert!(
        told.starts_with("--scratch: temporary files in ") && told.contains("missing"),
        "{told}"
    );

    let twice = tempfile::tempdir().unwrap();
    let both = [
        files,
        corpora(twice.path(), |second| Some(if second == 3 { "cal" } else { "train" })),
    ]
    .concat();
    let told = error(&both, &[], folder.path());
    let words =
        "--corpus: a/m0/x at 1970-01-01T00:00:03Z stands in split train and in split cal: what teaches must not";
    assert!(told.starts_with(words), "{told}");
}

#[test]
fn a_sweep_is_refused_by_the_rows_of_all_splits_since_it_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let files = corpora(folder.path(), |second| {
        Some(if second < 60 { by_time(second) } else { "end" })
    });
    let files: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
    let told = |more: &[&str]| {
        let words = ["train", "--class", "pump", "--memory", "1", "--corpus"];
        let train = Line::parse_from([&words[..], &files, more].concat()).train;
        read(&train, folder.path())
    };
    assert!(
        told(&["--out", "bundle"]).unwrap().is_none(),
        "the rows to learn from fit"
    );
    let refused = format!("{:#}", told(&["--sweep-latent", "4,8"]).unwrap_err());
    assert!(
        refused.starts_with("--sweep-latent: takes all of the 2400 rows"),
        "{refused}"
    );
}

#[test]
fn splits_that_set_limits_or_test_are_no_splits_to_learn_from() {
    let parsed = |split: &str| {
        let words = [
            "train", "--class", "pump", "--out", "b", "--corpus", "c", "--split", split,
        ];
        Line::try_parse_from(words).map(|line| line.train.split)
    };
    for (split, purpose) in [
        ("cal", "set the limits"),
        ("test_healthy", "test"),
        ("end", "test"),
        ("incipient", "test"),
        ("test_fault", "test"),
    ] {
        let told = parsed(split).unwrap_err().to_string();
        let words = format!("rows of {split} {purpose}: what teaches must not");
        assert!(told.contains("--split") && told.contains(&words), "{told}");
    }
    assert_eq!(parsed("history").unwrap(), "history");
}

#[test]
fn a_budget_that_holds_no_sample_is_refused_by_its_flag() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wide.parquet");
    let mut writer = CorpusWriter::create(&path).unwrap();
    for second in 0..400 {
        let row = Row {
            sensor: SensorName::parse("a/m/x").unwrap(),
            captured_at: Timestamp::from_micros(second * 1_000_000),
            bins: vec![0.1; 512],
            rpm: None,
            load: None,
            label: None,
            split: Some("train".to_owned()),
        };
        writer.write(&row).unwrap();
    }
    writer.finish().unwrap();
    let train = line(&[path], &["--memory", "2"]);
    let told = format!("{:#}", read(&train, folder.path()).unwrap_err());
    assert_eq!(
        told,
        "--memory: 2 MiB are too few for a sample of 256 rows of 512 bins, at least 13 are needed"
    );
}
