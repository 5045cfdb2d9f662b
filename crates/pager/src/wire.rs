//! Between wire and domain.

use half::f16;
use tocsin_contracts::incidents::v1;
use tocsin_contracts::{Malformed, time};
use tocsin_domain::{IncidentId, Severity, Slug, Verdict};
use tocsin_judge::Judgement;
use tocsin_store::incident::{Evidence, IncidentListing, IncidentQuery};
use tocsin_store::machine::Event;
use tocsin_store::outbox::PageDelivery;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1_000;

pub(crate) fn name(field: &str, text: &str) -> Result<Option<Slug>, Malformed> {
    if text.is_empty() {
        Ok(None)
    } else {
        Ok(Some(Slug::parse(field, text)?))
    }
}

/// Reads a site and a machine of it, each of which may be left out.
pub(crate) fn site_and_machine(site: &str, machine: &str) -> Result<(Option<Slug>, Option<Slug>), Malformed> {
    let (site, machine) = (name("site", site)?, name("machine", machine)?);
    if machine.is_some() && site.is_none() {
        return Err(Malformed::new("site", "is missing: a machine is named within its site"));
    }
    Ok((site, machine))
}

/// Reads how many of a list are asked for; 0 is the default.
pub(crate) fn limit(asked: u32) -> Result<u32, Malformed> {
    match asked {
        0 => Ok(DEFAULT_LIMIT),
        1..=MAX_LIMIT => Ok(asked),
        _ => Err(Malformed::new("limit", format!("{asked} is more than {MAX_LIMIT}"))),
    }
}

/// A text that is kept whole, or refused.
pub(crate) fn text(field: &'static str, given: &str, most: usize) -> Result<String, Malformed> {
    let given = given.trim();
    if given.chars().count() > most || given.contains('\0') {
        return Err(Malformed::new(
            field,
            format!("must have at most {most} characters and no NUL"),
        ));
    }
    Ok(given.to_owned())
}

/// Reads how bad an incident has been; empty is either.
pub(crate) fn severity(text: &str) -> Result<Option<Severity>, Malformed> {
    match text {
        "" => Ok(None),
        "alert" => Ok(Some(Severity::Alert)),
        "page" => Ok(Some(Severity::Page)),
        other => {
            let reason = format!("{other:?} is neither alert nor page");
            Err(Malformed::new("severity", reason))
        }
    }
}

/// Reads which incidents are asked for.
pub(crate) fn query(wire: &v1::ListIncidentsRequest) -> Result<IncidentQuery, Malformed> {
    let (site, machine) = site_and_machine(&wire.site, &wire.machine)?;
    Ok(IncidentQuery {
        site,
        machine,
        open_only: wire.open_only,
        severity: severity(&wire.severity)?,
        unacknowledged_only: wire.unacknowledged_only,
        before: (wire.before_incident_id != 0).then_some(IncidentId(wire.before_incident_id)),
        limit: limit(wire.limit)?,
        ..IncidentQuery::default()
    })
}

/// Writes an incident.
pub(crate) fn incident(listing: IncidentListing) -> v1::Incident {
    let incident = listing.incident;
    v1::Incident {
        incident_id: incident.id.0,
        site: listing.site_name.into(),
        machine: listing.machine_name.into(),
        severity: incident.severity.as_str().to_owned(),
        state: incident.state.as_str().to_owned(),
        opened_at: Some(time::to_wire(incident.opened_at)),
        paged_at: incident.paged_at.map(time::to_wire),
        closed_at: incident.closed_at().map(time::to_wire),
        acknowledged_by: incident.acknowledged_by().unwrap_or_default().to_owned(),
        acknowledged_at: incident.acknowledged_at.map(time::to_wire),
        deciding_sensor: listing.deciding_sensor_name.into(),
        deciding_detector: incident.deciding_detector.as_str().to_owned(),
        peak_level: incident.peak_level.0,
        latest_level: incident.latest_level.0,
        threshold_set_id: incident.threshold_set.map_or(0, |set| set.0),
        bundle_id: incident.bundle.map_or(0, |bundle| bundle.0),
        replay: incident.replay,
        class: listing.class_name.into(),
        machine_id: incident.machine.0,
        previous_incident_id: incident.previous.map_or(0, |previous| previous.0),
    }
}

/// Writes an entry of the journal.
pub(crate) fn event(event: Event) -> v1::JournalEvent {
    v1::JournalEvent {
        seq: event.seq,
        at: Some(time::to_wire(event.at)),
        kind: event.kind.as_str().to_owned(),
        payload_json: event.payload_json,
    }
}

/// Writes a flagged reading; `judgement` is the one its own threshold set gives.
pub(crate) fn evidence(evidence: Evidence, judgement: &Judgement) -> v1::Evidence {
    let detector = match evidence.reading.verdict {
        Verdict::Normal { by } | Verdict::Alert { by } | Verdict::Page { by } => by.as_str().to_owned(),
        Verdict::Unjudged { reason } => reason.to_string(),
    };
    v1::Evidence {
        sensor: evidence.sensor_name.into(),
        captured_at: Some(time::to_wire(evidence.reading.key.captured_at)),
        verdict: evidence.reading.verdict.as_str().to_owned(),
        detector,
        level: judgement.level.map_or(0.0, |level| level.0),
        bin_error: evidence.bin_error.as_deref().map(half_floats).unwrap_or_default(),
        baseline_id: evidence.reading.baseline.map_or(0, |baseline| baseline.0),
    }
}

/// Reads little-endian half floats.
fn half_floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(2)
        .map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32())
        .collect()
}

/// What the state of a page is called that no destination was told of, and none will be.
const UNSENT: &str = "unsent";

/// Writes a page with its attempts; `is_owed` when destinations that were never told of it will be.
pub(crate) fn page(delivery: PageDelivery, is_owed: bool) -> v1::Page {
    let state = match delivery.destination {
        None if !is_owed => UNSENT,
        _ => delivery.state.as_str(),
    };
    let attempts = delivery.attempts.into_iter().map(|attempt| v1::DeliveryAttempt {
        at: Some(time::to_wire(attempt.at)),
        outcome: attempt.outcome.as_str().to_owned(),
        answer: attempt.answer,
    });
    v1::Page {
        page_key: delivery.page.page_key,
        created_at: Some(time::to_wire(delivery.page.created_at)),
        action: delivery.page.action.as_str().to_owned(),
        attempts: attempts.collect(),
        state: state.to_owned(),
        destination: delivery.destination.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_makes_no_sense_names_its_field() {
        let asked = |site: &str, machine: &str, limit| {
            let (site, machine) = (site.to_owned(), machine.to_owned());
            query(&v1::ListIncidentsRequest {
                site,
                machine,
                limit,
                ..Default::default()
            })
        };
        assert_eq!(asked("", "m1", 0).unwrap_err().field, "site");
        assert_eq!(asked("s", "M 1", 0).unwrap_err().field, "machine");
        assert_eq!(asked("", "", 1_001).unwrap_err().field, "limit");
        let worse = v1::ListIncidentsRequest {
            severity: "danger".to_owned(),
            ..Default::default()
        };
        assert_eq!(query(&worse).unwrap_err().field, "severity");
        assert_eq!(asked("s", "m1", 0).unwrap().limit, 100);
        assert_eq!(asked("", "", 7).unwrap().before, None);
    }

    #[test]
    fn half_floats_are_read_back() {
        let bytes: Vec<u8> = [0.5f32, 2.0]
            .iter()
            .flat_map(|v| f16::from_f32(*v).to_le_bytes())
            .collect();
        assert_eq!(half_floats(&bytes), [0.5, 2.0]);
    }
}
