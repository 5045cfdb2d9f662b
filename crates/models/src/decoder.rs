//! The decoder of a bundle: from a latent back to a spectrum, for people to look at.

use half::f16;

use crate::archive::DECODER_FILE;
use crate::bundle::Bundle;
use crate::error::NetworkError;
use crate::onnx;
use crate::plan::{PLAN_ROWS, Plan, PlanState};
use crate::session::MAX_ELEMENTS;

/// One thread's decoder.
#[derive(Debug)]
pub struct Decoder {
    state: PlanState,
    bins: usize,
    latent: usize,
    spectrum: usize,
}

impl Decoder {
    /// Makes a bundle's decoder ready. Takes some milliseconds: not for every request.
    pub fn load(bundle: &Bundle) -> Result<Self, NetworkError> {
        let manifest = bundle.manifest();
        Self::from_onnx(bundle.decoder(), manifest.bins.into(), manifest.latent.into())
    }

    /// Makes a decoder of `bins` bins and `latent` latent values ready.
    pub fn from_onnx(bytes: &[u8], bins: usize, latent: usize) -> Result<Self, NetworkError> {
        Self::within(bytes, bins, latent, MAX_ELEMENTS)
    }

    /// The same, with a limit on the elements of the largest tensor of a batch.
    pub(crate) fn within(bytes: &[u8], bins: usize, latent: usize, elements: usize) -> Result<Self, NetworkError> {
        let model = onnx::from_bytes(bytes).map_err(|reason| NetworkError::Contract {
            file: DECODER_FILE,
            reason,
        })?;
        let plan = Plan::load(DECODER_FILE, &model, onnx::LATENT, &[latent], elements)?;
        let spectrum = plan.require(onnx::SPECTRUM, Some(bins))?;
        Ok(Self {
            state: plan.state()?,
            bins,
            latent,
            spectrum,
        })
    }

    /// Bins of a spectrum.
    pub fn bins(&self) -> usize {
        self.bins
    }

    /// Linear spectra in canonical units of latents, one after the other in `latents`: rows x bins.
    pub fn run(&mut self, latents: &[f16]) -> Result<Vec<f32>, NetworkError> {
        let Self {
            state,
            bins,
            latent,
            spectrum,
        } = self;
        let count = latents.len() / *latent;
        if latents.len() != count * *latent {
            let reason = format!("{} values are not whole rows of {latent}", latents.len());
            return Err(NetworkError::Input {
                field: "latents",
                reason,
            });
        }
        let latents: Vec<f32> = latents.iter().map(|value| value.to_f32()).collect();
        let mut spectra = Vec::with_capacity(count * *bins);
        for rows in latents.chunks(PLAN_ROWS * *latent) {
            let values = rows.len() / *latent * *bins;
            state.run(rows, |outputs| spectra.extend_from_slice(&outputs[*spectrum][..values]))?;
        }
        Ok(spectra)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, BINS, LATENT};

    #[test]
    fn latents_become_spectra_one_by_one_as_in_a_batch() {
        let mut decoder = Decoder::from_onnx(&onnx::to_bytes(&fixture::decoder()), BINS, LATENT).unwrap();
        let latents: Vec<f16> = (0..40 * LATENT).map(|at| f16::from_f32((at as f32).sin())).collect();
        let spectra = decoder.run(&latents).unwrap();
        assert_eq!(spectra.len(), 40 * BINS);
        for (latent, spectrum) in latents.chunks_exact(LATENT).zip(spectra.chunks_exact(BINS)) {
            assert_eq!(decoder.run(latent).unwrap(), spectrum);
            assert!(spectrum.iter().all(|amplitude| *amplitude >= 0.0));
        }
        assert!(
            decoder
                .run(&latents[1..])
                .unwrap_err()
                .to_string()
                .starts_with("latents: 159 values")
        );
    }

    #[test]
    fn a_decoder_for_another_number_of_bins_is_refused() {
        let error = Decoder::from_onnx(&onnx::to_bytes(&fixture::decoder()), BINS + 1, LATENT).unwrap_err();
        assert_eq!(
            error.to_string(),
            "decoder.onnx: output \"spectrum\" holds 32 values a row, must hold 33"
        );
    }
}
