//! One attempt at a training job: read, fit, register.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tocsin_domain::{BundleId, Timestamp};
use tocsin_models::{BundleArchive, Manifest, Objective, Variant};
use tocsin_store::Store;
use tocsin_store::training_job::TrainingJob;
use tocsin_transport::Channel;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::register::{may_pass, register};
use crate::report::with_report;
use crate::sets::{self, Sets};
use crate::{Config, FitOptions, Progress, Stage, TrainError, TrainRequest, train_until};

/// Readings taken for healthy and hardly so that a job tells of in the log, the worst.
const SUSPECTS_LOGGED: usize = 10;

/// Why an attempt came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JobError {
    /// The class has no sensor that could be learned from.
    #[error("no sensor of the class sends spectra that its champion can read")]
    NoSensors,
    /// There is too little to learn from.
    #[error("{readings} healthy readings of {sensors} sensors in the period, at least {needed} are needed to fit on")]
    TooFew {
        /// Those there are, without what is held out.
        readings: usize,
        /// Those it takes.
        needed: u32,
        /// Sensors looked at.
        sensors: usize,
    },
    /// A stored spectrum is none of its spec.
    #[error("{path} at {at}: {reason}")]
    Row {
        /// The sensor.
        path: String,
        /// When it was taken.
        at: Timestamp,
        /// What is wrong.
        reason: String,
    },
    /// The champion's manifest can't be read.
    #[error("the champion's manifest: {0}")]
    Champion(#[source] tocsin_models::BundleError),
    /// The champion was trained elsewhere, where it would have to be trained again.
    #[error("the champion was not trained by Tocsin: train another where it comes from, and push it")]
    Foreign,
    /// The models can't be fitted.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The database refused or did not answer.
    #[error(transparent)]
    Store(#[from] tocsin_store::Error),
    /// The registry refused or did not answer.
    #[error("the registry: {}", .0.message())]
    Registry(#[source] Box<Status>),
    /// The fitting task died.
    #[error("training broke off: {0}")]
    Died(#[from] tokio::task::JoinError),
}

impl JobError {
    /// Whether another attempt may end otherwise.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Store(error) => matches!(error, tocsin_store::Error::Unavailable { .. }),
            Self::Registry(status) => may_pass(status),
            Self::Train(error) => matches!(error, TrainError::BrokenOff),
            Self::NoSensors
            | Self::TooFew { .. }
            | Self::Row { .. }
            | Self::Champion(_)
            | Self::Foreign
            | Self::Died(_) => false,
        }
    }
}

/// Share of the work done, in thousandths: told by the fitting thread, read by the one that holds the lease.
#[derive(Debug, Clone, Default)]
pub(crate) struct Done(Arc<AtomicU32>);

impl Done {
    pub(crate) fn share(&self) -> f32 {
        self.0.load(Ordering::Relaxed) as f32 / 1000.0
    }

    /// Reading is done by then, registering is not; each stage may end earlier than its last epoch.
    fn tell(&self, progress: Progress) {
        let through = f64::from(progress.epoch) / f64::from(progress.epochs.max(1));
        let share = match progress.stage {
            Stage::Search => 0.05 + 0.5 * through,
            Stage::Refit => 0.55 + 0.4 * through,
        };
        self.0.store((share * 1000.0) as u32, Ordering::Relaxed);
    }
}

/// What an attempt works with.
#[derive(Debug, Clone)]
pub(crate) struct Workshop {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) registry: Channel,
}

impl Workshop {
    /// Does a job; the bundle that came of it. `stop` breaks the fitting off after the epoch under way.
    ///
    /// The same job done again over the same readings gives the same bundle: its seed is the job's number, and its date
    /// that of the request.
    pub(crate) async fn work(
        &self,
        job: &TrainingJob,
        done: &Done,
        stop: &CancellationToken,
    ) -> Result<BundleId, JobError> {
        let champion = self.champion(job).await?;
        let sets = sets::read(&self.store, &self.config, job.class, job.period, champion.as_ref()).await?;
        let (config, job, done, stop) = (self.config.clone(), job.clone(), done.clone(), stop.clone());
        let class = job.class_name.clone();
        let fitting = move || fit(&config, &job, &sets, champion.as_ref(), &done, &stop);
        let archive = tokio::task::spawn_blocking(fitting).await??;
        let registered = register(&self.registry, &class, &archive).await;
        registered.map_err(|status| JobError::Registry(Box::new(status)))
    }

    async fn champion(&self, job: &TrainingJob) -> Result<Option<Manifest>, JobError> {
        let binding = self.store.binding_current(job.class).await?;
        let Some((champion, _)) = binding.and_then(|binding| binding.champion) else {
            return Ok(None);
        };
        let json = self.store.bundle_by_id(champion).await?.manifest_json;
        Ok(Some(Manifest::from_json(json.as_bytes()).map_err(JobError::Champion)?))
    }
}

/// Fits the same kind of network as the champion's, to the same end; a dense one where there is none.
fn fit(
    config: &Config,
    job: &TrainingJob,
    sets: &Sets,
    champion: Option<&Manifest>,
    done: &Done,
    stop: &CancellationToken,
) -> Result<BundleArchive, JobError> {
    let variant = champion.map_or(Variant::Dense, |champion| champion.variant);
    if variant == Variant::Foreign {
        return Err(JobError::Foreign);
    }
    let mut options = FitOptions {
        objective: champion.map_or_else(Objective::default, |champion| champion.objective),
        ..config.options(variant)
    };
    if let Some(temporal) = champion.and_then(|champion| champion.temporal.as_ref()) {
        options.window = temporal.window.spectra;
    }
    let request = TrainRequest {
        class: job.class_name.clone(),
        train: &sets.train,
        calibration: &sets.held_out,
        variant,
        foreign: None,
        latent: champion.map(|champion| champion.latent),
        seed: job.id.0 as u64,
        options: Some(options),
        corpora: Vec::new(),
        created_at: job.requested_at,
    };
    let trained = train_until(&request, |progress| {
        done.tell(progress);
        if stop.is_cancelled() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    for suspect in trained.suspects.listed.iter().take(SUSPECTS_LOGGED) {
        let (sensor, captured_at) = (&suspect.sensor, suspect.captured_at);
        tracing::warn!(%sensor, %captured_at, spreads = suspect.spreads, "a reading taken for healthy is rebuilt badly");
    }
    Ok(with_report(&request, trained)?.archive)
}
