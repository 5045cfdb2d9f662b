//! Between wire and domain.

pub(crate) mod explain;
pub(crate) mod what_if;

use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::fleet_replay::Budget as WireBudget;
use tocsin_contracts::recalibrator::v1::propose_request::{Method as WireMethod, Source as WireSource};
use tocsin_contracts::{Malformed, time};
use tocsin_domain::lifecycle::ThresholdState;
use tocsin_domain::{Scope, Timestamp};
use tocsin_judge::{FleetReplay, PageBudget};
use tocsin_store::threshold::{Agreement, Standing, ThresholdSetRecord};

use crate::fleet_limits::FleetLimits;
use crate::provenance::Lines;
use crate::{Provenance, Source};

/// Reads where healthy scores are to come from.
pub(crate) fn source(wire: Option<WireSource>) -> Result<Source, Malformed> {
    match wire {
        None => Err(Malformed::new("source", "is missing: held_out or logged")),
        Some(WireSource::HeldOut(_)) => Ok(Source::HeldOut),
        Some(WireSource::Logged(logged)) => {
            let (from, to) = period("logged", &logged)?;
            Ok(Source::Logged { from, to })
        }
    }
}

/// Reads a period, which must have a length.
fn period(field: &str, wire: &v1::LoggedScores) -> Result<(Timestamp, Timestamp), Malformed> {
    let from = time::required(&format!("{field}.from"), wire.from)?;
    let to = time::required(&format!("{field}.to"), wire.to)?;
    if from >= to {
        return Err(Malformed::new(
            format!("{field}.to"),
            format!("{to} is not after from {from}"),
        ));
    }
    Ok((from, to))
}

/// How lines are to be found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Method {
    /// At percentiles of the source's healthy scores.
    Percentiles(Lines),
    /// Against baselines, at multiples of what machines reached in a period.
    FleetReplay(FleetLimits),
    /// At percentiles, moved where labelled failures choose.
    Labels,
}

/// Reads how lines are to be found; factors left out are the method's own.
pub(crate) fn method(wire: Option<WireMethod>) -> Result<Method, Malformed> {
    Ok(match wire {
        None | Some(WireMethod::Percentiles(_)) => Method::Percentiles(Lines::ReadOff),
        Some(WireMethod::Tail(_)) => Method::Percentiles(Lines::Fitted),
        Some(WireMethod::Labels(_)) => Method::Labels,
        Some(WireMethod::FleetReplay(factors)) => Method::FleetReplay(fleet_replay(factors)?),
    })
}

fn fleet_replay(factors: v1::FleetReplay) -> Result<FleetLimits, Malformed> {
    let own = FleetReplay::default();
    let given = |factor: f64, own: f64| if factor == 0.0 { own } else { factor };
    let method = FleetReplay {
        alert_factor: given(factors.alert_factor, own.alert_factor),
        page_factor: given(factors.page_factor, own.page_factor),
        two_sided_factor: given(factors.two_sided_factor, own.two_sided_factor),
        ..own
    };
    let budget = match factors.budget {
        None => None,
        Some(_) if factors.page_factor != 0.0 => {
            let reason = "stands instead of a budget: give one of the two";
            return Err(Malformed::new("fleet_replay.page_factor", reason));
        }
        Some(WireBudget::PagesPerSiteDay(pages)) => Some(PageBudget::PagesPerSiteDay(pages).parse()?),
        Some(WireBudget::PagesPerPersonWeek(pages)) => Some(PageBudget::PagesPerPersonWeek(pages).parse()?),
    };
    let method = match budget {
        // The page factor comes later: any that may be chosen will do until then.
        Some(_) => method.candidates()?.first().copied().unwrap_or(method),
        None => method,
    };
    Ok(FleetLimits {
        method: method.parse()?,
        budget,
        persons: u64::from(factors.persons.max(1)),
    })
}

/// What policy did with a set, in words; empty of one that was not proposed on schedule.
fn policy(provenance_json: &str, state: ThresholdState) -> String {
    let provenance = serde_json::from_str::<Provenance>(provenance_json).ok();
    if let Some(rejection) = provenance.as_ref().and_then(|provenance| provenance.rejection.as_ref()) {
        return format!("rejected: {}", rejection.reason);
    }
    match provenance.and_then(|provenance| provenance.policy) {
        None => String::new(),
        Some(decision) if !decision.activated => format!("waits for a person: {}", decision.waits_for.join("; ")),
        Some(_) => match state {
            ThresholdState::Active | ThresholdState::Retired => "activated by policy".to_owned(),
            // Other limits came into force before it could.
            ThresholdState::Proposed | ThresholdState::Tested | ThresholdState::Approved | ThresholdState::Rejected => {
                "approved by policy, never in force".to_owned()
            }
        },
    }
}

/// Writes a set with who stands for it, and whom it waits for at the sites of `scope`.
pub(crate) fn threshold_set(record: ThresholdSetRecord, standing: Standing, scope: &Scope) -> v1::ThresholdSet {
    // What judges or has judged waits for nobody, nor does what was rejected; should a retired set be activated anew, that
    // says whom it lacks.
    let on_its_way = !matches!(
        record.state,
        ThresholdState::Active | ThresholdState::Retired | ThresholdState::Rejected
    );
    let waiting = standing
        .waiting()
        .filter(|(site, _)| on_its_way && scope.contains(*site));
    let approval_needed_at = waiting.map(|(_, name)| name.to_string()).collect();
    let waits_for = standing.waits_for(scope).filter(|_| on_its_way);
    let asked = standing.asked;
    v1::ThresholdSet {
        threshold_set_id: record.id.0,
        class: record.class_name.to_string(),
        bundle_id: record.bundle.0,
        state: record.state.as_str().to_owned(),
        created_at: Some(time::to_wire(record.created_at)),
        created_by: record.created_by,
        reason: record.reason,
        definition_json: record.definition_json,
        policy: policy(&record.provenance_json, record.state),
        provenance_json: record.provenance_json,
        asked_at: asked.as_ref().map(|asked| time::to_wire(asked.at)),
        asked_by: asked.map(|asked| asked.by).unwrap_or_default(),
        approvals: standing.approvals.into_iter().map(approval).collect(),
        approval_needed_at,
        approval_needed: waits_for.unwrap_or_default(),
    }
}

fn approval(agreement: Agreement) -> v1::ThresholdSetApproval {
    v1::ThresholdSetApproval {
        by: agreement.by,
        at: Some(time::to_wire(agreement.at)),
        reason: agreement.reason,
    }
}

#[cfg(test)]
mod tests {
    use tocsin_domain::{BundleDigest, BundleId, ThresholdSetId};

    use super::*;
    use crate::provenance::Proposal;
    use crate::{MethodKind, PolicyDecision, SensorMoves};

    #[test]
    fn what_policy_approved_and_a_person_forestalled_is_not_said_to_have_been_activated() {
        let proposal = Proposal {
            source: Source::HeldOut,
            bundle_id: BundleId(1),
            bundle_digest: BundleDigest([1; 32]),
            by: "service".to_owned(),
            at: Timestamp::from_micros(0),
            reason: String::new(),
        };
        let mut provenance = Provenance::new(proposal, MethodKind::Percentile, "percentiles".to_owned());
        assert_eq!(policy(&provenance.to_json(), ThresholdState::Active), "", "a person's");
        provenance.policy = Some(PolicyDecision {
            at: Timestamp::from_micros(0),
            activated: true,
            waits_for: Vec::new(),
            most_db: 3.0,
            counted_from: Some(ThresholdSetId(1)),
            in_force: ThresholdSetId(1),
            members: Vec::new(),
            sensors: SensorMoves::default(),
            replayed: None,
        });
        let said = |state| policy(&provenance.to_json(), state);
        assert_eq!(said(ThresholdState::Active), "activated by policy");
        assert_eq!(said(ThresholdState::Retired), "activated by policy");
        assert_eq!(said(ThresholdState::Approved), "approved by policy, never in force");
    }

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

    #[test]
    fn factors_left_out_are_the_methods_own_and_wrong_ones_are_refused() {
        assert_eq!(method(None), Ok(Method::Percentiles(Lines::ReadOff)));
        let tail = WireMethod::Tail(v1::Tail {});
        assert_eq!(method(Some(tail)), Ok(Method::Percentiles(Lines::Fitted)));
        let read = |alert_factor, page_factor, budget| {
            let read = method(Some(WireMethod::FleetReplay(v1::FleetReplay {
                alert_factor,
                page_factor,
                budget,
                ..v1::FleetReplay::default()
            })));
            read.map(|method| match method {
                Method::FleetReplay(limits) => limits,
                Method::Percentiles(_) | Method::Labels => panic!("another method"),
            })
        };
        let own = read(0.0, 0.0, None).unwrap();
        assert_eq!((own.method, own.budget, own.persons), (FleetReplay::default(), None, 1));
        let wider = read(0.0, 4.0, None).unwrap().method;
        assert_eq!((wider.alert_factor, wider.page_factor), (1.75, 4.0));
        assert_eq!(read(3.0, 0.0, None).unwrap_err().field, "fleet_replay.page_factor");
        let budget = Some(WireBudget::PagesPerSiteDay(0.5));
        assert_eq!(
            read(3.0, 0.0, budget).unwrap().budget,
            Some(PageBudget::PagesPerSiteDay(0.5))
        );
        assert_eq!(read(0.0, 2.5, budget).unwrap_err().field, "fleet_replay.page_factor");
        let endless = Some(WireBudget::PagesPerPersonWeek(f64::INFINITY));
        assert_eq!(
            read(0.0, 0.0, endless).unwrap_err().field,
            "fleet_replay.pages_per_person_week"
        );
    }
}
