//! Reviews of incidents: gathered anew while they are drafts, and given as they were once they are final.

mod gather;
mod history;
mod peers;
mod readings;
mod spectra;

use serde_json::json;
use tocsin_contracts::incident_review::{Document, State, Text};
use tocsin_contracts::review::v1;
use tocsin_contracts::{Malformed, time};
use tocsin_domain::{IncidentId, Principal, Scope};
use tocsin_store::access::NewAuditEntry;
use tocsin_store::incident::{IncidentListing, IncidentReview, ReviewText};
use tonic::Status;

use super::Service;
use crate::Error;
use crate::export::{self, Format};

/// The longest findings and conclusions kept, in characters.
const TEXT_CHARS: usize = 20_000;
/// The longest reason for a correction.
const REASON_CHARS: usize = 2_000;
/// Bytes of a file in one message.
const PIECE: usize = 256 << 10;

/// A version of a review with what it holds.
struct Found {
    review: Option<IncidentReview>,
    versions: Vec<IncidentReview>,
    content: String,
}

impl Service {
    pub(super) async fn review(
        &self,
        scope: &Scope,
        asked: &v1::GetIncidentReviewRequest,
    ) -> Result<v1::GetIncidentReviewResponse, Error> {
        let id = IncidentId(asked.incident_id);
        let found = self.find(scope, id, asked.version).await?;
        Ok(v1::GetIncidentReviewResponse {
            review: Some(found.review.map_or_else(|| unbegun(id), to_wire)),
            content_json: found.content,
            versions: found.versions.into_iter().map(to_wire).collect(),
        })
    }

    pub(super) async fn save_review(
        &self,
        by: &Principal,
        asked: v1::SaveIncidentReviewRequest,
    ) -> Result<v1::IncidentReview, Error> {
        let listing = self
            .store
            .incident_get(&by.scope(), IncidentId(asked.incident_id))
            .await?;
        let new = ReviewText {
            incident: listing.incident.id,
            follows: (asked.revision != 0).then_some(asked.revision as i32),
            findings: text("findings", &asked.findings, TEXT_CHARS)?,
            conclusion: text("conclusion", &asked.conclusion, TEXT_CHARS)?,
            by: by.actor(),
        };
        let audit = |saved: &IncidentReview| entry(by, "incident_review.save", saved, "");
        let saved = self.store.review_save(&new, self.clock.now(), audit).await?;
        Ok(to_wire(saved))
    }

    pub(super) async fn finalise_review(
        &self,
        by: &Principal,
        asked: &v1::FinaliseIncidentReviewRequest,
    ) -> Result<v1::IncidentReview, Error> {
        let (scope, id) = (by.scope(), IncidentId(asked.incident_id));
        let listing = self.store.incident_get(&scope, id).await?;
        let not_yet = |why| Error::NotYet { incident: id, why };
        let open_because = text("open_because", &asked.open_because, REASON_CHARS)?;
        if listing.incident.closed_at().is_none() == open_because.is_empty() {
            return Err(not_yet(if open_because.is_empty() {
                "the incident is still open, and nobody says why that will not be waited for"
            } else {
                "the incident is over: there is nothing to wait for"
            }));
        }
        let newest = self.store.reviews_by_incident(&scope, id).await?.into_iter().next();
        let draft = newest.ok_or_else(|| not_yet("nobody has begun it"))?;
        if draft.conclusion.is_empty() {
            return Err(not_yet("it has no conclusion"));
        }
        let now = self.clock.now();
        let written = Text {
            state: State::Final,
            finalised_by: Some(by.actor()),
            finalised_at: Some(now),
            open_because: open_because.clone(),
            ..written(&draft)
        };
        let content = self.gather(&scope, &listing, written).await?.to_json();
        let audit = |done: &IncidentReview| entry(by, "incident_review.finalise", done, &open_because);
        let what = (by.actor(), asked.revision as i32);
        let done = self
            .store
            .review_finalise((id, what.1), (&what.0, &content), now, audit)
            .await?;
        Ok(to_wire(done))
    }

    pub(super) async fn reopen_review(
        &self,
        by: &Principal,
        asked: &v1::ReopenIncidentReviewRequest,
    ) -> Result<v1::IncidentReview, Error> {
        let listing = self
            .store
            .incident_get(&by.scope(), IncidentId(asked.incident_id))
            .await?;
        let reason = text("reason", &asked.reason, REASON_CHARS)?;
        if reason.is_empty() {
            return Err(Malformed::new("reason", "must say what is to be corrected").into());
        }
        let audit = |begun: &IncidentReview| entry(by, "incident_review.reopen", begun, "");
        let (id, actor) = (listing.incident.id, by.actor());
        let begun = self
            .store
            .review_reopen(id, (&actor, &reason), self.clock.now(), audit)
            .await?;
        Ok(to_wire(begun))
    }

    /// The file in pieces.
    pub(super) async fn export_review(
        &self,
        scope: &Scope,
        asked: &v1::ExportIncidentReviewRequest,
    ) -> Result<Vec<Result<v1::ExportIncidentReviewResponse, Status>>, Error> {
        let format = Format::parse(&asked.format)?;
        let id = IncidentId(asked.incident_id);
        let found = self.find(scope, id, asked.version).await?;
        let bytes = if format == Format::Json {
            found.content.into_bytes()
        } else {
            let document = Document::from_json(&found.content).map_err(|error| Error::UnreadableReview {
                incident: id,
                reason: error.to_string(),
            })?;
            let digest = found
                .review
                .and_then(|review| review.finalised)
                .map(|done| hex::encode(done.digest));
            export::file(&document, digest.as_deref().unwrap_or_default(), format)?
        };
        let piece = |bytes: &[u8]| Ok(v1::ExportIncidentReviewResponse { bytes: bytes.to_vec() });
        Ok(bytes.chunks(PIECE).map(piece).collect())
    }

    /// A version, the newest when 0, with its content: a final one's as it is stored.
    async fn find(&self, scope: &Scope, id: IncidentId, version: u32) -> Result<Found, Error> {
        let listing = self.store.incident_get(scope, id).await?;
        let versions = self.store.reviews_by_incident(scope, id).await?;
        let review = match version {
            0 => versions.first().cloned(),
            version => {
                let found = versions.iter().find(|review| review.version as u32 == version).cloned();
                Some(found.ok_or(Error::NoVersion { incident: id, version })?)
            }
        };
        let content = self.content(scope, &listing, review.as_ref()).await?;
        Ok(Found {
            review,
            versions,
            content,
        })
    }

    async fn content(
        &self,
        scope: &Scope,
        listing: &IncidentListing,
        review: Option<&IncidentReview>,
    ) -> Result<String, Error> {
        let id = listing.incident.id;
        if let Some(done) = review.filter(|review| review.finalised.is_some()) {
            let stored = self.store.review_content(scope, id, done.version).await?;
            return stored.ok_or_else(|| Error::UnreadableReview {
                incident: id,
                reason: "it has no content".to_owned(),
            });
        }
        let text = review.map(written).unwrap_or_default();
        Ok(self.gather(scope, listing, text).await?.to_json())
    }
}

/// What people wrote in a draft.
fn written(draft: &IncidentReview) -> Text {
    Text {
        version: draft.version as u32,
        state: State::Draft,
        findings: draft.findings.clone(),
        conclusion: draft.conclusion.clone(),
        correction: draft.correction.clone(),
        saved_by: Some(draft.saved_by.clone()),
        saved_at: Some(draft.saved_at),
        finalised_by: None,
        finalised_at: None,
        open_because: String::new(),
    }
}

fn text(field: &'static str, given: &str, most: usize) -> Result<String, Malformed> {
    // As browsers send them: lines end in CR LF.
    let given = given.trim().replace("\r\n", "\n");
    if given.chars().count() > most || given.contains('\0') {
        return Err(Malformed::new(
            field,
            format!("must have at most {most} characters and no NUL"),
        ));
    }
    Ok(given)
}

fn entry(by: &Principal, action: &str, review: &IncidentReview, open_because: &str) -> NewAuditEntry {
    let digest = review.finalised.as_ref().map(|done| hex::encode(done.digest));
    let detail = json!({
        "version": review.version, "revision": review.revision, "findings": review.findings,
        "conclusion": review.conclusion, "correction": review.correction, "digest": digest,
        "open_because": open_because,
    });
    NewAuditEntry::new(by.actor(), action, format!("incident:{}", review.incident), &detail)
}

fn unbegun(id: IncidentId) -> v1::IncidentReview {
    v1::IncidentReview {
        incident_id: id.0,
        state: State::None.as_str().to_owned(),
        ..v1::IncidentReview::default()
    }
}

fn to_wire(review: IncidentReview) -> v1::IncidentReview {
    let done = review.finalised;
    let state = if done.is_some() { State::Final } else { State::Draft };
    v1::IncidentReview {
        incident_id: review.incident.0,
        version: review.version as u32,
        state: state.as_str().to_owned(),
        revision: review.revision as u32,
        findings: review.findings,
        conclusion: review.conclusion,
        correction: review.correction,
        saved_by: review.saved_by,
        saved_at: Some(time::to_wire(review.saved_at)),
        finalised_by: done.as_ref().map(|done| done.by.clone()).unwrap_or_default(),
        finalised_at: done.as_ref().map(|done| time::to_wire(done.at)),
        digest: done.map(|done| hex::encode(done.digest)).unwrap_or_default(),
    }
}
