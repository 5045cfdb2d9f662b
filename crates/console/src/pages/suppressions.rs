//! Machines whose pages are kept from people, and what was kept.

use axum::extract::{Path, Query};
use maud::{Markup, html};
use serde::Deserialize;
use tocsin_contracts::incidents::v1::{
    GetSuppressionRequest, GetSuppressionResponse, ListSuppressionsRequest, SuppressedPage, Suppression,
};

use crate::failure::{Failure, Part};
use crate::layout::{Nav, page};
use crate::session::Session;
use crate::view::{self, machine_href, moment, moment_and_age};

/// Suppressions on one page of the list.
const LIMIT: u32 = 100;

/// What the address says.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    show: String,
    #[serde(default)]
    before: i64,
}

/// `GET /suppressions`.
pub(crate) async fn show(session: Session, Query(asked): Query<Asked>) -> Result<Markup, Failure> {
    let all = asked.show == "all";
    let request = ListSuppressionsRequest {
        in_force_only: !all,
        limit: LIMIT,
        before_suppression_id: asked.before,
        ..ListSuppressionsRequest::default()
    };
    let mut client = session.incidents();
    let (who, listed) = tokio::try_join!(session.who(), async {
        client
            .list_suppressions(request)
            .await
            .map_err(Part::Incidents.failed())
    })?;
    let listed = listed.into_inner().suppressions;
    let full = listed.len() == LIMIT as usize;
    let older = listed.last().filter(|_| full).map(|last| last.suppression_id);
    let which = if all { "all" } else { "now" };
    let body = html! {
        div.heading {
            p.crumbs { a href="/incidents" { "Incidents" } }
            h1 { "Shelved and out of service" }
        }
        div.toolbar {
            nav.segments aria-label="Which" {
                @for (value, name) in [("now", "Now"), ("all", "All")] {
                    a href=(format!("/suppressions?show={value}")) aria-current=[(value == which).then_some("true")] { (name) }
                }
            }
            span.sub.push { "These machines are judged as ever; their pages are kept, and are listed with them." }
        }
        div #suppressions data-live {
            @if listed.is_empty() && !all { section.card { p { (view::icon("normal")) " Every machine is in service: pages go out." } } }
            @else { (table(&listed)) }
            @if let Some(older) = older { p { a.button href=(format!("/suppressions?show={which}&before={older}")) { "Older" } } }
        }
    };
    Ok(page("Shelved and out of service", Nav::Incidents, &who, &body))
}

fn table(listed: &[Suppression]) -> Markup {
    html! {
        @if listed.is_empty() { p.none { "None so far." } }
        @else {
            div.table-frame {
                table {
                    thead {
                        tr {
                            th scope="col" { "Machine" } th scope="col" { "State" } th scope="col" { "Since" } th scope="col" { "Until" }
                            th scope="col" { "Reason" } th.num scope="col" { "Pages kept" }
                        }
                    }
                    tbody { @for one in listed { (row(one)) } }
                }
            }
        }
    }
}

fn row(one: &Suppression) -> Markup {
    html! {
        tr data-open=[one.ended_at.is_none().then_some("true")] {
            th scope="row" { a href=(machine_href(&one.site, &one.machine)) { (one.machine) } span.sub { (one.site) } }
            td { (state(one)) span.sub { "by " (one.by) } }
            td data-label="since" { (moment_and_age(view::at(one.from))) }
            td data-label="until" { (end(one)) }
            td data-label="reason" { (one.reason) }
            td.num data-label="pages kept" { a href=(format!("/suppressions/{}", one.suppression_id)) { (view::count(one.suppressed_pages)) } }
        }
    }
}

fn end(one: &Suppression) -> Markup {
    html! {
        @if one.ended_at.is_some() { (moment(view::at(one.ended_at))) span.sub { "ended by " (ended_by(&one.ended_by)) } }
        @else { (moment(view::at(one.until))) @if one.one_shot { span.sub { "or when its incident clears" } } }
    }
}

/// What a suppression is called on screen.
pub(super) fn state(one: &Suppression) -> &'static str {
    match one.kind.as_str() {
        "out_of_service" => "out of service",
        _ => "shelved",
    }
}

fn ended_by(by: &str) -> &str {
    match by {
        "time" => "its time",
        "incident" => "the end of its incident",
        "renewed" => "the next that was asked for",
        person => person,
    }
}

/// `GET /suppressions/{id}`.
pub(crate) async fn one(session: Session, Path(id): Path<String>) -> Result<Markup, Failure> {
    let suppression_id = id
        .parse()
        .map_err(|_| Failure::NotFound(format!("suppression {id:?}: not a number")))?;
    let mut client = session.incidents();
    let (who, answer) = tokio::try_join!(session.who(), async {
        let asked = GetSuppressionRequest { suppression_id };
        client.get_suppression(asked).await.map_err(Part::Incidents.failed())
    })?;
    let GetSuppressionResponse { suppression, pages } = answer.into_inner();
    let one = suppression.ok_or_else(|| Failure::NotFound(format!("suppression {id}")))?;
    let body = html! {
        div.heading {
            p.crumbs { a href="/suppressions" { "Shelved and out of service" } " / " a href=(machine_href(&one.site, &one.machine)) { (one.machine) } }
            h1 { (one.machine) ", " (state(&one)) }
        }
        section.card {
            dl.facts {
                dt { "By" } dd { (one.by) }
                dt { "Reason" } dd { (one.reason) }
                dt { "Since" } dd { (moment_and_age(view::at(one.from))) }
                dt { "Until" } dd { (end(&one)) }
            }
        }
        section.card {
            div.card-head { h2 { "Pages kept" } p.sub { "Decided as ever, and sent to nobody unless it says so." } }
            (kept(&pages))
        }
    };
    Ok(page(
        &format!("{} {}", one.machine, state(&one)),
        Nav::Incidents,
        &who,
        &body,
    ))
}

fn kept(pages: &[SuppressedPage]) -> Markup {
    html! {
        @if pages.is_empty() { p.none { "None: there was nothing to page for." } }
        @else {
            div.table-frame {
                table {
                    thead { tr { th scope="col" { "Incident" } th scope="col" { "Decided" } th scope="col" { "Sent after all" } th scope="col" { "Key" } } }
                    tbody {
                        @for page in pages {
                            tr {
                                th scope="row" { a href=(format!("/incidents/{}", page.incident_id)) { "#" (page.incident_id) } }
                                td data-label="decided" { (moment(view::at(page.decided_at))) }
                                td data-label="sent" { @if page.released_at.is_some() { (moment(view::at(page.released_at))) } @else { span.none { "no" } } }
                                td data-label="key" { code { (page.page_key) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
