//! The record of what was done, read and verified.

use tocsin_contracts::access::v1::{
    AuditBreak as WireBreak, AuditEntry as WireEntry, AuditHead as WireHead, ListAuditRequest, VerifyAuditRequest,
    VerifyAuditResponse,
};
use tocsin_contracts::{Malformed, time};
use tocsin_domain::{PersonRole, Principal};
use tocsin_store::access::{AuditEntry, AuditHead};

use super::Access;
use crate::Error;

/// Entries answered when the caller doesn't say how many, and the most that are.
const DEFAULT_ENTRIES: u32 = 100;
const MOST_ENTRIES: u32 = 1_000;

/// Bytes of a SHA-256.
const HASH_BYTES: usize = 32;

impl Access {
    /// Entries, newest first. An entry names what it is about in words, not by site: the record is for those who see every
    /// site.
    pub(super) async fn record(
        &self,
        principal: &Principal,
        request: ListAuditRequest,
    ) -> Result<Vec<WireEntry>, Error> {
        principal.require_everywhere(PersonRole::Engineer, "read the audit")?;
        let limit = match request.limit {
            0 => DEFAULT_ENTRIES,
            limit @ 1..=MOST_ENTRIES => limit,
            limit => return Err(Malformed::new("limit", format!("{limit} is above {MOST_ENTRIES}")).into()),
        };
        let before = (request.before_audit_id != 0).then_some(request.before_audit_id);
        let entries = self.context.store.audit_list(before, limit).await?;
        Ok(entries.into_iter().map(wire).collect())
    }

    /// Whether the record is what it was when it was written.
    pub(super) async fn verify_record(
        &self,
        principal: &Principal,
        request: VerifyAuditRequest,
    ) -> Result<VerifyAuditResponse, Error> {
        principal.require_everywhere(PersonRole::Engineer, "verify the audit")?;
        let known = request.known.map(head).transpose()?;
        let report = self.context.store.audit_verify(known.as_ref()).await?;
        if let Some(broken) = &report.broken {
            tracing::error!(link = broken.link, reason = broken.reason, "the audit does not hold");
        }
        Ok(VerifyAuditResponse {
            entries: report.entries,
            head: report.head.map(|AuditHead { link, hash }| WireHead { link, hash }),
            broken: report.broken.map(|broken| WireBreak {
                link: broken.link,
                reason: broken.reason,
            }),
        })
    }
}

fn head(wire: WireHead) -> Result<AuditHead, Malformed> {
    let WireHead { link, hash } = wire;
    if link < 1 {
        return Err(Malformed::new("known.link", format!("{link} is below 1")));
    }
    if hash.len() != HASH_BYTES {
        return Err(Malformed::new(
            "known.hash",
            format!("has {} bytes and not {HASH_BYTES}", hash.len()),
        ));
    }
    Ok(AuditHead { link, hash })
}

fn wire(entry: AuditEntry) -> WireEntry {
    WireEntry {
        audit_id: entry.id,
        at: Some(time::to_wire(entry.at)),
        actor: entry.actor,
        action: entry.action,
        subject: entry.subject,
        detail_json: entry.detail_json,
    }
}
