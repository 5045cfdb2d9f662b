//! The autoencoders, in burn. They see standardised log spectra; what is around that is added by the export.
//!
//! Weights are drawn here from the request's generator, and not by burn, whose generator is the whole process's.

mod conv;
mod dense;
mod temporal;
mod window;

use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use rand::Rng;
use rand_distr::{Distribution, Uniform};
use tocsin_models::Objective;

pub(crate) use conv::{Conv, Down, KERNEL, Up, flattened, padded_bins};
pub(crate) use dense::{Dense, dense_hidden};
pub(crate) use temporal::{Lstm, Over, Temporal, Windowed, lstm_hidden};

/// Where the logarithm of a variance ends, up and down: a spectrum far from all that was trained on must have a score.
pub(crate) const LOG_VARIANCE: f32 = 10.0;

/// An autoencoder: a body of any kind, and what its objective adds to the latent.
#[derive(Module, Debug)]
pub(crate) struct Autoencoder {
    /// Encoder and decoder.
    pub(crate) body: Body,
    /// Features to the logarithm of each latent's variance, for a network that gives a distribution.
    pub(crate) log_variance: Option<Linear>,
    /// The latents pass a sigmoid.
    pub(crate) bounded: bool,
    /// Bins of a spectrum.
    bins: usize,
}

/// The layers of any kind.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub(crate) enum Body {
    /// Fully connected.
    Dense(Dense),
    /// Convolutional.
    Conv(Conv),
    /// Over a sensor's last spectra.
    Temporal(Temporal),
}

/// What an encoder says of rows: each rows x latent.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    /// The latents; their means where they are a distribution.
    pub(crate) latent: Tensor<2>,
    /// The logarithm of their variances.
    pub(crate) log_variance: Option<Tensor<2>>,
}

impl Autoencoder {
    /// Draws the weights of an untrained network.
    pub(crate) fn new<R: Rng>(shape: Shape<'_>, rng: &mut R, device: &Device) -> Self {
        let Shape { bins, latent, .. } = shape;
        let body = match shape.kind {
            Kind::Dense => Body::Dense(Dense::new(bins, latent, rng, device)),
            Kind::Conv => Body::Conv(Conv::new(bins, latent, rng, device)),
            Kind::Temporal(windowed) => Body::Temporal(Temporal::new(windowed, (bins, latent), rng, device)),
        };
        let log_variance = shape.objective.beta().map(|_| {
            let features = body.encoder_latent().weight.dims()[0];
            Linear::small(features, latent, rng, device)
        });
        Self {
            body,
            log_variance,
            bounded: matches!(shape.objective, Objective::Sparse { .. }),
            bins,
        }
    }

    /// What the encoder says of standardised log spectra, rows x bins; of a temporal one rows x (spectra x bins), oldest first.
    pub(crate) fn encode(&self, rows: Tensor<2>) -> Code {
        let features = match &self.body {
            Body::Dense(dense) => dense.features(rows),
            Body::Conv(conv) => conv.features(rows),
            Body::Temporal(temporal) => temporal.features(rows),
        };
        let bounded = |values: Tensor<2>| values.clamp(-LOG_VARIANCE, LOG_VARIANCE);
        let log_variance = self
            .log_variance
            .as_ref()
            .map(|layer| bounded(layer.forward(features.clone())));
        let latent = self.body.encoder_latent().forward(features);
        Code {
            latent: if self.bounded { sigmoid(latent) } else { latent },
            log_variance,
        }
    }

    /// Spectra of latents: rows x latent to rows x bins.
    pub(crate) fn decode(&self, latent: Tensor<2>) -> Tensor<2> {
        match &self.body {
            Body::Dense(dense) => dense.decode(latent),
            Body::Conv(conv) => conv.decode(latent, self.bins),
            Body::Temporal(temporal) => temporal.beside.decode(latent),
        }
    }
}

impl Body {
    /// The fully connected one.
    pub(crate) fn dense(&self) -> Option<&Dense> {
        match self {
            Self::Dense(dense) => Some(dense),
            Self::Conv(_) | Self::Temporal(_) => None,
        }
    }

    /// Features to latent, not rectified.
    pub(crate) fn encoder_latent(&self) -> &Linear {
        match self {
            Self::Dense(dense) => &dense.encoder_latent,
            Self::Conv(conv) => &conv.encoder_latent,
            Self::Temporal(temporal) => &temporal.encoder_latent,
        }
    }
}

/// The kinds of body.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind<'a> {
    /// Fully connected.
    Dense,
    /// Convolutional.
    Conv,
    /// Over a sensor's last spectra, beside a network over one.
    Temporal(Windowed<'a>),
}

/// What a network is made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape<'a> {
    /// Kind of body.
    pub(crate) kind: Kind<'a>,
    /// What it will be trained to do.
    pub(crate) objective: Objective,
    /// Bins of a spectrum.
    pub(crate) bins: usize,
    /// Values in a latent.
    pub(crate) latent: usize,
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

    /// Starts near nothing: variances that start at one, whatever the row, let the latents find their places first.
    fn small<R: Rng>(inputs: usize, outputs: usize, rng: &mut R, device: &Device) -> Self {
        Self {
            weight: weight(100 * inputs, inputs, outputs, rng, device),
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
