//! `tocsin thresholds diff`: two sets side by side.

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Map, Value, json};
use tocsin_contracts::recalibrator::v1::{GetThresholdSetRequest, ThresholdSet as WireSet};
use tocsin_domain::Detector;
use tocsin_judge::{Member, ThresholdSet};

use super::{Client, view};
use crate::client::explain;
use crate::output::{Output, Section};

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// A set's number
    #[arg(value_name = "A")]
    a: i32,
    /// Another's
    #[arg(value_name = "B")]
    b: i32,
}

/// A set, read.
struct Side {
    /// As `show` prints it.
    view: Value,
    set: ThresholdSet,
}

impl Diff {
    pub(super) async fn run(self, mut client: Client, output: Output) -> Result<()> {
        ensure!(self.a != self.b, "A and B are both threshold set {}", self.a);
        let (a, b) = (side(&mut client, self.a).await?, side(&mut client, self.b).await?);
        let head = head(&a, &b);
        let members = members(&a.set.members, &b.set.members);
        let without_network = members_without_network(&a.set, &b.set);
        let persistence = fields(&as_json(&a.set.persistence)?, &as_json(&b.set.persistence)?);
        let provenance = fields(&provenance(&a.view), &provenance(&b.view));
        let whole = json!({
            "a": head["a"],
            "b": head["b"],
            "members": members,
            "without_network": without_network,
            "persistence": persistence,
            "provenance": provenance,
        });
        let section = |title: &str, items, columns| Section {
            title: title.to_owned(),
            items,
            columns,
        };
        let named = |name: &str, side: &Value| {
            let mut row = side.clone();
            row["set"] = name.into();
            row
        };
        let sets = vec![named("A", &head["a"]), named("B", &head["b"])];
        let sections = [
            section("sets", sets, SETS),
            section("lines", rows(&members), LINES),
            section("lines without the network", rows(&without_network), LINES),
            section("persistence", persistence, FIELDS),
            section("provenance", provenance, FIELDS),
        ];
        output.report("diff", &whole, &Value::Null, &sections)
    }
}

const LINES: &[&str] = &[
    "detector", "a_role", "b_role", "a_alert", "b_alert", "alert_db", "a_page", "b_page", "page_db",
];
const SETS: &[&str] = &["set", "threshold_set_id", "class", "bundle_id", "state"];
const FIELDS: &[&str] = &["field", "a", "b", "same"];

async fn side(client: &mut Client, threshold_set_id: i32) -> Result<Side> {
    let answer = client
        .get_threshold_set(GetThresholdSetRequest { threshold_set_id })
        .await;
    let doing = format!("reading threshold set {threshold_set_id}");
    let wire: WireSet = answer
        .map_err(|status| explain(&doing, &status))?
        .into_inner()
        .threshold_set
        .with_context(|| format!("{doing}: the answer holds none"))?;
    let set = serde_json::from_str(&wire.definition_json).with_context(|| format!("{doing}: its definition"))?;
    Ok(Side { set, view: view(wire)? })
}

fn head(a: &Side, b: &Side) -> Value {
    let of = |side: &Side| {
        let field = |name: &str| side.view[name].clone();
        json!({
            "threshold_set_id": field("threshold_set_id"),
            "class": field("class"),
            "bundle_id": field("bundle_id"),
            "state": field("state"),
        })
    };
    json!({ "a": of(a), "b": of(b) })
}

fn as_json(value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value).context("a set has a JSON form")
}

/// A detector's lines in both sets.
fn members(a: &[Member], b: &[Member]) -> Vec<Value> {
    let of = |members: &[Member], detector| members.iter().find(|member| member.detector == detector).cloned();
    let pair = |detector: Detector| match (of(a, detector), of(b, detector)) {
        (None, None) => None,
        (a, b) => Some(member(detector, a.as_ref(), b.as_ref())),
    };
    Detector::ALL.into_iter().filter_map(pair).collect()
}

fn members_without_network(a: &ThresholdSet, b: &ThresholdSet) -> Vec<Value> {
    members(&a.without_network, &b.without_network)
}

fn member(detector: Detector, a: Option<&Member>, b: Option<&Member>) -> Value {
    let of = |member: &Member| {
        json!({
            "role": member.role.as_str(),
            "alert_line": member.alert_line,
            "page_line": member.page_line,
            "page_line_supported": member.page_line_supported,
        })
    };
    let shift = |line: fn(&Member) -> f64| shift_db(line(a?), line(b?));
    json!({
        "detector": detector.to_string(),
        "a": a.map(of),
        "b": b.map(of),
        "alert_db": shift(|member| member.alert_line),
        "page_db": shift(|member| member.page_line),
    })
}

/// How far B's line lies above A's, 20 lg(B / A); nothing where either is not above zero.
fn shift_db(a: f64, b: f64) -> Option<f64> {
    (a > 0.0 && b > 0.0).then(|| 20.0 * (b / a).log10())
}

/// The table's form of lines.
fn rows(members: &[Value]) -> Vec<Value> {
    let number = |value: &Value| value.as_f64().map(|value| format!("{value:.4}"));
    let db = |value: &Value| value.as_f64().map(|value| format!("{value:+.2} dB"));
    let row = |member: &Value| {
        json!({
            "detector": member["detector"],
            "a_role": member["a"]["role"],
            "b_role": member["b"]["role"],
            "a_alert": number(&member["a"]["alert_line"]),
            "b_alert": number(&member["b"]["alert_line"]),
            "alert_db": db(&member["alert_db"]),
            "a_page": number(&member["a"]["page_line"]),
            "b_page": number(&member["b"]["page_line"]),
            "page_db": db(&member["page_db"]),
        })
    };
    members.iter().map(row).collect()
}

/// A set's provenance with what is nested in it written out, and without the lists that have a row per detector or
/// candidate.
fn provenance(view: &Value) -> Value {
    let mut flat = Map::new();
    flatten("", &view["provenance"], &mut flat);
    flat.into()
}

fn flatten(path: &str, value: &Value, flat: &mut Map<String, Value>) {
    match value {
        Value::Object(fields) => {
            let dot = if path.is_empty() { "" } else { "." };
            for (name, value) in fields {
                flatten(&format!("{path}{dot}{name}"), value, flat);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {}
        other => {
            flat.insert(path.to_owned(), other.clone());
        }
    }
}

/// Fields of two flat objects, side by side.
fn fields(a: &Value, b: &Value) -> Vec<Value> {
    let names = |side: &Value| {
        side.as_object()
            .map(|o| o.keys().cloned().collect::<Vec<_>>())
            .unwrap_or_default()
    };
    let mut all = names(a);
    all.extend(names(b).into_iter().filter(|name| a.get(name).is_none()));
    let row = |name: &String| {
        let (a, b) = (a.get(name), b.get(name));
        json!({ "field": name, "a": a, "b": b, "same": a == b })
    };
    all.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_judge::Role;

    fn line(detector: Detector, role: Role, alert_line: f64) -> Member {
        Member {
            detector,
            role,
            alert_line,
            page_line: 2.0 * alert_line,
            page_line_supported: true,
            tail: None,
        }
    }

    #[test]
    fn lines_are_told_in_db_of_the_ratio_and_a_missing_member_by_its_absence() {
        let a = [
            line(Detector::Growth, Role::Page, 2.0),
            line(Detector::Shift, Role::Alert, 1.0),
        ];
        let b = [
            line(Detector::Growth, Role::Alert, 4.0),
            line(Detector::Pca, Role::Evidence, 3.0),
        ];
        let compared = members(&a, &b);
        let told: Vec<_> = compared
            .iter()
            .map(|member| member["detector"].as_str().unwrap())
            .collect();
        assert_eq!(told, ["growth", "shift", "pca"]);
        assert!((compared[0]["alert_db"].as_f64().unwrap() - 6.0206).abs() < 1e-4);
        assert_eq!(
            (&compared[1]["b"], &compared[1]["alert_db"]),
            (&Value::Null, &Value::Null)
        );
        let row = &rows(&compared)[0];
        assert_eq!((&row["a_role"], &row["b_role"]), (&json!("page"), &json!("alert")));
        assert_eq!(
            (&row["page_db"], &row["b_page"]),
            (&json!("+6.02 dB"), &json!("8.0000"))
        );
        assert_eq!(shift_db(0.0, 1.0), None);
    }

    #[test]
    fn provenance_is_written_out_field_by_field_and_says_what_differs() {
        let view = |reason: &str, readings: u64| {
            json!({ "provenance": { "reason": reason, "source": { "kind": "held_out" },
                "readings": readings, "window": ["a", "b"], "detectors": [{ "detector": "growth" }] } })
        };
        let compared = fields(&provenance(&view("first", 3)), &provenance(&view("second", 3)));
        let of = |field: &str| compared.iter().find(|row| row["field"] == field);
        assert_eq!(of("reason").unwrap()["same"], false);
        assert_eq!(of("readings").unwrap()["same"], true);
        assert_eq!(of("source.kind").unwrap()["a"], "held_out");
        assert!(of("detectors").is_none());
    }
}
