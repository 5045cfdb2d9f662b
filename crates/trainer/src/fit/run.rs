//! One training from untrained weights.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{Bytes, Device, Tensor, TensorData};
use chacha20::ChaCha12Rng;
use rand::SeedableRng;
use rand::seq::SliceRandom;

use super::checkpoint::Snapshot;
use super::{FitOptions, Rows, corruption, loss};
use crate::network::{Autoencoder, Shape};

/// Rows put through the network at a time where nothing is learned.
const BLOCK: usize = 1024;
/// Share of the epochs over which a divergence gets its full weight (Bowman et al. 2016).
const ANNEALED: f32 = 0.1;
/// Most rows that the figures of an objective are taken from.
const FIGURE_ROWS: usize = 4096;

/// A training under way.
pub(super) struct Run<'a> {
    rows: &'a Rows,
    options: FitOptions,
    /// The generator of `StdRng`, which would not say where it is.
    rng: ChaCha12Rng,
    network: Autoencoder,
    optimizer: ModuleOptimizer,
}

/// What an epoch came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Epoch {
    /// Mean squared error on the rows trained on, while training.
    pub(super) training: f64,
    /// What the objective added to it, weighted.
    pub(super) penalty: f64,
    /// What early stopping looks at, on the rows held out.
    pub(super) validation: f64,
}

impl<'a> Run<'a> {
    pub(super) fn new(shape: Shape<'_>, rows: &'a Rows, options: FitOptions, seed: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let network = Autoencoder::new(shape, &mut rng, &Device::flex().autodiff());
        let optimizer = AdamWConfig::new().with_weight_decay(options.weight_decay).init();
        Self {
            rows,
            options,
            rng,
            network,
            optimizer,
        }
    }

    /// Goes once through the rows at `places`.
    pub(super) fn epoch(&mut self, places: &[usize], epoch: u32) -> Epoch {
        let mut order = places.to_vec();
        order.shuffle(&mut self.rng);
        let through = f64::from(epoch - 1) / f64::from(self.options.epochs);
        let rate = self.options.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * through).cos());
        let annealed = (epoch as f32 / (self.options.epochs as f32 * ANNEALED)).min(1.0);
        let (mut training, mut penalty) = (0.0, 0.0);
        for batch in order.chunks(self.options.batch) {
            let (error, added) = self.step(batch, rate, annealed);
            let share = batch.len() as f64 / order.len() as f64;
            training += error * share;
            penalty += added * share;
        }
        let validation = self.validation();
        Epoch {
            training,
            penalty,
            validation,
        }
    }

    /// One step of the optimiser: the error it started from, and the penalty.
    fn step(&mut self, batch: &[usize], rate: f64, annealed: f32) -> (f64, f64) {
        let objective = self.options.objective;
        let tensors = self.tensors(batch);
        let loss = loss::of_batch(&self.network, objective, tensors, annealed, &mut self.rng);
        let error = match kept(&loss.errors, self.options.trim) {
            None => loss.errors.mean(),
            Some((kept, count)) => (loss.errors * kept).sum() / count as f32,
        };
        let scalar = |value: &Tensor<1>| f64::from(value.clone().into_scalar::<f32>());
        let told = (scalar(&error), loss.penalty.as_ref().map_or(0.0, scalar));
        let total = match loss.penalty {
            Some(penalty) => error + penalty,
            None => error,
        };
        let gradients = GradientsParams::from_grads(total.backward(), &self.network);
        self.network = self.optimizer.step(rate, self.network.clone(), gradients);
        told
    }

    /// A batch as the network sees it, and as it is to give it back.
    fn tensors(&mut self, batch: &[usize]) -> (Tensor<2>, Tensor<2>) {
        let device = Device::flex().autodiff();
        let target = self.rows.newest(batch);
        let mut input = self.rows.gather(batch);
        corruption::corrupt(self.options.objective, &mut input, self.rows.bins, &mut self.rng);
        let tensor = |values: Vec<f32>| {
            let shape = [batch.len(), values.len() / batch.len()];
            Tensor::from_data(TensorData::new(values, shape), &device)
        };
        (tensor(input), tensor(target))
    }

    /// Mean over the rows held out, without the share that is trimmed.
    fn validation(&self) -> f64 {
        let mut costs = self.costs(&self.rows.held_out);
        costs.sort_by(f32::total_cmp);
        costs.truncate(kept_of(costs.len(), self.options.trim));
        costs.iter().map(|cost| f64::from(*cost)).sum::<f64>() / costs.len() as f64
    }

    /// What early stopping looks at, of each of the rows at `places`.
    fn costs(&self, places: &[usize]) -> Vec<f32> {
        let network = self.network.valid();
        let blocks = places.chunks(BLOCK);
        blocks
            .flat_map(|block| loss::of_rows(&network, self.options.objective, self.rows.tensors(block)))
            .collect()
    }

    /// Where it stands, between two epochs.
    pub(super) fn snapshot(&self) -> Result<Snapshot, RecordError> {
        Ok(Snapshot {
            network: self.network.clone().into_record().into_bytes()?.to_vec(),
            optimizer: self.optimizer.into_bytes()?.to_vec(),
            drawn: self.rng.get_word_pos() as u64,
        })
    }

    /// The same run, where a snapshot says that it stood.
    pub(super) fn at(mut self, snapshot: Snapshot) -> Result<Self, RecordError> {
        let network = ModuleRecord::from_bytes(Bytes::from_bytes_vec(snapshot.network))?;
        self.network = self.network.try_load_record(network)?;
        self.optimizer = self.optimizer.from_bytes(Bytes::from_bytes_vec(snapshot.optimizer))?;
        self.rng.set_word_pos(snapshot.drawn.into());
        Ok(self)
    }

    /// What came of the objective.
    pub(super) fn figures(&mut self) -> BTreeMap<String, f64> {
        let every = self.rows.len().div_ceil(FIGURE_ROWS).max(1);
        let places: Vec<usize> = (0..self.rows.len()).step_by(every).collect();
        let (rows, _) = self.rows.tensors(&places);
        loss::figures(&self.network.valid(), self.options.objective, rows, &mut self.rng)
    }

    /// The network as it is now, to be served.
    pub(super) fn network(&self) -> Autoencoder {
        self.network.valid()
    }
}

/// Ones for the rows that count, and how many they are: all but the share with the largest errors. Nothing when all count.
fn kept(errors: &Tensor<2>, trim: f64) -> Option<(Tensor<2>, usize)> {
    let rows = errors.dims()[0];
    let count = kept_of(rows, trim);
    if count == rows {
        return None;
    }
    let values = loss::host(errors.clone());
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut kept = vec![0.0_f32; values.len()];
    order[..count].iter().for_each(|row| kept[*row] = 1.0);
    let kept = Tensor::from_data(TensorData::new(kept, [values.len(), 1]), &errors.device());
    Some((kept, count))
}

/// Rows that count of so many: at least one.
fn kept_of(rows: usize, trim: f64) -> usize {
    let trimmed = (rows as f64 * trim).round() as usize;
    (rows - trimmed.min(rows)).max(1).min(rows)
}
