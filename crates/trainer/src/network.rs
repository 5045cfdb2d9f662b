//! The autoencoders, in burn. They see standardised log spectra; what is around that is added by the export.
//!
//! Weights are drawn here from the request's generator, and not by burn, whose generator is the whole process's.

mod conv;
mod dense;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use rand::Rng;
use rand_distr::{Distribution, Uniform};
use tocsin_models::Variant;

pub(crate) use conv::{Conv, Down, KERNEL, Up, padded_bins};
pub(crate) use dense::Dense;

/// An autoencoder of either kind.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub(crate) enum Autoencoder {
    /// Fully connected.
    Dense(Dense),
    /// Convolutional.
    Conv(Conv),
}

impl Autoencoder {
    /// Draws the weights of an untrained network.
    pub(crate) fn new<R: Rng>(variant: Variant, bins: usize, latent: usize, rng: &mut R, device: &Device) -> Self {
        match variant {
            Variant::Dense => Self::Dense(Dense::new(bins, latent, rng, device)),
            Variant::Conv => Self::Conv(Conv::new(bins, latent, rng, device)),
        }
    }

    /// Reconstructions of standardised log spectra: rows x bins to rows x bins.
    pub(crate) fn forward(&self, rows: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Dense(dense) => dense.forward(rows),
            Self::Conv(conv) => conv.forward(rows),
        }
    }
}

/// x W + b.
#[derive(Module, Debug)]
pub(crate) struct Linear {
    /// Inputs x outputs.
    pub(crate) weight: Param<Tensor<2>>,
    /// One per output.
    pub(crate) bias: Param<Tensor<1>>,
}

impl Linear {
    fn new<R: Rng>(inputs: usize, outputs: usize, rng: &mut R, device: &Device) -> Self {
        Self {
            weight: weight(inputs, inputs, outputs, rng, device),
            bias: bias(outputs, device),
        }
    }

    fn forward(&self, rows: Tensor<2>) -> Tensor<2> {
        rows.matmul(self.weight.val()) + self.bias.val().unsqueeze()
    }
}

/// A matrix of `inputs` x `outputs`, uniform with the variance 2 / `fan_in` (He et al. 2015).
fn weight<R: Rng>(fan_in: usize, inputs: usize, outputs: usize, rng: &mut R, device: &Device) -> Param<Tensor<2>> {
    let bound = (6.0 / fan_in as f32).sqrt();
    let uniform = Uniform::new(-bound, bound).expect("the bound is finite and above zero");
    let values: Vec<f32> = uniform.sample_iter(rng).take(inputs * outputs).collect();
    Param::from_data(TensorData::new(values, [inputs, outputs]), device)
}

fn bias(outputs: usize, device: &Device) -> Param<Tensor<1>> {
    Param::from_data(TensorData::new(vec![0.0_f32; outputs], [outputs]), device)
}
