//! Filters of the incidents that people saved, over gRPC. Each has their own; nobody sees another's.

use serde_json::json;
use tocsin_contracts::incidents::v1;
use tocsin_contracts::{Malformed, time};
use tocsin_domain::access::Person;
use tocsin_domain::{Principal, Severity, Slug, Timestamp};
use tocsin_store::access::NewAuditEntry;
use tocsin_store::incident::IncidentFilter;

use crate::{Error, Service, wire};

/// The most that a person keeps.
const MOST: u32 = 50;

/// The longest name, in characters.
const NAME_CHARS: usize = 60;

impl Service {
    /// A person's own filters, by name.
    pub(crate) async fn filters_of(&self, by: &Principal) -> Result<Vec<v1::IncidentFilter>, Error> {
        let filters = self.store.incident_filters(person(by)?.account).await?;
        Ok(filters.into_iter().map(to_wire).collect())
    }

    /// Saves one, in the place of the one that has its name.
    pub(crate) async fn save_filter(
        &self,
        by: &Principal,
        filter: Option<v1::IncidentFilter>,
    ) -> Result<v1::IncidentFilter, Error> {
        let person = person(by)?;
        let now = self.clock.now();
        let filter = parse(filter.ok_or_else(|| Malformed::new("filter", "is missing"))?, now)?;
        let audit = |(): &()| {
            let detail = json!({
                "filter": filter.name, "open_only": filter.open_only, "site": filter.site, "machine": filter.machine,
                "severity": filter.severity.map(Severity::as_str), "unacknowledged_only": filter.unacknowledged_only,
            });
            entry(person, "incident_filter.save", &detail)
        };
        self.store
            .incident_filter_save(person.account, (&filter, MOST), now, audit)
            .await?;
        Ok(to_wire(filter))
    }

    /// Deletes one.
    pub(crate) async fn delete_filter(&self, by: &Principal, name: &str) -> Result<(), Error> {
        let (person, name) = (person(by)?, parse_name(name)?);
        let audit = |(): &()| entry(person, "incident_filter.delete", &json!({ "filter": name }));
        let now = self.clock.now();
        Ok(self
            .store
            .incident_filter_delete(person.account, &name, now, audit)
            .await?)
    }
}

fn entry(person: &Person, action: &str, detail: &serde_json::Value) -> NewAuditEntry {
    NewAuditEntry::new(&person.name, action, format!("account:{}", person.name), detail)
}

/// Whose they are: the deployment's own credential has none.
fn person(by: &Principal) -> Result<&Person, Error> {
    match by {
        Principal::Person(person) => Ok(person),
        Principal::Service | Principal::Gateway(_) => Err(Error::NoPerson),
    }
}

fn parse_name(name: &str) -> Result<String, Malformed> {
    let name = name.trim();
    let chars = name.chars().count();
    if chars == 0 || chars > NAME_CHARS || name.chars().any(char::is_control) {
        let reason = format!("has {chars} characters: 1 to {NAME_CHARS} are taken, none of them a control character");
        return Err(Malformed::new("name", reason));
    }
    Ok(name.to_owned())
}

fn parse(filter: v1::IncidentFilter, saved_at: Timestamp) -> Result<IncidentFilter, Malformed> {
    let (site, machine) = wire::site_and_machine(&filter.site, &filter.machine)?;
    Ok(IncidentFilter {
        name: parse_name(&filter.name)?,
        open_only: filter.open_only,
        site,
        machine,
        severity: wire::severity(&filter.severity)?,
        unacknowledged_only: filter.unacknowledged_only,
        saved_at,
    })
}

fn to_wire(filter: IncidentFilter) -> v1::IncidentFilter {
    let text = |name: Option<Slug>| name.map(String::from).unwrap_or_default();
    v1::IncidentFilter {
        name: filter.name,
        open_only: filter.open_only,
        site: text(filter.site),
        machine: text(filter.machine),
        severity: filter
            .severity
            .map(|severity| severity.as_str().to_owned())
            .unwrap_or_default(),
        unacknowledged_only: filter.unacknowledged_only,
        saved_at: Some(time::to_wire(filter.saved_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_needs_a_name_that_can_be_read_and_a_machine_its_site() {
        let read = |name: &str, machine: &str, severity: &str| {
            let filter = v1::IncidentFilter {
                name: name.to_owned(),
                machine: machine.to_owned(),
                severity: severity.to_owned(),
                ..v1::IncidentFilter::default()
            };
            parse(filter, Timestamp::from_micros(0)).map_err(|malformed| malformed.field)
        };
        assert_eq!(read(" my pages ", "", "page").unwrap().name, "my pages");
        for (name, machine, severity, field) in [
            ("  ", "", "", "name"),
            (&"x".repeat(61), "", "", "name"),
            ("a\nb", "", "", "name"),
            ("mine", "mill-07", "", "site"),
            ("mine", "", "danger", "severity"),
        ] {
            assert_eq!(read(name, machine, severity).unwrap_err(), field);
        }
    }
}
