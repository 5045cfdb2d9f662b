//! The readings as Parquet: the columns of the CSV, and the spectra of those that have one. What the bins mean stands in the
//! file's metadata.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, ListBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tocsin_contracts::incident_review::{Capture, Document, Reading};
use tocsin_domain::{Detector, Timestamp};

use super::{detector_columns, detector_values, rows};
use crate::Error;

/// A row: its sensor, its reading, and the reading's spectrum where there is one.
type Row<'a> = (&'a str, &'a Reading, Option<&'a Capture>);

/// A column's name and values.
type Column = (String, ArrayRef);

pub(super) fn file(document: &Document, digest: &str) -> Result<Vec<u8>, Error> {
    let captures: BTreeMap<(&str, Timestamp), &Capture> = document
        .spectra
        .iter()
        .flat_map(|spectra| {
            let sensor = spectra.sensor.as_str();
            spectra
                .captures
                .iter()
                .map(move |capture| ((sensor, capture.captured_at), capture))
        })
        .collect();
    let rows: Vec<Row<'_>> = rows(document)
        .map(|(sensor, reading)| (sensor, reading, captures.get(&(sensor, reading.captured_at)).copied()))
        .collect();
    let mut columns = constants(document, digest, rows.len());
    columns.extend(head(&rows));
    for detector in Detector::ALL {
        for (place, name) in detector_columns(detector).into_iter().enumerate() {
            let values = rows.iter().map(|row| detector_values(row.1, detector)[place]);
            columns.push((name, Arc::new(values.collect::<Float32Array>())));
        }
    }
    columns.extend(spectra(&rows));
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, values)| Field::new(name, values.data_type().clone(), true))
        .collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata(document, digest)));
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        columns.into_iter().map(|(_, values)| values).collect(),
    )?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

/// What is the same in every row.
fn constants(document: &Document, digest: &str, rows: usize) -> Vec<Column> {
    let text = |name: &str, value: &str| {
        let values: ArrayRef = Arc::new(StringArray::from(vec![value; rows]));
        (name.to_owned(), values)
    };
    let incident = &document.incident;
    vec![
        (
            "incident_id".to_owned(),
            Arc::new(Int64Array::from(vec![incident.incident_id; rows])),
        ),
        (
            "review_version".to_owned(),
            Arc::new(Int32Array::from(vec![document.review.version as i32; rows])),
        ),
        text("review_digest", digest),
        text("site", &incident.site),
        text("machine", &incident.machine),
    ]
}

fn head(rows: &[Row<'_>]) -> Vec<Column> {
    let text = |name: &str, of: fn(&Reading) -> &str| {
        let values: ArrayRef = Arc::new(rows.iter().map(|row| Some(of(row.1))).collect::<StringArray>());
        (name.to_owned(), values)
    };
    let time = |name: &str, of: fn(&Reading) -> Timestamp| {
        let values = rows.iter().map(|row| Some(of(row.1).as_micros()));
        let values: ArrayRef = Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"));
        (name.to_owned(), values)
    };
    let number = |name: &str, of: fn(&Reading) -> Option<i32>| {
        let values: ArrayRef = Arc::new(rows.iter().map(|row| of(row.1)).collect::<Int32Array>());
        (name.to_owned(), values)
    };
    let real = |name: &str, of: fn(&Row<'_>) -> Option<f32>| {
        let values: ArrayRef = Arc::new(rows.iter().map(of).collect::<Float32Array>());
        (name.to_owned(), values)
    };
    let degraded: Vec<bool> = rows.iter().map(|row| row.1.degraded).collect();
    let sensors: StringArray = rows.iter().map(|row| Some(row.0)).collect();
    vec![
        ("sensor".to_owned(), Arc::new(sensors)),
        time("captured_at", |reading| reading.captured_at),
        time("received_at", |reading| reading.received_at),
        text("phase", |reading| reading.phase.as_str()),
        text("verdict", |reading| &reading.verdict),
        text("decided_by", |reading| &reading.decided_by),
        real("level", |row| row.1.level),
        number("threshold_set_id", |reading| reading.threshold_set_id),
        number("bundle_id", |reading| reading.bundle_id),
        number("baseline_id", |reading| reading.baseline_id),
        ("degraded".to_owned(), Arc::new(BooleanArray::from(degraded))),
        text("condition", |reading| &reading.condition),
        real("rpm", |row| row.2?.rpm),
        real("load", |row| row.2?.load),
        real("rebuilt_error", |row| row.2?.rebuilt.as_ref()?.error),
    ]
}

/// Amplitudes by bin, and deviations; nothing where a row has none. What is rebuilt has a column of its own.
fn spectra(rows: &[Row<'_>]) -> Vec<Column> {
    let list = |name: &str, of: fn(&Capture) -> &[f32]| {
        let mut lists = ListBuilder::new(Float32Builder::new());
        for row in rows {
            let values = row.2.map(of).filter(|values| !values.is_empty());
            lists.values().append_slice(values.unwrap_or_default());
            lists.append(values.is_some());
        }
        let values: ArrayRef = Arc::new(lists.finish());
        (name.to_owned(), values)
    };
    vec![
        list("spectrum", |capture| &capture.observed),
        list("baseline_spectrum", |capture| &capture.baseline),
        list("reconstruction", |capture| &capture.reconstructed),
        list("deviation", |capture| &capture.deviation),
        list("rebuilt_spectrum", |capture| {
            capture
                .rebuilt
                .as_ref()
                .map_or(&[][..], |rebuilt| rebuilt.amplitude.as_slice())
        }),
    ]
}

fn metadata(document: &Document, digest: &str) -> HashMap<String, String> {
    let mut metadata = HashMap::from([
        ("tocsin.format".to_owned(), document.format.clone()),
        ("tocsin.review_digest".to_owned(), digest.to_owned()),
        (
            "tocsin.review_state".to_owned(),
            document.review.state.as_str().to_owned(),
        ),
    ]);
    if let Some(spectra) = &document.spectra {
        let centres = serde_json::to_string(&spectra.bin_centre).expect("numbers have a JSON form");
        let against = serde_json::to_value(spectra.against).expect("a word has a JSON form");
        metadata.extend([
            ("tocsin.bin_centre".to_owned(), centres),
            ("tocsin.axis_unit".to_owned(), spectra.axis_unit.clone()),
            ("tocsin.amplitude_unit".to_owned(), spectra.amplitude_unit.clone()),
            (
                "tocsin.deviation_from".to_owned(),
                against.as_str().unwrap_or_default().to_owned(),
            ),
        ]);
    }
    metadata
}
