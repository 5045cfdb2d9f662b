//! What was done by whom: the audit record, newest first, and whether its chain holds.

use axum::extract::Query;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use tocsin_contracts::access::v1::{AuditEntry, ListAuditRequest, VerifyAuditRequest, VerifyAuditResponse};

use crate::failure::{Failure, Part};
use crate::layout::{Nav, page};
use crate::session::Session;
use crate::view::{self, moment_and_age};

/// Entries on one page of the record.
const LIMIT: u32 = 100;

/// What the address says.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    before: i64,
    verify: Option<String>,
}

/// `GET /audit`.
pub(crate) async fn show(session: Session, Query(asked): Query<Asked>) -> Result<Markup, Failure> {
    let (mut list, mut verify) = (session.access(), session.access());
    let (who, entries, verified) = tokio::try_join!(
        session.who(),
        async {
            let request = ListAuditRequest {
                before_audit_id: asked.before,
                limit: LIMIT,
            };
            list.list_audit(request).await.map_err(Part::Access.failed())
        },
        async {
            if asked.verify.is_none() {
                return Ok(None);
            }
            let answer = verify.verify_audit(VerifyAuditRequest { known: None }).await;
            answer
                .map(|answer| Some(answer.into_inner()))
                .map_err(Part::Access.failed())
        },
    )?;
    let entries = entries.into_inner().entries;
    let full = entries.len() == LIMIT as usize;
    let older = entries.last().filter(|_| full).map(|last| last.audit_id);
    let body = html! {
        div.heading { h1 { "Audit" } }
        div.toolbar {
            a.button href="/audit?verify=yes" { "Verify the chain" }
            span.sub.push { "Everything people and Tocsin itself changed. Each entry carries the hash of the one before: none is changed or taken away unseen." }
        }
        @if let Some(verified) = verified { (verdict(&verified)) }
        @if entries.is_empty() { p.none { "Nothing was done yet." } }
        @else { div.table-frame #audit data-live[asked.before == 0] { (table(&entries)) } }
        @if let Some(older) = older { p { a.button href=(format!("/audit?before={older}")) { "Older" } } }
    };
    Ok(page("Audit", Nav::Audit, &who, &body))
}

fn verdict(verified: &VerifyAuditResponse) -> Markup {
    html! {
        section.card role="status" {
            @match &verified.broken {
                None => p { (view::icon("normal")) " The chain holds: " (view::count(verified.entries)) " entries." }
                Some(broken) => p { (view::icon("page")) " The record does not hold at entry " (broken.link) " of the chain: " (broken.reason) "." }
            }
            @if let Some(head) = &verified.head {
                p.sub {
                    "Its end is now " code { (head.link) ":" (hex(&head.hash)) }
                    ". Kept elsewhere, it proves later that nothing was cut off: " code { "tocsin audit verify --known" } "."
                }
            }
        }
    }
}

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn table(entries: &[AuditEntry]) -> Markup {
    html! {
        table.audit {
            thead {
                tr {
                    th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "Did what" } th scope="col" { "To what" }
                    th scope="col" { "More" }
                }
            }
            tbody { @for entry in entries { (row(entry)) } }
        }
    }
}

fn row(entry: &AuditEntry) -> Markup {
    html! {
        tr id=(format!("entry-{}", entry.audit_id)) {
            th scope="row" { (moment_and_age(view::at(entry.at))) }
            td { (entry.actor) }
            td { code { (entry.action) } }
            td { (entry.subject) }
            td { (detail(&entry.detail_json)) }
        }
    }
}

/// The fields of an entry's detail in one line; what is empty is left out.
fn detail(json: &str) -> String {
    match serde_json::from_str(json) {
        Ok(value) => words(&value),
        Err(_) => json.to_owned(),
    }
}

fn words(value: &Value) -> String {
    let said = |text: &String| !text.is_empty();
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) if number.is_f64() => view::number(number.as_f64().unwrap_or(f64::NAN)),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => items.iter().map(words).filter(said).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| (name.replace('_', " "), words(value)));
            let told = fields.filter(|(_, value)| !value.is_empty());
            told.map(|(name, value)| format!("{name} {value}"))
                .collect::<Vec<_>>()
                .join("; ")
        }
    }
}
