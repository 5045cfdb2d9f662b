//! `tocsin incidents label`, `tocsin machines label` and `labels`: what was found, put on record and shown.

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tocsin_contracts::incidents::v1::add_label_request::Subject;
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::incidents::v1::{AddLabelRequest, Label as WireLabel, ListLabelsRequest, MachineWindow};
use tocsin_contracts::time;
use tocsin_domain::{Label, Timestamp};

use super::{Ask, given, when};
use crate::client::explain;

/// What was found.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Found {
    /// The machine was failing, as was said: never healthy data again
    TrueFailure,
    /// The machine was failing, and nothing was said: never healthy data again
    MissedFailure,
    /// The machine was well: healthy data again
    FalseAlarm,
    /// The sensor, its mounting or its cable was at fault: no data of the machine
    SensorFault,
    /// The machine was well and did other work
    ProcessChange,
    /// Takes back what was said of the window before
    Withdrawn,
}

impl From<Found> for Label {
    fn from(found: Found) -> Self {
        match found {
            Found::TrueFailure => Self::TrueFailure,
            Found::MissedFailure => Self::MissedFailure,
            Found::FalseAlarm => Self::FalseAlarm,
            Found::SensorFault => Self::SensorFault,
            Found::ProcessChange => Self::ProcessChange,
            Found::Withdrawn => Self::Withdrawn,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct What {
    /// What was found
    #[arg(value_enum)]
    label: Found,
    /// How it failed, such as unbalance; of a failure only
    #[arg(long, default_value = "", hide_default_value = true)]
    mode: String,
    /// A note for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
}

#[derive(Debug, Args)]
pub(super) struct LabelWindow {
    /// SITE/MACHINE
    path: String,
    #[command(flatten)]
    what: What,
    /// Captured since this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    from: String,
    /// Captured before this time
    #[arg(long, value_name = "TIME")]
    to: String,
}

impl LabelWindow {
    pub(super) async fn run(self, ask: &Ask) -> Result<()> {
        let [site, machine] = names(&self.path)?;
        let parse = |name: &str, text: &str| -> Result<_> { Ok(Some(time::to_wire(Timestamp::parse(name, text)?))) };
        let window = MachineWindow {
            site,
            machine,
            from: parse("--from", &self.from)?,
            to: parse("--to", &self.to)?,
        };
        add(ask, Subject::Window(window), self.what).await
    }
}

/// Labels an incident.
pub(super) async fn incident(ask: &Ask, incident: i64, what: What) -> Result<()> {
    add(ask, Subject::IncidentId(incident), what).await
}

async fn add(ask: &Ask, subject: Subject, what: What) -> Result<()> {
    let mut client = IncidentsServiceClient::new(ask.target.channel()?);
    let request = AddLabelRequest {
        subject: Some(subject),
        label: Label::from(what.label).as_str().to_owned(),
        mode: what.mode,
        note: what.note,
    };
    let answer = client.add_label(request).await;
    let answer = answer
        .map_err(|status| explain("labelling what was found", &status))?
        .into_inner();
    ask.output
        .item("label", view(answer.label.context("the answer holds no label")?)?)
}

/// Prints what was said of a machine.
pub(super) async fn list(ask: &Ask, path: &str) -> Result<()> {
    let [site, machine] = names(path)?;
    let mut client = IncidentsServiceClient::new(ask.target.channel()?);
    let answer = client.list_labels(ListLabelsRequest { site, machine }).await;
    let answer = answer
        .map_err(|status| explain("listing labels", &status))?
        .into_inner();
    let views = answer.labels.into_iter().map(view).collect::<Result<_>>()?;
    let columns = &[
        "label_id",
        "incident_id",
        "from",
        "to",
        "label",
        "mode",
        "in_force",
        "labelled_by",
        "labelled_at",
        "note",
    ];
    ask.output.list("labels", views, columns)
}

/// A label as it is printed.
pub(super) fn view(label: WireLabel) -> Result<Value> {
    Ok(json!({
        "label_id": label.label_id,
        "site": label.site,
        "machine": label.machine,
        "incident_id": given(label.incident_id),
        "from": when(label.from)?,
        "to": when(label.to)?,
        "label": label.label,
        "mode": given(label.mode),
        "note": given(label.note),
        "labelled_at": when(label.labelled_at)?,
        "labelled_by": label.labelled_by,
        "in_force": label.in_force,
    }))
}

/// Reads `SITE/MACHINE`.
pub(super) fn names(path: &str) -> Result<[String; 2]> {
    let parts: Vec<String> = path.split('/').map(str::to_owned).collect();
    let names = <[String; 2]>::try_from(parts);
    names.map_err(|_| anyhow!("{path:?} is not of the form SITE/MACHINE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named_by_site_and_itself() {
        assert_eq!(names("works/m1").unwrap(), ["works", "m1"]);
        assert!(names("m1").is_err() && names("works/m1/h").is_err());
    }

    #[test]
    fn every_label_can_be_given() {
        let given: Vec<Label> = Found::value_variants()
            .iter()
            .map(|found| Label::from(*found))
            .collect();
        assert_eq!(given, Label::ALL);
    }
}
