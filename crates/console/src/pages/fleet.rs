//! The fleet: every machine the person may see, those that need attention first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use tocsin_contracts::fleet::v1::{
    ListClassesRequest, ListMachinesRequest, ListSitesRequest, MachineClass, MachineOverview, Site,
};
use tocsin_domain::{PersonRole, Timestamp};

use crate::console::{App, Console};
use crate::failure::{Failure, Part};
use crate::layout::{Nav, page};
use crate::session::{Session, may};
use crate::view::{self, badge, incident_state, level, machine_href, moment_and_age};

/// A silent machine of a slow class gets this many decision intervals before it counts as silent.
const SILENT_STEPS: u64 = 10;

/// Why a machine stands where it stands in the list; the first needs a person most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Attention {
    Page,
    Alert,
    /// Never heard of, or not for too long: nobody knows how it is.
    NoData,
    Unjudged,
    Normal,
}

impl Attention {
    const ALL: [Self; 5] = [Self::Page, Self::Alert, Self::NoData, Self::Unjudged, Self::Normal];

    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Alert => "alert",
            Self::NoData => "nodata",
            Self::Unjudged => "unjudged",
            Self::Normal => "normal",
        }
    }

    /// What a machine's newest reading and open incident come to, now.
    pub(crate) fn of(machine: &MachineOverview, silent_after: Duration, now: Timestamp) -> Self {
        match machine.incident_severity.as_str() {
            "page" => return Self::Page,
            "alert" => return Self::Alert,
            _ => {}
        }
        if is_silent(machine, silent_after, now) {
            return Self::NoData;
        }
        match machine.verdict.as_str() {
            // One flagged reading is no incident: persistence decides that. The badge of the reading itself stands in its column.
            "normal" | "alert" | "page" => Self::Normal,
            "unjudged" => Self::Unjudged,
            _ => Self::NoData,
        }
    }
}

/// By the time of receipt: a replayed or resent history is old, but the machine is not silent.
pub(crate) fn is_silent(machine: &MachineOverview, silent_after: Duration, now: Timestamp) -> bool {
    let received = view::at(machine.received_at).or(view::at(machine.newest_reading_at));
    received.is_none_or(|received| now.since(received) > silent_after)
}

/// How long machines of each class may be silent.
pub(crate) fn silence_by_class(app: &Console, classes: &[MachineClass]) -> HashMap<String, Duration> {
    let allowed = |class: &MachineClass| {
        app.silent_after
            .max(Duration::from_millis(class.step_ms.saturating_mul(SILENT_STEPS)))
    };
    classes
        .iter()
        .map(|class| (class.name.clone(), allowed(class)))
        .collect()
}

/// `GET /`. An administrator is led from an empty platform to the first run.
pub(crate) async fn show(State(app): State<App>, session: Session) -> Result<Response, Failure> {
    let (mut sites, mut classes, mut machines) = (session.fleet(), session.fleet(), session.fleet());
    let failed = Part::Fleet.failed();
    let (who, sites, classes, machines) = tokio::try_join!(
        session.who(),
        async { sites.list_sites(ListSitesRequest {}).await.map_err(&failed) },
        async { classes.list_classes(ListClassesRequest {}).await.map_err(&failed) },
        async {
            machines
                .list_machines(ListMachinesRequest::default())
                .await
                .map_err(&failed)
        },
    )?;
    let silence = silence_by_class(&app, &classes.into_inner().classes);
    let now = app.clock.now();
    let mut rows: Vec<(Attention, MachineOverview)> = machines
        .into_inner()
        .machines
        .into_iter()
        .map(|machine| {
            let silent_after = silence.get(&machine.class).copied().unwrap_or(app.silent_after);
            (Attention::of(&machine, silent_after, now), machine)
        })
        .collect();
    rows.sort_by_cached_key(order);
    if rows.is_empty() && may(&who, PersonRole::Admin) {
        return Ok(Redirect::to("/start").into_response());
    }
    let body = if rows.is_empty() {
        empty()
    } else {
        fleet(&sites.into_inner().sites, &rows)
    };
    Ok(page("Fleet", Nav::Fleet, &who, &body).into_response())
}

/// Worst first; of those the unacknowledged; of those the highest level.
fn order((attention, machine): &(Attention, MachineOverview)) -> (Attention, bool, Reverse<i64>, String, String) {
    let acknowledged = machine.incident_state == "active_acknowledged";
    let level = (f64::from(machine.incident_level) * 1_000.0) as i64;
    (
        *attention,
        acknowledged,
        Reverse(level),
        machine.site.clone(),
        machine.machine.clone(),
    )
}

fn fleet(sites: &[Site], rows: &[(Attention, MachineOverview)]) -> Markup {
    let sensors: u64 = rows.iter().map(|(_, machine)| u64::from(machine.sensors)).sum();
    let titles: HashMap<&str, &str> = sites
        .iter()
        .map(|site| (site.name.as_str(), site.title.as_str()))
        .collect();
    let mut by_site: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, machine) in rows {
        *by_site.entry(&machine.site).or_default() += 1;
    }
    html! {
        div.heading {
            h1 { "Fleet" }
            p.sub #summary data-live {
                (view::count(rows.len() as u64)) " machines with " (view::count(sensors)) " sensors on "
                (view::count(by_site.len() as u64)) @if by_site.len() == 1 { " site" } @else { " sites" }
            }
        }
        div.tiles #tiles data-live role="group" aria-label="Show machines by state" {
            @for attention in Attention::ALL { (tile(attention, rows)) }
        }
        div.toolbar role="search" {
            input #search type="search" placeholder="Search machine, site or class" aria-label="Search machine, site or class";
            @if by_site.len() > 1 {
                select #site aria-label="Site" {
                    option value="" { "All sites" }
                    @for (site, machines) in &by_site {
                        option value=(site) { (title_of(&titles, site)) " (" (machines) ")" }
                    }
                }
            }
            span.sub #shown role="status" {}
        }
        div.table-frame {
            table.machines #machines {
                thead {
                    tr {
                        th scope="col" { "State" } th scope="col" { "Machine" } th scope="col" { "Site" }
                        th scope="col" { "Class" } th.num scope="col" title="1 is the alert line, 2 the page line" { "Level" }
                        th scope="col" { "Newest reading" } th.num scope="col" { "Sensors" }
                    }
                }
                tbody #rows data-live="rows" {
                    @for (attention, machine) in rows { (row(*attention, machine, title_of(&titles, &machine.site))) }
                }
            }
        }
    }
}

fn title_of<'a>(titles: &HashMap<&str, &'a str>, site: &'a str) -> &'a str {
    titles
        .get(site)
        .copied()
        .filter(|title| !title.is_empty())
        .unwrap_or(site)
}

fn tile(attention: Attention, rows: &[(Attention, MachineOverview)]) -> Markup {
    let here = || rows.iter().filter(|(other, _)| *other == attention);
    let waiting = here().filter(|(_, machine)| is_waiting(machine)).count();
    let kind = attention.kind();
    html! {
        button.tile.(kind) type="button" data-filter=(kind) aria-pressed="false" {
            span.tile-count { (view::count(here().count() as u64)) }
            (badge(kind))
            @if waiting > 0 { span.sub { (waiting) " unacknowledged" } }
        }
    }
}

/// Has an incident that nobody took.
fn is_waiting(machine: &MachineOverview) -> bool {
    machine.incident_state.ends_with("_unacknowledged")
}

fn row(attention: Attention, machine: &MachineOverview, site: &str) -> Markup {
    let name = &machine.machine;
    let words = format!("{} {site} {name} {}", machine.site, machine.class).to_lowercase();
    html! {
        tr data-key=(format!("{}/{name}", machine.site)) data-kind=(attention.kind()) data-site=(machine.site) data-words=(words) {
            td.state {
                (badge(attention.kind()))
                @if machine.open_incident_id != 0 {
                    a.sub href=(format!("/incidents/{}", machine.open_incident_id)) { (incident_state(&machine.incident_state)) }
                } @else if attention == Attention::NoData && !machine.verdict.is_empty() {
                    span.sub { "silent; was " (machine.verdict) }
                } @else if attention == Attention::NoData {
                    span.sub { "no reading yet" }
                } @else if matches!(machine.verdict.as_str(), "alert" | "page") {
                    span.sub { "newest reading at " (machine.verdict) " level" }
                }
            }
            th scope="row" { a href=(machine_href(&machine.site, name)) { (name) } }
            td.site { (site) }
            td.class { (machine.class) }
            td.num.level {
                @if machine.open_incident_id == 0 { span.none { "–" } } @else { (level(machine.incident_level)) }
            }
            td.age { (moment_and_age(view::at(machine.newest_reading_at))) }
            td.num.sensors data-label="sensors" { (machine.sensors) }
        }
    }
}

/// What is said where there is nothing yet, to those who are not led to the first run.
fn empty() -> Markup {
    html! {
        div.heading { h1 { "Fleet" } p.sub { "No machine is known yet" } }
        section.card.first-run #rows data-live {
            p { "No machine of your sites has been heard of. The first reading makes one known, and this page notices by itself." }
            p { a.button href="/start" { "First run: from nothing to the first reading" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use tocsin_contracts::time::to_wire;

    use super::*;

    fn heard_of(seconds_ago: u64, verdict: &str, severity: &str) -> Attention {
        let now = Timestamp::from_micros(1_000_000_000_000);
        let machine = MachineOverview {
            verdict: verdict.to_owned(),
            incident_severity: severity.to_owned(),
            received_at: Some(to_wire(now - Duration::from_secs(seconds_ago))),
            ..MachineOverview::default()
        };
        Attention::of(&machine, Duration::from_mins(10), now)
    }

    #[test]
    fn a_silent_machine_is_never_healthy() {
        assert_eq!(heard_of(60, "normal", ""), Attention::Normal);
        assert_eq!(heard_of(601, "normal", ""), Attention::NoData);
        assert_eq!(heard_of(601, "unjudged", ""), Attention::NoData);
        assert_eq!(heard_of(60, "", ""), Attention::NoData);
        let never = MachineOverview::default();
        let now = Timestamp::from_micros(0);
        assert_eq!(Attention::of(&never, Duration::from_mins(10), now), Attention::NoData);
    }

    #[test]
    fn an_open_incident_outweighs_silence() {
        assert_eq!(heard_of(86_400, "normal", "page"), Attention::Page);
        assert_eq!(heard_of(1, "normal", "alert"), Attention::Alert);
    }

    #[test]
    fn pages_come_first_and_of_them_the_unacknowledged() {
        let row = |attention, state: &str, level| {
            let incident_state = state.to_owned();
            let machine = MachineOverview {
                incident_state,
                incident_level: level,
                ..MachineOverview::default()
            };
            order(&(attention, machine))
        };
        let rows = [
            row(Attention::Page, "active_unacknowledged", 3.0),
            row(Attention::Page, "active_unacknowledged", 2.0),
            row(Attention::Page, "active_acknowledged", 9.0),
            row(Attention::Alert, "active_unacknowledged", 1.5),
            row(Attention::NoData, "", 0.0),
            row(Attention::Normal, "", 0.0),
        ];
        assert!(rows.is_sorted());
    }
}
