//! `tocsin thresholds whatif`: what limits would have opened.

use anyhow::{Context, Result};
use clap::{ArgGroup, Args};
use serde_json::{Value, json};
use tocsin_contracts::recalibrator::v1::run_with_progress_request::Work;
use tocsin_contracts::recalibrator::v1::what_if_request::Limits;
use tocsin_contracts::recalibrator::v1::{
    EventRate, EventRates, ExpectedEvents, FleetReplay, IncidentChange, IncidentTimes, MachineEvents, WhatIfRequest,
    WhatIfResponse,
};

use super::{Client, at_length, period};
use crate::command::{given, when};
use crate::output::{Output, Section};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("limits").required(true).args(["threshold_set", "page_factor"]))]
pub(super) struct WhatIf {
    /// A set's number
    #[arg(value_name = "SET")]
    threshold_set: Option<i32>,
    /// Instead of a set, the limits fleet-replay would propose for the period: the page line over what the median machine
    /// reached
    #[arg(long, value_name = "FACTOR", requires = "class")]
    page_factor: Option<f64>,
    /// The alert line over the same [default: 1.75]
    #[arg(long, value_name = "FACTOR", requires = "page_factor")]
    alert_factor: Option<f64>,
    /// The class [default: that of the set]
    #[arg(long, default_value = "", hide_default_value = true)]
    class: String,
    /// Replay the scores logged since this time (RFC 3339)
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

impl WhatIf {
    pub(super) async fn run(self, mut client: Client, output: Output) -> Result<()> {
        let work = Work::WhatIf(self.request()?);
        let answer = at_length::what_if(&mut client, "trying the limits", work).await?;
        print(&answer, output)
    }

    fn request(self) -> Result<WhatIfRequest> {
        let limits = match self.threshold_set {
            Some(set) => Limits::ThresholdSetId(set),
            None => Limits::FleetReplay(FleetReplay {
                alert_factor: self.alert_factor.unwrap_or_default(),
                page_factor: self.page_factor.unwrap_or_default(),
                ..FleetReplay::default()
            }),
        };
        Ok(WhatIfRequest {
            limits: Some(limits),
            class: self.class,
            period: Some(period(&self.from, &self.to)?),
            persons: self.persons,
            include_historical: self.historical,
        })
    }
}

fn print(answer: &WhatIfResponse, output: Output) -> Result<()> {
    let proposed = answer.expected.as_ref().context("the answer tells of no events")?;
    let in_force = answer.active_expected.as_ref();
    let machines: Vec<Value> = answer.machines.iter().map(machine).collect::<Result<_>>()?;
    let changes: Vec<Value> = answer.changes.iter().map(change).collect::<Result<_>>()?;
    let head = json!({
        "class": answer.class,
        "bundle_id": answer.bundle_id,
        "threshold_set_id": given(answer.threshold_set_id),
        "active_threshold_set_id": given(answer.active_threshold_set_id),
        "not_compared_reason": given(answer.not_compared_reason.clone()),
        "unchanged_incidents": in_force.map(|_| answer.unchanged_incidents),
    });
    let mut whole = head.clone();
    whole["expected"] = expected(proposed);
    whole["active_expected"] = in_force.map_or(Value::Null, expected);
    whole["machines"] = machines.clone().into();
    whole["changes"] = changes.clone().into();
    let mut events = event_rows("these limits", proposed);
    events.extend(in_force.into_iter().flat_map(|events| event_rows("in force", events)));
    let sections = [
        Section {
            title: "events, with 95 % bounds".to_owned(),
            items: events,
            columns: &[
                "limits",
                "kind",
                "events",
                "machine_hours",
                "per_machine_year",
                "per_site_day",
                "per_person_week",
            ],
        },
        Section {
            title: "machines".to_owned(),
            items: machines,
            columns: &["site", "machine", "machine_hours", "pages", "alerts", "first_page_at"],
        },
        Section {
            title: "changes".to_owned(),
            items: changes,
            columns: &["site", "machine", "change", "shift_s", "active_at", "proposed_at"],
        },
    ];
    output.report("what_if", &whole, &head, &sections)
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

/// A row per kind of event.
fn event_rows(limits: &str, events: &ExpectedEvents) -> Vec<Value> {
    let rate = |rate: Option<&EventRate>| rate.map(|r| format!("{:.3} ({:.3} to {:.3})", r.rate, r.lower, r.upper));
    let row = |(kind, rates): (&str, &EventRates)| {
        json!({
            "limits": limits,
            "kind": kind,
            "events": rates.events,
            "machine_hours": format!("{:.1}", events.machine_hours),
            "per_machine_year": rate(rates.per_machine_year.as_ref()),
            "per_site_day": rate(rates.per_site_day.as_ref()),
            "per_person_week": rate(rates.per_person_week.as_ref()),
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
    // What a person asks first: when would it have paged, or when did it open.
    let first = |times: &Value| match &times["paged_at"] {
        Value::Null => times["opened_at"].clone(),
        at => at.clone(),
    };
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

fn times(times: Option<&IncidentTimes>) -> Result<Value> {
    let Some(times) = times else { return Ok(Value::Null) };
    Ok(json!({
        "opened_at": when(times.opened_at)?,
        "paged_at": when(times.paged_at)?,
        "closed_at": when(times.closed_at)?,
        "detector": times.detector,
    }))
}
