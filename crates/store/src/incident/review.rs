//! Reviews of incidents: drafts that are written, and final ones that stay.
//!
//! **Invariant:** an incident has one draft at most, and only its newest version can be one. A final version is never changed
//! (the database refuses it), and its digest is that of its content (the database computes it).

use tocsin_domain::{IncidentId, Invalid, Scope, Timestamp};

use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::row::{Time, time};
use crate::{Error, Result, Store};

/// A version of an incident's review, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentReview {
    /// The incident.
    pub incident: IncidentId,
    /// Counts up from 1.
    pub version: i32,
    /// Counts up with each save.
    pub revision: i32,
    /// What was found.
    pub findings: String,
    /// What follows from it.
    pub conclusion: String,
    /// Why the version before was corrected; empty for the first.
    pub correction: String,
    /// Who wrote it last.
    pub saved_by: String,
    /// And when.
    pub saved_at: Timestamp,
    /// Who made it final, when, and as what; none while it is a draft.
    pub finalised: Option<Finalised>,
}

/// What a final review is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finalised {
    /// Who made it final.
    pub by: String,
    /// And when.
    pub at: Timestamp,
    /// SHA-256 of its content.
    pub digest: [u8; 32],
}

/// What a person writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewText {
    /// The incident.
    pub incident: IncidentId,
    /// The draft it follows; none begins the first.
    pub follows: Option<i32>,
    /// What was found.
    pub findings: String,
    /// What follows from it.
    pub conclusion: String,
    /// Who says so.
    pub by: String,
}

struct ReviewRow {
    incident_id: i64,
    version: i32,
    revision: i32,
    findings: String,
    conclusion: String,
    correction: String,
    saved_by: String,
    saved_at: Time,
    finalised_by: Option<String>,
    finalised_at: Option<Time>,
    digest: Option<Vec<u8>>,
}

impl TryFrom<ReviewRow> for IncidentReview {
    type Error = Error;

    fn try_from(row: ReviewRow) -> Result<Self> {
        let key = (row.incident_id, row.version);
        let finalised = match (row.finalised_by, row.finalised_at, row.digest) {
            (Some(by), Some(at), Some(digest)) => {
                let length = digest.len();
                let digest = digest.try_into().map_err(|_| {
                    let reason = format!("{length} bytes are no SHA-256");
                    Error::impossible("incident_review", "digest", format!("{key:?}"))(Invalid::new("digest", reason))
                })?;
                Some(Finalised {
                    by,
                    at: at.into(),
                    digest,
                })
            }
            _ => None,
        };
        Ok(Self {
            incident: IncidentId(row.incident_id),
            version: row.version,
            revision: row.revision,
            findings: row.findings,
            conclusion: row.conclusion,
            correction: row.correction,
            saved_by: row.saved_by,
            saved_at: row.saved_at.into(),
            finalised,
        })
    }
}

fn overtaken(incident: IncidentId) -> Error {
    Error::conflict(format!(
        "the review of incident {incident} is not the draft that this follows: somebody else was faster, or it is final"
    ))
}

impl Store {
    /// The versions of an incident's review, newest first.
    pub async fn reviews_by_incident(&self, scope: &Scope, incident: IncidentId) -> Result<Vec<IncidentReview>> {
        let rows = sqlx::query_as!(
            ReviewRow,
            "select r.incident_id, r.version, r.revision, r.findings, r.conclusion, r.correction, r.saved_by, r.saved_at,
                    r.finalised_by, r.finalised_at, r.digest
             from incident_review r join incident n using (incident_id) join machine m using (machine_id)
             where r.incident_id = $1 and ($2::int4[] is null or m.site_id = any($2)) order by r.version desc",
            incident.0,
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(IncidentReview::try_from).collect()
    }

    /// What a final version holds, JSON; none for a draft.
    pub async fn review_content(&self, scope: &Scope, incident: IncidentId, version: i32) -> Result<Option<String>> {
        let found = sqlx::query_scalar!(
            "select r.content from incident_review r join incident n using (incident_id) join machine m using (machine_id)
             where r.incident_id = $1 and r.version = $2 and ($3::int4[] is null or m.site_id = any($3))",
            incident.0,
            version,
            scope.to_filter() as _,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(found.flatten())
    }

    /// Writes a draft, or begins the first one. The audit entry that `audit` makes of it is of the same transaction, here and
    /// in what follows.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the draft is not the one it follows; the incident must lie in the caller's scope already.
    pub async fn review_save(
        &self,
        new: &ReviewText,
        now: Timestamp,
        audit: impl FnOnce(&IncidentReview) -> NewAuditEntry,
    ) -> Result<IncidentReview> {
        let mut transaction = self.begin().await?;
        let row = match new.follows {
            None => {
                sqlx::query_as!(
                ReviewRow,
                "insert into incident_review (incident_id, version, state, revision, findings, conclusion, correction,
                         saved_by, saved_at)
                     values ($1, 1, 'draft', 1, $2, $3, '', $4, $5) on conflict do nothing
                     returning incident_id, version, revision, findings, conclusion, correction, saved_by, saved_at,
                         finalised_by, finalised_at, digest",
                new.incident.0,
                new.findings,
                new.conclusion,
                new.by,
                time(now),
            )
                .fetch_optional(&mut *transaction)
                .await?
            }
            Some(revision) => {
                sqlx::query_as!(
                    ReviewRow,
                    "update incident_review set revision = revision + 1, findings = $3, conclusion = $4, saved_by = $5,
                         saved_at = $6
                     where incident_id = $1 and state = 'draft' and revision = $2
                     returning incident_id, version, revision, findings, conclusion, correction, saved_by, saved_at,
                         finalised_by, finalised_at, digest",
                    new.incident.0,
                    revision,
                    new.findings,
                    new.conclusion,
                    new.by,
                    time(now),
                )
                .fetch_optional(&mut *transaction)
                .await?
            }
        };
        let saved: IncidentReview = row.ok_or_else(|| overtaken(new.incident))?.try_into()?;
        commit(transaction, saved, audit, now).await
    }

    /// Makes a draft final with its content.
    ///
    /// # Errors
    /// As [`Store::review_save`].
    pub async fn review_finalise(
        &self,
        (incident, revision): (IncidentId, i32),
        (by, content): (&str, &str),
        now: Timestamp,
        audit: impl FnOnce(&IncidentReview) -> NewAuditEntry,
    ) -> Result<IncidentReview> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query_as!(
            ReviewRow,
            "update incident_review set state = 'final', finalised_by = $3, finalised_at = $4, content = $5,
                 digest = sha256(convert_to($5, 'UTF8'))
             where incident_id = $1 and state = 'draft' and revision = $2
             returning incident_id, version, revision, findings, conclusion, correction, saved_by, saved_at, finalised_by,
                 finalised_at, digest",
            incident.0,
            revision,
            by,
            time(now),
            content,
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let finished: IncidentReview = row.ok_or_else(|| overtaken(incident))?.try_into()?;
        commit(transaction, finished, audit, now).await
    }

    /// Begins a correction: a draft of the next version, with the text of the final one.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the newest version is not final.
    pub async fn review_reopen(
        &self,
        incident: IncidentId,
        (by, reason): (&str, &str),
        now: Timestamp,
        audit: impl FnOnce(&IncidentReview) -> NewAuditEntry,
    ) -> Result<IncidentReview> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query_as!(
            ReviewRow,
            "insert into incident_review (incident_id, version, state, revision, findings, conclusion, correction, saved_by,
                 saved_at)
             select r.incident_id, r.version + 1, 'draft', 1, r.findings, r.conclusion, $2, $3, $4
             from incident_review r where r.incident_id = $1 and r.state = 'final'
               and not exists (select 1 from incident_review n where n.incident_id = $1 and n.version > r.version)
             on conflict do nothing
             returning incident_id, version, revision, findings, conclusion, correction, saved_by, saved_at, finalised_by,
                 finalised_at, digest",
            incident.0,
            reason,
            by,
            time(now),
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let missing = || Error::conflict(format!("incident {incident} has no final review that is its newest"));
        let begun: IncidentReview = row.ok_or_else(missing)?.try_into()?;
        commit(transaction, begun, audit, now).await
    }
}
