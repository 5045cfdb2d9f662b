//! A stored threshold set, read.

use tocsin_domain::lifecycle::ThresholdState;
use tocsin_judge::ThresholdSet;
use tocsin_store::threshold::ThresholdSetRecord;

use crate::{Error, Provenance};

pub(crate) fn definition(record: &ThresholdSetRecord) -> Result<ThresholdSet, Error> {
    serde_json::from_str(&record.definition_json).map_err(|error| unreadable(record, "definition", &error))
}

pub(crate) fn provenance(record: &ThresholdSetRecord) -> Result<Provenance, Error> {
    serde_json::from_str(&record.provenance_json).map_err(|error| unreadable(record, "provenance", &error))
}

fn unreadable(record: &ThresholdSetRecord, part: &'static str, error: &serde_json::Error) -> Error {
    Error::Unreadable {
        set: record.id,
        part,
        reason: error.to_string(),
    }
}

pub(crate) fn expect_state(record: &ThresholdSetRecord, expected: ThresholdState) -> Result<(), Error> {
    if record.state == expected {
        return Ok(());
    }
    Err(Error::WrongState {
        set: record.id,
        found: record.state,
        expected,
    })
}
