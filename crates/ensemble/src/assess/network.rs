//! The network's word: one call to a scorer, and its answer row by row.

use tocsin_contracts::scorer::v1::scorer_service_client::ScorerServiceClient;
use tocsin_contracts::scorer::v1::{ScoreRequest, ScoreResponse};
use tocsin_contracts::scorer::{ScoreBatch, Spectra};
use tocsin_models::CodedRows;

use super::{Assessor, CHUNK_ROWS, Pending};
use crate::bindings::Limits;

/// Codes that one call carries at most: well below the 16 MiB that a server takes unless told otherwise.
const CALL_BYTES: usize = 4 << 20;

/// The rows, as the detectors take them.
pub(crate) fn coded(spectra: &Spectra) -> CodedRows<'_> {
    CodedRows {
        codes: &spectra.codes,
        bins: spectra.bins,
        full_scale: &spectra.full_scale,
    }
}

/// Readings that one call takes: as many as fill it, all with a window or all without. `window`: codes of a reading's.
pub(crate) fn alike<'a>(places: &[usize], window: impl Fn(usize) -> Option<&'a [u8]>) -> Vec<Vec<usize>> {
    let (windows, alone): (Vec<usize>, Vec<usize>) = places.iter().partition(|place| window(**place).is_some());
    let codes = windows.iter().filter_map(|place| window(*place));
    let most_codes = codes.map(<[u8]>::len).max().unwrap_or(1);
    let of_call = (CALL_BYTES / most_codes.max(1)).clamp(1, CHUNK_ROWS);
    let chunks = windows.chunks(of_call).chain(alone.chunks(CHUNK_ROWS));
    chunks.map(<[usize]>::to_vec).collect()
}

/// Codes of the window of each reading that has one.
pub(super) fn windows<'a>(readings: &'a [Pending]) -> impl Fn(usize) -> Option<&'a [u8]> {
    move |place| readings[place].window.as_ref().map(|window| window.codes.as_slice())
}

/// The spectra of readings, each alone.
pub(super) fn spectra(limits: &Limits, places: &[usize], readings: &[Pending]) -> Spectra {
    let rows = places.iter().map(|place| &readings[*place].placed);
    Spectra {
        bundle: limits.bundle.digest(),
        codes: rows
            .clone()
            .flat_map(|placed| placed.reading.spectrum.codes())
            .copied()
            .collect(),
        window: 1,
        bins: limits.bins(),
        full_scale: rows.map(|placed| placed.full_scale).collect(),
    }
}

/// What is asked of a scorer about readings that are [`alike`].
pub(super) fn request(
    limits: &Limits,
    places: &[usize],
    readings: &[Pending],
    bin_error_rows: Vec<usize>,
) -> ScoreRequest {
    let mut spectra = spectra(limits, places, readings);
    let windows: Option<Vec<&[u8]>> = places
        .iter()
        .map(|place| readings[*place].window.as_ref().map(|window| window.codes.as_slice()))
        .collect();
    if let (Some(windows), Some(window)) = (windows.filter(|windows| !windows.is_empty()), limits.window()) {
        (spectra.codes, spectra.window) = (windows.concat(), window.spectra.into());
    }
    ScoreRequest::from(ScoreBatch {
        spectra,
        bin_error_rows,
    })
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
