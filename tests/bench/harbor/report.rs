//! What is printed of a judged fleet.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tocsin_detect::poisson::event_rate;

use super::fleet::Judged;
use super::watched::{Fate, Outcome};
use crate::report::Report;

/// Confidence of the bounds.
const CONFIDENCE: f64 = 0.95;
const HOURS_PER_DAY: f64 = 24.0;
const HOURS_PER_YEAR: f64 = 8_766.0;

/// Figures of every kind of limits, for a fleet of `machines`; with a single kind, each failing machine's as well.
pub(super) fn of(lanes: &[Judged], machines: usize, elapsed: Duration) -> Result<Report> {
    let first = lanes.first().context("--machines: no machine was judged")?;
    let mut report = Report::default();
    let readings: u64 = first.machines.iter().map(|machine| machine.readings).sum();
    report.note("machines", first.machines.len());
    report.note("readings", readings);
    report.figure("readings_per_second", readings as f64 / elapsed.as_secs_f64());
    if let [only] = lanes {
        single(&mut report, only, machines)?;
        return Ok(report);
    }
    for lane in lanes {
        let mut figures = json!({
            "false_pages": false_events(&lane.machines, machines, |machine| machine.false_pages)?,
            "false_alerts": false_events(&lane.machines, machines, |machine| machine.false_alerts)?,
        });
        if let Some(caught) = caught(&lane.machines) {
            figures["failures"] = caught;
        }
        report.note(lane.name, figures);
    }
    Ok(report)
}

fn single(report: &mut Report, lane: &Judged, machines: usize) -> Result<()> {
    let pages = false_events(&lane.machines, machines, |machine| machine.false_pages)?;
    let alerts = false_events(&lane.machines, machines, |machine| machine.false_alerts)?;
    report.note("false_pages", pages);
    report.note("false_alerts", alerts);
    let Some(caught) = caught(&lane.machines) else {
        return Ok(());
    };
    for name in ["failures", "caught_by_page", "caught_by_alert"] {
        report.note(name, caught[name].clone());
    }
    for (machine, fate) in failing(&lane.machines) {
        report.note(
            format!("{} {}", machine.name, fate.kind),
            json!({
                "change_db": fate.change_db, "alert_at_share": fate.alerted_at, "page_at_share": fate.paged_at,
            }),
        );
    }
    Ok(())
}

/// Events on healthy machines as rates, with exact Poisson bounds.
fn false_events(outcomes: &[Outcome], machines: usize, of: fn(&Outcome) -> usize) -> Result<Value> {
    ensure!(!outcomes.is_empty(), "--machines: no machine was judged");
    let hours: f64 = outcomes.iter().map(|machine| machine.healthy_hours).sum();
    let events: usize = outcomes.iter().map(of).sum();
    let rate = event_rate(events as u64, hours, CONFIDENCE).context("no healthy hour was judged")?;
    let fleet_day = HOURS_PER_DAY * machines as f64;
    Ok(json!({
        "events": events,
        "machine_hours": hours,
        "per_fleet_day": rate.rate * fleet_day,
        "per_fleet_day_upper_95": rate.upper * fleet_day,
        "per_machine_year": rate.rate * HOURS_PER_YEAR,
    }))
}

/// How many failures were noticed, and which were paged by none; nothing where no machine fails.
fn caught(outcomes: &[Outcome]) -> Option<Value> {
    let count = |holds: fn(&Fate) -> bool| failing(outcomes).filter(|(_, fate)| holds(fate)).count();
    let missed = failing(outcomes).filter(|(_, fate)| fate.paged_at.is_none());
    let missed = missed.map(|(machine, fate)| format!("{} {} {:.1} dB", machine.name, fate.kind, fate.change_db));
    let failures = count(|_| true);
    (failures > 0).then(|| {
        json!({
            "failures": failures,
            "caught_by_page": count(|fate| fate.paged_at.is_some()),
            "caught_by_alert": count(|fate| fate.alerted_at.is_some()),
            "page_open_at_failure": count(|fate| fate.open_at_end),
            "missed": missed.collect::<Vec<_>>(),
        })
    })
}

fn failing(outcomes: &[Outcome]) -> impl Iterator<Item = (&Outcome, &Fate)> {
    outcomes
        .iter()
        .filter_map(|machine| Some((machine, machine.fate.as_ref()?)))
}
