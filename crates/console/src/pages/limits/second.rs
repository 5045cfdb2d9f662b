//! A second person's approval: who asked for a set, who approved it, whom it waits for, and which sites want it so.

use axum::extract::{Form, Path};
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;
use tocsin_contracts::access::v1::WhoAmIResponse;
use tocsin_contracts::fleet::v1::{SetSecondApprovalRequest, Site};
use tocsin_contracts::recalibrator::v1::ThresholdSet;
use tocsin_domain::PersonRole;

use super::REASON_CHARS;
use crate::failure::{Failure, Part};
use crate::session::{Session, may};
use crate::view::{self, moment};

/// What the form says.
#[derive(Debug, Deserialize)]
pub(crate) struct Order {
    #[serde(default)]
    asks: String,
    #[serde(default)]
    reason: String,
}

/// `POST /sites/{site}/second-approval`.
pub(crate) async fn set(
    session: Session,
    Path(site): Path<String>,
    Form(order): Form<Order>,
) -> Result<Redirect, Failure> {
    let second_approval = match order.asks.as_str() {
        "yes" => true,
        "no" => false,
        _ => return Err(Failure::Refused("asks: neither yes nor no".to_owned())),
    };
    let request = SetSecondApprovalRequest {
        site,
        second_approval,
        reason: order.reason,
    };
    let done = session.fleet().set_second_approval(request).await;
    done.map_err(Part::Fleet.failed())?;
    Ok(Redirect::to("/limits#second-approval"))
}

/// Whether a set waits for a second person, at a site that the looker sees.
pub(super) fn is_needed(set: &ThresholdSet) -> bool {
    !set.approval_needed_at.is_empty()
}

/// Whether the looker may be who it waits for: an engineer, of one of the sites at least, who has not agreed yet.
pub(super) fn may_approve(set: &ThresholdSet, who: &WhoAmIResponse) -> bool {
    let sees = who.all_sites
        || (!set.asked_by.is_empty() && set.approval_needed_at.iter().any(|site| who.sites.contains(site)));
    let waits = matches!(set.state.as_str(), "tested" | "approved") && is_needed(set);
    let has_agreed = set.asked_by == who.name || set.approvals.iter().any(|approval| approval.by == who.name);
    waits && sees && may(who, PersonRole::Engineer) && !has_agreed
}

/// Who stands for a set, and whom it waits for.
pub(super) fn persons(set: &ThresholdSet) -> Markup {
    html! {
        @if !set.asked_by.is_empty() && (is_needed(set) || !set.approvals.is_empty()) {
            p { "Asked for by " strong { (set.asked_by) } " " (moment(view::at(set.asked_at))) "." }
        }
        @for approval in &set.approvals {
            p { "Approved by " strong { (approval.by) } " " (moment(view::at(approval.at))) @if !approval.reason.is_empty() { ": " (approval.reason) } }
        }
        @if is_needed(set) {
            p.warn #needed { (view::icon("alert")) " Waits for a second person: " (set.approval_needed) "." }
        }
    }
}

/// Which sites ask for a second person; administrators change it.
pub(super) fn sites(sites: &[Site], who: &WhoAmIResponse) -> Markup {
    let changes = may(who, PersonRole::Admin);
    html! {
        @if !sites.is_empty() {
            section.card #second-approval {
                div.card-head {
                    h2 { "Approval by a second person" }
                    p.sub { "Where a site asks for it, limits that one person asked for come into force by hand only when another, an engineer or admin of that site, has approved them. Of a class of several sites any one that asks will do. Policy and rolling back ask nobody." }
                }
                div.table-frame {
                    table {
                        caption.visually-hidden { "Sites and whether they ask for a second person's approval of alarm limits" }
                        thead { tr { th scope="col" { "Site" } th scope="col" { "Second person" } @if changes { th scope="col" { "Change" } } } }
                        tbody { @for site in sites { (row(site, changes)) } }
                    }
                }
                @if !changes { p.hint { "Changing this needs the role admin; yours is " (who.role) "." } }
            }
        }
    }
}

fn row(site: &Site, changes: bool) -> Markup {
    let (asks, button) = if site.second_approval {
        ("no", "Ask no more")
    } else {
        ("yes", "Ask for one")
    };
    let reason = format!("second-reason-{}", site.name);
    html! {
        tr {
            th scope="row" { (site.name) }
            td data-label="second person" { @if site.second_approval { (view::tag("asked for")) } @else { span.none { "not asked for" } } }
            @if changes {
                td data-label="change" {
                    form.take method="post" action=(view::second_approval_href(&site.name)) {
                        input type="hidden" name="asks" value=(asks);
                        label for=(reason) { "Reason" }
                        input id=(reason) type="text" name="reason" required maxlength=(REASON_CHARS);
                        button type="submit" { (button) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str, role: &str, sites: &[&str]) -> WhoAmIResponse {
        WhoAmIResponse {
            name: name.to_owned(),
            role: role.to_owned(),
            all_sites: sites.is_empty(),
            sites: sites.iter().map(|site| (*site).to_owned()).collect(),
            ..WhoAmIResponse::default()
        }
    }

    #[test]
    fn the_second_person_is_an_engineer_of_the_site_who_has_not_agreed_yet() {
        let set = ThresholdSet {
            state: "tested".to_owned(),
            asked_by: "ana".to_owned(),
            approval_needed_at: vec!["north".to_owned()],
            ..ThresholdSet::default()
        };
        assert!(may_approve(&set, &person("bo", "engineer", &["north"])));
        assert!(may_approve(&set, &person("cy", "admin", &[])));
        assert!(!may_approve(&set, &person("ana", "admin", &[])), "who asked");
        assert!(!may_approve(&set, &person("dan", "operator", &["north"])));
        assert!(!may_approve(&set, &person("eve", "engineer", &["south"])));
        let asked_by_nobody = ThresholdSet {
            asked_by: String::new(),
            ..set.clone()
        };
        assert!(!may_approve(&asked_by_nobody, &person("bo", "engineer", &["north"])));
        assert!(may_approve(&asked_by_nobody, &person("cy", "engineer", &[])));
        let early = ThresholdSet {
            state: "proposed".to_owned(),
            ..set
        };
        assert!(!may_approve(&early, &person("bo", "engineer", &["north"])));
    }
}
