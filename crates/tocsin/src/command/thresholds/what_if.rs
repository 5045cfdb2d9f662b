//! `tocsin thresholds whatif`: what limits would have opened.

use anyhow::{Context, Result};
use clap::{ArgGroup, Args, ValueEnum};
use serde_json::{Value, json};
use tocsin_contracts::recalibrator::v1::run_with_progress_request::Work;
use tocsin_contracts::recalibrator::v1::what_if_request::Limits;
use tocsin_contracts::recalibrator::v1::{
    EventRate, EventRates, ExpectedEvents, FleetReplay, IncidentChange, IncidentTimes, LabelledOutcome, MachineEvents,
    SiteEvents, WhatIfCoverage, WhatIfRequest, WhatIfResponse,
};

use super::{Client, at_length, period};
use crate::command::{given, when};
use crate::output::{Output, Section};

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("limits").args(["threshold_set", "page_factor"]),
    group = ArgGroup::new("asked").required(true).multiple(true).args(["threshold_set", "page_factor", "bundle"]),
)]
pub(super) struct WhatIf {
    /// A set's number; the newest of --bundle without one
    #[arg(value_name = "SET")]
    threshold_set: Option<i32>,
    /// Instead of a set, the limits fleet-replay would propose for the period: the page line over what the median machine
    /// reached
    #[arg(long, value_name = "FACTOR", requires = "class")]
    page_factor: Option<f64>,
    /// The alert line over the same [default: 1.75]
    #[arg(long, value_name = "FACTOR", requires = "page_factor")]
    alert_factor: Option<f64>,
    /// The class [default: that of the set or bundle]
    #[arg(long, default_value = "", hide_default_value = true)]
    class: String,
    /// What if this bundle had judged: its number or digest, or `challenger`. Readings whose spectrum is kept are scored by it
    /// and by the champion; the coverage is printed first
    #[arg(long, default_value = "", hide_default_value = true, conflicts_with = "page_factor")]
    bundle: String,
    /// What readings are held against: the baselines they were judged against, those in force now, or those of their sensors'
    /// commissioning. Needs kept spectra where these differ
    #[arg(long, value_enum, default_value_t)]
    baselines: Baselines,
    /// Replay what was logged since this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    from: String,
    /// Until this time
    #[arg(long, value_name = "TIME")]
    to: String,
    /// How many persons share the pages
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    persons: u32,
    /// Replay history as well, as if it had come live
    #[arg(long)]
    historical: bool,
}

/// Which baselines readings are held against.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Baselines {
    #[default]
    Judged,
    Active,
    Commissioned,
}

impl WhatIf {
    pub(super) async fn run(self, mut client: Client, output: Output) -> Result<()> {
        let work = Work::WhatIf(self.request()?);
        let answer = at_length::what_if(&mut client, "trying the limits", work).await?;
        print(&answer, output)
    }

    fn request(self) -> Result<WhatIfRequest> {
        let limits = match (self.threshold_set, self.page_factor) {
            (Some(set), _) => Some(Limits::ThresholdSetId(set)),
            (None, Some(page_factor)) => Some(Limits::FleetReplay(FleetReplay {
                alert_factor: self.alert_factor.unwrap_or_default(),
                page_factor,
                ..FleetReplay::default()
            })),
            (None, None) => None,
        };
        let baselines = self.baselines.to_possible_value();
        Ok(WhatIfRequest {
            limits,
            class: self.class,
            period: Some(period(&self.from, &self.to)?),
            persons: self.persons,
            include_historical: self.historical,
            bundle: self.bundle,
            baselines: baselines.map_or_else(String::new, |value| value.get_name().to_owned()),
        })
    }
}

fn print(answer: &WhatIfResponse, output: Output) -> Result<()> {
    let proposed = answer.expected.as_ref().context("the answer tells of no events")?;
    let in_force = answer.active_expected.as_ref();
    let machines: Vec<Value> = answer.machines.iter().map(machine).collect::<Result<_>>()?;
    let changes: Vec<Value> = answer.changes.iter().map(change).collect::<Result<_>>()?;
    let labelled: Vec<Value> = answer.labelled.iter().map(labelled).collect::<Result<_>>()?;
    let sites: Vec<Value> = answer
        .sites
        .iter()
        .map(|events| site(events, answer.coverage.as_ref()))
        .collect();
    if let Some(coverage) = &answer.coverage {
        output.words(&coverage.note)?;
    }
    let head = json!({
        "class": answer.class,
        "bundle_id": answer.bundle_id,
        "baselines": answer.baselines,
        "threshold_set_id": given(answer.threshold_set_id),
        "active_threshold_set_id": given(answer.active_threshold_set_id),
        "active_bundle_id": given(answer.active_bundle_id),
        "not_compared_reason": given(answer.not_compared_reason.clone()),
        "unchanged_incidents": in_force.map(|_| answer.unchanged_incidents),
    });
    let mut whole = head.clone();
    whole["coverage"] = answer.coverage.as_ref().map_or(Value::Null, coverage);
    whole["expected"] = expected(proposed);
    whole["active_expected"] = in_force.map_or(Value::Null, expected);
    whole["sites"] = sites.clone().into();
    whole["machines"] = machines.clone().into();
    whole["changes"] = changes.clone().into();
    whole["labelled"] = labelled.clone().into();
    let mut events = event_rows("these limits", proposed);
    events.extend(in_force.into_iter().flat_map(|events| event_rows("in force", events)));
    output.report(
        "what_if",
        &whole,
        &head,
        &sections([events, sites, machines, changes, labelled]),
    )
}

fn sections([events, sites, machines, changes, labelled]: [Vec<Value>; 5]) -> [Section<'static>; 5] {
    let section = |title: &str, items, columns| Section {
        title: title.to_owned(),
        items,
        columns,
    };
    [
        section(
            "events, with 95 % bounds",
            events,
            &[
                "limits",
                "kind",
                "events",
                "machine_hours",
                "per_machine_year",
                "per_site_day",
                "per_person_week",
            ],
        ),
        section(
            "sites",
            sites,
            &[
                "site",
                "pages",
                "added",
                "removed",
                "earlier",
                "later",
                "per_person_week",
                "scored",
            ],
        ),
        section(
            "machines",
            machines,
            &["site", "machine", "machine_hours", "pages", "alerts", "first_page_at"],
        ),
        section(
            "changes",
            changes,
            &["site", "machine", "change", "shift_s", "active_at", "proposed_at"],
        ),
        section(
            "labelled",
            labelled,
            &[
                "site",
                "machine",
                "label",
                "from",
                "change",
                "shift_s",
                "active_at",
                "proposed_at",
            ],
        ),
    ]
}

fn coverage(coverage: &WhatIfCoverage) -> Value {
    let sites = coverage
        .sites
        .iter()
        .map(|site| json!({ "site": site.site, "readings": site.readings, "scored": site.scored }));
    json!({
        "note": coverage.note,
        "readings": coverage.readings,
        "scored": coverage.scored,
        "sites": sites.collect::<Vec<_>>(),
    })
}

/// A site's row, with its coverage where readings were scored anew.
fn site(events: &SiteEvents, coverage: Option<&WhatIfCoverage>) -> Value {
    let pages = events.expected.as_ref().and_then(|expected| expected.pages.as_ref());
    let of_site = |coverage: &WhatIfCoverage| coverage.sites.iter().find(|site| site.site == events.site).cloned();
    let covered = coverage.and_then(of_site);
    json!({
        "site": events.site,
        "pages": pages.map(|pages| pages.events),
        "added": events.pages_added,
        "removed": events.pages_removed,
        "earlier": events.pages_earlier,
        "later": events.pages_later,
        "per_person_week": pages.and_then(|pages| readable(pages.per_person_week.as_ref())),
        "scored": covered.map(|site| format!("{} of {}", site.scored, site.readings)),
        "expected": events.expected.as_ref().map(expected),
        "active_expected": events.active_expected.as_ref().map(expected),
    })
}

fn expected(events: &ExpectedEvents) -> Value {
    json!({
        "readings": events.readings,
        "machines": events.machines,
        "sites": events.sites,
        "persons": events.persons,
        "machine_hours": events.machine_hours,
        "pages": events.pages.as_ref().map(rates),
        "alerts": events.alerts.as_ref().map(rates),
    })
}

fn rates(rates: &EventRates) -> Value {
    let rate = |rate: &EventRate| json!({ "rate": rate.rate, "lower": rate.lower, "upper": rate.upper });
    json!({
        "events": rates.events,
        "per_machine_year": rates.per_machine_year.as_ref().map(rate),
        "per_site_day": rates.per_site_day.as_ref().map(rate),
        "per_person_week": rates.per_person_week.as_ref().map(rate),
    })
}

/// A rate with its bounds, for people.
fn readable(rate: Option<&EventRate>) -> Option<String> {
    rate.map(|r| format!("{:.3} ({:.3} to {:.3})", r.rate, r.lower, r.upper))
}

/// A row per kind of event.
fn event_rows(limits: &str, events: &ExpectedEvents) -> Vec<Value> {
    let row = |(kind, rates): (&str, &EventRates)| {
        json!({
            "limits": limits,
            "kind": kind,
            "events": rates.events,
            "machine_hours": format!("{:.1}", events.machine_hours),
            "per_machine_year": readable(rates.per_machine_year.as_ref()),
            "per_site_day": readable(rates.per_site_day.as_ref()),
            "per_person_week": readable(rates.per_person_week.as_ref()),
        })
    };
    let kinds = [("pages", &events.pages), ("alerts", &events.alerts)];
    kinds
        .into_iter()
        .filter_map(|(kind, rates)| Some(row((kind, rates.as_ref()?))))
        .collect()
}

fn machine(events: &MachineEvents) -> Result<Value> {
    Ok(json!({
        "site": events.site,
        "machine": events.machine,
        "machine_hours": events.machine_hours,
        "pages": events.pages,
        "alerts": events.alerts,
        "first_page_at": when(events.first_page_at)?,
    }))
}

fn change(change: &IncidentChange) -> Result<Value> {
    let (active, proposed) = (times(change.active.as_ref())?, times(change.proposed.as_ref())?);
    Ok(json!({
        "site": change.site,
        "machine": change.machine,
        "change": change.change,
        "shift_s": change.shift_s,
        "active_at": first(&active),
        "proposed_at": first(&proposed),
        "active": active,
        "proposed": proposed,
    }))
}

fn labelled(outcome: &LabelledOutcome) -> Result<Value> {
    let (active, proposed) = (times(outcome.active.as_ref())?, times(outcome.proposed.as_ref())?);
    Ok(json!({
        "site": outcome.site,
        "machine": outcome.machine,
        "label": outcome.label,
        "mode": given(outcome.mode.clone()),
        "incident_id": given(outcome.incident_id),
        "from": when(outcome.from)?,
        "to": when(outcome.to)?,
        "change": given(outcome.change.clone()),
        "shift_s": outcome.shift_s,
        "active_at": first(&active),
        "proposed_at": first(&proposed),
        "active": active,
        "proposed": proposed,
    }))
}

/// What a person asks first: when would it have paged, or when did it open.
fn first(times: &Value) -> Value {
    match &times["paged_at"] {
        Value::Null => times["opened_at"].clone(),
        at => at.clone(),
    }
}

fn times(times: Option<&IncidentTimes>) -> Result<Value> {
    let Some(times) = times else { return Ok(Value::Null) };
    Ok(json!({
        "opened_at": when(times.opened_at)?,
        "paged_at": when(times.paged_at)?,
        "closed_at": when(times.closed_at)?,
        "detector": times.detector,
    }))
}
