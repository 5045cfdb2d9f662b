//! A page's own link: whoever has it may take the incident, without signing in. Looking changes nothing, for scanners of
//! mail look at every link.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use maud::{Markup, html};
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::incidents::v1::{
    AcknowledgeByLinkRequest, GetAcknowledgeLinkRequest, GetAcknowledgeLinkResponse, GetPagePictureRequest, Incident,
};
use tonic::{Code, Status};

use crate::console::App;
use crate::failure::{Failure, Part};
use crate::layout;
use crate::security::CROSS_ORIGIN_RESOURCE_POLICY;
use crate::view::{at, moment};

/// `GET /acknowledge/{token}`.
pub(crate) async fn show(State(app): State<App>, Path(token): Path<String>) -> Response {
    let mut client = IncidentsServiceClient::new(app.services.incidents.clone());
    let request = GetAcknowledgeLinkRequest { token: token.clone() };
    match client.get_acknowledge_link(request).await {
        Ok(answer) => seen(&token, &answer.into_inner()).into_response(),
        Err(status) => refused(&status),
    }
}

/// `POST /acknowledge/{token}`.
pub(crate) async fn take(State(app): State<App>, Path(token): Path<String>) -> Response {
    let mut client = IncidentsServiceClient::new(app.services.incidents.clone());
    match client.acknowledge_by_link(AcknowledgeByLinkRequest { token }).await {
        Ok(answer) => {
            let id = answer.into_inner().incident_id;
            let text = "It is yours: nobody else is called about it, unless it goes further.";
            said("Acknowledged", text, Some(id)).into_response()
        }
        Err(status) => refused(&status),
    }
}

/// `GET /pictures/{token}`: the picture on a page. Receivers of pages show it on pages of their own.
pub(crate) async fn picture(State(app): State<App>, Path(token): Path<String>) -> Response {
    let mut client = IncidentsServiceClient::new(app.services.incidents.clone());
    match client.get_page_picture(GetPagePictureRequest { token }).await {
        Ok(answer) => {
            let headers = [
                (CONTENT_TYPE, "image/png"),
                (CACHE_CONTROL, "private, max-age=86400, immutable"),
                (CROSS_ORIGIN_RESOURCE_POLICY, "cross-origin"),
            ];
            (headers, answer.into_inner().png).into_response()
        }
        Err(status) => refused(&status),
    }
}

/// What the link's incident is, and the button that takes it.
fn seen(token: &str, answer: &GetAcknowledgeLinkResponse) -> Markup {
    let incident = answer.incident.clone().unwrap_or_default();
    let Incident {
        incident_id,
        acknowledged_by,
        ..
    } = &incident;
    let body = html! {
        main.sign-in {
            h1 { (incident.machine) " at " (incident.site) }
            p { (answer.summary) }
            p.hint { "Incident " (incident_id) ", since " (moment(at(incident.opened_at))) }
            @if answer.may_acknowledge {
                form method="post" action={ "/acknowledge/" (token) } {
                    button.primary type="submit" autofocus { "Acknowledge" }
                }
                p.hint { "This link needs no sign-in and works once. It says that you look after the machine." }
            } @else if acknowledged_by.is_empty() {
                p.notice role="status" { "There is nothing to acknowledge here: the incident is over, or a newer page has been sent." }
            } @else {
                p.notice role="status" { "Already taken: " (acknowledged_by) "." }
            }
            p { a href={ "/incidents/" (incident_id) } { "The incident, with its evidence" } " (with an account)" }
        }
    };
    layout::bare("Acknowledge", &body)
}

fn said(title: &str, text: &str, incident: Option<i64>) -> Markup {
    let body = html! {
        main.sign-in {
            h1 { (title) }
            p.notice role="status" { (text) }
            @if let Some(id) = incident {
                p { a href={ "/incidents/" (id) } { "The incident, with its evidence" } " (with an account)" }
            } @else {
                p { a href="/incidents" { "All incidents" } " (with an account)" }
            }
        }
    };
    layout::bare(title, &body)
}

/// Why a link does nothing, for whoever has no account to look further.
fn refused(status: &Status) -> Response {
    let (code, text) = match status.code() {
        Code::Unauthenticated => (
            StatusCode::UNAUTHORIZED,
            "This link is not one of ours, or was cut short on its way.".to_owned(),
        ),
        Code::FailedPrecondition => (
            StatusCode::CONFLICT,
            format!("Nothing was changed: {}.", status.message()),
        ),
        Code::NotFound => (
            StatusCode::NOT_FOUND,
            "What the link is about is not there any more.".to_owned(),
        ),
        _ => return Failure::from_public(Part::Incidents, status).into_response(),
    };
    (code, said("Not acknowledged", &text, None)).into_response()
}
