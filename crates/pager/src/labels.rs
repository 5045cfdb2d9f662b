//! Labels over gRPC: what people found an incident, or a window of a machine, really to have been.
//!
//! **Invariant:** a label changes no incident and no page; what is learned later heeds it.

use serde_json::json;
use tocsin_contracts::incidents::v1;
use tocsin_contracts::incidents::v1::add_label_request::Subject;
use tocsin_contracts::{Malformed, time};
use tocsin_domain::{IncidentId, Label, MachineId, Principal, Scope, Slug};
use tocsin_store::access::NewAuditEntry;
use tocsin_store::fleet::Machine;
use tocsin_store::label::{LabelQuery, MachineLabel, NewLabel, Window};

use crate::{Error, Service, wire};

/// The longest failure mode kept, in characters.
const MODE_CHARS: usize = 100;

/// The longest note kept, in characters.
const NOTE_CHARS: usize = 2_000;

/// A machine by the names it is shown under.
struct Named {
    machine: MachineId,
    site: Slug,
    name: Slug,
}

impl From<Machine> for Named {
    fn from(machine: Machine) -> Self {
        Self {
            machine: machine.id,
            site: machine.site_name,
            name: machine.name,
        }
    }
}

impl Service {
    /// Puts a label on record.
    pub(crate) async fn add_label(&self, by: &Principal, request: v1::AddLabelRequest) -> Result<v1::Label, Error> {
        let label = Label::parse(&request.label).map_err(Malformed::from)?;
        let mode = wire::text("mode", &request.mode, MODE_CHARS)?;
        if !(mode.is_empty() || label.is_failure()) {
            let reason = format!("{mode:?} is how a machine failed, and {label} says it did not");
            return Err(Malformed::new("mode", reason).into());
        }
        let (named, window) = self.subject(&by.scope(), request.subject).await?;
        let new = NewLabel {
            machine: named.machine,
            window,
            label,
            mode,
            note: wire::text("note", &request.note, NOTE_CHARS)?,
            by: by.actor(),
        };
        let now = self.clock.now();
        let audit = |label: &MachineLabel| {
            let detail = json!({
                "label_id": label.id, "label": label.label, "mode": label.mode, "note": label.note,
                "incident": label.incident.map(|incident| incident.0),
                "from": label.from.to_string(), "to": label.to.map(|to| to.to_string()),
            });
            NewAuditEntry::new(
                &label.by,
                "machine.label",
                format!("machine:{}", named.machine),
                &detail,
            )
        };
        let label = self.store.label_append(&by.scope(), &new, now, audit).await?;
        Ok(to_wire(&named, label))
    }

    /// What was said of a machine, newest first.
    pub(crate) async fn list_labels_of(
        &self,
        by: &Principal,
        request: &v1::ListLabelsRequest,
    ) -> Result<Vec<v1::Label>, Error> {
        let named = self.named(&by.scope(), (&request.site, &request.machine)).await?;
        self.labels_of(&by.scope(), &named, None).await
    }

    /// What was said of an incident, newest first.
    pub(crate) async fn incident_labels(&self, scope: &Scope, id: IncidentId) -> Result<Vec<v1::Label>, Error> {
        self.labels_of(scope, &self.named_by_incident(scope, id).await?, Some(id))
            .await
    }

    async fn labels_of(
        &self,
        scope: &Scope,
        named: &Named,
        incident: Option<IncidentId>,
    ) -> Result<Vec<v1::Label>, Error> {
        let query = LabelQuery {
            machine: named.machine,
            incident,
        };
        let labels = self.store.labels(scope, &query).await?;
        Ok(labels.into_iter().map(|label| to_wire(named, label)).collect())
    }

    async fn subject(&self, scope: &Scope, subject: Option<Subject>) -> Result<(Named, Window), Error> {
        match subject {
            None => Err(Malformed::new("subject", "is missing: incident_id or window").into()),
            Some(Subject::IncidentId(id)) => {
                let id = IncidentId(id);
                Ok((self.named_by_incident(scope, id).await?, Window::Incident(id)))
            }
            Some(Subject::Window(window)) => {
                let from = time::required("window.from", window.from)?;
                let to = time::required("window.to", window.to)?;
                if from >= to {
                    return Err(Malformed::new("window.to", format!("{to} is not after from {from}")).into());
                }
                let named = self.named(scope, (&window.site, &window.machine)).await?;
                Ok((named, Window::Free(from, to)))
            }
        }
    }

    async fn named(&self, scope: &Scope, (site, machine): (&str, &str)) -> Result<Named, Error> {
        let name = |field, text| Slug::parse(field, text).map_err(Malformed::from);
        let (site, machine) = (name("site", site)?, name("machine", machine)?);
        Ok(self.store.machine_by_name(scope, &site, &machine).await?.into())
    }

    async fn named_by_incident(&self, scope: &Scope, id: IncidentId) -> Result<Named, Error> {
        let listing = self.store.incident_get(scope, id).await?;
        Ok(Named {
            machine: listing.incident.machine,
            site: listing.site_name,
            name: listing.machine_name,
        })
    }
}

fn to_wire(named: &Named, label: MachineLabel) -> v1::Label {
    v1::Label {
        label_id: label.id,
        site: named.site.to_string(),
        machine: named.name.to_string(),
        incident_id: label.incident.map_or(0, |incident| incident.0),
        from: Some(time::to_wire(label.from)),
        to: label.to.map(time::to_wire),
        label: label.label.as_str().to_owned(),
        mode: label.mode,
        note: label.note,
        labelled_at: Some(time::to_wire(label.at)),
        labelled_by: label.by,
        in_force: label.in_force,
    }
}
