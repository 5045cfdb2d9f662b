//! A what-if between wire and domain.

use std::collections::BTreeMap;

use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::recalibrator::v1::what_if_request::Limits as WireLimits;
use tocsin_contracts::{Malformed, time};
use tocsin_domain::{Slug, ThresholdSetId, Timestamp};
use tocsin_judge::Expected;
use tocsin_judge::compare::IncidentChange;
use tocsin_judge::expected::{EventRates, Rate, pages};
use tocsin_judge::replay::ReplayedIncident;
use tocsin_store::fleet::Machine;

use super::{fleet_replay, period};
use crate::fleet_limits::FleetLimits;
use crate::rescore::{Baselines, Coverage, note};
use crate::what_if::{LabelledOutcome, MachineOutcome, SiteOutcome, WhatIf};

/// Which limits are asked about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Limits {
    /// A stored set.
    Stored(ThresholdSetId),
    /// Those that would be proposed.
    FleetReplay(FleetLimits),
    /// The newest set of the bundle that is named.
    NewestOfBundle,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    pub(crate) limits: Limits,
    /// Empty for that of the set, or of the bundle.
    pub(crate) class: String,
    pub(crate) period: (Timestamp, Timestamp),
    pub(crate) persons: u64,
    pub(crate) historical: bool,
    /// Empty for that of the limits, over its logged scores.
    pub(crate) bundle: String,
    pub(crate) baselines: Baselines,
}

impl Asked {
    /// Readings have to be scored anew.
    pub(crate) fn is_rescored(&self) -> bool {
        !self.bundle.is_empty() || self.baselines != Baselines::Judged
    }
}

/// Reads what is asked.
pub(crate) fn asked(wire: v1::WhatIfRequest) -> Result<Asked, Malformed> {
    let limits = match wire.limits {
        None if wire.bundle.is_empty() => {
            let reason =
                "is missing: threshold_set_id or fleet_replay, or else a bundle, whose newest set is meant then";
            return Err(Malformed::new("limits", reason));
        }
        None => Limits::NewestOfBundle,
        Some(WireLimits::ThresholdSetId(id)) => Limits::Stored(ThresholdSetId(id)),
        Some(WireLimits::FleetReplay(_)) if wire.class.is_empty() => {
            return Err(Malformed::new("class", "is missing: fleet_replay names no class"));
        }
        Some(WireLimits::FleetReplay(_)) if !wire.bundle.is_empty() => {
            let reason = "can't be named beside fleet_replay, whose limits are for the champion's logged scores";
            return Err(Malformed::new("bundle", reason));
        }
        Some(WireLimits::FleetReplay(factors)) => Limits::FleetReplay(fleet_replay(factors)?),
    };
    let asked = wire.period.ok_or_else(|| Malformed::new("period", "is missing"))?;
    Ok(Asked {
        limits,
        class: wire.class,
        period: period("period", &asked)?,
        persons: u64::from(wire.persons.max(1)),
        historical: wire.include_historical,
        bundle: wire.bundle,
        baselines: Baselines::parse(&wire.baselines)?,
    })
}

/// Writes the answer.
pub(crate) fn response(what_if: WhatIf, labelled: Vec<LabelledOutcome>) -> v1::WhatIfResponse {
    let sites = what_if.sites().into_iter().map(site_events).collect();
    let coverage = what_if.coverage().map(coverage);
    let (active, not_compared_reason) = match what_if.active {
        Ok(active) => (Some(active), String::new()),
        Err(reason) => (None, reason),
    };
    let judged = what_if.machines.iter().filter(|outcome| outcome.is_judged());
    let changes = what_if.machines.iter().flat_map(|outcome| {
        let changes = outcome.comparison.changes.iter();
        changes.map(|change| incident_change(&outcome.machine, change))
    });
    v1::WhatIfResponse {
        class: what_if.class.name.to_string(),
        bundle_id: what_if.bundle.0,
        threshold_set_id: what_if.set.map_or(0, |id| id.0),
        expected: Some(expected(&what_if.expected)),
        machines: judged.map(machine_events).collect(),
        active_threshold_set_id: active.map_or(0, |(id, ..)| id.0),
        active_bundle_id: active.map_or(0, |(_, bundle, _)| bundle.0),
        active_expected: active.map(|(.., events)| expected(&events)),
        not_compared_reason,
        unchanged_incidents: what_if.machines.iter().map(|o| o.comparison.unchanged).sum(),
        changes: changes.collect(),
        coverage,
        sites,
        labelled: labelled.into_iter().map(labelled_outcome).collect(),
        baselines: what_if.baselines.as_str().to_owned(),
    }
}

fn coverage(sites: BTreeMap<Slug, Coverage>) -> v1::WhatIfCoverage {
    let all = Coverage::of_all(&sites);
    v1::WhatIfCoverage {
        readings: all.readings,
        scored: all.scored,
        note: note(&sites),
        sites: sites
            .into_iter()
            .map(|(site, coverage)| v1::SiteCoverage {
                site: site.to_string(),
                readings: coverage.readings,
                scored: coverage.scored,
            })
            .collect(),
    }
}

fn site_events(outcome: SiteOutcome) -> v1::SiteEvents {
    v1::SiteEvents {
        site: outcome.site.to_string(),
        expected: Some(expected(&outcome.expected)),
        active_expected: outcome.active.as_ref().map(expected),
        pages_added: outcome.pages.added,
        pages_removed: outcome.pages.removed,
        pages_earlier: outcome.pages.earlier,
        pages_later: outcome.pages.later,
    }
}

fn labelled_outcome(outcome: LabelledOutcome) -> v1::LabelledOutcome {
    let change = outcome.change.as_ref();
    v1::LabelledOutcome {
        site: outcome.site.to_string(),
        machine: outcome.machine.to_string(),
        label: outcome.window.label.as_str().to_owned(),
        mode: outcome.window.mode,
        incident_id: outcome.window.incident.map_or(0, |id| id.0),
        from: Some(time::to_wire(outcome.window.from)),
        to: outcome.window.to.map(time::to_wire),
        change: change.map_or_else(String::new, |change| change.change.as_str().to_owned()),
        shift_s: change.map_or(0.0, |change| change.shift_s),
        active: outcome.active.as_ref().map(incident_times),
        proposed: outcome.proposed.as_ref().map(incident_times),
    }
}

fn expected(expected: &Expected) -> v1::ExpectedEvents {
    v1::ExpectedEvents {
        readings: expected.readings,
        machines: expected.machines,
        sites: expected.sites,
        persons: expected.persons,
        machine_hours: expected.machine_hours,
        pages: Some(event_rates(&expected.pages)),
        alerts: Some(event_rates(&expected.alerts)),
    }
}

fn event_rates(rates: &EventRates) -> v1::EventRates {
    let rate = |rate: Option<Rate>| rate.map(|Rate { rate, lower, upper }| v1::EventRate { rate, lower, upper });
    v1::EventRates {
        events: rates.events,
        per_machine_year: rate(rates.per_machine_year),
        per_site_day: rate(rates.per_site_day),
        per_person_week: rate(rates.per_person_week),
    }
}

fn machine_events(outcome: &MachineOutcome) -> v1::MachineEvents {
    let (replay, machine) = (&outcome.replay, &outcome.machine);
    let pages = pages(replay);
    v1::MachineEvents {
        site: machine.site_name.to_string(),
        machine: machine.name.to_string(),
        machine_hours: replay.machine_hours(),
        pages,
        alerts: replay.incidents().len() as u64 - pages,
        first_page_at: replay.incidents().iter().find_map(|i| i.paged_at).map(time::to_wire),
    }
}

fn incident_change(machine: &Machine, change: &IncidentChange) -> v1::IncidentChange {
    v1::IncidentChange {
        site: machine.site_name.to_string(),
        machine: machine.name.to_string(),
        change: change.change.as_str().to_owned(),
        shift_s: change.shift_s,
        active: change.before.as_ref().map(incident_times),
        proposed: change.after.as_ref().map(incident_times),
    }
}

fn incident_times(incident: &ReplayedIncident) -> v1::IncidentTimes {
    v1::IncidentTimes {
        opened_at: Some(time::to_wire(incident.opened_at)),
        paged_at: incident.paged_at.map(time::to_wire),
        closed_at: incident.closed_at.map(time::to_wire),
        detector: incident.detector.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> v1::WhatIfRequest {
        let at = |second: i64| Some(time::to_wire(Timestamp::from_micros(second * 1_000_000)));
        v1::WhatIfRequest {
            limits: Some(WireLimits::ThresholdSetId(3)),
            period: Some(v1::LoggedScores { from: at(0), to: at(9) }),
            ..v1::WhatIfRequest::default()
        }
    }

    #[test]
    fn what_is_asked_is_read_and_one_person_takes_the_pages_when_none_is_named() {
        let read = asked(request()).unwrap();
        assert_eq!(
            (read.limits, read.persons, read.historical, read.is_rescored()),
            (Limits::Stored(ThresholdSetId(3)), 1, false, false)
        );
    }

    #[test]
    fn a_bundle_or_other_baselines_ask_for_scores_anew_and_a_bundle_may_stand_for_its_newest_set() {
        let with = |bundle: &str, baselines: &str| {
            let mut request = request();
            (request.bundle, request.baselines) = (bundle.to_owned(), baselines.to_owned());
            request
        };
        let is_rescored = |bundle, baselines| asked(with(bundle, baselines)).unwrap().is_rescored();
        assert!(is_rescored("challenger", "") && is_rescored("", "active") && is_rescored("7", "commissioned"));
        assert!(!is_rescored("", "judged"));
        assert_eq!(asked(with("", "newest")).unwrap_err().field, "baselines");
        let mut newest = with("challenger", "");
        newest.limits = None;
        assert_eq!(asked(newest).unwrap().limits, Limits::NewestOfBundle);
        let mut champions = with("7", "");
        champions.limits = Some(WireLimits::FleetReplay(v1::FleetReplay::default()));
        champions.class = "pump".to_owned();
        assert_eq!(asked(champions).unwrap_err().field, "bundle");
    }

    #[test]
    fn limits_class_and_period_that_are_missing_are_named() {
        let without = |change: fn(&mut v1::WhatIfRequest)| {
            let mut request = request();
            change(&mut request);
            asked(request).unwrap_err().field
        };
        assert_eq!(without(|request| request.limits = None), "limits");
        assert_eq!(without(|request| request.period = None), "period");
        let factors = v1::FleetReplay::default();
        let mut unnamed = request();
        unnamed.limits = Some(WireLimits::FleetReplay(factors));
        assert_eq!(asked(unnamed).unwrap_err().field, "class");
        let mut backwards = request();
        let period = backwards.period.as_mut().unwrap();
        std::mem::swap(&mut period.from, &mut period.to);
        assert_eq!(asked(backwards).unwrap_err().field, "period.to");
    }
}
