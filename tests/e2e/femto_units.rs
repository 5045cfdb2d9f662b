//! Real bearings' lives, published again in other units of acceleration: nothing of what is decided about them changes.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use tocsin_corpus::{Filter, Glob, Row, Writer, read_all};
use tocsin_domain::SpectrumSpec;
use tocsin_domain::spec::Unit;
use tocsin_evaluate::{Asset, Course, MachineLife, Rules, Trial};
use tocsin_judge::JudgedReading;
use tocsin_tests::{binary, data};

/// Metres per second squared in one g.
const STANDARD_GRAVITY: f64 = 9.806_65;

/// How many of each unit are one g.
const UNITS: [(Unit, f64); 3] = [
    (Unit::G, 1.0),
    (Unit::MetrePerSecondSquared, STANDARD_GRAVITY),
    (Unit::MillimetrePerSecondSquared, 1000.0 * STANDARD_GRAVITY),
];

/// By how much a level may differ.
const LEVEL: f32 = 1e-5;

/// The bearings that lived shortest, as they stand in g; nothing without the data.
fn corpus() -> Result<Option<Vec<Row>>> {
    let Some(file) = data::file("femto/spectra64.parquet") else {
        return Ok(None);
    };
    let mut rows = Vec::new();
    for machine in ["bearing1_2", "bearing1_4"] {
        let filter = Filter {
            sensors: Some(Glob::parse("sensors", &format!("*/{machine}/*"))?),
            splits: None,
        };
        rows.extend(read_all(&[&file], &filter, |_| {})?);
    }
    Ok(Some(rows))
}

/// The specification in a unit of which `per_g` are one g.
fn spec(unit: Unit, per_g: f64) -> SpectrumSpec {
    let in_g = SpectrumSpec::corpus_default(64);
    SpectrumSpec {
        unit,
        full_scale: in_g.full_scale * per_g,
        s0: in_g.s0 * per_g,
        ..in_g
    }
}

fn published(rows: &[Row], per_g: f64) -> Vec<Row> {
    let again = |row: &Row| Row {
        bins: row.bins.iter().map(|g| (f64::from(*g) * per_g) as f32).collect(),
        ..row.clone()
    };
    rows.iter().map(again).collect()
}

/// Every machine's readings and incidents under limits learned from the other.
fn judged(rows: &[Row], spec: &SpectrumSpec) -> Result<Vec<(Vec<JudgedReading>, Course)>> {
    let rules = Rules::default();
    let lives = MachineLife::from_rows(spec, rows)?;
    let assets = lives
        .iter()
        .map(|life| Asset::new(life, &rules))
        .collect::<Result<Vec<_>, _>>()?;
    let judge = |at: usize| {
        let others: Vec<&Asset<'_>> = assets[..at].iter().chain(&assets[at + 1..]).collect();
        let trial = Trial::new(&assets[at], &others, &rules)?;
        let readings = trial.judge(&lives[at]);
        let course = trial.fold(&readings);
        Ok((readings, course))
    };
    (0..assets.len()).map(judge).collect()
}

#[test]
fn bearings_in_other_units_get_the_same_verdicts_levels_and_incidents() -> Result<()> {
    let Some(rows) = corpus()? else {
        return Ok(());
    };
    let in_g = judged(&rows, &SpectrumSpec::corpus_default(64))?;
    assert_eq!(
        in_g.iter().map(|(readings, _)| readings.len()).sum::<usize>(),
        rows.len()
    );
    let paged = |(_, course): &(_, Course)| course.incidents.iter().any(|incident| incident.paged.is_some());
    assert!(in_g.iter().all(paged), "each of them failed");
    for (unit, per_g) in &UNITS[1..] {
        let other = judged(&published(&rows, *per_g), &spec(*unit, *per_g).parse()?)?;
        for ((readings, course), (others, other_course)) in in_g.iter().zip(&other) {
            assert_eq!(other_course, course, "{unit:?}");
            for (reading, other) in readings.iter().zip(others) {
                assert_same(reading, other);
            }
        }
    }
    Ok(())
}

fn assert_same(one: &JudgedReading, other: &JudgedReading) {
    let same = match (one.level, other.level) {
        (Some((level, by)), Some((other, other_by))) => {
            let verdict = |level: f32| level.floor().clamp(0.0, 2.0) as u8;
            by == other_by && verdict(level.0) == verdict(other.0) && (level.0 - other.0).abs() <= LEVEL
        }
        (one, other) => one.is_none() && other.is_none(),
    };
    assert!(same && one.key == other.key, "{one:?} against {other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_tells_the_same_of_a_corpus_in_whatever_unit_its_spec_declares() -> Result<()> {
    let Some(rows) = corpus()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let mut told = Vec::new();
    for (unit, per_g) in UNITS {
        let file = folder.path().join(unit.as_str());
        told.push(run_to_failure(&file, &published(&rows, per_g), &spec(unit, per_g)).await?);
    }
    assert_eq!(told[0]["summary"]["detected"], 2, "{:#}", told[0]["summary"]);
    for other in &told[1..] {
        for part in ["machines", "summary"] {
            assert_eq!(other[part], told[0][part]);
        }
    }
    Ok(())
}

/// What `tocsin evaluate run-to-failure` says of rows of a spec.
async fn run_to_failure(stem: &Path, rows: &[Row], spec: &SpectrumSpec) -> Result<Value> {
    let (corpus, definition) = (stem.with_extension("parquet"), stem.with_extension("json"));
    let mut writer = Writer::create(&corpus)?;
    for row in rows {
        writer.write(row)?;
    }
    writer.finish()?;
    std::fs::write(&definition, serde_json::to_string(spec)?)?;
    let arguments = [
        "evaluate",
        "run-to-failure",
        "--corpus",
        corpus.to_str().context("the path")?,
        "--spec",
        definition.to_str().context("the path")?,
        "--format",
        "json",
    ];
    Ok(serde_json::from_str(&binary::run(&arguments, &[]).await?)?)
}
