//! An incident's review: what was known, what people concluded from it, and the same as files.
//!
//! The page and the file that stands alone are drawn by the same code, from the document that the review service gathers, or keeps.

mod body;
mod heatmap;
mod levels;
mod peers;
mod plot;
mod png;
mod record;
mod spectra;
mod text;

use axum::extract::{Form, Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Deserialize;
use tocsin_contracts::access::v1::WhoAmIResponse;
use tocsin_contracts::incident_review::Document;
use tocsin_contracts::incidents::v1::{AddLabelRequest, CommentIncidentRequest, add_label_request};
use tocsin_contracts::review::v1::{
    ExportIncidentReviewRequest, FinaliseIncidentReviewRequest, GetIncidentReviewRequest, GetIncidentReviewResponse,
    IncidentReview, ReopenIncidentReviewRequest, SaveIncidentReviewRequest,
};

use super::incident::number;
use crate::assets;
use crate::failure::{Failure, Part};
use crate::layout::page_of_review;
use crate::session::Session;
use crate::view::sprite;

/// What the address says: the newest version when there is none.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    version: u32,
}

/// What a person wrote.
#[derive(Debug, Deserialize)]
pub(crate) struct Written {
    #[serde(default)]
    revision: u32,
    #[serde(default)]
    findings: String,
    #[serde(default)]
    conclusion: String,
    /// Why it is made final while the incident is open.
    #[serde(default)]
    open_because: String,
    /// `finalise` to make it final as well.
    #[serde(default)]
    then: String,
}

/// What is to be corrected.
#[derive(Debug, Deserialize)]
pub(crate) struct Correction {
    #[serde(default)]
    reason: String,
}

/// What the incident was.
#[derive(Debug, Deserialize)]
pub(crate) struct Labelled {
    #[serde(default)]
    label: String,
    #[serde(default)]
    mode: String,
    #[serde(default)]
    note: String,
}

/// A comment.
#[derive(Debug, Deserialize)]
pub(crate) struct Comment {
    #[serde(default)]
    text: String,
}

/// A version of a review as it is shown.
#[derive(Clone, Copy)]
struct View<'a> {
    document: &'a Document,
    review: &'a IncidentReview,
    versions: &'a [IncidentReview],
    /// Who looks; nobody in a file, which has neither forms nor links.
    who: Option<&'a WhoAmIResponse>,
}

impl View<'_> {
    /// Leads somewhere on the page, and nowhere in a file.
    fn linked(&self, href: &str, what: &Markup) -> Markup {
        html! { @if self.who.is_some() { a href=(href) { (what) } } @else { (what) } }
    }

    fn href(&self) -> String {
        format!("/incidents/{}/review", self.review.incident_id)
    }

    fn title(&self) -> String {
        let incident = &self.document.incident;
        format!("Review of incident {} · {}", incident.incident_id, incident.machine)
    }
}

/// `GET /incidents/{id}/review`.
pub(crate) async fn show(
    session: Session,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Markup, Failure> {
    let (who, answer) = tokio::try_join!(session.who(), fetch(&session, &id, asked.version))?;
    let (document, review) = read(&answer).map_err(|error| unreadable(&error))?;
    let view = View {
        document: &document,
        review: &review,
        versions: &answer.versions,
        who: Some(&who),
    };
    Ok(page_of_review(&view.title(), &who, &body::body(view)))
}

/// `POST /incidents/{id}/review`.
pub(crate) async fn save(
    session: Session,
    Path(id): Path<String>,
    Form(form): Form<Written>,
) -> Result<Redirect, Failure> {
    let incident_id = number(&id)?;
    let mut client = session.review();
    let request = SaveIncidentReviewRequest {
        incident_id,
        revision: form.revision,
        findings: form.findings,
        conclusion: form.conclusion,
    };
    let saved = client.save_incident_review(request).await;
    let saved = saved.map_err(Part::Review.failed())?.into_inner().review;
    if form.then == "finalise" {
        let request = FinaliseIncidentReviewRequest {
            incident_id,
            revision: saved.map(|review| review.revision).unwrap_or_default(),
            open_because: form.open_because,
        };
        let done = client.finalise_incident_review(request).await;
        done.map_err(Part::Review.failed())?;
    }
    Ok(back(incident_id))
}

/// `POST /incidents/{id}/review/reopen`.
pub(crate) async fn reopen(
    session: Session,
    Path(id): Path<String>,
    Form(form): Form<Correction>,
) -> Result<Redirect, Failure> {
    let request = ReopenIncidentReviewRequest {
        incident_id: number(&id)?,
        reason: form.reason,
    };
    let incident_id = request.incident_id;
    let begun = session.review().reopen_incident_review(request).await;
    begun.map_err(Part::Review.failed())?;
    Ok(back(incident_id))
}

/// `POST /incidents/{id}/review/label`.
pub(crate) async fn label(
    session: Session,
    Path(id): Path<String>,
    Form(form): Form<Labelled>,
) -> Result<Redirect, Failure> {
    let incident_id = number(&id)?;
    let request = AddLabelRequest {
        subject: Some(add_label_request::Subject::IncidentId(incident_id)),
        label: form.label,
        mode: form.mode,
        note: form.note,
    };
    let labelled = session.incidents().add_label(request).await;
    labelled.map_err(Part::Incidents.failed())?;
    Ok(back(incident_id))
}

/// `POST /incidents/{id}/review/comment`.
pub(crate) async fn comment(
    session: Session,
    Path(id): Path<String>,
    Form(form): Form<Comment>,
) -> Result<Redirect, Failure> {
    let incident_id = number(&id)?;
    let request = CommentIncidentRequest {
        incident_id,
        text: form.text,
    };
    let said = session.incidents().comment_incident(request).await;
    said.map_err(Part::Incidents.failed())?;
    Ok(back(incident_id))
}

/// `GET /incidents/{id}/review/export.{html,csv,parquet,json}`.
pub(crate) async fn export(
    session: Session,
    Path((id, file)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let kinds = [
        ("html", "text/html; charset=utf-8"),
        ("csv", "text/csv; charset=utf-8"),
        ("parquet", "application/vnd.apache.parquet"),
        ("json", "application/json"),
    ];
    let wanted = file.strip_prefix("export.");
    let found = kinds.into_iter().find(|(format, _)| wanted == Some(*format));
    let (format, kind) = found.ok_or_else(|| Failure::NotFound(format!("export {file:?}")))?;
    let incident_id = number(&id)?;
    let bytes = if format == "html" {
        let answer = fetch(&session, &id, asked.version).await?;
        document(&answer).map_err(|error| unreadable(&error))?.into_bytes()
    } else {
        let request = ExportIncidentReviewRequest {
            incident_id,
            version: asked.version,
            format: format.to_owned(),
        };
        let pieces = session.review().export_incident_review(request).await;
        let mut pieces = pieces.map_err(Part::Review.failed())?.into_inner();
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.message().await.map_err(Part::Review.failed())? {
            bytes.extend(piece.bytes);
        }
        bytes
    };
    let name = match asked.version {
        0 => format!("incident-{incident_id}-review.{format}"),
        version => format!("incident-{incident_id}-review-{version}.{format}"),
    };
    let attachment = HeaderValue::try_from(format!("attachment; filename=\"{name}\""))
        .map_err(|_| Failure::NotFound(format!("export {file:?}")))?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_DISPOSITION, attachment),
    ];
    Ok((headers, bytes).into_response())
}

/// The review as one HTML file that needs nothing else: no network, no console.
///
/// # Errors
/// If the answer holds no document.
pub fn document(answer: &GetIncidentReviewResponse) -> Result<String, serde_json::Error> {
    let (document, review) = read(answer)?;
    let view = View {
        document: &document,
        review: &review,
        versions: &answer.versions,
        who: None,
    };
    // What stands in the file may run and show itself, and nothing may be fetched.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";
    let file = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(policy);
                title { (view.title()) " · Tocsin" }
                style { (PreEscaped(assets::text("console.css"))) }
            }
            body {
                (sprite())
                main.alone #content { (body::body(view)) }
                script { (PreEscaped(assets::text("review.js"))) }
            }
        }
    };
    Ok(file.into_string())
}

async fn fetch(session: &Session, id: &str, version: u32) -> Result<GetIncidentReviewResponse, Failure> {
    let request = GetIncidentReviewRequest {
        incident_id: number(id)?,
        version,
    };
    let answer = session.review().get_incident_review(request).await;
    Ok(answer.map_err(Part::Review.failed())?.into_inner())
}

fn read(answer: &GetIncidentReviewResponse) -> Result<(Document, IncidentReview), serde_json::Error> {
    let document = Document::from_json(&answer.content_json)?;
    Ok((document, answer.review.clone().unwrap_or_default()))
}

fn unreadable(error: &serde_json::Error) -> Failure {
    Failure::Down {
        part: Part::Review,
        code: tonic::Code::DataLoss,
        detail: format!("its document can't be read: {error}"),
    }
}

fn back(incident_id: i64) -> Redirect {
    Redirect::to(&format!("/incidents/{incident_id}/review"))
}
