//! How a set's lines differ from those in force.

use maud::{Markup, html};
use serde_json::Value;
use tocsin_contracts::recalibrator::v1::ThresholdSet;
use tocsin_domain::Detector;

use crate::view::{self, detector, tag};

/// A line or a role in both sets.
struct Pair<'a> {
    detector: Detector,
    set: Option<&'a Value>,
    active: Option<&'a Value>,
}

/// Detector by detector.
pub(super) fn show(set: &ThresholdSet, active: &ThresholdSet) -> Markup {
    let read = |set: &ThresholdSet| serde_json::from_str(&set.definition_json).unwrap_or_default();
    let (definition, in_force): (Value, Value) = (read(set), read(active));
    let pairs = pairs(&definition["members"], &in_force["members"]);
    html! {
        div.table-frame {
            table {
                caption.visually-hidden { "Lines of this set beside those in force" }
                thead { tr {
                    th scope="col" { "Detector" } th scope="col" { "Role" }
                    th.num scope="col" { "Alert line" } th.num scope="col" { "in force" } th.num scope="col" { "Difference" }
                    th.num scope="col" { "Page line" } th.num scope="col" { "in force" } th.num scope="col" { "Difference" }
                } }
                tbody { @for pair in &pairs { (row(pair)) } }
            }
        }
        @if definition["persistence"] != in_force["persistence"] { p.hint { "The rules by which incidents open and clear differ too: see below." } }
    }
}

fn pairs<'a>(set: &'a Value, active: &'a Value) -> Vec<Pair<'a>> {
    let find = |members: &'a Value, detector: Detector| {
        let mut members = members.as_array()?.iter();
        members.find(|member| member["detector"] == detector.as_str())
    };
    let all = Detector::ALL.into_iter().map(|detector| Pair {
        detector,
        set: find(set, detector),
        active: find(active, detector),
    });
    all.filter(|pair| pair.set.is_some() || pair.active.is_some()).collect()
}

fn row(pair: &Pair<'_>) -> Markup {
    let role = |member: Option<&Value>| member.and_then(|member| member["role"].as_str().map(str::to_owned));
    let (role, before) = (role(pair.set), role(pair.active));
    html! {
        tr {
            th scope="row" { (detector(pair.detector.as_str())) }
            td data-label="role" {
                @match &role { Some(role) => (tag(role)), None => span.none { "not in this set" } }
                @if let Some(before) = before.as_ref().filter(|before| Some(*before) != role.as_ref()) { " " span.sub { "in force: " (before) } }
            }
            (lines(pair, "alert_line", "alert line"))
            (lines(pair, "page_line", "page line"))
        }
    }
}

fn lines(pair: &Pair<'_>, field: &str, label: &str) -> Markup {
    let line = |member: Option<&Value>| member.and_then(|member| member[field].as_f64());
    let (set, active) = (line(pair.set), line(pair.active));
    let shown = |line: Option<f64>| line.map_or_else(|| "–".to_owned(), view::number);
    let db = set
        .zip(active)
        .filter(|(set, active)| *set > 0.0 && *active > 0.0)
        .map(|(set, active)| 20.0 * (set / active).log10())
        .map(|db| {
            if db.abs() < 0.005 {
                "same".to_owned()
            } else {
                format!("{db:+.2} dB")
            }
        });
    html! {
        td.num data-label=(label) { (shown(set)) }
        td.num data-label=(format!("{label} in force")) { (shown(active)) }
        td.num data-label="difference" { (db.unwrap_or_else(|| "–".to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_are_told_in_db_and_what_one_set_lacks_by_its_absence() {
        let set = json!([{ "detector": "growth", "role": "page", "alert_line": 2.0, "page_line": 4.0 }]);
        let active = json!([
            { "detector": "growth", "role": "alert", "alert_line": 1.0, "page_line": 4.0 },
            { "detector": "pca", "role": "alert", "alert_line": 1.0, "page_line": 2.0 },
        ]);
        let pairs = pairs(&set, &active);
        assert_eq!(pairs.len(), 2);
        let growth = row(&pairs[0]).into_string();
        assert!(growth.contains("+6.02 dB") && growth.contains("same") && growth.contains("in force: alert"));
        let pca = row(&pairs[1]).into_string();
        assert!(pca.contains("not in this set") && !pca.contains("dB"), "{pca}");
    }
}
