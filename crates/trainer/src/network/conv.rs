//! The convolutional autoencoder: three convolutions of kernel 5 and stride 2 along the frequency axis, a latent, and
//! their transposed mirror.
//!
//! Each convolution is written as one matrix product over the [windows](Window) of the whole batch. Values lie channels
//! last, rows x positions x channels; with stride 2 the five taps of output i are the pairs i - 1 and i and the first half
//! of pair i + 1. The transposed convolution is the same the other way round: the outputs 2i and 2i + 1 come from the
//! inputs i - 1, i and i + 1. That is several times fewer and larger products than an im2col per row, in training and in
//! inference.

use burn::module::{Module, Param};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use rand::Rng;

use super::window::Window;
use super::{Linear, bias, weight};

/// Channels before the first convolution, and after each.
pub(crate) const CHANNELS: [usize; 4] = [1, 16, 32, 32];
/// Taps of a convolution.
pub(crate) const KERNEL: usize = 5;

/// The number of bins the convolutions work on: a multiple of 8. What is missing is filled with the mean.
pub(crate) fn padded_bins(bins: usize) -> usize {
    bins.next_multiple_of(1 << (CHANNELS.len() - 1))
}

/// The convolutional autoencoder.
#[derive(Module, Debug)]
pub(crate) struct Conv {
    /// Convolutions, each rectified.
    pub(crate) down: Vec<Down>,
    /// Flattened to latent, not rectified.
    pub(crate) encoder_latent: Linear,
    /// Latent to flattened, rectified.
    pub(crate) decoder_flat: Linear,
    /// Transposed convolutions, each but the last rectified.
    pub(crate) up: Vec<Up>,
}

/// A convolution of kernel 5 and stride 2, zero-padded by 2.
#[derive(Module, Debug)]
pub(crate) struct Down {
    /// Taps times input channels x output channels.
    pub(crate) weight: Param<Tensor<2>>,
    /// One per output channel.
    pub(crate) bias: Param<Tensor<1>>,
}

/// A transposed convolution of kernel 5 and stride 2.
#[derive(Module, Debug)]
pub(crate) struct Up {
    /// For outputs 2i, from inputs i - 1, i, i + 1: 3 times input channels x output channels.
    pub(crate) even: Param<Tensor<2>>,
    /// For outputs 2i + 1, from inputs i, i + 1: 2 times input channels x output channels.
    pub(crate) odd: Param<Tensor<2>>,
    /// One per output channel.
    pub(crate) bias: Param<Tensor<1>>,
}

impl Conv {
    pub(super) fn new<R: Rng>(bins: usize, latent: usize, rng: &mut R, device: &Device) -> Self {
        let flat = flattened(bins);
        let down = convolutions(CHANNELS[0], rng, device);
        let encoder_latent = Linear::new(flat, latent, rng, device);
        let decoder_flat = Linear::new(latent, flat, rng, device);
        // An output has 2 or 3 taps: two and a half on average.
        let up = CHANNELS.windows(2).rev().map(|c| Up {
            even: weight(KERNEL * c[1] / 2, 3 * c[1], c[0], rng, device),
            odd: weight(KERNEL * c[1] / 2, 2 * c[1], c[0], rng, device),
            bias: bias(c[0], device),
        });
        Self {
            down,
            encoder_latent,
            decoder_flat,
            up: up.collect(),
        }
    }

    /// What the latent is computed from: rows x bins to rows x flattened.
    pub(super) fn features(&self, rows: Tensor<2>) -> Tensor<2> {
        let [count, bins] = rows.dims();
        descend(&self.down, rows.reshape([count, bins, 1]))
    }

    /// Rows x latent to rows x `bins`.
    pub(super) fn decode(&self, latent: Tensor<2>, bins: usize) -> Tensor<2> {
        let count = latent.dims()[0];
        let channels = CHANNELS[self.up.len()];
        let positions = padded_bins(bins) >> self.up.len();
        let flat = relu(self.decoder_flat.forward(latent));
        let mut values: Tensor<3> = flat.reshape([count, positions, channels]);
        for (at, layer) in self.up.iter().enumerate() {
            values = layer.forward(values);
            if at + 1 < self.up.len() {
                values = relu(values);
            }
        }
        values.reshape([count, padded_bins(bins)]).slice([0..count, 0..bins])
    }
}

/// Untrained convolutions of so many channels.
pub(super) fn convolutions<R: Rng>(channels: usize, rng: &mut R, device: &Device) -> Vec<Down> {
    let mut inputs = channels;
    let layers = CHANNELS[1..].iter().map(|outputs| {
        let layer = Down {
            weight: weight(KERNEL * inputs, KERNEL * inputs, *outputs, rng, device),
            bias: bias(*outputs, device),
        };
        inputs = *outputs;
        layer
    });
    layers.collect()
}

/// Values of a row of `bins` bins after the last convolution.
pub(crate) fn flattened(bins: usize) -> usize {
    let layers = CHANNELS.len() - 1;
    (padded_bins(bins) >> layers) * CHANNELS[layers]
}

/// Rows x bins x channels, through convolutions, to rows x flattened.
pub(super) fn descend(down: &[Down], rows: Tensor<3>) -> Tensor<2> {
    let [count, bins, channels] = rows.dims();
    let mut values = match padded_bins(bins) - bins {
        0 => rows,
        missing => {
            let zeros = Tensor::zeros([count, missing, channels], &rows.device());
            Tensor::cat(vec![rows, zeros], 1)
        }
    };
    for layer in down {
        values = relu(layer.forward(values));
    }
    let [_, positions, channels] = values.dims();
    values.reshape([count, positions * channels])
}

impl Down {
    fn forward(&self, values: Tensor<3>) -> Tensor<3> {
        let [count, positions, _] = values.dims();
        let window = Window {
            before: 2,
            taps: KERNEL,
            stride: 2,
        };
        let out = window.of(values).matmul(self.weight.val()) + self.bias.val().unsqueeze();
        let outputs = self.bias.dims()[0];
        out.reshape([count, positions / 2, outputs])
    }
}

impl Up {
    fn forward(&self, values: Tensor<3>) -> Tensor<3> {
        let [count, positions, _] = values.dims();
        let window = Window {
            before: 1,
            taps: 3,
            stride: 1,
        };
        let bias = Tensor::cat(vec![self.bias.val(), self.bias.val()], 0);
        let out = window.of(values).matmul(self.joined()) + bias.unsqueeze();
        let outputs = self.bias.dims()[0];
        out.reshape([count, 2 * positions, outputs])
    }

    /// Both sets of taps as one matrix, 3 times input channels x 2 times output channels: outputs 2i + 1 have none from
    /// input i - 1.
    pub(crate) fn joined(&self) -> Tensor<2> {
        let [taps, outputs] = self.even.dims();
        let none = Tensor::zeros([taps / 3, outputs], &self.odd.val().device());
        let odd = Tensor::cat(vec![none, self.odd.val()], 0);
        Tensor::cat(vec![self.even.val(), odd], 1)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const CHANNELS_IN: usize = 3;
    const CHANNELS_OUT: usize = 2;
    const POSITIONS: usize = 8;

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    fn network() -> (Conv, Vec<f32>) {
        let mut rng = StdRng::seed_from_u64(3);
        let network = Conv::new(64, 12, &mut rng, &Device::flex());
        let input = (0..POSITIONS * CHANNELS_IN)
            .map(|_| rng.random::<f32>() - 0.5)
            .collect();
        (network, input)
    }

    fn input(values: &[f32]) -> Tensor<3> {
        Tensor::from_data(
            TensorData::new(values.to_vec(), [1, POSITIONS, CHANNELS_IN]),
            &Device::flex(),
        )
    }

    fn assert_close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-5, "{found:?} against {expected:?}");
        }
    }

    #[test]
    fn down_is_the_textbook_convolution_of_kernel_5_stride_2_padding_2() {
        let (_, x) = network();
        let mut rng = StdRng::seed_from_u64(4);
        let device = Device::flex();
        let layer = Down {
            weight: weight(1, KERNEL * CHANNELS_IN, CHANNELS_OUT, &mut rng, &device),
            bias: Param::from_data(TensorData::new(vec![0.1_f32, 0.2], [CHANNELS_OUT]), &device),
        };
        let w = values(layer.weight.val());
        let mut expected = Vec::new();
        for i in 0..POSITIONS / 2 {
            for (out, bias) in [0.1, 0.2].into_iter().enumerate() {
                let mut sum = bias;
                for tap in 0..KERNEL {
                    let Some(from) = (2 * i + tap).checked_sub(2).filter(|from| *from < POSITIONS) else {
                        continue;
                    };
                    for channel in 0..CHANNELS_IN {
                        sum += x[from * CHANNELS_IN + channel] * w[(tap * CHANNELS_IN + channel) * CHANNELS_OUT + out];
                    }
                }
                expected.push(sum);
            }
        }
        assert_close(&values(layer.forward(input(&x))), &expected);
    }

    #[test]
    fn up_is_the_textbook_transposed_convolution_of_kernel_5_stride_2() {
        let (_, x) = network();
        let mut rng = StdRng::seed_from_u64(5);
        let device = Device::flex();
        let layer = Up {
            even: weight(1, 3 * CHANNELS_IN, CHANNELS_OUT, &mut rng, &device),
            odd: weight(1, 2 * CHANNELS_IN, CHANNELS_OUT, &mut rng, &device),
            bias: Param::from_data(TensorData::new(vec![0.1_f32, 0.2], [CHANNELS_OUT]), &device),
        };
        let (even, odd) = (values(layer.even.val()), values(layer.odd.val()));
        // Tap t carries input j to output 2j + t - 2; taps 4, 2, 0 are the even matrix, 3, 1 the odd one.
        let tap = |t: usize, channel: usize, out: usize| match t % 2 {
            0 => even[((4 - t) / 2 * CHANNELS_IN + channel) * CHANNELS_OUT + out],
            _ => odd[((3 - t) / 2 * CHANNELS_IN + channel) * CHANNELS_OUT + out],
        };
        let mut expected = [0.1, 0.2].repeat(2 * POSITIONS);
        for j in 0..POSITIONS {
            for t in 0..KERNEL {
                let Some(to) = (2 * j + t).checked_sub(2).filter(|to| *to < 2 * POSITIONS) else {
                    continue;
                };
                for out in 0..CHANNELS_OUT {
                    for channel in 0..CHANNELS_IN {
                        expected[to * CHANNELS_OUT + out] += x[j * CHANNELS_IN + channel] * tap(t, channel, out);
                    }
                }
            }
        }
        assert_close(&values(layer.forward(input(&x))), &expected);
    }

    #[test]
    fn any_number_of_bins_comes_back_as_that_number() {
        let mut rng = StdRng::seed_from_u64(6);
        for bins in [32, 33, 100] {
            let network = Conv::new(bins, 8, &mut rng, &Device::flex());
            let features = network.features(Tensor::zeros([2, bins], &Device::flex()));
            let latent = network.encoder_latent.forward(features);
            assert_eq!(network.decode(latent, bins).dims(), [2, bins]);
        }
    }
}
