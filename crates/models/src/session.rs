//! The autoencoder of a bundle, ready to score.

use half::f16;

use crate::archive::AUTOENCODER_FILE;
use crate::bundle::Bundle;
use crate::error::NetworkError;
use crate::onnx;
use crate::plan::{PLAN_ROWS, Plan, PlanState};

/// Elements of the largest tensor of a batch: 32 rows of 4096 bins in 64 channels.
pub(crate) const MAX_ELEMENTS: usize = 32 * 4096 * 64;

/// An autoencoder. Shared by threads; each scores in a [`Session`] of its own.
#[derive(Debug, Clone)]
pub struct Network {
    plan: Plan,
    bins: usize,
    latent: usize,
    target: usize,
    reconstruction: usize,
    latent_place: usize,
    score: Option<usize>,
}

/// One thread's room to run a [`Network`] in.
#[derive(Debug)]
pub struct Session {
    network: Network,
    state: PlanState,
}

/// What the network says of some spectra.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scored {
    /// Residual per row: mean squared error in the target space, or the model's own score where it has one.
    pub errors: Vec<f32>,
    /// Latents, `latent_size` values a row.
    pub latents: Vec<f16>,
    /// Values in a latent.
    pub latent_size: usize,
    /// Squared error of each bin in the target space, for the rows asked for and in the order asked; bins values a row.
    pub bin_errors: Vec<f32>,
}

impl Network {
    /// Makes a bundle's autoencoder ready. Takes some milliseconds: not for every request.
    pub fn load(bundle: &Bundle) -> Result<Self, NetworkError> {
        let manifest = bundle.manifest();
        Self::from_onnx(bundle.autoencoder(), manifest.bins.into(), manifest.latent.into())
    }

    /// Makes an autoencoder of `bins` bins and `latent` latent values ready.
    pub fn from_onnx(bytes: &[u8], bins: usize, latent: usize) -> Result<Self, NetworkError> {
        Self::within(bytes, bins, latent, MAX_ELEMENTS)
    }

    /// The same, with a limit on the elements of the largest tensor of a batch.
    pub(crate) fn within(bytes: &[u8], bins: usize, latent: usize, elements: usize) -> Result<Self, NetworkError> {
        let model = onnx::from_bytes(bytes).map_err(|reason| NetworkError::Contract {
            file: AUTOENCODER_FILE,
            reason,
        })?;
        let plan = Plan::load(AUTOENCODER_FILE, &model, onnx::BINS, bins, elements)?;
        let target = plan.require(onnx::TARGET, Some(bins))?;
        let reconstruction = plan.require(onnx::RECONSTRUCTION, Some(bins))?;
        let latent_place = plan.require(onnx::LATENT, Some(latent))?;
        let score = plan.output(onnx::SCORE);
        if score.is_some() {
            plan.require(onnx::SCORE, Some(1))?;
        }
        Ok(Self {
            plan,
            bins,
            latent,
            target,
            reconstruction,
            latent_place,
            score,
        })
    }

    /// Bins of a spectrum.
    pub fn bins(&self) -> usize {
        self.bins
    }

    /// Values in a latent.
    pub fn latent_size(&self) -> usize {
        self.latent
    }

    /// Room for one thread.
    pub fn session(&self) -> Result<Session, NetworkError> {
        Ok(Session {
            network: self.clone(),
            state: self.plan.state()?,
        })
    }
}

impl Session {
    /// The network it runs.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Scores linear spectra in canonical units, one after the other in `rows`, any number of them.
    ///
    /// `bin_error_rows`: the rows whose per-bin squared error is wanted.
    pub fn run(&mut self, rows: &[f32], bin_error_rows: &[usize]) -> Result<Scored, NetworkError> {
        let bins = self.network.bins;
        let count = rows.len() / bins;
        if rows.len() != count * bins {
            let reason = format!("{} values are not whole rows of {bins} bins", rows.len());
            return Err(NetworkError::Input { field: "rows", reason });
        }
        if let Some(row) = bin_error_rows.iter().find(|row| **row >= count) {
            return Err(NetworkError::Input {
                field: "bin_error_rows",
                reason: format!("{row} of {count} rows"),
            });
        }
        let mut scored = Scored {
            errors: Vec::with_capacity(count),
            latents: Vec::with_capacity(count * self.network.latent),
            latent_size: self.network.latent,
            bin_errors: vec![0.0; bin_error_rows.len() * bins],
        };
        let network = &self.network;
        for (block, rows) in rows.chunks(PLAN_ROWS * bins).enumerate() {
            let first = block * PLAN_ROWS;
            self.state.run(rows, |outputs| {
                network.collect(outputs, rows.len() / bins, &mut scored);
                for (at, row) in bin_error_rows.iter().enumerate() {
                    if (first..first + PLAN_ROWS).contains(row) {
                        let into = &mut scored.bin_errors[at * bins..][..bins];
                        network.bin_errors(outputs, row - first, into);
                    }
                }
            })?;
        }
        Ok(scored)
    }
}

impl Network {
    /// Takes errors and latents of the first `count` rows of a plan's outputs.
    fn collect(&self, outputs: &[&[f32]], count: usize, scored: &mut Scored) {
        for row in 0..count {
            let error = match self.score {
                Some(place) => outputs[place][row],
                None => mean_squared_error(
                    self.row(outputs, self.target, row),
                    self.row(outputs, self.reconstruction, row),
                ),
            };
            scored.errors.push(error);
        }
        let latents = &outputs[self.latent_place][..count * self.latent];
        scored.latents.extend(latents.iter().map(|value| f16::from_f32(*value)));
    }

    fn bin_errors(&self, outputs: &[&[f32]], row: usize, into: &mut [f32]) {
        let target = self.row(outputs, self.target, row);
        let reconstruction = self.row(outputs, self.reconstruction, row);
        for ((error, a), b) in into.iter_mut().zip(target).zip(reconstruction) {
            *error = (a - b) * (a - b);
        }
    }

    fn row<'a>(&self, outputs: &[&'a [f32]], place: usize, row: usize) -> &'a [f32] {
        &outputs[place][row * self.bins..][..self.bins]
    }
}

/// Mean of the squared differences, summed in an order that depends on the length alone.
fn mean_squared_error(target: &[f32], reconstruction: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0_f32; LANES];
    for (a, b) in target.chunks(LANES).zip(reconstruction.chunks(LANES)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += (a - b) * (a - b);
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0] / target.len() as f32
}
