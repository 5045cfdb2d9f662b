//! The frame every page stands in.

use maud::{DOCTYPE, Markup, html};
use tocsin_contracts::access::v1::WhoAmIResponse;
use tocsin_domain::PersonRole;

use crate::assets::href;
use crate::session::may;
use crate::view::{icon, sprite};

/// Where in the navigation a page stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nav {
    Fleet,
    Incidents,
    Sensors,
    Models,
    Limits,
    System,
    Audit,
    Account,
}

const NAV: [(Nav, &str, &str); 6] = [
    (Nav::Fleet, "/", "Fleet"),
    (Nav::Incidents, "/incidents", "Incidents"),
    (Nav::Sensors, "/sensors", "Sensors"),
    (Nav::Models, "/models", "Models"),
    (Nav::Limits, "/limits", "Alarm limits"),
    (Nav::System, "/system", "System"),
];

/// A page for someone who is signed in. `body` holds elements with `data-live`, which the page's script renews.
pub(crate) fn page(title: &str, nav: Nav, who: &WhoAmIResponse, body: &Markup) -> Markup {
    framed(title, &["console.js"], nav, who, body)
}

/// The same with charts.
pub(crate) fn page_with_charts(title: &str, nav: Nav, who: &WhoAmIResponse, body: &Markup) -> Markup {
    framed(
        title,
        &["uplot.js", "charts.js", "machine.js", "console.js"],
        nav,
        who,
        body,
    )
}

/// The same with the review's own script.
pub(crate) fn page_of_review(title: &str, who: &WhoAmIResponse, body: &Markup) -> Markup {
    framed(title, &["review.js", "console.js"], Nav::Incidents, who, body)
}

fn framed(title: &str, scripts: &[&str], nav: Nav, who: &WhoAmIResponse, body: &Markup) -> Markup {
    document(
        title,
        scripts,
        &html! {
            a.skip href="#content" { "Skip to content" }
            header.top {
                (wordmark())
                nav aria-label="Main" {
                    @for (entry, path, name) in NAV {
                        a href=(path) aria-current=[(entry == nav).then_some("page")] { (name) }
                    }
                    @if sees_audit(who) { a href="/audit" aria-current=[(nav == Nav::Audit).then_some("page")] { "Audit" } }
                }
                div.top-end {
                    span #live role="status" data-state="connecting" { "connecting…" }
                    button.quiet #theme type="button" title="Light or dark" aria-label="Switch between light and dark" { (icon("theme")) }
                    a.who href="/account" aria-current=[(nav == Nav::Account).then_some("page")] {
                        (icon("person")) span.who-name { (who.name) }
                    }
                }
            }
            main #content { (body) }
        },
    )
}

/// The record speaks of every site: who sees one alone is not sent there.
fn sees_audit(who: &WhoAmIResponse) -> bool {
    who.all_sites && may(who, PersonRole::Engineer)
}

/// A page for nobody in particular: signing in, errors.
pub(crate) fn bare(title: &str, body: &Markup) -> Markup {
    let frame = html! {
        header.top { (wordmark()) }
        (body)
    };
    document(title, &["console.js"], &frame)
}

fn wordmark() -> Markup {
    html! { a.wordmark href="/" { (icon("bell")) "Tocsin" } }
}

fn document(title: &str, scripts: &[&str], body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Tocsin" }
                link rel="icon" href=(href("favicon.svg")) type="image/svg+xml";
                @if scripts.contains(&"uplot.js") { link rel="stylesheet" href=(href("uplot.css")); }
                link rel="stylesheet" href=(href("console.css"));
                script src=(href("theme.js")) {}
                @for script in scripts { script src=(href(script)) defer {} }
            }
            body { (sprite()) (body) }
        }
    }
}
