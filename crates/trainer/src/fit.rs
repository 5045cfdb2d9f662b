//! The training loop: Adam on the mean squared error, stopped where healthy rows that were held out stop getting better,
//! and then once more on all rows.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand_distr::{Distribution, Normal};
use tocsin_models::{Metrics, Variant};

use crate::network::Autoencoder;

/// How to train. [`FitOptions::of`] gives what was found to work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitOptions {
    /// Most epochs.
    pub epochs: u32,
    /// Epochs without a better held-out loss after which training stops.
    pub patience: u32,
    /// Rows a step.
    pub batch: usize,
    /// Learning rate at the start; it falls along half a cosine over the epochs.
    pub learning_rate: f64,
    /// Weight decay (Loshchilov and Hutter 2019).
    pub weight_decay: f32,
    /// Standard deviation of the noise added to standardised inputs, not to targets (Vincent et al. 2008).
    pub noise: f32,
    /// Share of each sensor's rows, the last in time, held out for early stopping.
    pub held_out_share: f64,
}

impl FitOptions {
    /// The options for a kind of autoencoder.
    pub fn of(variant: Variant) -> Self {
        let dense = Self {
            epochs: 300,
            patience: 30,
            batch: 64,
            learning_rate: 5e-3,
            weight_decay: 1e-4,
            noise: 0.3,
            held_out_share: 0.2,
        };
        match variant {
            Variant::Dense => dense,
            Variant::Conv => Self {
                epochs: 120,
                patience: 15,
                learning_rate: 2e-3,
                ..dense
            },
        }
    }
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Finding the number of epochs after which held-out rows stop getting better.
    Search,
    /// Training anew on all rows for that number of epochs.
    Refit,
}

/// How far the training is, after an epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// The epoch just done, from 1 in each stage.
    pub epoch: u32,
    /// Most epochs of this stage.
    pub epochs: u32,
    /// Mean squared error on the rows trained on, while training.
    pub training_loss: f64,
    /// Mean squared error on the rows held out; in a refit they are trained on too.
    pub validation_loss: f64,
    /// Rows trained on per second.
    pub rows_per_second: f64,
    /// Time left if every epoch of both stages is run; early stopping can make it less.
    pub time_left: Duration,
}

/// Standardised log spectra, rows x bins.
pub(crate) struct Rows {
    values: Vec<f32>,
    bins: usize,
    /// Places of the rows held out for early stopping, and of the others.
    held_out: Vec<usize>,
    rest: Vec<usize>,
}

impl Rows {
    /// Rows of which some, by place, are held out for early stopping.
    pub(crate) fn new(values: Vec<f32>, bins: usize, rest: Vec<usize>, held_out: Vec<usize>) -> Self {
        Self {
            values,
            bins,
            held_out,
            rest,
        }
    }

    fn gather(&self, places: &[usize]) -> Vec<f32> {
        places
            .iter()
            .flat_map(|row| &self.values[row * self.bins..][..self.bins])
            .copied()
            .collect()
    }
}

/// Trains the network that `draw` gives untrained: first without the rows held out, to find the number of epochs, then
/// anew, from the same weights, on all rows.
///
/// The rows held out are the newest, and a machine drifts: a network that has never seen them calls their like unhealthy
/// several times as often, which is why they are not left out in the end.
///
/// Nothing when `progress`, which hears of every epoch, breaks it off.
pub(crate) fn fit(
    draw: impl Fn(&mut StdRng) -> Autoencoder,
    rows: &Rows,
    options: FitOptions,
    seed: u64,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Option<(Autoencoder, Metrics)> {
    let start = Instant::now();
    let mut trained_rows = 0;
    let mut tell = |stage, epoch, epochs, left: u32, training_loss, validation_loss, count: usize| {
        trained_rows += count;
        let rate = trained_rows as f64 / start.elapsed().as_secs_f64();
        progress(Progress {
            stage,
            epoch,
            epochs,
            training_loss,
            validation_loss,
            rows_per_second: rate,
            time_left: Duration::from_secs_f64(f64::from(left) * count as f64 / rate),
        })
        .continue_value()
    };

    let mut run = Run::new(&draw, rows, options, seed);
    let (mut best_epoch, mut validation_loss, mut epochs) = (0, f64::INFINITY, 0);
    while epochs < options.epochs && epochs - best_epoch < options.patience {
        epochs += 1;
        let (training, validation) = run.epoch(&rows.rest, epochs);
        if validation < validation_loss {
            (best_epoch, validation_loss) = (epochs, validation);
        }
        let left = 2 * options.epochs - epochs;
        tell(
            Stage::Search,
            epochs,
            options.epochs,
            left,
            training,
            validation,
            rows.rest.len(),
        )?;
    }

    let all: Vec<usize> = (0..rows.values.len() / rows.bins).collect();
    let mut run = Run::new(&draw, rows, options, seed);
    let mut training_loss = f64::INFINITY;
    for epoch in 1..=best_epoch {
        let (training, validation) = run.epoch(&all, epoch);
        training_loss = training;
        tell(
            Stage::Refit,
            epoch,
            best_epoch,
            best_epoch - epoch,
            training,
            validation,
            all.len(),
        )?;
    }
    let metrics = Metrics {
        validation_loss,
        training_loss,
        best_epoch,
        epochs,
    };
    Some((run.network.valid(), metrics))
}

/// One training from untrained weights.
struct Run<'a> {
    rows: &'a Rows,
    options: FitOptions,
    rng: StdRng,
    network: Autoencoder,
    optimizer: ModuleOptimizer,
    held_out: Tensor<2>,
}

impl<'a> Run<'a> {
    fn new(draw: impl Fn(&mut StdRng) -> Autoencoder, rows: &'a Rows, options: FitOptions, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let network = draw(&mut rng);
        let optimizer = AdamWConfig::new().with_weight_decay(options.weight_decay).init();
        let shape = [rows.held_out.len(), rows.bins];
        let held_out = Tensor::from_data(TensorData::new(rows.gather(&rows.held_out), shape), &Device::flex());
        Self {
            rows,
            options,
            rng,
            network,
            optimizer,
            held_out,
        }
    }

    /// Goes once through the rows at `places`; the loss on them while training, and on the rows held out after it.
    fn epoch(&mut self, places: &[usize], epoch: u32) -> (f64, f64) {
        let mut order = places.to_vec();
        order.shuffle(&mut self.rng);
        let through = f64::from(epoch - 1) / f64::from(self.options.epochs);
        let rate = self.options.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * through).cos());
        let mut training_loss = 0.0;
        for batch in order.chunks(self.options.batch) {
            let (input, target) = tensors(self.rows, batch, self.options.noise, &mut self.rng);
            let loss = (self.network.forward(input) - target).square().mean();
            let gradients = GradientsParams::from_grads(loss.backward(), &self.network);
            self.network = self.optimizer.step(rate, self.network.clone(), gradients);
            training_loss += f64::from(loss.into_scalar::<f32>()) * batch.len() as f64 / order.len() as f64;
        }
        (training_loss, loss_of(&self.network.valid(), &self.held_out))
    }
}

/// A batch with noise, and without.
fn tensors(rows: &Rows, batch: &[usize], noise: f32, rng: &mut StdRng) -> (Tensor<2>, Tensor<2>) {
    let device = Device::flex().autodiff();
    let shape = [batch.len(), rows.bins];
    let target = rows.gather(batch);
    let normal = Normal::new(0.0, noise).expect("the noise is finite and not negative");
    let input: Vec<f32> = target.iter().map(|value| value + normal.sample(rng)).collect();
    let tensor = |values| Tensor::from_data(TensorData::new(values, shape), &device);
    (tensor(input), tensor(target))
}

/// Mean squared error over all rows, in blocks.
fn loss_of(network: &Autoencoder, rows: &Tensor<2>) -> f64 {
    const BLOCK: usize = 1024;
    let [count, bins] = rows.dims();
    let mut sum = 0.0;
    for first in (0..count).step_by(BLOCK) {
        let block = rows.clone().slice([first..count.min(first + BLOCK), 0..bins]);
        let loss: f32 = (network.forward(block.clone()) - block.clone())
            .square()
            .mean()
            .into_scalar();
        sum += f64::from(loss) * block.dims()[0] as f64;
    }
    sum / count as f64
}
