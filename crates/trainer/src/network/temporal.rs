//! Encoders over a sensor's last spectra. They speak to the decoder of a network over one spectrum, which is trained before
//! them and stays as it is: a latent means the same whichever encoder made it, and so does an error.
//!
//! Both are causal: a window ends with the spectrum that is rebuilt.

use burn::module::{Module, Param};
use burn::tensor::activation::{sigmoid, tanh};
use burn::tensor::{Device, Tensor, TensorData};
use rand::Rng;

use super::conv::{Down, convolutions, descend, flattened};
use super::{Dense, Linear, weight};

/// The most values in the memory of an LSTM.
const MOST_HIDDEN: usize = 128;

/// An encoder over windows, and the network beside it.
#[derive(Module, Debug)]
pub(crate) struct Temporal {
    /// What looks at the window.
    pub(crate) over: Over,
    /// Features to latent, not rectified.
    pub(crate) encoder_latent: Linear,
    /// The network over one spectrum, whose decoder rebuilds; nothing of it is trained here.
    pub(crate) beside: Dense,
    /// Spectra in a window.
    pub(crate) spectra: usize,
    bins: usize,
}

/// What looks at a window.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub(crate) enum Over {
    /// Convolutions along the bins; the first spans all of the window's spectra too.
    Conv(Vec<Down>),
    /// The window's spectra one after the other.
    Lstm(Lstm),
}

/// Long short-term memory (Hochreiter and Schmidhuber 1997) with a forget gate (Gers et al. 2000). Gates lie side by side:
/// input, forget, cell, output.
#[derive(Module, Debug)]
pub(crate) struct Lstm {
    /// Bins to 4 times hidden.
    pub(crate) input: Linear,
    /// Hidden to 4 times hidden.
    pub(crate) recurrent: Param<Tensor<2>>,
}

/// What a temporal network is made of and beside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windowed<'a> {
    /// Whether an LSTM looks at the window, and not convolutions.
    pub(crate) lstm: bool,
    /// Spectra in a window.
    pub(crate) spectra: usize,
    /// The network over one spectrum, as it is served.
    pub(crate) beside: &'a Dense,
}

/// Values in the memory of an LSTM.
pub(crate) fn lstm_hidden(bins: usize, latent: usize) -> usize {
    bins.clamp(latent, MOST_HIDDEN.max(latent))
}

impl Temporal {
    pub(super) fn new<R: Rng>(
        windowed: Windowed<'_>,
        (bins, latent): (usize, usize),
        rng: &mut R,
        device: &Device,
    ) -> Self {
        let Windowed { lstm, spectra, beside } = windowed;
        let (over, features) = if lstm {
            let hidden = lstm_hidden(bins, latent);
            (Over::Lstm(Lstm::new(bins, hidden, rng, device)), hidden)
        } else {
            (Over::Conv(convolutions(spectra, rng, device)), flattened(bins))
        };
        Self {
            over,
            encoder_latent: Linear::new(features, latent, rng, device),
            beside: beside.clone().no_grad().train(),
            spectra,
            bins,
        }
    }

    /// What the latent is computed from: rows x (spectra x bins) to rows x features.
    pub(super) fn features(&self, windows: Tensor<2>) -> Tensor<2> {
        let count = windows.dims()[0];
        let windows: Tensor<3> = windows.reshape([count, self.spectra, self.bins]);
        match &self.over {
            Over::Conv(down) => descend(down, windows.swap_dims(1, 2)),
            Over::Lstm(lstm) => lstm.features(windows),
        }
    }
}

impl Lstm {
    fn new<R: Rng>(bins: usize, hidden: usize, rng: &mut R, device: &Device) -> Self {
        // Half of He's variance: what a gate passes on isn't rectified. A memory starts by keeping (Jozefowicz et al. 2015).
        let bias = (0..4 * hidden).map(|at| f32::from(u8::from(at / hidden == 1)));
        let bias = TensorData::new(bias.collect::<Vec<f32>>(), [4 * hidden]);
        Self {
            input: Linear {
                weight: weight(2 * bins, bins, 4 * hidden, rng, device),
                bias: Param::from_data(bias, device),
            },
            recurrent: weight(2 * hidden, hidden, 4 * hidden, rng, device),
        }
    }

    /// Values in the memory.
    pub(crate) fn hidden(&self) -> usize {
        self.recurrent.dims()[0]
    }

    /// What is remembered after the last spectrum: rows x spectra x bins to rows x hidden.
    fn features(&self, windows: Tensor<3>) -> Tensor<2> {
        let ([count, spectra, bins], hidden) = (windows.dims(), self.hidden());
        let gates = self.input.forward(windows.reshape([count * spectra, bins]));
        let gates: Tensor<3> = gates.reshape([count, spectra, 4 * hidden]);
        let step = |at: usize| -> Tensor<2> {
            let step = gates.clone().slice([0..count, at..at + 1, 0..4 * hidden]);
            step.reshape([count, 4 * hidden])
        };
        let part = |gates: &Tensor<2>, nth: usize| gates.clone().slice([0..count, nth * hidden..(nth + 1) * hidden]);
        let first = step(0);
        let mut cell = sigmoid(part(&first, 0)) * tanh(part(&first, 2));
        let mut said = sigmoid(part(&first, 3)) * tanh(cell.clone());
        for at in 1..spectra {
            let gates = step(at) + said.matmul(self.recurrent.val());
            cell = sigmoid(part(&gates, 1)) * cell + sigmoid(part(&gates, 0)) * tanh(part(&gates, 2));
            said = sigmoid(part(&gates, 3)) * tanh(cell.clone());
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    #[test]
    fn the_memory_is_that_of_the_textbook() {
        let (bins, hidden, spectra) = (3, 2, 4);
        let mut rng = StdRng::seed_from_u64(2);
        let lstm = Lstm::new(bins, hidden, &mut rng, &Device::flex());
        let window: Vec<f32> = (0..spectra * bins).map(|_| rng.random::<f32>() - 0.5).collect();
        let (w, u) = (values(lstm.input.weight.val()), values(lstm.recurrent.val()));
        let squash = |x: f32| 1.0 / (1.0 + (-x).exp());
        let (mut cell, mut said) = (vec![0.0_f32; hidden], vec![0.0_f32; hidden]);
        for x in window.chunks_exact(bins) {
            let gate = |nth: usize, unit: usize| {
                let column = nth * hidden + unit;
                let own: f32 = x
                    .iter()
                    .enumerate()
                    .map(|(at, x)| x * w[at * 4 * hidden + column])
                    .sum();
                let past: f32 = said
                    .iter()
                    .enumerate()
                    .map(|(at, h)| h * u[at * 4 * hidden + column])
                    .sum();
                own + past + if nth == 1 { 1.0 } else { 0.0 }
            };
            let next: Vec<f32> = (0..hidden)
                .map(|unit| squash(gate(1, unit)) * cell[unit] + squash(gate(0, unit)) * gate(2, unit).tanh())
                .collect();
            let told: Vec<f32> = (0..hidden)
                .map(|unit| squash(gate(3, unit)) * next[unit].tanh())
                .collect();
            (cell, said) = (next, told);
        }
        let input = Tensor::from_data(TensorData::new(window, [1, spectra, bins]), &Device::flex());
        for (found, expected) in values(lstm.features(input)).iter().zip(&said) {
            assert!((found - expected).abs() < 1e-6, "{found} against {expected}");
        }
    }
}
