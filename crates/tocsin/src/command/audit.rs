//! `tocsin audit`: what was done by whom.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::access::v1::{AuditEntry, ListAuditRequest};

use super::{Ask, nested, when};
use crate::client::explain;

#[derive(Debug, Args)]
pub(super) struct Audit {
    #[command(flatten)]
    ask: Ask,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List what was done, newest first
    List {
        /// Only what was done before this entry
        #[arg(long, value_name = "ENTRY", default_value_t = 0, hide_default_value = true)]
        before: i64,
        /// At most so many entries
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
}

impl Audit {
    pub(super) async fn run(self) -> Result<()> {
        let mut client = AccessServiceClient::new(self.ask.target.channel()?);
        let What::List { before, limit } = self.what;
        let request = ListAuditRequest {
            before_audit_id: before,
            limit,
        };
        let answer = client.list_audit(request).await;
        let answer = answer
            .map_err(|status| explain("reading the audit", &status))?
            .into_inner();
        let views = answer.entries.into_iter().map(view).collect::<Result<_>>()?;
        let columns = &["audit_id", "at", "actor", "action", "subject", "detail"];
        self.ask.output.list("entries", views, columns)
    }
}

fn view(entry: AuditEntry) -> Result<Value> {
    Ok(json!({
        "audit_id": entry.audit_id,
        "at": when(entry.at)?,
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "detail": nested(&entry.detail_json),
    }))
}
