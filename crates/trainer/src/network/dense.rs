//! The fully connected autoencoder: bins - hidden - latent - hidden - bins, rectified between.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use rand::Rng;

use super::Linear;

/// bins - hidden - latent - hidden - bins.
#[derive(Module, Debug)]
pub(crate) struct Dense {
    /// Bins to hidden, rectified.
    pub(crate) encoder_hidden: Linear,
    /// Hidden to latent, not rectified.
    pub(crate) encoder_latent: Linear,
    /// Latent to hidden, rectified.
    pub(crate) decoder_hidden: Linear,
    /// Hidden to bins, not rectified.
    pub(crate) decoder_bins: Linear,
}

/// Values between bins and latent.
pub(crate) fn dense_hidden(bins: usize, latent: usize) -> usize {
    (bins / 2).clamp(latent, 256.max(latent))
}

impl Dense {
    pub(super) fn new<R: Rng>(bins: usize, latent: usize, rng: &mut R, device: &Device) -> Self {
        let hidden = dense_hidden(bins, latent);
        Self {
            encoder_hidden: Linear::new(bins, hidden, rng, device),
            encoder_latent: Linear::new(hidden, latent, rng, device),
            decoder_hidden: Linear::new(latent, hidden, rng, device),
            decoder_bins: Linear::new(hidden, bins, rng, device),
        }
    }

    /// What the latent is computed from: rows x bins to rows x hidden.
    pub(super) fn features(&self, rows: Tensor<2>) -> Tensor<2> {
        relu(self.encoder_hidden.forward(rows))
    }

    /// Rows x latent to rows x bins.
    pub(super) fn decode(&self, latent: Tensor<2>) -> Tensor<2> {
        self.decoder_bins.forward(relu(self.decoder_hidden.forward(latent)))
    }
}
