//! Windows of neighbouring positions side by side, so that a convolution is one matrix product. Of burn's own operations
//! that takes slices that are padded and joined, whose gradients are as many arrays of zeros, written into and added up:
//! most of the time of a training. Here it is one pass, and one back.

use std::ops::Range;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, TensorData};

/// Which positions a window holds: window `i` begins `before` positions before position `i * stride`. There are more taps
/// than `before`, and no row has fewer positions than the stride.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) before: usize,
    pub(super) taps: usize,
    pub(super) stride: usize,
}

impl Window {
    /// Rows x positions x channels to (rows x windows) x (taps x channels), one window for each `stride` positions; what
    /// lies outside a row is zero.
    pub(super) fn of(self, values: Tensor<3>) -> Tensor<2> {
        Tensor::from_dispatch(Dispatch::windows(values.into_dispatch(), self))
    }

    /// Of a row of so many positions: where each window's values lie in the row, and in the windows side by side.
    fn places(self, positions: usize, channels: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        (0..positions / self.stride).map(move |window| {
            let first = window * self.stride;
            let from = first.saturating_sub(self.before);
            let to = (first + self.taps - self.before).min(positions);
            let start = window * self.taps + from + self.before - first;
            let here = start * channels..(start + to - from) * channels;
            (from * channels..to * channels, here)
        })
    }

    fn gathered(self, values: &FlexTensor) -> FlexTensor {
        let values = values.to_contiguous();
        let [rows, positions, channels] = values.layout().shape().dims();
        let (windows, width) = (positions / self.stride, self.taps * channels);
        let mut out = vec![0.0_f32; rows * windows * width];
        let each = out.chunks_exact_mut(windows * width);
        for (out, row) in each.zip(values.storage::<f32>().chunks_exact(positions * channels)) {
            for (from, to) in self.places(positions, channels) {
                out[to].copy_from_slice(&row[from]);
            }
        }
        FlexTensor::from_data(TensorData::new(out, [rows * windows, width]))
    }

    /// The other way round: what each value has in all windows, added up.
    fn summed(self, windows: &FlexTensor, [rows, positions, channels]: [usize; 3]) -> FlexTensor {
        let windows = windows.to_contiguous();
        let width = positions / self.stride * self.taps * channels;
        let mut out = vec![0.0_f32; rows * positions * channels];
        let each = out.chunks_exact_mut(positions * channels);
        for (out, row) in each.zip(windows.storage::<f32>().chunks_exact(width)) {
            for (to, from) in self.places(positions, channels) {
                out[to]
                    .iter_mut()
                    .zip(&row[from])
                    .for_each(|(sum, value)| *sum += value);
            }
        }
        FlexTensor::from_data(TensorData::new(out, [rows, positions, channels]))
    }
}

/// What burn is to know of windows.
#[backend_extension(Flex, Autodiff)]
trait Windows: Backend {
    fn windows(values: FloatTensor<Self>, window: Window) -> FloatTensor<Self>;
}

impl Windows for Flex {
    fn windows(values: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        window.gathered(&values)
    }
}

impl<C: CheckpointStrategy> Windows for Autodiff<Flex, C> {
    fn windows(values: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        let (values, node) = values.into_parts();
        let shape = values.layout().shape().dims();
        let out = window.gathered(&values);
        match Backwards.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish((window, shape), out),
            OpsKind::UnTracked(step) => step.finish(out),
        }
    }
}

/// The gradient of windows.
#[derive(Debug)]
struct Backwards;

impl Backward<Flex, 1> for Backwards {
    type State = (Window, [usize; 3]);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (window, shape) = ops.state;
        unary::<Flex, _>(ops.parents, ops.node, gradients, |gradient| {
            window.summed(&gradient, shape)
        });
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use proptest::prelude::*;

    use super::*;

    const DOWN: Window = Window {
        before: 2,
        taps: 5,
        stride: 2,
    };

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    fn rows(device: &Device) -> Tensor<3> {
        let values = (1..=16_u8).map(f32::from).collect::<Vec<f32>>();
        Tensor::from_data(TensorData::new(values, [2, 4, 2]), device)
    }

    #[test]
    fn windows_are_padded_with_zeros_and_end_with_their_row() {
        let found = DOWN.of(rows(&Device::flex()));
        assert_eq!(found.dims(), [4, 10]);
        let expected: [[f32; 10]; 4] = [
            [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0],
            [9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 0.0, 0.0],
        ];
        assert_eq!(values(found), expected.as_flattened());
    }

    proptest! {
        /// What gathers and what sums are each other's transpose: <w, gathered(x)> = <summed(w), x>.
        #[test]
        fn the_gradient_is_the_transpose_of_the_windows(
            (before, taps) in (0_usize..4).prop_flat_map(|before| (Just(before), before + 1..before + 4)),
            stride in 1_usize..4, rows in 1_usize..4, spare in 0_usize..7, channels in 1_usize..4, seed in 1_u32..1_000,
        ) {
            let (window, positions) = (Window { before, taps, stride }, stride + spare);
            let whole = |count: usize, step: u32| -> Vec<f32> {
                (0..count as u32).map(|at| ((at * step + seed) % 17) as f32 - 8.0).collect()
            };
            let values = whole(rows * positions * channels, 7);
            let shape = [rows, positions, channels];
            let weights = whole(rows * (positions / stride) * taps * channels, 5);
            let width = [weights.len() / (taps * channels), taps * channels];
            let gathered = window.gathered(&FlexTensor::from_data(TensorData::new(values.clone(), shape)));
            let summed = window.summed(&FlexTensor::from_data(TensorData::new(weights.clone(), width)), shape);
            let product = |one: &[f32], other: &[f32]| one.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
            // Whole numbers this small have no rounding.
            prop_assert_eq!(product(&weights, gathered.storage::<f32>()), product(summed.storage::<f32>(), &values));
        }
    }

    #[test]
    fn values_that_do_not_lie_in_order_are_gathered_all_the_same() {
        let swapped = rows(&Device::flex()).swap_dims(1, 2).swap_dims(0, 1);
        let copied = Tensor::from_data(swapped.clone().into_data(), &Device::flex());
        let of = Window {
            before: 1,
            taps: 3,
            stride: 1,
        };
        assert_eq!(values(of.of(swapped)), values(of.of(copied)));
    }

    #[test]
    fn a_value_has_the_gradient_of_all_windows_it_is_in() {
        let input = rows(&Device::flex().autodiff()).require_grad();
        let found = DOWN.of(input.clone());
        let weights = (0..40_u8).map(f32::from).collect::<Vec<f32>>();
        let weights = Tensor::<2>::from_data(TensorData::new(weights, [4, 10]), &found.device());
        let gradient = input.grad(&(found * weights).sum().backward()).unwrap();
        // Position p is tap p + 2 - 2i of window i; a window has ten weights, a row two windows.
        let weight =
            |row: usize, window: usize, tap: usize, channel: usize| (20 * row + 10 * window + 2 * tap + channel) as f32;
        let expected = (0..16_usize).map(|at| {
            let (row, position, channel) = (at / 8, at / 2 % 4, at % 2);
            let taps = (0..2_usize).filter_map(|window| Some((window, (position + 2).checked_sub(2 * window)?)));
            let taps = taps.filter(|(_, tap)| *tap < 5);
            taps.map(|(window, tap)| weight(row, window, tap, channel)).sum::<f32>()
        });
        assert_eq!(values(gradient), expected.collect::<Vec<f32>>());
    }
}
