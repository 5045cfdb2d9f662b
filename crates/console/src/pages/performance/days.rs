//! A bar for each day, drawn without a script: pages at the bottom, alerts above them.

use maud::{Markup, html};
use tocsin_contracts::review::v1::AlarmDay;

use crate::view;

/// Height of the tallest bar, in units of the picture.
const HEIGHT: f64 = 60.0;
/// Room of a day.
const PITCH: f64 = 10.0;
const WIDTH: f64 = 7.0;

/// The picture, with the same said in words.
pub(super) fn picture(days: &[AlarmDay]) -> Markup {
    let most = days.iter().map(|day| day.alerts + day.pages).max().unwrap_or(0);
    if most == 0 {
        return html! { p.none { "No incident opened." } };
    }
    let view_box = format!("0 0 {} {HEIGHT}", PITCH * days.len() as f64);
    let label = format!("Alarms on each of {} days, at most {most} on one", days.len());
    html! {
        svg.days viewBox=(view_box) preserveAspectRatio="none" role="img" aria-label=(label) {
            @for (place, day) in days.iter().enumerate() { (bar(place, day, HEIGHT / most as f64)) }
        }
        p.days-foot {
            span { (view::moment(days.first().and_then(|day| view::at(day.from)))) }
            span { span.days-key.page {} "reached page " span.days-key.alert {} "stayed at alert" }
            span { "at most " (view::count(most)) " on one day" }
        }
    }
}

fn bar(place: usize, day: &AlarmDay, unit: f64) -> Markup {
    let x = format!("{:.1}", place as f64 * PITCH + (PITCH - WIDTH) / 2.0);
    let (pages, alerts) = (day.pages as f64 * unit, day.alerts as f64 * unit);
    let rect = |class: &'static str, from: f64, height: f64| {
        html! { rect.(class) x=(x) y=(format!("{:.2}", HEIGHT - from - height)) width=(WIDTH) height=(format!("{height:.2}")) {} }
    };
    let on = view::at(day.from).map(|from| from.to_string()).unwrap_or_default();
    html! {
        g {
            title { (on.get(..10).unwrap_or_default()) ": " (day.pages) " reached page, " (day.alerts) " stayed at alert" }
            @if day.pages > 0 { (rect("page", 0.0, pages)) }
            @if day.alerts > 0 { (rect("alert", pages, alerts)) }
        }
    }
}
