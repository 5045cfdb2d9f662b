//! Whether people are paged about the machine, and the forms that change it.

use axum::extract::{Form, Path};
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;
use tocsin_contracts::access::v1::WhoAmIResponse;
use tocsin_contracts::incidents::v1::{RestoreMachineRequest, SuppressMachineRequest, Suppression};
use tocsin_domain::PersonRole;

use crate::failure::{Failure, Part};
use crate::pages::suppressions;
use crate::session::{Session, may};
use crate::view::{self, machine_href, moment};

/// A reason longer than this is cut by the browser already.
const REASON_CHARS: usize = 500;

/// Hours that can be chosen, with their names.
const HOURS: [(u64, &str); 6] = [
    (1, "1 hour"),
    (4, "4 hours"),
    (8, "8 hours"),
    (24, "a day"),
    (72, "3 days"),
    (168, "a week"),
];

/// What is asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Order {
    kind: String,
    hours: u64,
    #[serde(default)]
    one_shot: Option<String>,
    #[serde(default)]
    reason: String,
}

/// `POST /sites/{site}/machines/{machine}/suppress`.
pub(crate) async fn suppress(
    session: Session,
    Path((site, machine)): Path<(String, String)>,
    Form(order): Form<Order>,
) -> Result<Redirect, Failure> {
    let back = machine_href(&site, &machine);
    let request = SuppressMachineRequest {
        site,
        machine,
        kind: order.kind,
        for_s: order.hours.saturating_mul(3_600),
        one_shot: order.one_shot.is_some(),
        reason: order.reason,
    };
    let mut client = session.incidents();
    client
        .suppress_machine(request)
        .await
        .map_err(Part::Incidents.failed())?;
    Ok(Redirect::to(&back))
}

/// `POST /sites/{site}/machines/{machine}/restore`.
pub(crate) async fn restore(
    session: Session,
    Path((site, machine)): Path<(String, String)>,
) -> Result<Redirect, Failure> {
    let back = machine_href(&site, &machine);
    let mut client = session.incidents();
    client
        .restore_machine(RestoreMachineRequest { site, machine })
        .await
        .map_err(Part::Incidents.failed())?;
    Ok(Redirect::to(&back))
}

/// The card of the machine's page.
pub(super) fn card(who: &WhoAmIResponse, (site, machine): (&str, &str), in_force: Option<&Suppression>) -> Markup {
    let base = machine_href(site, machine);
    html! {
        @match in_force {
            Some(one) => {
                p {
                    (view::tag(suppressions::state(one))) " by " strong { (one.by) } " until " (moment(view::at(one.until)))
                    @if one.one_shot { ", or until its incident clears" }
                    ": " (one.reason)
                }
                p.hint {
                    "Judged as ever, nobody is paged. "
                    a href=(format!("/suppressions/{}", one.suppression_id)) {
                        @if one.suppressed_pages == 1 { "One page was kept" } @else { (view::count(one.suppressed_pages)) " pages were kept" }
                    } "."
                }
                @if may(who, PersonRole::Operator) {
                    form.take method="post" action=(format!("{base}/restore")) {
                        button.primary type="submit" { "Return to service" }
                        span.sub { "What was kept is sent if it is still so and nobody has taken it." }
                    }
                }
            }
            None if may(who, PersonRole::Operator) => (form(&base)),
            None => p { "In service: people are paged about it." },
        }
    }
}

fn form(base: &str) -> Markup {
    html! {
        p { "In service: people are paged about it." }
        form.take method="post" action=(format!("{base}/suppress")) {
            label for="kind" { "Keep its pages from people" }
            select #kind name="kind" {
                option value="shelved" { "Shelve: known, not now" }
                option value="out_of_service" { "Out of service: being worked on, its readings teach nothing" }
            }
            label for="hours" { "For" }
            select #hours name="hours" { @for (hours, name) in HOURS { option value=(hours) selected[hours == 8] { (name) } } }
            label.inline for="one_shot" { input #one_shot type="checkbox" name="one_shot" value="yes"; " shelve only until its incident clears" }
            label for="reason" { "Reason" }
            input #reason type="text" name="reason" required maxlength=(REASON_CHARS) placeholder="Why nobody is to be paged";
            button type="submit" { "Keep pages" }
        }
    }
}
