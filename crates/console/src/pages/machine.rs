//! One machine: its levels over time, its spectra, its incidents.

use axum::extract::{Path, Query, State};
use maud::{Markup, html};
use serde::Deserialize;
use tocsin_contracts::access::v1::WhoAmIResponse;
use tocsin_contracts::fleet::v1::{
    ListClassesRequest, ListMachinesRequest, ListSensorsRequest, ListSitesRequest, MachineOverview, Sensor,
};
use tocsin_contracts::incidents::v1::{Incident, ListIncidentsRequest, ListSuppressionsRequest, Suppression};

use super::fleet::{Attention, silence_by_class};
use super::{incidents, suppressions};
use crate::console::App;
use crate::data::series::Range;
use crate::failure::{Failure, Part};
use crate::layout::{Nav, page_with_charts};
use crate::session::Session;
use crate::view::{self, badge, incident_state, level, machine_href, moment_and_age};

mod commissioning;
pub(crate) mod suppression;

/// Past incidents on the page.
const INCIDENTS: u32 = 50;

/// What the address says.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    range: Range,
}

struct Machine {
    overview: MachineOverview,
    attention: Attention,
    site: String,
    /// The site's time zone.
    zone: String,
    sensors: Vec<Sensor>,
    incidents: Vec<Incident>,
    suppression: Option<Suppression>,
}

/// `GET /sites/{site}/machines/{machine}`.
pub(crate) async fn show(
    State(app): State<App>,
    session: Session,
    Path((site, machine)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Markup, Failure> {
    let (mut fleet, mut sites, mut classes, mut sensors) =
        (session.fleet(), session.fleet(), session.fleet(), session.fleet());
    let (mut incidents, mut suppressions) = (session.incidents(), session.incidents());
    let failed = Part::Fleet.failed();
    let this = ListMachinesRequest {
        site: site.clone(),
        machine: machine.clone(),
    };
    let its_sensors = ListSensorsRequest {
        site: site.clone(),
        machine: machine.clone(),
    };
    let its_incidents = ListIncidentsRequest {
        site: site.clone(),
        machine: machine.clone(),
        limit: INCIDENTS,
        ..ListIncidentsRequest::default()
    };
    let its_suppression = ListSuppressionsRequest {
        site: site.clone(),
        machine: machine.clone(),
        in_force_only: true,
        ..ListSuppressionsRequest::default()
    };
    let (who, overview, sites, classes, sensors, incidents, suppressions) = tokio::try_join!(
        session.who(),
        async { fleet.list_machines(this).await.map_err(&failed) },
        async { sites.list_sites(ListSitesRequest {}).await.map_err(&failed) },
        async { classes.list_classes(ListClassesRequest {}).await.map_err(&failed) },
        async { sensors.list_sensors(its_sensors).await.map_err(&failed) },
        async {
            incidents
                .list_incidents(its_incidents)
                .await
                .map_err(Part::Incidents.failed())
        },
        async {
            suppressions
                .list_suppressions(its_suppression)
                .await
                .map_err(Part::Incidents.failed())
        },
    )?;
    let overview = overview
        .into_inner()
        .machines
        .into_iter()
        .find(|overview| overview.site == site && overview.machine == machine)
        .ok_or_else(|| Failure::NotFound(format!("machine {machine} on site {site}")))?;
    let silence = silence_by_class(&app, &classes.into_inner().classes);
    let silent_after = silence.get(&overview.class).copied().unwrap_or(app.silent_after);
    let its_site = sites.into_inner().sites.into_iter().find(|other| other.name == site);
    let zone = its_site.as_ref().map(|site| site.time_zone.clone()).unwrap_or_default();
    let machine = Machine {
        attention: Attention::of(&overview, silent_after, app.clock.now()),
        site: its_site
            .map(|site| site.title)
            .filter(|title| !title.is_empty())
            .unwrap_or(site),
        zone,
        overview,
        sensors: sensors.into_inner().sensors,
        incidents: incidents.into_inner().incidents,
        suppression: suppressions.into_inner().suppressions.pop(),
    };
    let title = format!("{} · {}", machine.overview.machine, machine.site);
    Ok(page_with_charts(
        &title,
        Nav::Fleet,
        &who,
        &body(&who, &machine, asked.range),
    ))
}

fn body(who: &WhoAmIResponse, machine: &Machine, range: Range) -> Markup {
    let overview = &machine.overview;
    let base = machine_href(&overview.site, &overview.machine);
    html! {
        div.heading data-zone=(machine.zone) {
            p.crumbs { a href="/" { "Fleet" } " / " (machine.site) }
            h1 { (overview.machine) }
            div.state-line #state data-live { (state_line(machine)) }
        }
        div.toolbar {
            nav.segments #ranges aria-label="Period" {
                @for (value, name) in Range::CHOICES {
                    a href=(format!("?range={}", value.as_str())) aria-current=[(value == range).then_some("true")] { (name) }
                }
            }
            span.sub.push { "Counted back from the newest data. Drag over a chart to look closer, double-click to come back." }
        }
        div #machine data-base=(base) data-range=(range.as_str()) {
            section.card {
                div.card-head {
                    h2 { "Levels" }
                    p.sub { "Each reading by its own alarm limits of the time: 1 is the alert line, 2 the page line." }
                }
                div.chart #levels data-height="260" role="img" aria-label="Level of each sensor over time" {}
                div.chart-foot #levels-legend {}
            }
            // Shown by the script once it knows that a sensor declares any.
            section.card #overall-card hidden {
                div.card-head {
                    h2 { "Overall levels" }
                    p.sub { "As the sensors measured them, the highest of each interval." }
                }
                div.chart-foot #zones {}
                div #overall {}
            }
            section.card {
                div.card-head {
                    h2 { "Spectra over time" }
                    (sensor_choice(&machine.sensors))
                    label.inline { input #with-rebuilt type="checkbox"; " fill in from latents what is not kept" }
                }
                div.chart #spectrogram data-height="260" role="img" aria-label="Amplitude of each frequency over time" {}
                div.chart-foot #spectrogram-legend {}
                p.hint #spectrogram-rebuilt hidden {}
            }
            section.card {
                div.card-head {
                    h2 { "Observed against reconstructed" }
                    p.sub #reading {}
                }
                div.chart #spectrum data-height="230" role="img" aria-label="Spectrum of one reading and its reconstruction" {}
                div.chart #errors data-height="120" role="img" aria-label="Squared error of each bin" {}
                div.chart-foot #spectrum-legend {}
                p.hint #spectrum-rebuilt hidden {}
                div.table-frame #detectors {}
            }
        }
        section.card {
            div.card-head {
                h2 { "Sensors" }
                p.sub { "Until a sensor knows its own baseline it borrows the fleet's limits." }
            }
            div #sensors data-live { (commissioning::table(&machine.sensors)) }
        }
        section.card {
            div.card-head { h2 { "Paging" } }
            div #paging data-live { (suppression::card(who, (&overview.site, &overview.machine), machine.suppression.as_ref())) }
        }
        section.card {
            div.card-head { h2 { "Incidents" } }
            div #incidents data-live { (incidents::table(&machine.incidents, false)) }
        }
    }
}

fn sensor_choice(sensors: &[Sensor]) -> Markup {
    html! {
        label.inline { "Sensor "
            select #sensor {
                @for sensor in sensors { option value=(sensor.sensor) { (sensor.sensor) } }
            }
        }
    }
}

fn state_line(machine: &Machine) -> Markup {
    let overview = &machine.overview;
    html! {
        (badge(machine.attention.kind()))
        @if let Some(one) = &machine.suppression { (view::tag(suppressions::state(one))) }
        @if overview.open_incident_id != 0 {
            a.button href=(format!("/incidents/{}", overview.open_incident_id)) {
                "Incident " (overview.open_incident_id) ": " (incident_state(&overview.incident_state))
                ", level " (level(overview.incident_level))
            }
        }
        span { "class " strong { (overview.class) } }
        span { (view::count(u64::from(overview.sensors))) @if overview.sensors == 1 { " sensor" } @else { " sensors" } }
        span {
            "newest reading " (moment_and_age(view::at(overview.newest_reading_at)))
            @if machine.attention == Attention::NoData && !overview.verdict.is_empty() {
                " (silent since; it was " (overview.verdict) ")"
            } @else if !overview.verdict.is_empty() { " judged " strong { (overview.verdict) } }
        }
    }
}
