//! The training loop: Adam with weight decay on the squared error and what the objective adds, stopped where healthy rows that were held out
//! stop getting better, and then once more on all rows.

mod checkpoint;
mod corruption;
mod loss;
mod rows;
mod run;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tocsin_models::{Metrics, Objective, Variant};

use crate::network::{Autoencoder, Shape};
use crate::on_disk::Part;
pub(crate) use checkpoint::Stopped;
pub use checkpoint::{CheckpointError, Checkpoints};
use checkpoint::{Keeper, Position, Snapshot};
pub(crate) use rows::Rows;
use run::{Epoch, Run};

/// Times that a divergence which silenced the latents is given less weight, and the factor.
const COLLAPSES: u32 = 3;
const LESS: f32 = 0.25;

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
    /// What the network is trained to do.
    pub objective: Objective,
    /// Share of the rows that may be faults taken for healthy; 0 to below 0.5. In rounds that look for them, so many of each
    /// batch, those with the largest errors, teach nothing (trimmed loss, Shen and Sanghavi 2019).
    pub trim: f64,
    /// Share of each sensor's rows, the last in time, held out for early stopping.
    pub held_out_share: f64,
    /// Spectra in a window of a temporal variant, the newest included; the others look at one.
    pub window: u16,
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
            objective: Objective::default(),
            trim: 0.0,
            held_out_share: 0.2,
            window: 8,
        };
        match variant {
            // What is computed or brought and not trained knows the held-out share alone.
            Variant::Dense | Variant::Pca | Variant::Mahalanobis | Variant::Foreign => dense,
            Variant::Conv => Self {
                epochs: 120,
                patience: 15,
                learning_rate: 2e-3,
                ..dense
            },
            Variant::TemporalConv | Variant::TemporalLstm => Self {
                epochs: 100,
                patience: 12,
                learning_rate: 2e-3,
                ..dense
            },
        }
    }

    /// The options for the network over one spectrum beside a temporal one: its epochs cost a fraction, so it gets three
    /// times as many.
    pub(crate) fn beside(self) -> Self {
        let dense = Self::of(Variant::Dense);
        Self {
            epochs: dense.epochs.min(self.epochs.saturating_mul(3)),
            patience: dense.patience,
            batch: dense.batch,
            learning_rate: dense.learning_rate,
            weight_decay: dense.weight_decay,
            ..self
        }
    }
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// What the objective added to it, weighted: a divergence, a norm; 0 for those that add nothing.
    pub penalty: f64,
    /// Mean squared error on the rows held out, with the divergence of a variational objective; in a refit they are
    /// trained on too.
    pub validation_loss: f64,
    /// Rows trained on per second.
    pub rows_per_second: f64,
    /// Time left if every epoch of both stages is run; early stopping can make it less.
    pub time_left: Duration,
}

/// A trained network.
pub(crate) struct Fitted {
    /// The network, to be served.
    pub(crate) network: Autoencoder,
    /// What it was trained to do in the end.
    pub(crate) objective: Objective,
    /// How it went.
    pub(crate) metrics: Metrics,
}

/// Trains a network: first without the rows held out, to find the number of epochs, then anew, from the same weights, on
/// all rows.
///
/// The rows held out are the newest, and a machine drifts: a network that has never seen them calls their like unhealthy
/// several times as often, which is why they are not left out in the end.
///
/// A variational network whose divergence has silenced its latents (KL collapse) is trained again with a quarter of the
/// weight, three times at most; how often is among the figures.
///
/// `kept` says where checkpoints of it are, and of which round. `progress` hears of every epoch, and may break it off.
pub(crate) fn fit(
    shape: Shape<'_>,
    rows: &Rows,
    (options, seed): (FitOptions, u64),
    kept: Option<(&Checkpoints, u32)>,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Fitted, Stopped> {
    let keeper = kept.map(|(checkpoints, round)| Keeper::new(checkpoints, round, shape, rows, options, seed));
    let keeper = keeper.transpose()?;
    let mut found = keeper.as_ref().map_or(Ok(None), Keeper::found)?;
    let mut options = options;
    let mut collapses = 0;
    if let Some((position, _)) = &found {
        while collapses < position.collapses {
            options.objective = lighter(options.objective);
            collapses += 1;
        }
    }
    loop {
        let objective = options.objective;
        let begun = Begun {
            shape: Shape { objective, ..shape },
            rows,
            options,
            seed,
            keeper: keeper.as_ref(),
        };
        let (position, snapshot) = match found.take() {
            Some((position, snapshot)) => (position, Some(snapshot)),
            None => (Position::start(collapses), None),
        };
        let mut fitted = begun.once(position, snapshot, &mut progress)?;
        let (Some(beta), figures) = (objective.beta(), &mut fitted.metrics.figures) else {
            return Ok(fitted);
        };
        figures.insert("collapses".to_owned(), collapses.into());
        let active = figures.get("active_latents").copied().unwrap_or(0.0);
        if active >= least_active(shape.latent) || collapses == COLLAPSES {
            return Ok(fitted);
        }
        tracing::warn!(
            beta,
            active,
            latents = shape.latent,
            "KL collapse: trained again with less weight"
        );
        options.objective = lighter(objective);
        collapses += 1;
    }
}

/// The same objective with less weight on its divergence.
fn lighter(objective: Objective) -> Objective {
    objective
        .beta()
        .map_or(objective, |beta| objective.with_beta(beta * LESS))
}

/// Latents below which a network has collapsed: a quarter, and two at least where there are two.
fn least_active(latent: usize) -> f64 {
    (latent as f64 / 4.0).max(2.0).min(latent as f64)
}

/// A fit with one weight of the divergence.
struct Begun<'a> {
    shape: Shape<'a>,
    rows: &'a Rows,
    options: FitOptions,
    seed: u64,
    keeper: Option<&'a Keeper>,
}

impl<'a> Begun<'a> {
    /// One search and one refit, or what is left of them.
    fn once(
        &self,
        mut at: Position,
        snapshot: Option<Snapshot>,
        progress: &mut impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Fitted, Stopped> {
        let (rows, options) = (self.rows, self.options);
        let mut teller = Teller::new(progress);
        let mut run = self.run(snapshot)?;
        if at.stage == Stage::Search {
            while at.epoch < options.epochs && at.epoch - at.best_epoch < options.patience {
                let done = run.epoch(Part::Rest, at.epoch + 1)?;
                at.searched(done.validation);
                self.keep(at, &run)?;
                let left = 2 * options.epochs - at.epoch;
                let learned = rows.count(Part::Rest);
                teller.tell((Stage::Search, at.epoch, options.epochs), left, done, learned)?;
            }
            at.refit();
            run = self.run(None)?;
        }
        while at.epoch < at.best_epoch {
            let done = run.epoch(Part::All, at.epoch + 1)?;
            at.refitted(done.training);
            self.keep(at, &run)?;
            let left = at.best_epoch - at.epoch;
            let learned = rows.count(Part::All);
            teller.tell((Stage::Refit, at.epoch, at.best_epoch), left, done, learned)?;
        }
        let metrics = Metrics {
            validation_loss: at.validation_loss(),
            training_loss: at.training_loss(),
            best_epoch: at.best_epoch,
            epochs: at.searched,
            figures: run.figures()?,
        };
        Ok(Fitted {
            network: run.network(),
            objective: options.objective,
            metrics,
        })
    }

    /// A run from untrained weights, or from where a checkpoint was taken.
    fn run(&self, snapshot: Option<Snapshot>) -> Result<Run<'a>, CheckpointError> {
        let run = Run::new(self.shape, self.rows, self.options, self.seed);
        match (snapshot, self.keeper) {
            (Some(snapshot), Some(keeper)) => run.at(snapshot).map_err(|error| keeper.unreadable(error)),
            _ => Ok(run),
        }
    }

    fn keep(&self, at: Position, run: &Run<'_>) -> Result<(), CheckpointError> {
        let Some(keeper) = self.keeper.filter(|keeper| keeper.is_due(&at)) else {
            return Ok(());
        };
        let snapshot = run.snapshot().map_err(|error| keeper.unreadable(error))?;
        keeper.keep(at, &snapshot)
    }
}

/// Tells of epochs, with the speed so far.
struct Teller<'a, F> {
    progress: &'a mut F,
    start: Instant,
    rows: usize,
}

impl<'a, F: FnMut(Progress) -> ControlFlow<()>> Teller<'a, F> {
    fn new(progress: &'a mut F) -> Self {
        let start = Instant::now();
        let rows = 0;
        Self { progress, start, rows }
    }

    /// Tells of an epoch over `rows` rows with at most `left` like it to come.
    fn tell(
        &mut self,
        (stage, epoch, epochs): (Stage, u32, u32),
        left: u32,
        done: Epoch,
        rows: usize,
    ) -> Result<(), Stopped> {
        self.rows += rows;
        let rate = self.rows as f64 / self.start.elapsed().as_secs_f64();
        let told = (self.progress)(Progress {
            stage,
            epoch,
            epochs,
            training_loss: done.training,
            penalty: done.penalty,
            validation_loss: done.validation,
            rows_per_second: rate,
            time_left: Duration::from_secs_f64(f64::from(left) * rows as f64 / rate),
        });
        match told {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Stopped::BrokenOff),
        }
    }
}
