//! The gRPC service: requests to pieces, scores to answers.

use std::sync::Arc;
use std::time::Duration;

use tocsin_contracts::Malformed;
use tocsin_contracts::scorer::v1::scorer_service_server::ScorerService;
use tocsin_contracts::scorer::v1::{ReconstructRequest, ReconstructResponse, ScoreRequest, ScoreResponse};
use tocsin_contracts::scorer::{ScoreBatch, Spectra};
use tocsin_domain::Principal;
use tocsin_domain::access::Forbidden;
use tocsin_models::{Decoder, NetworkError, Scored, StoreError};
use tocsin_transport::retry;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use crate::catalogue::{Catalogue, LoadError, Loaded};
use crate::queue::{Full, PIECE_ROWS, Piece};
use crate::worker::{Failed, Workers};

/// Spectra that are reconstructed in one call at most: it is for people to look at.
const RECONSTRUCTED_ROWS: usize = 256;

/// The scorer's gRPC service. Clones share everything.
#[derive(Debug, Clone)]
pub struct Service {
    catalogue: Arc<Catalogue>,
    workers: Arc<Workers>,
}

/// Why a call is not answered with scores.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no credential came with the call")]
    Nobody,
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{full}")]
    Full { full: Full, retry_after_ms: u64 },
    #[error(transparent)]
    Failed(#[from] Failed),
    #[error("decoding: {0}")]
    Decoder(#[from] NetworkError),
    #[error("the scorer stopped before it answered")]
    Gone,
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Nobody => Self::unauthenticated(message),
            Error::Forbidden(_) => Self::permission_denied(message),
            Error::Malformed(malformed) => malformed.into(),
            Error::Load(LoadError::Store(StoreError::NotFound { .. })) => Self::not_found(message),
            Error::Load(LoadError::Store(StoreError::ObjectStore { .. })) | Error::Gone => {
                retry::hint(Self::unavailable(message), Duration::from_secs(1))
            }
            Error::Full { retry_after_ms, .. } => {
                retry::hint(Self::resource_exhausted(message), Duration::from_millis(retry_after_ms))
            }
            Error::Load(error) => {
                tracing::error!(%error, "bundle can't be scored with");
                Self::internal(message)
            }
            Error::Failed(_) | Error::Decoder(_) => Self::internal(message),
        }
    }
}

impl Service {
    pub(crate) fn new(catalogue: Arc<Catalogue>, workers: Arc<Workers>) -> Self {
        Self { catalogue, workers }
    }

    async fn score(&self, batch: ScoreBatch) -> Result<(Arc<Loaded>, Scored), Error> {
        let spectra = &batch.spectra;
        let loaded = self.catalogue.get(spectra.bundle).await?;
        let bins = loaded.network.bins();
        if spectra.bins != bins {
            let reason = format!("{} given, bundle {} has {bins}", spectra.bins, spectra.bundle.short());
            return Err(Malformed::new("bins", reason).into());
        }
        let loaded = match (spectra.window, &loaded.temporal) {
            (1, _) => loaded,
            (window, Some(temporal)) if temporal.network.spectra() == window => Arc::clone(temporal),
            (window, temporal) => {
                let has = temporal.as_ref().map_or(1, |temporal| temporal.network.spectra());
                let reason = format!("{window} given, bundle {} looks at {has}", spectra.bundle.short());
                return Err(Malformed::new("window", reason).into());
            }
        };
        let batch = Arc::new(batch);
        let (pieces, answers): (Vec<_>, Vec<_>) = cut(&loaded, &batch).unzip();
        let retry_after_ms = self.workers.retry_after_ms;
        let full = |full| Error::Full { full, retry_after_ms };
        self.workers.queue.push(pieces).map_err(full)?;
        let mut parts = Vec::with_capacity(answers.len());
        for answer in answers {
            parts.push(answer.await.map_err(|_| Error::Gone)??);
        }
        let scored = join(parts, &batch, loaded.network.latent_size());
        Ok((loaded, scored))
    }

    async fn reconstruct(&self, spectra: Spectra) -> Result<ReconstructResponse, Error> {
        if spectra.rows() > RECONSTRUCTED_ROWS {
            let reason = format!(
                "{} rows given, at most {RECONSTRUCTED_ROWS} are reconstructed",
                spectra.rows()
            );
            return Err(Malformed::new("codes", reason).into());
        }
        let bin_error_rows = (0..spectra.rows()).collect();
        let (loaded, scored) = self
            .score(ScoreBatch {
                spectra,
                bin_error_rows,
            })
            .await?;
        let Scored {
            latents, bin_errors, ..
        } = scored;
        let decode = tokio::task::spawn_blocking(move || Decoder::load(&loaded.bundle)?.run(&latents));
        let reconstruction = decode
            .await
            .map_err(|_| Failed::Panicked("in the decoder".to_owned()))??;
        Ok(ReconstructResponse {
            reconstruction,
            bin_error: bin_errors,
        })
    }
}

#[tonic::async_trait]
impl ScorerService for Service {
    async fn score(&self, request: Request<ScoreRequest>) -> Result<Response<ScoreResponse>, Status> {
        let batch = admit(request, "score")?;
        let (_, scored) = self.score(batch).await?;
        Ok(Response::new(ScoreResponse {
            error: scored.errors,
            latent: scored.latents.iter().flat_map(|value| value.to_le_bytes()).collect(),
            latent_size: scored.latent_size as u32,
            bin_error: scored.bin_errors,
            scorer_build: tocsin_models::build().to_owned(),
        }))
    }

    async fn reconstruct(&self, request: Request<ReconstructRequest>) -> Result<Response<ReconstructResponse>, Status> {
        let spectra = admit(request, "reconstruct spectra")?;
        Ok(Response::new(self.reconstruct(spectra).await?))
    }
}

/// Only Tocsin's own roles come this far; what they send is parsed.
fn admit<W, T: TryFrom<W, Error = Malformed>>(request: Request<W>, action: &'static str) -> Result<T, Error> {
    let principal = request.extensions().get::<Principal>().ok_or(Error::Nobody)?;
    principal.require_service(action)?;
    Ok(request.into_inner().try_into()?)
}

type Answer = oneshot::Receiver<Result<Scored, Failed>>;

/// Cuts a request into pieces that several threads can work on.
fn cut<'a>(loaded: &'a Arc<Loaded>, batch: &'a Arc<ScoreBatch>) -> impl Iterator<Item = (Piece, Answer)> + 'a {
    let all = batch.spectra.rows();
    (0..all).step_by(PIECE_ROWS).map(move |start| {
        let (answer, scored) = oneshot::channel();
        let piece = Piece {
            loaded: Arc::clone(loaded),
            batch: Arc::clone(batch),
            rows: start..all.min(start + PIECE_ROWS),
            answer,
        };
        (piece, scored)
    })
}

/// Joins what [`cut`] cut; the bin errors in the order they were asked for.
fn join(mut parts: Vec<Scored>, batch: &ScoreBatch, latent_size: usize) -> Scored {
    if let [_] = parts[..] {
        return parts.swap_remove(0);
    }
    let bins = batch.spectra.bins;
    let mut bin_errors = Vec::with_capacity(batch.bin_error_rows.len() * bins);
    let mut taken = vec![0; parts.len()];
    for row in &batch.bin_error_rows {
        let part = row / PIECE_ROWS;
        bin_errors.extend_from_slice(&parts[part].bin_errors[taken[part]..][..bins]);
        taken[part] += bins;
    }
    Scored {
        errors: parts.iter().flat_map(|part| &part.errors).copied().collect(),
        latents: parts.iter().flat_map(|part| &part.latents).copied().collect(),
        latent_size,
        bin_errors,
    }
}
