//! Between wire and domain.

use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::propose_request::Source as WireSource;
use tocsin_contracts::{Malformed, time};
use tocsin_store::threshold::ThresholdSetRecord;

use crate::Source;

/// Reads where healthy scores are to come from.
pub(crate) fn source(wire: Option<WireSource>) -> Result<Source, Malformed> {
    match wire {
        None => Err(Malformed::new("source", "is missing: held_out or logged")),
        Some(WireSource::HeldOut(_)) => Ok(Source::HeldOut),
        Some(WireSource::Logged(period)) => {
            let from = time::required("logged.from", period.from)?;
            let to = time::required("logged.to", period.to)?;
            if from >= to {
                return Err(Malformed::new("logged.to", format!("{to} is not after from {from}")));
            }
            Ok(Source::Logged { from, to })
        }
    }
}

/// Writes a set.
pub(crate) fn threshold_set(record: ThresholdSetRecord) -> v1::ThresholdSet {
    v1::ThresholdSet {
        threshold_set_id: record.id.0,
        class: record.class_name.to_string(),
        bundle_id: record.bundle.0,
        state: record.state.as_str().to_owned(),
        created_at: Some(time::to_wire(record.created_at)),
        created_by: record.created_by,
        reason: record.reason,
        definition_json: record.definition_json,
        provenance_json: record.provenance_json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_domain::Timestamp;

    #[test]
    fn a_period_must_have_a_length_and_a_source_must_be_named() {
        assert_eq!(source(None).unwrap_err().field, "source");
        let at = Some(time::to_wire(Timestamp::from_micros(0)));
        let period = v1::LoggedScores { from: at, to: at };
        assert_eq!(source(Some(WireSource::Logged(period))).unwrap_err().field, "logged.to");
        let open = v1::LoggedScores { from: at, to: None };
        assert_eq!(source(Some(WireSource::Logged(open))).unwrap_err().field, "logged.to");
        assert_eq!(
            source(Some(WireSource::HeldOut(v1::HeldOutScores {}))),
            Ok(Source::HeldOut)
        );
    }
}
