//! Floods: many machines that somebody was told of together.

use axum::extract::{Form, Path};
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;
use tocsin_contracts::incidents::v1::{
    AcknowledgeFloodRequest, Flood, GetFloodRequest, GetFloodResponse, ListFloodsRequest,
};
use tocsin_domain::PersonRole;

use super::incidents;
use crate::failure::{Failure, Part};
use crate::layout::{Nav, page};
use crate::session::{Session, may};
use crate::view::{self, moment, moment_and_age};

/// Floods on the page.
const LIMIT: u32 = 100;

/// The acknowledgement.
#[derive(Debug, Deserialize)]
pub(crate) struct Note {
    #[serde(default)]
    note: String,
}

/// `GET /floods`.
pub(crate) async fn show(session: Session) -> Result<Markup, Failure> {
    let mut client = session.incidents();
    let (who, floods) = tokio::try_join!(session.who(), async {
        let asked = ListFloodsRequest { limit: LIMIT };
        client.list_floods(asked).await.map_err(Part::Incidents.failed())
    })?;
    let floods = floods.into_inner().floods;
    let body = html! {
        div.heading { p.crumbs { a href="/incidents" { "Incidents" } } h1 { "Floods" } }
        p.hint { "More than ten machines new to one recipient in ten minutes are one page. A machine that differs from them is paged alone." }
        div #floods data-live {
            @if floods.is_empty() { section.card { p { (view::icon("normal")) " No flood so far." } } }
            @else {
                div.table-frame {
                    table {
                        thead { tr { th scope="col" { "Flood" } th scope="col" { "Told" } th scope="col" { "Began" } th scope="col" { "Ended" } th.num scope="col" { "Machines" } th.num scope="col" { "Waiting" } } }
                        tbody { @for flood in &floods { (row(flood)) } }
                    }
                }
            }
        }
    };
    Ok(page("Floods", Nav::Incidents, &who, &body))
}

fn row(flood: &Flood) -> Markup {
    html! {
        tr data-open=[(flood.unacknowledged > 0).then_some("true")] {
            th scope="row" { a href=(format!("/floods/{}", flood.flood_id)) { "#" (flood.flood_id) } }
            td data-label="told" { (flood.destination) }
            td data-label="began" { (moment_and_age(view::at(flood.began_at))) }
            td data-label="ended" { @if flood.ended_at.is_some() { (moment(view::at(flood.ended_at))) } @else { span.none { "goes on" } } }
            td.num data-label="machines" { (view::count(flood.incidents)) }
            td.num data-label="waiting" { (view::count(flood.unacknowledged)) }
        }
    }
}

/// `GET /floods/{id}`.
pub(crate) async fn one(session: Session, Path(id): Path<String>) -> Result<Markup, Failure> {
    let asked = GetFloodRequest { flood_id: number(&id)? };
    let mut client = session.incidents();
    let (who, answer) = tokio::try_join!(session.who(), async {
        client.get_flood(asked).await.map_err(Part::Incidents.failed())
    })?;
    let GetFloodResponse { flood, incidents } = answer.into_inner();
    let flood = flood.ok_or_else(|| Failure::NotFound(format!("flood {id}")))?;
    let body = html! {
        div.heading {
            p.crumbs { a href="/incidents" { "Incidents" } " / " a href="/floods" { "Floods" } }
            h1 { "Flood " (flood.flood_id) }
        }
        section.card #flood data-live {
            p {
                strong { (view::count(flood.incidents)) " machines" } " at once, told to " strong { (flood.destination) }
                " together, " (moment_and_age(view::at(flood.began_at))) "."
            }
            @if flood.unacknowledged > 0 && may(&who, PersonRole::Operator) {
                form.take method="post" action=(format!("/floods/{}/acknowledge", flood.flood_id)) {
                    label for="note" { "Note for the record of each (optional)" }
                    textarea #note name="note" rows="2" maxlength="2000" placeholder="What they have in common" {}
                    button.primary type="submit" { "Acknowledge all " (view::count(flood.unacknowledged)) }
                    span.sub { "as " (who.name) }
                }
            }
        }
        section.card { div.card-head { h2 { "Its incidents" } } div #incidents data-live { (incidents::table(&incidents, true)) } }
    };
    Ok(page(&format!("Flood {}", flood.flood_id), Nav::Incidents, &who, &body))
}

/// `POST /floods/{id}/acknowledge`.
pub(crate) async fn acknowledge(
    session: Session,
    Path(id): Path<String>,
    Form(form): Form<Note>,
) -> Result<Redirect, Failure> {
    let flood_id = number(&id)?;
    let note = form.note.trim().to_owned();
    let mut client = session.incidents();
    client
        .acknowledge_flood(AcknowledgeFloodRequest { flood_id, note })
        .await
        .map_err(Part::Incidents.failed())?;
    Ok(Redirect::to(&format!("/floods/{flood_id}")))
}

fn number(id: &str) -> Result<i64, Failure> {
    id.parse()
        .map_err(|_| Failure::NotFound(format!("flood {id:?}: not a number")))
}
