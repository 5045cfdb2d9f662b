//! `tocsin audit`: what was done by whom, and whether the record of it is whole.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::access::v1::{AuditEntry, AuditHead, ListAuditRequest, VerifyAuditRequest, VerifyAuditResponse};

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
    /// Compute the record's chain of hashes anew; fails when an entry was changed, taken away or put in between
    Verify {
        /// Where the record ended once, as this command said then: fails also when it was cut off before or written anew
        #[arg(long, value_name = "LINK:HASH", value_parser = known)]
        known: Option<AuditHead>,
    },
}

/// Reads `LINK:HASH`.
fn known(text: &str) -> Result<AuditHead, String> {
    let (link, hash) = text.split_once(':').ok_or("is not LINK:HASH")?;
    Ok(AuditHead {
        link: link.parse().map_err(|error| format!("{link:?}: {error}"))?,
        hash: hex::decode(hash).map_err(|error| format!("{hash:?}: {error}"))?,
    })
}

impl Audit {
    pub(super) async fn run(self) -> Result<()> {
        match self.what {
            What::List { before, limit } => self.ask.list_audit(before, limit).await,
            What::Verify { known } => self.ask.verify_audit(known).await,
        }
    }
}

impl Ask {
    async fn list_audit(self, before: i64, limit: u32) -> Result<()> {
        let mut client = AccessServiceClient::new(self.target.channel()?);
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
        self.output.list("entries", views, columns)
    }

    async fn verify_audit(self, known: Option<AuditHead>) -> Result<()> {
        let mut client = AccessServiceClient::new(self.target.channel()?);
        let answer = client.verify_audit(VerifyAuditRequest { known }).await;
        let answer = answer
            .map_err(|status| explain("verifying the audit", &status))?
            .into_inner();
        self.output.item("audit", verified(&answer))?;
        match answer.broken {
            None => Ok(()),
            Some(broken) => bail!(
                "the audit does not hold at entry {} of the chain: {}",
                broken.link,
                broken.reason
            ),
        }
    }
}

fn verified(answer: &VerifyAuditResponse) -> Value {
    let head = answer.head.as_ref();
    json!({
        "entries": answer.entries,
        "intact": answer.broken.is_none(),
        "head": head.map(|head| format!("{}:{}", head.link, hex::encode(&head.hash))),
        "broken_at": answer.broken.as_ref().map(|broken| broken.link),
        "reason": answer.broken.as_ref().map(|broken| broken.reason.as_str()),
    })
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
