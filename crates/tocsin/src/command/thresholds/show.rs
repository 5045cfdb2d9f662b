//! A threshold set as it is printed: whole as JSON, and for people its lines with what stands behind each.

use anyhow::Result;
use serde_json::{Value, json};
use tocsin_contracts::recalibrator::v1::ThresholdSet;

use super::view;
use crate::output::{Output, Section};

/// Prints a set.
pub(super) fn print(set: ThresholdSet, output: Output) -> Result<()> {
    let whole = view(set)?;
    let provenance = &whole["provenance"];
    let lines = |members: &Value| -> Vec<Value> {
        let members = members.as_array().into_iter().flatten();
        members.map(|member| line(member, &provenance["detectors"])).collect()
    };
    let section = |title: &str, items, columns| Section {
        title: title.to_owned(),
        items,
        columns,
    };
    let one = |value: &Value| {
        if value.is_object() {
            vec![value.clone()]
        } else {
            Vec::new()
        }
    };
    let sections = [
        section(
            "lines, beside 95 % bounds of their percentile (order statistics; a line of the fitted tail may lie outside)",
            lines(&whole["definition"]["members"]),
            LINES,
        ),
        section(
            "lines without the network",
            lines(&whole["definition"]["without_network"]),
            LINES,
        ),
        section("persistence", one(&whole["definition"]["persistence"]), PERSISTENCE),
        section(
            "expected, over the scores it comes from",
            expected(&provenance["expected"]),
            EXPECTED,
        ),
        section("test", one(&provenance["trial"]), TRIAL),
        section(
            "moves from where a person put the lines, dB",
            rows(&provenance["policy"]["members"]),
            MOVES,
        ),
        section("approval", one(&provenance["approval"]), APPROVAL),
        section(
            "approvals of persons other than who asked",
            rows(&whole["approvals"]),
            APPROVAL,
        ),
    ];
    output.report("threshold_set", &whole, &head(&whole), &sections)
}

const APPROVAL: &[&str] = &["by", "at", "reason"];
const LINES: &[&str] = &[
    "detector",
    "role",
    "alert_line",
    "alert_bounds",
    "page_line",
    "page_bounds",
    "scores",
    "machines",
];
const PERSISTENCE: &[&str] = &[
    "k",
    "n",
    "clear_steps",
    "page_clear_level",
    "alert_clear_level",
    "re_alarm_s",
    "open_min_s",
    "clear_min_s",
];
const EXPECTED: &[&str] = &[
    "pages",
    "machine_hours",
    "machines",
    "sites",
    "left_out",
    "per_machine_year",
    "per_site_day",
    "per_person_week",
];
const MOVES: &[&str] = &["detector", "without_network", "alert_db", "page_db"];
const TRIAL: &[&str] = &[
    "readings",
    "incidents",
    "pages",
    "machine_hours",
    "share_of_time_under_page",
    "by",
    "at",
];

fn rows(list: &Value) -> Vec<Value> {
    list.as_array().cloned().unwrap_or_default()
}

fn head(set: &Value) -> Value {
    let mut head = set.clone();
    if let Some(fields) = head.as_object_mut() {
        fields.remove("definition");
        fields.remove("provenance");
        fields.remove("approvals");
        fields.remove("approval_needed_at");
        for name in ["method", "readings", "machines", "sensors", "window"] {
            fields.insert(name.to_owned(), set["provenance"][name].clone());
        }
    }
    head
}

fn line(member: &Value, detectors: &Value) -> Value {
    let behind = |source: &&Value| source["detector"] == member["detector"];
    let source = detectors
        .as_array()
        .into_iter()
        .flatten()
        .find(behind)
        .unwrap_or(&Value::Null);
    json!({
        "detector": member["detector"],
        "role": member["role"],
        "alert_line": number(&member["alert_line"]),
        "alert_bounds": bounds(&source["alert_percentile"]),
        "page_line": number(&member["page_line"]),
        "page_bounds": bounds(&source["page_percentile"]),
        "scores": source["scores"],
        "machines": source["machines"],
    })
}

fn number(value: &Value) -> Value {
    value.as_f64().map(|value| format!("{value:.4}")).into()
}

/// `1.2 to 1.4`, or that there are too few scores for that percentile; nothing for lines that are no percentiles.
fn bounds(percentile: &Value) -> Value {
    if percentile.is_null() {
        return Value::Null;
    }
    let needed = &percentile["support"]["insufficient"]["needed"];
    if !needed.is_null() {
        return format!("insufficient data: {} of {needed}", percentile["readings"]).into();
    }
    let end = |name: &str| {
        percentile[name]
            .as_f64()
            .map_or("?".to_owned(), |value| format!("{value:.4}"))
    };
    format!("{} to {}", end("lower"), end("upper")).into()
}

fn expected(told: &Value) -> Vec<Value> {
    let expected = &told["expected"];
    if expected.is_null() {
        return Vec::new();
    }
    let pages = &expected["pages"];
    let rate = |name: &str| -> Value {
        let part = |part: &str| pages[name][part].as_f64();
        let (rate, lower, upper) = (part("rate"), part("lower"), part("upper"));
        let all = rate.zip(lower).zip(upper);
        all.map(|((rate, lower), upper)| format!("{rate:.3} ({lower:.3} to {upper:.3})"))
            .into()
    };
    vec![json!({
        "pages": pages["events"],
        "machine_hours": number(&expected["machine_hours"]),
        "machines": expected["machines"],
        "sites": expected["sites"],
        "left_out": told["machines_left_out"],
        "per_machine_year": rate("per_machine_year"),
        "per_site_day": rate("per_site_day"),
        "per_person_week": rate("per_person_week"),
    })]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_told_with_its_bounds_or_that_there_are_too_few_scores() {
        let detectors = json!([{
            "detector": "residual", "scores": 600, "page_line_supported": false,
            "alert_percentile": { "value": 1.0, "lower": 0.9, "upper": null, "readings": 600, "support": "sufficient" },
            "page_percentile": { "value": 2.0, "lower": 1.9, "upper": null, "readings": 600,
                "support": { "insufficient": { "needed": 2000 } } },
        }, { "detector": "growth", "scores": 50, "machines": 5, "page_line_supported": true }]);
        let member =
            |detector: &str| json!({ "detector": detector, "role": "page", "alert_line": 1.5, "page_line": 2.5 });
        let residual = line(&member("residual"), &detectors);
        assert_eq!(residual["alert_bounds"], "0.9000 to ?");
        assert_eq!(residual["page_bounds"], "insufficient data: 600 of 2000");
        let growth = line(&member("growth"), &detectors);
        assert_eq!((&growth["machines"], &growth["page_bounds"]), (&json!(5), &Value::Null));
        assert_eq!(growth["page_line"], "2.5000");
    }

    #[test]
    fn the_head_tells_how_the_lines_were_found_and_what_was_borrowed() {
        let method = "fleet replay: alert 1.75, page 2.5 times; what machines reached is borrowed from all classes";
        let set = json!({ "threshold_set_id": 3, "definition": {}, "provenance": { "method": method, "machines": 6 } });
        let head = head(&set);
        assert_eq!((&head["method"], &head["machines"]), (&json!(method), &json!(6)));
        assert!(head.get("provenance").is_none());
    }

    #[test]
    fn what_is_expected_is_one_row_and_nothing_when_it_was_not_kept() {
        assert!(expected(&Value::Null).is_empty());
        let rate = json!({ "rate": 0.5, "lower": 0.1, "upper": 2.0 });
        let told = json!({ "machines_left_out": 1, "expected": { "machine_hours": 96.0, "machines": 4, "sites": 2,
            "pages": { "events": 1, "per_site_day": rate, "per_machine_year": null } } });
        let row = &expected(&told)[0];
        assert_eq!(
            (&row["per_site_day"], &row["left_out"]),
            (&json!("0.500 (0.100 to 2.000)"), &json!(1))
        );
        assert_eq!(row["per_machine_year"], Value::Null);
    }
}
