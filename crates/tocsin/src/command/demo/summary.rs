//! What was injected against what was paged.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::incidents::v1::{GetIncidentRequest, ListIncidentsRequest};
use tocsin_simulator::{Fault, Schedule};
use tocsin_transport::Channel;

use super::receiver::Page;
use crate::client::explain;

/// How often deliveries are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// The demo's outcome; pages are those the receiver got.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Summary {
    faults_injected: usize,
    faults_paged: usize,
    /// Pages about a machine without a fault, or before its fault began.
    false_pages: usize,
    /// Time from the first page to failure as a share of onset to failure; the median over the faults paged.
    lead_fraction_median: Option<f64>,
    readings: u64,
    machines: usize,
    faults: Vec<FaultOutcome>,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct FaultOutcome {
    kind: &'static str,
    machine: String,
    onset: String,
    failure: String,
    first_page: Option<String>,
    lead_fraction: Option<f64>,
}

impl Summary {
    pub(super) fn of(schedule: &Schedule, pages: &[Page], readings: u64, machines: usize) -> Self {
        // A repeat under the same key is the same page.
        let mut seen = BTreeSet::new();
        let pages: Vec<&Page> = pages
            .iter()
            .filter(|page| page.action == "trigger" && seen.insert(page.page_key.clone()))
            .collect();
        let faults: Vec<FaultOutcome> = schedule.faults.iter().map(|fault| outcome(fault, &pages)).collect();
        let is_true = |page: &&&Page| schedule.faults.iter().any(|fault| concerns(page, fault));
        let mut leads: Vec<f64> = faults.iter().filter_map(|fault| fault.lead_fraction).collect();
        leads.sort_by(f64::total_cmp);
        Self {
            faults_injected: faults.len(),
            faults_paged: faults.iter().filter(|fault| fault.first_page.is_some()).count(),
            false_pages: pages.len() - pages.iter().filter(is_true).count(),
            lead_fraction_median: median(&leads),
            readings,
            machines,
            faults,
        }
    }
}

/// A page about the fault's machine, not before it began.
fn concerns(page: &Page, fault: &Fault) -> bool {
    page.site == fault.site.as_str() && page.machine == fault.machine.as_str() && page.evidence.step >= fault.onset
}

fn outcome(fault: &Fault, pages: &[&Page]) -> FaultOutcome {
    let first = pages
        .iter()
        .filter(|page| concerns(page, fault))
        .map(|page| page.evidence.step)
        .min();
    let life = fault.failure.since(fault.onset).as_secs_f64();
    FaultOutcome {
        kind: fault.kind.name(),
        machine: format!("{}/{}", fault.site, fault.machine),
        onset: fault.onset.to_string(),
        failure: fault.failure.to_string(),
        first_page: first.map(|step| step.to_string()),
        lead_fraction: first.map(|step| fault.failure.since(step).as_secs_f64() / life),
    }
}

fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} readings of {} machines", self.readings, self.machines)?;
        for fault in &self.faults {
            let found = match (&fault.first_page, fault.lead_fraction) {
                (Some(step), Some(lead)) => format!("paged at {step}, {:.0} % of onset to failure ahead", 100.0 * lead),
                _ => "not paged".to_owned(),
            };
            writeln!(f, "  {:<22} {:<16} {found}", fault.kind, fault.machine)?;
        }
        write!(
            f,
            "{} of {} faults paged, {} false pages",
            self.faults_paged, self.faults_injected, self.false_pages
        )
    }
}

/// Waits until no page waits to be delivered, at most `patience`.
pub(super) async fn delivered(channel: &Channel, patience: Duration) -> Result<()> {
    let mut client = IncidentsServiceClient::new(channel.clone());
    let deadline = tokio::time::Instant::now() + patience;
    let listed = client
        .list_incidents(ListIncidentsRequest {
            limit: 1000,
            ..ListIncidentsRequest::default()
        })
        .await;
    let incidents = listed
        .map_err(|status| explain("reading the incidents", &status))?
        .into_inner()
        .incidents;
    for incident in incidents.iter().filter(|incident| incident.paged_at.is_some()) {
        let request = GetIncidentRequest {
            incident_id: incident.incident_id,
        };
        while tokio::time::Instant::now() < deadline {
            let answer = client.get_incident(request).await;
            let pages = answer
                .map_err(|status| explain("reading an incident", &status))?
                .into_inner()
                .pages;
            let sent = !pages.is_empty() && pages.iter().all(|page| page.state != "waiting");
            if sent {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::demo::receiver::Evidence;
    use tocsin_domain::{Slug, Timestamp};
    use tocsin_simulator::FaultKind;

    fn page(key: &str, machine: &str, second: i64) -> Page {
        Page {
            page_key: key.to_owned(),
            action: "trigger".to_owned(),
            site: "porto".to_owned(),
            machine: machine.to_owned(),
            summary: String::new(),
            evidence: Evidence {
                step: Timestamp::from_micros(second * 1_000_000),
            },
        }
    }

    #[test]
    fn a_page_before_the_onset_or_on_a_healthy_machine_is_false_and_a_repeat_counts_once() {
        let fault = Fault {
            kind: FaultKind::ALL[0],
            site: Slug::parse("site", "porto").unwrap(),
            machine: Slug::parse("machine", "cnc-01").unwrap(),
            onset: Timestamp::from_micros(100_000_000),
            failure: Timestamp::from_micros(200_000_000),
            growth: 2.0,
        };
        let schedule = Schedule { faults: vec![fault] };
        let pages = [
            page("a", "cnc-01", 150),
            page("a", "cnc-01", 150),
            page("b", "cnc-01", 50),
            page("c", "cnc-02", 150),
        ];
        let summary = Summary::of(&schedule, &pages, 10, 2);
        assert_eq!((summary.faults_paged, summary.false_pages), (1, 2));
        assert!((summary.lead_fraction_median.unwrap() - 0.5).abs() < 1e-12);
    }
}
