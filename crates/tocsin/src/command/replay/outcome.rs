//! What the platform made of a replay, machine by machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::incidents::v1::{GetIncidentRequest, Incident, ListIncidentsRequest};
use tocsin_contracts::time;
use tocsin_corpus::Timeline;
use tocsin_domain::{Slug, Timestamp};
use tocsin_transport::Channel;

use crate::client::explain;

/// Incidents asked for at a time.
const PAGE: u32 = 500;
/// How long `--wait` waits for deliveries, and how often it looks.
const PATIENCE: Duration = Duration::from_mins(5);
const LOOK: Duration = Duration::from_millis(500);
/// How long it takes at most until a page is owed to every destination.
const SHARED_OUT: Duration = Duration::from_secs(8);

/// First alert, first page and every incident of the timeline's machines, within its span.
pub(super) async fn machines(channel: &Channel, site: &Slug, timeline: &Timeline, wait: bool) -> Result<Vec<Value>> {
    let incidents = within(list(channel, site).await?, timeline);
    if wait {
        delivered(channel, &incidents).await?;
    }
    let mut by_machine: BTreeMap<String, Vec<Incident>> = BTreeMap::new();
    let names: BTreeSet<String> = timeline
        .after(None)
        .map(|step| step.cursor.machine().to_string())
        .collect();
    for name in names {
        by_machine.insert(name, Vec::new());
    }
    for incident in incidents {
        if let Some(of_machine) = by_machine.get_mut(&incident.machine) {
            of_machine.push(incident);
        }
    }
    by_machine
        .into_iter()
        .map(|(machine, incidents)| view(&machine, incidents))
        .collect()
}

async fn list(channel: &Channel, site: &Slug) -> Result<Vec<Incident>> {
    let mut client = IncidentsServiceClient::new(channel.clone());
    let mut incidents: Vec<Incident> = Vec::new();
    loop {
        let request = ListIncidentsRequest {
            site: site.to_string(),
            limit: PAGE,
            before_incident_id: incidents.last().map_or(0, |last| last.incident_id),
            ..ListIncidentsRequest::default()
        };
        let page = client.list_incidents(request).await;
        let page = page
            .map_err(|status| explain("reading the incidents", &status))?
            .into_inner()
            .incidents;
        let last = page.len() < PAGE as usize;
        incidents.extend(page);
        if last {
            incidents.sort_by_key(|incident| incident.incident_id);
            return Ok(incidents);
        }
    }
}

/// Incidents that opened in the timeline's span: the site may have had others.
fn within(incidents: Vec<Incident>, timeline: &Timeline) -> Vec<Incident> {
    let Some((from, to)) = timeline.span() else {
        return Vec::new();
    };
    let from = from.floor_to(super::STEP);
    let opened = |incident: &Incident| time::optional("opened_at", incident.opened_at).ok().flatten();
    incidents
        .into_iter()
        .filter(|i| opened(i).is_some_and(|at| (from..=to).contains(&at)))
        .collect()
}

/// Waits until no page of these incidents waits to be delivered. A page that is owed to nobody, because no destination
/// is configured, is waited for only as long as it takes to be shared out.
async fn delivered(channel: &Channel, incidents: &[Incident]) -> Result<()> {
    let mut client = IncidentsServiceClient::new(channel.clone());
    let began = tokio::time::Instant::now();
    for incident in incidents.iter().filter(|incident| incident.paged_at.is_some()) {
        let request = GetIncidentRequest {
            incident_id: incident.incident_id,
        };
        loop {
            let answer = client.get_incident(request).await;
            let pages = answer
                .map_err(|status| explain("reading an incident", &status))?
                .into_inner()
                .pages;
            let mut waiting = pages.iter().filter(|page| page.state == "waiting").peekable();
            if waiting.peek().is_none() {
                break;
            }
            let owed_to_nobody = waiting.all(|page| page.destination.is_empty());
            if began.elapsed() > PATIENCE || (owed_to_nobody && began.elapsed() > SHARED_OUT) {
                eprintln!("pages of incident {} were not delivered", incident.incident_id);
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(())
}

fn view(machine: &str, incidents: Vec<Incident>) -> Result<Value> {
    let mut first_alert: Option<Timestamp> = None;
    let mut first_page: Option<Timestamp> = None;
    let mut told = Vec::new();
    for incident in incidents {
        let opened = time::optional("opened_at", incident.opened_at)?;
        let paged = time::optional("paged_at", incident.paged_at)?;
        first_alert = first_alert.or(opened);
        first_page = first_page.or(paged);
        told.push(json!({
            "incident_id": incident.incident_id,
            "opened": opened,
            "paged": paged,
            "closed": time::optional("closed_at", incident.closed_at)?,
            "severity": incident.severity,
            "sensor": incident.deciding_sensor,
            "detector": incident.deciding_detector,
        }));
    }
    Ok(json!({
        "machine": machine,
        "first_alert": first_alert,
        "first_page": first_page,
        "incident_count": told.len(),
        "incidents": told,
    }))
}
