//! What people do with an incident beside taking it: they comment on it and hand it over.

use axum::extract::{Form, Path};
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;
use tocsin_contracts::access::v1::WhoAmIResponse;
use tocsin_contracts::incidents::v1::{
    CommentIncidentRequest, HandOverIncidentRequest, Incident, OrderWorkRequest, WorkOrder,
};
use tocsin_domain::PersonRole;

use super::{NOTE_CHARS, number};
use crate::failure::{Failure, Part};
use crate::session::{Session, may};
use crate::view::{self, moment};

/// A comment.
#[derive(Debug, Deserialize)]
pub(crate) struct Comment {
    #[serde(default)]
    text: String,
}

/// A hand-over.
#[derive(Debug, Deserialize)]
pub(crate) struct HandOver {
    #[serde(default)]
    to: String,
    #[serde(default)]
    note: String,
}

/// An order of work.
#[derive(Debug, Deserialize)]
pub(crate) struct Order {
    #[serde(default)]
    reference: String,
    #[serde(default)]
    note: String,
}

/// `POST /incidents/{id}/work-order`.
pub(crate) async fn order_work(
    session: Session,
    Path(id): Path<String>,
    Form(form): Form<Order>,
) -> Result<Redirect, Failure> {
    let incident_id = number(&id)?;
    let request = OrderWorkRequest {
        incident_id,
        reference: form.reference,
        note: form.note,
    };
    session
        .incidents()
        .order_work(request)
        .await
        .map_err(Part::Incidents.failed())?;
    Ok(Redirect::to(&format!("/incidents/{incident_id}")))
}

/// `POST /incidents/{id}/comment`.
pub(crate) async fn comment(
    session: Session,
    Path(id): Path<String>,
    Form(form): Form<Comment>,
) -> Result<Redirect, Failure> {
    let incident_id = number(&id)?;
    let request = CommentIncidentRequest {
        incident_id,
        text: form.text,
    };
    session
        .incidents()
        .comment_incident(request)
        .await
        .map_err(Part::Incidents.failed())?;
    Ok(Redirect::to(&format!("/incidents/{incident_id}")))
}

/// `POST /incidents/{id}/hand-over`.
pub(crate) async fn hand_over(
    session: Session,
    Path(id): Path<String>,
    Form(form): Form<HandOver>,
) -> Result<Redirect, Failure> {
    let incident_id = number(&id)?;
    let request = HandOverIncidentRequest {
        incident_id,
        to: form.to,
        note: form.note,
    };
    session
        .incidents()
        .hand_over_incident(request)
        .await
        .map_err(Part::Incidents.failed())?;
    Ok(Redirect::to(&format!("/incidents/{incident_id}")))
}

/// The work order in the maintenance system, or the way to one.
pub(super) fn work_order(who: &WhoAmIResponse, incident: &Incident, order: Option<&WorkOrder>) -> Markup {
    html! {
        @if let Some(order) = order {
            p.work-order {
                "Work order " strong { (order.reference) }
                @if !order.url.is_empty() { " · " a href=(order.url) rel="noreferrer" { "open it" } }
                " by " (order.ordered_by) " " (moment(view::at(order.ordered_at)))
            }
        } @else if may(who, PersonRole::Operator) {
            form.take method="post" action=(format!("/incidents/{}/work-order", incident.incident_id)) {
                label for="work-note" { "Work order: what is to be done" }
                input #work-note type="text" name="note" maxlength=(NOTE_CHARS);
                label for="reference" { "Its reference, if it was ordered by other means" }
                input #reference type="text" name="reference" maxlength="200" autocomplete="off";
                button type="submit" { "Order work" }
            }
        }
    }
}

/// The forms, for those who may act.
pub(super) fn forms(who: &WhoAmIResponse, incident: &Incident) -> Markup {
    let href = format!("/incidents/{}", incident.incident_id);
    html! {
        @if may(who, PersonRole::Operator) {
            @if incident.state == "active_acknowledged" {
                form.take method="post" action=(format!("{href}/hand-over")) {
                    label for="to" { "Hand over to" }
                    input #to type="text" name="to" required placeholder="Their sign-in name" autocomplete="off";
                    label for="hand-over-note" { "Note (optional)" }
                    input #hand-over-note type="text" name="note" maxlength=(NOTE_CHARS);
                    button type="submit" { "Hand over" }
                }
            }
            form.take method="post" action=(format!("{href}/comment")) {
                label for="text" { "Comment" }
                textarea #text name="text" rows="2" required maxlength=(NOTE_CHARS) placeholder="What was found, what was done" {}
                button type="submit" { "Add" }
            }
        }
    }
}
