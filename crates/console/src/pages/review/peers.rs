//! The other machines of the class on the site, at the same time: whether the fleet went with it.

use maud::{Markup, html};
use tocsin_contracts::incident_review::{PeerPoint, Peers};

use super::View;
use super::levels::{Mark, marked, shaded};
use super::plot::{Frame, LevelScale, TimeAxis, path, times, unit};
use crate::view::{level, machine_href, moment};

pub(super) fn section(view: View<'_>, marks: &[Mark]) -> Markup {
    let (incident, peers) = (&view.document.incident, &view.document.peers);
    html! {
        section.card #peers-section {
            div.card-head {
                h2 { "Peers" }
                p.sub { "Machines of class " (incident.class) " on " (incident.site) " at the same time" }
            }
            @if peers.machines == 0 {
                p.none { "It is the only machine of its class on this site." }
            } @else if peers.points.iter().all(|point| point.median.is_none()) {
                p.none { "None of the " (peers.machines) " other machines was judged in this time." }
            } @else {
                (chart(view, marks))
                (worst(view, peers))
                (table(&peers.points))
            }
        }
    }
}

fn chart(view: View<'_>, marks: &[Mark]) -> Markup {
    let (document, peers) = (view.document, &view.document.peers);
    let axis = TimeAxis::of(&document.window);
    let all = peers.points.iter().flat_map(|point| [point.own, point.high]);
    let scale = LevelScale::up_to(all.flatten().fold(0.0, f32::max));
    let line = |of: fn(&PeerPoint) -> Option<f32>| {
        path(
            peers
                .points
                .iter()
                .filter_map(|point| Some((false, axis.x(point.at), scale.y(of(point)?)))),
        )
    };
    let frame = Frame {
        label: "Level of the machine, and the median and band of its peers; the table below has the numbers",
        size: "short",
        side: scale.ticks(),
        bottom: times(axis),
        drawing: html! {
            (shaded(document, axis))
            path.band d=(band(&peers.points, axis, scale)) {}
            path.median d=(line(|point| point.median)) {}
            path.series.s1.decided d=(line(|point| point.own)) {}
        },
        over: marked(axis, marks, false),
    };
    html! {
        (frame.draw())
        div.chart-foot {
            span.key { svg viewBox="0 0 20 12" { path.series.s1 d="M0 6H20" {} } (document.incident.machine) }
            span.key { svg viewBox="0 0 20 12" { path.median d="M0 6H20" {} } "median of its peers" }
            span.key { svg viewBox="0 0 20 12" { rect.band width="20" height="12" {} } "10th to 90th percentile of them" }
            span { "The first reading of each sensor in each of " (peers.points.len()) " intervals; a machine has the highest level of its sensors." }
        }
    }
}

/// There along the ninetieth percentile, and back along the tenth.
fn band(points: &[PeerPoint], axis: TimeAxis, scale: LevelScale) -> String {
    let there = points
        .iter()
        .filter_map(|point| Some((axis.x(point.at), scale.y(point.high?))));
    let back = points
        .iter()
        .rev()
        .filter_map(|point| Some((axis.x(point.at), scale.y(point.low?))));
    let corners: Vec<String> = there
        .chain(back)
        .map(|(x, y)| format!("{} {}", unit(x), unit(y)))
        .collect();
    if corners.is_empty() {
        return String::new();
    }
    format!("M{}Z", corners.join("L"))
}

fn worst(view: View<'_>, peers: &Peers) -> Markup {
    let site = &view.document.incident.site;
    html! {
        p {
            "Highest among them: "
            @for (nth, one) in peers.worst.iter().enumerate() {
                @if nth > 0 { ", " }
                (view.linked(&machine_href(site, &one.machine), &html! { (one.machine) })) " at level " (level(one.level)) " (" (moment(Some(one.at))) ")"
            }
            "."
        }
    }
}

fn table(points: &[PeerPoint]) -> Markup {
    let shown = |value: Option<f32>| value.map_or("–".to_owned(), level);
    html! {
        details {
            summary { "Peers as a table" }
            div.table-frame {
                table {
                    thead { tr {
                        th scope="col" { "From" } th.num scope="col" { "This machine" } th.num scope="col" { "Peers judged" }
                        th.num scope="col" { "10th percentile" } th.num scope="col" { "Median" } th.num scope="col" { "90th percentile" }
                    } }
                    tbody {
                        @for point in points {
                            tr {
                                th scope="row" { (moment(Some(point.at))) }
                                td.num { (shown(point.own)) } td.num { (point.machines) }
                                td.num { (shown(point.low)) } td.num { (shown(point.median)) } td.num { (shown(point.high)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
