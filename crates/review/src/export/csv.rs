//! The readings as CSV: numbers by their shortest form that reads back to the same bits, nothing where there is none.

use csv::Writer;
use tocsin_contracts::incident_review::{Document, Reading};
use tocsin_domain::Detector;

use super::{detector_columns, detector_values, rows};
use crate::Error;

const COLUMNS: [&str; 17] = [
    "incident_id",
    "review_version",
    "review_digest",
    "site",
    "machine",
    "sensor",
    "captured_at",
    "received_at",
    "phase",
    "verdict",
    "decided_by",
    "level",
    "threshold_set_id",
    "bundle_id",
    "baseline_id",
    "degraded",
    "condition",
];

pub(super) fn file(document: &Document, digest: &str) -> Result<Vec<u8>, Error> {
    let mut writer = Writer::from_writer(Vec::new());
    let columns = COLUMNS.map(str::to_owned).into_iter();
    writer.write_record(columns.chain(Detector::ALL.into_iter().flat_map(detector_columns)))?;
    for (sensor, reading) in rows(document) {
        let detectors = Detector::ALL
            .into_iter()
            .flat_map(|detector| detector_values(reading, detector))
            .map(shown);
        writer.write_record(head(document, digest, sensor, reading).into_iter().chain(detectors))?;
    }
    Ok(writer
        .into_inner()
        .map_err(|error| csv::Error::from(error.into_error()))?)
}

fn head(document: &Document, digest: &str, sensor: &str, reading: &Reading) -> [String; COLUMNS.len()] {
    let incident = &document.incident;
    [
        incident.incident_id.to_string(),
        document.review.version.to_string(),
        digest.to_owned(),
        incident.site.clone(),
        incident.machine.clone(),
        sensor.to_owned(),
        reading.captured_at.to_string(),
        reading.received_at.to_string(),
        reading.phase.as_str().to_owned(),
        reading.verdict.clone(),
        reading.decided_by.clone(),
        shown(reading.level),
        shown(reading.threshold_set_id),
        shown(reading.bundle_id),
        shown(reading.baseline_id),
        reading.degraded.to_string(),
        reading.condition.clone(),
    ]
}

fn shown(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}
