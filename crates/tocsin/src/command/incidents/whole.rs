//! One incident with all that belongs to it: everything in JSON, what a person reads in the terminal.

use serde_json::Value;

use crate::output::{Output, Section};

/// Its journal's entries of single decision steps, of which there may be a thousand.
const STEP: &str = "step";
/// The most entries shown of a list, the newest: evidence is kept of a thousand readings.
const SHOWN: usize = 10;
/// Lists of an incident, in the order shown, and the fields of each that are.
const LISTS: [(&str, &[&str]); 4] = [
    ("events", &["seq", "at", "kind", "payload"]),
    ("evidence", &["sensor", "captured_at", "verdict", "detector", "level"]),
    ("labels", &["label", "mode", "from", "to", "labelled_by", "note"]),
    ("pages", &["created_at", "action", "destination", "state", "page_key"]),
];

/// Prints it.
pub(super) fn print(output: Output, view: &Value) -> anyhow::Result<()> {
    let (head, lists) = parts(view);
    let sections: Vec<Section<'_>> = lists
        .into_iter()
        .zip(LISTS)
        .map(|((title, items), (_, columns))| Section { title, items, columns })
        .collect();
    output.report("incident", view, &head, &sections)
}

/// What is told in a line each, and the newest of its lists with their titles, without the journal's entries of single
/// steps.
fn parts(view: &Value) -> (Value, Vec<(String, Vec<Value>)>) {
    let mut head = view.clone();
    let lists = LISTS.map(|(name, _)| {
        let taken = head.as_object_mut().and_then(|fields| fields.remove(name));
        let mut items = match taken {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        let all = items.len();
        items.retain(|item| name != "events" || item["kind"] != STEP);
        items.drain(..items.len().saturating_sub(SHOWN));
        let title = match all - items.len() {
            0 => name.to_owned(),
            left_out => format!("{name} ({left_out} more: --format json has them)"),
        };
        (title, items)
    });
    (head, lists.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_long_journal_is_told_without_its_single_steps_and_keeps_what_people_and_pages_did() {
        let event = |seq: u32, kind: &str| json!({ "seq": seq, "kind": kind });
        let view = json!({
            "machine": "pump-1",
            "events": [event(1, "opened"), event(2, "step"), event(3, "step"), event(4, "acknowledged")],
            "evidence": (0..25).map(|at| json!({ "at": at, "bin_error": [0.1, 0.2] })).collect::<Vec<_>>(),
            "pages": [],
        });
        let (head, lists) = parts(&view);
        assert_eq!(head, json!({ "machine": "pump-1" }));
        let [(title, events), (of_evidence, evidence), (_, labels), (_, pages)] = lists.as_slice() else {
            panic!("four lists: {lists:?}");
        };
        assert_eq!(title, "events (2 more: --format json has them)");
        assert_eq!(events, &[event(1, "opened"), event(4, "acknowledged")]);
        assert_eq!(of_evidence, "evidence (15 more: --format json has them)");
        assert_eq!((&evidence[0]["at"], evidence.len()), (&json!(15), SHOWN), "the newest");
        assert_eq!((labels.len(), pages.len()), (0, 0));
    }
}
