//! Which incidents the list shows, as its address says, and the filters that a person saved under a name.
//!
//! Links and forms alone: it works without a script.

use axum::extract::Form;
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;
use tocsin_contracts::fleet::v1::Site;
use tocsin_contracts::incidents::v1::{
    DeleteIncidentFilterRequest, IncidentFilter, ListIncidentsRequest, SaveIncidentFilterRequest,
};

use crate::failure::{Failure, Part};
use crate::session::Session;

/// The longest name of a filter, in characters; the service says so too.
const NAME_CHARS: usize = 60;

/// What is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    /// `all`, or those that are open.
    show: String,
    /// Only this site.
    site: String,
    /// Only this machine of it.
    machine: String,
    /// `page`, `alert`, or both.
    severity: String,
    /// `nobody`: only those that nobody has taken.
    taken: String,
}

/// A filter and the name that it is to have.
#[derive(Debug, Deserialize)]
pub(crate) struct Save {
    #[serde(default)]
    name: String,
    #[serde(flatten)]
    filter: Filter,
}

/// The name of a filter that is to go.
#[derive(Debug, Deserialize)]
pub(crate) struct Delete {
    #[serde(default)]
    name: String,
}

impl Filter {
    pub(super) fn shows_all(&self) -> bool {
        self.show == "all"
    }

    /// Whether it leaves nothing out but what has cleared.
    pub(super) fn is_plain(&self) -> bool {
        *self
            == Self {
                show: self.show.clone(),
                ..Self::default()
            }
    }

    /// What is asked of the service.
    pub(super) fn request(&self, (limit, before_incident_id): (u32, i64)) -> ListIncidentsRequest {
        ListIncidentsRequest {
            open_only: !self.shows_all(),
            site: self.site.clone(),
            machine: self.machine.clone(),
            severity: self.severity.clone(),
            unacknowledged_only: self.taken == "nobody",
            limit,
            before_incident_id,
        }
    }

    /// The address of the list as this shows it.
    pub(super) fn href(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("show", if self.shows_all() { "all" } else { "open" });
        for (name, value) in self.parts() {
            query.append_pair(name, value);
        }
        format!("/incidents?{}", query.finish())
    }

    /// The same with open ones alone, or all.
    pub(super) fn showing(&self, show: &str) -> Self {
        Self {
            show: show.to_owned(),
            ..self.clone()
        }
    }

    /// What it says, beside whether all are shown.
    fn parts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let parts = [
            ("site", self.site.as_str()),
            ("machine", &self.machine),
            ("severity", &self.severity),
            ("taken", &self.taken),
        ];
        parts.into_iter().filter(|(_, value)| !value.is_empty())
    }

    fn to_wire(&self, name: String) -> IncidentFilter {
        IncidentFilter {
            name,
            open_only: !self.shows_all(),
            site: self.site.clone(),
            machine: self.machine.clone(),
            severity: self.severity.clone(),
            unacknowledged_only: self.taken == "nobody",
            saved_at: None,
        }
    }
}

impl From<&IncidentFilter> for Filter {
    fn from(saved: &IncidentFilter) -> Self {
        let taken = if saved.unacknowledged_only { "nobody" } else { "" };
        Self {
            show: if saved.open_only { "open" } else { "all" }.to_owned(),
            site: saved.site.clone(),
            machine: saved.machine.clone(),
            severity: saved.severity.clone(),
            taken: taken.to_owned(),
        }
    }
}

/// `POST /incidents/filters`.
pub(crate) async fn save(session: Session, Form(form): Form<Save>) -> Result<Redirect, Failure> {
    let request = SaveIncidentFilterRequest {
        filter: Some(form.filter.to_wire(form.name)),
    };
    let saved = session.incidents().save_incident_filter(request).await;
    saved.map_err(Part::Incidents.failed())?;
    Ok(Redirect::to(&form.filter.href()))
}

/// `POST /incidents/filters/delete`.
pub(crate) async fn delete(session: Session, Form(form): Form<Delete>) -> Result<Redirect, Failure> {
    let request = DeleteIncidentFilterRequest { name: form.name };
    let deleted = session.incidents().delete_incident_filter(request).await;
    deleted.map_err(Part::Incidents.failed())?;
    Ok(Redirect::to("/incidents"))
}

/// The saved ones as links, and the present one as a form.
pub(super) fn show(filter: &Filter, saved: &[IncidentFilter], sites: &[Site]) -> Markup {
    html! {
        @if !saved.is_empty() { (links(filter, saved)) }
        details.filter open[!filter.is_plain()] {
            summary { "Filter" @if !filter.is_plain() { ": " (words(filter)) } }
            div.filter-forms {
                (form(filter, sites))
                (save_form(filter))
            }
        }
    }
}

fn links(filter: &Filter, saved: &[IncidentFilter]) -> Markup {
    html! {
        nav.saved aria-label="Saved filters" {
            ul {
                @for one in saved {
                    @let its = Filter::from(one);
                    li {
                        a href=(its.href()) aria-current=[(its.href() == filter.href()).then_some("true")] title=(words(&its)) { (one.name) }
                        form method="post" action="/incidents/filters/delete" {
                            input type="hidden" name="name" value=(one.name);
                            button.quiet type="submit" aria-label=(format!("Delete the filter {}", one.name)) title="Delete" { "×" }
                        }
                    }
                }
            }
        }
    }
}

/// A filter in words.
fn words(filter: &Filter) -> String {
    let mut words = vec![if filter.shows_all() { "all" } else { "open" }.to_owned()];
    match filter.severity.as_str() {
        "" => {}
        severity => words.push(format!("{severity}s")),
    }
    match (filter.machine.as_str(), filter.site.as_str()) {
        ("", "") => {}
        ("", site) => words.push(format!("of {site}")),
        (machine, site) => words.push(format!("of {site}/{machine}")),
    }
    if filter.taken == "nobody" {
        words.push("that nobody has taken".to_owned());
    }
    words.join(" ")
}

fn form(filter: &Filter, sites: &[Site]) -> Markup {
    // A site that was saved, and is not the person's any more, stays to be seen.
    let other = !filter.site.is_empty() && !sites.iter().any(|site| site.name == filter.site);
    html! {
        form.take.write method="get" action="/incidents" {
            input type="hidden" name="show" value=(if filter.shows_all() { "all" } else { "open" });
            label for="filter-site" { "Site" }
            select #filter-site name="site" {
                option value="" { "All sites" }
                @for site in sites { option value=(site.name) selected[site.name == filter.site] { (site.name) } }
                @if other { option value=(filter.site) selected { (filter.site) } }
            }
            label for="filter-machine" { "Machine of that site" }
            input #filter-machine type="text" name="machine" maxlength="63" value=(filter.machine);
            label for="filter-severity" { "Worst it has been" }
            select #filter-severity name="severity" {
                @for (value, name) in [("", "Page or alert"), ("page", "Page"), ("alert", "Alert")] {
                    option value=(value) selected[value == filter.severity] { (name) }
                }
            }
            label for="filter-taken" { "Taken by" }
            select #filter-taken name="taken" {
                @for (value, name) in [("", "Anybody or nobody"), ("nobody", "Nobody")] {
                    option value=(value) selected[value == filter.taken] { (name) }
                }
            }
            button type="submit" { "Show" }
            @if !filter.is_plain() { a.button href=(Filter::default().showing(&filter.show).href()) { "Clear" } }
        }
    }
}

fn save_form(filter: &Filter) -> Markup {
    html! {
        form.take.write method="post" action="/incidents/filters" {
            input type="hidden" name="show" value=(if filter.shows_all() { "all" } else { "open" });
            @for (name, value) in filter.parts() { input type="hidden" name=(name) value=(value); }
            label for="filter-name" { "Save what is shown now (" (words(filter)) ") for yourself, under the name" }
            input #filter-name type="text" name="name" required maxlength=(NAME_CHARS);
            button type="submit" { "Save" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_filter_leads_to_the_list_as_it_was_shown() {
        let filter = Filter {
            show: "all".to_owned(),
            site: "porto".to_owned(),
            machine: "mill-07".to_owned(),
            severity: "page".to_owned(),
            taken: "nobody".to_owned(),
        };
        let saved = filter.to_wire("mine".to_owned());
        assert_eq!(Filter::from(&saved), filter);
        assert_eq!(
            filter.href(),
            "/incidents?show=all&site=porto&machine=mill-07&severity=page&taken=nobody"
        );
        assert_eq!(words(&filter), "all pages of porto/mill-07 that nobody has taken");
        assert_eq!(Filter::default().href(), "/incidents?show=open");
        assert!(Filter::default().showing("all").is_plain() && !filter.is_plain());
        let asked = filter.request((100, 7));
        assert!(!asked.open_only && asked.unacknowledged_only && asked.before_incident_id == 7);
    }
}
