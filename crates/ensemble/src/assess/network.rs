//! The network's word: one call to a scorer, and its answer row by row.

use tocsin_contracts::scorer::Spectra;
use tocsin_contracts::scorer::v1::scorer_service_client::ScorerServiceClient;
use tocsin_contracts::scorer::v1::{ScoreRequest, ScoreResponse};
use tocsin_models::CodedRows;

use super::Assessor;

/// The rows, as the detectors take them.
pub(crate) fn coded(spectra: &Spectra) -> CodedRows<'_> {
    CodedRows {
        codes: &spectra.codes,
        bins: spectra.bins,
        full_scale: &spectra.full_scale,
    }
}

/// What the network said.
pub(crate) struct Network {
    /// The build that scored, and its kernels.
    pub(crate) build: String,
    /// Error and latent of each row.
    pub(crate) rows: Vec<(f32, Vec<u8>)>,
}

/// The answer row by row; a scorer that answers for another number of rows is taken as one that failed.
pub(crate) fn split(response: ScoreResponse, rows: usize) -> Result<Network, tonic::Status> {
    let latent_bytes = 2 * response.latent_size as usize;
    if response.error.len() != rows || response.latent.len() != rows * latent_bytes {
        return Err(tonic::Status::internal(
            "the scorer answered for another number of rows",
        ));
    }
    let latents = (0..rows).map(|row| response.latent[row * latent_bytes..][..latent_bytes].to_vec());
    Ok(Network {
        rows: response.error.into_iter().zip(latents).collect(),
        build: response.scorer_build,
    })
}

impl Assessor {
    /// One call to whichever scorer answers first in turn; each gets the deadline.
    pub(crate) async fn call(&self, request: ScoreRequest) -> Result<ScoreResponse, tonic::Status> {
        let answer = self
            .scorers
            .first_available(|channel| {
                let request = request.clone();
                let channel = channel.with_deadline(Some(self.deadline));
                async move {
                    let mut client = ScorerServiceClient::new(channel).max_decoding_message_size(usize::MAX);
                    Ok(client.score(request).await?.into_inner())
                }
            })
            .await?;
        Ok(answer.value)
    }
}
