//! Pages that are decided while the machine is shelved or out of service: kept and journaled, not sent.

use serde_json::json;
use tocsin_domain::suppression::Service;
use tocsin_domain::{MachineId, PageAction, SuppressionId, Timestamp};
use tocsin_judge::PageReason;
use tocsin_judge::journal::Event;
use tocsin_store::access::{NewAuditEntry, audit_insert};
use tocsin_store::outbox::{NewPage, page_insert};
use tocsin_store::suppression::{machine_service, page_suppress, suppression_end};
use tocsin_store::{Result, Transaction};

use super::machine::FoldedMachine;

/// What ended a suppression that was to last until its incident cleared.
const BY_INCIDENT: &str = "incident";

/// A suppression that its incident ended.
#[derive(Debug)]
pub(super) struct Over {
    machine: MachineId,
    suppression: SuppressionId,
    at: Timestamp,
}

impl Over {
    /// Writes its audit entry: last, because the audit has one writer at a time.
    pub(super) async fn put_on_record(self, tx: &mut Transaction) -> Result<()> {
        let detail = json!({ "suppression_id": self.suppression, "released": null });
        let subject = format!("machine:{}", self.machine);
        let entry = NewAuditEntry::new(BY_INCIDENT, "machine.restore", subject, &detail);
        audit_insert(tx, &entry, self.at).await
    }
}

impl FoldedMachine {
    /// Sends a page, or keeps it while the machine is suppressed. That a condition has gone is told to whoever heard of it.
    pub(super) async fn send(
        &mut self,
        tx: &mut Transaction,
        page: &NewPage,
        reason: PageReason,
        (step, now): (Timestamp, Timestamp),
    ) -> Result<()> {
        let Some(suppression) = self.state.suppression.filter(|_| page.action == PageAction::Trigger) else {
            page_insert(tx, page, now).await?;
            return Ok(());
        };
        if page_suppress(tx, suppression, page, now).await? {
            let page_key = page.page_key.clone();
            self.journal(step, &Event::PageSuppressed { reason, page_key });
        }
        Ok(())
    }

    /// The incident cleared: a machine that was shelved until then is back.
    pub(super) async fn end_one_shot(&mut self, tx: &mut Transaction, step: Timestamp, now: Timestamp) -> Result<()> {
        if self.state.suppression.is_none() {
            return Ok(());
        }
        let Service::Suppressed(suppression) = machine_service(tx, self.state.machine).await? else {
            return Ok(());
        };
        if suppression.order.one_shot {
            suppression_end(tx, suppression.id, BY_INCIDENT, now).await?;
            self.state.suppression = None;
            let restored = Event::Restored {
                suppression: suppression.order.kind,
                by: BY_INCIDENT.to_owned(),
                released: None,
            };
            self.journal(step, &restored);
            self.over = Some(Over {
                machine: self.state.machine,
                suppression: suppression.id,
                at: now,
            });
        }
        Ok(())
    }
}
