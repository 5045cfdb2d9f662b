//! One training from untrained weights.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{Bytes, Device, Tensor, TensorData};
use chacha20::ChaCha12Rng;
use rand::SeedableRng;

use super::checkpoint::Snapshot;
use super::rows::Batch;
use super::{FitOptions, Rows, corruption, loss};
use crate::network::{Autoencoder, Shape};
use crate::on_disk::{OnDiskError, Part};

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

    /// Goes once through the rows of a part.
    pub(super) fn epoch(&mut self, part: Part, epoch: u32) -> Result<Epoch, OnDiskError> {
        let rows = self.rows;
        let mut batches = rows.shuffled(part, &mut self.rng);
        let through = f64::from(epoch - 1) / f64::from(self.options.epochs);
        let rate = self.options.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * through).cos());
        let annealed = (epoch as f32 / (self.options.epochs as f32 * ANNEALED)).min(1.0);
        let (mut training, mut penalty) = (0.0, 0.0);
        while let Some(batch) = batches.next(self.options.batch)? {
            let share = batch.rows as f64 / rows.count(part) as f64;
            let (error, added) = self.step(batch, rate, annealed);
            training += error * share;
            penalty += added * share;
        }
        let validation = self.validation()?;
        Ok(Epoch {
            training,
            penalty,
            validation,
        })
    }

    /// One step of the optimiser: the error it started from, and the penalty.
    fn step(&mut self, mut batch: Batch, rate: f64, annealed: f32) -> (f64, f64) {
        let objective = self.options.objective;
        corruption::corrupt(objective, &mut batch.input, self.rows.bins(), &mut self.rng);
        let tensors = tensors(batch, &Device::flex().autodiff());
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

    /// Mean over the rows held out, without the share that is trimmed. Of rows on disk none is trimmed, since that takes the
    /// costs of all of them together.
    fn validation(&self) -> Result<f64, OnDiskError> {
        let network = self.network.valid();
        let mut batches = self.rows.in_order(Part::HeldOut);
        let (mut costs, mut sum) = (Vec::new(), 0.0);
        while let Some(batch) = batches.next(BLOCK)? {
            let of_rows = loss::of_rows(&network, self.options.objective, tensors(batch, &Device::flex()));
            if self.rows.are_in_memory() {
                costs.extend(of_rows);
            } else {
                sum += of_rows.iter().map(|cost| f64::from(*cost)).sum::<f64>();
            }
        }
        if !self.rows.are_in_memory() {
            return Ok(sum / self.rows.count(Part::HeldOut) as f64);
        }
        costs.sort_by(f32::total_cmp);
        costs.truncate(kept_of(costs.len(), self.options.trim));
        Ok(costs.iter().map(|cost| f64::from(*cost)).sum::<f64>() / costs.len() as f64)
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
    pub(super) fn figures(&mut self) -> Result<BTreeMap<String, f64>, OnDiskError> {
        let Some(some) = self.rows.some(FIGURE_ROWS)? else {
            return Ok(BTreeMap::new());
        };
        let (rows, _) = tensors(some, &Device::flex());
        let objective = self.options.objective;
        Ok(loss::figures(&self.network.valid(), objective, rows, &mut self.rng))
    }

    /// The network as it is now, to be served.
    pub(super) fn network(&self) -> Autoencoder {
        self.network.valid()
    }
}

/// A batch as the network sees it, and as it is to give it back.
fn tensors(batch: Batch, device: &Device) -> (Tensor<2>, Tensor<2>) {
    let tensor = |values: Vec<f32>| {
        let shape = [batch.rows, values.len() / batch.rows];
        Tensor::from_data(TensorData::new(values, shape), device)
    };
    (tensor(batch.input), tensor(batch.target))
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
