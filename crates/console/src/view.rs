//! Small pieces of pages: times, levels, badges, names of detectors.

use std::fmt::Write;

use maud::{Markup, PreEscaped, html};
use prost_types::Timestamp as WireTimestamp;
use tocsin_contracts::review::v1::OverallLevel;
use tocsin_contracts::time;
use tocsin_domain::Timestamp;

/// A time of the wire; one that makes no sense counts as none.
pub(crate) fn at(time: Option<WireTimestamp>) -> Option<Timestamp> {
    time::optional("time", time).ok().flatten()
}

/// A point in time: UTC as it leaves here, in the viewer's time zone once the page's script has seen it.
pub(crate) fn moment(time: Option<Timestamp>) -> Markup {
    stamp(time, "full")
}

/// The same with how long ago it was.
pub(crate) fn moment_and_age(time: Option<Timestamp>) -> Markup {
    stamp(time, "age")
}

fn stamp(time: Option<Timestamp>, form: &str) -> Markup {
    let Some(time) = time else {
        return html! { span.none { "–" } };
    };
    let text = time.to_string();
    let plain = text.get(..19).unwrap_or(&text).replace('T', " ");
    html! { time datetime=(text) data-form=(form) { (plain) " UTC" } }
}

/// A level, to two places; large ones to fewer.
pub(crate) fn level(level: f32) -> String {
    if level.abs() < 100.0 {
        format!("{level:.2}")
    } else {
        format!("{level:.0}")
    }
}

/// A number to four significant places.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor();
    if (-4.0..6.0).contains(&magnitude) {
        let places = (3.0 - magnitude).clamp(0.0, 7.0) as usize;
        format!("{value:.places$}")
    } else {
        format!("{value:.3e}")
    }
}

/// A count with thin spaces between thousands.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// An icon of the page's sprite.
pub(crate) fn icon(name: &str) -> Markup {
    html! { svg.icon aria-hidden="true" { use href=(format!("#i-{name}")) {} } }
}

/// How bad, as icon and word: `page`, `alert`, `normal`, `unjudged`, `no data`, and states of models and limits.
pub(crate) fn badge(kind: &str) -> Markup {
    let (class, word) = match kind {
        "page" => ("page", "Page"),
        "alert" => ("alert", "Alert"),
        "normal" => ("normal", "Normal"),
        "unjudged" => ("unjudged", "Unjudged"),
        _ => ("nodata", "No data"),
    };
    html! { span.badge.(class) { (icon(class)) (word) } }
}

/// A word in a neutral frame, such as a lifecycle state.
pub(crate) fn tag(word: &str) -> Markup {
    html! { span.tag data-state=(word) { (word) } }
}

/// An incident's state in words.
pub(crate) fn incident_state(state: &str) -> &'static str {
    match state {
        "active_unacknowledged" => "active, unacknowledged",
        "active_acknowledged" => "active, acknowledged",
        "returned_unacknowledged" => "cleared, unacknowledged",
        "normal" => "closed",
        _ => "unknown state",
    }
}

/// The state of an alarm about an instrument in words.
pub(crate) fn sensor_alarm_state(state: &str) -> &'static str {
    match state {
        "active_unacknowledged" => "active, unacknowledged",
        "active_acknowledged" => "active, acknowledged",
        "returned_unacknowledged" => "returned, unacknowledged",
        "normal" => "closed",
        _ => "unknown state",
    }
}

/// A detector's name on screen.
pub(crate) fn detector(name: &str) -> &str {
    match name {
        "residual" => "Residual (autoencoder)",
        "overall_level" => "Overall level",
        "isolation" => "Isolation forest",
        "growth" => "Growth",
        "shift" => "Shift",
        "narrowband" => "Narrowband",
        "pca" => "PCA",
        "mahalanobis" => "Mahalanobis",
        "severity" => "Severity (zones)",
        other => other,
    }
}

/// An overall level's name on screen, with its band.
pub(crate) fn overall_level(level: &OverallLevel) -> String {
    match (level.low_hz, level.high_hz) {
        (Some(low), Some(high)) => format!("{} ({low} to {high} Hz)", level.name),
        _ => level.name.clone(),
    }
}

/// The path of a machine's page.
pub(crate) fn machine_href(site: &str, machine: &str) -> String {
    let mut path = "/sites/".to_owned();
    path_segment(&mut path, site);
    path.push_str("/machines/");
    path_segment(&mut path, machine);
    path
}

/// Where a form says whether a site asks for a second person.
pub(crate) fn second_approval_href(site: &str) -> String {
    let mut path = "/sites/".to_owned();
    path_segment(&mut path, site);
    path.push_str("/second-approval");
    path
}

/// The path of a class's models.
pub(crate) fn class_href(class: &str) -> String {
    let mut path = "/models/".to_owned();
    path_segment(&mut path, class);
    path
}

/// The path of the page that explains the verdict of a sensor's reading.
pub(crate) fn verdict_href(site: &str, machine: &str, sensor: &str, at: Timestamp) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("sensor", sensor)
        .append_pair("at", &at.as_micros().to_string())
        .finish();
    format!("{}/verdict?{query}", machine_href(site, machine))
}

/// Names are slugs already; whatever else comes is escaped, so that no name can leave its place in a path.
fn path_segment(path: &mut String, segment: &str) {
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
    }
}

/// `share` of a bar 100 units wide, drawn without inline style. The words stand beside it.
pub(crate) fn bar(share: f64) -> Markup {
    let width = format!("{:.2}", (share * 100.0).clamp(0.0, 100.0));
    html! {
        svg.bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
            rect.track width="100" height="8" {}
            rect.fill width=(width) height="8" {}
        }
    }
}

/// The icons, once in each page.
pub(crate) fn sprite() -> Markup {
    PreEscaped(include_str!("../assets/icons.svg").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_four_significant_places() {
        let cases = [(0.0, "0"), (1.0, "1.000"), (1234.56, "1235"), (0.012_345, "0.01235")];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        assert_eq!(number(3.2e-7), "3.200e-7");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_a_path() {
        assert_eq!(
            machine_href("a/../b", "x?y=\"<"),
            "/sites/a%2F..%2Fb/machines/x%3Fy%3D%22%3C"
        );
    }

    #[test]
    fn a_missing_time_is_a_dash_and_a_present_one_reads_as_utc() {
        assert!(moment(None).into_string().contains('–'));
        let text = moment(Some(Timestamp::from_micros(1_500_000))).into_string();
        assert!(text.contains(">1970-01-01 00:00:01 UTC<"), "{text}");
    }
}
