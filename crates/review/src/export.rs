//! A review's readings as files: CSV and Parquet with the same columns, a row per reading that the document holds. The columns
//! are told in docs/incident-review.md.

mod csv;
mod parquet;

use tocsin_contracts::Malformed;
use tocsin_contracts::incident_review::{Document, Reading};
use tocsin_domain::Detector;

use crate::Error;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Csv,
    Parquet,
    Json,
}

impl Format {
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        match text {
            "csv" => Ok(Self::Csv),
            "parquet" => Ok(Self::Parquet),
            "json" => Ok(Self::Json),
            _ => Err(Malformed::new(
                "format",
                format!("{text:?} is not csv, parquet or json"),
            )),
        }
    }
}

/// The file of a document; `digest` is that of a final one, empty for a draft.
pub(crate) fn file(document: &Document, digest: &str, format: Format) -> Result<Vec<u8>, Error> {
    match format {
        Format::Csv => csv::file(document, digest),
        Format::Parquet => parquet::file(document, digest),
        Format::Json => Ok(document.to_json().into_bytes()),
    }
}

/// The readings in order, each with its sensor.
fn rows(document: &Document) -> impl Iterator<Item = (&str, &Reading)> {
    document
        .sensors
        .iter()
        .flat_map(|sensor| sensor.readings.iter().map(|reading| (sensor.sensor.as_str(), reading)))
}

/// What a detector says of a reading: score, level, alert line and page line, in the order of [`detector_columns`].
fn detector_values(reading: &Reading, detector: Detector) -> [Option<f32>; 4] {
    let found = reading.detectors.iter().find(|one| one.detector == detector.as_str());
    let of = |value: fn(&tocsin_contracts::incident_review::DetectorLevel) -> f32| found.map(value);
    [
        of(|one| one.score),
        of(|one| one.level),
        of(|one| one.alert_line),
        of(|one| one.page_line),
    ]
}

fn detector_columns(detector: Detector) -> [String; 4] {
    ["score", "level", "alert_line", "page_line"].map(|what| format!("{detector}_{what}"))
}

#[cfg(test)]
pub(crate) mod tests;
