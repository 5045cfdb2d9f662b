//! The list of incidents.

pub(crate) mod filters;

use axum::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;
use tocsin_contracts::fleet::v1::ListSitesRequest;
use tocsin_contracts::incidents::v1::{Incident, ListIncidentFiltersRequest};

use self::filters::Filter;
use crate::failure::{Failure, Part};
use crate::layout::{Nav, page};
use crate::session::Session;
use crate::view::{self, badge, detector, incident_state, level, machine_href, moment, moment_and_age};

/// Incidents on one page of the list.
const LIMIT: u32 = 100;

/// Where in the list the address goes on.
#[derive(Debug, Deserialize)]
pub(crate) struct Place {
    #[serde(default)]
    before: i64,
}

/// `GET /incidents`.
pub(crate) async fn show(
    session: Session,
    Query(filter): Query<Filter>,
    Query(place): Query<Place>,
) -> Result<Markup, Failure> {
    let (mut client, mut own, mut fleet) = (session.incidents(), session.incidents(), session.fleet());
    let failed = Part::Incidents.failed();
    let (who, incidents, saved, sites) = tokio::try_join!(
        session.who(),
        async {
            let request = filter.request((LIMIT, place.before));
            client.list_incidents(request).await.map_err(&failed)
        },
        async {
            own.list_incident_filters(ListIncidentFiltersRequest {})
                .await
                .map_err(&failed)
        },
        async {
            fleet
                .list_sites(ListSitesRequest {})
                .await
                .map_err(Part::Fleet.failed())
        },
    )?;
    let incidents = incidents.into_inner().incidents;
    let older = (incidents.len() == LIMIT as usize)
        .then(|| incidents.iter().map(|incident| incident.incident_id).min())
        .flatten();
    let all = filter.shows_all();
    let body = html! {
        div.heading { h1 { "Incidents" } }
        div.toolbar {
            nav.segments aria-label="Which incidents" {
                @for (value, name) in [("open", "Open"), ("all", "All")] {
                    a href=(filter.showing(value).href()) aria-current=[((value == "all") == all).then_some("true")] { (name) }
                }
            }
            span.push {
                a href="/incidents/performance" { "Alarm performance" } " · " a href="/floods" { "Floods" } " · "
                a href="/suppressions" { "Shelved and out of service" }
            }
        }
        (filters::show(&filter, &saved.into_inner().filters, &sites.into_inner().sites))
        div #incidents data-live {
            @if incidents.is_empty() && !filter.is_plain() { p.none { "No incident fits the filter." } }
            @else if incidents.is_empty() && !all {
                section.card { p { (view::icon("normal")) " No incident is open." } p.hint { "Closed ones are under " a href="/incidents?show=all" { "All" } "." } }
            } @else { (table(&incidents, true)) }
            @if let Some(older) = older { p { a.button href=(format!("{}&before={older}", filter.href())) { "Older" } } }
        }
    };
    Ok(page("Incidents", Nav::Incidents, &who, &body))
}

/// Incidents as rows; of one machine, or of many.
pub(crate) fn table(incidents: &[Incident], of_many: bool) -> Markup {
    html! {
        @if incidents.is_empty() { p.none { "None so far." } }
        @else {
            div.table-frame {
                table.incidents {
                    thead {
                        tr {
                            th scope="col" { "Severity" } th scope="col" { "Incident" }
                            @if of_many { th scope="col" { "Machine" } }
                            th scope="col" { "Opened" } th scope="col" { "Closed" }
                            th.num scope="col" { "Peak level" } th scope="col" { "Decided by" } th scope="col" { "Taken by" }
                        }
                    }
                    tbody { @for incident in incidents { (row(incident, of_many)) } }
                }
            }
        }
    }
}

fn row(incident: &Incident, of_many: bool) -> Markup {
    let open = incident.state != "normal";
    html! {
        tr data-open=[open.then_some("true")] {
            td { (badge(&incident.severity)) @if incident.replay { " " (view::tag("replay")) } }
            th scope="row" {
                a href=(format!("/incidents/{}", incident.incident_id)) { "#" (incident.incident_id) }
                span.sub { (incident_state(&incident.state)) }
            }
            @if of_many {
                td { a href=(machine_href(&incident.site, &incident.machine)) { (incident.machine) } span.sub { (incident.site) } }
            }
            td data-label="opened" { (moment_and_age(view::at(incident.opened_at))) }
            td data-label=[incident.closed_at.is_some().then_some("closed")] { @if incident.closed_at.is_some() { (moment(view::at(incident.closed_at))) } @else if open { span.none { "still open" } } @else { span.none { "–" } } }
            td.num data-label="peak level" { (level(incident.peak_level)) }
            td data-label="decided by" { (incident.deciding_sensor) span.sub { (detector(&incident.deciding_detector)) } }
            td data-label="taken by" { @if incident.acknowledged_by.is_empty() { span.none { "nobody" } } @else { (incident.acknowledged_by) } }
        }
    }
}
