//! The record of what was done, read.

use tocsin_contracts::access::v1::{AuditEntry as WireEntry, ListAuditRequest};
use tocsin_contracts::{Malformed, time};
use tocsin_domain::{PersonRole, Principal};
use tocsin_store::access::AuditEntry;

use super::Access;
use crate::Error;

/// Entries answered when the caller doesn't say how many, and the most that are.
const DEFAULT_ENTRIES: u32 = 100;
const MOST_ENTRIES: u32 = 1_000;

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
