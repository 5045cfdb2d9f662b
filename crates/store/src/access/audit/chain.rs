//! The chain computed anew, by code that shares nothing with what wrote it but the rule in `migrations/0017_audit_chain.sql`.

use sha2::{Digest, Sha256};
use tocsin_domain::Timestamp;

use super::AuditEntry;
use crate::row::Time;
use crate::{Result, Store};

/// Entries that are read at a time.
const PAGE: i64 = 1_000;

/// The end of the chain at some moment: kept elsewhere, it proves that nothing was cut off since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditHead {
    /// The number of the entry in the chain, from 1.
    pub link: i64,
    /// Its SHA-256.
    pub hash: Vec<u8>,
}

/// The first place where the chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditBreak {
    /// The number in the chain that should be there.
    pub link: i64,
    /// What is wrong with it.
    pub reason: String,
}

/// What came of verifying the record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditReport {
    /// Entries whose hash holds, from the first on.
    pub entries: u64,
    /// The last of them.
    pub head: Option<AuditHead>,
    /// The first place where the chain does not hold; none when it is whole.
    pub broken: Option<AuditBreak>,
}

struct LinkRow {
    link: i64,
    hash: Vec<u8>,
    audit_id: i64,
    at: Time,
    actor: String,
    action: String,
    subject: String,
    detail: String,
}

impl AuditReport {
    /// Takes the next entry of the chain; false when it does not hold.
    fn take(&mut self, link: i64, hash: &[u8], entry: &AuditEntry) -> bool {
        let expected = self.head.as_ref().map_or(0, |head| head.link) + 1;
        let before = self.head.as_ref().map_or(&[][..], |head| &head.hash);
        let reason = if link != expected {
            format!("it is missing: the next entry is number {link}, audit_id {}", entry.id)
        } else if hash_of(before, link, entry) != hash {
            format!(
                "audit_id {} does not have the hash of what it says and of the entry before",
                entry.id
            )
        } else {
            self.entries += 1;
            let hash = hash.to_vec();
            self.head = Some(AuditHead { link, hash });
            return true;
        };
        self.break_at(expected, reason);
        false
    }

    fn break_at(&mut self, link: i64, reason: String) {
        self.broken = Some(AuditBreak { link, reason });
    }

    /// Whether the entry just taken is the one that `known` says it was.
    fn agrees_with(&mut self, known: &AuditHead) -> bool {
        let Some(head) = self.head.as_ref().filter(|head| head.link == known.link) else {
            return true;
        };
        let agrees = head.hash == known.hash;
        if !agrees {
            self.break_at(known.link, "its hash is another than the one that was kept".to_owned());
        }
        agrees
    }
}

/// SHA-256 over the hash before, the link, the number, the time, and the texts with their lengths.
fn hash_of(before: &[u8], link: i64, entry: &AuditEntry) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(link.to_be_bytes());
    hash.update(entry.id.to_be_bytes());
    hash.update(entry.at.as_micros().to_be_bytes());
    for text in [&entry.actor, &entry.action, &entry.subject, &entry.detail_json] {
        hash.update((text.len() as i32).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().to_vec()
}

impl Store {
    /// Verifies the whole record; with the head that somebody kept, also that it still ends there or goes on from there.
    pub async fn audit_verify(&self, known: Option<&AuditHead>) -> Result<AuditReport> {
        let mut report = AuditReport::default();
        loop {
            let after = report.head.as_ref().map_or(0, |head| head.link);
            let rows = self.audit_links(after).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                let entry = AuditEntry {
                    id: row.audit_id,
                    at: Timestamp::from(row.at),
                    actor: row.actor,
                    action: row.action,
                    subject: row.subject,
                    detail_json: row.detail,
                };
                let holds = report.take(row.link, &row.hash, &entry);
                if !holds || known.is_some_and(|known| !report.agrees_with(known)) {
                    return Ok(report);
                }
            }
        }
        let end = report.head.as_ref().map_or(0, |head| head.link);
        if let Some(known) = known.filter(|known| known.link > end) {
            report.break_at(
                end + 1,
                format!("it is missing: the record once went on to number {}", known.link),
            );
        }
        Ok(report)
    }

    async fn audit_links(&self, after: i64) -> Result<Vec<LinkRow>> {
        Ok(sqlx::query_as!(
            LinkRow,
            r#"select link, hash, audit_id, at, actor, action, subject, detail::text as "detail!"
               from audit where link > $1 order by link limit $2"#,
            after,
            PAGE,
        )
        .fetch_all(&self.pool)
        .await?)
    }
}
