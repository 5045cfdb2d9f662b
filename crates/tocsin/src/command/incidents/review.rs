//! `tocsin incidents review`: what people conclude from an incident, kept, made final and taken along as files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use tocsin_contracts::review::v1::review_service_client::ReviewServiceClient;
use tocsin_contracts::review::v1::{
    ExportIncidentReviewRequest, FinaliseIncidentReviewRequest, GetIncidentReviewRequest, GetIncidentReviewResponse,
    IncidentReview, ReopenIncidentReviewRequest, SaveIncidentReviewRequest,
};
use tocsin_transport::Channel;

use super::super::{Ask, given, when};
use crate::client::explain;

type Client = ReviewServiceClient<Channel>;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FileFormat {
    /// One page that needs nothing else, and prints well
    Html,
    /// The readings, a line each
    Csv,
    /// The readings with their spectra
    Parquet,
    /// All of it
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Review {
    /// Show what people wrote, and the versions there are
    Show {
        /// The incident's number
        incident: i64,
    },
    /// Write the draft; what is not given stays as it was
    Save {
        /// The incident's number
        incident: i64,
        /// What was found
        #[arg(long, value_name = "TEXT")]
        findings: Option<String>,
        /// What follows from it
        #[arg(long, value_name = "TEXT")]
        conclusion: Option<String>,
    },
    /// Make the draft final, with all that is known of the incident now: it never changes again
    Finalise {
        /// The incident's number
        incident: i64,
        /// Why that is done while the incident is open
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        open_because: String,
    },
    /// Begin a correction of a final review: a draft of the next version
    Reopen {
        /// The incident's number
        incident: i64,
        /// What is to be corrected
        reason: String,
    },
    /// Write a review to a file
    Export {
        /// The incident's number
        incident: i64,
        /// The file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// What the file is to be [default: what its name ends in]
        #[arg(long = "as", value_enum, value_name = "FORMAT")]
        file_format: Option<FileFormat>,
        /// A version; the newest when not given
        #[arg(
            long = "of-version",
            value_name = "NUMBER",
            default_value_t = 0,
            hide_default_value = true
        )]
        version: u32,
    },
}

impl Review {
    pub(super) async fn run(self, ask: &Ask) -> Result<()> {
        let mut client = ReviewServiceClient::new(ask.target.channel()?).max_decoding_message_size(64 << 20);
        let changed = match self {
            Self::Show { incident } => {
                let found = get(&mut client, incident, 0).await?;
                let mut view = view(found.review.unwrap_or_default())?;
                view["versions"] = found.versions.into_iter().map(self::view).collect::<Result<_>>()?;
                return ask.output.item("review", view);
            }
            Self::Save {
                incident,
                findings,
                conclusion,
            } => {
                let draft = get(&mut client, incident, 0).await?.review.unwrap_or_default();
                let request = SaveIncidentReviewRequest {
                    incident_id: incident,
                    revision: draft.revision,
                    findings: findings.unwrap_or(draft.findings),
                    conclusion: conclusion.unwrap_or(draft.conclusion),
                };
                let answer = client.save_incident_review(request).await;
                answer
                    .map_err(|status| explain("saving the review", &status))?
                    .into_inner()
                    .review
            }
            Self::Finalise { incident, open_because } => {
                let draft = get(&mut client, incident, 0).await?.review.unwrap_or_default();
                let request = FinaliseIncidentReviewRequest {
                    incident_id: incident,
                    revision: draft.revision,
                    open_because,
                };
                let answer = client.finalise_incident_review(request).await;
                answer
                    .map_err(|status| explain("making the review final", &status))?
                    .into_inner()
                    .review
            }
            Self::Reopen { incident, reason } => {
                let request = ReopenIncidentReviewRequest {
                    incident_id: incident,
                    reason,
                };
                let answer = client.reopen_incident_review(request).await;
                answer
                    .map_err(|status| explain("correcting the review", &status))?
                    .into_inner()
                    .review
            }
            Self::Export {
                incident,
                out,
                file_format,
                version,
            } => {
                let format = file_format.map_or_else(|| by_name(&out), Ok)?;
                let bytes = file(&mut client, incident, version, format).await?;
                std::fs::write(&out, &bytes).with_context(|| format!("writing {}", out.display()))?;
                let written =
                    json!({ "incident_id": incident, "file": out.display().to_string(), "bytes": bytes.len() });
                return ask.output.item("export", written);
            }
        };
        ask.output
            .item("review", view(changed.context("the answer holds no review")?)?)
    }
}

fn by_name(out: &Path) -> Result<FileFormat> {
    let ending = out.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match FileFormat::from_str(ending, true) {
        Ok(format) => Ok(format),
        Err(_) => bail!(
            "{} ends in none of html, csv, parquet and json: say --as",
            out.display()
        ),
    }
}

async fn get(client: &mut Client, incident_id: i64, version: u32) -> Result<GetIncidentReviewResponse> {
    let request = GetIncidentReviewRequest { incident_id, version };
    let answer = client.get_incident_review(request).await;
    Ok(answer
        .map_err(|status| explain("looking at the review", &status))?
        .into_inner())
}

async fn file(client: &mut Client, incident_id: i64, version: u32, format: FileFormat) -> Result<Vec<u8>> {
    let format = match format {
        FileFormat::Html => {
            let answer = get(client, incident_id, version).await?;
            return Ok(tocsin_console::review_document(&answer)
                .context("the review's document")?
                .into_bytes());
        }
        FileFormat::Csv => "csv",
        FileFormat::Parquet => "parquet",
        FileFormat::Json => "json",
    };
    let request = ExportIncidentReviewRequest {
        incident_id,
        version,
        format: format.to_owned(),
    };
    let failed = |status: tonic::Status| explain("exporting the review", &status);
    let mut pieces = client
        .export_incident_review(request)
        .await
        .map_err(failed)?
        .into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await.map_err(failed)? {
        bytes.extend(piece.bytes);
    }
    Ok(bytes)
}

fn view(review: IncidentReview) -> Result<Value> {
    Ok(json!({
        "incident_id": review.incident_id,
        "version": review.version,
        "state": review.state,
        "revision": review.revision,
        "findings": review.findings,
        "conclusion": review.conclusion,
        "correction": given(review.correction),
        "saved_by": given(review.saved_by),
        "saved_at": when(review.saved_at)?,
        "finalised_by": given(review.finalised_by),
        "finalised_at": when(review.finalised_at)?,
        "digest": given(review.digest),
    }))
}
