use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use tocsin_contracts::incident_review::{
    Against, Capture, DetectorLevel, FORMAT, Facts, Peers, Phase, Rebuilding, Rebuilt, Sensor, Spectra, State, Text,
    Window,
};
use tocsin_domain::Timestamp;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000 + 7)
}

fn reading(second: i64, level: Option<f32>) -> Reading {
    Reading {
        captured_at: at(second),
        received_at: at(second + 1),
        phase: Phase::During,
        verdict: if level.is_some() { "page" } else { "unjudged" }.to_owned(),
        decided_by: if level.is_some() { "residual" } else { "stopped" }.to_owned(),
        level,
        threshold_set_id: level.map(|_| 4),
        bundle_id: level.map(|_| 2),
        baseline_id: None,
        degraded: false,
        condition: "known".to_owned(),
        detectors: level
            .map(|level| DetectorLevel {
                detector: "residual".to_owned(),
                score: 0.1,
                level,
                alert_line: 0.2,
                page_line: 1.0 / 3.0,
                role: "page".to_owned(),
            })
            .into_iter()
            .collect(),
    }
}

fn document() -> Document {
    let capture = Capture {
        captured_at: at(1),
        phase: Phase::During,
        level: Some(2.1),
        rpm: Some(1_500.0),
        load: None,
        observed: vec![0.1, 0.7],
        baseline: Vec::new(),
        reconstructed: vec![0.1, 0.2],
        deviation: vec![0.0, 3.25],
        rebuilt: None,
    };
    let thinned = Capture {
        captured_at: at(0),
        level: None,
        observed: Vec::new(),
        reconstructed: Vec::new(),
        deviation: Vec::new(),
        rebuilt: Some(Rebuilt {
            amplitude: vec![0.1, 0.3],
            deviation: Vec::new(),
            error: Some(0.25),
        }),
        ..capture.clone()
    };
    Document {
        format: FORMAT.to_owned(),
        review: Text {
            version: 3,
            state: State::Final,
            findings: "a \"ring\",\nworn".to_owned(),
            ..Text::default()
        },
        incident: Facts {
            incident_id: 41,
            site: "north".to_owned(),
            time_zone: "UTC".to_owned(),
            machine: "p-1".to_owned(),
            class: "pump".to_owned(),
            severity: "page".to_owned(),
            state: "normal".to_owned(),
            opened_at: at(0),
            paged_at: Some(at(1)),
            closed_at: Some(at(9)),
            acknowledged_by: None,
            acknowledged_at: None,
            deciding_sensor: "h".to_owned(),
            deciding_detector: "residual".to_owned(),
            peak_level: 2.1,
            threshold_set_id: Some(4),
            bundle_id: Some(2),
            replay: true,
            previous_incident_id: None,
        },
        window: Window {
            from: at(-10),
            to: at(20),
            readings: 3,
            kept: 3,
            intervals: 600,
        },
        sensors: vec![
            Sensor {
                sensor: "h".to_owned(),
                readings: vec![reading(0, None), reading(1, Some(2.1))],
            },
            Sensor {
                sensor: "v".to_owned(),
                readings: vec![reading(1, Some(0.3))],
            },
        ],
        changes: Vec::new(),
        gaps: Vec::new(),
        journal: Vec::new(),
        earlier_steps: 0,
        pages: Vec::new(),
        suppressions: Vec::new(),
        labels: Vec::new(),
        work_order: None,
        spectra: Some(Spectra {
            sensor: "h".to_owned(),
            axis_unit: "Hz".to_owned(),
            amplitude_unit: "g".to_owned(),
            bin_centre: vec![100.0, 300.0],
            against: Against::Reconstruction,
            not_kept: 1,
            rebuilding: vec![Rebuilding {
                bundle_id: Some(2),
                model: "dense".to_owned(),
                spectra: 1,
                usual_error: Some(0.2),
                error_space: "standardised_log".to_owned(),
                error_unknown: String::new(),
                not_rebuilt: String::new(),
            }],
            captures: vec![thinned, capture],
        }),
        peers: Peers::default(),
    }
}

#[test]
fn a_document_is_read_back_from_its_own_text() {
    let text = document().to_json();
    let back = Document::from_json(&text).unwrap();
    assert_eq!(back, document());
    assert_eq!(back.to_json(), text, "to the byte: its digest is of these");
}

#[test]
fn a_document_of_before_spectra_were_rebuilt_is_read_back_to_the_byte() {
    let mut older = document();
    let spectra = older.spectra.as_mut().unwrap();
    spectra.captures.remove(0);
    spectra.rebuilding.clear();
    let text = older.to_json();
    assert!(!text.contains("rebuil"), "what is not there leaves no field: {text}");
    assert_eq!(Document::from_json(&text).unwrap().to_json(), text);
}

#[test]
fn csv_has_a_row_per_reading_whose_numbers_read_back_to_the_same_bits() {
    let bytes = file(&document(), "ab12", Format::Csv).unwrap();
    let mut reader = ::csv::Reader::from_reader(bytes.as_slice());
    let columns: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let place = |name: &str| columns.iter().position(|column| column == name).unwrap();
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!((columns.len(), records.len()), (17 + 4 * 9, 3));
    let of = |row: usize, name: &str| records[row].get(place(name)).unwrap().to_owned();
    assert_eq!(
        (of(0, "verdict"), of(0, "level"), of(0, "residual_score")),
        ("unjudged".into(), String::new(), String::new())
    );
    assert_eq!(
        (of(1, "sensor"), of(1, "review_digest"), of(1, "review_version")),
        ("h".into(), "ab12".into(), "3".into())
    );
    let captured = Timestamp::parse("captured_at", &of(1, "captured_at")).unwrap();
    assert_eq!((captured, of(2, "sensor").as_str()), (at(1), "v"));
    let line: f32 = of(1, "residual_page_line").parse().unwrap();
    assert_eq!(line.to_bits(), (1.0f32 / 3.0).to_bits());
    assert_eq!(of(1, "growth_level"), "");
}

#[test]
fn parquet_has_the_same_rows_and_the_spectra() {
    let bytes = file(&document(), "ab12", Format::Parquet).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap();
    let metadata = reader.schema().metadata().clone();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    let rows = &batches[0];
    assert_eq!(
        (batches.len(), rows.num_rows(), rows.num_columns()),
        (1, 3, 20 + 4 * 9 + 5)
    );
    let column = |name: &str| rows.column_by_name(name).unwrap();
    assert_eq!(column("sensor").as_string::<i32>().value(2), "v");
    let captured = column("captured_at").as_primitive::<TimestampMicrosecondType>();
    assert_eq!(captured.value(1), at(1).as_micros());
    let level = column("level").as_primitive::<Float32Type>();
    assert!(level.is_null(0) && level.value(1) == 2.1);
    let spectra = column("spectrum").as_list::<i32>();
    assert!(spectra.is_null(0) && spectra.is_null(2));
    let spectrum = spectra.value(1);
    assert_eq!(spectrum.as_primitive::<Float32Type>().values(), &[0.1, 0.7]);
    assert!(column("baseline_spectrum").is_null(1));
    let rebuilt = column("rebuilt_spectrum").as_list::<i32>();
    assert!(rebuilt.is_null(1), "what was observed is not rebuilt");
    assert_eq!(rebuilt.value(0).as_primitive::<Float32Type>().values(), &[0.1, 0.3]);
    assert_eq!(column("rebuilt_error").as_primitive::<Float32Type>().value(0), 0.25);
    assert_eq!(metadata["tocsin.review_digest"], "ab12");
    assert_eq!(metadata["tocsin.bin_centre"], "[100.0,300.0]");
    assert_eq!(metadata["tocsin.deviation_from"], "reconstruction");
}

#[test]
fn a_format_that_is_none_is_named() {
    assert!(Format::parse("xlsx").unwrap_err().to_string().contains("xlsx"));
}
