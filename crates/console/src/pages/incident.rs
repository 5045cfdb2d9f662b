//! One incident: how it went, what speaks for it, who took it.

mod evidence;
pub(crate) mod people;
pub(crate) mod timeline;

use axum::extract::{Form, Path, Query};
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;
use tocsin_contracts::access::v1::WhoAmIResponse;
use tocsin_contracts::fleet::v1::ListSitesRequest;
use tocsin_contracts::incidents::v1::{
    AcknowledgeIncidentRequest, Evidence, GetIncidentRequest, GetIncidentResponse, Incident,
};
use tocsin_contracts::review::v1::{GetVerdictRequest, GetVerdictResponse};
use tocsin_domain::{PersonRole, Timestamp};

use crate::failure::{Failure, Part};
use crate::layout::{Nav, page_with_charts};
use crate::session::{Session, may};
use crate::view::{self, badge, detector, incident_state, level, machine_href, moment, moment_and_age};

/// A note longer than this is cut by the browser already.
pub(crate) const NOTE_CHARS: usize = 2_000;

/// What the address says: which evidence to show.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    sensor: Option<String>,
    at: Option<i64>,
}

/// The acknowledgement.
#[derive(Debug, Deserialize)]
pub(crate) struct Note {
    #[serde(default)]
    note: String,
}

/// `GET /incidents/{id}`.
pub(crate) async fn show(
    session: Session,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Markup, Failure> {
    let request = GetIncidentRequest {
        incident_id: number(&id)?,
    };
    let mut client = session.incidents();
    let mut fleet = session.fleet();
    let (who, sites, answer) = tokio::try_join!(
        session.who(),
        // An incident is shown without its site's clock rather than not at all.
        async { Ok(fleet.list_sites(ListSitesRequest {}).await.ok()) },
        async { client.get_incident(request).await.map_err(Part::Incidents.failed()) },
    )?;
    let answer = answer.into_inner();
    let incident = answer
        .incident
        .clone()
        .ok_or_else(|| Failure::NotFound(format!("incident {id}")))?;
    let chosen = chosen(&answer.evidence, &asked);
    let verdict = match chosen {
        Some(evidence) => verdict(&session, &incident, evidence).await?,
        None => None,
    };
    let title = format!("Incident {} · {}", incident.incident_id, incident.machine);
    let sites = sites.map(|answer| answer.into_inner().sites).unwrap_or_default();
    let its_site = sites.into_iter().find(|site| site.name == incident.site);
    let zone = its_site.map(|site| site.time_zone);
    let body = html! {
        div data-zone=[zone] hidden {}
        (body(&who, &incident, &answer, chosen, verdict.as_ref()))
    };
    Ok(page_with_charts(&title, Nav::Incidents, &who, &body))
}

/// `POST /incidents/{id}/acknowledge`.
pub(crate) async fn acknowledge(
    session: Session,
    Path(id): Path<String>,
    Form(form): Form<Note>,
) -> Result<Redirect, Failure> {
    let request = AcknowledgeIncidentRequest {
        incident_id: number(&id)?,
        note: form.note.trim().chars().take(NOTE_CHARS).collect(),
    };
    let id = request.incident_id;
    session
        .incidents()
        .acknowledge_incident(request)
        .await
        .map_err(Part::Incidents.failed())?;
    Ok(Redirect::to(&format!("/incidents/{id}")))
}

pub(crate) fn number(id: &str) -> Result<i64, Failure> {
    id.parse()
        .map_err(|_| Failure::NotFound(format!("incident {id:?}: not a number")))
}

/// The evidence asked for; else the worst whose bins are kept; else the worst.
fn chosen<'a>(evidence: &'a [Evidence], asked: &Asked) -> Option<&'a Evidence> {
    let is_asked = |evidence: &&Evidence| {
        asked.sensor.as_ref() == Some(&evidence.sensor)
            && asked
                .at
                .is_some_and(|at| view::at(evidence.captured_at).is_some_and(|time| time.as_micros() == at))
    };
    let worst = || {
        evidence.iter().max_by(|a, b| {
            (!a.bin_error.is_empty(), a.level)
                .partial_cmp(&(!b.bin_error.is_empty(), b.level))
                .unwrap_or(std::cmp::Ordering::Equal)
        })
    };
    evidence.iter().find(is_asked).or_else(worst)
}

/// The reading behind a piece of evidence, for its frequencies. It may be archived: then the evidence stands without them.
async fn verdict(
    session: &Session,
    incident: &Incident,
    evidence: &Evidence,
) -> Result<Option<GetVerdictResponse>, Failure> {
    let request = GetVerdictRequest {
        site: incident.site.clone(),
        machine: incident.machine.clone(),
        sensor: evidence.sensor.clone(),
        at: evidence.captured_at,
    };
    match session
        .review()
        .get_verdict(request)
        .await
        .map_err(Part::Review.failed())
    {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(signed_out @ Failure::SignIn { .. }) => Err(signed_out),
        // The incident is what matters: it is shown even when review doesn't answer.
        Err(_) => Ok(None),
    }
}

fn body(
    who: &WhoAmIResponse,
    incident: &Incident,
    answer: &GetIncidentResponse,
    chosen: Option<&Evidence>,
    verdict: Option<&GetVerdictResponse>,
) -> Markup {
    let machine = machine_href(&incident.site, &incident.machine);
    html! {
        div.heading {
            p.crumbs { a href="/incidents" { "Incidents" } " / " a href=(machine) { (incident.machine) } }
            h1 { "Incident " (incident.incident_id) }
            div.state-line #state data-live {
                (badge(&incident.severity))
                strong { (incident_state(&incident.state)) }
                a.button href=(format!("/incidents/{}/review", incident.incident_id)) { "Review" }
                @if incident.replay { (view::tag("replay")) span.sub { "from a replayed history: times are capture times" } }
            }
        }
        div.columns {
            div {
                section.card {
                    div.card-head { h2 { "Level" } p.sub { "1 is the alert line, 2 the page line" } }
                    (trend(incident, answer, &machine))
                }
                section.card #evidence data-live { (evidence::section(incident, &answer.evidence, chosen, verdict)) }
            }
            div {
                section.card #facts data-live { (facts(incident)) (take(who, incident)) (people::work_order(who, incident, answer.work_order.as_ref())) (people::forms(who, incident)) }
                section.card #timeline data-live {
                    div.card-head { h2 { "Timeline" } }
                    (timeline::list(incident, answer))
                }
            }
        }
    }
}

fn facts(incident: &Incident) -> Markup {
    html! {
        dl.facts {
            dt { "Machine" }
            dd { a href=(machine_href(&incident.site, &incident.machine)) { (incident.machine) } span.sub { (incident.site) ", class " (incident.class) } }
            dt { "Opened" } dd { (moment_and_age(view::at(incident.opened_at))) }
            @if incident.paged_at.is_some() { dt { "Page level" } dd { (moment(view::at(incident.paged_at))) } }
            @if incident.closed_at.is_some() { dt { "Closed" } dd { (moment(view::at(incident.closed_at))) } }
            dt { "Decided by" } dd { (incident.deciding_sensor) span.sub { (detector(&incident.deciding_detector)) } }
            dt { "Level" } dd { "now " strong { (level(incident.latest_level)) } ", at most " strong { (level(incident.peak_level)) } }
            dt { "Judged by" }
            dd {
                @if incident.threshold_set_id == 0 { "severity zones alone" }
                @else {
                    a href=(format!("/limits#set-{}", incident.threshold_set_id)) { "alarm limits #" (incident.threshold_set_id) }
                    ", " a href=(format!("/models#bundle-{}", incident.bundle_id)) { "model #" (incident.bundle_id) }
                }
            }
            @if incident.previous_incident_id != 0 {
                dt { "Before it" }
                dd { a href=(format!("/incidents/{}", incident.previous_incident_id)) { "incident " (incident.previous_incident_id) } " of this machine" }
            }
            dt { "Taken by" }
            dd {
                @if incident.acknowledged_by.is_empty() { span.none { "nobody yet" } }
                @else { strong { (incident.acknowledged_by) } " " (moment(view::at(incident.acknowledged_at))) }
            }
        }
        p.caution { "A high score is a correlation, not a diagnosis: it says that the machine is unlike its healthy self, not why." }
    }
}

fn take(who: &WhoAmIResponse, incident: &Incident) -> Markup {
    let waiting = incident.acknowledged_by.is_empty() && incident.state.ends_with("_unacknowledged");
    html! {
        @if waiting && may(who, PersonRole::Operator) {
            form.take method="post" action=(format!("/incidents/{}/acknowledge", incident.incident_id)) {
                label for="note" { "Note for the record (optional)" }
                textarea #note name="note" rows="2" maxlength=(NOTE_CHARS) placeholder="What you see, what you do" {}
                button.primary type="submit" { "Acknowledge" }
                span.sub { "as " (who.name) }
            }
        } @else if waiting {
            p.hint { "Your role (" (who.role) ") can look but not acknowledge; an operator can." }
        }
    }
}

/// The machine's levels around the incident; the script widens the period to some minutes at least.
fn trend(incident: &Incident, answer: &GetIncidentResponse, machine: &str) -> Markup {
    let micros = |time| view::at(time).map(Timestamp::as_micros);
    let noted = answer.events.iter().map(|event| event.at);
    let until = noted
        .chain(answer.evidence.iter().map(|evidence| evidence.captured_at))
        .filter_map(micros)
        .max();
    html! {
        div.chart #levels data-height="230" data-src=(format!("{machine}/series")) data-opened=[micros(incident.opened_at)] data-until=[until]
            data-paged=[micros(incident.paged_at)] data-closed=[micros(incident.closed_at)]
            role="img" aria-label="Level of each sensor around the incident" {}
        div.chart-foot #levels-legend {}
    }
}
