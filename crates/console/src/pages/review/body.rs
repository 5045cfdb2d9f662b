//! The review from top to bottom, the same on the page and in the file.

use maud::{Markup, html};
use tocsin_contracts::incident_review::State;

use super::{View, heatmap, levels, peers, record, spectra, text};
use crate::view::{self, badge, moment, tag};

pub(super) fn body(view: View<'_>) -> Markup {
    let document = view.document;
    let incident = &document.incident;
    let marks = levels::marks(document);
    let id = incident.incident_id;
    html! {
        @if view.who.is_some() { div data-zone=(incident.time_zone) hidden {} }
        div.heading {
            p.crumbs {
                (view.linked("/incidents", &html! { "Incidents" })) " / "
                (view.linked(&format!("/incidents/{id}"), &html! { "Incident " (id) }))
            }
            h1 { "Review of incident " (id) " · " (incident.machine) }
            div.state-line {
                (badge(&incident.severity))
                (standing(view))
                @if incident.replay { (tag("replay")) span.sub { "from a replayed history: times are capture times" } }
            }
        }
        @if view.who.is_some() { (tools(view)) } @else { p.sub.made { "All times are UTC. This file is whole in itself and asks no network for anything." } }
        div.columns.review-head {
            div { (text::section(view)) }
            div { (text::facts(view)) }
        }
        (levels::section(view, &marks))
        (heatmap::section(document, &marks))
        (spectra::section(document))
        (peers::section(view, &marks))
        (record::section(view))
        (proof(view))
    }
}

/// Draft or final, and which version.
fn standing(view: View<'_>) -> Markup {
    let review = &view.document.review;
    html! {
        @match review.state {
            State::None => (tag("not begun")),
            State::Draft => { (tag("draft")) span { "version " (review.version) } },
            State::Final => { (tag("final")) span { "version " (review.version) } },
        }
    }
}

/// Ways to take it along, and to its other versions.
fn tools(view: View<'_>) -> Markup {
    let (href, version) = (view.href(), view.document.review.version);
    let shown = if version == 0 {
        String::new()
    } else {
        format!("?version={version}")
    };
    html! {
        div.toolbar {
            span.sub { "Export" }
            @for (format, name) in [("html", "HTML"), ("csv", "CSV"), ("parquet", "Parquet"), ("json", "JSON")] {
                a.button href=(format!("{href}/export.{format}{shown}")) download { (name) }
            }
            @if view.versions.len() > 1 {
                nav.segments.push aria-label="Versions" {
                    @for one in view.versions.iter().rev() {
                        a href=(format!("{href}?version={}", one.version)) aria-current=[(one.version == version).then_some("true")] { (one.version) " " (one.state) }
                    }
                }
            }
        }
    }
}

/// What a final review is known by.
fn proof(view: View<'_>) -> Markup {
    let review = view.review;
    html! {
        section.card #proof {
            @if review.digest.is_empty() {
                p.hint { "A draft: it shows what is known now. When it is made final all of this is kept as it is then, under a digest." }
            } @else {
                p {
                    "Version " (review.version) ", final since " (moment(view::at(review.finalised_at))) " by " (review.finalised_by) "."
                }
                p.hint { "SHA-256 of its JSON export, which the other exports name: " code #digest { (review.digest) } }
            }
        }
    }
}
