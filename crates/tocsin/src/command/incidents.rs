//! `tocsin incidents`: what is wrong, since when, who was told and who has taken it.

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::incidents::v1::{
    AcknowledgeIncidentRequest, Evidence, GetIncidentRequest, Incident, JournalEvent, ListIncidentsRequest, Page,
};

use super::{Ask, given, labels, nested, when};
use crate::client::explain;

mod floods;
mod people;
mod performance;
mod review;
mod whole;

#[derive(Debug, Args)]
pub(super) struct Incidents {
    #[command(flatten)]
    ask: Ask,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List incidents, newest first
    List {
        /// Only this site
        #[arg(long, default_value = "", hide_default_value = true)]
        site: String,
        /// Only this machine of the site
        #[arg(long, default_value = "", hide_default_value = true, requires = "site")]
        machine: String,
        /// Leave out what has cleared
        #[arg(long)]
        open: bool,
        /// At most this many, up to 1000
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Only those before this one, for the next page
        #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
        before: i64,
    },
    /// Show one incident with its journal, evidence and pages
    Show {
        /// Its number
        incident: i64,
    },
    /// Take an incident
    Ack {
        /// Its number
        incident: i64,
        /// A note for the record
        #[arg(long, default_value = "", hide_default_value = true)]
        note: String,
    },
    /// Put a comment on an incident's record
    Comment {
        /// Its number
        incident: i64,
        /// What to say
        text: String,
    },
    /// Hand an incident that somebody has taken over to another account
    HandOver {
        /// Its number
        incident: i64,
        /// The account that has it from now on
        #[arg(long, value_name = "NAME")]
        to: String,
        /// A note for the record
        #[arg(long, default_value = "", hide_default_value = true)]
        note: String,
    },
    /// Order work for an incident in the maintenance system, or keep the reference of an order made by other means
    WorkOrder {
        /// Its number
        incident: i64,
        /// What the order is called, when it was made by other means
        #[arg(long, default_value = "", hide_default_value = true)]
        reference: String,
        /// A note for the order and the record
        #[arg(long, default_value = "", hide_default_value = true)]
        note: String,
    },
    /// List floods: many machines that a destination was told of together; or show one with its incidents
    Floods {
        /// Its number
        flood: Option<i64>,
        /// At most this many, up to 1000
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Take every incident of a flood that nobody has
    AckFlood {
        /// Its number
        flood: i64,
        /// A note for the record of each
        #[arg(long, default_value = "", hide_default_value = true)]
        note: String,
    },
    /// Say what an incident really was; what is learned later heeds it
    Label {
        /// Its number
        incident: i64,
        #[command(flatten)]
        what: labels::What,
    },
    /// Review an incident: write what was found, make it final, export it
    Review {
        #[command(subcommand)]
        what: review::Review,
    },
    /// Report how alarms and pages treat people: ISA-18.2 figures and the budget of pages
    Performance(performance::Performance),
}

impl Incidents {
    pub(super) async fn run(self) -> Result<()> {
        let output = self.ask.output;
        let mut client = IncidentsServiceClient::new(self.ask.target.channel()?).max_decoding_message_size(64 << 20);
        match self.what {
            What::Performance(performance) => performance.run(&self.ask).await,
            What::Review { what } => what.run(&self.ask).await,
            What::List {
                site,
                machine,
                open,
                limit,
                before,
            } => {
                let request = ListIncidentsRequest {
                    site,
                    machine,
                    open_only: open,
                    limit,
                    before_incident_id: before,
                    ..ListIncidentsRequest::default()
                };
                let answer = client.list_incidents(request).await;
                let answer = answer
                    .map_err(|status| explain("listing incidents", &status))?
                    .into_inner();
                let views = answer.incidents.into_iter().map(view).collect::<Result<_>>()?;
                let columns = &[
                    "incident_id",
                    "site",
                    "machine",
                    "severity",
                    "state",
                    "opened_at",
                    "closed_at",
                    "acknowledged_by",
                ];
                output.list("incidents", views, columns)
            }
            What::Show { incident } => {
                let answer = client.get_incident(GetIncidentRequest { incident_id: incident }).await;
                let answer = answer
                    .map_err(|status| explain("showing the incident", &status))?
                    .into_inner();
                let mut view = view(answer.incident.context("the answer holds no incident")?)?;
                view["events"] = answer.events.into_iter().map(event_view).collect::<Result<_>>()?;
                view["evidence"] = answer.evidence.into_iter().map(evidence_view).collect::<Result<_>>()?;
                view["work_order"] = answer
                    .work_order
                    .map(people::order_view)
                    .transpose()?
                    .unwrap_or(Value::Null);
                view["labels"] = answer.labels.into_iter().map(labels::view).collect::<Result<_>>()?;
                view["pages"] = answer.pages.into_iter().map(page_view).collect::<Result<_>>()?;
                whole::print(output, &view)
            }
            What::Comment { incident, text } => people::comment(output, &mut client, incident, text).await,
            What::HandOver { incident, to, note } => people::hand_over(output, &mut client, incident, to, note).await,
            What::WorkOrder {
                incident,
                reference,
                note,
            } => people::order_work(output, &mut client, incident, (reference, note)).await,
            What::Floods { flood, limit } => floods::show(output, &mut client, flood, limit).await,
            What::AckFlood { flood, note } => floods::acknowledge(output, &mut client, flood, note).await,
            What::Label { incident, what } => labels::incident(&self.ask, incident, what).await,
            What::Ack { incident, note } => {
                let request = AcknowledgeIncidentRequest {
                    incident_id: incident,
                    note,
                };
                let answer = client.acknowledge_incident(request).await;
                let answer = answer
                    .map_err(|status| explain("acknowledging the incident", &status))?
                    .into_inner();
                output.item(
                    "incident",
                    view(answer.incident.context("the answer holds no incident")?)?,
                )
            }
        }
    }
}

fn view(incident: Incident) -> Result<Value> {
    Ok(json!({
        "incident_id": incident.incident_id,
        "site": incident.site,
        "machine": incident.machine,
        "class": incident.class,
        "severity": incident.severity,
        "state": incident.state,
        "opened_at": when(incident.opened_at)?,
        "paged_at": when(incident.paged_at)?,
        "closed_at": when(incident.closed_at)?,
        "acknowledged_by": given(incident.acknowledged_by),
        "acknowledged_at": when(incident.acknowledged_at)?,
        "deciding_sensor": given(incident.deciding_sensor),
        "deciding_detector": given(incident.deciding_detector),
        "peak_level": incident.peak_level,
        "latest_level": incident.latest_level,
        "threshold_set_id": given(incident.threshold_set_id),
        "bundle_id": given(incident.bundle_id),
        "replay": incident.replay,
        "previous_incident_id": given(incident.previous_incident_id),
    }))
}

fn event_view(event: JournalEvent) -> Result<Value> {
    Ok(json!({ "seq": event.seq, "at": when(event.at)?, "kind": event.kind, "payload": nested(&event.payload_json) }))
}

fn evidence_view(evidence: Evidence) -> Result<Value> {
    Ok(json!({
        "sensor": evidence.sensor,
        "captured_at": when(evidence.captured_at)?,
        "verdict": evidence.verdict,
        "detector": evidence.detector,
        "level": evidence.level,
        "baseline_id": given(evidence.baseline_id),
        "bin_error": evidence.bin_error,
    }))
}

fn page_view(page: Page) -> Result<Value> {
    let attempts = page.attempts.into_iter().map(|attempt| {
        Ok(json!({ "at": when(attempt.at)?, "outcome": attempt.outcome, "answer": given(attempt.answer) }))
    });
    Ok(json!({
        "page_key": page.page_key,
        "created_at": when(page.created_at)?,
        "action": page.action,
        "state": page.state,
        "destination": page.destination,
        "attempts": attempts.collect::<Result<Vec<_>>>()?,
    }))
}
